"""Predictive operations from landed files to marts, gates and bundle, on a home so small that every figure is worked out by hand."""

import gzip
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Literal

import pytest
from browsing import opened, violations
from conftest import Bench

from mc_pipelines.attempts import Attempt, attempt
from mc_pipelines.calendars import days
from mc_pipelines.editions import publish as publish_edition
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.record import Recorded, named_predicate
from mc_pipelines.evidence.reproduce import reproduce
from mc_pipelines.evidence.signing import known_keys
from mc_pipelines.evidence.verify import verify
from mc_pipelines.gates import GateResult
from mc_pipelines.home import CHECKOUT
from mc_pipelines.journaling import journal_of
from mc_pipelines.lake import WHOLE
from mc_pipelines.predictive.pages import budgets
from mc_pipelines.predictive.report import REPORT
from mc_pipelines.predictive.seeds import publish
from mc_pipelines.runner import materialise

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SPRINT, LANDED = "2026-04-06", days("2026-04-01", "2026-04-16")
SOURCES = ("decisions", "audits", "releases", "drills", "rehearsals", "abuse_history", "card_links")
TENANTS = ("ash", "birch", "cedar", "doum", "elm")
SEED = "7/churn-risk/4.2.0"
DIGEST = "0" * 64


def lands(bench: Bench, source: str, day: str, rows: Iterable[Mapping[str, object]], name: str = "a.ndjson") -> None:
    path = bench.home.landing / source / day / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def decision(identity: str, at: str, tenant: str = "ash", **other: object) -> dict[str, object]:
    row = {"decision_id": identity, "occurred_at": at, "tenant_id": tenant, "model": "churn-risk", "model_version": "4.2.0"}
    return (
        row
        | {"inputs_digest": DIGEST, "outcome": "low", "score": "0.2", "stratum": "low", "status": "ok", "latency_ms": 40, "cost": 1}
        | other
    )


def decisions() -> list[dict[str, object]]:
    """Of the sprint of 6 to 10 April: ash 6 (one of them in stratum high, one of the version before), birch 2, cedar 1, doum (pilot) 1, elm none."""
    return [
        *(decision(f"a{number}", f"2026-04-0{5 + number}T10:00:00Z") for number in (1, 2, 3, 4)),
        decision("a5", "2026-04-10T23:59:59Z", stratum="high"),
        decision("a6", "2026-04-06T09:00:00Z", model_version="4.1.0"),
        decision("a7", "2026-04-11T00:00:00Z"),
        decision("b1", "2026-04-07T10:00:00Z", "birch", stratum="high"),
        decision("b2", "2026-04-08T10:00:00+02:00", "birch"),
        decision("b3", "2026-04-08T11:00:00Z", "birch", status="error", latency_ms=900),
        decision("c1", "2026-04-09T10:00:00Z", "cedar", cost="7"),
        decision("c2", "2026-04-09T11:00:00Z", "cedar", status="refused"),
        decision("d1", "2026-04-09T10:00:00Z", "doum"),
    ]


def verdict(
    identity: str, auditor: str, reader: str = "first", at: str = "2026-04-12T08:00:00Z", said: str = "upheld"
) -> dict[str, object]:
    row: dict[str, object] = {"decision_id": identity, "reader": reader, "auditor": auditor, "due_at": "2026-04-14T00:00:00Z"}
    return row | {"completed_at": at, "verdict": said, "reason": ""}


