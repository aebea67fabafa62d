"""A generated marketplace against its own truth, read back without the pipeline."""

import gzip
import json
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from mc_pipelines.demo import place
from mc_pipelines.errors import MissionError
from mc_pipelines.marketplace.demo import FIRST, LAST, demo_marketplace
from mc_pipelines.marketplace.simulate import simulate
from mc_pipelines.marketplace.simulated_truth import PLAIN, Request, Troubles, Truth

Rows = list[dict[str, Any]]
SOURCES = [f"source-{each:02d}" for each in range(1, 12)]
PARTNERS = [f"partner-{each}" for each in range(1, 6)]
TWO_DAYS = timedelta(days=2)
FOLLOWS = {
    None: {"requested"},
    "requested": {"triaged", "rejected", "withdrawn"},
    "triaged": {"approved", "rejected", "withdrawn"},
    "approved": {"connected", "rejected", "withdrawn"},
}


def read(landing: Path, source: str, name: str = "*") -> Rows:
    """Rows of the files of this name; bad rows only where they are asked for."""
    files = [path for path in sorted((landing / source).glob(f"*/{name}.ndjson.gz")) if name != "*" or path.name[:9] != "malformed"]
    lines = [(path, line) for path in files for line in gzip.decompress(path.read_bytes()).splitlines()]
    return [json.loads(line) | {"landed": path.parent.name} for path, line in lines]


def made(landing: Path, troubles: Troubles = PLAIN) -> Truth:
    return demo_marketplace(landing, place, SOURCES, PARTNERS, troubles)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    landing = tmp_path_factory.mktemp("demo")
    return landing, made(landing)


def at(row: dict[str, Any], field: str = "occurred_at") -> datetime:
    return datetime.fromisoformat(row[field])


def walked(rows: Rows) -> tuple[dict[str, Request], dict[tuple[str, str], str]]:
    """Each request's possible events one after the other, and the impossible ones with their reason."""
    found, refused = {}, {}
    by_request: dict[str, Rows] = defaultdict(list)
    for row in sorted(rows, key=at):
        by_request[row["request_id"]].append(row)
    for ident, events in by_request.items():
        state, begun, connected, tenant, been = None, None, None, events[0]["tenant_id"], set()
        for row in events:
            if row["tenant_id"] != tenant or row["state"] in been or row["state"] not in FOLLOWS.get(state, set()):
                why = "contradiction" if row["tenant_id"] != tenant else "duplicate" if row["state"] in been else "transition"
                refused[ident, row["state"]] = why
                continue
            state = row["state"]
            been.add(state)
            begun = begun or at(row)
            connected = at(row) - begun if state == "connected" else None
        found[ident] = Request(state, begun, connected)
    return found, refused


def test_rows_land_as_the_truth_counts_them(plain: tuple[Path, Truth]) -> None:
    landing, truth = plain
    for source, count in truth.rows.items():
        bad, copies = len(read(landing, source, "malformed")), len(read(landing, source, "copies"))
        assert (sum(truth.malformed[source].values()), truth.copies[source]) == (bad, copies)
        assert count == len(read(landing, source, source)) + bad + copies
        assert copies > 0
    assert len(truth.requests) == 120


def test_every_event_lands_on_its_day_and_a_copy_the_day_after(plain: tuple[Path, Truth]) -> None:
    landing, truth = plain
    fields = {"connect_requests": "occurred_at", "feedback": "submitted_at", "actions": "recorded_at"}
    for source, field in fields.items():
        rows, copies = read(landing, source, source), read(landing, source, "copies")
        assert all(row["landed"] == row[field][:10] for row in rows)
        assert all(at(row, field) <= truth.end for row in rows)
        said = [{name: value for name, value in row.items() if name != "landed"} for row in rows]
        for copy in copies:
            assert date.fromisoformat(copy.pop("landed")) == at(copy, field).date() + timedelta(days=1)
            assert copy in said
        assert {row["landed"] for row in rows} <= {(FIRST + timedelta(days=step)).isoformat() for step in range((LAST - FIRST).days + 1)}


