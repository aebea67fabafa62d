"""What the site shows of a close: after its attempt, and again after every act, from the journal and the bundles.

Nothing is computed or judged here; pages are drawn in `site/`.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mc_pipelines import report
from mc_pipelines.close import DELIVERABLE, Closing, attempts, journal_of, month_key
from mc_pipelines.closing.states import ATTEMPT, REHEARSAL, fold
from mc_pipelines.evidence.bundle import payload_files
from mc_pipelines.evidence.record import named_predicate
from mc_pipelines.gates import GateResult
from mc_pipelines.home import Home
from mc_pipelines.payload import GATES, METERING
from mc_pipelines.runner import Workshop

if TYPE_CHECKING:
    from mc_pipelines.evidence.journal import Journal


def show(home: Home, shop: Workshop, closing: Closing, journal: "Journal", code: str) -> Sequence[Path]:
    """Write scoreboard, metering report and the page of the invoices; returns the files whose bytes changed. `code` computed the close."""
    from mc_pipelines.invoicing.batch_files import tenant_files
    from mc_pipelines.site.build import build as build_site

    month, entries = closing.period[:7], journal.entries()
    tried = attempts(journal, month)
    history: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        if entry.kind == ATTEMPT:
            for gate, value in entry.body["values"].items():
                history.setdefault(gate, []).append({"period": f"{entry.body['period']} #{entry.body['edition']}", "value": value})
    close = fold(entries, month, datetime.now(UTC))
    board = report.scoreboard(shop, closing.period, closing.as_of, closing.results, code, history, close)
    board["attempts"] = [{key: entry[key] for key in ("edition", "verdict", "as_of", "bundle", "digest", "failed")} for entry in tried]
    board["bundle"] = tried[-1]["bundle"] if tried else None
    others = [(f"finance/{month}.html", f"Finance {month}")]
    if any(entry.kind == REHEARSAL for entry in entries):
        others.append(("tonight.html", "Tonight"))
    batch = {**closing.batch, "waived": sorted(close.waived)} if closing.batch else {}
    return build_site(home.site, board, json.loads(closing.files[METERING]), batch, tenant_files(closing.files), others)


def show_again(home: Home, month: str) -> Sequence[Path]:
    """Write the pages of a month's newest edition; returns the files whose bytes changed. MissionError where its bundle is not as signed."""
    journal = journal_of(home)
    entries = journal.entries()
    newest = fold(entries, month).newest
    files = payload_files(home.evidence / newest.bundle, newest.digest)
    predicate = named_predicate(home, next(entry for entry in entries if entry.number == newest.entry))
    results = [GateResult(**each) for each in json.loads(files[GATES])]
    closing = Closing(DELIVERABLE, month_key(month), predicate["as_of"], {}, (), results, newest.holds, newest.basis, files)
    return show(home, Workshop.open(home), closing, journal, predicate["code"]["digest"])


def show_tonight(home: Home, document: Mapping[str, Any]) -> Sequence[Path]:
    """Write the page of a rehearsal; the first one is linked from the scoreboard of the month that was attempted last."""
    from mc_pipelines.site.finance import build_tonight

    entries = journal_of(home).entries()
    tried = [entry for entry in entries if entry.kind == ATTEMPT]
    pages = build_tonight(home.site, document, bool(tried))
    if tried and sum(entry.kind == REHEARSAL for entry in entries) == 1:
        return [*pages, *show_again(home, tried[-1].body["period"])]
    return pages


def show_board(home: Home, month: str) -> Sequence[Path]:
    """Write the finance dashboard of a month; returns the files whose bytes changed.

    Where somebody acted meanwhile it is written again, so that of several who write at once the last word is the journal's.
    """
    from mc_pipelines.closing.board import board
    from mc_pipelines.site.finance import build_board

    journal = journal_of(home)
    entries = journal.entries()
    while fold(entries, month).editions:
        pages = build_board(home.site, board(home, entries, month, datetime.now(UTC)))
        read, entries = len(entries), journal.entries()
        if len(entries) == read:
            return pages
    return ()
