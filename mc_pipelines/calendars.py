"""Local days and billing periods as instants, made once with zoneinfo and the pinned tzdata; what they span is declared in calendar.yaml."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home
from mc_pipelines.reference import Calendar, Sprint, read, read_calendar, read_sprints
from mc_pipelines.reference_tables import fingerprint as declared
from mc_pipelines.reference_tables import relation_of

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.runner import Work, Workshop

SPRINTS = {
    "sprint": "DATE",
    "name": "VARCHAR",
    "last_day": "DATE",
    "start_utc": "TIMESTAMP",
    "end_utc": "TIMESTAMP",
    "cutoff_day": "DATE",
}


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """What is declared; of sprints also the columns, so that a table made by older code is made again."""
    found = declared(shop, model, window)
    return f"{found} {' '.join(SPRINTS)}" if model.key == "reference.sprints" else found


def days(first: str, last: str | None = None) -> list[str]:
    """Every day from first to last, inclusive, as window keys. Raises MissionError on anything that is no day or runs backwards."""
    begins, ends = _day(first), _day(first if last is None else last)
    if ends < begins:
        raise MissionError(f"{first}..{last} runs backwards. Write the earlier day first.")
    return [(begins + timedelta(days=step)).isoformat() for step in range((ends - begins).days + 1)]


def _day(text: str) -> date:
    remedy = "Write days as YYYY-MM-DD, for example 2026-04-01, and a range as FIRST..LAST."
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise MissionError(f"{text or 'nothing'} is not how a day is written here. {remedy}")
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise MissionError(f"{text}: there is no such day. {remedy}") from error


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The instant at which a local day begins, as naive UTC; where midnight does not exist, the first instant after the gap."""
    return datetime.combine(day, time(), zone).astimezone(UTC).replace(tzinfo=None)


def microseconds(instant: datetime) -> int:
    """Whole microseconds from the epoch to a naive UTC instant."""
    return (instant - datetime.fromtimestamp(0, UTC).replace(tzinfo=None)) // timedelta(microseconds=1)


def local_day_rows(zone_name: str, start: date, end: date) -> Iterator[tuple[str, date, date, datetime, datetime, int]]:
    """(zone, utc_day, local_day, start_utc, end_utc, end_us) for every UTC day that a local day touches; `end` inclusive."""
    zone = ZoneInfo(zone_name)
    day = start
    begins = midnight(day, zone)
    while day <= end:
        ends = midnight(day + timedelta(days=1), zone)
        utc_day = begins.date()
        while datetime.combine(utc_day, time()) < ends and begins < ends:
            yield zone_name, utc_day, day, begins, ends, microseconds(ends)
            utc_day += timedelta(days=1)
        day, begins = day + timedelta(days=1), ends


def local_days(work: "Work") -> "duckdb.DuckDBPyRelation":
    calendar = read_calendar(work.shop.home)
    names = sorted({row.zone for row in read(work.shop.home, "tenants")})
    margin = timedelta(days=2)
    rows = (row for zone in names for row in local_day_rows(zone, calendar.start - margin, calendar.end + margin))
    schema = {
        "zone": "VARCHAR",
        "utc_day": "DATE",
        "local_day": "DATE",
        "start_utc": "TIMESTAMP",
        "end_utc": "TIMESTAMP",
        "end_us": "BIGINT",
    }
    return relation_of(work, schema, rows)


def calendar_instants(calendar: Calendar) -> tuple[datetime, datetime]:
    """The naive UTC instants [first, after the last) that lie on a local day of the calendar in every zone on earth."""
    margin = timedelta(days=1)
    return datetime.combine(calendar.start - margin, time()), datetime.combine(calendar.end + 2 * margin, time())


def calendar(work: "Work") -> "duckdb.DuckDBPyRelation":
    rows = iter([calendar_instants(read_calendar(work.shop.home))])
    return relation_of(work, {"begins": "TIMESTAMP", "ends": "TIMESTAMP"}, rows)


def next_month(day: date) -> date:
    """The first day of the month after `day`'s."""
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def period_rows(home: Home) -> Iterator[tuple[str, date, datetime, datetime, date]]:
    """(tenant_id, period, start_utc, end_utc, cutoff_day) per tenant and calendar month; the cut-off is end + grace, as a landing day."""
    calendar = read_calendar(home)
    for tenant in read(home, "tenants"):
        zone, period = ZoneInfo(tenant.zone), calendar.start.replace(day=1)
        while period <= calendar.end:
            begins, ends = midnight(period, zone), midnight(next_month(period), zone)
            yield tenant.tenant_id, period, begins, ends, (ends + timedelta(days=tenant.grace_days)).date()
            period = next_month(period)


def periods(work: "Work") -> "duckdb.DuckDBPyRelation":
    schema = {"tenant_id": "VARCHAR", "period": "DATE", "start_utc": "TIMESTAMP", "end_utc": "TIMESTAMP", "cutoff_day": "DATE"}
    return relation_of(work, schema, period_rows(work.shop.home))


def sprint_instants(sprint: Sprint) -> tuple[datetime, datetime]:
    """The naive UTC instants [begins, ends) of a sprint's days in its own zone."""
    zone = ZoneInfo(sprint.zone)
    return midnight(sprint.first, zone), midnight(sprint.last + timedelta(days=1), zone)


def cutoff_of(sprint: Sprint) -> date:
    """The last landing day that counts for a sprint."""
    return (sprint_instants(sprint)[1] + timedelta(days=sprint.grace_days)).date()


def sprints(work: "Work") -> "duckdb.DuckDBPyRelation":
    rows = ((each.first, each.sprint, each.last, *sprint_instants(each), cutoff_of(each)) for each in read_sprints(work.shop.home))
    return relation_of(work, SPRINTS, rows)
