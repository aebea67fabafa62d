"""How many decisions are audited, and what their verdicts prove. Which ones is drawn by `audit_drawn.sql`, who reads them by `readers.py`.

Rates are shares (0.01 is one in a hundred), a deviation is an error, an error is an overturned decision. Sizes and bounds come from the exact
binomial and hypergeometric distributions, as in the AICPA Audit Guide "Audit Sampling", appendix A.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction
from math import ceil, floor
from typing import Literal

from mc_pipelines.errors import MissionError

MOST = 100_000
"""No plan asks people to read more than this."""
MOST_WORK = 2 * 10**10
"""Of an exact risk: bits that are added, reads squared times errors times the bits of a share; some seconds."""
NINTH, TWELFTH = Decimal("1e-9"), Decimal("1e-12")
SAME = 1 + 1e-9
"""A risk that is the allowed one but for the last digits of a double meets it."""


def sample_size(expected: Decimal, tolerable: Decimal, confidence: Decimal, population: int | None = None) -> int:
    """The smallest n with P(X <= ceil(n * expected)) <= 1 - confidence, X the errors in a sample of n at the tolerable rate.

    Binomial; hypergeometric with ceil(tolerable * population) errors where the population is known, and then never more than the population.
    MissionError where no sample can show it, or only one of more than 100,000.
    """
    if not 0 <= expected < tolerable < 1 or not 0 < confidence < 1:
        raise MissionError(
            f"expected {expected}, tolerable {tolerable}, confidence {confidence}: no sample shows that. "
            "Write shares with 0 <= expected < tolerable < 1 and 0 < confidence < 1."
        )
    most, rate = min(MOST, MOST if population is None else population), Fraction(expected)
    allowed, first, last = (1, 1, min(most, floor(1 / rate))) if rate else (0, 1, most)
    while first <= last:
        # Among the sizes that allow equally many errors the risk falls, so the largest is asked first.
        if _meets(last, allowed, tolerable, confidence, population):
            return _first_meeting(first, last, allowed, tolerable, confidence, population)
        allowed, first, last = allowed + 1, last + 1, min(most, floor((allowed + 1) / rate)) if rate else most
    if population is not None and population <= MOST:
        return population
    raise MissionError(
        f"expected {expected}, tolerable {tolerable}, confidence {confidence}: more than {MOST} would have to be read. "
        "Raise tolerable, or lower expected or confidence."
    )


def _first_meeting(first: int, last: int, allowed: int, tolerable: Decimal, confidence: Decimal, population: int | None) -> int:
    sizes = range(first, last)
    return first + bisect_left(sizes, True, key=lambda size: _meets(size, allowed, tolerable, confidence, population))


def _meets(size: int, allowed: int, tolerable: Decimal, confidence: Decimal, population: int | None) -> bool:
    from scipy.stats import binom, hypergeom

    errors = binom(size, float(tolerable)) if population is None else hypergeom(population, ceil(Fraction(tolerable) * population), size)
    return bool(errors.cdf(allowed) <= float(1 - confidence) * SAME)


def proving_size(tolerable: Decimal, confidence: Decimal) -> int:
    """How many decisions without one error prove that fewer than the tolerable rate are wrong: 299 for 0.01 at 0.95."""
    return sample_size(Decimal(0), tolerable, confidence)


def upper_bound(errors: int, read: int, confidence: Decimal) -> Decimal:
    """One-sided Clopper-Pearson bound of the error rate, beta.ppf(confidence, k + 1, n - k), rounded up at the ninth decimal.

    The twelfth decimal is rounded first, so that the last digits of a double, which machines differ in, never make it 1e-9 more.
    """
    from scipy.stats import beta

    if not 0 <= errors <= read or not 0 < confidence < 1:
        raise MissionError(f"{errors} errors of {read} read, confidence {confidence}: write 0 <= errors <= read and 0 < confidence < 1.")
    if errors == read:
        return Decimal(1)
    found = Decimal(float(beta.ppf(float(confidence), errors + 1, read - errors)))
    return found.quantize(TWELFTH).quantize(NINTH, ROUND_CEILING)


def lower_bound_of_agreement(errors: int, read: int, confidence: Decimal) -> Decimal:
    """The share of upheld decisions that is proven: 1 - the upper bound of the error rate."""
    return 1 - upper_bound(errors, read, confidence)


def neyman(sizes: Mapping[str, int], deviations: Mapping[str, Decimal], total: int) -> dict[str, int]:
    """The sample size per stratum, in order of their names: n_h ~ N_h * S_h, at least 1 and at most N_h where anything is there.

    What a full stratum cannot take goes to the others; the largest remainders get the last ones, equal ones in order of the names. A stratum
    whose deviation is unknown counts as the most deviating one; where all are 0 or unknown, n_h ~ N_h. The sizes add up to `total`, but to
    the number of strata with anything in them where that is more, and to the population where that is less.
    """
    if total < 0 or min(sizes.values(), default=0) < 0 or min(deviations.values(), default=0) < 0:
        raise MissionError(f"total {total}, sizes {dict(sizes)}, deviations {dict(deviations)}: none may be negative.")
    filled = {name: sizes[name] for name in sorted(sizes) if sizes[name]}
    total = min(max(total, len(filled)), sum(filled.values()))
    most = max((deviations[name] for name in filled if name in deviations), default=Decimal(0)) or Decimal(1)
    plain = not any(deviations.get(name) for name in filled)
    weights = {name: size * Fraction(most if plain else deviations.get(name, most)) for name, size in filled.items()}
    return dict.fromkeys(sorted(sizes), 0) | _rounded(_shares(filled, weights, total), total)


def _shares(filled: Mapping[str, int], weights: Mapping[str, Fraction], total: int) -> dict[str, Fraction]:
    """Exact shares level * weight within 1 and the stratum's size that add up to the total; strata without weight come last."""
    light = {name: filled[name] for name in filled if not weights[name]}
    heavy = {name: filled[name] for name in filled if weights[name]}
    rest = total - sum(heavy.values())
    if rest >= len(light):
        proportional = _shares(light, {name: Fraction(size) for name, size in light.items()}, rest) if light else {}
        return {name: Fraction(size) for name, size in heavy.items()} | proportional

    def at(level: Fraction) -> dict[str, Fraction]:
        return {name: min(max(level * weights[name], Fraction(1)), Fraction(size)) for name, size in filled.items()}

    # The sum is linear between the levels at which a stratum leaves its floor or reaches its cap.
    levels = sorted({bound / weights[name] for name, size in heavy.items() for bound in (1, size)})
    sums = [sum(at(level).values(), Fraction(0)) for level in levels]
    after = bisect_right(sums, total)
    low, high, below, above = levels[after - 1], levels[after], sums[after - 1], sums[after]
    return at(low + (high - low) * (total - below) / (above - below))


