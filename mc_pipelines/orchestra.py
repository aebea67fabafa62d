"""Run Dagster jobs from the command line, in this process and on the home's own instance, so that the UI shows the same runs."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from shutil import copyfile
from typing import TYPE_CHECKING, Any

from mc_pipelines.disk import probe, writing
from mc_pipelines.errors import MissionError
from mc_pipelines.home import CHECKOUT, Home

if TYPE_CHECKING:
    import dagster as dg

Progress = Callable[[str], None]
BATCH = "500"
"""Events of one table's days that Dagster stores at once; without it, one by one."""
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Ran:
    """A finished run: its id, whether it succeeded, what went wrong in words, and for every table built the windows and rows rebuilt."""

    run_id: str
    ok: bool
    problems: tuple[str, ...]
    built: Mapping[str, tuple[int, int]]


@contextmanager
def instance(home: Home) -> "Iterator[dg.DagsterInstance]":
    """The home's own Dagster instance, made on first use with the checkout's settings."""
    import dagster as dg
    from sqlalchemy.exc import OperationalError

    with writing(home.dagster):
        home.dagster.mkdir(parents=True, exist_ok=True)
        settings = home.dagster / "dagster.yaml"
        if not settings.exists():
            copyfile(CHECKOUT / "deploy" / "dagster.yaml", settings)
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", BATCH)
    os.environ["DAGSTER_HOME"] = str(home.dagster)  # where the event log is looked for, here and in the runs' own processes
    try:
        with dg.DagsterInstance.from_config(str(home.dagster)) as opened:
            yield opened
    except OperationalError:
        probe(home.dagster)  # SQLite calls a full or read-only disk an I/O error, or a file that it cannot open
        raise


def run_job(home: Home, job: str, windows: list[str], progress: Progress = lambda line: None) -> Ran:
    """Run one job for a range of partitions, in one run. Progress gets a line as each table is done."""
    from dagster import DagsterEventType

    from mc_pipelines.definitions import build_defs
    from mc_pipelines.journaling import requester

    defs = build_defs(home)
    single = windows[0] == windows[-1]  # a run of one partition keeps the partition on its check results
    tags = {"requested_by": requester()}
    if not single:
        tags |= {"dagster/asset_partition_range_start": windows[0], "dagster/asset_partition_range_end": windows[-1]}
    known = defs.resolve_job_def(job)
    outside = [
        window for window in (windows[0], windows[-1]) if known.partitions_def and not known.partitions_def.has_partition_key(window)
    ]
    if outside:
        raise MissionError(f"{', '.join(outside)}: no such partition yet, or it lies before reference/calendar.yaml's start.")
    with instance(home) as opened:
        stop = _follow(opened, progress)
        try:
            result = known.execute_in_process(
                instance=opened, tags=tags, partition_key=windows[0] if single else None, run_config=QUIET, raise_on_error=False
            )
        finally:
            stop()
        problems = [_problem(event) for event in result.all_events if event.event_type == DagsterEventType.STEP_FAILURE]
        if not result.success and not problems:  # no step failed, so something around them did
            ended = [event for event in result.all_events if event.event_type == DagsterEventType.RUN_FAILURE]
            problems = [error.message.strip() if (error := event.job_failure_data.error) else event.message or "" for event in ended]
        return Ran(result.run_id, result.success, tuple(problems), _built(result.all_events))


def _built(events: "Sequence[dg.DagsterEvent]") -> dict[str, tuple[int, int]]:
    """(windows, rows) rebuilt of every table of the run; what a table's own days say of it is the same for each."""
    found: dict[str, tuple[int, int]] = {}
    for event in events:
        if event.is_step_materialization:
            made = event.step_materialization_data.materialization
            said: dict[str, Any] = {name: each.value for name, each in made.metadata.items()}
            if "windows_rebuilt" in said:
                found[".".join(made.asset_key.path)] = int(said["windows_rebuilt"]), int(said.get("dagster/row_count", 0))
    return found


def _problem(event: "dg.DagsterEvent") -> str:
    """The message of what a step raised, without Dagster's wrapping and tracebacks: our own words where there are some."""
    ours = _names(MissionError)
    error = event.step_failure_data.error
    while error is not None and error.cause is not None and error.cls_name not in ours:
        error = error.cause
    return error.message.strip().removeprefix("mc_pipelines.errors.MissionError: ") if error is not None else event.message or ""


def _names(kind: type[Exception]) -> set[str]:
    """Names of an error's class and of all that derive from it."""
    return {kind.__name__}.union(*(_names(each) for each in kind.__subclasses__()))


def _follow(opened: "dg.DagsterInstance", progress: Progress) -> Callable[[], None]:
    """Report finished steps while `execute_in_process` holds this thread: Dagster writes events through the instance's store."""
    store = opened.event_log_storage
    original = store.store_event

    def storing(event: "dg.EventLogEntry") -> None:
        original(event)
        happened = event.dagster_event
        if happened is not None and happened.event_type_value in {"STEP_SUCCESS", "STEP_FAILURE"}:
            progress(f"{(happened.step_key or '').replace('__', '.')}{'' if happened.event_type_value == 'STEP_SUCCESS' else ' FAILED'}")
        if happened is not None and happened.is_engine_event and "blocked by limit for pool" in (happened.message or ""):
            progress(f"{(happened.step_key or '').replace('__', '.')} waits: another run builds it")

    store.store_event = storing  # type: ignore[method-assign]  # the one seam Dagster has for this in-process

    def stop() -> None:
        store.store_event = original  # type: ignore[method-assign]  # put back what was there

    return stop
