"""The queue of a sprint as tables: requests, refused events, time to connect, clocks and their weeks.

Folding is `queue.py`'s, curves are `survival.py`'s, promises `clocks.py`'s.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mc_pipelines.code import package_digest
from mc_pipelines.marketplace.clocks import Clock, trend
from mc_pipelines.marketplace.clocks import clocks as promised
from mc_pipelines.marketplace.queue import STATES, Event, Refused, Request, fold, observation
from mc_pipelines.marketplace.reference import partners_of, sprints_of
from mc_pipelines.marketplace.survival import survival
from mc_pipelines.reference_tables import relation_of

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.runner import Work, Workshop

DAY_US = 86_400_000_000
WEEKS = timedelta(weeks=13)
"""How far the trend goes back: a quarter before the sprint's end."""
INSTANTS = ("requested_at", "answered_at", "triaged_at", "approved_at", "connected_at", "closed_at")
EVENTS = """
    SELECT request_id, source_id, tenant_id, state, occurred_at, CAST(landing_day AS VARCHAR) AS landed,
           row_number() OVER (ORDER BY landing_day, occurred_at, request_id, list_position($states, state), source_id, tenant_id, "by", extras) AS place
    FROM staging.connect_requests
    WHERE occurred_at <= $as_of AND landing_day <= CAST($as_of AS DATE)
    ORDER BY place
"""


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """Digest of the code that folds and counts; of the holidays, whose version clocks follow."""
    from importlib.metadata import version

    return f"{package_digest('marketplace')} {version('holidays')}"


def _folded(con: "duckdb.DuckDBPyConnection", as_of: datetime) -> tuple[tuple[Request, ...], tuple[Refused, ...]]:
    """Every request as its events until `as_of` tell it, and what cannot have happened."""
    rows = con.sql(EVENTS, params={"as_of": as_of, "states": list(STATES)}).fetchall()
    events = (Event(ident, source, tenant, state, at, (landed, place)) for ident, source, tenant, state, at, landed, place in rows)
    return fold(events, _partners(con).keys())


def _partners(con: "duckdb.DuckDBPyConnection") -> dict[str, str]:
    """By declared source, whatever its status, its partner."""
    return dict(con.sql("SELECT DISTINCT source_id, partner_id FROM marketplace.sources").fetchall())


def requests(work: "Work") -> "duckdb.DuckDBPyRelation":
    schema = {
        "sprint": "DATE",
        **dict.fromkeys(("request_id", "source_id", "tenant_id", "partner_id", "state"), "VARCHAR"),
        **dict.fromkeys(INSTANTS, "TIMESTAMP"),
        "counted": "BIGINT",
    }
    partner = _partners(work.con)
    return relation_of(work, schema, (row for sprint in sprints_of(work) for row in _requests(work.con, partner, *sprint)))


def _requests(
    con: "duckdb.DuckDBPyConnection", partner: dict[str, str], sprint: date, begins: datetime, ends: datetime, as_of: datetime
) -> Iterator[tuple[Any, ...]]:
    for each in _folded(con, as_of)[0]:
        counted = each.requested_at < ends and (each.closed_at is None or each.closed_at >= begins)
        about = (each.request_id, each.source_id, each.tenant_id, partner[each.source_id], each.state)
        yield sprint, *about, *(getattr(each, name) for name in INSTANTS), int(counted)


def refused_events(work: "Work") -> "duckdb.DuckDBPyRelation":
    schema = {
        "sprint": "DATE",
        **dict.fromkeys(("request_id", "source_id", "tenant_id", "state"), "VARCHAR"),
        "occurred_at": "TIMESTAMP",
        "landing_day": "DATE",
        "place": "BIGINT",
        "reason": "VARCHAR",
        "detail": "VARCHAR",
    }
    return relation_of(work, schema, (row for sprint, _, _, as_of in sprints_of(work) for row in _refused(work.con, sprint, as_of)))


def _refused(con: "duckdb.DuckDBPyConnection", sprint: date, as_of: datetime) -> Iterator[tuple[Any, ...]]:
    for each in _folded(con, as_of)[1]:
        event = each.event
        landed = (date.fromisoformat(str(event.landed[0])), int(event.landed[1]))
        yield sprint, event.request_id, event.source_id, event.tenant_id, event.state, event.occurred_at, *landed, each.reason, each.detail


