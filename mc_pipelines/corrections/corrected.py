"""The corrections of a month's close: for every locked month of a tenant with late events what they add to its invoice, or why nothing is added.

delta = the month rated with its late events - (what was locked + what earlier closes corrected). A month whose locked inputs do not give its
locked lines any more is not corrected: its row says so, and a gate holds the tenant.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mc_pipelines import metering
from mc_pipelines.code import package_digest
from mc_pipelines.corrections.differences import Standing, difference, drifted
from mc_pipelines.corrections.late import Late, Locked
from mc_pipelines.corrections.recount import RATED, Recounted, late_events, recounted
from mc_pipelines.engine import connect
from mc_pipelines.evidence.canonical import canonical_of_plain, sha256
from mc_pipelines.evidence.record import Recorded
from mc_pipelines.reference_tables import relation_of

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.runner import Work, Workshop

SCHEMA = {
    "period": "DATE",
    "tenant_id": "VARCHAR",
    "original_period": "DATE",
    "original_invoice": "VARCHAR",
    "status": "VARCHAR",
    "events": "BIGINT",
    "digest": "VARCHAR",
    "drifted": "BIGINT",
    "problems": "VARCHAR",
    "correction": "VARCHAR",
}
Row = tuple[Any, ...]
NO_LINES: Mapping[str, Any] = {"lines": [], "taxes": []}
"""What a month rates to whose late events took all of its usage away."""
Asked = Mapping[tuple[date, int], Mapping[str, tuple[date, str]]]
"""By locked month and edition: tenants with the cut-off of the close that asks, and the digest of the invoice that was locked."""


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """The code behind this module, and how quantities are divided."""
    return package_digest("rating", "invoicing", "corrections") + sha256(Path(metering.__file__).read_bytes())


def corrected(work: "Work") -> "duckdb.DuckDBPyRelation":
    """One row for each tenant and locked month with late events. `status` is corrected, unchanged, drifted, unrated or too_old."""
    return relation_of(work, SCHEMA, (row for window in work.windows for row in _month(work, date.fromisoformat(window))))


def _month(work: "Work", period: date) -> Iterator[Row]:
    asked, lookback = _asked(work, period), _lookback(work)
    recorded = _recorded(work)
    earlier = _earlier(work, period, recorded)
    currencies = dict(work.con.sql("SELECT tenant_id, currency FROM reference.tenants").fetchall())
    home, lake = work.shop.home, work.shop.lake
    for (original, edition), tenants in asked.items():
        locked = Locked(original, edition, recorded[original, edition], {tenant: cutoff for tenant, (cutoff, _) in tenants.items()})
        if _months(original, period) > lookback:
            for tenant, late in sorted(late_events(home, lake, locked, work.pins).items()):
                problem = f"older than {lookback} months; not billed"
                yield _row(period, tenant, original, tenants[tenant][1], "too_old", late, problems=problem)
            continue
        for found in recounted(home, lake, locked, work.pins):
            invoice = tenants[found.tenant][1]
            yield _judged(period, original, invoice, found, earlier.get((found.tenant, original), ()), currencies.get(found.tenant, ""))
    yield from _newcomers(work, period, recorded)


def _asked(work: "Work", period: date) -> Asked:
    """Locked months before `period`. What a later close has billed already stays billed: its cut-off counts where it is the later one."""
    found: dict[tuple[date, int], dict[str, tuple[date, str]]] = {}
    for tenant, original, edition, invoice, cutoff in work.con.sql(
        "SELECT locked.tenant_id, locked.period, locked.edition, locked.invoice, greatest(asking.cutoff_day, last.cutoff_day) "
        "FROM metering.locked_tenants AS locked "
        "JOIN metering.locked_closes AS known ON known.period = locked.period AND known.edition = locked.edition "
        "JOIN reference.periods AS asking ON asking.tenant_id = locked.tenant_id AND asking.period = CAST($period AS DATE) "
        "JOIN (SELECT locked.tenant_id, max(cutoff_day) AS cutoff_day FROM metering.locked_tenants AS locked "
        "      JOIN reference.periods AS periods USING (tenant_id, period) GROUP BY locked.tenant_id) AS last "
        "ON last.tenant_id = locked.tenant_id "
        "WHERE locked.period < CAST($period AS DATE) ORDER BY locked.period, locked.edition, locked.tenant_id",
        params={"period": period.isoformat()},
    ).fetchall():
        found.setdefault((original, edition), {})[tenant] = (cutoff, invoice)
    return found


def _newcomers(work: "Work", period: date, recorded: Mapping[tuple[date, int], Recorded]) -> Iterator[Row]:
    """Usage in locked months of tenants that were declared after the lock: they have no plan there, so somebody has to decide."""
    current = {tenant for (tenant,) in work.con.sql("SELECT tenant_id FROM reference.tenants").fetchall()}
    for (original, edition), locked in recorded.items():
        first = edition == min(number for month, number in recorded if month == original)
        if not first or original >= period:
            continue
        con = connect()
        work.shop.lake.view(con, "reference.tenants", locked.pins["reference.tenants"])
        new = sorted(current - {tenant for (tenant,) in con.sql("SELECT tenant_id FROM reference.tenants").fetchall()})
        if not new:  # nearly always, and then no event is read
            continue
        found: dict[str, set[tuple[str, str]]] = {}
        for tenant, source, id in work.con.sql(
            "SELECT DISTINCT staged.tenant_id, source, id FROM staging.usage_events AS staged "
            "JOIN reference.periods AS locked ON locked.tenant_id = staged.tenant_id AND locked.period = CAST($original AS DATE) "
            "JOIN reference.periods AS asking ON asking.tenant_id = staged.tenant_id AND asking.period = CAST($period AS DATE) "
            "WHERE list_contains($new, staged.tenant_id) AND kind = 'usage' AND landing_day <= asking.cutoff_day "
            "AND occurred_at >= locked.start_utc AND occurred_at < locked.end_utc",
            params={"original": original.isoformat(), "period": period.isoformat(), "new": new},
        ).fetchall():
            found.setdefault(tenant, set()).add((source, id))
        for tenant, identities in sorted(found.items()):
            problem = f"declared after {original:%Y-%m} was locked, so it has no plan there; void the events, or settle them by hand"
            yield _row(period, tenant, original, "", "unrated", Late(tuple(sorted(identities)), {}), problems=problem)


def _lookback(work: "Work") -> int:
    ((months,),) = work.con.sql("SELECT max_lookback_months FROM reference.corrections").fetchall()
    return int(months)


def _months(earlier: date, later: date) -> int:
    return (later.year - earlier.year) * 12 + later.month - earlier.month


def _recorded(work: "Work") -> dict[tuple[date, int], Recorded]:
    rows = work.con.sql("SELECT period, edition, recorded FROM metering.locked_closes ORDER BY period, edition").fetchall()
    return {(period, edition): Recorded.read(json.loads(text)) for period, edition, text in rows}


def _earlier(work: "Work", asking: date, recorded: Mapping[tuple[date, int], Recorded]) -> dict[tuple[str, date], list[Mapping[str, Any]]]:
    """By tenant and locked month the corrections that stand on locked invoices of other months than the one that asks."""
    found: dict[tuple[str, date], list[Mapping[str, Any]]] = {}
    editions: dict[tuple[date, int], set[str]] = {}
    for period, edition, tenant in work.con.sql(
        "SELECT period, edition, tenant_id FROM metering.locked_tenants JOIN metering.locked_closes USING (period, edition) WHERE period <> CAST($asking AS DATE) ORDER BY ALL",
        params={"asking": asking.isoformat()},
    ).fetchall():
        editions.setdefault((period, edition), set()).add(tenant)
    for (period, edition), tenants in sorted(editions.items()):
        con = connect()
        work.shop.lake.view(con, RATED, recorded[period, edition].pins[RATED])
        for tenant, text in con.sql(
            f"SELECT tenant_id, invoice FROM {RATED} WHERE period = DATE '{period}' AND contains(invoice, '\"original_period\"') ORDER BY ALL"
        ).fetchall():
            for each in json.loads(text)["corrections"] if tenant in tenants else ():
                found.setdefault((tenant, date.fromisoformat(f"{each['original_period']}-01")), []).append(each)
    return found


def _judged(period: date, original: date, invoice: str, found: Recounted, earlier: Sequence[Mapping[str, Any]], currency: str) -> Row:
    """What is said of one tenant's locked month."""
    about = (period, found.tenant, original, invoice)
    if lines := drifted(found.locked[1], found.again[1]):
        problem = f"{original:%Y-%m}: {lines} line(s) differ when the locked inputs are rated again. {found.again[0]}".strip()
        return _row(*about, "drifted", found.late, drifted=lines, problems=problem)
    if found.now[0]:
        return _row(*about, "unrated", found.late, problems=found.now[0])
    billed = found.now[1] or found.locked[1]
    if billed is not None and billed["currency"] != currency:
        problem = (
            f"{original:%Y-%m} was billed in {billed['currency']}, the tenant is billed in {currency} now; credit or charge it by hand"
        )
        return _row(*about, "unrated", found.late, problems=problem)
    standing = [each for each in (found.locked[1], *earlier) if each is not None]
    delta = difference(found.now[1] or NO_LINES, Standing.of(standing), currency)
    if delta is None:
        return _row(*about, "unchanged", found.late)
    counted = [{**line, "event_count": _count(line, found.late)} for line in delta["lines"]]
    said = {
        "original_period": f"{original:%Y-%m}",
        "original_invoice": invoice or None,
        "event_count": len(found.late.identities),
        "digest": found.late.digest,
        **delta,
        "lines": counted,
    }
    return _row(*about, "corrected", found.late, correction=canonical_of_plain(said).decode())


def _count(line: Mapping[str, Any], late: Late) -> int:
    """Late events behind a line: those of its meter, or all for a line without one."""
    return len(late.identities) if line["meter"] is None else late.by_meter.get(line["meter"], 0)


def _row(
    period: date,
    tenant: str,
    original: date,
    invoice: str,
    status: str,
    late: Late,
    drifted: int = 0,
    problems: str = "",
    correction: str = "",
) -> Row:
    return period, tenant, original, invoice, status, len(late.identities), late.digest, drifted, problems, correction
