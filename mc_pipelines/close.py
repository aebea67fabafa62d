"""One attempt at closing a month: pin, judge, sign, remember, show.

The gates are evaluated here again, by whoever signs; what a check in the UI said does not count. A failed attempt is signed too.
The journal entry that names the bundle is the commit point. Approval, lock and publication are not decided here.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mc_pipelines import report
from mc_pipelines.catalog import Model
from mc_pipelines.closing.holds import Holds, holds
from mc_pipelines.closing.states import ATTEMPT, fold
from mc_pipelines.code import code_digest
from mc_pipelines.engine import connect
from mc_pipelines.errors import MissionError
from mc_pipelines.faults import reach
from mc_pipelines.gates import Gate, GateResult, gates_of
from mc_pipelines.home import Home
from mc_pipelines.runner import Workshop
from mc_pipelines.shell import write_views

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.evidence.entry import Entry
    from mc_pipelines.evidence.journal import Journal
    from mc_pipelines.payload import Before

DELIVERABLE = "metering"
FOLDER = "finance/metering/close"
MONTH_END = "month_end"
"""The job that builds a month's tables and attempts its close."""
Progress = Callable[[str], None]
Bind = Callable[[Workshop, "duckdb.DuckDBPyConnection", str, Sequence[str], Mapping[str, int]], None]


@dataclass(frozen=True)
class Attempt:
    """A signed attempt: its number within the month, verdict, gate results and bundle; `fresh` is False when it stood already."""

    period: str
    edition: int
    verdict: str
    results: Sequence[GateResult]
    bundle: Path
    digest: str
    fresh: bool
    pages: Sequence[Path]


@dataclass(frozen=True)
class Closing:
    """A month judged and written out, before anything is signed. `files` are the payload's bytes by path under data/."""

    deliverable: str
    period: str
    as_of: str
    pins: Mapping[str, int]
    gates: Sequence[Gate]
    results: Sequence[GateResult]
    holds: Holds
    basis: int
    files: Mapping[str, bytes]

    @property
    def batch(self) -> Mapping[str, Any]:
        """What is said of all invoices; empty where none was rated."""
        from mc_pipelines.invoicing.batch_files import BATCH

        found: Mapping[str, Any] = json.loads(self.files.get(BATCH, b"{}"))
        return found


def month_key(month: str) -> str:
    """'2026-04' as the window key '2026-04-01'. Raises MissionError on anything else."""
    try:
        return date.fromisoformat(f"{month}-01").isoformat()
    except ValueError as error:
        raise MissionError(f"{month!r} is no month. Write it as YYYY-MM, for example 2026-04.") from error


def month_models(shop: Workshop) -> list[Model]:
    """The month tables of the metering deliverable, upstream first."""
    return [model for model in shop.catalog.ordered() if model.header.every == "month" and model.deliverable == DELIVERABLE]


def pinned(shop: Workshop, months: bool = True) -> dict[str, int]:
    """The newest version of every table a close reads; MissionError names what was never built. The month's own may be absent without `months`."""
    names = {
        also: model.header.every == "month"
        for model in shop.catalog.models.values()
        for also in (model.key, *model.header.also)
        if not model.header.view and not model.key.startswith("ops.")
    }
    pins = {name: shop.lake.version(name) for name in sorted(names)}
    absent = [name for name, version in pins.items() if version is None and (months or not names[name])]
    if absent:
        raise MissionError(
            f"not built yet: {', '.join(absent)}. Run `mission run FIRST..LAST` over the month's landing days, then close again."
        )
    return {name: version for name, version in pins.items() if version is not None}


def evaluate_month(shop: Workshop, period: str, pins: Mapping[str, int], gates: Sequence[Gate]) -> list[GateResult]:
    """Judge every gate on the month's rows at the pinned versions."""
    from mc_pipelines.acceptance import evaluate

    con = connect()
    tables = sorted({gate.table for gate in gates})
    report.month_views(shop, con, period, tables, pins)
    return evaluate(con, gates, {table: table for table in tables}, period[:7])


def as_of_instant(con: "duckdb.DuckDBPyConnection", period: str) -> str:
    """The cut-off of the month's last tenant: the instant that the close speaks for, from reference data and not from a clock."""
    row = con.sql(
        "SELECT max(cutoff_day) FROM reference.periods WHERE period = CAST($period AS DATE)", params={"period": period}
    ).fetchall()[0]
    if row[0] is None:
        raise MissionError(f"{period[:7]} lies outside the calendar. Extend start or end in reference/calendar.yaml.")
    return f"{row[0].isoformat()}T23:59:59.999999Z"


