"""The page that plays drills back: every step with its figures, what failed or was left out said so, nothing markup; and both new pages in a browser."""

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browsing import opened, violations
from test_card import AS_OF, declared, made
from test_site import Page

from mc_pipelines.predictive.card import card
from mc_pipelines.predictive.report import outcome
from mc_pipelines.site.card import card_page
from mc_pipelines.site.drills import clock, drills_page, lanes, lasted

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ODD = "<script>alert(1)</script>"


def step(number: int, began: str, ended: str, seconds: int, **other: str | None) -> dict[str, Any]:
    row = {"step": number, "action": f"Action {number}", "started_at": f"2026-04-28T{began}Z", "finished_at": f"2026-04-28T{ended}Z"}
    return row | {"seconds": seconds, "outcome": "passed", "alert": None, "decision": None} | other


def document() -> dict[str, Any]:
    """One playbook that passed, one that failed at its second step, one that was not drilled; a rehearsal that is equal and one that is not."""
    steps = [
        step(1, "10:00:00", "10:04:00", 240, alert="error share 3.1%", decision=None),
        step(2, "10:04:00", "11:06:05", 3725, decision="Back to 4.1.0"),
    ]
    failed = [step(1, "12:00:00", "12:00:00", 0), step(2, "12:01:00", "12:01:45", 45, outcome="failed", decision=ODD)]
    about = {"owner": "team:ml", "steps": 2}
    books = (("model_rollback", "Roll a model back", 1, 1), ("quota_exhaustion", ODD, 1, 0), ("misuse_wave", "A wave of misuse", 0, 0))
    rehearsal = {"model_version": "4.1.0", "ran_at": "2026-04-27T09:00:00.000000Z", "inputs": 40, "elapsed_ms": "1253.400000000"}
    return {
        "sprint": "35",
        "as_of": AS_OF,
        "playbooks": [
            about | {"playbook": name, "title": title, "runbook": f"docs/runbooks/playbook_{name}.md", "drills": drills, "passed": passed}
            for name, title, drills, passed in books
        ],
        "drills": [
            {"drill_id": "d1", "playbook": "model_rollback", "ran_at": "2026-04-28T10:00:00Z", "outcome": "passed", "steps": steps},
            {"drill_id": "d2", "playbook": "quota_exhaustion", "ran_at": "2026-04-28T12:00:00Z", "outcome": "failed", "steps": failed},
        ],
        "rehearsals": [
            rehearsal | {"rehearsal_id": "h1", "equal": 40, "differing": 0, "unknown": 0, "unproven": 0},
            rehearsal | {"rehearsal_id": "h2", "equal": 35, "differing": 2, "unknown": 4, "unproven": 5},
            rehearsal | {"rehearsal_id": "h3", "equal": 39, "differing": 0, "unknown": 1, "unproven": 1},
        ],
    }


def empty() -> dict[str, Any]:
    return document() | {"playbooks": [], "drills": [], "rehearsals": []}


def shown(tmp_path: Path, report: dict[str, Any]) -> Page:
    (tmp_path / "drills.html").write_bytes(drills_page(report))
    return Page(tmp_path / "drills.html")


def test_every_step_is_played_back_with_its_figures(tmp_path: Path) -> None:
    page = shown(tmp_path, document())
    assert {path: value for path, value in page.figures.items() if path.startswith("drills.0.")} == {
        "drills.0.steps.0.step": "1",
        "drills.0.steps.0.seconds": "240",
        "drills.0.steps.1.step": "2",
        "drills.0.steps.1.seconds": "3725",
    }
    assert (page.figures["rehearsals.1.differing"], page.figures["playbooks.1.passed"]) == ("2", "0")
    text = " ".join(page.text.split()).replace("\u202f", " ")
    for each in ("1 of 3 playbooks drilled and passed", "error share 3.1%", "Back to 4.1.0", "1 h 2 min 5 s", "45 s", "1,253.4 ms"):
        assert each in text
    assert text.count("Not drilled") == text.count("Differs") == text.count("Bit-equal") == text.count("Not proven") == 1
    assert "35-drills.json" in page.links


