"""A locked month counted and rated again: with the models, the meters, the calendar and the prices that its close pinned, over given events.

The locked inputs must give the locked lines; only then is what the late events add to them a correction, and no later change of the code is
billed to anybody.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mc_pipelines.corrections.late import CHOICES, STAGED, Late, Locked, arrived, connected, late_of, meters_levelled
from mc_pipelines.home import Home
from mc_pipelines.lake import Lake
from mc_pipelines.runner import Work, Workshop, bind_views, computed

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

COUNTED = ("metering.amendments", "metering.usage_daily", "metering.usage_period", "metering.charge_usage")
RATED = "metering.rated"
EVER = ("1970-01-01", "2199-12-31")
Rated = tuple[str, Mapping[str, Any] | None]
"""Why a tenant cannot be rated, one problem a line, and its invoice; ('', None) for a tenant without usage and fees."""
NOTHING: Rated = ("", None)


@dataclass(frozen=True)
class Recounted:
    """One tenant's locked month: what is late, what was locked, and what the locked inputs and those with the late events give."""

    tenant: str
    late: Late
    locked: Rated
    again: Rated
    now: Rated


def late_events(home: Home, lake: Lake, locked: Locked, pins: Mapping[str, int]) -> dict[str, Late]:
    """By tenant what is late for a locked close, at the versions that `pins` names; tenants without late events are left out."""
    con, _ = _late(home, lake, locked, pins)
    return late_of(con)


def recounted(home: Home, lake: Lake, locked: Locked, pins: Mapping[str, int]) -> Iterator[Recounted]:
    """Every tenant of a locked close for which something is late, in order. MissionError where the code cannot compute that close at all."""
    con, rows = _late(home, lake, locked, pins)
    late = late_of(con)
    if not late:
        return
    standing = _locked(lake, locked, sorted(late))
    again = _rate(home, lake, locked, sorted(late), None, locked.recorded.pins)
    now = _rate(home, lake, locked, sorted(late), rows, pins)
    for tenant, events in sorted(late.items()):
        found = [each.get(tenant, NOTHING) for each in (standing, again, now)]
        yield Recounted(tenant, events, *found)


def _late(home: Home, lake: Lake, locked: Locked, pins: Mapping[str, int]) -> "tuple[duckdb.DuckDBPyConnection, pa.Table]":
    """A connection that has the readings of all events of the tenants that may have late ones."""
    con = connected(lake, locked)
    rows = arrived(con, lake, locked, pins)
    _settled(con, lake, locked, pins)
    con.execute(
        "DELETE FROM closing WHERE tenant_id NOT IN (SELECT tenant_id FROM arrived) AND tenant_id NOT IN (SELECT tenant_id FROM settled)"
    )
    _events(con, lake, locked, rows)
    shop = Workshop(home, locked.recorded.catalog, lake)
    bind_views(shop, con, shop.catalog.models["metering.amendments"])
    return con, rows


def _settled(con: "duckdb.DuckDBPyConnection", lake: Lake, locked: Locked, pins: Mapping[str, int]) -> None:
    """Identities whose conflict was settled otherwise since the lock."""
    said = "SELECT tenant_id, source, id FROM {} WHERE choice = 'void'"
    opened = lake.open(CHOICES, pins[CHOICES])
    assert opened is not None
    before, now = said.format(CHOICES), said.format(f"({lake.select(opened)})")
    con.execute(
        f"CREATE TEMP TABLE settled AS FROM (({before} EXCEPT {now}) UNION ({now} EXCEPT {before})) AS differing "
        "WHERE tenant_id IN (SELECT tenant_id FROM closing)"
    )


