"""Clocks of what partners promise: how long an answer and a resolution took or have been taking, in calendar and in business time.

Elapsed time is whole microseconds. Which partner promises what is declared in `declared.py`, what happened to a request is `queue.py`'s.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from mc_pipelines.errors import MissionError
from mc_pipelines.marketplace.queue import Request

if TYPE_CHECKING:
    from holidays import HolidayBase

Kind = Literal["response", "resolution"]
MICROSECOND, DAY = timedelta(microseconds=1), timedelta(days=1)
MIDNIGHT = time()


@dataclass(frozen=True)
class Hours:
    """When a partner is open: local times `opens` (inclusive) to `closes` (exclusive; 00:00 is the end of the day) on weekdays, 1 is Monday.

    On public holidays of the country (ISO 3166 code of the `holidays` package, substitute days included) it is closed.
    """

    zone: str
    country: str
    opens: time
    closes: time
    weekdays: frozenset[int] = frozenset({1, 2, 3, 4, 5})


@dataclass(frozen=True)
class Terms:
    """What a partner promises. `basis` says which time the limits are in; `at_risk` is the share of a limit from which a clock is at risk."""

    partner_id: str
    response_us: int
    resolution_us: int
    basis: Literal["business", "calendar"]
    hours: Hours
    at_risk: Fraction = Fraction(4, 5)


@dataclass(frozen=True)
class Clock:
    """One promise about one request at the instant asked for. Instants are naive UTC; `stopped_at` is None while it runs.

    `breached` counts a running clock too; `at_risk` is running, not yet breached, and past the declared share of its limit. `holidays` is the
    version of the calendar that the business time follows.
    """

    request_id: str
    partner_id: str
    kind: Kind
    started_at: datetime
    stopped_at: datetime | None
    stopped_by: str | None
    calendar_us: int
    business_us: int
    basis: str
    limit_us: int
    breached: bool
    at_risk: bool
    holidays: str

    @property
    def elapsed_us(self) -> int:
        """In the time that the promise is in."""
        return self.business_us if self.basis == "business" else self.calendar_us


@dataclass(frozen=True)
class Week:
    """The clocks of a partner that started in an ISO week (of UTC), such as 2026-W19."""

    partner_id: str
    kind: str
    week: str
    started: int
    running: int
    breached: int
    at_risk: int


@cache
def holidays_version() -> str:
    return version("holidays")


@cache
def public_holidays(country: str) -> "HolidayBase":
    """The public holidays of a country, filled year by year when asked. MissionError for a country that nobody knows."""
    import holidays

    try:
        return holidays.country_holidays(country)
    except NotImplementedError as error:
        known = ", ".join(sorted(holidays.list_supported_countries(include_aliases=False)))
        raise MissionError(f"country {country!r}: the holidays package {holidays_version()} knows none; it knows {known}") from error


def instant_of(day: date, clock: time, zone: ZoneInfo, *, last: bool) -> datetime:
    """When a local time comes, as naive UTC: where it comes twice its first or `last` time, where it is skipped the end of the gap."""
    wall = datetime.combine(day, clock, zone).replace(fold=int(last))
    found = wall.astimezone(UTC)
    if found.astimezone(zone).replace(tzinfo=None) == wall.replace(tzinfo=None):
        return found.replace(tzinfo=None)
    return _end_of_gap(wall, zone)


def _end_of_gap(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant at which the offset changes, found between the two readings of a local time that does not exist."""
    low, high = (wall.replace(fold=fold).astimezone(UTC) for fold in (1, 0))
    before = low.astimezone(zone).utcoffset()
    while high - low > MICROSECOND:
        middle = low + (high - low) // 2
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high.replace(tzinfo=None)


def business_us(start: datetime, end: datetime, hours: Hours) -> int:
    """Microseconds between two instants (naive UTC) in which the partner is open. 0 where `end` is not after `start`."""
    shared = (min(end, closes) - max(start, opens) for opens, closes in _open(start, end, hours))
    return sum(span // MICROSECOND for span in shared if span > timedelta())


def _open(start: datetime, end: datetime, hours: Hours) -> Iterator[tuple[datetime, datetime]]:
    """The spans [opens, closes) that begin before `end`, from the day before that of `start` on."""
    zone, free = ZoneInfo(hours.zone), public_holidays(hours.country)
    day = start.replace(tzinfo=UTC).astimezone(zone).date() - DAY
    while (opens := instant_of(day, hours.opens, zone, last=False)) < end:
        if day.isoweekday() in hours.weekdays and day not in free:
            ends = day + DAY if hours.closes == MIDNIGHT else day
            yield opens, instant_of(ends, hours.closes, zone, last=hours.closes != MIDNIGHT)
        day += DAY


def clocks(request: Request, terms: Terms, as_of: datetime) -> tuple[Clock, Clock]:
    """The response and the resolution clock of a request at `as_of` (naive UTC).

    A response is the first state after `requested`, a resolution is connected or rejected; a withdrawn request stops both. ValueError where
    the request has events after `as_of`.
    """
    if max(at for at in (request.requested_at, request.answered_at, request.approved_at, request.closed_at) if at) > as_of:
        raise ValueError(f"request {request.request_id} has events after {as_of.isoformat()}; fold only those before it")
    first = "triaged" if request.triaged_at else request.closed_state
    return (
        _clock(request, terms, "response", terms.response_us, request.answered_at, first, as_of),
        _clock(request, terms, "resolution", terms.resolution_us, request.closed_at, request.closed_state, as_of),
    )


def _clock(
    request: Request, terms: Terms, kind: Kind, limit_us: int, stopped_at: datetime | None, stopped_by: str | None, as_of: datetime
) -> Clock:
    start, end = request.requested_at, stopped_at or as_of
    calendar, business = (end - start) // MICROSECOND, business_us(start, end, terms.hours)
    elapsed = business if terms.basis == "business" else calendar
    breached = elapsed > limit_us
    return Clock(
        request.request_id,
        terms.partner_id,
        kind,
        start,
        stopped_at,
        stopped_by,
        calendar,
        business,
        terms.basis,
        limit_us,
        breached,
        at_risk=stopped_at is None and not breached and elapsed >= terms.at_risk * limit_us,
        holidays=holidays_version(),
    )


def iso_week(moment: datetime) -> str:
    year, week, _ = moment.isocalendar()
    return f"{year}-W{week:02d}"


def trend(found: Iterable[Clock]) -> tuple[Week, ...]:
    """Clocks by partner, kind and the week in which they started, also the weeks between in which none did."""
    groups: dict[tuple[str, Kind], list[Clock]] = {}
    for clock in found:
        groups.setdefault((clock.partner_id, clock.kind), []).append(clock)
    return tuple(week for (partner, kind), members in sorted(groups.items()) for week in _weeks(partner, kind, members))


def _weeks(partner: str, kind: str, members: list[Clock]) -> Iterator[Week]:
    counted: Counter[tuple[str, str]] = Counter()
    for clock in members:
        facts = {"started": True, "running": clock.stopped_at is None, "breached": clock.breached, "at_risk": clock.at_risk}
        counted.update((iso_week(clock.started_at), name) for name, holds in facts.items() if holds)
    monday = min(clock.started_at for clock in members)
    monday -= monday.weekday() * DAY
    last = iso_week(max(clock.started_at for clock in members))
    while True:
        week = iso_week(monday)
        yield Week(partner, kind, week, *(counted[week, name] for name in ("started", "running", "breached", "at_risk")))
        if week == last:
            return
        monday += 7 * DAY