def lay(bench: Bench) -> None:
    home = bench.home
    bench.declare("sprints", "sprints:\n  - {sprint: '7', first: 2026-04-06, last: 2026-04-10, zone: UTC, grace_days: 4}\n")
    tenant = "  - {{tenant_id: {0}, name: {0}, zone: UTC, currency: EUR, plan: standard, grace_days: 2, stages: [{1}]}}\n"
    stage = "{{product: predictive, stage: {}, from: 2026-01-01T00:00:00Z}}"
    stages = [stage.format("pilot" if name == "doum" else "ga") for name in TENANTS]
    bench.declare("tenants", "tenants:\n" + "".join(map(tenant.format, TENANTS, stages)))
    bench.declare(
        "audits",
        "product: predictive\nmodel: churn-risk\nconfidence: '0.95'\ntolerable: '0.5'\nexpected: '0'\nsecond_share: '0.25'\ndue_days: 3\n"
        "auditors: [kim, lou]\nladder: [[5, 0]]\n",
    )
    quotas = "".join(f"  - {{tenant_id: {name}, rate: '0.001', capacity: 2, monthly_budget: 6}}\n" for name in TENANTS)
    bench.declare("quotas", f"quotas:\n{quotas}")
    for name in ("playbooks", "model_card", "abuse_rules"):
        bench.declare(name, (CHECKOUT / "data" / "reference" / f"{name}.yaml").read_text(encoding="utf-8"))
    text = (home.reference / "sources.yaml").read_text(encoding="utf-8")
    more = "".join(f"  {name}: {{about: x, owner: 'team:ml', start: 2026-04-01, days: any, deliverable: predictive}}\n" for name in SOURCES)
    (home.reference / "sources.yaml").write_text(text + more, encoding="utf-8")
    for row in decisions():
        lands(bench, "decisions", str(row["occurred_at"])[:10], [row], f"{row['decision_id']}.ndjson")
    again = decision("a1", "2026-04-06T10:00:00Z", "birch")  # a second copy says something else: the first landed counts
    lands(
        bench,
        "decisions",
        "2026-04-13",
        [again, decision("x", "2026-04-06T10:00:00Z", score="1.5"), decision("y", "2026-04-06T10:00:00Z", "nobody")],
    )
    acts = (("r1", "4.1.0", "deploy", "2026-04-01T00:00:00Z"), ("r2", "4.2.0", "deploy", "2026-04-05T00:00:00Z"))
    release = ("release_id", "model_version", "event", "occurred_at")
    lands(bench, "releases", "2026-04-05", ({"model": "churn-risk", "by": "kim", **dict(zip(release, act, strict=True))} for act in acts))
    lands(bench, "drills", "2026-04-08", drills())
    archived = {
        "rehearsal_id": "h",
        "model": "churn-risk",
        "model_version": "4.1.0",
        "ran_at": "2026-04-09T10:00:00Z",
        "elapsed_ms": "12.5",
    }
    for day in ("2026-04-09", "2026-04-10"):  # the same landing repeated
        lands(bench, "rehearsals", day, [archived | {"inputs_digest": DIGEST, "archived_digest": DIGEST, "rebuilt_digest": DIGEST}])
    case = {"tenant_id": "ash", "occurred_at": "2026-04-02T10:00:00Z", "distinct_inputs_share": "0.99", "probe_share": 0, "payload_kb": 1}
    cases = [
        case | {"case_id": "1", "label": "abuse", "requests_per_minute": 400},
        case | {"case_id": "2", "label": "good", "tenant_id": "birch", "requests_per_minute": 4},
        # Three landed on one day under one id: which counts must not depend on their order.
        *(case | {"case_id": "3", "label": "good", "tenant_id": "birch", "requests_per_minute": pace} for pace in (400, 9, 500)),
    ]
    lands(bench, "abuse_history", "2026-04-02", cases)
    link = {
        "link": "https://app.example/cards/churn-risk/1.4.html",
        "card_version": "1.4",
        "status": 200,
        "checked_at": "2026-04-10T10:00:00Z",
    }
    lands(
        bench, "card_links", "2026-04-10", (link | {"surface": name} for name in ("accounts/list", "accounts/detail", "help/predictions"))
    )


