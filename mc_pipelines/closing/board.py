"""The finance dashboard's content: where every tenant's close stands, what is billed and what is not, credits, explained money, change.

Plain JSON made from the journal's fold and the signed bundles alone: the same journal gives the same document, whoever asks. The moment only
decides which waivers still hold.
Locked tenants are shown as they were locked, all others as the newest edition has them.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import takewhile
from typing import Any

from mc_pipelines.closing.states import NEEDED, STATES, Close, Lock, fold, in_order
from mc_pipelines.evidence.bundle import payload_file
from mc_pipelines.evidence.canonical import instant
from mc_pipelines.evidence.entry import Entry
from mc_pipelines.evidence.proofs import rows_file
from mc_pipelines.gates import GateResult
from mc_pipelines.home import Home
from mc_pipelines.invoicing.batch_files import BATCH, SUMS, Sums
from mc_pipelines.payload import GATES, METERING
from mc_pipelines.rating.display import money_of, number_text
from mc_pipelines.rating.money import EXACT, ZERO

BILLED = ("locked", "published")
AMOUNTS = (*SUMS, "tax")
NAMED = {"corrected": "corrections"}
"""How a sum is called in the table of invoices, where that is another name."""
Row = dict[str, Any]


class Bundle:
    """The tables of one edition's bundle, by tenant; amounts are text with the minor units of their currency."""

    def __init__(self, home: Home, bundle: str, digest: str) -> None:
        self.path, self.digest = home.evidence / bundle, digest
        self.invoices = {row["tenant_id"]: row for row in self.rows("metering.invoices")}
        self.changes = {row["tenant_id"]: row for row in self.rows("metering.invoice_change")}
        self.lines: dict[str, list[Row]] = {}
        for row in self.rows("metering.invoice_lines"):
            self.lines.setdefault(row["tenant_id"], []).append(row)

    def rows(self, table: str) -> list[Row]:
        """The rows of a table, in the order of their grain; none where the bundle does not have it."""
        columns = json.loads(payload_file(self.path, self.digest, f"schemas/{table}.json", absent=b'{"columns": []}'))["columns"]
        data = payload_file(self.path, self.digest, rows_file(table), absent=b"")
        return [dict(zip(columns, json.loads(line), strict=True)) for line in data.splitlines()]

    def names(self) -> dict[str, str]:
        """What each tenant is called: who has an invoice, or none because of a problem, and who is compared with the gateway log."""
        batch = json.loads(payload_file(self.path, self.digest, BATCH, absent=b'{"invoices": [], "blocked": []}'))
        pairs = json.loads(payload_file(self.path, self.digest, METERING))["variance"]["pairs"]
        return {row["tenant_id"]: row["name"] for row in (*pairs, *batch["blocked"], *batch["invoices"])}

    def owners(self) -> dict[str, str]:
        """Who owns each gate."""
        results = [GateResult(**each) for each in json.loads(payload_file(self.path, self.digest, GATES))]
        return {result.gate: result.owner for result in results}


def board(home: Home, entries: Sequence[Entry], month: str, at: datetime | None) -> Row:
    """The document of a month at a moment, which decides which waivers hold. MissionError where it was never attempted."""
    close, unwaived = fold(entries, month, at), fold(entries, month)
    newest = close.newest
    locks = {tenant: lock for tenant in _tenants(close) if (lock := _lock(close, tenant)) is not None}
    named = {lock.digest: lock.bundle for lock in locks.values()} | {newest.digest: newest.bundle}
    bundles = {digest: Bundle(home, bundle, digest) for digest, bundle in named.items()}
    shown = bundles[newest.digest]
    own = {tenant: bundles[locks[tenant].digest] if tenant in locks else shown for tenant in _tenants(close)}
    names = {tenant: name for bundle in bundles.values() for tenant, name in bundle.names().items()}
    owners, signed = shown.owners(), {entry.number: instant(entry.signed_at) for entry in entries}
    since = {tenant: signed.get(_since(close, unwaived, tenant, locks.get(tenant)), "") for tenant in own}
    rows = [_row(close, tenant, locks.get(tenant), names, own[tenant], owners) | {"since": since[tenant]} for tenant in own]
    changes = {tenant: row for tenant, row in shown.changes.items() if tenant not in own}
    changes |= {tenant: bundle.changes[tenant] for tenant, bundle in own.items() if tenant in bundle.changes}
    return {
        "period": month,
        "edition": newest.number,
        "digest": newest.digest,
        "verdict": newest.verdict,
        "requested_by": newest.requested_by,
        "counts": {state: sum(row["state"] == state for row in rows) for state in STATES},
        "tenants": rows,
        "totals": _sums(rows, "currency"),
        "plans": _sums(rows, "currency", "plan"),
        "meters": _meters(rows, {tenant: bundle.lines.get(tenant, []) for tenant, bundle in own.items()}),
        "explained": _explained(shown),
        "waivers": close.waivers_shown(),
        "change": _change(changes.values()),
    }


