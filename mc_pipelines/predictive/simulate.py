"""Generated predictive operations with known truth: decisions and what stands around them, landed; worklists answered; one big file.

Everything follows from the seed, and the same arguments give the same bytes. Nothing here calls the pipeline; the truth is counted while
the rows are made.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

from mc_pipelines.errors import MissionError
from mc_pipelines.generated import AGAIN, Place, Row, Spoil, by_day, instant, land, land_spoilt, new_file, text_of
from mc_pipelines.predictive import simulated_operations as operations
from mc_pipelines.predictive.simulated_decisions import Decision, decide, limited, quotas, rollout, weights
from mc_pipelines.predictive.simulated_truth import BEFORE, LIVE, PLAIN, Answers, Quota, Troubles, Truth

REPEATED = 400
"""One decision in so many lands again the day after."""
LOCAL = "2026-04-20T10:00:00"
UNKNOWN = ("tenant_id:unknown_tenant", {"tenant_id": "nobody"})
SPOILS: dict[str, tuple[Spoil, ...]] = {
    "decisions": (
        UNKNOWN,
        ("decision_id:missing", {"decision_id": None}),
        ("occurred_at:zone", {"occurred_at": LOCAL}),
        ("occurred_at:range", {"occurred_at": "0001-01-01T00:00:00Z"}),
        ("score:maximum", {"score": 1.5}),
        ("score:minimum", {"score": -0.1}),
        ("latency_ms:type", {"latency_ms": "fast"}),
        ("status:pattern", {"status": "done"}),
        (AGAIN, {}),
    ),
    "audits": (
        ("decision_id:missing", {"decision_id": None}),
        ("due_at:zone", {"due_at": LOCAL}),
        ("reader:pattern", {"reader": "third"}),
        ("verdict:pattern", {"verdict": "maybe", "completed_at": f"{LOCAL}Z"}),
        ("verdict:incomplete", {"verdict": "upheld"}),
        (AGAIN, {}),
    ),
    "releases": (
        ("release_id:missing", {"release_id": None}),
        ("occurred_at:zone", {"occurred_at": LOCAL}),
        ("event:pattern", {"event": "hotfix"}),
    ),
    "drills": (
        ("drill_id:missing", {"drill_id": None}),
        ("started_at:zone", {"started_at": LOCAL}),
        ("outcome:pattern", {"outcome": "almost"}),
    ),
    "rehearsals": (("ran_at:zone", {"ran_at": LOCAL}), ("elapsed_ms:minimum", {"elapsed_ms": -1}), (AGAIN, {})),
    "abuse_history": (
        UNKNOWN,
        ("case_id:missing", {"case_id": None}),
        ("label:pattern", {"label": "unsure"}),
        ("probe_share:maximum", {"probe_share": 1.5}),
    ),
    "card_links": (("surface:missing", {"surface": None}), ("checked_at:zone", {"checked_at": LOCAL})),
}
"""Per source, what is wrong with its bad rows and the reason that its contract gives."""


def simulate(
    landing: Path,
    tenants: Sequence[str],
    ga: Sequence[str],
    first: date,
    last: date,
    decisions: int,
    seed: int,
    window: tuple[datetime, datetime] | None = None,
    troubles: Troubles = PLAIN,
    playbooks: Mapping[str, Sequence[str]] = operations.PLAYBOOKS,
    surfaces: Sequence[str] = operations.SURFACES,
    faults: bool = True,
    place: Place = new_file,
) -> Truth:
    """Land decisions of UTC days `first` to `last` and the operations of `window` ([start, end), all days unless given) under `landing`.

    `playbooks` are the steps of each. `faults` plants bad rows and copies. Audits are answered later, by `audit_answers`. MissionError for impossible arguments and for a
    landed file that `place` refuses.
    """
    start, end = window or (datetime.combine(first, time(), UTC), datetime.combine(last + timedelta(days=1), time(), UTC))
    if not tenants or not set(ga) <= set(tenants) or last < first or decisions < 100 or end - start < timedelta(days=5):
        raise MissionError(
            f"simulate: {len(tenants)} tenants, {first}..{last}, {decisions} decisions, window {start}..{end}: name tenants with the GA ones "
            "among them, days in order, at least 100 decisions and a window of at least 5 days."
        )
    plan = rollout(seed, ga, first, start, end, troubles)
    sizes = weights(seed, tenants)
    asked = decide(seed, sizes, first, last, decisions, plan, start, end, troubles)
    over = [name for name in sizes if name in set(ga)][1:3]
    recorded, silent = over[:1], over[1:] if troubles.silent_overrun else []
    granted = quotas(seed, asked, tenants, [*recorded, *silent], f"{start:%Y-%m}")
    made = limited(asked, {each.tenant_id: each.monthly_budget for each in granted if each.tenant_id in recorded})
    around = {
        "releases": (operations.releases(start, end, plan, troubles), "occurred_at"),
        "drills": (operations.drills(seed, start, playbooks, troubles), "ran_at"),
        "rehearsals": (operations.rehearsals(seed, start, made, troubles), "ran_at"),
        "abuse_history": (operations.abuse_history(seed, tenants, start, datetime.combine(first, time(), UTC)), "occurred_at"),
        "card_links": (operations.card_links(start, surfaces, troubles), "checked_at"),
    }
    rows, malformed = _land(landing, seed, made, around, (first, last), faults, place)
    return _truth(seed, frozenset(ga), (start, end), made, granted, {name: each for name, (each, _) in around.items()}, rows, malformed)


def _land(
    landing: Path,
    seed: int,
    made: Sequence[Decision],
    around: Mapping[str, tuple[Sequence[Row], str]],
    days: tuple[date, date],
    faults: bool,
    place: Place,
) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Rows landed and bad rows by reason, per source."""
    first, last = days
    whole = by_day((each.row(seed) for each in made), "occurred_at")
    rows = {"decisions": land(landing, "decisions", "decisions", whole, place), "audits": 0}
    if faults:
        again = {day + timedelta(days=1): [row for row in each if _repeated(seed, row)] for day, each in whole.items() if day < last}
        rows["decisions"] += land(landing, "decisions", "copies", {day: each for day, each in again.items() if each}, place)
    for source, (each, field) in around.items():
        # What happened before the first day has landed on it.
        landed: dict[date, list[Row]] = defaultdict(list)
        for day, some in by_day(each, field).items():
            landed[max(first, day)] += some
        rows[source] = land(landing, source, source, dict(sorted(landed.items())), place)
    malformed: dict[str, dict[str, int]] = {}
    if faults:
        models = {source: each for source, (each, _) in around.items()}
        models |= {"decisions": [made[0].row(seed)], "audits": [_audit(made[0].decision_id, "first", "auditor-1", instant(made[0].at))]}
        middle = first + (last - first) / 2
        for source, spoils in SPOILS.items():
            malformed[source] = land_spoilt(landing, source, middle, models[source], spoils, place)
            rows[source] += sum(malformed[source].values())
    return rows, malformed