def _known(con: "duckdb.DuckDBPyConnection", sprint: date, *, counted: bool) -> list[Request]:
    """A sprint's requests from the table of them: its own, or all that were ever made."""
    rows = con.sql(
        f"SELECT request_id, source_id, tenant_id, state, {', '.join(INSTANTS)} FROM marketplace.requests "
        "WHERE sprint = $sprint AND (counted = 1 OR NOT $counted) ORDER BY request_id",
        params={"sprint": sprint, "counted": counted},
    ).fetchall()
    return [Request(*row) for row in rows]


def connect_time(work: "Work") -> "duckdb.DuckDBPyRelation":
    """A row per sprint with a counted request."""
    numbers = ("requests", "connected", "censored", "rejected")
    medians = ("median_days", "lower_days", "upper_days", "closed_only_days", "all_ages_days")
    schema = {"sprint": "DATE", **dict.fromkeys(numbers, "BIGINT"), "status": "VARCHAR", **dict.fromkeys(medians, "DECIMAL")}
    rows = (_time(sprint, found, as_of) for sprint, _, _, as_of in sprints_of(work) if (found := _known(work.con, sprint, counted=True)))
    return relation_of(work, schema, rows)


def _time(sprint: date, found: Sequence[Request], as_of: datetime) -> tuple[Any, ...]:
    seen = [each for each in (observation(request, as_of) for request in found) if each is not None]
    known = survival(seen)
    counts = (known.observed, known.ended, known.observed - known.ended, len(found) - known.observed)
    medians = (known.median, known.lower, known.upper, known.closed_only, known.all_ages)
    return sprint, *counts, "reached" if known.median is not None else "not reached", *map(in_days, medians)


def in_days(microseconds: int | None) -> Decimal | None:
    """Days, rounded up at the ninth decimal, so that no time looks shorter than it is."""
    return None if microseconds is None else Decimal(-(-microseconds * 10**9 // DAY_US)).scaleb(-9)


def _clocks(work: "Work", *, counted: bool) -> Iterator[tuple[date, Clock]]:
    terms = {partner: declared.terms for partner, declared in partners_of(work.con).items()}
    partner_of = _partners(work.con)
    for sprint, _, _, as_of in sprints_of(work):
        for request in _known(work.con, sprint, counted=counted):
            yield from ((sprint, clock) for clock in promised(request, terms[partner_of[request.source_id]], as_of))


def clocks(work: "Work") -> "duckdb.DuckDBPyRelation":
    """Two rows for every counted request."""
    schema = {
        "sprint": "DATE",
        "request_id": "VARCHAR",
        "partner_id": "VARCHAR",
        "kind": "VARCHAR",
        "started_at": "TIMESTAMP",
        "stopped_at": "TIMESTAMP",
        "stopped_by": "VARCHAR",
        "calendar_seconds": "BIGINT",
        "business_seconds": "BIGINT",
        "basis": "VARCHAR",
        "limit_seconds": "BIGINT",
        "breached": "BIGINT",
        "at_risk": "BIGINT",
        "holidays": "VARCHAR",
    }
    return relation_of(work, schema, (_clock_row(sprint, each) for sprint, each in _clocks(work, counted=True)))


def _clock_row(sprint: date, each: Clock) -> tuple[Any, ...]:
    elapsed = (each.calendar_us // 10**6, each.business_us // 10**6)
    about = (each.request_id, each.partner_id, each.kind, each.started_at, each.stopped_at, each.stopped_by)
    return sprint, *about, *elapsed, each.basis, each.limit_us // 10**6, int(each.breached), int(each.at_risk), each.holidays


def weeks(work: "Work") -> "duckdb.DuckDBPyRelation":
    """A row per partner, promise and week, for what began in the quarter that ends with the sprint."""
    schema = {
        "sprint": "DATE",
        "partner_id": "VARCHAR",
        "kind": "VARCHAR",
        "week": "VARCHAR",
        **dict.fromkeys(("started", "running", "breached", "at_risk"), "BIGINT"),
    }
    by_sprint: dict[date, list[Clock]] = {}
    ended = {sprint: ends for sprint, _, ends, _ in sprints_of(work)}
    for sprint, clock in _clocks(work, counted=False):
        if ended[sprint] - WEEKS <= clock.started_at < ended[sprint]:
            by_sprint.setdefault(sprint, []).append(clock)
    rows = (
        (sprint, each.partner_id, each.kind, each.week, each.started, each.running, each.breached, each.at_risk)
        for sprint, found in by_sprint.items()
        for each in trend(found)
    )
    return relation_of(work, schema, rows)
