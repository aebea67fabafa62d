"""What runs by itself, through Dagster's own test contexts and a real instance: the landing sensor, notifications, days that failed."""

import json
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from click.testing import CliRunner
from dagster._core.definitions.reconstruct import build_reconstructable_job
from dagster._core.execution.api import ReexecutionOptions
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.test_utils import create_test_daemon_workspace_context, freeze_time
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._daemon.daemon import get_default_daemon_logger
from deltalake import write_deltalake
from test_month import lay

from mc_pipelines import automation, opslog
from mc_pipelines.automation import landed, look, notify, sensors
from mc_pipelines.calendars import days
from mc_pipelines.cli import main
from mc_pipelines.definitions import build_defs, calendars
from mc_pipelines.engine import connect
from mc_pipelines.errors import MissionError
from mc_pipelines.home import CHECKOUT, Home
from mc_pipelines.lake import Lake
from mc_pipelines.orchestra import QUIET, instance, run_job
from mc_pipelines.starter import write_home

FILE = "usage_events/2026-04-01/a.ndjson"
AFTERWARDS = datetime(2026, 5, 1, 12, 15, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    write_home(tmp_path)
    return Home(tmp_path)


def put(home: Home, name: str, text: str) -> None:
    path = home.landing / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def rows(home: Home, table: str, columns: str) -> list[tuple[Any, ...]]:
    con = connect()
    assert Lake(str(home.lake)).view(con, table) is not None
    return con.sql(f"SELECT {columns} FROM {table} ORDER BY recorded").fetchall()


def sensor(home: Home, name: str) -> Any:
    return next(each for each in sensors(home, calendars(home)[0]) if each.name == name)


def tick(home: Home, cursor: str | None) -> tuple[list[str | None], str | None, int]:
    """One evaluation by Dagster: partitions asked for, the cursor left, and landed files reported."""
    with dg.build_sensor_context(cursor=cursor, repository_def=build_defs(home).get_repository_def()) as context:
        data = sensor(home, "landing").evaluate_tick(context)
    return [request.partition_key for request in data.run_requests or ()], data.cursor, len(data.asset_events)


def test_a_new_file_is_run_at_the_second_look_and_once(home: Home) -> None:
    put(home, FILE, "{}\n")
    with freeze_time(AFTERWARDS):
        asked, cursor, reported = tick(home, None)
        assert (asked, reported) == ([], 0)  # it may still grow
        asked, cursor, reported = tick(home, cursor)
        assert (asked, reported) == (["2026-04-01"], 1)
        assert tick(home, cursor)[::2] == ([], 0)


def test_a_growing_file_waits_until_it_stands_still(home: Home) -> None:
    cursor = None
    with freeze_time(AFTERWARDS):
        for size in range(1, 4):
            put(home, FILE, "{}\n" * size)
            asked, cursor, _ = tick(home, cursor)
            assert asked == []
        asked, cursor, _ = tick(home, cursor)
        assert asked == ["2026-04-01"]
        put(home, FILE, "{}\n" * 9)  # grown after all: the day is run again, and the contract's stage refuses a changed file
        asked, cursor, _ = tick(home, cursor)
        assert asked == []
        assert tick(home, cursor)[0] == ["2026-04-01"]


def test_a_day_that_is_not_over_waits_and_holds_up_no_other(home: Home) -> None:
    put(home, FILE, "{}\n")
    put(home, FILE.replace("2026-04-01", "2026-05-01"), "{}\n")
    with freeze_time(AFTERWARDS):
        _, cursor, _ = tick(home, None)
        asked, cursor, _ = tick(home, cursor)
        assert asked == ["2026-04-01"]
    with freeze_time(datetime(2026, 5, 2, 0, 5, tzinfo=UTC)):
        asked, cursor, _ = tick(home, cursor)
        assert asked == ["2026-05-01"]


def test_files_still_being_written_and_strangers_are_not_looked_at(home: Home) -> None:
    for name in (FILE, FILE + ".part", FILE + ".tmp", "usage_events/2026-04-01/.hidden", "usage_events/notes/a.ndjson", "README"):
        put(home, name, "x")
    assert landed(home) == {FILE: 1}


def test_two_files_of_a_day_are_one_run_and_the_run_key_follows_what_was_seen(home: Home) -> None:
    put(home, FILE, "{}\n")
    put(home, FILE.replace("usage_events", "gateway_log"), "{}\n")
    with freeze_time(AFTERWARDS):
        first = look(home, calendars(home)[0], None).cursor
        one, two = (look(home, calendars(home)[0], first) for _ in range(2))
    assert [request.run_key for request in one.run_requests or ()] == [request.run_key for request in two.run_requests or ()]
    assert len(one.run_requests or ()) == 1


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """A notification server on this machine; yields what it was sent."""
    received: list[dict[str, Any]] = []

    class Keeper(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name that http.server calls
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Keeper)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("MISSION_NOTIFY_URL", f"json://127.0.0.1:{server.server_port}/")
    yield received
    server.shutdown()
    server.server_close()
    thread.join()


def failing(home: Home) -> None:
    """A run that fails, seen by the sensor as the daemon would."""

    @dg.op
    def breaks() -> None:
        raise ValueError("the disk is full")

    @dg.job(executor_def=dg.in_process_executor)
    def broken() -> None:
        breaks()

    with dg.DagsterInstance.ephemeral() as opened:
        result = broken.execute_in_process(instance=opened, raise_on_error=False, run_config=QUIET)
        event = next(each for each in result.all_events if each.event_type == dg.DagsterEventType.RUN_FAILURE)
        with dg.build_run_status_sensor_context("failed_runs", event, opened, result.dagster_run) as context:
            sensor(home, "failed_runs")(context.for_run_failure())


def test_a_failed_run_is_remembered_and_sent_with_its_cause(home: Home, channel: list[dict[str, Any]]) -> None:
    failing(home)
    assert rows(home, opslog.NOTIFICATIONS, "kind, title, body") == [
        ("run_failed", "Run failed: broken", "breaks: ValueError: the disk is full")
    ]
    (message,) = channel
    assert (message["title"], message["message"]) == ("Run failed: broken", "breaks: ValueError: the disk is full")


@pytest.mark.parametrize("url", ["json://127.0.0.1:9/", "nonsense"])
def test_a_message_that_cannot_be_sent_is_kept(home: Home, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("MISSION_NOTIFY_URL", url)
    assert not notify(home, "run_failed", "r1", "Run failed", "why")
    failing(home)
    assert [title for (title,) in rows(home, opslog.NOTIFICATIONS, "title")] == ["Run failed", "Run failed: broken"]


def test_without_a_channel_the_row_alone_is_written(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MISSION_NOTIFY_URL", raising=False)
    assert notify(home, "run_failed", "r1", "Run failed", "why")
    assert rows(home, opslog.NOTIFICATIONS, "kind, run_id, title, body") == [("run_failed", "r1", "Run failed", "why")]


def test_failed_checks_of_a_green_run_are_sent_and_passed_ones_are_not(home: Home, channel: list[dict[str, Any]]) -> None:
    @dg.asset
    def mart() -> None: ...

    @dg.asset_check(asset=mart)
    def too_much() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN)

    @dg.asset_check(asset=mart)
    def fine() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    with dg.DagsterInstance.ephemeral() as opened:
        for checks in ([too_much, fine], [fine]):
            result = dg.materialize([mart, *checks], instance=opened, run_config=QUIET)
            assert result.success
            event = next(each for each in result.all_events if each.event_type == dg.DagsterEventType.RUN_SUCCESS)
            with dg.build_run_status_sensor_context("failed_checks", event, opened, result.dagster_run) as context:
                sensor(home, "failed_checks")(context)
    assert rows(home, opslog.NOTIFICATIONS, "kind, title, body") == [("checks_failed", "1 gate(s) failed in a green run", "too_much")]
    assert len(channel) == 1


def test_the_newest_status_of_a_day_counts(home: Home) -> None:
    assert opslog.failed_days(home) == []
    opslog.record_days(home, "a", ["2026-04-01", "2026-04-02"], "failed", "r1", "x" * 900)
    opslog.record_days(home, "b", ["2026-04-02"], "failed", "r1")
    opslog.record_done(home, "a", [], ["2026-04-01", "2026-04-02", "2026-04-03"], "r2")
    assert opslog.failed(home) == [("2026-04-02", "b")]
    opslog.record_done(home, "b", ["2026-04-02"], ["2026-04-02"], "r3")
    assert opslog.failed_days(home) == []
    assert {len(reason) for (reason,) in rows(home, opslog.DAYS, "reason")} == {0, opslog.REASON_LENGTH}
    assert automation.failed_days is opslog.failed_days


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, list[str]]:
    """Three days of a month, built in one run."""
    home = lay(tmp_path_factory.mktemp("three"))
    wanted = days("2026-04-01", "2026-04-03")
    assert run_job(home, "daily", wanted).ok
    return home, wanted


def test_only_the_red_days_are_repeated(three: tuple[Home, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    home, _ = three
    file = home.landing / "usage_events" / "2026-04-02" / "a.ndjson"
    landed_as = file.read_bytes()
    file.write_bytes(landed_as + b"{}\n")
    ran = run_job(home, "daily", ["2026-04-02"])
    assert not ran.ok
    assert any("a.ndjson" in problem for problem in ran.problems)
    assert opslog.failed(home) == [("2026-04-02", "staging.usage_events")]
    file.write_bytes(landed_as)
    monkeypatch.setenv("MISSION_HOME", str(home.root))
    result = CliRunner().invoke(main, ["run", "2026-04-01..2026-04-03", "--failed"])
    assert (result.exit_code, "built 1 day(s)" in result.output) == (0, True), result.output
    assert "2026-04-02..2026-04-02" in result.output
    assert opslog.failed_days(home) == []  # nothing was stale any more, and the day is green all the same
    result = CliRunner().invoke(main, ["run", "2026-04-01..2026-04-03", "--failed"])
    assert "no failed day in this range" in result.output


def test_a_run_says_as_json_what_it_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = lay(tmp_path)
    monkeypatch.setenv("MISSION_HOME", str(home.root))

    def said(*arguments: str) -> dict[str, Any]:
        result = CliRunner().invoke(main, ["run", *arguments, "--json"])
        found: dict[str, Any] = json.loads(result.stdout)
        assert result.exit_code == found["exit_code"]
        return found

    first = said("2026-04-01..2026-04-02")
    built = {each["table"]: (each["windows_rebuilt"], each["rows"]) for each in first["tables"]}
    assert (first["exit_code"], first["days"], first["red_days"], first["problems"]) == (0, ["2026-04-01", "2026-04-02"], [], [])
    assert (built["staging.usage_events"], built["metering.usage_daily"], built["reference.tenants"]) == ((2, 20), (2, 2), (1, 1))
    assert {each["windows_rebuilt"] for each in said("2026-04-01..2026-04-02")["tables"]} == {0}
    file = home.landing / "usage_events" / "2026-04-02" / "a.ndjson"
    landed_as = file.read_bytes()
    file.write_bytes(landed_as + b"{}\n")
    red = said("2026-04-01..2026-04-02")
    assert (red["exit_code"], red["red_days"], len(red["runs"])) == (2, ["2026-04-01", "2026-04-02"], 1)  # one commit, both or neither
    assert "a.ndjson" in red["problems"][0]
    file.write_bytes(landed_as)
    mended = said("2026-04-01..2026-04-02", "--failed")
    assert (mended["exit_code"], mended["days"], mended["red_days"]) == (0, ["2026-04-01", "2026-04-02"], [])
    nothing = said("2026-04-01..2026-04-02", "--failed")
    assert (nothing["exit_code"], nothing["days"], nothing["runs"], nothing["tables"]) == (0, [], [], [])


def test_a_log_of_days_from_before_a_column_was_added_is_read(tmp_path: Path) -> None:
    home = Home(tmp_path)
    uri = Path(Lake(str(home.lake)).table_uri(opslog.DAYS))
    uri.mkdir(parents=True)
    old = {"day": "2026-04-01", "asset": "a", "status": "failed", "run_id": "r0", "reason": ""}
    write_deltalake(str(uri), pa.Table.from_pylist([old]))
    opslog.record_days(home, "a", ["2026-04-02"], "failed", "r1")
    assert opslog.failed_days(home) == ["2026-04-01", "2026-04-02"]
    opslog.record_days(home, "a", ["2026-04-01"], "done", "r2")
    assert opslog.failed_days(home) == ["2026-04-02"]


def materialisations(home: Home, table: str) -> dict[str | None, dict[str, Any]]:
    with instance(home) as opened:
        events = opened.fetch_materializations(dg.AssetKey(table.split(".")), limit=100).records
        return {
            event.partition_key: dict(event.asset_materialization.metadata) for event in reversed(events) if event.asset_materialization
        }


def test_a_range_run_shows_the_fate_of_each_day(three: tuple[Home, list[str]]) -> None:
    home, wanted = three
    shown = materialisations(home, "metering.usage_daily")
    assert set(shown) >= set(wanted)
    records = [record.data for record in shown["2026-04-01"]["days"].records]
    assert [(record["day"], record["status"]) for record in records] == [(day, "rebuilt") for day in wanted]
    assert all(int(record["rows"]) > 0 for record in records)


def test_every_described_column_is_in_the_table(three: tuple[Home, list[str]]) -> None:
    home, _ = three
    for table in ("metering.usage_daily", "metering.amendments"):
        schema = materialisations(home, table)["2026-04-01"]["dagster/column_schema"].value
        assert [column.type for column in schema.columns if column.name == "tenant_id"] == ["string"]
        described = [column.name for column in schema.columns if column.description]
        assert len(described) == (len(schema.columns) if table.endswith("daily") else 0)


def test_days_that_fail_are_shown_on_the_failed_step_and_those_of_finished_chunks_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = lay(tmp_path)
    wanted = days("2026-04-01", "2026-04-04")
    monkeypatch.setattr("mc_pipelines.runner.CHUNK_WINDOWS", 2)
    monkeypatch.setattr("mc_pipelines.intake.staged", _fails_on("2026-04-03"))
    ran = run_job(home, "daily", wanted)
    assert not ran.ok
    assert {table for _, table in opslog.failed(home)} == {"staging.gateway_log", "staging.usage_events"}
    assert opslog.failed_days(home) == ["2026-04-03", "2026-04-04"]
    assert set(materialisations(home, "staging.usage_events")) == {"2026-04-01", "2026-04-02"}
    with instance(home) as opened:
        failures = opened.get_records_for_run(ran.run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
        event = failures[0].event_log_entry.dagster_event
        assert event is not None
        failure = event.step_failure_data.user_failure_data
    assert failure is not None
    table = failure.metadata["days"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [(record.data["day"], record.data["status"]) for record in table.records] == [
        ("2026-04-01", "done"),
        ("2026-04-02", "done"),
        ("2026-04-03", "failed"),
        ("2026-04-04", "failed"),
    ]


def _fails_on(day: str) -> Any:
    from mc_pipelines import intake

    real = intake.staged

    def staged(work: Any) -> Any:
        if day in work.windows:
            raise MissionError(f"{day}: the disk is full")
        return real(work)

    return staged


def test_a_failed_reference_table_fails_every_day_of_the_run(tmp_path: Path) -> None:
    home = lay(tmp_path)
    tenants = home.reference / "tenants.yaml"
    good = tenants.read_text(encoding="utf-8")
    tenants.write_text(good.replace("tenant_id:", "tenant:"), encoding="utf-8")
    assert not run_job(home, "daily", ["2026-04-01", "2026-04-02"]).ok
    assert opslog.failed_days(home) == ["2026-04-01", "2026-04-02"]
    tenants.write_text(good, encoding="utf-8")
    assert run_job(home, "daily", ["2026-04-01", "2026-04-02"]).ok
    assert opslog.failed_days(home) == []


def table_rows(home: Home) -> dict[str, list[tuple[Any, ...]]]:
    con, lake = connect(), Lake(str(home.lake))
    found = {}
    for table in ("staging.usage_events", "staging.gateway_log", "metering.touched", "metering.usage_daily"):
        assert lake.view(con, table) is not None
        found[table] = con.sql(f"SELECT * FROM {table} ORDER BY ALL").fetchall()
    return found


def test_a_range_in_one_run_gives_the_rows_of_a_run_a_day(tmp_path: Path, three: tuple[Home, list[str]]) -> None:
    at_once, wanted = three
    stepwise = lay(tmp_path)
    for day in wanted:
        assert run_job(stepwise, "daily", [day]).ok
    assert table_rows(stepwise) == table_rows(at_once)


def test_a_failed_run_is_re_executed_from_where_it_failed(tmp_path: Path) -> None:
    home = lay(tmp_path)
    tenants = home.reference / "tenants.yaml"
    good = tenants.read_text(encoding="utf-8")
    tenants.write_text(good.replace("tenant_id:", "tenant:"), encoding="utf-8")
    ran = run_job(home, "daily", ["2026-04-01"])
    assert not ran.ok
    tenants.write_text(good, encoding="utf-8")
    remade = build_reconstructable_job("test_automation", "daily_of", (str(tmp_path),), {})
    with instance(home) as opened:
        options = ReexecutionOptions.from_failure(ran.run_id, opened)
        tags = {"dagster/partition": "2026-04-01"}  # the UI copies the parent's tags; this call does not
        with dg.execute_job(remade, opened, run_config=QUIET, tags=tags, reexecution_options=options) as result:
            assert result.success, [event.event_specific_data for event in result.all_events if event.is_step_failure]
            again = opened.get_run_by_id(result.run_id)
    assert again is not None
    assert (again.parent_run_id, again.tags["dagster/partition"]) == (ran.run_id, "2026-04-01")
    assert opslog.failed_days(home) == []
    assert ("2026-04-01",) in set(rows(home, opslog.DAYS, "day"))


def daily_of(root: str) -> dg.JobDefinition:
    """The daily job of a home, for Dagster to make again."""
    return build_defs(Home(Path(root))).resolve_job_def("daily")


def test_a_backfill_of_assets_becomes_one_run_for_all_its_days(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISSION_HOME", str(home.root))
    target = ModuleTarget("mc_pipelines.location", attribute=None, working_directory=str(CHECKOUT), location_name="mc_pipelines")
    daily = [
        spec.key for spec in build_defs(home).resolve_all_asset_specs() if isinstance(spec.partitions_def, dg.DailyPartitionsDefinition)
    ]
    with instance(home) as opened, create_test_daemon_workspace_context(target, opened) as workspace:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Dagster's own call of its own deprecated function
            backfill = PartitionBackfill.from_asset_partitions(
                backfill_id="april",
                asset_graph=workspace.create_request_context().asset_graph,
                partition_names=days("2026-04-01", "2026-04-30"),
                asset_selection=daily,
                backfill_timestamp=AFTERWARDS.timestamp(),
                tags={"requested_by": "test"},
                dynamic_partitions_store=opened,
                all_partitions=False,
                title=None,
                description=None,
                run_config=None,
            )
        opened.add_backfill(backfill)
        list(execute_backfill_iteration(workspace, get_default_daemon_logger("Backfill")))
        (run,) = opened.get_runs()
    assert run.tags["dagster/asset_partition_range_start"] == "2026-04-01"
    assert run.tags["dagster/asset_partition_range_end"] == "2026-04-30"
    assert run.tags["requested_by"] == "test"
