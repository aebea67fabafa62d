"""Generated decisions: who asks when, which version answers, what is refused, and what an auditor would say of it.

Everything follows from the seed. Landing and counting are `simulate.py`'s.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import accumulate, pairwise
from math import ceil, exp
from statistics import NormalDist

from mc_pipelines.generated import Chance, Row, instant, shuffled, text_of
from mc_pipelines.predictive.simulated_truth import BEFORE, LIVE, MODEL, OUTCOMES, Quota, Troubles
from mc_pipelines.simulate import HOURS, WEEK

SPREAD = 0.8
"""Standard deviation of the logarithm of a tenant's size."""
BURST = 60
OVERTURNED = {"high_score": 60, "low_score": 100, "edge": 400}
"""Decisions in 100 000 that are overturned on the first day; half as many again on the last."""
COSTS = ("1", "1", "1", "1", "1", "1", "1", "2", "0.5", "1.25")
HOUR_OF = tuple(hour for hour, weight in enumerate(HOURS) for _ in range(weight))
TOLERATED = Decimal("1.06")
"""A recording limiter refuses once a month's cost is this share of the budget: late, so that the overrun itself stays visible."""


@dataclass(frozen=True)
class Decision:
    """One decision, as it is counted and landed."""

    number: int
    decision_id: str
    tenant_id: str
    version: str
    at: datetime
    score: int
    """In ten-thousandths."""
    status: str
    latency_ms: int
    cost: Decimal
    overturned: bool

    @property
    def stratum(self) -> str:
        return "low_score" if self.score < 4500 else "edge" if self.score < 5500 else "high_score"

    @property
    def month(self) -> tuple[str, str]:
        """(tenant, month in UTC): what a budget is for."""
        return self.tenant_id, f"{self.at:%Y-%m}"

    def inputs(self, seed: int) -> str:
        """Digest of what was decided on."""
        return text_of(seed, "inputs", self.number)

    def row(self, seed: int) -> Row:
        outcome = OUTCOMES[self.stratum] if self.status == "ok" else "none"
        return {
            "decision_id": self.decision_id,
            "tenant_id": self.tenant_id,
            "model": MODEL,
            "model_version": self.version,
            "occurred_at": instant(self.at),
            "inputs_digest": self.inputs(seed),
            "outcome": outcome,
            "score": self.score / 10_000,
            "stratum": self.stratum,
            "status": self.status,
            "latency_ms": self.latency_ms,
            "cost": str(self.cost),
        }


@dataclass(frozen=True)
class Rollout:
    """When the live version came, whom it does not serve, and the day on which it was rolled back."""

    deployed: datetime
    pinned: frozenset[str]
    back: tuple[datetime, datetime] | None = None

    def version(self, tenant: str, at: datetime) -> str:
        gone = self.back is not None and self.back[0] <= at < self.back[1]
        return BEFORE if gone or at < self.deployed or tenant in self.pinned else LIVE


def rollout(seed: int, ga: Sequence[str], first: date, start: datetime, end: datetime, troubles: Troubles) -> Rollout:
    """The live version comes four days before the window, or with the first day where that is later."""
    count = len(ga) * 2 // 5 if troubles.slow_rollout else len(ga) // 12
    deployed = max(datetime.combine(first, time(1), UTC), start - timedelta(days=4))
    middle = start + (end - start) / 2
    back = (middle, middle + timedelta(days=1)) if troubles.rollback else None
    return Rollout(deployed, frozenset(shuffled(seed, "pinned", ga)[:count]), back)


