"""Tonight's close: the running month closed as if it ended after its last landing day. Judged and rated like a close, and never one.

Nothing is written to the tables of the month. Its entry in the journal is of a kind that no fold of a close reads, so it cannot be approved.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from mc_pipelines import report
from mc_pipelines.calendars import days, midnight
from mc_pipelines.close import DELIVERABLE, pinned
from mc_pipelines.closing.holds import holds
from mc_pipelines.closing.states import REHEARSAL
from mc_pipelines.code import code_digest
from mc_pipelines.engine import connect
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.bundle import build, payload_digest, payload_file
from mc_pipelines.evidence.canonical import canonical, sha256
from mc_pipelines.evidence.checkpoint import Head
from mc_pipelines.faults import reach
from mc_pipelines.gates import GateResult, gates_of
from mc_pipelines.home import Home
from mc_pipelines.invoicing.batch_files import SUMS, Sums, by_meter, tax_of
from mc_pipelines.journaling import Progress, journal_of
from mc_pipelines.rating.display import money_of
from mc_pipelines.rating.money import EXACT
from mc_pipelines.runner import Workshop
from mc_pipelines.window_again import window_again
from mc_pipelines.windows import as_of_instant, month_key

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.closing.holds import Holds
    from mc_pipelines.evidence.journal import Journal

FOLDER = "finance/metering/rehearsal"
TONIGHT = "tonight.json"
Document = dict[str, Any]


@dataclass(frozen=True)
class Rehearsed:
    """What a rehearsal says, and the bundle that it stands in; `fresh` is False when it stood already."""

    document: Mapping[str, Any]
    bundle: Path
    fresh: bool


def rehearse(
    home: Home, month: str = "", day: str = "", run_id: str = "", progress: Progress = lambda line: None, requested_by: str = ""
) -> Rehearsed:
    """Close `month` (default: that of `day`) as if it ended after `day` (default: the last landing day that is there), as a rehearsal.

    A month that is over is closed whole, with what of its grace has landed. MissionError where no table is built yet, or the month does not
    take the day.
    """
    shop = Workshop.open(home, run_id)
    pins = pinned(shop, months=False)
    period, last = _night(shop, pins, month, day)
    con = connect()
    progress(f"rating {period[:7]} as if it ended after {last}")
    window_again(DELIVERABLE, shop, con, period, sorted(pins), pins, lambda bound: _ended(shop, bound, pins, period, last))
    from mc_pipelines.acceptance import evaluate

    gates = gates_of(home, DELIVERABLE)
    results = evaluate(con, gates, {gate.table: gate.table for gate in gates})
    journal = journal_of(home)
    document = _document(con, period, last, results, holds(con, gates, results))
    document["moved"] = _moved(home, journal, document)
    return _signed(home, journal, document, requested_by)


def _night(shop: Workshop, pins: Mapping[str, int], month: str, day: str) -> tuple[str, date]:
    """The month's first day, and the last landing day that there is or the one asked for; one that the month takes, its grace included."""
    con = connect()
    for table in ("landing.usage_events", "reference.periods"):
        shop.lake.view(con, table, pins[table])
    first, until = (month_key(month), as_of_instant(con, month_key(month))[:10]) if month else ("0001-01-01", "9999-12-31")
    ((found,),) = con.sql(
        "SELECT max(landing_day) FROM landing.usage_events WHERE left_because IS NULL AND landing_day BETWEEN CAST($first AS DATE) AND CAST($until AS DATE)",
        params={"first": first, "until": until},
    ).fetchall()
    if not day and found is None:
        raise MissionError(f"no day {f'of {month} ' if month else ''}has landed yet. Run one first: mission run DAY")
    asked = date.fromisoformat(days(day)[0]) if day else found
    if not first <= asked.isoformat() <= until:
        raise MissionError(
            f"{day} does not lie in {month} or its grace, which ends on {until}. Name a day that does, or leave the month out."
        )
    if found is None or asked > found:
        raise MissionError(f"{day} has not landed yet; the last day that has is {found}. Run it first: mission run {day}")
    return first if month else asked.replace(day=1).isoformat(), asked


def _ended(shop: Workshop, con: "duckdb.DuckDBPyConnection", pins: Mapping[str, int], period: str, last: date) -> None:
    """Let the month end after the local day `last` of each tenant, with that landing day as its cut-off; what came later is not there."""
    import pyarrow as pa

    zones = [zone for (zone,) in con.sql("SELECT DISTINCT zone FROM reference.tenants ORDER BY zone").fetchall()]
    ends = [midnight(last + timedelta(days=1), ZoneInfo(zone)) for zone in zones]
    con.from_arrow(pa.table({"zone": pa.array(zones, pa.string()), "ends": pa.array(ends, pa.timestamp("us"))})).create("ending")
    con.execute(
        f"CREATE TABLE ended AS SELECT tenant_id, period, start_utc, CASE WHEN period = DATE '{period}' THEN least(end_utc, ends) ELSE end_utc END AS end_utc, "
        f"CASE WHEN period = DATE '{period}' THEN least(cutoff_day, DATE '{last}') ELSE cutoff_day END AS cutoff_day "
        "FROM reference.periods JOIN reference.tenants USING (tenant_id) JOIN ending USING (zone)"
    )
    con.execute("CREATE OR REPLACE VIEW reference.periods AS FROM ended")
    # Usage is cut off by the month, the log and the landings by nothing: west of Greenwich the rest of `last` lands on the next day, east
    # of it tomorrow's usage has landed already.
    for table, version in pins.items():
        model = shop.catalog.owner_of(table)
        if model.header.every == "day":
            report.some_windows(shop, con, table, version, f"{model.header.window} <= '{last}'")