def _events(con: "duckdb.DuckDBPyConnection", lake: Lake, locked: Locked, rows: "pa.Table | None") -> None:
    """Stage what the locked close counted of the tenants of `closing`, with `rows` beside it."""
    opened = lake.open(STAGED, locked.recorded.pins[STAGED])
    assert opened is not None
    from_start = "" if meters_levelled(con) else "AND staged.occurred_at >= closing.start_utc "
    begins, ends = con.sql("SELECT min(start_utc), max(end_utc) FROM closing").fetchall()[0]
    pruned = None if from_start == "" or begins is None else f"occurred_at >= '{begins}' and occurred_at < '{ends}' or kind != 'usage'"
    con.execute("CREATE SCHEMA IF NOT EXISTS staging")
    con.execute(
        f"CREATE OR REPLACE TABLE {STAGED} AS SELECT staged.* FROM ({lake.select(opened, pruned)}) AS staged "
        "JOIN closing ON closing.tenant_id = staged.tenant_id WHERE staged.landing_day <= closing.cutoff_day "
        f"AND (staged.kind <> 'usage' OR staged.occurred_at < closing.end_utc {from_start})"
    )
    if rows is not None:
        con.register("late_rows", rows)
        con.execute(f"INSERT INTO {STAGED} BY NAME SELECT late.* FROM late_rows AS late JOIN closing USING (tenant_id)")
        con.unregister("late_rows")


def _rate(
    home: Home, lake: Lake, locked: Locked, tenants: Sequence[str], rows: "pa.Table | None", pins: Mapping[str, int]
) -> dict[str, Rated]:
    """The month of some tenants, rated over the locked events alone, or with late rows beside them at conflict choices of `pins`."""
    con, period = connected(lake, locked), locked.period.isoformat()
    con.execute("DELETE FROM closing WHERE NOT list_contains($tenants, tenant_id)", {"tenants": list(tenants)})
    if rows is not None:
        lake.view(con, CHOICES, pins[CHOICES])
    until = "cutoff_day" if rows is None else "until"
    con.execute(
        "CREATE TEMP TABLE months AS SELECT closing.tenant_id, period, closing.start_utc, closing.end_utc, "
        f"closing.{until} AS cutoff_day FROM reference.periods JOIN closing USING (tenant_id) WHERE period = DATE '{period}'"
    )
    con.execute("CREATE OR REPLACE VIEW reference.periods AS FROM months")
    _events(con, lake, locked, rows)
    shop = Workshop(home, locked.recorded.catalog, lake)
    first = EVER[0] if meters_levelled(con) else period
    windows = {"metering.amendments": EVER, "metering.usage_daily": (first, _last(con))}
    con.execute("CREATE SCHEMA IF NOT EXISTS metering")
    con.execute(
        "CREATE TABLE metering.corrected (tenant_id VARCHAR, period DATE, original_period DATE, status VARCHAR, correction VARCHAR)"
    )
    for key in (*COUNTED, RATED):
        model = shop.catalog.models[key]
        bind_views(shop, con, model)
        found = computed(Work(shop, con, model, windows.get(key, (period,)))).to_arrow_table()
        con.from_arrow(found).create(key)
    return _read(con, RATED)


def _last(con: "duckdb.DuckDBPyConnection") -> str:
    """The last local day of the month that is counted; every day after it is the next month's."""
    return str(con.sql("SELECT CAST(max(period) + INTERVAL 1 MONTH - INTERVAL 1 DAY AS DATE) FROM reference.periods").fetchall()[0][0])


def _locked(lake: Lake, locked: Locked, tenants: Sequence[str]) -> dict[str, Rated]:
    """What was locked, as the close pinned it."""
    con = connected(lake, locked)
    lake.view(con, RATED, locked.recorded.pins[RATED])
    con.execute("DELETE FROM closing WHERE NOT list_contains($tenants, tenant_id)", {"tenants": list(tenants)})
    con.execute(
        f"CREATE TEMP VIEW locked_invoices AS SELECT rated.* FROM {RATED} AS rated JOIN closing USING (tenant_id) "
        f"WHERE period = DATE '{locked.period}'"
    )
    return _read(con, "locked_invoices")


def _read(con: "duckdb.DuckDBPyConnection", table: str) -> dict[str, Rated]:
    rows = con.sql(f"SELECT tenant_id, problems, invoice FROM {table} ORDER BY tenant_id").fetchall()
    return {tenant: (problems, json.loads(text) if text else None) for tenant, problems, text in rows}
