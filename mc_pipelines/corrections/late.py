"""Late events of a locked month: accepted by now, and not in the snapshot that the locked close pinned. No clocks are compared.

An event counts in a close when it is the first copy of its identity and landed by its tenant's cut-off. What a tenant's late events change is
found by rating the month again (`recount.py`), not from them alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from mc_pipelines.engine import connect
from mc_pipelines.evidence.canonical import canonical, sha256
from mc_pipelines.evidence.record import Recorded
from mc_pipelines.lake import Lake

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

STAGED, SEEN, CHOICES = "staging.usage_events", "metering.seen_before", "reference.conflict_choices"


@dataclass(frozen=True)
class Locked:
    """A locked close: what it recorded of itself, and of some tenants the cut-off up to which the next close counts (landing days)."""

    period: date
    edition: int
    recorded: Recorded
    cutoffs: Mapping[str, date]


@dataclass(frozen=True)
class Late:
    """Late events of one tenant and locked month: identities (source, id) in order, and how many there are per meter."""

    identities: tuple[tuple[str, str], ...]
    by_meter: Mapping[str, int]

    @property
    def digest(self) -> str:
        """sha256 (hex) over the canonical list of identities."""
        return sha256(canonical([list(each) for each in self.identities]))


def connected(lake: Lake, locked: Locked) -> "duckdb.DuckDBPyConnection":
    """A connection with what the close pinned: reference data, and `closing`, one row per tenant with its month and both cut-offs."""
    import pyarrow as pa

    con, pins = connect(), locked.recorded.pins
    for table in sorted(pins):
        if table.startswith("reference.") or table == SEEN:
            lake.view(con, table, pins[table])
    tenants = sorted(locked.cutoffs)
    cutoffs = pa.table(
        {"tenant_id": pa.array(tenants, pa.string()), "until": pa.array([locked.cutoffs[each] for each in tenants], pa.date32())}
    )
    con.from_arrow(cutoffs).create("asked")
    con.execute(
        "CREATE TABLE closing AS SELECT tenant_id, start_utc, end_utc, cutoff_day, greatest(cutoff_day, until) AS until "
        f"FROM reference.periods JOIN asked USING (tenant_id) WHERE period = DATE '{locked.period}'"
    )
    return con


def arrived(con: "duckdb.DuckDBPyConnection", lake: Lake, locked: Locked, pins: Mapping[str, int]) -> "pa.Table":
    """The staged rows that count by now and did not in the locked close, of the month and of those before it; `pins` says what now is."""
    now, then = lake.open(STAGED, pins[STAGED]), lake.open(STAGED, locked.recorded.pins[STAGED])
    assert now is not None
    assert then is not None
    ((first,),) = con.sql("SELECT min(cutoff_day) FROM closing").fetchall()
    files = set(lake.files(now)) - set(lake.files(then)) | set(lake.files(now, f"landing_day > '{first}'"))
    lake.view(con, SEEN, pins[SEEN])
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE arrived AS
        SELECT staged.* FROM ({lake.select(now, only=files)}) AS staged
        JOIN closing ON closing.tenant_id = staged.tenant_id
        LEFT JOIN {SEEN} AS seen ON seen.landing_day = staged.landing_day AND seen.event_key = staged.event_key
        WHERE staged.copy = 1 AND seen.event_key IS NULL AND staged.landing_day <= closing.until
          AND (staged.kind <> 'usage' OR staged.occurred_at < closing.end_utc)""")
    lake.view(con, SEEN, locked.recorded.pins[SEEN])
    begins, ends = con.sql("SELECT min(occurred_at), max(occurred_at) FROM arrived").fetchall()[0]
    if begins is not None:  # a copy that names another instant stays unseen here, but `seen_before` has told of it
        counted = lake.select(then, f"occurred_at >= '{begins}' and occurred_at <= '{ends}'")
        con.execute(f"""
            DELETE FROM arrived WHERE event_key IN (
                SELECT staged.event_key FROM ({counted}) AS staged JOIN closing ON closing.tenant_id = staged.tenant_id
                WHERE staged.copy = 1 AND staged.landing_day <= closing.cutoff_day AND staged.occurred_at BETWEEN '{begins}' AND '{ends}')""")
    return con.sql("FROM arrived ORDER BY tenant_id, event_key").to_arrow_table()


def meters_levelled(con: "duckdb.DuckDBPyConnection") -> Sequence[str]:
    """Meters whose level carries on from earlier months, so that late events of those matter too."""
    rows = con.sql("SELECT meter FROM reference.meters WHERE aggregation = 'weighted_sum' ORDER BY meter").fetchall()
    return [meter for (meter,) in rows]


def late_of(con: "duckdb.DuckDBPyConnection") -> dict[str, Late]:
    """By tenant what is late, once `con` has the readings of `arrived` and of what it amends, and `settled` (identities settled otherwise by now)."""
    found: dict[str, dict[str, set[tuple[str, str]]]] = {}
    rows = con.sql("""
        WITH bounded AS (
            SELECT readings.*, readings.occurred_at < closing.end_utc
                               AND (readings.occurred_at >= closing.start_utc OR meters.aggregation = 'weighted_sum') AS inside
            FROM metering.readings AS readings
            JOIN closing ON closing.tenant_id = readings.tenant_id
            JOIN reference.meters AS meters ON meters.meter = readings.meter
            WHERE readings.kind = 'usage'
        )
        SELECT tenant_id, meter, source, id FROM bounded WHERE inside AND event_key IN (SELECT event_key FROM arrived)
        UNION
        SELECT bounded.tenant_id, bounded.meter, amending.source, amending.id
        FROM bounded JOIN arrived AS amending ON amending.amends_key = bounded.event_key AND amending.kind <> 'usage' WHERE bounded.inside
        UNION
        SELECT tenant_id, meter, source, id FROM bounded WHERE inside AND (tenant_id, source, id) IN (SELECT (tenant_id, source, id) FROM settled)
        ORDER BY ALL""").fetchall()
    for tenant, meter, source, id in rows:
        found.setdefault(tenant, {}).setdefault(meter, set()).add((source, id))
    return {
        tenant: Late(tuple(sorted(set().union(*by_meter.values()))), {meter: len(ids) for meter, ids in sorted(by_meter.items())})
        for tenant, by_meter in found.items()
    }