def test_states_durations_and_impossible_transitions(plain: tuple[Path, Truth]) -> None:
    landing, truth = plain
    found, refused = walked(read(landing, "connect_requests", "connect_requests"))
    assert found == truth.requests
    assert refused == truth.impossible
    assert Counter(refused.values()) == {"transition": 4, "duplicate": 1, "contradiction": 1}
    states = Counter(each.state for each in found.values())
    assert {"requested", "triaged", "approved", "connected", "rejected", "withdrawn", None} == set(states)
    assert states[None] == 1


def medians(truth: Truth) -> tuple[timedelta, timedelta | None]:
    """Median of those connected, and by Kaplan-Meier with whoever waits or withdrew as censored (withdrawn: at the end, which is longer)."""
    done = sorted(each.connected_after for each in truth.requests.values() if each.connected_after is not None)
    waiting = [truth.end - each.requested for each in truth.requests.values() if each.state in FOLLOWS and each.requested]
    known = sorted([(each, 0) for each in done] + [(each, 1) for each in waiting])
    survival = Fraction(1)
    for place_, (duration, censored) in enumerate(known):
        survival *= 1 if censored else Fraction(len(known) - place_ - 1, len(known) - place_)
        if survival <= Fraction(1, 2):
            return done[(len(done) - 1) // 2], duration
    return done[(len(done) - 1) // 2], None


def test_plain_requests_are_connected_within_two_days(plain: tuple[Path, Truth]) -> None:
    closed_only, by_all = medians(plain[1])
    assert by_all is not None
    assert closed_only <= by_all < TWO_DAYS


def test_a_backlog_hides_behind_those_connected(tmp_path: Path) -> None:
    truth = made(tmp_path, Troubles(backlog=True))
    assert walked(read(tmp_path, "connect_requests", "connect_requests")) == (truth.requests, truth.impossible)
    closed_only, by_all = medians(truth)
    assert closed_only < TWO_DAYS
    assert by_all is None or by_all >= TWO_DAYS
    waiting = sum(each.state in FOLLOWS for each in truth.requests.values())
    assert 0.35 < waiting / len(truth.requests) < 0.55


def test_slow_connections_are_slow(tmp_path: Path) -> None:
    truth = made(tmp_path, Troubles(slow=True))
    closed_only, by_all = medians(truth)
    assert by_all is not None
    assert timedelta(days=3) < closed_only <= by_all


def test_feedback_has_every_category_and_its_groups(plain: tuple[Path, Truth]) -> None:
    landing, truth = plain
    rows = {row["feedback_id"]: row for row in read(landing, "feedback", "feedback")}
    assert truth.feedback == {ident: row["category"] for ident, row in rows.items()}
    assert set(Counter(truth.feedback.values())) == {"bug", "data_quality", "sla", "docs", "feature", "other"}

    def plainly(text: str) -> str:
        return "".join(letter for letter in text.lower() if letter.isalnum())

    alike: dict[str, set[str]] = defaultdict(set)
    for ident, row in rows.items():
        alike[plainly(row["text"])].add(ident)
    assert {frozenset(each) for each in alike.values() if len(each) > 1} == truth.same_words
    for group in truth.other_words:
        one, two = ({plainly(word) for word in rows[ident]["text"].split()} for ident in sorted(group))
        assert one < two | {""}  # the second says all that the first says, and more
    assert (len(truth.same_words), len(truth.other_words)) == (9, 4)


TAGS = {
    "access": ("login", "connector"),
    "documentation": ("example", "unclear"),
    "freshness": ("late", "outdated"),
    "licence": ("licence",),
    "performance": ("timeout",),
    "privacy": ("privacy",),
    "quality": ("missing", "wrong"),
    "response-time": ("no answer",),
}
"""Words of the texts that the marketplace's tagging rules know."""


def test_every_tag_is_there(plain: tuple[Path, Truth]) -> None:
    landing, truth = plain
    found = {}
    for row in read(landing, "feedback", "feedback"):
        words = f" {' '.join(''.join(letter if letter.isalnum() else ' ' for letter in row['text'].lower()).split())} "
        found[row["feedback_id"]] = {tag for tag, known in TAGS.items() if any(f" {word} " in words for word in known)}
    assert found == truth.tags
    assert set().union(*found.values()) == set(TAGS)


def test_different_issues_share_at_most_one_of_their_parts(plain: tuple[Path, Truth]) -> None:
    landing, _ = plain
    from mc_pipelines.marketplace.simulated_feedback import CATEGORIES, WHEN

    seen = []
    for row in read(landing, "feedback", "feedback"):
        if not row["feedback_id"].endswith("-b"):
            parts = {part for part in (*CATEGORIES[row["category"]][0], *CATEGORIES[row["category"]][1], *WHEN) if part in row["text"]}
            seen.append((row["category"], parts))
    assert all(len(parts) == 3 for _, parts in seen)
    assert all(len(one & two) <= 1 for place_, (kind, one) in enumerate(seen) for other, two in seen[:place_] if kind == other)


def test_what_is_personal_is_known(plain: tuple[Path, Truth]) -> None:
    landing, truth = plain
    rows = read(landing, "feedback", "feedback")
    assert {row["contact"] for row in rows if "contact" in row} <= truth.personal
    assert {row["by"] for row in read(landing, "connect_requests", "connect_requests")} <= truth.personal
    asked = [row["text"].partition("Ask ")[2].partition(" for details")[0] for row in rows if "Ask " in row["text"]]
    assert len(asked) >= 7
    assert set(asked) <= truth.personal
    for needle in truth.personal:
        assert any(needle in json.dumps(row, ensure_ascii=False) for row in rows + read(landing, "connect_requests")), needle
    assert not any(row["contact_consent"] == "no" and "contact" in row for row in rows)  # such a form is refused


def untracked(landing: Path) -> set[str]:
    """The first feedback of what nobody has an action for, groups of the same words taken together."""
    tracked = {row["feedback_id"].removesuffix("-b") for row in read(landing, "actions", "actions")}
    return {row["feedback_id"].removesuffix("-b") for row in read(landing, "feedback", "feedback")} - tracked


def test_actions_follow_feedback(plain: tuple[Path, Truth]) -> None:
    landing, truth = plain
    submitted = {row["feedback_id"]: at(row, "submitted_at") for row in read(landing, "feedback", "feedback")}
    states: dict[str, list[str]] = defaultdict(list)
    for row in sorted(read(landing, "actions", "actions"), key=lambda row: row["recorded_at"]):
        assert at(row, "recorded_at") > submitted[row["feedback_id"]]
        states[row["action_id"]].append(row["state"])
    assert all(each in (["open", "in_progress", "done"][: len(each)], ["dropped"]) for each in states.values())
    assert truth.actions == {ident: each[-1] for ident, each in states.items()}
    assert untracked(landing) == truth.untracked == set()


def test_two_issues_are_untracked(tmp_path: Path) -> None:
    truth = made(tmp_path, Troubles(untracked=True))
    assert untracked(tmp_path) == truth.untracked
    assert len(truth.untracked) == 2
    assert all(truth.tags[ident] for ident in truth.untracked)


def test_the_same_seed_gives_the_same_bytes(plain: tuple[Path, Truth], tmp_path: Path) -> None:
    landing, truth = plain
    assert made(tmp_path) == truth
    names = sorted(path.relative_to(landing) for path in landing.rglob("*.gz"))
    assert names == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.gz"))
    assert all((landing / name).read_bytes() == (tmp_path / name).read_bytes() for name in names)
    assert made(tmp_path) == truth  # the same bytes again are left alone


def test_without_faults_no_row_is_bad_and_none_is_a_copy(tmp_path: Path) -> None:
    truth = simulate(tmp_path, SOURCES, ["one", "two"], PARTNERS, FIRST, LAST, 30, 20, 5, faults=False)
    assert (truth.malformed, truth.copies) == ({}, {})
    assert {path.name for path in tmp_path.rglob("*.gz")} == {"connect_requests.ndjson.gz", "feedback.ndjson.gz", "actions.ndjson.gz"}


@pytest.mark.parametrize(
    ("tenants", "last", "count", "issues"),
    [(["one"], LAST, 30, 20), (["a", "b"], FIRST, 30, 20), (["a", "b"], LAST, 5, 20), (["a", "b"], LAST, 30, 109)],
)
def test_impossible_arguments_are_refused(tmp_path: Path, tenants: list[str], last: date, count: int, issues: int) -> None:
    with pytest.raises(MissionError, match="3 to 108 issues"):
        simulate(tmp_path, SOURCES, tenants, PARTNERS, FIRST, last, count, issues, 5)
    assert not list(tmp_path.iterdir())