def drills() -> list[dict[str, object]]:
    steps = {"model_rollback": 5, "quota_exhaustion": 4, "misuse_wave": 5}
    at = datetime(2026, 4, 8, 10)  # noqa: DTZ001  # written as UTC below
    return [
        {
            "drill_id": f"d-{name}",
            "playbook": name,
            "ran_at": f"{at.isoformat()}Z",
            "step": number,
            "action": f"step {number}",
            "started_at": f"{(at + timedelta(minutes=number)).isoformat()}Z",
            "finished_at": f"{(at + timedelta(minutes=number, seconds=30)).isoformat()}Z",
            "outcome": "passed",
        }
        for name, count in steps.items()
        for number in range(1, count + 1)
    ]


def build(bench: Bench, windows: Iterable[list[str]] = (LANDED,), sprint: str = SPRINT) -> None:
    """Every table but the sprint's for the days, then those of the sprint."""
    for chunk in (*windows, []):
        for model in bench.shop.catalog.ordered():
            source = model.key.partition(".")[2]
            if model.deliverable in {"metering", "marketplace"} or (model.deliverable == "staging" and source not in SOURCES):
                continue
            if model.header.every == "once" or (model.header.every == "day" and chunk):
                materialise(bench.shop, model, chunk or [WHOLE])
            elif model.judged and not chunk:
                materialise(bench.shop, model, [sprint])


def drawn() -> dict[str, list[str]]:
    """The sample by hashlib alone, 4 of stratum low's 5 and 1 of high's 2: the page's bottom k."""
    scope = {"low": ["a1", "a2", "a3", "a4", "b2", "c1"], "high": ["a5", "b1"]}
    return {name: sorted(ids, key=lambda one: hashlib.sha256(f"{SEED}\x1f{one}".encode()).hexdigest()) for name, ids in scope.items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, make_bench: Callable[[Path], Bench]) -> Bench:
    bench = make_bench(tmp_path_factory.mktemp("predictive") / "home")
    lay(bench)
    publish(bench.home, "7", "4.2.0")
    build(bench)
    reads = bench.rows("SELECT decision_id, reader, auditor FROM predictive.audit_sample", "predictive.audit_sample")
    lands(bench, "audits", "2026-04-12", (verdict(identity, auditor, reader) for identity, reader, auditor in reads))
    published(bench)
    return bench


def published(bench: Bench) -> None:
    """Every table, with the card of the sprint published."""
    build(bench)
    publish_edition(bench.home, "predictive", "7", "model-card", "kim")
    build(bench)


@pytest.fixture(scope="module")
def attempted(made: Bench) -> Attempt:
    return attempt(made.home, "predictive", "7", requested_by="kim")


def gate(attempted: Attempt, name: str) -> GateResult:
    return next(each for each in attempted.results if each.gate == name)


def test_rollout_counts_who_the_live_version_served(made: Bench) -> None:
    live = made.rows("SELECT model_version, previous_version, rollbacks FROM predictive.live", "predictive.live")
    assert live == [("4.2.0", "4.1.0", 0)]
    # ash, birch and cedar of the four with general availability; doum is a pilot, elm had nothing.
    assert made.rows("SELECT ga_tenants, served, coverage FROM predictive.rollout", "predictive.rollout") == [(4, 3, Decimal("0.75"))]


def test_each_decision_is_there_once_and_what_is_refused_is_kept(made: Bench) -> None:
    assert made.rows("SELECT count(*), count(DISTINCT decision_id) FROM predictive.decisions", "predictive.decisions") == [(13, 13)]
    assert made.rows("SELECT tenant_id FROM predictive.decisions WHERE decision_id = 'a1'", "predictive.decisions") == [("ash",)]
    refused = made.rows('SELECT "offset", reasons FROM quarantine.decisions ORDER BY 1', "quarantine.decisions")
    assert refused == [(2, "score:maximum"), (3, "tenant_id:unknown_tenant")]


