"""Generated predictive operations against their own truth, read back without the pipeline."""

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from mc_pipelines.calendars import sprint_instants
from mc_pipelines.demo import place
from mc_pipelines.engine import connect
from mc_pipelines.errors import MissionError
from mc_pipelines.home import CHECKOUT
from mc_pipelines.predictive import demo
from mc_pipelines.predictive.demo import FIRST, LAST, demo_predictive
from mc_pipelines.predictive.simulate import audit_answers, simulate, write_audits
from mc_pipelines.predictive.simulate_big import simulate_big
from mc_pipelines.predictive.simulated_truth import BEFORE, CARD, LIVE, PLAIN, Troubles, Truth
from mc_pipelines.reference import Sprint

Rows = list[dict[str, Any]]
WINDOW = datetime(2026, 4, 27, 6, tzinfo=UTC), datetime(2026, 5, 9, 6, tzinfo=UTC)
TENANTS = [f"tenant-{each:02d}" for each in range(40)]
GA = TENANTS[:30]


def read(landing: Path, source: str, name: str = "*") -> Rows:
    """Rows of the files of this name, with the file's name and landing day beside them; bad rows only where they are asked for."""
    files = [
        path for path in sorted((landing / source).glob(f"*/{name}.ndjson.gz")) if name != "*" or not path.name.startswith("malformed")
    ]
    lines = [(path, line) for path in files for line in gzip.decompress(path.read_bytes()).splitlines()]
    return [json.loads(line) | {"file": path.name, "landed": path.parent.name} for path, line in lines]


def once(rows: Rows) -> Rows:
    """Decisions, each once."""
    return list({row["decision_id"]: row for row in rows}.values())


def at(row: Mapping[str, Any], field: str = "occurred_at") -> datetime:
    return datetime.fromisoformat(row[field])


def in_window(row: Mapping[str, Any], truth: Truth) -> bool:
    return truth.start <= at(row) < truth.end


def made(landing: Path, troubles: Troubles = PLAIN, decisions: int = 4000, faults: bool = True) -> Truth:
    return simulate(landing, TENANTS, GA, FIRST, LAST, decisions, 7, WINDOW, troubles, faults=faults)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    landing = tmp_path_factory.mktemp("demo")
    return landing, demo_predictive(landing, WINDOW, place)


def by_tenant(rows: Iterable[Mapping[str, Any]], status: str) -> dict[str, int]:
    return dict(Counter(row["tenant_id"] for row in rows if row["status"] == status))


def test_rows_land_as_the_truth_counts_them(plain: tuple[Path, Truth]) -> None:
    landing, truth = plain
    rows = read(landing, "decisions")
    decisions = once(rows)
    assert len(decisions) == demo.DECISIONS
    assert truth.duplicates == len(rows) - len(decisions) > 0
    assert truth.decisions == Counter(row["tenant_id"] for row in decisions)
    assert truth.errors == by_tenant(decisions, "error")
    assert truth.refusals == by_tenant(decisions, "refused")
    for source, count in truth.rows.items():
        assert count == len(read(landing, source)) + len(read(landing, source, "malformed")), source
        assert sum(truth.malformed[source].values()) == len(read(landing, source, "malformed")), source
    assert {row["landed"] for row in rows} == {(FIRST + timedelta(days=step)).isoformat() for step in range(42)}  # 1 April to 12 May


def test_copies_say_the_same_the_day_after(plain: tuple[Path, Truth]) -> None:
    landing, _ = plain
    first = {row["decision_id"]: row for row in read(landing, "decisions", "decisions")}
    for copy in read(landing, "decisions", "copies"):
        origin = first[copy["decision_id"]]
        assert {**copy, "file": "", "landed": ""} == {**origin, "file": "", "landed": ""}
        assert date.fromisoformat(copy["landed"]) == at(origin).date() + timedelta(days=1)


def test_who_is_served_by_the_live_version(plain: tuple[Path, Truth]) -> None:
    landing, truth = plain
    tenants = yaml.safe_load((CHECKOUT / "data/reference/tenants.yaml").read_text())["tenants"]
    ga = {row["tenant_id"] for row in tenants for each in row["stages"] if (each["product"], each["stage"]) == ("predictive", "ga")}
    rows = [row for row in once(read(landing, "decisions")) if row["tenant_id"] in ga and row["status"] == "ok" and in_window(row, truth)]
    assert truth.served == {row["tenant_id"] for row in rows if row["model_version"] == LIVE}
    assert len(ga) == 32
    assert 0.8 <= len(truth.served) / len(ga) < 1


