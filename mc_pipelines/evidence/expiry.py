"""Landed files and refused rows that are past their retention, with what still needs them. Nothing is deleted here.

How long they are kept is declared in `reference/retention.yaml`; table versions of the lake are `vacuum.py`'s.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from mc_pipelines.engine import connect
from mc_pipelines.evidence.record import named_predicate
from mc_pipelines.evidence.retention import read_retention
from mc_pipelines.home import Home
from mc_pipelines.lake import Lake
from mc_pipelines.landing import landing_days
from mc_pipelines.reference import Source, read, read_sources

if TYPE_CHECKING:
    from mc_pipelines.evidence.entry import Entry

WIDEST = 2
"""Days by which a landing day's end and a tenant's local midnight may lie apart, rounded up."""


@dataclass(frozen=True)
class Past:
    """A landing day past its retention, at `landing/<source>` or in `quarantine.<source>`; `needed` says what for, '' where for nothing."""

    place: str
    day: str
    needed: str


def past(home: Home, today: date, chain: "Sequence[Entry]") -> list[Past]:
    """Every landing day whose declared time is over on `today`, by place and day. Nothing is where nothing is declared."""
    kept = read_retention(home)
    open_months = _Open(home, chain)
    found = []
    for name, source in read_sources(home).items():
        if kept.landing_days is not None:
            days = _over(landing_days(home, name), kept.landing_days, today)
            found += [Past(f"landing/{name}", day, open_months.reason(source, day)) for day in days]
        if kept.quarantine_days is not None:
            pinned = _pinned(home, f"quarantine.{name}", chain)
            days = _over(_days(Lake(str(home.lake)), f"quarantine.{name}"), kept.quarantine_days, today)
            found += [Past(f"quarantine.{name}", day, open_months.reason(source, day) or pinned.get(day, "")) for day in days]
    return found


def lines(found: Sequence[Past]) -> Iterator[str]:
    """One line for days that follow each other in the list and are alike."""
    for (place, needed), group in groupby(found, lambda each: (each.place, each.needed)):
        days = [each.day for each in group]
        span = days[0] if len(days) == 1 else f"{days[0]}..{days[-1]} ({len(days)} days)"
        yield f"past retention  {place}  {span}  {f'keep: {needed}' if needed else 'nothing here needs it'}"


def _over(days: Sequence[str], kept: int, today: date) -> list[str]:
    return [day for day in days if date.fromisoformat(day) + timedelta(days=kept) <= today]


class _Open:
    """Which months a landing day may still have to be counted in."""

    def __init__(self, home: Home, chain: "Sequence[Entry]") -> None:
        from mc_pipelines.closing.states import ATTEMPT

        newest = {str(each.body["period"]): each.body["verdict"] for each in chain if each.kind == ATTEMPT and not each.refused}
        self.closed = {month for month, verdict in newest.items() if verdict == "passed"}
        self.grace = max((tenant.grace_days for tenant in read(home, "tenants")), default=0) + WIDEST

    def reason(self, source: Source, day: str) -> str:
        landed = date.fromisoformat(day)
        months = {each.isoformat()[:7] for each in (landed - timedelta(days=self.grace), landed)}
        waiting = sorted(month for month in months - self.closed if month >= source.start.isoformat()[:7])
        return f"{waiting[0]} is not closed with a pass" if waiting else ""


def _days(lake: Lake, table: str, version: int | None = None) -> list[str]:
    con = connect()
    if lake.view(con, table, version) is None:
        return []
    return [day for (day,) in con.sql(f"SELECT DISTINCT CAST(landing_day AS VARCHAR) AS day FROM {table} ORDER BY day").fetchall()]


def _pinned(home: Home, table: str, chain: "Sequence[Entry]") -> Mapping[str, str]:
    """By landing day: the signed attempt that needs its rows the longest."""
    longest: dict[str, tuple[str, str]] = {}
    for entry in chain:
        if "bundle" not in entry.body:
            continue
        predicate = named_predicate(home, entry)
        until = str(predicate.get("retention", {}).get("until", ""))
        for version in (each["version"] for each in predicate.get("inputs", ()) if each["name"] == table):
            for day in _days(Lake(str(home.lake)), table, version):
                longest[day] = max(longest.get(day, ("", "")), (until, str(entry.body["bundle"])))
    return {day: f"{bundle} pins it until {until} and could not be reproduced without" for day, (until, bundle) in longest.items()}
