"""Kaplan-Meier over durations of which some have not ended: the curve, its median, and how sure the median is.

Durations are whole microseconds, the curve is exact. What counts as an end, and what is left out, is the queue's to say.

Curve: Kaplan & Meier, J. Am. Stat. Assoc. 53 (1958) 457-481. Interval of the median: Brookmeyer & Crowley, Biometrics 38 (1982) 29-41,
on the scale g(S) = log(-log S) with Greenwood's variance; Klein & Moeschberger, Survival Analysis, 2nd ed., (4.5.2).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import log, sqrt
from statistics import NormalDist

HALF = Fraction(1, 2)


@dataclass(frozen=True)
class Step:
    """One instant at which the curve falls: how many were still waiting just before it, how many ended at it, and S from it on."""

    at_us: int
    at_risk: int
    ended: int
    survival: Fraction


@dataclass(frozen=True)
class Survival:
    """What is known of a median, in microseconds; None is "not reached".

    `closed_only` and `all_ages` stand beside it to show what they hide: the first leaves out whoever still waits, the second takes them for
    done today.
    """

    observed: int
    ended: int
    median: int | None
    lower: int | None
    upper: int | None
    closed_only: int | None
    all_ages: int | None
    steps: tuple[Step, ...]


def curve(observations: Iterable[tuple[int, bool]]) -> tuple[Step, ...]:
    """The steps of the curve over (duration in microseconds, whether it ended), in order of time; none where nothing ended.

    Who is censored at the instant of an end was still waiting for it. ValueError for a negative duration.
    """
    counted: Counter[tuple[int, bool]] = Counter(observations)
    if wrong := sorted(duration for duration, _ in counted if duration < 0):
        raise ValueError(f"a duration of {wrong[0]} microseconds: something ended before it began")
    at_risk, survival, steps = counted.total(), Fraction(1), []
    for at in sorted({duration for duration, _ in counted}):
        ended = counted[at, True]
        if ended:
            survival *= Fraction(at_risk - ended, at_risk)
            steps.append(Step(at, at_risk, ended, survival))
        at_risk -= ended + counted[at, False]
    return tuple(steps)


def median(steps: Sequence[Step]) -> int | None:
    """The smallest t with S(t) <= 1/2; None where the curve never gets there."""
    return next((step.at_us for step in steps if step.survival <= HALF), None)


def median_interval(steps: Sequence[Step], confidence: float = 0.95) -> tuple[int | None, int | None]:
    """The interval of the median: every t with |g(S(t)) - g(1/2)| <= z * se(t), from its first instant to the first after it.

    g(S) = log(-log S), se(t)^2 = sum of d / (n (n - d)) over the steps until t, divided by (log S(t))^2. None is an open end: at S = 0 the
    variance has no value, so a curve that gets there inside the interval does not bound it.
    """
    z, greenwood = NormalDist().inv_cdf((1 + confidence) / 2), Fraction(0)
    lower: int | None = None
    for step in steps:
        if step.ended == step.at_risk:
            break
        greenwood += Fraction(step.ended, step.at_risk * (step.at_risk - step.ended))
        logarithm = log(step.survival)
        distance, width = log(-logarithm) - log(log(2)), z * sqrt(greenwood) / -logarithm
        if distance > width:
            return lower if lower is not None else step.at_us, step.at_us
        if lower is None and distance >= -width:
            lower = step.at_us
    return (lower if lower is not None else median(steps)), None


def survival(observations: Iterable[tuple[int, bool]]) -> Survival:
    """Everything at once, over (duration in microseconds, whether it ended)."""
    known = list(observations)
    steps = curve(known)
    lower, upper = median_interval(steps)
    return Survival(
        observed=len(known),
        ended=sum(ended for _, ended in known),
        median=median(steps),
        lower=lower,
        upper=upper,
        closed_only=median(curve(each for each in known if each[1])),
        all_ages=median(curve((duration, True) for duration, _ in known)),
        steps=steps,
    )
