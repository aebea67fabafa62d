"""Copies of a record that say something else are named, whatever the source; copies that say the same are not."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

from conftest import Bench
from test_marketplace import build, lands, lay

from mc_pipelines.attempts import attempt
from mc_pipelines.calendars import days

FORM = {
    "feedback_id": "g1",
    "partner_id": "tide",
    "category": "docs",
    "severity": "low",
    "text": "the manual is unclear",
    "contact_consent": "no",
    "submitted_at": "2026-04-07T09:00:00Z",
}


def test_a_copy_that_differs_is_named_and_the_first_counts(tmp_path: Path, make_bench: Callable[[Path], Bench]) -> None:
    bench = make_bench(tmp_path / "home")
    lay(bench)
    lands(bench, "feedback", "2026-04-07", [FORM], "g.ndjson")
    lands(bench, "feedback", "2026-04-08", [FORM, FORM | {"severity": "high"}], "again.ndjson")
    # Sent alike: no conflict. Sent otherwise after the cut-off of 15 April: none of this sprint.
    same = FORM | {"feedback_id": "g2"}
    lands(bench, "feedback", "2026-04-09", [same, same], "same.ndjson")
    lands(bench, "feedback", "2026-04-16", [same | {"severity": "high"}], "late.ndjson")
    build(bench, (days("2026-04-01", "2026-04-16"),))
    found = bench.rows("SELECT source, record, copies, versions, first_day, last_day FROM marketplace.conflicts", "marketplace.conflicts")
    assert [row for row in found if row[1].endswith(("g1", "g2"))] == [("feedback", "tide / g1", 3, 2, date(2026, 4, 7), date(2026, 4, 8))]
    counts = dict(bench.rows("SELECT source, conflicts FROM marketplace.conflict_counts", "marketplace.conflict_counts"))
    assert counts.keys() == {"actions", "connect_requests", "feedback"}
    gate = next(each for each in attempt(bench.home, "marketplace", "7").results if each.gate == "marketplace_conflicts")
    assert (gate.status, gate.severity, gate.value) == ("failed", "warning", str(counts["feedback"]))
