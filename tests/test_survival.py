"""Kaplan-Meier against published figures and against another algorithm that gives the same curve."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import CensoredData, ecdf

from mc_pipelines.marketplace.survival import HALF, curve, median, survival

DAY = 86_400_000_000


def days(*values: str) -> list[int]:
    return [int(Fraction(value) * DAY) for value in values]


# Freireich et al., Blood 21 (1963) 699-716: weeks of remission, + is censored.
SIX_MP = [6, 6, 6, 7, 10, 13, 16, 22, 23]
SIX_MP_CENSORED = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]


def test_remission_under_six_mp_has_the_published_curve_median_and_interval() -> None:
    found = survival([(each, True) for each in SIX_MP] + [(each, False) for each in SIX_MP_CENSORED])
    # Kleinbaum & Klein, Survival Analysis, table 2.1: .8571, .8067, .7529, .6902, .6275, .5378, .4482.
    assert [(step.at_us, step.at_risk, step.ended, round(float(step.survival), 4)) for step in found.steps] == [
        (6, 21, 3, 0.8571),
        (7, 17, 1, 0.8067),
        (10, 15, 1, 0.7529),
        (13, 12, 1, 0.6902),
        (16, 11, 1, 0.6275),
        (22, 7, 1, 0.5378),
        (23, 6, 1, 0.4482),
    ]
    # Bands of scipy.stats.ecdf(...).sf.confidence_interval(method="log-log"): they fall to a half at 13, and the upper one never does.
    assert (found.median, found.lower, found.upper) == (23, 13, None)
    assert (found.observed, found.ended) == (21, 9)


def test_remission_under_placebo_has_the_published_median_and_interval() -> None:
    found = survival((each, True) for each in PLACEBO)
    # Bands of scipy, as above: the lower falls to a half at 4, the upper at 11.
    assert (found.median, found.lower, found.upper) == (8, 4, 11)
    assert found.closed_only == found.all_ages == 8
    assert found.steps[-1].survival == 0


def test_fifteen_requests_look_faster_where_the_backlog_is_hidden() -> None:
    connected = days("1/2", "3/4", "1", "5/4", "3/2", "7/4", "11/5", "5/2", "3", "7/2", "4")
    waiting = days("11/10", "11/10", "5", "6")
    found = survival([(each, True) for each in connected] + [(each, False) for each in waiting])
    # By hand: 14/15 * 13/14 * 12/13 = 4/5; two leave at 1.1 days; then 9/10 * 8/9 * 7/8 * 6/7 = 3/5; 4/5 * 3/5 = 12/25 at 2.2 days.
    assert found.steps[6].survival == Fraction(12, 25)
    assert (found.closed_only, found.median) == tuple(days("7/4", "11/5"))
    assert found.all_ages == days("7/4")[0]  # the 8th of 15


def test_a_curve_that_stays_above_a_half_has_no_median() -> None:
    found = survival([(10, True), (20, False), (30, False), (40, False)])
    assert found.steps == (curve([(10, True), (20, False), (30, False), (40, False)])[0],)
    assert (found.median, found.upper, found.closed_only, found.all_ages) == (None, None, 10, 20)


def test_nobody_ended_and_nobody_there() -> None:
    assert (survival([(5, False)]).median, survival([(5, False)]).all_ages, survival([(5, False)]).steps) == (None, 5, ())
    assert (survival([]).observed, survival([]).median, survival([]).lower, survival([]).all_ages) == (0, None, None, None)


def test_exactly_a_half_is_reached() -> None:
    assert median(curve([(1, True), (2, False)])) == 1
    assert survival([(1, True), (1, True)]).median == 1


def test_one_that_leaves_at_the_instant_of_an_end_was_still_at_risk() -> None:
    assert curve([(1, True), (1, False)])[0].survival == HALF


def test_a_negative_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 microseconds"):
        curve([(-1, True)])


OBSERVATIONS = st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=25)


@given(OBSERVATIONS)
def test_the_curve_is_that_of_redistribution_to_the_right(observations: list[tuple[int, bool]]) -> None:
    """Efron (1967): who is censored hands their mass to all who are still there after them, in equal shares."""
    ordered = sorted(observations, key=lambda each: (each[0], not each[1]))
    mass = [Fraction(1, len(ordered) or 1)] * len(ordered)
    for place, (_, ended) in enumerate(ordered):
        after = len(ordered) - place - 1
        if not ended and after:
            mass[place + 1 :] = [each + mass[place] / after for each in mass[place + 1 :]]
            mass[place] = Fraction(0)
    for step in curve(observations):
        assert step.survival == 1 - sum(each for each, (at, ended) in zip(mass, ordered, strict=True) if ended and at <= step.at_us)


@given(OBSERVATIONS)
@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value):RuntimeWarning")  # scipy's, at S = 1 and S = 0
@pytest.mark.filterwarnings("ignore:The confidence interval is undefined:RuntimeWarning")  # scipy's, at S = 0
def test_the_interval_is_where_the_bands_of_scipy_cross_a_half(observations: list[tuple[int, bool]]) -> None:
    ended, censored = ([at for at, done in observations if done is kind] for kind in (True, False))
    if not ended:
        return
    bands = ecdf(CensoredData(uncensored=ended, right=censored)).sf.confidence_interval(method="log-log")
    at, low, high = bands.low.quantiles, bands.low.probabilities, bands.high.probabilities
    falls = np.isin(at, ended) & np.isfinite(low)
    found = survival(observations)
    if (falls & (low <= 0.5)).any():
        assert found.lower == at[falls & (low <= 0.5)][0]
    upper = at[falls & (high < 0.5)]
    assert found.upper == (upper[0] if upper.size else None)


@given(OBSERVATIONS)
def test_the_median_lies_in_its_interval(observations: list[tuple[int, bool]]) -> None:
    found = survival(observations)
    if found.median is not None and found.lower is not None:
        assert found.lower <= found.median
        assert found.upper is None or found.median <= found.upper


@given(OBSERVATIONS, st.integers(1, 10**12))
def test_the_unit_does_not_matter(observations: list[tuple[int, bool]], scale: int) -> None:
    plain, scaled = survival(observations), survival((at * scale, ended) for at, ended in observations)
    assert [scaled.median, scaled.lower, scaled.upper] == [
        None if each is None else each * scale for each in (plain.median, plain.lower, plain.upper)
    ]
