"""What operations remember in the lake: the fate of each day of a range run (`ops.day_status`) and every notification (`ops.notifications`).

Both are append-only tables of text, with the time of writing: they tell people what happened, and no verdict reads them. So no version of them
needs to be kept, and small files are put together as they come.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache

from mc_pipelines.disk import room, writing
from mc_pipelines.home import Home
from mc_pipelines.lake import SUMMED_UP, Lake

DAYS, NOTIFICATIONS = "ops.day_status", "ops.notifications"
REASON_LENGTH = 500
MOST_FILES = 50
"""A run leaves a file for every table that it built: without an end to them, each day's run would take longer than the one before."""


def append(home: Home, table: str, rows: Sequence[dict[str, str]]) -> None:
    """Add rows of text, each with `recorded` (UTC, ISO 8601, microseconds); nothing is written for no rows."""
    if not rows:
        return
    import pyarrow as pa
    from deltalake import DeltaTable, write_deltalake
    from deltalake.exceptions import CommitFailedError, DeltaError

    from mc_pipelines.columns import ADDED

    now = datetime.now(UTC).isoformat(timespec="microseconds")
    data = pa.Table.from_pylist([{name: str(value) for name, value in row.items()} | {"recorded": now} for row in rows])
    data = data.cast(pa.schema([each.with_metadata(ADDED) for each in data.schema]))  # rows of earlier versions may lack any of them
    uri = Lake(str(home.lake)).table_uri(table)
    with writing(uri, DeltaError):
        room(uri)
        if not DeltaTable.is_deltatable(uri):
            DeltaTable.create(uri, data.schema, mode="ignore", configuration=SUMMED_UP)
        write_deltalake(uri, data, mode="append", schema_mode="merge")  # a home from before `recorded` gains the column
        opened = DeltaTable(uri)
        if len(opened.file_uris()) > MOST_FILES:
            with suppress(CommitFailedError):  # somebody else does it just now
                opened.optimize.compact()


def record_days(home: Home, table: str, days: Sequence[str], status: str, run_id: str, reason: str = "") -> None:
    """Append one row per day: `done` or `failed`, for one table."""
    said = reason[:REASON_LENGTH]
    append(home, DAYS, [{"day": day, "asset": table, "status": status, "run_id": run_id, "reason": said} for day in days])


def record_done(home: Home, table: str, rebuilt: Sequence[str], asked: Collection[str], run_id: str) -> None:
    """Days rebuilt are done, and so are days asked for that had failed before and now need nothing more. Days that never changed say nothing."""
    mended = {day for day, asset in failed(home) if asset == table and day in asked}
    record_days(home, table, sorted({*rebuilt} | mended), "done", run_id)


def failed(home: Home) -> list[tuple[str, str]]:
    """Every (day, table) whose newest status is 'failed', sorted."""
    lake = Lake(str(home.lake))
    opened = lake.open(DAYS)
    return [] if opened is None else list(_failed(lake.uri, str(opened.metadata().id), opened.version()))


@lru_cache(maxsize=4)
def _failed(uri: str, made: str, version: int) -> tuple[tuple[str, str], ...]:
    """Asked once for a version of the table; `made` tells one table from the next at the same place."""
    from mc_pipelines.engine import connect

    con = connect()
    Lake(uri).view(con, DAYS, version)
    rows = con.sql(
        f"SELECT day, asset FROM {DAYS} GROUP BY day, asset HAVING arg_max(status, coalesce(recorded, '')) = 'failed' ORDER BY day, asset"
    ).fetchall()
    return tuple((str(day), str(asset)) for day, asset in rows)


def failed_days(home: Home) -> list[str]:
    """Days of which some table's newest status is 'failed', sorted."""
    return sorted({day for day, _ in failed(home)})