def test_texts_of_a_drill_are_no_markup(tmp_path: Path) -> None:
    page = shown(tmp_path, document())
    assert "script" not in page.tags
    assert page.text.count(ODD) == 2  # a playbook's title and a decision


def test_a_sprint_without_drills_says_so(tmp_path: Path) -> None:
    text = shown(tmp_path, empty()).text
    for each in ("No playbook is declared.", "No drill ran in this sprint.", "was not rehearsed"):
        assert each in text
    assert "0 of 0 playbooks drilled" in text


def test_a_drill_that_left_steps_out_is_not_shown_as_passed(tmp_path: Path) -> None:
    report = deepcopy(document())
    report["drills"][0]["outcome"] = outcome(report["drills"][0]["steps"], 3)
    assert "Steps left out" in shown(tmp_path, report).text


@pytest.mark.parametrize(
    ("numbers", "failed", "declared_steps", "expected"),
    [
        ((1, 2, 3), (), 3, "passed"),
        ((1, 2), (), 3, "incomplete"),
        ((1, 3, 4), (), 3, "incomplete"),
        ((1, 2, 3, 4), (), 3, "passed"),
        ((1, 2), (2,), 3, "failed"),
    ],
)
def test_a_drill_passes_as_the_mart_counts_it(
    numbers: tuple[int, ...], failed: tuple[int, ...], declared_steps: int, expected: str
) -> None:
    steps = [{"step": each, "outcome": "failed" if each in failed else "passed"} for each in numbers]
    assert outcome(steps, declared_steps) == expected


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3600, "1 h"), (3725, "1 h 2 min 5 s"), (90061, "25 h 1 min 1 s"), (-5, "-5")],
)
def test_durations_are_said_in_hours_minutes_and_seconds(seconds: int, said: str) -> None:
    assert lasted(seconds).replace("\u202f", " ") == said


def test_a_step_of_another_day_carries_its_date() -> None:
    assert clock("2026-04-28T10:04:00Z", "2026-04-28T09:00:00Z") == "10:04"
    assert clock("2026-04-29T00:10:30Z", "2026-04-28T23:00:00Z") == "2026-04-29 00:10:30"


def test_bars_lie_where_the_steps_lie_in_time() -> None:
    # Of 100 s drawn on 150 px: 0-50 s is 0 to 75 px, 50-100 s is 75 to 150; a step of no time is still 2 px wide, within the lane.
    drawn = lanes([step(1, "10:00:00", "10:00:50", 50), step(2, "10:00:50", "10:01:40", 50), step(3, "10:01:40", "10:01:40", 0)])
    assert [
        'x="0.0" y="1" width="75.0"' in drawn[0],
        'x="75.0" y="1" width="75.0"' in drawn[1],
        'x="148.0" y="1" width="2.0"' in drawn[2],
    ] == [True] * 3
    assert lanes([]) == []


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    bare = card(declared().model_copy(update={"risks": (), "fairness": (), "tradeoffs": ()}), [], AS_OF, "0.95")
    drawn = {
        "card": card_page(made()),
        "bare card": card_page(bare),
        "drills": drills_page(document()),
        "bare drills": drills_page(empty()),
    }
    for name, data in drawn.items():
        (folder / f"{name}.html").write_bytes(data)
    return {name: folder / f"{name}.html" for name in drawn}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["card", "bare card", "drills", "bare drills"])
def test_no_axe_violation(browser: "Browser", pages: dict[str, Path], name: str, scheme: str) -> None:
    page, asked = opened(browser, pages[name], color_scheme=scheme)
    assert violations(page) == []
    assert [url for url in asked if not url.startswith("data:")] == [pages[name].as_uri()]
    page.context.close()


@pytest.mark.parametrize("width", [320, 390, 1200])
@pytest.mark.parametrize("name", ["card", "drills"])
def test_the_page_never_scrolls_sideways(browser: "Browser", pages: dict[str, Path], name: str, width: int) -> None:
    page, _ = opened(browser, pages[name], viewport={"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.context.close()