def test_the_plan_and_the_sample_are_those_of_the_page(made: Bench) -> None:
    plan = made.rows("SELECT stratum, population, deviation, planned FROM predictive.audit_plan ORDER BY 1", "predictive.audit_plan")
    # Eight in scope, at least half of them wrong: 4 errors among 8 are missed by 4 reads with 1/70, by 3 with 4/56 > 5%. So four reads,
    # proportional to 2 and 6 for want of a deviation: 1 and 3.
    assert plan == [("high", 2, None, 1), ("low", 6, None, 3)]
    first = made.rows(
        "SELECT stratum, decision_id, place FROM predictive.audit_sample WHERE reader = 'first' ORDER BY stratum, place",
        "predictive.audit_sample",
    )
    assert first == [("high", drawn()["high"][0], 1), *(("low", each, place) for place, each in enumerate(drawn()["low"][:3], 1))]
    due = made.rows("SELECT DISTINCT due_at FROM predictive.audit_sample", "predictive.audit_sample")
    assert due == [(datetime(2026, 4, 14),)]  # noqa: DTZ001  # three days after the end; naive UTC
    readers = made.rows(
        "SELECT count(*), count(DISTINCT auditor) FROM predictive.audit_sample GROUP BY decision_id HAVING count(*) = 2",
        "predictive.audit_sample",
    )
    assert readers == [(2, 2), (2, 2)]  # a quarter of 1 and of 3, rounded up each; never one person twice


def test_audits_add_up(made: Bench) -> None:
    columns = "selected, completed, completion, judged, upheld, agreement, agreement_lower, proving_size, second_reads, readers_agree, overdue, ladder, kappa"
    ((*counts, lower, proving, seconds, alike, overdue, ladder, kappa),) = made.rows(
        f"SELECT {columns} FROM predictive.audits", "predictive.audits"
    )
    assert counts == [6, 6, Decimal(1), 4, 4, Decimal(1)]
    # Clopper-Pearson without a failure: 1 - (1 - 0.05^(1/4)) = 0.05^(1/4) = 0.472870804..., bound of errors rounded up.
    assert abs(lower - Decimal("0.472870804")) <= Decimal("0.000000001")
    # 0.5^5 = 0.03125 is the first power below 5%.
    assert (proving, seconds, alike, overdue, ladder) == (5, 2, 2, 0, "go_on at step 1, 1 more")
    strata = made.rows(
        "SELECT stratum, judged, overturned, agreement_lower FROM predictive.overturned_strata ORDER BY 1", "predictive.overturned_strata"
    )
    # 0.05^(1/1) and 0.05^(1/3) = 0.368403149..., bound of errors rounded up.
    assert [row[:3] for row in strata] == [("high", 1, 0), ("low", 3, 0)]
    assert all(abs(row[3] - Decimal(known)) <= Decimal("0.000000001") for row, known in zip(strata, ("0.05", "0.368403149"), strict=True))
    assert kappa is None  # both readers uphold everything, so chance alone explains that they agree