def _tenants(close: Close) -> list[str]:
    return sorted({*close.newest.holds.tenants, *close.locks})


def _lock(close: Close, tenant: str) -> Lock | None:
    """The lock that says what a tenant's close is: its own, or the first of the month for who had nothing in it and is corrected later."""
    if close.closed_without(tenant):
        return in_order(close.locks.values())[0]
    return close.locks.get(tenant)


def _row(
    close: Close,
    tenant: str,
    lock: Lock | None,
    names: Mapping[str, str],
    bundle: Bundle,
    owners: Mapping[str, str],
) -> Row:
    """One tenant: where it stands, what holds it and whose that is, and its invoice."""
    state, blockers = close.state(tenant), close.blockers(tenant)
    invoice, change = bundle.invoices.get(tenant, {}), bundle.changes.get(tenant)
    currency = invoice.get("currency", "")
    rated = invoice.get("status") == "rated"
    amounts = {name: money_of(Decimal(invoice.get(NAMED.get(name, name)) or 0), currency) if rated else None for name in AMOUNTS}
    return {
        "tenant_id": tenant,
        "name": names.get(tenant, tenant),
        "state": state,
        "blockers": list(blockers),
        "owners": sorted({owners[gate] for gate in blockers if gate in owners}),
        "edition": close.newest.number if lock is None else lock.edition,
        "plan": invoice.get("plan", ""),
        "currency": currency,
        **amounts,
        "before": _money(change, "before", currency),
        "change": _money(change, "change", currency),
    }


def _money(row: Mapping[str, Any] | None, name: str, currency: str) -> str | None:
    return None if row is None or row["status"] == "first" or row[name] is None or not currency else money_of(Decimal(row[name]), currency)


def _since(close: Close, unwaived: Close, tenant: str, lock: Lock | None) -> int:
    """The number of the entry that made a tenant's state: of several editions that hold it, or leave it free, the first of those up to now."""
    state = close.state(tenant)
    if state == "published":
        return close.publications[tenant].entry.number
    if lock is not None:
        return lock.entry.number
    if state == "approved":
        return sorted(each.entry.number for each in close.approvers(tenant))[NEEDED - 1]
    held = unwaived.blockers(tenant)
    if held and state != "candidate":
        return max(each.entry for each in close.standing_waivers if each.gate in held and each.releases(tenant))
    same = takewhile(lambda each: each.holds.knows(tenant) and each.holds.frees(tenant) != bool(held), reversed(unwaived.editions))
    return min(each.entry for each in same)


def _sums(rows: Iterable[Row], *names: str) -> list[Row]:
    """Net billed and unbilled, credits used, corrections and what is payable, by the columns named, of which the first is the currency."""
    found = Sums(*names)
    for row in (each for each in rows if each["net"] is not None):
        billed = row["state"] in BILLED
        amounts = {"billed": row["net"] if billed else ZERO, "unbilled": ZERO if billed else row["net"]}
        found.add(tuple(row[name] for name in names), amounts | {name: row[name] for name in AMOUNTS})
    return found.rows()


def _meters(rows: Iterable[Row], lines: Mapping[str, Sequence[Row]]) -> list[Row]:
    """Net billed and unbilled by meter, and by kind where a line has none."""
    found = Sums("currency", "meter", "kind")
    for row in (each for each in rows if each["net"] is not None):
        billed = row["state"] in BILLED
        for line in lines[row["tenant_id"]]:
            where = (row["currency"], line["meter"], "usage") if line["meter"] is not None else (row["currency"], "", line["kind"])
            net = Decimal(line["net"])
            found.add(where, {"billed": net if billed else ZERO, "unbilled": ZERO if billed else net})
    return [{name: value for name, value in row.items() if name != "invoices"} for row in found.rows()]


def _explained(bundle: Bundle) -> list[Row]:
    """What differences to the gateway log are worth, by currency, and what of it somebody has explained; nothing where no money is known."""
    return [
        {"currency": row["currency"]}
        | {name: number_text(Decimal(row[f"{name}_money"])) for name in ("reference", "absolute", "net", "explained")}
        | {"ratio": row["variance_ratio"]}
        for row in bundle.rows("metering.variance_money")
    ]


def _change(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Net against the month before, by currency; nothing where no tenant had one. A tenant whose currency changed is counted in neither."""
    found: dict[str, list[Decimal]] = {}
    compared = list(rows)
    for row in compared if any(row["status"] != "first" for row in compared) else ():
        if row["status"] != "currency_changed":
            own = found.setdefault(row["currency"], [ZERO, ZERO])
            for place, name in enumerate(("before", "now")):
                own[place] = EXACT.add(own[place], Decimal(row[name] or 0))
    return [
        {"currency": currency, "before": money_of(before, currency), "now": money_of(now, currency)}
        | {"difference": money_of(EXACT.subtract(now, before), currency)}
        for currency, (before, now) in sorted(found.items())
    ]
