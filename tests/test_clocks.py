"""Clocks of promises: business time against hand-made figures and against counting minute by minute, breaches, risk and trend."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from holidays.version import __version__
from hypothesis import given, settings
from hypothesis import strategies as st

from mc_pipelines.errors import MissionError
from mc_pipelines.marketplace.clocks import Hours, Terms, Week, business_us, clocks, public_holidays, trend
from mc_pipelines.marketplace.queue import Event, Request, fold

HOUR = 3_600_000_000
BERLIN = Hours("Europe/Berlin", "DE", time(9), time(17))
ALWAYS = frozenset(range(1, 8))
TERMS = Terms("north", 4 * HOUR, 16 * HOUR, "business", BERLIN)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_weekend_and_a_holiday_do_not_count() -> None:
    # Thursday 30 April 2026, 16:00 in Berlin (14:00 UTC), until Monday 4 May, 10:00 (08:00 UTC). Friday is 1 May, a holiday: 1 h + 1 h.
    assert business_us(at("2026-04-30T14:00"), at("2026-05-04T08:00"), BERLIN) == 2 * HOUR
    # In France, where 1 May is one too, and in Denmark, where it is none: 8 h more.
    assert business_us(at("2026-04-30T14:00"), at("2026-05-04T08:00"), replace(BERLIN, zone="Europe/Copenhagen", country="DK")) == 10 * HOUR


def test_only_what_lies_within_the_hours_counts_to_the_microsecond() -> None:
    monday = "2026-05-04T"
    assert business_us(at(monday + "00:00"), at(monday + "23:00"), BERLIN) == 8 * HOUR
    assert business_us(at(monday + "06:59:59.999999"), at(monday + "07:00:00.000001"), BERLIN) == 1
    assert business_us(at(monday + "14:59:59.999999"), at(monday + "15:00:00.000001"), BERLIN) == 1
    assert business_us(at(monday + "12:00"), at(monday + "12:00"), BERLIN) == 0
    assert business_us(at(monday + "12:00"), at(monday + "11:00"), BERLIN) == 0


@pytest.mark.parametrize(
    ("day", "whole", "hours"),
    [
        ("2026-03-29", 23, "clocks go forward at 02:00"),
        ("2026-10-25", 25, "clocks go back at 03:00"),
        ("2026-05-04", 24, "any other day"),
    ],
)
def test_a_day_that_is_open_throughout_is_as_long_as_the_day(day: str, whole: int, hours: str) -> None:
    open_always = Hours("Europe/Berlin", "DE", time(), time(), ALWAYS)
    start = datetime.combine(at(day), time(), ZoneInfo("Europe/Berlin"))
    ends = datetime.combine(at(day) + timedelta(1), time(), ZoneInfo("Europe/Berlin"))
    naive = [each.astimezone(UTC).replace(tzinfo=None) for each in (start, ends)]
    assert business_us(naive[0], naive[1], open_always) == whole * HOUR, hours


def test_times_that_a_change_of_clocks_skips_or_repeats() -> None:
    skipped = Hours("Europe/Berlin", "DE", time(2, 30), time(4), ALWAYS)  # 02:30 does not exist on 29 March: open from 03:00, 01:00 UTC
    assert business_us(at("2026-03-29T00:00"), at("2026-03-29T12:00"), skipped) == HOUR
    closing = Hours("Europe/Berlin", "DE", time(1), time(2, 30), ALWAYS)  # nor is it closed at 02:30: open 01:00 to 02:00
    assert business_us(at("2026-03-28T23:00"), at("2026-03-29T12:00"), closing) == HOUR
    twice = Hours("Europe/Berlin", "DE", time(2, 30), time(2, 45), ALWAYS)  # on 25 October from its first 02:30 to its last 02:45
    assert business_us(at("2026-10-24T22:00"), at("2026-10-25T12:00"), twice) == HOUR + HOUR // 4
    nowhere = Hours("Pacific/Apia", "WS", time(9), time(17), ALWAYS)  # 30 December 2011 does not exist there: only the 29th and the 31st
    start, end = (datetime.combine(at(day), time(), ZoneInfo("Pacific/Apia")).astimezone(UTC) for day in ("2011-12-29", "2012-01-01"))
    assert business_us(start.replace(tzinfo=None), end.replace(tzinfo=None), nowhere) == 16 * HOUR


ZONES = ["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago", "Pacific/Auckland"]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.datetimes(at("2026-01-01"), at("2026-12-27")).map(lambda moment: moment.replace(second=0, microsecond=0)),
    st.integers(0, 3 * 24 * 60),
    st.integers(5, 12),
    st.integers(13, 23),
    st.sets(st.integers(1, 7)),
)
def test_business_time_is_what_a_minute_by_minute_count_gives(
    zone: str, start: datetime, minutes: int, opens: int, closes: int, weekdays: set[int]
) -> None:
    hours, counted = Hours(zone, "DE", time(opens), time(closes), frozenset(weekdays)), 0
    for minute in range(minutes):
        local = (start + timedelta(minutes=minute)).replace(tzinfo=UTC).astimezone(ZoneInfo(zone))
        open_now = time(opens) <= local.time() < time(closes) and local.isoweekday() in weekdays
        counted += open_now and local.date() not in public_holidays("DE")
    assert business_us(start, start + timedelta(minutes=minutes), hours) == counted * 60_000_000


def test_an_unknown_country_is_named_with_those_there_are() -> None:
    with pytest.raises(MissionError, match=r"country 'XX': the holidays package .* knows none; it knows AD, AE"):
        business_us(at("2026-05-04T00:00"), at("2026-05-05T00:00"), replace(BERLIN, country="XX"))


def request(*steps: tuple[str, str]) -> Request:
    return fold((Event("r1", "tides", "acme", state, at(when), (0,)) for state, when in steps), {"tides"})[0][0]


def test_a_request_has_both_clocks_in_both_times() -> None:
    done = request(
        ("requested", "2026-04-30T14:00"),
        ("triaged", "2026-05-04T08:00"),
        ("approved", "2026-05-04T09:00"),
        ("connected", "2026-05-05T09:00"),
    )
    response, resolution = clocks(done, TERMS, at("2026-06-01"))
    # Thursday 16:00 to Monday 10:00 is 90 h of calendar; until Tuesday 11:00 it is 115 h, of which 1 + 8 + 2 are business.
    assert (response.calendar_us, response.business_us, response.stopped_by) == (90 * HOUR, 2 * HOUR, "triaged")
    assert (resolution.calendar_us, resolution.business_us, resolution.stopped_by) == (115 * HOUR, 11 * HOUR, "connected")
    assert (response.breached, resolution.breached, resolution.at_risk) == (False, False, False)
    assert response.holidays == __version__
    slow = clocks(done, replace(TERMS, basis="calendar"), at("2026-06-01"))
    assert [(each.elapsed_us, each.breached) for each in slow] == [(90 * HOUR, True), (115 * HOUR, True)]


def test_an_open_clock_is_at_risk_from_its_share_and_breached_after_its_limit() -> None:
    waiting = request(("requested", "2026-05-04T07:00"))  # Monday 09:00 in Berlin; 4 business hours end at 11:00 UTC
    terms = replace(TERMS, at_risk=Fraction(3, 4))
    asked = [clocks(waiting, terms, at(f"2026-05-04T{when}"))[0] for when in ("09:59:59.999999", "10:00", "11:00", "11:00:00.000001")]
    assert [(each.at_risk, each.breached) for each in asked] == [(False, False), (True, False), (True, False), (False, True)]
    assert (asked[0].stopped_at, asked[0].stopped_by) == (None, None)


def test_a_withdrawn_request_stops_both_clocks_and_a_rejected_one_is_resolved() -> None:
    for state in ("withdrawn", "rejected"):
        ended = request(("requested", "2026-05-04T07:00"), (state, "2026-05-04T09:00"))
        assert [(each.stopped_by, each.business_us) for each in clocks(ended, TERMS, at("2026-06-01"))] == [(state, 2 * HOUR)] * 2
    triaged = request(("requested", "2026-05-04T07:00"), ("triaged", "2026-05-04T08:00"), ("withdrawn", "2026-05-04T09:00"))
    assert [each.stopped_by for each in clocks(triaged, TERMS, at("2026-06-01"))] == ["triaged", "withdrawn"]


def test_events_after_the_instant_are_refused() -> None:
    late = request(("requested", "2026-05-04T07:00"), ("triaged", "2026-05-04T08:00"))
    with pytest.raises(ValueError, match="r1 has events after 2026-05-04T07:30:00"):
        clocks(late, TERMS, at("2026-05-04T07:30"))


def test_the_trend_has_every_week_between_the_first_and_the_last() -> None:
    requests = [request(("requested", when)) for when in ("2026-12-28T08:00", "2027-01-03T23:59:59.999999", "2027-01-11T09:00")]
    found = trend(clock for each in requests for clock in clocks(each, TERMS, at("2027-01-11T12:00")))
    # 28 December 2026 and 3 January 2027 are of ISO week 53. At 12:00 UTC on 11 January the last has run 3 of 4 hours.
    assert found[3:] == (
        Week("north", "response", "2026-W53", 2, 2, 2, 0),
        Week("north", "response", "2027-W01", 0, 0, 0, 0),
        Week("north", "response", "2027-W02", 1, 1, 0, 0),
    )
    assert [(each.kind, each.week, each.breached) for each in found[:3]] == [
        ("resolution", "2026-W53", 2),
        ("resolution", "2027-W01", 0),
        ("resolution", "2027-W02", 0),
    ]
    assert trend([]) == ()
