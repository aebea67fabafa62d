"""Feedback: forms, tags, duplicates, and the actions that every tagged issue must have."""

import json
import re
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from mc_pipelines.cli import main
from mc_pipelines.home import CHECKOUT, Home
from mc_pipelines.intake import try_rows
from mc_pipelines.marketplace.declared import Tag, Tagging, read_tagging
from mc_pipelines.marketplace.feedback import Action, Feedback, check_form, first_landed, groups, issues, normalised, tags_of

START = datetime.fromisoformat("2026-05-04T09:00:00")
AS_OF = datetime.fromisoformat("2026-05-18T00:00:00")
TEMPLATE = CHECKOUT / "docs" / "product" / "mpd_partner_feedback_template.md"
TAGS = Tagging(duplicate_days=14, tags=(Tag(tag="slow", any_of=("slow", "time out")),))


def remark(
    name: str, text: str = "It is slow", days: float = 0, partner: str = "north", category: str = "bug", severity: str = "low"
) -> Feedback:
    return Feedback(name, partner, category, severity, text, START + timedelta(days=days))


def action(
    name: str,
    about: str,
    state: str = "open",
    due: str = "2026-05-20",
    recorded: float = 1,
    owner: str = "team:data",
    landed: int = 0,
    partner: str = "north",
) -> Action:
    return Action(name, partner, about, owner, date.fromisoformat(due), state, START + timedelta(days=recorded), (landed,))


def form(**changes: Any) -> bytes:
    sample = json.loads(re.findall(r"```json\n(.*?)```", TEMPLATE.read_text(encoding="utf-8"), re.DOTALL)[0])
    return json.dumps({name: value for name, value in (sample | changes).items() if value is not None}, indent=1).encode()


def test_the_example_of_the_template_is_accepted_and_names_every_field() -> None:
    assert check_form(form()) == []
    assert check_form(form(contact_consent="yes", contact="data@example.org")) == []
    schema = json.loads((CHECKOUT / "docs" / "schemas" / "partner-feedback.json").read_text(encoding="utf-8"))
    fields = TEMPLATE.read_text(encoding="utf-8").split("| Severity |")[0]
    assert set(re.findall(r"^\| `(\w+)`", fields, re.MULTILINE)) == set(schema["properties"])


@pytest.mark.parametrize(
    ("changes", "places"),
    [
        ({"contact": "data@example.org"}, ["$.contact"]),
        ({"category": "praise", "severity": "huge"}, ["$.category", "$.severity"]),
        ({"text": " \n"}, ["$.text"]),
        ({"text": None}, ["$"]),
        ({"text": "x" * 4001}, ["$.text"]),
        ({"submitted_at": "2026-05-04T09:30:00"}, ["$.submitted_at"]),
        ({"submitted_at": "2026-05-04T09:30:00Z\n"}, ["$.submitted_at"]),
        ({"contact_consent": True}, ["$.contact_consent"]),
        ({"name": "Ada"}, ["$"]),
    ],
)
def test_every_fault_of_a_form_is_named(changes: dict[str, Any], places: list[str]) -> None:
    assert [each.where for each in check_form(form(**changes))] == places


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"contact_consent": "yes", "contact": "data@example.org"}, ""),
    ({"feedback_id": "F 1"}, "feedback_id:pattern"),
    ({"feedback_id": "f" * 65}, "feedback_id:pattern"),
    ({"feedback_id": "f1\n"}, "feedback_id:pattern"),
    ({"contact": "data@example.org"}, "contact:consent"),
    ({"contact_consent": "yes", "contact": " "}, "contact:blank"),
    ({"contact_consent": "yes", "contact": "x" * 201}, "contact:maxLength"),
    ({"category": "praise"}, "category:pattern"),
    ({"severity": "huge"}, "severity:pattern"),
    ({"text": " \n"}, "text:blank"),
    ({"text": "\u00a0\u2003\x85\x1f"}, "text:blank"),
    ({"text": "ä"}, ""),
    ({"text": "ä" * 4000}, ""),
    ({"text": "x" * 4001}, "text:maxLength"),
    ({"text": None}, "text:missing"),
    ({"submitted_at": "2026-05-04T09:30:00"}, "submitted_at:zone"),
]


