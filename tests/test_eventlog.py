"""Dagster's event log as this project keeps it: a batch of events leaves what the same events one by one leave."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from test_kills import LANDED, lay

from mc_pipelines.eventlog import KeptEngines
from mc_pipelines.home import CHECKOUT
from mc_pipelines.orchestra import instance as opened

BEGIN, SPAN = datetime(2026, 1, 1, tzinfo=UTC), 40
DAYS = [f"{BEGIN + timedelta(days=at):%Y-%m-%d}" for at in range(SPAN)]
PARTITIONS = dg.DailyPartitionsDefinition(BEGIN, end_date=BEGIN + timedelta(days=SPAN))
MADE, PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED


@dg.asset(partitions_def=PARTITIONS, backfill_policy=dg.BackfillPolicy.single_run())
def counted(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"days": len(context.partition_keys)}, tags={"team": "data"})


@dg.asset(deps=[counted], partitions_def=PARTITIONS, backfill_policy=dg.BackfillPolicy.single_run())
def summed() -> None: ...


@dg.asset_check(asset=summed)
def positive() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


def run(folder: Path, ahead: Callable[[KeptEngines], None] = lambda storage: None) -> dict[str, Any]:
    """What a new log says of one run over all days, without ids and times."""
    folder.mkdir()
    settings = "event_log_storage:\n  module: mc_pipelines.eventlog\n  class: KeptEngines\n"
    settings += f"  config: {{base_dir: '{folder / 'events'}'}}\ntelemetry: {{enabled: false}}\n"
    (folder / "dagster.yaml").write_text(settings, encoding="utf-8")
    defs = dg.Definitions(assets=[counted, summed], asset_checks=[positive], jobs=[dg.define_asset_job("all_days")])
    tags = {"dagster/asset_partition_range_start": DAYS[0], "dagster/asset_partition_range_end": DAYS[-1]}
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        log = instance.event_log_storage
        assert isinstance(log, KeptEngines)
        ahead(log)
        result = defs.resolve_job_def("all_days").execute_in_process(instance=instance, tags=tags)
        assert result.success
        found: dict[str, Any] = {asset.key.path[0]: of_asset(log, asset.key, result.run_id) for asset in (counted, summed)}
        checks = log.get_asset_check_execution_history(positive.check_key, limit=2 * SPAN)
        stored = instance.all_logs(result.run_id)
        found["checks"] = sorted((check.status.value, check.partition or "") for check in checks)
        found["run"] = sorted(
            (event.event_type_value, event.step_key or "", event.partition or "") for each in stored if (event := each.dagster_event)
        )
        return found


def of_asset(log: KeptEngines, key: dg.AssetKey, run_id: str) -> dict[str, Any]:
    made = log.get_event_records(dg.EventRecordsFilter(MADE, asset_key=key), ascending=True)
    planned = log.get_event_records(dg.EventRecordsFilter(PLANNED, asset_key=key), ascending=True)
    (record,) = log.get_asset_records([key])
    last = record.asset_entry.last_materialization_record
    assert last is not None
    assert (last.storage_id, record.asset_entry.last_run_id) == (made[-1].storage_id, run_id)
    assert len({each.storage_id for each in (*made, *planned)}) == len(made) + len(planned)
    return {
        "made": [each.partition_key for each in made],
        "planned": [each.partition_key for each in planned],
        "metadata": [dict(each.asset_materialization.metadata) for each in made if each.asset_materialization],
        "last": last.partition_key,
        "partitions": sorted(log.get_materialized_partitions(key)),
        "tags": [sorted(tags) for tags in log.get_event_tags_for_asset(key)],
    }


@pytest.mark.parametrize("size", ["7", "500"])
def test_a_batch_leaves_what_single_events_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "0")
    one_by_one = run(tmp_path / "one-by-one")
    assert one_by_one["counted"]["made"] == one_by_one["summed"]["planned"] == DAYS
    assert [row for row in one_by_one["run"] if row[0] == MADE.value] == [
        (MADE.value, name, day) for name in ("counted", "summed") for day in DAYS
    ]
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", size)
    assert run(tmp_path / "batch") == one_by_one


def test_a_batch_that_fails_is_stored_one_by_one_and_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "0")
    one_by_one = run(tmp_path / "one-by-one")
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "500")

    refused: list[int] = []

    def failing(storage: KeptEngines) -> None:
        stored = storage._store_asset_event_tags

        def once(connection: Any, events: Sequence[dg.EventLogEntry], ids: Sequence[int]) -> None:
            if len(events) > 1 and not refused:
                refused.append(len(events))
                raise OSError("no room")
            stored(connection, events, ids)

        monkeypatch.setattr(storage, "_store_asset_event_tags", once)

    assert run(tmp_path / "batch", failing) == one_by_one
    assert refused == [SPAN]
    assert "no room" in capsys.readouterr().err


def mission(home: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from mc_pipelines.cli import main; main()", *arguments]
    return subprocess.run(
        command,
        env={**os.environ, "MISSION_HOME": str(home), **env},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_killed_run_keeps_no_table_from_the_next_one_and_is_shown_as_failed(tmp_path: Path) -> None:
    home = lay(tmp_path)
    killed = mission(tmp_path, "run", LANDED[0], MISSION_CRASH_AT="staging.rows_committed")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with opened(home) as instance:
        (dead,) = instance.get_runs()
        assert dead.status is dg.DagsterRunStatus.STARTED
        assert instance.event_log_storage.get_concurrency_run_ids() == {dead.run_id}
    again = mission(tmp_path, "run", LANDED[0])
    assert again.returncode == 0, again.stderr
    with opened(home) as instance:
        assert [run.status.value for run in instance.get_runs()] == ["SUCCESS", "FAILURE"]
        assert instance.event_log_storage.get_concurrency_run_ids() == set()


def test_a_run_waits_for_one_that_lives_and_says_so(tmp_path: Path) -> None:
    home = lay(tmp_path)
    with opened(home) as instance:
        log, pool = instance.event_log_storage, "table_staging_usage_events"
        log.initialize_concurrency_limit_to_default(pool)
        assert log.claim_concurrency_slot(pool, "mine", "step").is_claimed
        command = [sys.executable, "-c", "from mc_pipelines.cli import main; main()", "run", LANDED[0]]
        env = {**os.environ, "MISSION_HOME": str(tmp_path)}
        with subprocess.Popen(command, env=env, cwd=CHECKOUT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as other:
            assert other.stderr is not None
            said = next(line for line in other.stderr if "waits" in line)
            assert said.strip() == "staging.usage_events waits: another run builds it"
            log.free_concurrency_slots_for_run("mine")
            rest = other.stderr.read()
            assert other.wait(timeout=60) == 0, rest
