"""The windows that deliverables are judged by, months and the sprints that a home declares; and which deliverables it uses at all."""

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Catalog, Model

MONTH_END = "month_end"
"""The job that builds a month's tables and attempts its close."""
SPRINT_END = "_sprint"
"""How the names of the jobs end that do the same for a sprint of a deliverable."""
LAST_INSTANT = "T23:59:59.999999Z"


@dataclass(frozen=True)
class Window:
    """`name` is what people call it, `key` the day that names it in tables, `as_of` the instant that its verdict speaks for."""

    name: str
    key: str
    as_of: str


def month_key(month: str) -> str:
    """'2026-04' as the window key '2026-04-01'. Raises MissionError on anything else."""
    try:
        return date.fromisoformat(f"{month}-01").isoformat()
    except ValueError as error:
        raise MissionError(f"{month!r} is no month. Write it as YYYY-MM, for example 2026-04.") from error


def as_of_instant(con: "duckdb.DuckDBPyConnection", period: str) -> str:
    """The cut-off of the month's last tenant: the instant that the close speaks for, from reference data and not from a clock."""
    row = con.sql(
        "SELECT max(cutoff_day) FROM reference.periods WHERE period = CAST($period AS DATE)", params={"period": period}
    ).fetchall()[0]
    if row[0] is None:
        raise MissionError(f"{period[:7]} lies outside the calendar. Extend start or end in reference/calendar.yaml.")
    return f"{row[0].isoformat()}{LAST_INSTANT}"


def sprint_windows(home: Home) -> list[Window]:
    """Every declared sprint, by first day; its verdict speaks for the end of the last landing day that counts."""
    from mc_pipelines.calendars import cutoff_of
    from mc_pipelines.reference import read_sprints

    return [Window(each.sprint, each.first.isoformat(), f"{cutoff_of(each)}{LAST_INSTANT}") for each in read_sprints(home)]


def sprint_named(home: Home, name: str) -> Window:
    """The sprint of this name, or with this first day. MissionError where none is declared."""
    sprints = sprint_windows(home)
    for each in sprints:
        if name in (each.name, each.key):
            return each
    known = ", ".join(each.name for each in sprints) or "none"
    raise MissionError(f"{name}: no such sprint is declared in {home.reference / 'sprints.yaml'}. There are: {known}.")


def window_named(home: Home, every: str, name: str) -> Window:
    """A month (`2026-04`) or a sprint by what people call it; a month's verdict speaks for its last tenant's cut-off."""
    if every == "sprint":
        return sprint_named(home, name)
    from mc_pipelines.calendars import period_rows

    key = month_key(name)
    cutoff = max((last for _, period, _, _, last in period_rows(home) if period.isoformat() == key), default=None)
    if cutoff is None:
        raise MissionError(f"{name}: no tenant has this month, or it lies outside the calendar. Look into reference/calendar.yaml.")
    return Window(key[:7], key, f"{cutoff}{LAST_INSTANT}")


def window_keyed(home: Home, every: str, key: str) -> Window:
    """The window that a partition's key names."""
    return sprint_named(home, key) if every == "sprint" else Window(key[:7], key, "")


def job_of(deliverable: str, every: str) -> str:
    """The job that builds a window's tables of a deliverable and attempts it."""
    return MONTH_END if every == "month" else f"{deliverable}{SPRINT_END}"


def in_use(home: Home, catalog: "Catalog") -> "tuple[Model, ...]":
    """The tables whose landing sources the home declares, upstream first; those of sprints only where it declares sprints.

    A table whose inputs are not in use is not either. A home that has no marketplace builds none of its tables, and is judged by none of its gates.
    """
    from mc_pipelines.reference import read_sources

    declared, sprints = read_sources(home).keys(), bool(sprint_windows(home))
    unread = {model.key for model in catalog.ordered() if not catalog.sources_of(model) <= declared}
    lame = {name for name, each in catalog.deliverables.items() if each.exit and each.exit.every == "sprint" and not sprints}
    lame |= {model.deliverable for model in catalog.ordered() if model.judged and model.key in unread}
    found: dict[str, Model] = {}
    for model in catalog.ordered():
        whole = all(catalog.owner_of(dep).key in found for dep in model.deps)
        if whole and model.key not in unread and model.deliverable not in lame:
            found[model.key] = model
    return tuple(found.values())