def _repeated(seed: int, row: Row) -> bool:
    return int(text_of(seed, "again", row["decision_id"])[:8], 16) % REPEATED == 0


def _truth(
    seed: int,
    ga: frozenset[str],
    window: tuple[datetime, datetime],
    made: Sequence[Decision],
    granted: tuple[Quota, ...],
    around: Mapping[str, Sequence[Row]],
    rows: Mapping[str, int],
    malformed: Mapping[str, Mapping[str, int]],
) -> Truth:
    start, end = window
    by_status = {status: dict(Counter(each.tenant_id for each in made if each.status == status)) for status in ("ok", "error", "refused")}
    strata: dict[tuple[str, date], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for each in made:
        if each.status == "ok":
            count, wrong = strata[each.stratum, each.at.date()]
            strata[each.stratum, each.at.date()] = (count + 1, wrong + each.overturned)
    over = _over(made, granted, window)
    served_before = {each.inputs(seed) for each in made if each.version == BEFORE and each.status == "ok"}
    outcomes: dict[str, str] = {}
    for row in around["drills"]:
        outcomes[row["playbook"]] = "failed" if "failed" in (row["outcome"], outcomes.get(row["playbook"])) else "passed"
    return Truth(
        seed=seed,
        start=start,
        end=end,
        rows=rows,
        malformed=malformed,
        decisions=dict(Counter(each.tenant_id for each in made)),
        errors=by_status["error"],
        refusals=by_status["refused"],
        duplicates=rows["decisions"] - len(made) - sum(malformed.get("decisions", {}).values()),
        served=frozenset(
            each.tenant_id
            for each in made
            if each.tenant_id in ga and each.version == LIVE and start <= each.at < end and each.status == "ok"
        ),
        strata=dict(strata),
        overturned=frozenset(each.decision_id for each in made if each.overturned),
        quotas=granted,
        overrun_refused=frozenset(over & by_status["refused"].keys()),
        overrun_silent=frozenset(over - by_status["refused"].keys()),
        rollbacks=tuple(row["release_id"] for row in around["releases"] if row["event"] == "rollback"),
        abuse={row["case_id"]: row["label"] for row in around["abuse_history"]},
        drills=outcomes,
        rehearsed=len(around["rehearsals"]),
        rehearsal_differences=sum(row["archived_digest"] != row["rebuilt_digest"] for row in around["rehearsals"]),
        rehearsal_unknown=len({row["inputs_digest"] for row in around["rehearsals"]} - served_before),
        links={row["surface"]: (row["card_version"], row["status"]) for row in around["card_links"]},
    )


def _over(made: Sequence[Decision], granted: Sequence[Quota], window: tuple[datetime, datetime]) -> set[str]:
    """Tenants whose decisions of a UTC month that the window touches, refused ones apart, cost more than the budget."""
    months = {f"{at:%Y-%m}" for at in (window[0], window[1] - timedelta(microseconds=1))}
    spent: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for each in made:
        if each.status != "refused":
            spent[each.month] += each.cost
    budgets = {each.tenant_id: each.monthly_budget for each in granted}
    return {tenant for (tenant, month), cost in spent.items() if month in months and cost > budgets[tenant]}


def audit_answers(
    selected: Sequence[tuple[str, str, str, str]],
    truth: Truth,
    late: int = 0,
    unanswered: int = 0,
    disagreements: int = 0,
    within: timedelta = timedelta(hours=20),
) -> Answers:
    """Answers to a worklist of (decision id, reader, auditor, due_at), each verdict the known truth of the decision.

    An audit is completed at most `within` before it is due; `late` of them up to ten hours after, `unanswered` never (their row is the
    assignment alone). In `disagreements` decisions that have a second reader, that one says the opposite. MissionError where the worklist
    is too short for that.
    """
    order = sorted(selected, key=lambda each: text_of(truth.seed, "answered", f"{each[0]}/{each[1]}"))
    pairs = [(ident, reader) for ident, reader, _, _ in order]
    never, after = frozenset(pairs[:unanswered]), frozenset(pairs[unanswered : unanswered + late])
    twice = [ident for ident, reader in pairs[unanswered:] if reader == "second"]
    if late + unanswered > len(pairs) or disagreements > len(twice):
        raise MissionError(
            f"audit_answers: {len(pairs)} audits, {len(twice)} second readings: too few for what is to be planted. Select more."
        )
    against = frozenset(twice[:disagreements])
    days: dict[date, list[Row]] = defaultdict(list)
    wrong = set()
    for ident, reader, auditor, due_at in sorted(selected):
        due, row = datetime.fromisoformat(due_at).astimezone(UTC), _audit(ident, reader, auditor, due_at)
        if (ident, reader) in never:
            days[(due - within).date()].append(row)
            continue
        span = timedelta(hours=10) if (ident, reader) in after else -within
        part = 1 + int(text_of(truth.seed, "completed", f"{ident}/{reader}")[:8], 16) % 999
        done = due + span * part / 1000
        overturned = (ident in truth.overturned) != (reader == "second" and ident in against)
        if overturned:
            wrong.add((ident, reader))
        verdict = (
            {"verdict": "overturned", "reason": "The outcome does not follow from the inputs"} if overturned else {"verdict": "upheld"}
        )
        days[done.date()].append(row | {"completed_at": instant(done)} | verdict)
    return Answers({day: tuple(each) for day, each in sorted(days.items())}, frozenset(wrong), after, never, against)


def _audit(decision: str, reader: str, auditor: str, due_at: str) -> dict[str, str]:
    return {"decision_id": decision, "reader": reader, "due_at": due_at, "auditor": auditor}


def write_audits(landing: Path, days: Mapping[date, Sequence[Row]], place: Place = new_file) -> int:
    """Land audits by landing day; returns how many rows."""
    return land(landing, "audits", "audits", days, place)
