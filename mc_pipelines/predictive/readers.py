"""Who reads an audited decision, which decisions are read twice, and how far the readers agree. Which decisions are audited is drawn by `audit_drawn.sql`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from hashlib import sha256
from heapq import heappop, heappush
from math import ceil

from mc_pipelines.errors import MissionError


def _digest(*parts: str) -> int:
    return int(sha256("\x1f".join(parts).encode()).hexdigest(), 16)


def second_reads(seed: str, ids: Sequence[str], share: Decimal) -> list[str]:
    """Which of the drawn decisions are read again, blind: ceil(share * their number), by sha256(seed U+001F 'second' U+001F id).

    `ids` is one stratum's sample in order of its ranks. A threshold on the digest would not give the declared number, and the bottom k of
    the whole would drop some when the sample is extended; so each time the share asks for one more, the lowest digest among those drawn
    so far and not yet chosen is taken: the number is exact at every size, and an extension keeps what was chosen.
    """
    if not 0 <= share <= 1:
        raise MissionError(f"share of second reads {share}: write a share from 0 to 1.")
    chosen: list[str] = []
    waiting: list[tuple[int, str]] = []
    for number, each in enumerate(ids, 1):
        heappush(waiting, (_digest(seed, "second", each), each))
        if ceil(Fraction(share) * number) > len(chosen):
            chosen.append(heappop(waiting)[1])
    return chosen


@dataclass(frozen=True)
class Readers:
    first: str
    second: str


def assign(ids: Sequence[str], auditors: Sequence[str], seed: str) -> dict[str, Readers]:
    """The two readers of each decision by digest, never the same person; the second one reads only what `second_reads` chose.

    An id's readers depend on nothing but the seed and the auditors. MissionError with fewer than two auditors.
    """
    people = sorted(set(auditors))
    if len(people) < 2:
        raise MissionError(f"auditors {people}: a second reader is never the first one. Declare at least two.")
    found = {}
    for each in ids:
        first = people[_digest(seed, "reader", "first", each) % len(people)]
        others = [person for person in people if person != first]
        found[each] = Readers(first, others[_digest(seed, "reader", "second", each) % len(others)])
    return found


@dataclass(frozen=True)
class Agreement:
    """Decisions read twice, how many of them alike, that share, and Cohen's kappa; None where there is nothing to divide by."""

    read: int
    alike: int
    share: Fraction | None
    kappa: Fraction | None


def agreement(verdicts: Sequence[tuple[str, str]]) -> Agreement:
    """How far first and second reader agree, exactly. Kappa = (share - chance) / (1 - chance), Cohen 1960; None where both always say one thing."""
    read, alike = len(verdicts), sum(first == second for first, second in verdicts)
    if not read:
        return Agreement(0, 0, None, None)
    firsts, seconds = Counter(first for first, _ in verdicts), Counter(second for _, second in verdicts)
    share, chance = Fraction(alike, read), Fraction(sum(count * seconds[verdict] for verdict, count in firsts.items()), read**2)
    return Agreement(read, alike, share, (share - chance) / (1 - chance) if chance != 1 else None)