def test_strata_and_overturned_decisions_add_up(plain: tuple[Path, Truth]) -> None:
    landing, truth = plain
    counted: Counter[tuple[str, date]] = Counter()
    wrong: Counter[tuple[str, date]] = Counter()
    for row in once(read(landing, "decisions")):
        if row["status"] == "ok":
            counted[row["stratum"], at(row).date()] += 1
            wrong[row["stratum"], at(row).date()] += row["decision_id"] in truth.overturned
        score = row["score"]
        assert row["stratum"] == ("low_score" if score < 0.45 else "edge" if score < 0.55 else "high_score")
    assert truth.strata == {key: (count, wrong[key]) for key, count in counted.items()}
    assert 0 < sum(wrong.values()) == len(truth.overturned) < 60


def spent_in_months(rows: Rows) -> dict[tuple[str, str], Decimal]:
    spent: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in rows:
        spent[row["tenant_id"], row["occurred_at"][:7]] += Decimal(row["cost"]) if row["status"] != "refused" else 0
    return spent


def overrun(landing: Path, truth: Truth) -> set[str]:
    budgets = {each.tenant_id: each.monthly_budget for each in truth.quotas}
    return {tenant for (tenant, _), cost in spent_in_months(once(read(landing, "decisions"))).items() if cost > budgets[tenant]}


def test_who_overruns_a_budget(plain: tuple[Path, Truth]) -> None:
    landing, truth = plain
    assert overrun(landing, truth) == truth.overrun_refused == set(truth.refusals)
    assert (len(truth.overrun_refused), truth.overrun_silent) == (1, frozenset())
    declared = yaml.safe_load((CHECKOUT / "data/reference/quotas.yaml").read_text())["quotas"]
    assert declared == [{field.name: str(getattr(each, field.name)) for field in fields(each)} for each in truth.quotas]


def served_before(landing: Path) -> set[str]:
    rows = read(landing, "decisions")
    return {row["inputs_digest"] for row in rows if (row["model_version"], row["status"]) == (BEFORE, "ok")}


def test_operations_are_plain(plain: tuple[Path, Truth]) -> None:
    landing, truth = plain
    drills = read(landing, "drills", "drills")
    assert (
        truth.drills
        == {row["playbook"]: "passed" for row in drills}
        == dict.fromkeys(("model_rollback", "quota_exhaustion", "misuse_wave"), "passed")
    )
    assert Counter(row["playbook"] for row in drills) == {"model_rollback": 5, "quota_exhaustion": 4, "misuse_wave": 5}
    assert all(at(row, "ran_at") <= at(row, "started_at") < at(row, "finished_at") for row in drills)
    assert [row["event"] for row in read(landing, "releases", "releases")] == ["deploy", "deploy", "rehearsal"]
    rehearsals = read(landing, "rehearsals", "rehearsals")
    assert (truth.rehearsed, truth.rehearsal_differences, truth.rollbacks) == (len(rehearsals), 0, ())
    assert all(row["archived_digest"] == row["rebuilt_digest"] for row in rehearsals)
    assert len({row["inputs_digest"] for row in rehearsals} & served_before(landing)) == len(rehearsals) == 40
    assert truth.rehearsal_unknown == 0
    assert set(truth.links.values()) == {(CARD, 200)}
    cases = read(landing, "abuse_history", "abuse_history")
    assert truth.abuse == {row["case_id"]: row["label"] for row in cases}
    assert 40 < Counter(truth.abuse.values())["abuse"] < 80
    abusers = {row["tenant_id"] for row in cases if row["label"] == "abuse"}
    assert not abusers & {row["tenant_id"] for row in cases if row["label"] == "good"}


def test_the_same_seed_gives_the_same_bytes(plain: tuple[Path, Truth], tmp_path: Path) -> None:
    landing, truth = plain
    assert demo_predictive(tmp_path, WINDOW, place) == truth
    names = sorted(path.relative_to(landing) for path in landing.rglob("*.gz"))
    assert names == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.gz"))
    assert all((landing / name).read_bytes() == (tmp_path / name).read_bytes() for name in names)
    assert demo_predictive(tmp_path, WINDOW, place) == truth  # the same bytes again are left alone


