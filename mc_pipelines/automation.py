"""What runs by itself: a schedule for days, months and the sprints of each deliverable, three sensors, and the notifications they leave.

A notification is a row of `ops.notifications` first and a message second, so that nothing is lost when a chat is down. Table building
and gates do not belong here.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from mc_pipelines.home import Home
from mc_pipelines.opslog import NOTIFICATIONS, append
from mc_pipelines.opslog import failed_days as failed_days  # where the command line looks for it
from mc_pipelines.windows import sprint_windows

DAILY_CRON = "15 12 * * *"
"""A local day is over everywhere on earth at 12:00 UTC of the next day."""
MONTH_END_CRON = "0 14 4 * *"
"""With two days of grace the last landing day that counts is the 3rd; its run is over by then. Longer graces close by hand."""
SPRINT_CRON = "30 14 * * *"
FILE_STATES = 400


def notify(home: Home, kind: str, run_id: str, title: str, body: str) -> bool:
    """Append a row to `ops.notifications`, then send it through apprise where MISSION_NOTIFY_URL is set.

    Returns False where there is a channel and the message did not go out; the row stands either way.
    """
    append(home, NOTIFICATIONS, [{"kind": kind, "run_id": run_id, "title": title, "body": body}])
    url = os.environ.get("MISSION_NOTIFY_URL")
    if not url:
        return True
    import apprise

    channel = apprise.Apprise()
    return channel.add(url) and bool(channel.notify(title=title, body=body))


UNSENT = "kept in ops.notifications, but MISSION_NOTIFY_URL did not take the message"


def schedules(home: Home, sprint_jobs: Sequence[str] = ()) -> list[dg.ScheduleDefinition]:
    """Daily at 12:15 UTC for the day before, the month end after the usual grace, and each job of `sprint_jobs` after a sprint's cut-off."""

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

    return [daily, month_end, *(_sprint_schedule(home, job) for job in sprint_jobs)]


def _sprint_schedule(home: Home, job: str) -> dg.ScheduleDefinition:
    """Attempts a sprint on the day after the last landing day that counts for it, once that day's run is over."""

    @dg.schedule(
        name=job,
        cron_schedule=SPRINT_CRON,
        job_name=job,
        execution_timezone="UTC",
        description="The sprint whose last landing day was the day before.",
    )
    def ended(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        from datetime import timedelta

        cutoff = (context.scheduled_execution_time.date() - timedelta(days=1)).isoformat()
        for window in sprint_windows(home):
            if window.as_of.startswith(cutoff):
                return dg.RunRequest(run_key=window.key, partition_key=window.key)
        return dg.SkipReason(f"no sprint's last landing day is {cutoff}")

    return ended


def landed(home: Home) -> dict[str, int]:
    """Every landed file by `<source>/<day>/<name>` with its size; hidden and half-written names are not among them."""
    found = {}
    for path in sorted(home.landing.glob("*/????-??-??/*")):
        if path.is_file() and not path.name.startswith(".") and path.suffix not in {".tmp", ".part"}:
            found[path.relative_to(home.landing).as_posix()] = path.stat().st_size
    return found


def new_days(before: Mapping[str, int], now: Mapping[str, int], settled: Mapping[str, int]) -> list[str]:
    """Landing days with a file that is new or has grown, and whose size stood still since the last look."""
    return sorted({name.split("/")[1] for name, size in now.items() if before.get(name) != size and settled.get(name) == size})


def look(home: Home, days: dg.PartitionsDefinition[str], cursor: str | None) -> dg.SensorResult:
    """One look at the landing zone: which days to run, and the cursor with what was seen.

    A file counts once its size has stood still between two looks and its day is over: until then its day is no partition, and the
    file waits.
    """
    state = json.loads(cursor or "{}")
    seen, looked = state.get("seen", {}), state.get("looked", {})
    now = landed(home)
    ready = [day for day in new_days(seen, now, looked) if days.has_partition_key(day)]
    done = {name: size for name, size in now.items() if looked.get(name) == size and seen.get(name) != size and name.split("/")[1] in ready}
    after = json.dumps({"seen": seen | done, "looked": now}, sort_keys=True)
    digest = hashlib.sha256(after.encode()).hexdigest()[:16]
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=f"{day}:{digest}", partition_key=day) for day in ready],
        cursor=after,
        asset_events=[
            dg.AssetMaterialization(["files", name.split("/")[0]], metadata={"file": name, "bytes": size}) for name, size in done.items()
        ][:FILE_STATES],
    )


def sensors(home: Home, days: dg.PartitionsDefinition[str]) -> list[dg.SensorDefinition]:
    """New landing files; failed runs; failed checks of green runs. `days` are the partitions that may be asked for."""

    @dg.sensor(
        name="landing",
        job_name="daily",
        minimum_interval_seconds=60,
        description="Runs the day of every file that has landed and stopped growing, once that day is over.",
    )
    def landing(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return look(home, days, context.cursor)

    @dg.run_failure_sensor(name="failed_runs", description="A failed run becomes a notification.")
    def failed_runs(context: dg.RunFailureSensorContext) -> None:
        title = f"Run failed: {context.dagster_run.job_name}"
        if not notify(home, "run_failed", context.dagster_run.run_id, title, _reason(context)):
            context.log.warning(UNSENT)

    @dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.SUCCESS, name="failed_checks", description="A green run with failed checks becomes a notification."
    )
    def failed_checks(context: dg.RunStatusSensorContext) -> None:
        names = sorted(set(_failed(context)))
        title = f"{len(names)} gate(s) failed in a green run"
        if names and not notify(home, "checks_failed", context.dagster_run.run_id, title, ", ".join(names)):
            context.log.warning(UNSENT)

    return [landing, failed_runs, failed_checks]


def after_the_day(daily: Any, tonight: dg.JobDefinition) -> dg.SensorDefinition:
    """Tonight's close follows the run of a single day; a backfill of many days is followed by none."""

    @dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.SUCCESS,
        name="tonight_after_daily",
        monitored_jobs=[daily],
        request_job=tonight,
        description="Rehearses the close of the running month after each day's run.",
    )
    def follow(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
        day = context.dagster_run.tags.get("dagster/partition")
        if day is None:
            return dg.SkipReason("a run of several days; the next single day is followed")
        return dg.RunRequest(run_key=f"{day}:{context.dagster_run.run_id}")

    return follow


def _reason(context: dg.RunFailureSensorContext) -> str:
    """Step and message of whatever failed: the run's own event only says that steps failed."""
    said = []
    for event in context.get_step_failure_events():
        error = event.step_failure_data.error
        while error is not None and error.cause is not None:
            error = error.cause
        said.append(f"{(event.step_key or '').replace('__', '.')}: {error.message.strip() if error else event.message}")
    return "\n".join(said) or str(context.failure_event.message)


def _failed(context: dg.RunStatusSensorContext) -> Iterator[str]:
    records = context.instance.get_records_for_run(context.dagster_run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION).records
    for record in records:
        event = record.event_log_entry.dagster_event
        evaluation: Any = event.event_specific_data if event else None
        if evaluation is not None and not evaluation.passed:
            yield str(evaluation.check_name)
