"""Audits hold against whoever would like them to come out otherwise: settings changed afterwards, verdicts by others, twice, too early, too late or on nothing."""

import csv
import json
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner
from conftest import Bench
from test_predictive import build, decision, drawn, lands, lay, verdict

from mc_pipelines.attempts import Attempt, attempt
from mc_pipelines.catalog import read_catalog
from mc_pipelines.cli import main
from mc_pipelines.cli_audits import _open_reads, _write
from mc_pipelines.errors import MissionError
from mc_pipelines.home import CHECKOUT, Home
from mc_pipelines.journaling import journal_of
from mc_pipelines.predictive.declared import read_playbooks, read_quotas, read_settings
from mc_pipelines.predictive.seeds import SEED, publish
from mc_pipelines.windows import sprint_named

ODD = "-Xa9_k"
"""A spreadsheet would take it for a formula."""
LOW, HIGH = drawn()["low"], drawn()["high"]
CHANGED = (
    "product: predictive\nmodel: churn-risk\nconfidence: '0.5'\ntolerable: '0.9'\nexpected: '0'\nsecond_share: '0'\ndue_days: 60\n"
    "auditors: [max, moe]\nladder: []\n"
)
"""What somebody who knows the verdicts would rather have declared."""


def answered(bench: Bench, folder: Path) -> None:
    """The worklists' rows of the odd decision are filled in and land as CSV; what stands in `gamed` lands beside them."""
    window = sprint_named(bench.home, "7")
    for path in _write(folder, window, _open_reads(bench.home, window, overdue=False)):
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if ODD in row["decision_id"]]
        assert {row["decision_id"] for row in rows} == {f"'{ODD}"}
        target = bench.home.landing / "audits" / "2026-04-12" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("w", encoding="utf-8", newline="") as file:
            lines = csv.DictWriter(file, list(rows[0]))
            lines.writeheader()
            lines.writerows(row | {"completed_at": "2026-04-12T08:00:00Z", "verdict": "upheld"} for row in rows)


@pytest.fixture(scope="module")
def gamed(tmp_path_factory: pytest.TempPathFactory, make_bench: Callable[[Path], Bench]) -> Bench:
    """The sprint of test_predictive and a decision of an odd name in a stratum of its own.

    Nine are in scope, so five of them would be wrong: none of these is among 3 with 4/84 < 5%, among 2 with 6/36. One read a stratum, and a
    quarter of one rounded up is read twice: six reads, of which each auditor has one of each decision.
    """
    bench = make_bench(tmp_path_factory.mktemp("gamed") / "home")
    lay(bench)
    bench.declare(
        "sprints",
        "sprints:\n  - {sprint: '6', first: 2026-04-01, last: 2026-04-05, zone: UTC, grace_days: 4}\n"
        "  - {sprint: '7', first: 2026-04-06, last: 2026-04-10, zone: UTC, grace_days: 4}\n",
    )
    lands(bench, "decisions", "2026-04-09", [decision(ODD, "2026-04-09T09:00:00Z", "elm", stratum="odd")], "odd.ndjson")
    lands(bench, "decisions", "2026-04-05", [decision("before", "2026-04-05T09:00:00Z")], "before.ndjson")
    publish(bench.home, "7", "4.2.0")
    bench.declare("audits", CHANGED)
    build(bench)
    answered(bench, tmp_path_factory.mktemp("worklists"))
    first, second = (dict(readers(bench, reader)) for reader in ("first", "second"))
    low, high = LOW[0], HIGH[0]
    lands(bench, "audits", "2026-04-08", [verdict("before", "kim", at="2026-04-07T08:00:00Z")])  # sprint 6 still takes it
    lands(
        bench,
        "audits",
        "2026-04-13",
        [
            verdict(low, first[low], at="2026-04-13T08:00:00Z"),
            verdict(low, first[low], "second", said="overturned"),  # the first reader again, who is not the second
            verdict(high, first[high], at="2026-04-01T08:00:00Z"),  # before anybody had decided
            verdict(high, second[high], "second", at="2026-04-14T00:00:00Z", said="overturned"),  # due at this very instant
            verdict(LOW[5], "kim"),  # in scope, not drawn
            verdict("nothing", "kim"),
            verdict("before", "kim"),  # of sprint 6, which is closed by now
        ],
    )
    lands(bench, "audits", "2026-04-14", [verdict(low, first[low], said="overturned")])  # says that it was given before the first to land
    build(bench)
    return bench


