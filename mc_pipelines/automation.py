"""What runs by itself: two schedules, three sensors, the notifications they leave, and the per-day status of range runs.

A notification is a row of `ops.notifications` first and a message second, so that nothing is lost when a chat is down. Table building
and gates do not belong here.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from mc_pipelines.disk import room, writing
from mc_pipelines.home import Home
from mc_pipelines.lake import Lake

DAILY_CRON = "15 12 * * *"
"""A local day is over everywhere on earth at 12:00 UTC of the next day."""
MONTH_END_CRON = "0 14 3 * *"
FILE_STATES = 400


def append(home: Home, table: str, rows: Sequence[dict[str, str]]) -> None:
    """Add rows of text to an append-only table of the lake; nothing is written for no rows."""
    if not rows:
        return
    import pyarrow as pa
    from deltalake import DeltaTable, write_deltalake
    from deltalake.exceptions import DeltaError

    from mc_pipelines.lake import KEEP

    data = pa.Table.from_pylist([{name: str(value) for name, value in row.items()} for row in rows])
    uri = Lake(str(home.lake)).table_uri(table)
    with writing(uri, DeltaError):
        room(uri)
        DeltaTable.create(uri, data.schema, mode="ignore", configuration=KEEP)
        write_deltalake(uri, data, mode="append")


def record_days(home: Home, table: str, windows: Sequence[str], status: str, run_id: str, reason: str) -> None:
    """Append one row per window to `ops.day_status`: a range run keeps the fate of each of its days."""
    append(
        home,
        "ops.day_status",
        [{"day": window, "asset": table, "status": status, "run_id": run_id, "reason": reason[:500]} for window in windows],
    )


def failed_days(home: Home) -> list[str]:
    """Days whose newest status of any table is 'failed', sorted. Newest by the table's own commit order."""
    lake = Lake(str(home.lake))
    opened = lake.open("ops.day_status")
    if opened is None:
        return []
    latest: dict[tuple[str, str], str] = {}
    for version in range(1, opened.version() + 1):
        for row in _added(lake, version):
            latest[(row["day"], row["asset"])] = row["status"]
    return sorted({day for (day, _), status in latest.items() if status == "failed" and day != "all"})


def _added(lake: Lake, version: int) -> list[dict[str, str]]:
    import pyarrow.parquet as pq

    now, before = lake.open("ops.day_status", version), lake.open("ops.day_status", version - 1)
    assert now is not None
    assert before is not None
    fresh = set(lake.files(now)) - set(lake.files(before))
    return [row for uri in sorted(fresh) for row in pq.read_table(uri).to_pylist()]


def notify(home: Home, kind: str, run_id: str, title: str, body: str) -> None:
    """Append a row to `ops.notifications`, then send it through apprise where MISSION_NOTIFY_URL is set."""
    append(home, "ops.notifications", [{"kind": kind, "run_id": run_id, "title": title, "body": body}])
    if url := os.environ.get("MISSION_NOTIFY_URL"):
        import apprise

        channel = apprise.Apprise()
        channel.add(url)
        channel.notify(title=title, body=body)


def schedules() -> list[dg.ScheduleDefinition]:
    """Daily at 12:15 UTC for the day before, and the month end after the usual grace."""

    @dg.schedule(
        name="daily",
        cron_schedule=DAILY_CRON,
        job_name="daily",
        execution_timezone="UTC",
        description="The landing day that is over everywhere.",
    )
    def daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        from datetime import timedelta

        day = (context.scheduled_execution_time.date() - timedelta(days=1)).isoformat()
        return dg.RunRequest(run_key=day, partition_key=day)

    @dg.schedule(
        name="month_end",
        cron_schedule=MONTH_END_CRON,
        job_name="month_end",
        execution_timezone="UTC",
        description="The close of the month before.",
    )
    def month_end(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        from datetime import timedelta

        month = (context.scheduled_execution_time.date().replace(day=1) - timedelta(days=1)).replace(day=1).isoformat()
        return dg.RunRequest(run_key=month, partition_key=month)

    return [daily, month_end]


def landed(home: Home) -> dict[str, int]:
    """Every landed file by `<source>/<day>/<name>` with its size; hidden and half-written names are not among them."""
    found = {}
    for path in sorted(home.landing.glob("*/????-??-??/*")):
        if path.is_file() and not path.name.startswith(".") and path.suffix not in {".tmp", ".part"}:
            found[path.relative_to(home.landing).as_posix()] = path.stat().st_size
    return found


def new_days(before: dict[str, int], now: dict[str, int], settled: dict[str, int]) -> list[str]:
    """Landing days with a file that is new or has grown, and whose size stood still since the last look."""
    return sorted({name.split("/")[1] for name, size in now.items() if before.get(name) != size and settled.get(name) == size})


def sensors(home: Home) -> list[dg.SensorDefinition]:
    """New landing files; failed runs; failed checks of green runs."""

    @dg.sensor(
        name="landing",
        job_name="daily",
        minimum_interval_seconds=60,
        description="Runs the day of every file that has landed and stopped growing.",
    )
    def landing(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        state = json.loads(context.cursor or "{}")
        seen, looked = state.get("seen", {}), state.get("looked", {})
        now = landed(home)
        days = new_days(seen, now, looked)
        done = {name: size for name, size in now.items() if looked.get(name) == size}
        cursor = json.dumps({"seen": seen | done, "looked": now})
        events = [
            dg.AssetMaterialization(["files", name.split("/")[0]], metadata={"file": name, "bytes": size})
            for name, size in done.items()
            if seen.get(name) != size
        ]
        requests = [dg.RunRequest(run_key=f"{day}:{hashlib.sha256(cursor.encode()).hexdigest()[:16]}", partition_key=day) for day in days]
        return dg.SensorResult(run_requests=requests, cursor=cursor, asset_events=events[:FILE_STATES])

    @dg.run_failure_sensor(name="failed_runs", description="A failed run becomes a notification.")
    def failed_runs(context: dg.RunFailureSensorContext) -> None:
        notify(
            home,
            "run_failed",
            context.dagster_run.run_id,
            f"Run failed: {context.dagster_run.job_name}",
            str(context.failure_event.message),
        )

    @dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.SUCCESS, name="failed_checks", description="A green run with failed checks becomes a notification."
    )
    def failed_checks(context: dg.RunStatusSensorContext) -> None:
        names = sorted(set(_failed(context)))
        if names:
            notify(home, "checks_failed", context.dagster_run.run_id, f"{len(names)} gate(s) failed in a green run", ", ".join(names))

    return [landing, failed_runs, failed_checks]


def _failed(context: dg.RunStatusSensorContext) -> Iterator[str]:
    records = context.instance.get_records_for_run(context.dagster_run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION).records
    for record in records:
        event = record.event_log_entry.dagster_event
        evaluation: Any = event.event_specific_data if event else None
        if evaluation is not None and not evaluation.passed:
            yield str(evaluation.check_name)
