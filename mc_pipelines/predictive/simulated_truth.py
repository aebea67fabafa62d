"""What may be planted into generated predictive operations, and what is then true of them. How it is made stands in `simulate.py`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from mc_pipelines.generated import Row

MODEL, BEFORE, LIVE = "churn-risk", "4.1.0", "4.2.0"
CARD, CARD_BEFORE = "1.4", "1.3"
OUTCOMES = {"low_score": "low", "edge": "medium", "high_score": "high"}
"""What is decided, by stratum."""


@dataclass(frozen=True)
class Troubles:
    """What makes a gate fail or warn, each off in plain operations; bad rows, copies and one overrun with refusals are in plain ones too."""

    overturns: bool = False
    """Auditors overturn about one decision in fifty instead of one in a thousand."""
    slow_rollout: bool = False
    """Four GA tenants in ten stay on the version before."""
    rollback: bool = False
    """The live version is rolled back in the window, and deployed again a day later."""
    silent_overrun: bool = False
    """A tenant overruns its monthly budget and nothing is refused."""
    failed_drill: bool = False
    missed_drill: bool = False
    rehearsal_differs: bool = False
    """Three archived inputs give another output when rebuilt."""
    rehearsal_invented: bool = False
    """Three inputs of the rehearsal are none that the version before ever served."""
    card_behind: bool = False
    """One surface links the card of the version before."""
    dead_link: bool = False
    errors: bool = False
    """One decision in twelve ends in an error, and all are slow."""
    burst: bool = False
    """The largest tenant asks sixty times within a minute in the middle of the window."""


PLAIN = Troubles()


@dataclass(frozen=True)
class Quota:
    """Tokens per second, the most tokens there can be, and the cost that a calendar month (UTC) may come to."""

    tenant_id: str
    rate: Decimal
    capacity: Decimal
    monthly_budget: Decimal


@dataclass(frozen=True)
class Truth:
    """What the landed files hold, each identity once; the window is [start, end) in UTC."""

    seed: int
    start: datetime
    end: datetime
    rows: Mapping[str, int]
    """Landed rows per source, refused ones among them."""
    malformed: Mapping[str, Mapping[str, int]]
    """Refused rows per source and reason."""
    decisions: Mapping[str, int]
    errors: Mapping[str, int]
    refusals: Mapping[str, int]
    """Per tenant: decisions of any status, those with an error, those refused."""
    duplicates: int
    """Rows that say again what another row says."""
    served: frozenset[str]
    """GA tenants to whom the live version gave an outcome in the window."""
    strata: Mapping[tuple[str, date], tuple[int, int]]
    """Stratum and UTC day: decisions with an outcome, and how many of them an auditor overturns."""
    overturned: frozenset[str]
    """Ids of the decisions that an auditor overturns; each has an outcome."""
    quotas: tuple[Quota, ...]
    overrun_refused: frozenset[str]
    overrun_silent: frozenset[str]
    """Tenants over their budget in a month that the window touches, with and without refusals."""
    rollbacks: tuple[str, ...]
    """Releases that roll back in the window."""
    abuse: Mapping[str, str]
    """Label by case."""
    drills: Mapping[str, str]
    """Outcome by playbook; one that was not drilled is absent."""
    rehearsed: int
    rehearsal_differences: int
    rehearsal_unknown: int
    links: Mapping[str, tuple[str, int]]
    """Card version and HTTP status by surface."""


@dataclass(frozen=True)
class Answers:
    """A worklist answered: rows by landing day, and what was planted, as (decision id, reader)."""

    days: Mapping[date, tuple[Row, ...]]
    overturned: frozenset[tuple[str, str]]
    late: frozenset[tuple[str, str]]
    open: frozenset[tuple[str, str]]
    disagreements: frozenset[str]
    """Decisions on which the second reader was made to contradict the first."""