def compute(
    shop: Workshop, period: str, pins: Mapping[str, int], gates: Sequence[Gate], before: "Before", bind: Bind = report.month_views
) -> Closing:
    """Judge the month and write its files. `before` gives the previews that these follow.

    `bind` makes the views of the tables: as the lake has them, or computed again.
    """
    from mc_pipelines.acceptance import evaluate
    from mc_pipelines.payload import payload

    con = connect()
    bind(shop, con, period, sorted(pins), pins)
    as_of = as_of_instant(con, period)
    results = evaluate(con, gates, {gate.table: gate.table for gate in gates}, period[:7])
    files = payload(con, month_models(shop), period, as_of, results, before)
    return Closing(DELIVERABLE, period, as_of, pins, gates, results, holds(con, gates, results), _basis(con, period, pins), files)


def _basis(con: "duckdb.DuckDBPyConnection", period: str, pins: Mapping[str, int]) -> int:
    """Number of the newest lock of another month that the corrections know; 0 where there is none, or the close knows of no locks at all."""
    if "metering.locked_tenants" not in pins:
        return 0
    ((basis,),) = con.sql(
        "SELECT coalesce(max(entry), 0) FROM metering.locked_tenants JOIN metering.locked_closes USING (period, edition) "
        "WHERE period <> CAST($period AS DATE)",
        params={"period": period},
    ).fetchall()
    return int(basis)


def attempt(home: Home, month: str, run_id: str = "", progress: Progress = lambda line: None, requested_by: str = "") -> Attempt:
    """Judge and sign the month as the lake has it now, then rebuild the site. Asked again for the same inputs, it returns what stands.

    `requested_by` is who asked for it (default: the user of this machine); they cannot approve it.

    Raises MissionError where a table is missing; a failed gate is no error but a signed verdict.
    """
    from mc_pipelines.evidence.bundle import payload_digest
    from mc_pipelines.evidence.canonical import sha256

    period = month_key(month)
    shop = Workshop.open(home, run_id)
    pins = pinned(shop)
    journal = journal_of(home)
    progress("evaluating the gates and writing the previews")
    closing = compute(shop, period, pins, gates_of(home, DELIVERABLE), lambda batch: _before(home, attempts(journal, month), batch))
    digest = payload_digest({f"data/{name}": sha256(body) for name, body in closing.files.items()})
    fresh = _already(journal.entries(), month, digest) is None
    if fresh:
        progress(f"signing attempt {_next_edition(journal, month)}")
        _sign(shop, closing, digest, journal, requested_by or requester())
    standing = attempts(journal, month)[-1]
    progress("building the site")
    from mc_pipelines.showing import show, show_board

    pages = [*show(home, shop, closing, journal, code_digest(home)), *show_board(home, month)]
    write_views(home)
    return Attempt(
        month, standing["edition"], standing["verdict"], closing.results, home.evidence / standing["bundle"], digest, fresh, pages
    )


def journal_of(home: Home) -> "Journal":
    """The home's journal, to be added to with this machine's key."""
    from mc_pipelines.evidence.journal import Journal
    from mc_pipelines.evidence.signing import signer

    return Journal(home.journal, signer(home.keys))


def lock(home: Home, month: str, tenants: Sequence[str] | None, requested_by: str) -> "Entry":
    """Verify the bundle of the newest edition, then lock what two people approved of it. MissionError as `closing.acts.lock`, or for the bundle."""
    from mc_pipelines.closing.acts import lock as fix
    from mc_pipelines.evidence.signing import known_keys
    from mc_pipelines.evidence.verify import verify

    journal, period = journal_of(home), month_key(month)[:7]
    bundle = home.evidence / fold(journal.entries(), period).newest.bundle
    verdict = verify(bundle, known_keys(home.keys))
    if not verdict.ok:
        raise MissionError(f"{bundle}: {verdict.reasons[0]}. Restore it from a copy; nothing was locked.")
    return fix(journal, period, tenants, requested_by)


def requester() -> str:
    """Who runs this process, as it calls them: MISSION_PERSON, else the user of the machine."""
    from getpass import getuser

    try:
        return os.environ.get("MISSION_PERSON") or getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"uid {os.getuid()}"