def test_budgets_burn_down_and_an_overrun_needs_a_refusal(made: Bench, attempted: Attempt) -> None:
    rows = made.rows(
        "SELECT tenant_id, spent, remaining, refused, would_refuse, unrefused, exhausted_on FROM predictive.quota_months WHERE spent > 0 ORDER BY 1",
        "predictive.quota_months",
    )
    # The month up to the sprint's end. ash: a1 to a6 reach the budget of 6 on the 10th. birch: b1, b2 (an error costs nothing), 2 of 6 in the
    # four days from the 7th, so the other 4 last eight more, until the 18th. cedar: 7 of 6 with one, then a refusal. doum: 1 in two days, the
    # other 5 last ten more. A bucket of 2 refuses the cost of 7, and nothing else here.
    assert rows == [
        ("ash", Decimal(6), Decimal(0), 0, 0, 0, date(2026, 4, 10)),
        ("birch", Decimal(2), Decimal(4), 0, 0, 0, date(2026, 4, 18)),
        ("cedar", Decimal(7), Decimal(-1), 1, 1, 0, date(2026, 4, 9)),
        ("doum", Decimal(1), Decimal(5), 0, 0, 0, date(2026, 4, 20)),
    ]
    days = made.rows(
        "SELECT tenant_id, strftime(day, '%d'), spent, remaining FROM predictive.burn_down WHERE tenant_id IN ('birch', 'cedar') ORDER BY ALL",
        "predictive.burn_down",
    )
    # From the first decision of each up to the sprint's end.
    assert [(*key, int(spent), int(left)) for *key, spent, left in days] == [
        ("birch", "07", 1, 5),
        ("birch", "08", 1, 4),
        ("birch", "09", 0, 4),
        ("birch", "10", 0, 4),
        ("cedar", "09", 7, -1),
        ("cedar", "10", 0, -1),
    ]
    drawn = budgets(json.loads((attempted.bundle / "data" / REPORT).read_bytes())["burn_down"])
    assert [(row["tenant_id"], row["finding"]) for row in drawn] == [
        ("cedar", "1 over a budget of 6 by 10\u202fApr. Spent on 9\u202fApr."),
        ("ash", "0 left of a budget of 6 by 10\u202fApr. Spent on 10\u202fApr."),
        ("birch", "4 left of a budget of 6 by 10\u202fApr. At the pace of the last days it is spent on 18\u202fApr."),
        ("doum", "5 left of a budget of 6 by 10\u202fApr. At the pace of the last days it is spent on 20\u202fApr."),
    ]
    assert [str(row["svg"]).count('class="bar bad"') for row in drawn] == [2, 0, 0, 0]


def test_a_bucket_and_a_pace_go_on_where_a_month_begins(tmp_path: Path, make_bench: Callable[[Path], Bench]) -> None:
    bench = make_bench(tmp_path / "home")
    lay(bench)
    bench.declare("sprints", "sprints:\n  - {sprint: '7', first: 2026-04-29, last: 2026-05-01, zone: UTC, grace_days: 4}\n")
    bench.declare("quotas", "quotas:\n  - {tenant_id: elm, rate: '0.0001', capacity: 10, monthly_budget: 100}\n")
    spent = (("2026-04-27T12:00:00Z", 14), ("2026-04-30T23:59:00Z", 10), ("2026-05-01T00:01:00Z", 10))
    for at, cost in spent:
        lands(bench, "decisions", at[:10], [decision(f"e{at}", at, "elm", cost=cost)])
    build(bench, (LANDED, days("2026-04-27", "2026-05-02")), "2026-04-29")
    rows = bench.rows(
        "SELECT month, spent, remaining, would_refuse, unrefused, exhausted_on FROM predictive.quota_months WHERE tenant_id = 'elm' ORDER BY 1",
        "predictive.quota_months",
    )
    # The bucket of 10 refuses the 14, gives the 10 and two minutes later has 0.012 for 10 more. May: 10 of 100; from the 27th to the 1st
    # 14 + 0 + 0 + 10 + 10 in five days are 6.8 a day, and 90 left take 13.2 days from the 2nd on: the fourteenth is the 15th.
    assert rows == [
        (date(2026, 4, 1), Decimal(24), Decimal(76), 1, 0, None),
        (date(2026, 5, 1), Decimal(10), Decimal(90), 1, 0, date(2026, 5, 15)),
    ]
    # ash to doum decided in April and have no quota: that their limit held is shown by nothing.
    found = gate(attempt(bench.home, "predictive", "7"), "predictive_quota_respected")
    assert (found.status, found.reason) == ("no_evidence", "No evidence: unrefused is NULL or NaN in 4 of 6 row(s).")
    assert [(row["tenant_id"], row["monthly_budget"], row["spent"]) for row in found.offending] == [
        ("ash", None, "7"),
        ("birch", None, "2"),
        ("cedar", None, "7"),
        ("doum", None, "1"),
    ]
    page = (bench.home.site / "predictive" / "7.html").read_text(encoding="utf-8")
    assert re.search(r"<p>Without a quota.*" + ".*".join(("ash", "birch", "cedar", "doum")) + "</span></p>", page)


