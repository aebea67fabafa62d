"""An Ombuds export: personal data planted in every field, declared or not, nested or not, is in no byte of it."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mc_pipelines.errors import MissionError
from mc_pipelines.home import CHECKOUT, Home
from mc_pipelines.marketplace.declared import Redaction, Rule, read_redaction
from mc_pipelines.marketplace.ombuds import KINDS, WITHHELD, Export, export, redacted

RULES = read_redaction(Home(CHECKOUT / "data"))
KEY = bytes(range(32))
AS_OF = datetime(2026, 5, 18, tzinfo=UTC)
PLANTS: list[Any] = [
    "Erika Mustermann",
    "Mustermann",
    "erika.mustermann@example.org",
    "mailto:erika@example.org",
    "+49 151 23456789",
    "015123456789",
    "0049-151-23456789",
    "DE89 3704 0044 0532 0130 00",
    "DE89370400440532013000",
    "de89370400440532013000",
    "Ørsted, Søren",
    "李小龙",
    "<b>Erika</b>",
    "connected by Erika",
    "2026-05-04T09:00:00Z Erika",
    "12.03.1961",
    "1961-03-12",
    date(1961, 3, 12),
    "1961-03-12T00:00:00Z",
]
NEEDLES = [
    "Mustermann",
    "mustermann",
    "Erika",
    "erika",
    "example.org",
    "23456789",
    "0532",
    "89370400440532013000",
    "Ørsted",
    "Søren",
    "李小龙",
    "1961",
    "\\u674e",
]
ROWS: dict[str, dict[str, Any]] = {
    "requests": {
        "request_id": "r-12",
        "source_id": "tide-tables",
        "tenant_id": "acme",
        "state": "requested",
        "occurred_at": datetime(2026, 5, 4, 9, tzinfo=UTC),
        "by": "Erika Mustermann",
    },
    "packets": {
        "source_id": "tide-tables",
        "packet": "dpia",
        "version": 2,
        "digest": "0" * 64,
        "signed_at": "2026-05-02T10:00:00+02:00",
        "expires": date(2027, 12, 31),
        "ok": True,
        "person": "Erika Mustermann",
        "why": "",
    },
    "decisions": {
        "decision_id": "d-1",
        "source_id": "tide-tables",
        "outcome": "demoted",
        "occurred_at": datetime.fromisoformat("2026-05-05"),
        "by": "bob",
        "reason": "x",
    },
    "demotions": {
        "item_id": "north/1",
        "source_id": "tide-tables",
        "before": "allow",
        "after": "block",
        "clause": "embargo",
        "occurred_at": None,
    },
    "feedback": {
        "feedback_id": "f-1",
        "partner_id": "northgate",
        "category": "bug",
        "severity": "low",
        "text": "Erika says so",
        "contact": "erika@example.org",
        "contact_consent": "yes",
        "submitted_at": datetime(2026, 5, 1, tzinfo=UTC),
    },
}


def of(rows: dict[str, list[dict[str, Any]]], key: bytes = KEY, rules: Redaction = RULES) -> Export:
    return export("source", "tide-tables", rows, rules, key, AS_OF)


def read(found: Export) -> list[dict[str, Any]]:
    return [json.loads(line) for line in found.lines.splitlines()]


def test_what_is_declared_is_shown_and_the_rest_withheld() -> None:
    found = of({kind: [row] for kind, row in ROWS.items()})
    head, *records = read(found)
    assert head == {
        "export": "ombuds",
        "subject": "source",
        "subject_id": "tide-tables",
        "as_of": "2026-05-18T00:00:00.000000Z",
        "records": dict.fromkeys(KINDS, 1),
    }
    person = "hmac-sha256:" + hmac.new(KEY, b"Erika Mustermann", hashlib.sha256).hexdigest()
    shown = {each["kind"]: each["fields"] for each in records}
    assert shown["requests"] == {
        "request_id": "r-12",
        "source_id": "tide-tables",
        "tenant_id": "acme",
        "state": "requested",
        "occurred_at": "2026-05-04T09:00:00.000000Z",
        "by": person,
    }
    assert shown["packets"] == ROWS["packets"] | {
        "signed_at": "2026-05-02T08:00:00.000000Z",
        "expires": "2027-12-31",
        "person": person,
        "why": WITHHELD,
    }
    assert shown["decisions"]["reason"] == WITHHELD
    assert shown["demotions"] == ROWS["demotions"]
    assert (shown["feedback"]["text"], shown["feedback"]["contact"]) == (WITHHELD, WITHHELD)
    assert [each["kind"] for each in records] == ["demotions", "feedback", "packets", "requests", "decisions"]  # by instant, none first
    assert b"<h1>Trail of source tide-tables</h1>" in found.page


def planted() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every kind of record with every plant in every declared field, in fields and nests that nobody declared, and in names of fields."""
    for kind, sample in ROWS.items():
        for plant in PLANTS:
            for field in sample:
                if field != "source_id":
                    yield kind, sample | {field: plant}
                    yield kind, sample | {field: [plant, {"name": plant}]}
                    yield kind, sample | {field: {str(plant): plant}}
            yield kind, sample | {"note": plant, "meta": {"who": [plant], plant: 1}, str(plant): plant, f"{plant} x": None}
        yield kind, dict.fromkeys(sample, 4915123456789) | {"source_id": "tide-tables"}
        yield kind, dict.fromkeys(sample, 15.123456789) | {"source_id": "tide-tables"}