@pytest.fixture(scope="module")
def attempted(gamed: Bench) -> Attempt:
    return attempt(gamed.home, "predictive", "7")


def readers(bench: Bench, reader: str) -> list[tuple[str, str]]:
    return bench.rows(f"SELECT decision_id, auditor FROM predictive.audit_sample WHERE reader = '{reader}'", "predictive.audit_sample")


def test_what_was_registered_stands_whatever_is_declared_later(gamed: Bench) -> None:
    entry = next(each for each in journal_of(gamed.home).entries() if each.kind == SEED)
    assert (entry.body["settings"]["tolerable"], entry.body["settings"]["auditors"]) == ("0.5", ["kim", "lou"])
    plan = gamed.rows("SELECT stratum, population, planned FROM predictive.audit_plan ORDER BY 1", "predictive.audit_plan")
    assert plan == [("high", 2, 1), ("low", 6, 1), ("odd", 1, 1)]
    asked = gamed.rows("SELECT decision_id, reader FROM predictive.audit_sample ORDER BY ALL", "predictive.audit_sample")
    assert asked == sorted((name, reader) for name in (LOW[0], HIGH[0], ODD) for reader in ("first", "second"))
    people = gamed.rows(
        "SELECT DISTINCT auditor, CAST(due_at AS VARCHAR) FROM predictive.audit_sample ORDER BY 1", "predictive.audit_sample"
    )
    assert people == [("kim", "2026-04-14 00:00:00"), ("lou", "2026-04-14 00:00:00")]


def test_only_the_assigned_readers_first_landed_verdict_counts(gamed: Bench) -> None:
    reads = gamed.rows("SELECT decision_id, reader, status, verdict FROM predictive.audit_reads", "predictive.audit_reads")
    assert set(reads) == {
        (LOW[0], "first", "completed", "upheld"),
        (LOW[0], "second", "not_assigned", None),
        (HIGH[0], "first", "impossible", None),
        (HIGH[0], "second", "late", "overturned"),
        (ODD, "first", "completed", "upheld"),
        (ODD, "second", "completed", "upheld"),
    }
    standing = gamed.rows("SELECT decision_id, reader, standing FROM predictive.verdicts WHERE standing <> 'counts'", "predictive.verdicts")
    assert sorted(standing) == sorted(
        [
            (LOW[0], "first", "later"),
            (LOW[0], "second", "not_assigned"),
            (HIGH[0], "first", "impossible"),
            (LOW[5], "first", "unmatched"),
            ("nothing", "first", "unmatched"),
            ("before", "first", "unmatched"),  # the one of the 13th: that of the 8th is sprint 6's
        ]
    )
    odd = gamed.rows(
        "SELECT DISTINCT decision_id, answers, standing FROM predictive.verdicts WHERE answers = '-Xa9_k'", "predictive.verdicts"
    )
    assert odd == [(f"'{ODD}", ODD, "counts")]


