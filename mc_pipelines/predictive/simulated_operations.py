"""Generated operations around the decisions: releases, drills, rehearsals, labelled abuse and links to the model card, as rows."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from mc_pipelines.generated import Chance, Row, instant, shuffled, text_of
from mc_pipelines.predictive.simulated_decisions import Decision, Rollout
from mc_pipelines.predictive.simulated_truth import BEFORE, CARD, CARD_BEFORE, LIVE, MODEL, Troubles

REHEARSED = 40
CASES = 400
PLAYBOOKS = {
    "model_rollback": (
        "See the error share rise",
        "Decide to go back",
        "Deploy the version before",
        "Compare fifty outcomes",
        "Tell the tenants",
    ),
    "quota_exhaustion": ("See a budget near its end", "Ask the account's owner", "Raise it or refuse", "See the burn-down"),
    "misuse_wave": ("See probes of one tenant", "Choose a rule", "Set it", "See that good tenants are not blocked", "Write down the case"),
}
"""Steps by playbook, as many as data/reference/playbooks.yaml declares."""
SURFACES = ("accounts/list", "accounts/detail", "help/predictions")
LINK = "https://mission-control.example/cards/churn-risk/{}.html"


def releases(start: datetime, end: datetime, plan: Rollout, troubles: Troubles) -> list[Row]:
    """The version before, the live one, and in the window a rehearsal of the way back; with the trouble, the way back itself."""
    events = [
        (plan.deployed - timedelta(days=40), "deploy", BEFORE),
        (plan.deployed, "deploy", LIVE),
        (start + timedelta(days=2, hours=9), "rehearsal", BEFORE),
    ]
    if plan.back is not None:
        events += [(plan.back[0], "rollback", BEFORE), (plan.back[1], "deploy", LIVE)]
    return [
        {
            "release_id": f"release-{number}",
            "model": MODEL,
            "model_version": version,
            "event": event,
            "occurred_at": instant(at),
            "by": "team:model-ops",
        }
        for number, (at, event, version) in enumerate(sorted(events), 1)
    ]


def drills(seed: int, start: datetime, playbooks: Mapping[str, Sequence[str]], troubles: Troubles) -> list[Row]:
    """One drill a playbook on the third to sixth day, one row a step; the last playbook is missed, or the first one fails, with the trouble."""
    rows: list[Row] = []
    for number, playbook in enumerate(list(playbooks)[: -1 if troubles.missed_drill else None]):
        began = start + timedelta(days=2 + number % 4, hours=8, minutes=Chance(seed, "drill", playbook).below(120))
        at = began
        for step, action in enumerate(playbooks[playbook], 1):
            done = at + timedelta(seconds=Chance(seed, f"step {playbook}", step).between(40, 900))
            failed = troubles.failed_drill and number == 0 and step == 3
            row = {
                "drill_id": f"drill-{start:%Y%m%d}-{playbook}",
                "playbook": playbook,
                "ran_at": instant(began),
                "step": step,
                "action": action,
                "started_at": instant(at),
                "finished_at": instant(done),
                "outcome": "failed" if failed else "passed",
            }
            more = {1: {"alert": f"{playbook}: threshold crossed"}, 2: {"decision": f"{playbook}: go on with step 3"}}
            rows.append(row | more.get(step, {}))
            at = done
    return rows


def rehearsals(seed: int, start: datetime, made: Sequence[Decision], troubles: Troubles) -> list[Row]:
    """The version before, rebuilt on the third day on archived inputs: some of those that it has served, or all where these are few."""
    at = start + timedelta(days=2, hours=9)
    served = {each.inputs(seed) for each in made if each.version == BEFORE and each.status == "ok" and each.at < at}
    inputs = shuffled(seed, "archived", served)[: REHEARSED - 3 if troubles.rehearsal_invented else REHEARSED]
    inputs += [text_of(seed, "invented", number) for number in range(3 if troubles.rehearsal_invented else 0)]
    rows: list[Row] = []
    for number, digest in enumerate(inputs):
        archived = text_of(seed, "output", number)
        differs = troubles.rehearsal_differs and number < 3
        rows.append(
            {
                "rehearsal_id": f"rehearsal-{start:%Y%m%d}",
                "model": MODEL,
                "model_version": BEFORE,
                "ran_at": instant(at),
                "inputs_digest": digest,
                "archived_digest": archived,
                "rebuilt_digest": text_of(seed, "other output", number) if differs else archived,
                "elapsed_ms": Chance(seed, "rehearsal", number).between(180, 900),
            }
        )
    return rows


def abuse_history(seed: int, tenants: Sequence[str], start: datetime, earliest: datetime) -> list[Row]:
    """Labelled cases between two instants: one tenant in nine abuses, some of it slowly, and some good tenants ask much."""
    order = shuffled(seed, "abusers", tenants)
    cut = max(1, len(order) // 9)
    seconds = int((start - earliest).total_seconds())
    rows: list[Row] = []
    for number in range(CASES):
        chance = Chance(seed, "case", number)
        abuse = chance.below(100) < 15 or len(order) == 1
        unusual = chance.below(100) < 7
        fast = abuse != unusual
        rows.append(
            {
                "case_id": f"case-{number:04d}",
                "tenant_id": chance.one_of(order[:cut] if abuse else order[cut:]),
                "occurred_at": instant(earliest + timedelta(seconds=chance.below(max(1, seconds)))),
                "label": "abuse" if abuse else "good",
                "requests_per_minute": chance.between(180, 900) if fast else chance.between(1, 120),
                "distinct_inputs_share": (chance.between(800, 1000) if abuse else chance.between(150, 850)) / 1000,
                "probe_share": (chance.between(60, 600) if abuse else chance.between(0, 50)) / 1000,
                "payload_kb": chance.between(1, 64),
            }
        )
    return sorted(rows, key=lambda row: (row["occurred_at"], row["case_id"]))


def card_links(start: datetime, surfaces: Sequence[str], troubles: Troubles) -> list[Row]:
    """Every surface that links the customer card, looked at on the fourth day."""
    rows: list[Row] = []
    for number, surface in enumerate(surfaces):
        behind, dead = troubles.card_behind and number == 0, troubles.dead_link and number == 1
        rows.append(
            {
                "surface": surface,
                "link": LINK.format(CARD_BEFORE if behind else CARD),
                "card_version": CARD_BEFORE if behind else CARD,
                "status": 404 if dead else 200,
                "checked_at": instant(start + timedelta(days=3, hours=6, minutes=number)),
            }
        )
    return rows
