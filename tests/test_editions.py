"""Published documents: what is signed, what a gate finds when the tables go on, and what customers are shown."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest
from click.testing import CliRunner
from conftest import Bench
from test_marketplace import build, lands, lay

from mc_pipelines.attempts import Attempt, attempt
from mc_pipelines.cli import main
from mc_pipelines.editions import newest_of, publish
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.bundle import payload_file
from mc_pipelines.evidence.record import named_predicate
from mc_pipelines.evidence.signing import known_keys
from mc_pipelines.evidence.vacuum import pins
from mc_pipelines.evidence.verify import verify
from mc_pipelines.journaling import journal_of

GATE = "marketplace_feedback_report_published"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, make_bench: Callable[[Path], Bench]) -> Bench:
    """A home whose sprint is computed and of which nothing is published."""
    bench = make_bench(tmp_path_factory.mktemp("editions") / "home")
    lay(bench)
    build(bench)
    return bench


@pytest.fixture
def bench(built: Bench, tmp_path: Path, make_bench: Callable[[Path], Bench]) -> Bench:
    copytree(built.home.root, tmp_path / "home")
    return Bench(type(built.shop).open(type(built.home)(tmp_path / "home")))


def judged(bench: Bench) -> tuple[str, str | None]:
    build(bench)
    done: Attempt = attempt(bench.home, "marketplace", "7")
    found = next(each for each in done.results if each.gate == GATE)
    return found.status, found.value


def test_a_report_that_nobody_published_fails_the_gate(bench: Bench) -> None:
    assert judged(bench) == ("failed", "0")


def test_an_edition_is_signed_once_and_names_the_one_before(bench: Bench) -> None:
    first = publish(bench.home, "marketplace", "7", "feedback-report", "kim")
    assert publish(bench.home, "marketplace", "7", "feedback-report", "lou").number == first.number
    bundle = bench.home.evidence / first.body["bundle"]
    assert bundle.parent == bench.home.evidence / "marketplace/pilot/partners/7/published/feedback-report"
    assert verify(bundle, known_keys(bench.home.keys), journal=journal_of(bench.home)).ok
    said = json.loads(payload_file(bundle, first.body["digest"], "feedback-report.json"))
    # f1 and f2 say the same, f3 something else; nothing that they wrote is in it.
    assert (said["remarks"], [each["issue_id"] for each in said["issues"]]) == (3, ["tide/f1", "tide/f3"])
    assert judged(bench) == ("passed", "1")
    lands(bench, "feedback", "2026-04-10", [form("f9")], "more.ndjson")
    assert judged(bench) == ("failed", "0")  # more was said than the published report says
    second = publish(bench.home, "marketplace", "7", "feedback-report", "kim")
    assert (second.body["edition"], second.body["predecessor"]) == (2, first.body["digest"])
    assert named_predicate(bench.home, second)["predecessor"] == first.body["digest"]
    assert judged(bench) == ("passed", "1")
    assert [each.number for each in newest_of(journal_of(bench.home).entries(), "marketplace")] == [second.number]
    # What an edition was made from is pinned, so that no vacuum takes it away.
    assert len(pins(bench.home, journal_of(bench.home).chain())["marketplace.feedback_draft"]) >= 2


def form(identity: str) -> dict[str, object]:
    return {
        "feedback_id": identity,
        "partner_id": "tide",
        "category": "docs",
        "severity": "low",
        "text": "the manual is unclear",
        "contact_consent": "no",
        "submitted_at": "2026-04-10T09:00:00Z",
    }


def test_an_edition_that_is_lost_or_changed_counts_no_more(bench: Bench) -> None:
    entry = publish(bench.home, "marketplace", "7", "feedback-report", "kim")
    file = bench.home.evidence / entry.body["bundle"] / "data" / "feedback-report.json"
    kept = file.read_bytes()
    file.write_bytes(kept.replace(b'"remarks":3', b'"remarks":4'))
    assert judged(bench) == ("failed", "0")
    file.write_bytes(kept)
    assert judged(bench) == ("passed", "1")


def test_what_cannot_be_published_is_said(bench: Bench) -> None:
    with pytest.raises(MissionError, match=r"marketplace publishes no card. It publishes feedback-report"):
        publish(bench.home, "marketplace", "7", "card", "kim")
    with pytest.raises(MissionError, match=r"metering publishes no card. It publishes nothing"):
        publish(bench.home, "metering", "2026-04", "card", "kim")
    assert not bench.home.journal.exists() or not newest_of(journal_of(bench.home).entries(), "marketplace")


def test_nothing_said_is_nothing_to_publish(tmp_path: Path, make_bench: Callable[[Path], Bench], built: Bench) -> None:
    bench = make_bench(tmp_path / "home")
    for name in ("reference", "keys"):
        copytree(built.home.root / name, bench.home.root / name, dirs_exist_ok=True)
    build(bench)
    with pytest.raises(MissionError, match=r"7: marketplace.feedback_draft has nothing to publish yet"):
        publish(bench.home, "marketplace", "7", "feedback-report", "kim")


def test_the_command_publishes_and_shows(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISSION_HOME", str(bench.home.root))
    done = CliRunner().invoke(main, ["edition", "marketplace", "7"])
    assert done.exit_code == 0, done.output
    page = bench.home.site / "marketplace" / "7-feedback.html"
    assert f"page     {page}" in done.output
    assert "3 forms about 2 issues" in page.read_text(encoding="utf-8").replace("</span>", "").replace(
        '<span class="n" data-path="remarks" data-value="3">', ""
    )
    again = CliRunner().invoke(main, ["edition", "marketplace", "7", "--json"])
    (said,) = json.loads(again.stdout)
    assert (said["document"], said["edition"]) == ("feedback-report", 1)