def _document(con: "duckdb.DuckDBPyConnection", period: str, last: date, results: Sequence[GateResult], found: "Holds") -> Document:
    """What the night says, as plain JSON; amounts are text."""
    totals, plans, meters, tenants = Sums("currency"), Sums("currency", "plan"), Sums("currency", "meter", "kind"), []
    for tenant, name, plan, currency, text in con.sql(
        "SELECT tenant_id, tenants.name, coalesce(rated.plan, tenants.plan), tenants.currency, coalesce(rated.invoice, '') "
        "FROM reference.tenants AS tenants LEFT JOIN metering.rated AS rated USING (tenant_id) ORDER BY tenant_id"
    ).fetchall():
        if not found.knows(tenant):
            continue
        row = {"tenant_id": tenant, "name": name, "plan": plan, "currency": currency, "net": None}
        tenants.append(row | {"held": [*found.everybody, *found.held.get(tenant, ())]})
        if text:
            invoice = json.loads(text)
            tenants[-1]["net"] = invoice["net"]
            amounts = {each: invoice[each] for each in SUMS} | {"tax": tax_of(invoice)}
            totals.add((currency,), amounts)
            plans.add((currency, plan), amounts)
            for where, net in by_meter(invoice).items():
                meters.add((currency, *where), {"net": net})
    return {
        "rehearsal": True,
        "period": period[:7],
        "day": last.isoformat(),
        "as_of": as_of_instant(con, period),
        "tenants": len(found.tenants),
        "would_close": len(found.green),
        "blockers": _blockers(results, found),
        "gates": {result.gate: result.status for result in results},
        "unbilled": {"totals": totals.rows(), "plans": plans.rows(), "meters": meters.rows()},
        "by_tenant": tenants,
    }


def _blockers(results: Sequence[GateResult], found: "Holds") -> list[Document]:
    """Every critical gate that did not pass: whose it is, whom it holds, and where its remedy stands."""
    rows = []
    for result in results:
        if result.status != "passed" and result.severity == "critical":
            whom = len(found.tenants) if result.gate in found.everybody else sum(result.gate in gates for gates in found.held.values())
            about = {name: getattr(result, name) for name in ("gate", "status", "owner", "reason", "runbook")}
            rows.append(about | {"tenants": whom, "everybody": result.gate in found.everybody})
    return rows


def _moved(home: Home, journal: "Journal", document: Mapping[str, Any]) -> Document | None:
    """What is otherwise than in the newest rehearsal of the month for an earlier day; None where there is none."""
    earlier = [
        entry
        for entry in journal.entries()
        if entry.kind == REHEARSAL and entry.body["period"] == document["period"] and entry.body["day"] < document["day"]
    ]
    if not earlier:
        return None
    body = max(earlier, key=lambda entry: (entry.body["day"], entry.number)).body
    before = json.loads(payload_file(home.evidence / body["bundle"], body["digest"], TONIGHT))
    was, now = _nets(before), _nets(document)
    held_before, held_now = _held(before), _held(document)
    passed = {name: status == "passed" for name, status in before["gates"].items()}
    return {
        "since": before["day"],
        "unbilled": [
            {
                "currency": currency,
                "before": money_of(was.get(currency, Decimal(0)), currency),
                "now": money_of(now.get(currency, Decimal(0)), currency),
            }
            | {"difference": money_of(EXACT.subtract(now.get(currency, Decimal(0)), was.get(currency, Decimal(0))), currency)}
            for currency in sorted({*was, *now})
        ],
        "would_close": document["would_close"] - before["would_close"],
        "held": sorted(held_now - held_before),
        "freed": sorted(held_before - held_now),
        "failed": sorted(name for name, status in document["gates"].items() if status != "passed" and passed.get(name, True)),
        "passed": sorted(name for name, status in document["gates"].items() if status == "passed" and not passed.get(name, True)),
    }


def _held(document: Mapping[str, Any]) -> set[str]:
    return {row["tenant_id"] for row in document["by_tenant"] if row["held"]}


def _nets(document: Mapping[str, Any]) -> dict[str, Decimal]:
    return {row["currency"]: Decimal(row["net"]) for row in document["unbilled"]["totals"]}


def _signed(home: Home, journal: "Journal", document: Mapping[str, Any], requested_by: str) -> Rehearsed:
    """Put the document into a signed bundle and name it in the journal; the same again adds nothing."""
    month, data = document["period"], canonical(document)
    digest = payload_digest({f"data/{TONIGHT}": sha256(data)})
    assert journal.signer is not None
    chain = journal.chain()
    predicate = {
        "deliverable": DELIVERABLE,
        "period": month,
        "rehearsal": document["day"],
        "as_of": document["as_of"],
        "code": {"digest": code_digest(home)},
        "checkpoint": Head.of(chain).document(),
    }
    bundle = build(home.evidence / FOLDER / month, f"{document['day']}-{digest[:12]}", {TONIGHT: data}, predicate, journal.signer)
    reach("rehearsal.bundle_built")
    body = {
        "period": month,
        "day": document["day"],
        "digest": digest,
        "envelope": bundle.envelope,
        "bundle": bundle.path.relative_to(home.evidence).as_posix(),
        **{name: document[name] for name in ("as_of", "tenants", "would_close")},
        "requested_by": requested_by,
    }
    entry = journal.append(
        REHEARSAL,
        body,
        lambda entries: next((each for each in entries if each.kind == REHEARSAL and each.body["digest"] == digest), None),
    )
    return Rehearsed(document, bundle.path, entry.number > len(chain))