def _rounded(shares: Mapping[str, Fraction], total: int) -> dict[str, int]:
    whole = {name: floor(share) for name, share in shares.items()}
    by_remainder = sorted(shares, key=lambda name: (whole[name] - shares[name], name))
    for name in by_remainder[: total - sum(whole.values())]:
        whole[name] += 1
    return whole


@dataclass(frozen=True)
class Verdict:
    """What a ladder says of the audits so far: accepted at a step (the first is 1), go on with so many more, or reject."""

    outcome: Literal["stop_accept", "go_on", "reject"]
    step: int
    more: int = 0


@dataclass(frozen=True)
class Ladder:
    """Stop-or-go, declared before the first audit: steps of (decisions read in all, errors allowed in all).

    MissionError where a step does not exceed the one before, where the risk of accepting at the tolerable rate exceeds 1 - confidence, and
    where the exact risk would take minutes.
    """

    steps: tuple[tuple[int, int], ...]
    tolerable: Decimal
    confidence: Decimal

    def __post_init__(self) -> None:
        if not 0 < self.tolerable < 1 or not 0 < self.confidence < 1 or not self.steps:
            raise MissionError(f"{self}: write at least one step, and shares between 0 and 1.")
        before = (0, -1)
        for step in self.steps:
            if step[0] <= before[0] or step[1] <= before[1] or step[1] >= step[0]:
                raise MissionError(f"step {step} after {before}: read more, and allow more errors than before, but fewer than are read.")
            before = step
        reads, errors = before
        if reads**2 * (errors + 1) * Fraction(self.tolerable).denominator.bit_length() > MOST_WORK:
            raise MissionError(
                f"step {before} at an error rate of {self.tolerable}: its exact risk would take minutes. Read fewer, allow fewer errors, "
                "or write the rate with fewer decimals."
            )
        if self.risk > 1 - Fraction(self.confidence):
            raise MissionError(
                f"steps {self.steps}: at an error rate of {self.tolerable} they accept with probability {float(self.risk):.6f}, more than "
                f"{1 - self.confidence}. Read more at each step, or allow fewer errors."
            )

    @property
    def risk(self) -> Fraction:
        """The probability to stop and accept, over all paths, when the error rate is the tolerable one; exact."""
        (wrong, whole), found, read = Fraction(self.tolerable).as_integer_ratio(), Fraction(0), 0
        # ways[errors]: probability times whole ** read of having come so far with so many errors; more than the last step allows is rejected.
        ways = [1] + [0] * self.steps[-1][1]
        for size, allowed in self.steps:
            for _ in range(size - read):
                ways = [stay * (whole - wrong) + come * wrong for stay, come in zip(ways, [0, *ways], strict=False)]
            found += Fraction(sum(ways[: allowed + 1]), whole**size)
            ways[: allowed + 1] = [0] * (allowed + 1)
            read = size
        return found

    def decide(self, overturned: Sequence[bool]) -> Verdict:
        """Judge the audits, true for an overturned decision, in the order of the sample; those past a stop are not looked at."""
        for number, (size, allowed) in enumerate(self.steps, 1):
            errors = sum(overturned[:size])
            if errors > self.steps[-1][1]:
                return Verdict("reject", number)
            if len(overturned) < size:
                return Verdict("go_on", number, size - len(overturned))
            if errors <= allowed:
                return Verdict("stop_accept", number)
        return Verdict("reject", len(self.steps))