def test_another_seed_gives_other_decisions(tmp_path: Path) -> None:
    one = simulate(tmp_path / "one", TENANTS, GA, FIRST, LAST, 500, 1)
    two = simulate(tmp_path / "two", TENANTS, GA, FIRST, LAST, 500, 2)
    ids = [{row["decision_id"] for row in read(tmp_path / name, "decisions")} for name in ("one", "two")]
    assert (len(ids[0]), len(ids[1]), ids[0] & ids[1]) == (500, 500, set())
    assert one.decisions != two.decisions


def test_without_faults_no_row_is_bad_and_none_is_a_copy(tmp_path: Path) -> None:
    truth = made(tmp_path, faults=False)
    assert (truth.malformed, truth.duplicates, truth.rows["decisions"]) == ({}, 0, 4000)
    assert not [*tmp_path.rglob("malformed*"), *tmp_path.rglob("copies*")]


def test_bad_rows_are_bad_in_the_way_that_their_reason_says(plain: tuple[Path, Truth]) -> None:
    landing, truth = plain
    found = {source: gzip.decompress(next((landing / source).glob("*/malformed*")).read_bytes()).splitlines() for source in truth.malformed}
    said = {(source, reason): line for source, lines in found.items() for reason, line in zip(truth.malformed[source], lines, strict=True)}
    for (source, reason), line in said.items():
        field, _, code = reason.partition(":")
        row = json.loads(line)
        if code == "missing":
            assert field not in row
        elif code == "zone":
            assert datetime.fromisoformat(row[field]).tzinfo is None
        elif code == "incomplete":
            assert "completed_at" not in row
            assert row[field] == "upheld"
        elif code == "duplicate_key":
            assert len(json.loads(line, object_pairs_hook=list)) == len(row) + 1
        else:
            assert row[field] in (
                "nobody",
                1.5,
                -0.1,
                -1,
                "fast",
                "done",
                "third",
                "maybe",
                "hotfix",
                "almost",
                "unsure",
                "0001-01-01T00:00:00Z",
            ), source


@pytest.fixture
def troubled(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Truth]:
    return tmp_path, made(tmp_path, replace(PLAIN, **{request.param: True}))


@pytest.mark.parametrize("troubled", ["overturns"], indirect=True)
def test_auditors_overturn_more(troubled: tuple[Path, Truth]) -> None:
    landing, truth = troubled
    ids = {row["decision_id"] for row in read(landing, "decisions") if row["status"] == "ok"}
    assert truth.overturned <= ids
    # 25 times the plain share, which is one in about 1000 and drifts up by half.
    assert 0.02 < len(truth.overturned) / len(ids) < 0.08
    half = FIRST + (LAST - FIRST) / 2
    early, late = ([each for (_, day), each in truth.strata.items() if (day <= half) == first] for first in (True, False))
    shares = [sum(wrong for _, wrong in part) / sum(count for count, _ in part) for part in (early, late)]
    assert shares[0] < shares[1]


@pytest.mark.parametrize("troubled", ["slow_rollout"], indirect=True)
def test_the_live_version_serves_too_few(troubled: tuple[Path, Truth]) -> None:
    landing, truth = troubled
    rows = [row for row in read(landing, "decisions") if row["model_version"] == LIVE and row["status"] == "ok" and in_window(row, truth)]
    assert truth.served == {row["tenant_id"] for row in rows} & set(GA)
    assert len(truth.served) / len(GA) < 0.65


@pytest.mark.parametrize("troubled", ["rollback"], indirect=True)
def test_a_rollback_takes_the_version_before_for_a_day(troubled: tuple[Path, Truth]) -> None:
    landing, truth = troubled
    releases = read(landing, "releases", "releases")
    (back,) = [row for row in releases if row["event"] == "rollback"]
    assert (back["release_id"],) == truth.rollbacks
    assert in_window(back, truth)
    between = [row for row in once(read(landing, "decisions")) if at(back) <= at(row) < at(back) + timedelta(days=1)]
    assert {row["model_version"] for row in between} == {"4.1.0"}
    assert (releases[-1]["event"], releases[-1]["model_version"]) == ("deploy", LIVE)


