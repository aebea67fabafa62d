"""One attempt at closing a month, and its lock: what the metering close does beyond the attempt at any window.

An edition knows whom each gate holds, which lock of another month its corrections rest on, and the invoices that it rated. Approval and
publication are not decided here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mc_pipelines import attempts as windows_attempted
from mc_pipelines import report
from mc_pipelines.attempts import Attempt, Bind, Judged, attempts, failures_of, sign
from mc_pipelines.closing.holds import Holds, holds
from mc_pipelines.closing.states import fold
from mc_pipelines.engine import connect
from mc_pipelines.errors import MissionError
from mc_pipelines.gates import Gate, gates_of
from mc_pipelines.home import Home
from mc_pipelines.journaling import Progress, journal_of, requester
from mc_pipelines.runner import Workshop
from mc_pipelines.shell import write_views
from mc_pipelines.windows import Window, as_of_instant, month_key

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.evidence.entry import Entry
    from mc_pipelines.payload import Before

DELIVERABLE = "metering"


@dataclass(frozen=True)
class Closing(Judged):
    """A month judged and written out, with whom its gates hold and the newest lock of another month that its corrections know."""

    holds: Holds
    basis: int

    @property
    def batch(self) -> Mapping[str, Any]:
        """What is said of all invoices; empty where none was rated."""
        from mc_pipelines.invoicing.batch_files import BATCH

        found: Mapping[str, Any] = json.loads(self.files.get(BATCH, b"{}"))
        return found

    @property
    def said(self) -> Mapping[str, Any]:
        return {"invoices": self.batch.get("digest"), "holds": self.holds.document(), "basis": self.basis}


def pinned(shop: Workshop, months: bool = True) -> dict[str, int]:
    """As `attempts.pinned`, of a month's close."""
    return windows_attempted.pinned(shop, DELIVERABLE, months)


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
    window = Window(period[:7], period, as_of_instant(con, period))
    results = evaluate(con, gates, {gate.table: gate.table for gate in gates}, window.name)
    files = payload(con, shop.catalog.judged(DELIVERABLE), window, results, before)
    return Closing(DELIVERABLE, window, pins, gates, results, files, holds(con, gates, results), _basis(con, period, pins))


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
    from mc_pipelines.showing import show_board, show_month

    period = month_key(month)
    shop, journal = Workshop.open(home, run_id), journal_of(home)
    pins = pinned(shop)
    progress("evaluating the gates and writing the previews")
    tried = attempts(journal, DELIVERABLE, month)
    closing = compute(shop, period, pins, gates_of(home, DELIVERABLE), lambda batch: _before(home, tried, batch))
    fresh = sign(shop, closing, journal, requested_by or requester(), progress, lambda chain: _waived(chain, closing))
    standing = attempts(journal, DELIVERABLE, month)[-1]
    progress("building the site")
    pages = [*show_month(home, month), *show_board(home, month)]
    write_views(home)
    bundle = home.evidence / standing["bundle"]
    return Attempt(month, standing["edition"], standing["verdict"], closing.results, bundle, standing["digest"], fresh, pages)


def _waived(chain: "Sequence[Entry]", closing: Closing) -> list[dict[str, Any]]:
    """The waivers that stand on what failed in a month."""
    failures = failures_of(closing.results)
    counted = fold([entry for entry in chain if not entry.refused], closing.window.name).waivers
    return [each.document() for each in counted if each.state(failures, datetime.now(UTC)) == "stands"]


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


def _before(home: Home, tried: Sequence[Mapping[str, Any]], batch: str) -> Mapping[str, Any] | None:
    """The previews of the newest attempt that rated something else than `batch`: what these are compared with."""
    from mc_pipelines.evidence.bundle import payload_file
    from mc_pipelines.invoicing.batch_files import BATCH, as_previous

    for body in reversed(tried):
        if body.get("invoices") not in (None, batch):
            found = payload_file(home.evidence / body["bundle"], body["digest"], BATCH)
            return as_previous(body["edition"], json.loads(found))
    return None
