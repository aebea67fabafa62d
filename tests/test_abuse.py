"""Abuse rules, as declared and as judged on labelled history; expected values by hand."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mc_pipelines.errors import MissionError
from mc_pipelines.home import CHECKOUT
from mc_pipelines.predictive.abuse import Rule, judge, read_rules

FAST = """
  - rule: fast
    about: Too fast.
    owner: safety
    all: [{field: requests_per_minute, at_least: 100}]
    example_allowed: {requests_per_minute: 99.5}
    example_refused: {requests_per_minute: 100}
"""
SLY = """
  - rule: sly
    about: Small and probing.
    owner: safety
    all:
      - {field: payload_kb, at_most: 2}
      - {field: probe_share, at_least: 0.1}
    example_allowed: {payload_kb: 2.1, probe_share: 0.5}
    example_refused: {payload_kb: 2, probe_share: 0.1}
"""


def rules(folder: Path, *texts: str) -> list[Rule]:
    path = folder / "abuse_rules.yaml"
    path.write_text("abuse_rules:" + ("".join(texts) or " []\n"), encoding="utf-8")
    return read_rules(path)


def history(*cases: tuple[str, str, str, str | None, str, str]) -> duckdb.DuckDBPyConnection:
    """Cases of (case, tenant, label, requests a minute, payload, probe share)."""
    con = duckdb.connect()
    con.execute(
        "CREATE TABLE abuse_history (case_id VARCHAR, tenant_id VARCHAR, label VARCHAR, requests_per_minute DECIMAL(38, 9), "
        "payload_kb DECIMAL(38, 9), probe_share DECIMAL(38, 9), distinct_inputs_share DECIMAL(38, 9))"
    )
    if cases:
        con.executemany("INSERT INTO abuse_history VALUES (?, ?, ?, ?, ?, ?, 0.5)", cases)
    return con


CASES = (
    ("1", "bad", "abuse", "100", "9", "0"),  # fast
    ("2", "bad", "abuse", "99.999999999", "2", "0.1"),  # sly
    ("3", "bad", "abuse", "500", "1", "0.9"),  # both
    ("4", "bad", "abuse", "1", "2.000000001", "0.9"),  # none
    ("5", "bad", "good", "900", "9", "0"),  # fast, and good, but of no good tenant
    ("6", "calm", "good", "1", "1", "0"),  # none
    ("7", "busy", "good", "300", "9", "0"),  # fast
    ("8", "busy", "good", "300", "9", "0"),  # fast
    ("9", "dark", "good", None, "1", "0"),  # nothing is known of its pace
)


def verdict(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(None if value is None else str(value) for value in row.values())


def test_rules_are_judged_by_hand(tmp_path: Path) -> None:
    fast, sly, together = judge(history(*CASES), "abuse_history", rules(tmp_path, FAST, SLY))
    assert fast == {
        "rule": "fast",
        "cases": 9,
        "true_positives": 2,
        "false_positives": 3,
        "false_negatives": 2,
        "true_negatives": 2,
        "good_tenants": 3,
        "good_tenants_blocked": 1,
        "precision": Decimal("0.4"),
        "recall": Decimal("0.5"),
        "good_tenants_blocked_share": Decimal("0.333333333"),
    }
    assert verdict(sly) == ("sly", "9", "2", "0", "2", "5", "3", "0", "1.000000000", "0.500000000", "0E-9")
    assert verdict(together) == ("together", "9", "3", "3", "1", "2", "3", "1", "0.500000000", "0.750000000", "0.333333333")


def test_where_there_is_nothing_to_divide_by_there_is_no_share(tmp_path: Path) -> None:
    for row in judge(history(), "abuse_history", rules(tmp_path, FAST)):
        assert verdict(row)[1:] == (*["0"] * 7, None, None, None)
    (together,) = judge(history(*CASES), "abuse_history", rules(tmp_path))
    assert verdict(together) == ("together", "9", "0", "0", "4", "5", "3", "0", None, "0E-9", "0E-9")


def test_a_limit_of_zero_is_a_limit(tmp_path: Path) -> None:
    quiet = FAST.replace("at_least: 100", "at_most: 0").replace("99.5", "0.1").replace("requests_per_minute: 100", "requests_per_minute: 0")
    (row, _) = judge(
        history(("1", "a", "abuse", "0", "1", "0"), ("2", "a", "abuse", "0.000000001", "1", "0")), "abuse_history", rules(tmp_path, quiet)
    )
    assert (row["true_positives"], row["false_negatives"]) == (1, 1)


CASE = st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(98, 101), st.integers(1, 3), st.integers(0, 2))


@settings(max_examples=40, deadline=None)
@given(st.lists(CASE, max_size=20))
def test_counts_are_those_of_the_rules_on_each_case(
    tmp_path_factory: pytest.TempPathFactory, cases: list[tuple[str, bool, int, int, int]]
) -> None:
    declared = rules(tmp_path_factory.mktemp("rules"), FAST, SLY)
    con = history(*((str(n), f"t{c[0]}", "abuse" if c[1] else "good", str(c[2]), str(c[3]), f"0.{c[4]}") for n, c in enumerate(cases)))
    hit = {"fast": [c[2] >= 100 for c in cases], "sly": [c[3] <= 2 and c[4] >= 1 for c in cases]}
    hit["together"] = [one or two for one, two in zip(hit["fast"], hit["sly"], strict=True)]
    good = {c[0] for c in cases} - {c[0] for c in cases if c[1]}
    for row in judge(con, "abuse_history", declared):
        said = list(zip(hit[row["rule"]], (c[1] for c in cases), strict=True))
        counts = [row[name] for name in ("true_positives", "false_positives", "false_negatives", "true_negatives")]
        assert counts == [said.count(each) for each in ((True, True), (True, False), (False, True), (False, False))]
        blocked = {c[0] for c, refused in zip(cases, hit[row["rule"]], strict=True) if refused and c[0] in good}
        assert (row["cases"], row["good_tenants"], row["good_tenants_blocked"]) == (len(cases), len(good), len(blocked))


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("99.5", "100", 6, "the rule refuses this example"),
        ("example_refused: {requests_per_minute: 100}", "example_refused: {requests_per_minute: 99.9}", 7, "the rule allows this example"),
        ("{requests_per_minute: 99.5}", "{payload_kb: 9}", 6, "the example says nothing of requests_per_minute"),
        ("{requests_per_minute: 99.5}", "{pace: 9}", 6, "requests_per_minute.*pace"),
        ("at_least: 100", "at_least: 100, at_most: 200", 5, "write either at_least or at_most"),
        (", at_least: 100", "", 5, "write either at_least or at_most"),
        ("at_least: 100", "at_least: yes", 5, "YAML reads this as a yes or no"),
        ("99.5", "yes", 6, "Decimal input should be"),
        ("at_least: 100", "at_least: .nan", 5, "finite number"),
        ("99.5", ".inf", 6, "finite number"),
        ("field: requests_per_minute, at", "field: pace, at", 5, "got 'pace'"),
        ("[{field: requests_per_minute, at_least: 100}]", "[]", 5, "at least 1 item"),
        ("rule: fast", "rule: together", 2, "choose another name"),
        ("owner: safety", "owner: ''", 4, "at least 1 character"),
        ("owner: safety", "boss: safety", 4, "Known keys: rule, about, owner, all"),
    ],
)
def test_a_rule_that_is_not_as_said_is_refused_with_its_line(tmp_path: Path, old: str, new: str, line: int, said: str) -> None:
    assert old in FAST
    with pytest.raises(MissionError, match=rf"(?s)abuse_rules.yaml:{line}: .*{said}"):
        rules(tmp_path, FAST.replace(old, new))


def test_a_rule_declared_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissionError, match=r"abuse_rules.yaml:8: rule fast is declared twice"):
        rules(tmp_path, FAST.rstrip("\n"), FAST)


def test_the_rules_that_a_home_starts_with_hold_their_examples() -> None:
    assert [each.rule for each in read_rules(CHECKOUT / "data" / "reference" / "abuse_rules.yaml")] == [
        "model_extraction",
        "probing",
        "oversized_floods",
    ]