@pytest.mark.parametrize(("changes", "reason"), FAULTS)
def test_a_row_is_refused_at_the_door_for_what_the_form_is_refused_for(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "form.ndjson"
    path.write_text(json.dumps(json.loads(form(**changes))) + "\n", encoding="utf-8")
    accepted, refused = try_rows(Home(CHECKOUT / "data"), path, "feedback")
    assert [each["reasons"] for each in refused] == ([reason] if reason else [])
    assert len(accepted) + len(refused) == 1
    assert bool(check_form(form(**changes))) == bool(reason)


ACTION = {
    "recorded_at": "2026-05-04T09:30:00Z",
    "action_id": "a1",
    "partner_id": "northgate",
    "feedback_id": "f1",
    "owner": "team:data",
    "due": "2026-05-20",
    "state": "open",
}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"due": "2026-02-30"}, "due:day"),  # there is none
        ({"due": "0000-01-01"}, "due:day"),  # DuckDB knows this day and Python does not
        ({"due": "9999-12-31"}, "due:day"),  # the day after is none
        ({"due": "2199-12-31"}, ""),
        ({"owner": "Jane Q. Secretperson <jane@mail.example>"}, "owner:pattern"),  # owners are shown
    ],
)
def test_an_action_that_cannot_be_counted_or_shown_is_refused_at_the_door(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "actions.ndjson"
    path.write_text(json.dumps(ACTION | changes) + "\n", encoding="utf-8")
    refused = try_rows(Home(CHECKOUT / "data"), path, "actions")[1]
    assert [each["reasons"] for each in refused] == ([reason] if reason else [])


def test_a_form_of_a_partner_that_nobody_declared_is_quarantined(tmp_path: Path) -> None:
    path = tmp_path / "form.ndjson"
    path.write_text(json.dumps(json.loads(form(partner_id="nobody"))) + "\n", encoding="utf-8")
    assert [each["reasons"] for each in try_rows(Home(CHECKOUT / "data"), path, "feedback")[1]] == ["partner_id:unknown_partner"]


def test_the_command_lists_every_fault_with_its_path(tmp_path: Path) -> None:
    path, run = tmp_path / "form.json", CliRunner().invoke
    path.write_bytes(form())
    sound = run(main, ["feedback", "check", str(path)])
    assert (sound.exit_code, sound.output) == (0, f"{path}: no problems\n")
    path.write_bytes(form(category="praise", contact="data@example.org"))
    bad = run(main, ["feedback", "check", str(path), "--json"])
    assert (bad.exit_code, [each["where"] for each in json.loads(bad.output)]) == (1, ["$.category", "$.contact"])
    assert run(main, ["feedback", "check", str(path)]).output.splitlines()[-1] == "2 problem(s)"


def test_a_form_that_is_no_json_is_said() -> None:
    assert [each.line for each in check_form(b'{\n"text": ')] == [2]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("It is SLOW!!", "it is slow"),
        ("  It…is\n\tslow ", "it is slow"),
        ("Straße", "strasse"),
        ("ﬁle", "file"),
        ("Cafe\u0301", "café"),
        ("हिन्दी", "हिन्दी"),
        ("—", ""),
    ],
)
def test_words_are_compared_without_case_marks_and_blanks(text: str, same: str) -> None:
    assert normalised(text) == same


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)


def test_tags_are_given_by_whole_words_phrases_and_beginnings_in_their_categories() -> None:
    rules = (
        Tag(tag="slow", any_of=("slow", "Time-Out")),
        Tag(tag="delay", any_of=("delay*",)),
        Tag(tag="gap", any_of=("missing",), categories=("data_quality",)),
    )
    assert tags_of(remark("f", "SLOW; then a time out"), rules) == ("slow",)
    assert tags_of(remark("f", "slowly, sometimes out of time"), rules) == ()
    assert tags_of(remark("f", "Delayed, and missing"), rules) == ("delay",)
    assert tags_of(remark("f", "Delayed, and missing", category="data_quality"), rules) == ("delay", "gap")
    assert tags_of(remark("f", ".* slow|"), rules) == ("slow",)


def test_the_declared_rules_tag_what_they_say() -> None:
    rules = read_tagging(Home(CHECKOUT / "data")).tags
    assert tags_of(remark("f", "Values of station 17 are missing and late", category="data_quality"), rules) == ("freshness", "quality")
    assert tags_of(remark("f", "No answer for a week", category="sla"), rules) == ("response-time",)
    assert tags_of(remark("f", "Thank you", category="other"), rules) == ()