def test_a_decision_that_is_overturned_while_its_first_read_is_open_is_judged_everywhere(gamed: Bench) -> None:
    # Three of six reads in time. Judged: low by its first read, high by the overturning second, odd by both. Two of three are upheld.
    whole = gamed.rows(
        "SELECT selected, completed, completion, judged, upheld, agreement, second_reads, readers_agree, overdue, ladder FROM predictive.audits",
        "predictive.audits",
    )
    assert whole == [(6, 3, Decimal("0.5"), 3, 2, Decimal("0.666666666"), 1, 1, 0, "reject at step 1")]
    strata = gamed.rows("SELECT * EXCLUDE (sprint) FROM predictive.overturned_strata ORDER BY 1", "predictive.overturned_strata")
    # One of one: an error rate of 0.95 shows none with probability 0.05, so 0.05 is proven; none of one proves nothing.
    assert strata == [
        ("high", 1, 1, Decimal(0), Decimal(0)),
        ("low", 1, 0, Decimal(1), Decimal("0.05")),
        ("odd", 1, 0, Decimal(1), Decimal("0.05")),
    ]
    figures = gamed.rows("SELECT slice, value, lower, n FROM predictive.card_figures WHERE metric = 'agreement'", "predictive.card_figures")
    assert {row for row in figures if row[0] != "all"} == {(name, agreed, lower, judged) for name, judged, _, agreed, lower in strata}
    ((content,),) = gamed.rows("SELECT content FROM predictive.card_draft", "predictive.card_draft")
    assert {"name": "mission:confidence", "value": "0.95"} in json.loads(content)["metadata"]["properties"]


def test_the_dashboard_and_the_command_say_what_is_declared_otherwise(gamed: Bench, attempted: Attempt) -> None:
    report = json.loads((gamed.home.site / "predictive" / "7.json").read_text(encoding="utf-8"))
    others = ["confidence", "tolerable", "second_share", "due_days", "auditors", "ladder"]
    assert [(seed["model"], seed["before_data"], seed["differing"]) for seed in report["seeds"]] == [("churn-risk", 0, others)]
    counted = {row["standing"]: row["verdicts"] for row in report["verdicts"]}
    assert counted == {"counts": 4, "impossible": 1, "later": 1, "not_assigned": 1, "unmatched": 3}
    assert (report["whole"]["uncounted"], len(report["uncounted"])) == (6, 6)
    page = (gamed.home.site / "predictive" / "7.html").read_text(encoding="utf-8")
    assert f"reference/audits.yaml says otherwise by now of {', '.join(others)}." in page
    found = next(each for each in attempted.results if each.gate == "predictive_seed_before_data")
    assert (found.status, found.severity, found.value) == ("failed", "warning", "0")
    command = ["audits", "plan", "7", "--version", "4.2.0"]
    said = CliRunner().invoke(main, command, env={"MISSION_HOME": str(gamed.home.root)})
    assert f"those of entry 1 stand; reference/audits.yaml says otherwise of {', '.join(others)}" in said.output
    told = json.loads(CliRunner().invoke(main, [*command, "--json"], env={"MISSION_HOME": str(gamed.home.root)}).output)
    assert (told["entry"], told["sample_size"], told["differing"]) == (1, 5, others)  # 0.5^5 is the first power below 5%


def test_the_worklist_holds_what_the_assigned_person_still_owes(gamed: Bench) -> None:
    window = sprint_named(gamed.home, "7")
    owed = {(LOW[0], "second", "not_assigned"), (HIGH[0], "first", "impossible")}
    for overdue in (False, True):
        rows = _open_reads(gamed.home, window, overdue)
        assert {(row["decision_id"], row["reader"], row["status"]) for row in rows} == owed


def test_settings_that_nothing_can_rest_on_are_not_signed(bench: Bench) -> None:
    lay(bench)
    # Five reads accept at an error rate of one half with 6/32 where one may be overturned.
    bench.declare("audits", CHANGED.replace("'0.5'", "'0.95'").replace("'0.9'", "'0.5'").replace("ladder: []", "ladder: [[5, 1]]"))
    with pytest.raises(MissionError, match=r"at an error rate of 0\.5 they accept with probability 0\.187500"):
        publish(bench.home, "7", "4.2.0")
    bench.declare("audits", CHANGED.replace("'0.9'", "'0.0000001'"))
    with pytest.raises(MissionError, match="more than 100000 would have to be read"):
        publish(bench.home, "7", "4.2.0")
    assert [each for each in journal_of(bench.home).entries() if each.kind == SEED] == []