def _sign(shop: Workshop, closing: Closing, digest: str, journal: "Journal", requested_by: str) -> None:
    """Build the bundle, then write the journal entry that names it."""
    from mc_pipelines.evidence.bundle import build
    from mc_pipelines.evidence.checkpoint import Head
    from mc_pipelines.evidence.record import predicate

    home, month, failures = shop.home, closing.period[:7], failures_of(closing.results)
    assert journal.signer is not None
    chain = journal.chain()
    counted = fold([entry for entry in chain if not entry.refused], month).waivers
    waivers = [each.document() for each in counted if each.state(failures, datetime.now(UTC)) == "stands"]
    written = predicate(shop, closing, waivers, _of_month(chain, month), Head.of(chain))
    name = f"{_next_edition(journal, month):03d}-{digest[:12]}"
    bundle = build(home.evidence / FOLDER / month, name, closing.files, written, journal.signer)
    reach("close.bundle_built")
    body = {
        "period": month,
        "verdict": report.verdict(closing.results),
        "as_of": closing.as_of,
        "digest": digest,
        "envelope": bundle.envelope,
        "bundle": bundle.path.relative_to(home.evidence).as_posix(),
        "failed": sorted(result.gate for result in closing.results if result.status != "passed" and result.severity == "critical"),
        "failures": failures,
        "values": {result.gate: result.value for result in closing.results},
        "merkle": written["merkle"],
        "invoices": closing.batch.get("digest"),
        "holds": closing.holds.document(),
        "basis": closing.basis,
        "requested_by": requested_by,
    }
    journal.append(
        ATTEMPT,
        lambda _: body | {"edition": _next_edition(journal, month)},
        lambda entries: _already(entries, month, digest),
    )
    reach("close.journal_written")


def failures_of(results: Sequence[GateResult]) -> dict[str, str | None]:
    """By gate that did not pass the digest of its failure; None where there was no evidence, which nobody can waive."""
    return {result.gate: result.failure for result in results if result.status != "passed"}


def _of_month(entries: "Sequence[Entry]", month: str) -> "list[Entry]":
    return [entry for entry in entries if entry.kind == ATTEMPT and entry.body["period"] == month]


def _next_edition(journal: "Journal", month: str) -> int:
    """One more than the attempts so far. Those that a revoked key signed keep their numbers, though they no longer count."""
    return len(_of_month(journal.chain(), month)) + 1


def _already(entries: "Sequence[Entry]", month: str, digest: str) -> "Entry | None":
    """An identical attempt, by us or somebody else, where it is the newest of the month."""
    tried = _of_month(entries, month)
    return tried[-1] if tried and tried[-1].body["digest"] == digest else None


def attempts(journal: "Journal", month: str) -> list[dict[str, Any]]:
    """The signed attempts at one month that count, oldest first."""
    return [dict(entry.body) for entry in _of_month(journal.entries(), month)]


def _before(home: Home, tried: Sequence[Mapping[str, Any]], batch: str) -> Mapping[str, Any] | None:
    """The previews of the newest attempt that rated something else than `batch`: what these are compared with."""
    from mc_pipelines.evidence.bundle import payload_file
    from mc_pipelines.invoicing.batch_files import BATCH, as_previous

    for body in reversed(tried):
        if body.get("invoices") not in (None, batch):
            found = payload_file(home.evidence / body["bundle"], body["digest"], BATCH)
            return as_previous(body["edition"], json.loads(found))
    return None


def standing(home: Home, month: str) -> Attempt:
    """The newest attempt at a month that counts, as its bundle tells it. MissionError where there is none, or the bundle is not as signed."""
    from mc_pipelines.evidence.bundle import payload_file
    from mc_pipelines.evidence.position import journal_at_hand
    from mc_pipelines.payload import GATES

    journal = journal_at_hand(home)
    tried = attempts(journal, month) if journal else []
    if not tried:
        raise MissionError(f"{month} was never closed here. Attempt it: mission close {month}")
    body = tried[-1]
    bundle = home.evidence / body["bundle"]
    results = [GateResult(**each) for each in json.loads(payload_file(bundle, body["digest"], GATES))]
    return Attempt(month, body["edition"], body["verdict"], results, bundle, body["digest"], False, ())