def test_the_sandbox_drills_rehearsal_and_links_are_as_landed(made: Bench) -> None:
    rules = made.rows(
        'SELECT rule, true_positives, false_positives, "precision", recall FROM predictive.sandbox ORDER BY 1', "predictive.sandbox"
    )
    assert ("model_extraction", 1, 0, Decimal(1), Decimal(1)) in rules
    assert made.rows("SELECT playbook, drills, passed FROM predictive.drilled ORDER BY 1", "predictive.drilled") == [
        ("misuse_wave", 1, 1),
        ("model_rollback", 1, 1),
        ("quota_exhaustion", 1, 1),
    ]
    # One input, which a6 had of the version before; that it landed twice makes it no slower.
    rehearsed = made.rows("SELECT inputs, differing, unknown, unproven, elapsed_ms FROM predictive.rehearsal", "predictive.rehearsal")
    assert rehearsed == [(1, 0, 0, 0, Decimal("12.5"))]
    assert made.rows("SELECT count(*), sum(linked) FROM predictive.card_linked", "predictive.card_linked") == [(3, 3)]


def test_an_attempt_judges_signs_shows_and_can_be_reproduced(made: Bench, attempted: Attempt) -> None:
    failed = {each.gate: each.value for each in attempted.results if each.status != "passed"}
    # 3 of 4 tenants served; b3 is one error in three of birch, and took 900 ms.
    assert failed == {
        "predictive_rollout_coverage": "0.75",
        "predictive_audit_coverage": "0.333333333",  # what was drawn is all of ash, which is one of the three served
        "predictive_seed_before_data": "0",  # signed when the test ran, long after April
        "predictive_error_share": "0.333333334",
        "predictive_latency_p95": "900",
        "predictive_conflicts": "1",  # a1, which was sent again for another tenant, and case 3 of the labelled history
    }
    assert {each.split("-")[0][0] for each in (*drawn()["high"][:1], *drawn()["low"][:3])} == {"a"}
    assert (attempted.verdict, attempted.edition, attempted.fresh) == ("failed", 1, True)
    assert gate(attempted, "predictive_audits_completed").status == "passed"
    checked = verify(attempted.bundle, known_keys(made.home.keys), journal=journal_of(made.home))
    assert checked.ok, checked.reasons
    entry = journal_of(made.home).entries()[-1]
    again = reproduce(made.home, attempted.bundle, Recorded.read(named_predicate(made.home, entry)))
    assert (again.differing, again.changed, again.same_code) == ([], [], True)
    same = attempt(made.home, "predictive", "7")
    assert (same.fresh, same.digest, same.pages) == (False, attempted.digest, [])
    board = json.loads((made.home.site / "scoreboard.json").read_text(encoding="utf-8"))
    assert [each["window"] for each in board["deliverables"]] == ["Sprint 7"]


def test_days_one_by_one_and_in_one_run_give_the_same_rows_in_whatever_order_they_landed(
    made: Bench, tmp_path: Path, make_bench: Callable[[Path], Bench]
) -> None:
    other = make_bench(tmp_path / "home")
    lay(other)
    publish(other.home, "7", "4.2.0")
    (other.home.landing / "audits").mkdir(parents=True)
    for path in sorted((made.home.landing / "audits").rglob("*.ndjson")):
        target = other.home.landing / path.relative_to(made.home.landing)
        target.parent.mkdir()
        target.write_bytes(path.read_bytes())
    for path in sorted(other.home.landing.rglob("*.ndjson")):  # and the rows of every file the other way round
        path.write_bytes(b"".join(reversed(path.read_bytes().splitlines(keepends=True))))
    build(other, ([day] for day in LANDED))
    published(other)
    tables = [model.key for model in made.shop.catalog.ordered() if model.deliverable == "predictive" and not model.header.view]
    signed = {
        "predictive.seeds": "(entry, published_at)",
        "predictive.editions": "(entry, published_at)",
        "predictive.card_check": "(published_at)",
        "predictive.seed_before_data": "(published_at)",
    }
    for table in tables:
        query = f"SELECT * {f'EXCLUDE {signed[table]}' if table in signed else ''} FROM {table} ORDER BY ALL"
        assert other.rows(query, table) == made.rows(query, table), table


