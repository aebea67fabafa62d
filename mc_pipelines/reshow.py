"""A close that stands, shown again from its bundle: what was waived since must be seen, and nothing is computed or judged for it."""

import json
from collections.abc import Sequence
from pathlib import Path

from mc_pipelines.close import DELIVERABLE, Closing, journal_of, month_key, show
from mc_pipelines.closing.states import fold
from mc_pipelines.evidence.bundle import payload_files
from mc_pipelines.evidence.record import named_predicate
from mc_pipelines.gates import GateResult
from mc_pipelines.home import Home
from mc_pipelines.payload import GATES
from mc_pipelines.runner import Workshop


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
