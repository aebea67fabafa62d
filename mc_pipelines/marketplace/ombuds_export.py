"""An Ombuds export that somebody asks for: the trail as the lake has it now, a signed bundle in their folder, and a journal entry that names it.

The entry names the bundle by its envelope and says nothing of the folder: an export is handed over, so nothing here rests on it later.
"""

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mc_pipelines.attempts import pinned
from mc_pipelines.engine import connect
from mc_pipelines.evidence.checkpoint import Head
from mc_pipelines.journaling import journal_of
from mc_pipelines.marketplace.ombuds_marts import Subject, signed, trail
from mc_pipelines.report import month_views
from mc_pipelines.runner import Workshop
from mc_pipelines.windows import sprint_named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mc_pipelines.evidence.entry import Entry
    from mc_pipelines.home import Home

KIND = "marketplace.ombuds_export"


@dataclass(frozen=True)
class Exported:
    """A bundle that was handed over, how many records it holds, and the journal entry that names it."""

    path: Path
    records: int
    entry: int


def export_trail(home: "Home", sprint: str, subject: Subject, subject_id: str, out: Path, requested_by: str) -> Exported:
    """Sign the trail of a source or tenant into a folder under `out`. Asked again for the same bytes, it returns what stands.

    MissionError for a subject that nobody declared, and for a sprint whose tables were never built.
    """
    window, shop, con = sprint_named(home, sprint), Workshop.open(home), connect()
    pins = pinned(shop, "marketplace")
    month_views(shop, con, window.key, sorted(pins), pins)
    as_of = datetime.fromisoformat(window.as_of).replace(tzinfo=None)
    made = trail(con, home, subject, subject_id, date.fromisoformat(window.key), as_of)
    journal = journal_of(home)
    assert journal.signer is not None
    seen = Head.of(journal.chain()).document()
    bundle = signed(out, f"ombuds-{subject}-{subject_id}", made, as_of, journal.signer, seen)
    body = {
        "subject": subject,
        "subject_id": subject_id,
        "period": window.name,
        "as_of": window.as_of,
        "digest": bundle.digest,
        "envelope": bundle.envelope,
        "requested_by": requested_by,
    }
    entry = journal.append(KIND, body, lambda entries: _named(entries, bundle.envelope))
    return Exported(bundle.path, sum(made.counts.values()), entry.number)


def _named(entries: "Sequence[Entry]", envelope: str) -> "Entry | None":
    return next((each for each in entries if each.kind == KIND and each.body["envelope"] == envelope), None)