@pytest.mark.parametrize("troubled", ["silent_overrun"], indirect=True)
def test_an_overrun_without_a_refusal(troubled: tuple[Path, Truth]) -> None:
    landing, truth = troubled
    assert overrun(landing, truth) == truth.overrun_refused | truth.overrun_silent
    assert (len(truth.overrun_refused), len(truth.overrun_silent)) == (1, 1)
    assert not truth.overrun_silent & {row["tenant_id"] for row in read(landing, "decisions") if row["status"] == "refused"}


def test_drills_fail_and_are_missed(tmp_path: Path) -> None:
    truth = made(tmp_path, Troubles(failed_drill=True, missed_drill=True))
    outcomes = Counter((row["playbook"], row["outcome"]) for row in read(tmp_path, "drills", "drills"))
    assert outcomes == {("model_rollback", "passed"): 4, ("model_rollback", "failed"): 1, ("quota_exhaustion", "passed"): 4}
    assert truth.drills == {"model_rollback": "failed", "quota_exhaustion": "passed"}


def test_rehearsals_differ_and_cards_are_behind_or_gone(tmp_path: Path) -> None:
    truth = made(tmp_path, Troubles(rehearsal_differs=True, rehearsal_invented=True, card_behind=True, dead_link=True))
    rows = read(tmp_path, "rehearsals", "rehearsals")
    assert sum(row["archived_digest"] != row["rebuilt_digest"] for row in rows) == truth.rehearsal_differences == 3
    assert len({row["inputs_digest"] for row in rows} - served_before(tmp_path)) == truth.rehearsal_unknown == 3
    links = {row["surface"]: (row["card_version"], row["status"]) for row in read(tmp_path, "card_links", "card_links")}
    assert links == truth.links == {"accounts/list": ("1.3", 200), "accounts/detail": ("1.4", 404), "help/predictions": ("1.4", 200)}


def test_errors_and_bursts(tmp_path: Path) -> None:
    truth = made(tmp_path, Troubles(errors=True, burst=True))
    assert 0.05 < sum(truth.errors.values()) / 4000 < 0.12
    middle = (truth.start + (truth.end - truth.start) / 2).replace(minute=0)
    burst = [row for row in once(read(tmp_path, "decisions")) if middle <= at(row) < middle + timedelta(minutes=1)]
    largest = max(truth.decisions, key=lambda tenant: truth.decisions[tenant])
    assert Counter(row["tenant_id"] for row in burst)[largest] == 60
    assert all(row["latency_ms"] >= 900 for row in burst if row["status"] == "ok")
    assert sum(truth.decisions.values()) == 4000


def worklist(landing: Path, truth: Truth, size: int = 299) -> list[tuple[str, str, str, str]]:
    """What a plan could draw: the lowest digests among the live version's decisions of the window, every tenth read twice."""
    rows = [
        row for row in once(read(landing, "decisions")) if in_window(row, truth) and (row["model_version"], row["status"]) == (LIVE, "ok")
    ]
    drawn = sorted(rows, key=lambda row: sha256(f"seed\x1f{row['decision_id']}".encode()).hexdigest())[:size]
    due = "2026-05-08T18:00:00+00:00"
    first = [(row["decision_id"], "first", f"auditor-{number % 3}", due) for number, row in enumerate(drawn)]
    return first + [(ident, "second", "auditor-9", due) for ident, *_ in first[::10]]


def test_a_plain_worklist_is_answered_in_time_by_the_known_truth(plain: tuple[Path, Truth], tmp_path: Path) -> None:
    landing, truth = plain
    asked = worklist(landing, truth)
    answers = audit_answers(asked, truth)
    assert write_audits(tmp_path, answers.days) == 299 + 30
    rows = read(tmp_path, "audits")
    assert {(row["decision_id"], row["reader"], row["auditor"], row["due_at"]) for row in rows} == set(asked)
    assert all(at(row, "completed_at") < at(row, "due_at") and row["landed"] == row["completed_at"][:10] for row in rows)
    assert all((row["verdict"] == "overturned") == (row["decision_id"] in truth.overturned) == ("reason" in row) for row in rows)
    assert answers.overturned == {(row["decision_id"], row["reader"]) for row in rows if row["verdict"] == "overturned"}
    assert (answers.late, answers.open, answers.disagreements) == (frozenset(), frozenset(), frozenset())
    # Both gates of the audits hold: agreement of 99%, and eight in ten of the tenants in scope.
    assert len({row["decision_id"] for row in rows if row["verdict"] == "overturned"}) <= 2
    tenant_of = {row["decision_id"]: row["tenant_id"] for row in read(landing, "decisions")}
    assert len({tenant_of[row["decision_id"]] for row in rows} & truth.served) / len(truth.served) > 0.85
    assert audit_answers(list(reversed(asked)), truth) == answers