@pytest.mark.parametrize("kind", KINDS)
def test_personal_data_planted_everywhere_is_in_no_byte(kind: str) -> None:
    rows = [row for own, row in planted() if own == kind]
    assert len(rows) > 200
    found = of({kind: rows})
    for needle in NEEDLES:
        assert needle.encode() not in found.lines, needle
        assert needle.encode() not in found.page, needle
    assert found.counts[kind] == len(rows)
    assert all(each["unlisted"] for each in read(found)[1:] if each["fields"] == {})


@given(st.dictionaries(st.text(), st.text(min_size=9).filter(lambda text: not text.isascii() or " " in text), max_size=5))
def test_fields_that_nobody_declared_are_counted_and_nothing_more(extra: dict[str, str]) -> None:
    own = {name: value for name, value in extra.items() if name not in ROWS["requests"]}
    record = redacted("requests", ROWS["requests"] | own, RULES.requests, KEY)
    assert record.fields.keys() == ROWS["requests"].keys()
    assert record.unlisted == len(own)


def test_equal_people_stay_equal_and_another_key_gives_other_hashes() -> None:
    rows = [ROWS["requests"], ROWS["requests"] | {"request_id": "r-13"}, ROWS["requests"] | {"request_id": "r-14", "by": "Ada"}]
    by = {each["fields"]["request_id"]: each["fields"]["by"] for each in read(of({"requests": rows}))[1:]}
    assert by["r-12"] == by["r-13"] != by["r-14"]
    assert by["r-12"] not in of({"requests": rows}, bytes(32)).lines.decode()


def test_the_order_in_which_rows_are_given_does_not_matter() -> None:
    rows = [ROWS["requests"] | {"request_id": f"r-{number}"} for number in range(5)]
    assert of({"requests": rows}) == of({"requests": rows[::-1]})


def test_rows_of_somebody_else_are_refused_without_repeating_them() -> None:
    with pytest.raises(MissionError, match=r"row 2 of requests is of another source than tide-tables") as refused:
        of({"requests": [ROWS["requests"], ROWS["requests"] | {"source_id": "Erika Mustermann"}]})
    assert "Erika" not in str(refused.value)
    with pytest.raises(MissionError, match="row 1 of requests is of another tenant than zeta"):
        export("tenant", "zeta", {"requests": [ROWS["requests"]]}, RULES, KEY, AS_OF)
    with pytest.raises(MissionError, match="the id of a tenant") as odd:
        export("tenant", "Erika Mustermann", {}, RULES, KEY, AS_OF)
    assert "Erika" not in str(odd.value)


def test_a_weak_key_and_an_unknown_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="the key has 0 bytes"):
        of({}, b"")
    with pytest.raises(ValueError, match="no kind of record is called 'mails'"):
        of({"mails": []})


def test_declared_free_text_is_shown_as_text_in_the_page() -> None:
    rule = Rule(text=("note",))
    rules = Redaction(requests=rule, packets=rule, decisions=rule, demotions=rule, feedback=rule)
    found = of({"decisions": [{"note": "<script>alert(1)</script>"}, {"note": ["x"]}]}, rules=rules)
    assert b"<script>" not in found.page
    assert b"note: &lt;script&gt;alert(1)&lt;/script&gt;" in found.page
    assert [each["fields"]["note"] for each in read(found)[1:]] == ["<script>alert(1)</script>", WITHHELD]


def test_a_rule_says_one_thing_about_a_field() -> None:
    with pytest.raises(ValueError, match="field by stands twice"):
        Rule(keep={"by": "id"}, hash=("by",))