@pytest.mark.parametrize(
    ("name", "before", "after", "line", "said"),
    [
        ("audits", "auditors: [max, moe]", "auditors: [max, '=moe()']", 8, "auditors.1: String should match"),
        ("audits", "auditors: [max, moe]", "auditors: [max, ../moe]", 8, "auditors.1: String should match"),
        ("audits", "auditors: [max, moe]", f"auditors: [max, {65 * 'm'}]", 8, "auditors.1: String should match"),
        ("audits", "auditors: [max, moe]", "auditors: [max, Max]", 1, "differ in capitals only"),
        ("audits", "'0.9'", "'1e-999999999'", 4, "at most nine decimals"),
        ("audits", "ladder: []", "ladder: [[90000, 0], [99999, 90000]]", 9, "would take minutes"),
        ("quotas", "rate: '0.0001'", "rate: '1000000000.1'", 2, "less than or equal to 1000000000"),
        ("quotas", "capacity: 10", "capacity: '0.0000000001'", 2, "no more than 9 decimal places"),
        ("playbooks", "steps: 5", "steps: 1000000000000000000000000000000", 2, "less than or equal to 1000"),
        ("playbooks", "steps: 5}", "steps: 5}\n  - {playbook: a, title: B, owner: o, runbook: r, steps: 1}", 3, "declared twice"),
    ],
)
def test_what_no_run_could_use_is_refused_where_it_stands(bench: Bench, name: str, before: str, after: str, line: int, said: str) -> None:
    lay(bench)
    declared = {
        "audits": (CHANGED, read_settings),
        "quotas": ("quotas:\n  - {tenant_id: elm, rate: '0.0001', capacity: 10, monthly_budget: 100}\n", read_quotas),
        "playbooks": ("playbooks:\n  - {playbook: a, title: A, owner: o, runbook: r, steps: 5}\n", read_playbooks),
    }
    text, reader = declared[name]
    bench.declare(name, text)
    reader(bench.home)
    bench.declare(name, text.replace(before, after))
    with pytest.raises(MissionError, match=re.escape(f"{name}.yaml:{line}: ")) as error:
        reader(bench.home)
    assert said in str(error.value)


@pytest.mark.parametrize("version", ["", "4" * 201, "4.2\n", "4\x1b[2J"])
def test_a_version_that_no_decision_can_be_of_is_not_signed(bench: Bench, version: str) -> None:
    lay(bench)
    with pytest.raises(MissionError, match=r"is no version of a model\. Write 1 to 200 characters"):
        publish(bench.home, "7", version)
    assert not bench.home.journal.exists() or not [each for each in journal_of(bench.home).entries() if each.kind == SEED]


def test_a_worklist_says_that_nothing_is_drawn(gamed: Bench) -> None:
    with pytest.raises(MissionError, match=r"sprint 6: no sample is drawn\. Publish its seed \(mission audits plan 6 "):
        _open_reads(gamed.home, sprint_named(gamed.home, "6"), overdue=False)