def test_the_same_words_within_the_days_are_one_issue_named_by_the_first() -> None:
    remarks = [
        remark("f3", "it is slow.", days=14),
        remark("f1"),
        remark("f4", "IT IS SLOW", days=14.00001),
        remark("f2", "It  is slow!", days=2),
        remark("f5", partner="south"),
        remark("f6", category="sla"),
        remark("f7", "?"),
        remark("f8", "!"),
    ]
    assert [[each.feedback_id for each in group] for group in groups(remarks, 14)] == [
        ["f1", "f2", "f3"],
        ["f5"],
        ["f6"],
        ["f7"],
        ["f8"],
        ["f4"],
    ]


def test_an_action_on_any_remark_of_an_issue_tracks_it_and_the_newest_row_counts() -> None:
    remarks = [remark("f1"), remark("f2", "it is slow", days=1), remark("f3", "Thanks")]
    actions = [
        action("a1", "f2", due="2026-05-17", recorded=1),
        action("a2", "f1", due="2026-05-10", recorded=2),
        action("a2", "f1", due="2026-05-10", recorded=3, state="done"),
        action("a3", "lost"),
        action("a1", "f2", due="2026-12-01", recorded=30),
    ]
    (issue, other), orphans = issues(remarks, actions, TAGS, AS_OF)
    assert (issue.issue_id, issue.feedback_ids, issue.tags, issue.tracked) == ("north/f1", ("f1", "f2"), ("slow",), True)
    assert [(each.action_id, each.state) for each in issue.actions] == [("a1", "open"), ("a2", "done")]
    assert issue.overdue  # a1 was due on the 17th, which is over at the instant asked for
    assert (other.tags, other.tracked, other.overdue) == ((), False, False)
    assert [each.action_id for each in orphans] == ["a3"]


def test_two_partners_may_call_a_form_the_same_and_an_action_names_one_of_them() -> None:
    remarks = [remark("f1"), remark("f1", "It is late", partner="south")]
    found, stray = issues(remarks, [action("a1", "f1", partner="south"), action("a2", "f1", partner="east")], TAGS, AS_OF)
    assert [(each.issue_id, len(each.actions)) for each in found] == [("north/f1", 0), ("south/f1", 1)]
    assert [each.action_id for each in stray] == ["a2"]


def test_an_issue_is_as_bad_as_its_worst_remark() -> None:
    remarks = [remark("f1", severity="medium"), remark("f2", days=1, severity="critical"), remark("f3", days=2, severity="high")]
    assert [each.severity for each in issues(remarks, [], TAGS, AS_OF)[0]] == ["critical"]


def test_the_first_copy_of_a_form_counts() -> None:
    landed = [remark("f1"), remark("f1"), remark("f1", severity="high"), remark("f1", "Other"), remark("f1", "Other", partner="south")]
    assert first_landed(landed) == (landed[0], landed[4])


@pytest.mark.parametrize(
    ("due", "state", "overdue"),
    [
        ("2026-05-17", "open", True),
        ("2026-05-17", "in_progress", True),
        ("2026-05-18", "open", False),
        ("2026-05-01", "done", False),
        ("2026-05-01", "dropped", False),
    ],
)
def test_an_open_action_is_overdue_when_its_day_is_over(due: str, state: str, overdue: bool) -> None:
    assert issues([remark("f1")], [action("a1", "f1", state, due)], TAGS, AS_OF)[0][0].overdue is overdue


def test_an_action_without_owner_or_recorded_later_tracks_nothing() -> None:
    for each in (action("a1", "f1", owner=" "), action("a1", "f1", recorded=30)):
        assert not issues([remark("f1")], [each], TAGS, AS_OF)[0][0].tracked
    assert issues([remark("f1", days=30)], [], TAGS, AS_OF) == ((), ())


def test_rows_of_one_instant_count_in_the_order_in_which_they_landed() -> None:
    rows = [action("a1", "f1", "done", landed=2), action("a1", "f1", "open", landed=1)]
    assert [each.state for each in issues([remark("f1")], rows, TAGS, AS_OF)[0][0].actions] == ["done"]
