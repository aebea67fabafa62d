"""The code location as the server loads it: every asset, check, job, schedule and sensor, and the graph as a snapshot."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copytree

import dagster as dg
import pytest
from dagster._core.definitions.freshness import TimeWindowFreshnessPolicy  # what FreshnessPolicy.time_window makes; not exported

from mc_pipelines.automation import new_days, schedules
from mc_pipelines.definitions import build_defs
from mc_pipelines.home import CHECKOUT, Home
from mc_pipelines.starter import write_home

SNAPSHOT = Path(__file__).parent / "graph.json"


@pytest.fixture(scope="module")
def defs(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_defs(full(tmp_path_factory.mktemp("home")))


def full(root: Path) -> Home:
    """A home that uses every deliverable: the demo's declarations."""
    copytree(CHECKOUT / "data" / "reference", root / "reference")
    return Home(root)


def graph(defs: dg.Definitions) -> dict[str, dict[str, object]]:
    return {
        "/".join(spec.key.path): {
            "deps": sorted("/".join(dep.asset_key.path) for dep in spec.deps),
            "group": spec.group_name,
            "owners": list(spec.owners),
            "kinds": sorted(spec.kinds),
            "partitions": type(spec.partitions_def).__name__ if spec.partitions_def else None,
        }
        for spec in sorted(defs.resolve_all_asset_specs(), key=lambda spec: spec.key.to_user_string())
    }