def test_a_day_without_decisions_and_a_file_that_was_not_read_are_gaps(tmp_path: Path, make_bench: Callable[[Path], Bench]) -> None:
    bench = make_bench(tmp_path / "home")
    lay(bench)
    declared = (bench.home.reference / "sources.yaml").read_text(encoding="utf-8")
    daily = re.sub(r"(  decisions: .*)days: any, ", r"\1", declared)
    (bench.home.reference / "sources.yaml").write_text(daily, encoding="utf-8")
    rmtree(bench.home.landing / "decisions" / "2026-04-08")
    cut = bench.home.landing / "drills" / "2026-04-14" / "more.ndjson.gz"
    cut.parent.mkdir(parents=True)
    cut.write_bytes(gzip.compress(b'{"drill_id": "d-late"}\n' * 100)[:-12])
    build(bench)
    # Ten of the thirteen decisions are left, of four of the sprint's five days and of the 11th; three more landed on the 13th, two of them
    # refused. Audits never came.
    assert bench.rows("SELECT * EXCLUDE (sprint) FROM predictive.landed ORDER BY source", "predictive.landed") == [
        ("abuse_history", 0, 0, 0, 0, 0, 0),
        ("card_links", 0, 0, 0, 3, 3, 0),
        ("decisions", 1, 0, 1, 13, 11, 2),
        ("drills", 0, 1, 1, 14, 14, 0),
        ("rehearsals", 0, 0, 0, 2, 2, 0),
        ("releases", 0, 0, 0, 0, 0, 0),
    ]
    found = gate(attempt(bench.home, "predictive", "7"), "predictive_landing_complete")
    assert (found.status, found.value, found.offending_count) == ("failed", "1", 2)


def test_without_a_published_seed_there_is_no_evidence(tmp_path: Path, make_bench: Callable[[Path], Bench]) -> None:
    bench = make_bench(tmp_path / "home")
    lay(bench)
    build(bench)
    done = attempt(bench.home, "predictive", "7")
    names = ("predictive_audits_completed", "predictive_audits_agreement", "predictive_seed_before_data")
    assert {gate(done, name).status for name in names} == {"no_evidence"}
    assert bench.rows("SELECT * FROM predictive.audit_plan", "predictive.audit_plan") == []


def test_a_seed_is_published_once(made: Bench) -> None:
    first = publish(made.home, "7", "4.2.0")
    assert publish(made.home, "7", "4.2.0").number == first.number
    with pytest.raises(MissionError, match="no such sprint is declared"):
        publish(made.home, "8", "4.2.0")


@pytest.mark.parametrize("path", sorted((CHECKOUT / "docs" / "runbooks").glob("predictive_*.md")), ids=lambda path: path.stem)
def test_what_a_runbook_asks_can_be_asked(made: Bench, path: Path) -> None:
    queries = re.findall(r'^mission sql "(.+)"$', path.read_text(encoding="utf-8"), re.MULTILINE)
    for query in queries:
        made.rows(query, *sorted(set(re.findall(r"\b(?:predictive|staging|landing)\.[a-z_]+", query))))
    assert queries or "mission audits" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_an_axe_violation(browser: "Browser", made: Bench, attempted: Attempt, scheme: Literal["light", "dark"]) -> None:
    for name in ("predictive/7.html", "predictive/7-drills.html", "cards/churn-risk/1.4.html", "index.html"):
        page, _ = opened(browser, made.home.site / name, color_scheme=scheme, viewport={"width": 390, "height": 900})
        assert violations(page) == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
        page.context.close()