def test_planted_answers_are_late_open_and_contradicted(plain: tuple[Path, Truth], tmp_path: Path) -> None:
    landing, truth = plain
    answers = audit_answers(worklist(landing, truth), truth, late=4, unanswered=5, disagreements=6)
    write_audits(tmp_path, answers.days)
    rows = read(tmp_path, "audits")
    late = {(row["decision_id"], row["reader"]) for row in rows if "completed_at" in row and at(row, "completed_at") > at(row, "due_at")}
    unanswered = {(row["decision_id"], row["reader"]) for row in rows if "completed_at" not in row and "verdict" not in row}
    verdicts: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        verdicts[row["decision_id"]] |= {row["verdict"]} if "verdict" in row else set()
    assert late == answers.late
    assert unanswered == answers.open
    assert (len(late), len(unanswered)) == (4, 5)
    both = {ident for ident, found in verdicts.items() if len(found) == 2}
    assert both <= answers.disagreements
    assert len(answers.disagreements) == 6
    assert len(both) >= 6 - 5  # a first reading that is open contradicts nobody


def test_too_short_a_worklist_and_landed_files_are_refused(plain: tuple[Path, Truth], tmp_path: Path) -> None:
    landing, truth = plain
    asked = worklist(landing, truth, 3)
    with pytest.raises(MissionError, match="too few"):
        audit_answers(asked, truth, late=3, unanswered=2)
    write_audits(tmp_path, audit_answers(asked, truth).days)
    with pytest.raises(MissionError, match="has landed already"):
        write_audits(tmp_path, audit_answers(asked, truth).days)


@pytest.mark.parametrize(
    ("tenants", "ga", "last", "decisions"),
    [([], [], LAST, 500), (TENANTS, ["x"], LAST, 500), (TENANTS, GA, FIRST, 500), (TENANTS, GA, LAST, 99)],
)
def test_impossible_arguments_are_refused(tmp_path: Path, tenants: list[str], ga: list[str], last: date, decisions: int) -> None:
    with pytest.raises(MissionError, match="at least 100 decisions and a window of at least 5 days"):
        simulate(tmp_path, tenants, ga, FIRST, last, decisions, 1)
    assert not list(tmp_path.iterdir())


def test_the_demo_operates_in_the_sprint_of_the_plan() -> None:
    """The plan's sprint 35 goes from Monday 2026-04-27 to Friday 2026-05-08; Denver keeps summer time, six hours behind UTC."""
    sprints = {row["sprint"]: row for row in yaml.safe_load((CHECKOUT / "data/reference/sprints.yaml").read_text())["sprints"]}
    assert (sprints["35"]["first"], sprints["35"]["last"], sprints["35"]["zone"]) == (date(2026, 4, 27), date(2026, 5, 8), "America/Denver")
    assert sprint_instants(Sprint(**sprints["35"])) == tuple(each.replace(tzinfo=None) for each in WINDOW)


def test_the_big_file_holds_what_was_asked_for(tmp_path: Path) -> None:
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    simulate_big(one, 20_000, 50, 3)
    simulate_big(two, 20_000, 50, 3)
    con = connect()
    counted = "count(*), count(DISTINCT decision_id), count(DISTINCT tenant_id), count(DISTINCT landing_day), count(DISTINCT stratum)"
    assert con.sql(f"SELECT {counted} FROM '{one}'").fetchall() == [(20_000, 20_000, 50, 26, 3)]
    assert con.sql(f"(FROM '{one}' EXCEPT FROM '{two}') UNION ALL (FROM '{two}' EXCEPT FROM '{one}')").fetchall() == []
    scores = "count(*) FILTER (WHERE (score < 0.45) <> (stratum = 'low_score') OR score NOT BETWEEN 0 AND 1)"
    assert con.sql(f"SELECT {scores} FROM '{one}'").fetchall() == [(0,)]
    with pytest.raises(MissionError, match="a new file"):
        simulate_big(one, 20_000, 50, 3)