def test_the_location_loads_as_the_server_loads_it(defs: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(defs)
    ends = {"month_end", "predictive_sprint", "marketplace_sprint"}
    assert {job.name for job in defs.resolve_all_job_defs()} >= {"daily", *ends}
    assert {schedule.name for schedule in defs.schedules or ()} == {"daily", *ends}
    assert {sensor.name for sensor in defs.sensors or ()} == {"landing", "failed_runs", "failed_checks", "tonight_after_daily"}


def test_a_home_has_nothing_of_deliverables_whose_sources_it_does_not_declare(tmp_path: Path) -> None:
    write_home(tmp_path)
    bare = build_defs(Home(tmp_path))
    assert {spec.group_name for spec in bare.resolve_all_asset_specs()} == {"metering", "reference", "staging"}
    assert {schedule.name for schedule in bare.schedules or ()} == {"daily", "month_end"}


def test_the_graph_is_the_reviewed_one(defs: dg.Definitions) -> None:
    # A change of the graph shows in review as a change of graph.json; rewrite it with `python tests/test_definitions.py`.
    assert graph(defs) == json.loads(SNAPSHOT.read_text(encoding="utf-8"))


def test_every_asset_has_a_description_and_an_owner_or_is_a_landed_file(defs: dg.Definitions) -> None:
    for spec in defs.resolve_all_asset_specs():
        assert spec.description
        assert spec.owners or spec.key.path[0] == "files"


def test_every_gate_is_a_check_on_an_asset_of_its_windows(defs: dg.Definitions) -> None:
    keys = {key.name: key.asset_key for key in defs.resolve_asset_graph().asset_check_keys}
    partitions = {spec.key: spec.partitions_def for spec in defs.resolve_all_asset_specs()}
    assert {"metering_variance", "metering_conflicts", "metering_rows_conserved", "metering_landing_complete"} <= set(keys)
    for name, asset in keys.items():
        sprint = asset.path[0] != "metering"
        assert isinstance(partitions[asset], dg.StaticPartitionsDefinition if sprint else dg.MonthlyPartitionsDefinition), name
    assert {name.partition("_")[0] for name in keys} == {"invoice", "marketplace", "metering", "predictive"}


def test_columns_are_shown_with_description_and_lineage_before_anything_is_built(defs: dg.Definitions) -> None:
    metadata = {"/".join(spec.key.path): spec.metadata for spec in defs.resolve_all_asset_specs()}
    schema = metadata["metering/variance_meters"]["dagster/column_schema"]
    assert {column.name: column.description for column in schema.columns}["net"] == "Sum of the signed differences."
    assert {column.name for column in schema.columns if "grain" in column.constraints.other} == {"meter", "period"}
    lineage = metadata["metering/variance"]["dagster/column_lineage"].deps_by_column
    assert lineage["metered"] == [dg.TableColumnDep(dg.AssetKey(["metering", "usage_period"]), "quantity")]
    assert dg.TableColumnDep(dg.AssetKey(["metering", "gateway_period"]), "quantity") in lineage["variance_ratio"]
    assert "| metered | metering.usage_period.quantity |" in metadata["metering/variance"]["columns_from"].value


def test_lineage_names_columns_that_the_upstream_table_gives(defs: dg.Definitions) -> None:
    shown = {spec.key: spec.metadata for spec in defs.resolve_all_asset_specs()}
    given = {key: {each.name for each in said["dagster/column_schema"].columns} for key, said in shown.items() if "sql" in said}
    traced = 0
    for said in shown.values():
        lineage = said["dagster/column_lineage"].deps_by_column if "dagster/column_lineage" in said else {}
        for source in (dep for sources in lineage.values() for dep in sources):
            assert source.column_name in given.get(source.asset_key, {source.column_name}), source
            traced += 1
    assert traced > 150


def test_a_daily_table_is_late_after_36_hours_and_no_other(defs: dg.Definitions) -> None:
    for spec in defs.resolve_all_asset_specs():
        if isinstance(spec.partitions_def, dg.DailyPartitionsDefinition):
            assert isinstance(spec.freshness_policy, TimeWindowFreshnessPolicy)
            assert spec.freshness_policy.fail_window.to_timedelta() == timedelta(hours=36)
        else:
            assert spec.freshness_policy is None


@pytest.mark.parametrize(
    ("name", "at", "partition"),
    [
        ("daily", datetime(2026, 4, 2, 12, 15, tzinfo=UTC), "2026-04-01"),
        ("daily", datetime(2026, 5, 1, 12, 15, tzinfo=UTC), "2026-04-30"),
        ("month_end", datetime(2026, 5, 3, 14, 0, tzinfo=UTC), "2026-04-01"),
        ("month_end", datetime(2027, 1, 3, 14, 0, tzinfo=UTC), "2026-12-01"),
        # Sprint 35 ends with 8 May in Denver, which is 6:00 UTC on the 9th; three days later is the 12th, the last landing day that counts.
        ("predictive_sprint", datetime(2026, 5, 13, 14, 30, tzinfo=UTC), "2026-04-27"),
    ],
)
def test_a_schedule_asks_for_the_partition_that_is_over(tmp_path: Path, name: str, at: datetime, partition: str) -> None:
    schedule = next(each for each in schedules(full(tmp_path), ["predictive_sprint"]) if each.name == name)
    with dg.build_schedule_context(scheduled_execution_time=at) as context:
        request = schedule(context)
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == partition


def test_no_sprint_is_asked_for_before_its_last_landing_day_is_over(tmp_path: Path) -> None:
    schedule = next(each for each in schedules(full(tmp_path), ["predictive_sprint"]) if each.name == "predictive_sprint")
    for day in (12, 14):
        with dg.build_schedule_context(scheduled_execution_time=datetime(2026, 5, day, 14, 30, tzinfo=UTC)) as context:
            assert isinstance(schedule(context), dg.SkipReason)


def test_a_file_is_taken_when_it_has_stopped_growing() -> None:
    now = {"usage_events/2026-04-01/a.ndjson": 10, "usage_events/2026-04-02/b.ndjson": 5}
    assert new_days({}, now, {}) == []  # first look: may still grow
    assert new_days({}, now, {"usage_events/2026-04-01/a.ndjson": 10, "usage_events/2026-04-02/b.ndjson": 4}) == ["2026-04-01"]
    assert new_days(now, now, now) == []  # known already


if __name__ == "__main__":
    import tempfile

    scratch = Path(tempfile.mkdtemp())
    SNAPSHOT.write_text(json.dumps(graph(build_defs(full(scratch))), indent=1) + "\n", encoding="utf-8")