def test_a_worklist_without_an_overdue_read_says_so(gamed: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mc_pipelines.cli_audits._open_reads", lambda *_: [])
    result = CliRunner().invoke(main, ["audits", "worklist", "7", "--overdue"], env={"MISSION_HOME": str(gamed.home.root)})
    assert (result.exit_code, result.output) == (0, "sprint 7: no read is overdue\n")


def test_worklists_are_written_all_or_none(gamed: Bench, tmp_path: Path) -> None:
    window = sprint_named(gamed.home, "7")
    row = {"listed_as": "d", "reader": "first", "due_at": "2026-04-14T00:00:00Z"}
    with pytest.raises(MissionError, match=r"an auditor's name in reference/audits\.yaml is part of a file's name"):
        _write(tmp_path, window, [row | {"auditor": "kim"}, row | {"auditor": "../lee"}])
    (tmp_path / "7-lee.csv").mkdir()
    with pytest.raises(MissionError, match=r"7-lee\.csv: a folder stands there"):
        _write(tmp_path, window, [row | {"auditor": "kim"}, row | {"auditor": "lee"}])
    assert [path.name for path in tmp_path.iterdir()] == ["7-lee.csv"]


def test_a_seed_that_names_its_settings_by_a_digest_is_published_anew(bench: Bench) -> None:
    lay(bench)
    body = {"sprint": "2026-04-06", "name": "7", "model": "churn-risk", "model_version": "4.2.0", "seed": "7/churn-risk/4.2.0"}
    journal_of(bench.home).append(SEED, body | {"settings": "0" * 64, "requested_by": "kim"}, lambda entries: None)
    assert [publish(bench.home, "7", "4.2.0").number for _ in range(2)] == [2, 2]


def asked(name: str) -> str:
    """A model of predictive operations, which is run here as it stands."""
    text = read_catalog(Home(CHECKOUT)).models[f"predictive.{name}"].sql
    assert text is not None
    return text


def test_a_seed_is_before_the_data_if_it_was_signed_before_the_sprint_began() -> None:
    con = duckdb.connect()
    con.execute("CREATE SCHEMA predictive; CREATE SCHEMA reference")
    con.execute("CREATE TABLE reference.sprints AS SELECT DATE '2026-04-06' AS sprint, TIMESTAMP '2026-04-06' AS start_utc")
    con.execute(
        "CREATE TABLE predictive.live AS SELECT DATE '2026-04-06' AS sprint, unnest(['a', 'b', 'c']) AS model, 'v' AS model_version"
    )
    con.execute(
        "CREATE TABLE predictive.seeds AS SELECT DATE '2026-04-06' AS sprint, * FROM (VALUES ('a', 'v', TIMESTAMP '2026-04-05 23:59:59.999999'), "
        "('b', 'v', TIMESTAMP '2026-04-06'), ('c', 'w', TIMESTAMP '2026-01-01')) AS each (model, model_version, published_at)"
    )
    found = con.sql(asked("seed_before_data"), params={"first": "2026-04-06", "last": "2026-04-06"})
    assert found.order("model").select("model, before_data").fetchall() == [("a", 1), ("b", 0), ("c", None)]


def test_an_id_and_the_same_with_an_apostrophe_are_told_apart_by_what_the_worklist_says() -> None:
    con = duckdb.connect()
    con.execute("CREATE SCHEMA predictive; CREATE SCHEMA reference; CREATE SCHEMA staging")
    con.execute(
        "CREATE TABLE reference.sprints AS SELECT DATE '2026-04-06' AS sprint, TIMESTAMP '2026-04-06' AS start_utc, "
        "TIMESTAMP '2026-04-11' AS end_utc, DATE '2026-04-14' AS cutoff_day"
    )
    con.execute("CREATE TABLE predictive.decisions (decision_id VARCHAR, occurred_at TIMESTAMP)")
    con.execute(
        "CREATE TABLE predictive.audit_sample AS SELECT DATE '2026-04-06' AS sprint, 'first' AS reader, 'kim' AS auditor, "
        "TIMESTAMP '2026-04-06' AS occurred_at, * FROM (VALUES ('-x', '''-x'), ('''-x', '''''-x'), ('y', 'y')) AS each (decision_id, listed_as)"
    )
    landed = [("-x", 10), ("'-x", 11), ("''-x", 12), ("'y", 13), ("y", 14)]
    con.execute(
        "CREATE TABLE staging.audits (decision_id VARCHAR, landing_day DATE, reader VARCHAR, auditor VARCHAR, completed_at TIMESTAMP, verdict VARCHAR)"
    )
    for name, day in landed:
        con.execute("INSERT INTO staging.audits VALUES (?, ?, 'first', 'kim', '2026-04-10', 'upheld')", [name, f"2026-04-{day}"])
    found = con.sql(asked("verdicts"), params={"first": "2026-04-06", "last": "2026-04-06"})
    assert found.order("landing_day").select("decision_id, answers, standing").fetchall() == [
        ("-x", "-x", "counts"),
        ("'-x", "-x", "later"),
        ("''-x", "'-x", "counts"),
        ("'y", None, "unmatched"),  # no worklist writes that
        ("y", "y", "counts"),
    ]
