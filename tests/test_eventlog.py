"""Dagster's event log as this project keeps it: a batch of events leaves what the same events one by one leave."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mc_pipelines.eventlog import KeptEngines

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