def weights(seed: int, tenants: Sequence[str]) -> dict[str, int]:
    """Sizes as a log-normal law has them; one tenant in thirty asks nothing."""
    order = shuffled(seed, "size", tenants)
    normal = NormalDist()
    sizes = [round(1000 * exp(SPREAD * normal.inv_cdf(1 - (rank + 0.5) / len(order)))) for rank in range(len(order))]
    idle = set(shuffled(seed, "idle", order[1:])[: len(order) // 30])
    return {name: 0 if name in idle else size for name, size in zip(order, sizes, strict=True)}


def per_day(count: int, first: date, last: date) -> list[tuple[date, int]]:
    """Decisions per day by weekday; cumulative rounding, so that they add up."""
    days = [first + timedelta(days=step) for step in range((last - first).days + 1)]
    marks = list(accumulate((WEEK[day.weekday()] for day in days), initial=0))
    ends = [count * mark // marks[-1] for mark in marks]
    return [(day, upper - lower) for day, (lower, upper) in zip(days, pairwise(ends), strict=True)]


def overturned_in(stratum: str, day: date, first: date, last: date, troubles: Troubles) -> int:
    """Decisions in 100 000 of this stratum and day that an auditor overturns."""
    span = max(1, (last - first).days)
    return OVERTURNED[stratum] * (2 * span + (day - first).days) * (25 if troubles.overturns else 1) // (2 * span)


def decide(
    seed: int,
    sizes: Mapping[str, int],
    first: date,
    last: date,
    count: int,
    plan: Rollout,
    start: datetime,
    end: datetime,
    troubles: Troubles,
) -> list[Decision]:
    """`count` decisions in order of their instants within a day, before anything is refused."""
    names, marks = list(sizes), list(accumulate(sizes.values()))
    # Of a small tenant's decisions a single error is more than what is tolerated.
    failing = {name: 83 if troubles.errors else 4 if name == names[0] else 0 for name in names}
    burst = BURST if troubles.burst else 0
    made, number = [], 0
    for day, today in per_day(count - burst, first, last):
        for _ in range(today):
            chance = Chance(seed, "decision", number)
            tenant = names[bisect_right(marks, chance.below(marks[-1]))]
            at = datetime.combine(day, time(HOUR_OF[chance.below(len(HOUR_OF))]), UTC) + timedelta(milliseconds=chance.below(3_600_000))
            made.append(_decision(seed, number, tenant, at, plan, failing[tenant], (first, last), troubles))
            number += 1
    middle = (start + (end - start) / 2).replace(minute=0, second=0, microsecond=0)
    at_once = [middle + timedelta(seconds=step) for step in range(burst)]
    made += [
        _decision(seed, number + step, names[0], at, plan, failing[names[0]], (first, last), troubles) for step, at in enumerate(at_once)
    ]
    return sorted(made, key=lambda each: (each.at, each.number))


def _decision(
    seed: int, number: int, tenant: str, at: datetime, plan: Rollout, failing: int, days: tuple[date, date], troubles: Troubles
) -> Decision:
    chance = Chance(seed, "answer", number)
    score = chance.between(5501, 10_000) if chance.below(100) < 62 else chance.between(0, 5500)
    status = "error" if chance.below(1000) < failing else "ok"
    latency = 30 + 12_000 // (50 + chance.below(400)) + (900 if troubles.errors else 0)
    ident = f"d-{text_of(seed, 'id', number)[:16]}"
    made = Decision(
        number, ident, tenant, plan.version(tenant, at), at, score, status, latency, Decimal(chance.one_of(COSTS)), overturned=False
    )
    return replace(made, overturned=status == "ok" and chance.below(100_000) < overturned_in(made.stratum, at.date(), *days, troubles))


def quotas(seed: int, made: Sequence[Decision], tenants: Sequence[str], over: Sequence[str], month: str) -> tuple[Quota, ...]:
    """A quota per tenant that its use keeps well below, but for the tenants `over`, whose use of `month` is more than its budget."""
    spent: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for each in made:
        spent[each.month] += each.cost
    rows = []
    for tenant in sorted(tenants):
        most = max((cost for (name, _), cost in spent.items() if name == tenant), default=Decimal(0))
        budget = int(spent[tenant, month] * 85 / 100) if tenant in over else max(20, ceil(most * 13 / 100) * 10)
        rows.append(Quota(tenant, Decimal("0.05"), Decimal(20), Decimal(budget)))
    return tuple(rows)


def limited(made: Sequence[Decision], recorded: Mapping[str, Decimal]) -> list[Decision]:
    """The decisions with those refused that come after a tenant in `recorded` (its budget) has spent the tolerated share in a month."""
    spent: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    kept = []
    for each in made:
        refused = each.tenant_id in recorded and spent[each.month] + each.cost > recorded[each.tenant_id] * TOLERATED
        if not refused:
            spent[each.month] += each.cost
        kept.append(replace(each, status="refused", latency_ms=2, overturned=False) if refused else each)
    return kept
