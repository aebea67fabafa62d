"""A table whose columns change from one version of its model to the next, in a lake that the earlier version made."""

import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from conftest import Bench, event
from deltalake import DeltaTable
from test_kills import lay
from test_month import land, plain
from test_month import seen as landed_seen

from mc_pipelines.catalog import read_catalog
from mc_pipelines.cli import main
from mc_pipelines.contracts import TYPES
from mc_pipelines.engine import connect
from mc_pipelines.errors import MissionError, RetypedError
from mc_pipelines.evidence.journal import Journal
from mc_pipelines.evidence.record import Recorded
from mc_pipelines.evidence.reproduce import reproduce
from mc_pipelines.evidence.signing import known_keys
from mc_pipelines.evidence.verify import verify
from mc_pipelines.home import CHECKOUT, Home
from mc_pipelines.lake import Draft, Lake
from mc_pipelines.odcs import load_contract
from mc_pipelines.runner import Outcome, Workshop, materialise
from mc_pipelines.starter import write_home

TABLE = "probe.counted"
DAYS = [f"2026-04-0{number}" for number in range(1, 5)]
FIRST = "CAST(count(*) AS DECIMAL(18, 0)) AS quantity"
"""What the table counts in the version that makes the lake; each day has as many events as its number."""
ADDED = f"{FIRST}, CAST(max(id) AS VARCHAR) AS newest"
RENAMED = "CAST(count(*) AS DECIMAL(18, 0)) AS events"
RETYPED = "CAST(count(*) || ' events' AS VARCHAR) AS quantity"
BARE = "CAST(1 AS INTEGER) AS one"
DELIVERABLE = "title: Probe\nabout: A table whose columns change.\nowner: team:test\n"
MODEL = """-- about: Events of a landing day.
-- grain: landing_day
-- every: day
-- window: {window}
SELECT landing_day AS {window}, {columns}
FROM staging.usage_events
WHERE landing_day BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
GROUP BY landing_day
"""


def declare(root: Path, columns: str, window: str = "landing_day") -> Workshop:
    """The home with this version of the model, and the lake as it is."""
    folder = root / "assets" / "probe"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "_deliverable.yaml").write_text(DELIVERABLE, encoding="utf-8")
    (folder / "counted.sql").write_text(MODEL.format(columns=columns, window=window), encoding="utf-8")
    return Workshop.open(Home(root))


def build(shop: Workshop, days: Sequence[str] = DAYS) -> Outcome:
    return materialise(shop, shop.catalog.models[TABLE], days)


def content(lake: Lake, version: int | None = None) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Names of the columns, and the rows with the day of the month for the landing day."""
    con = connect()
    lake.view(con, TABLE, version)
    relation = con.sql(f"SELECT * REPLACE (CAST(day(landing_day) AS INTEGER) AS landing_day) FROM {TABLE} ORDER BY landing_day")
    return relation.columns, [tuple(int(each) if isinstance(each, Decimal) else each for each in row) for row in relation.fetchall()]


@pytest.fixture
def made(bench: Bench) -> tuple[Path, Lake, int]:
    """Home, lake and version of a table that the first version of the model made."""
    bench.land([event(f"e{number}", f"{day}T10:00:00") for day in DAYS for number in range(int(day[-1]))], days=DAYS)
    version = build(declare(bench.home.root, FIRST)).version
    assert version is not None
    return bench.home.root, bench.shop.lake, version


OLD = (["landing_day", "quantity"], [(1, 1), (2, 2), (3, 3), (4, 4)])


def test_an_added_column_is_null_in_the_windows_that_were_not_built_again(made: tuple[Path, Lake, int]) -> None:
    root, lake, version = made
    shop = declare(root, ADDED)
    assert build(shop, DAYS[1:2]).rebuilt == (DAYS[1],)
    columns = ["landing_day", "quantity", "newest"]
    assert content(lake) == (columns, [(1, 1, None), (2, 2, "e1"), (3, 3, None), (4, 4, None)])
    assert content(lake, version) == OLD
    assert build(shop, DAYS[1:2]).rebuilt == ()
    assert build(shop).rebuilt == (DAYS[0], *DAYS[2:])
    assert content(lake) == (columns, [(1, 1, "e0"), (2, 2, "e1"), (3, 3, "e2"), (4, 4, "e3")])
    assert build(shop).rebuilt == ()
    assert content(lake, version) == OLD


def test_an_added_column_has_its_type_where_no_file_that_is_read_has_it(made: tuple[Path, Lake, int]) -> None:
    root, lake, _ = made
    build(declare(root, f"{FIRST}, CAST(1.5 AS DECIMAL(9, 2)) AS share"), DAYS[1:2])
    con = connect()
    lake.view(con, TABLE, where=f"landing_day = '{DAYS[0]}'")
    assert con.sql(f"SELECT share, typeof(share), typeof(landing_day), quantity FROM {TABLE}").fetchall() == [
        (None, "DECIMAL(9,2)", "DATE", 1)
    ]


def test_two_columns_added_one_after_the_other(made: tuple[Path, Lake, int]) -> None:
    root, lake, _ = made
    build(declare(root, ADDED), DAYS[1:2])
    build(declare(root, f"{ADDED}, 'x' AS sign"), DAYS[2:3])
    expected = [(1, 1, None, None), (2, 2, "e1", None), (3, 3, "e2", "x"), (4, 4, None, None)]
    assert content(lake) == (["landing_day", "quantity", "newest", "sign"], expected)


def test_a_removed_column_goes_when_no_window_has_it_any_more(made: tuple[Path, Lake, int]) -> None:
    root, lake, version = made
    build(declare(root, f"{FIRST}, {BARE}"))
    both = lake.version(TABLE)
    shop = declare(root, BARE)
    build(shop, DAYS[:1])
    assert content(lake) == (["landing_day", "quantity", "one"], [(1, None, 1), (2, 2, 1), (3, 3, 1), (4, 4, 1)])
    assert content(lake, both) == (["landing_day", "quantity", "one"], [(1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 4, 1)])
    assert build(shop).rebuilt == tuple(DAYS[1:])
    build(declare(root, f"{BARE}, 2 AS two"))  # every window in one commit: nothing needs the old columns
    assert content(lake) == (["landing_day", "one", "two"], [(1, 1, 2), (2, 1, 2), (3, 1, 2), (4, 1, 2)])
    assert content(lake, version) == OLD


@pytest.mark.parametrize(
    ("columns", "name", "expected"), [(RENAMED, "events", [1, 2, 3, 4]), (RETYPED, "quantity", [f"{n} events" for n in (1, 2, 3, 4)])]
)
def test_a_renamed_or_retyped_column_changes_in_all_windows_at_once(
    made: tuple[Path, Lake, int], columns: str, name: str, expected: list[object]
) -> None:
    root, lake, version = made
    shop = declare(root, columns)
    done = build(shop, DAYS[1:2])
    assert (done.rebuilt, done.version, done.rows) == (tuple(DAYS), version + 1, 4)
    assert content(lake) == (["landing_day", name], list(zip((1, 2, 3, 4), expected, strict=True)))
    assert content(lake, version) == OLD
    assert build(shop).rebuilt == ()


def test_columns_in_another_order_change_nothing(made: tuple[Path, Lake, int]) -> None:
    root, lake, _ = made
    build(declare(root, ADDED))
    shop = declare(root, "CAST(max(id) AS VARCHAR) AS newest, CAST(count(*) AS DECIMAL(18, 0)) AS quantity")
    build(shop, DAYS[:1])
    assert content(lake)[1][:2] == [(1, 1, "e0"), (2, 2, "e1")]


def test_another_window_column_is_refused_with_what_to_do(made: tuple[Path, Lake, int]) -> None:
    root, lake, version = made
    with pytest.raises(
        MissionError, match=r"probe\.counted: its windows are by `landing_day` \(DATE\) in the lake and by `day` \(DATE\) now.*another name"
    ):
        build(declare(root, FIRST, window="day"))
    assert (lake.version(TABLE), content(lake)) == (version, OLD)
    con = connect()
    for column, rows, told in (
        (None, "SELECT 1 AS quantity", "by no column now"),
        ("landing_day", f"SELECT '{DAYS[0]}' AS landing_day, CAST(1 AS DECIMAL(18, 0)) AS quantity", r"by `landing_day` \(VARCHAR\) now"),
    ):
        with pytest.raises(MissionError, match=told):
            lake.replace(TABLE, column, lambda rows=rows: Draft(con.sql(rows), {DAYS[0]: "x"}, {}))  # type: ignore[misc]
    assert content(lake) == OLD


def test_a_column_that_another_program_made_not_null_is_refused(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    schema = pa.schema([pa.field("landing_day", pa.date32()), pa.field("quantity", pa.decimal128(18, 0), nullable=False)])
    DeltaTable.create(lake.table_uri(TABLE), schema, partition_by=["landing_day"])
    rows = connect().sql(f"SELECT DATE '{DAYS[0]}' AS landing_day, CAST(1 AS BIGINT) AS quantity")
    with pytest.raises(MissionError, match=r"quantity is NOT NULL in the lake.*Drop the constraint"):
        lake.replace(TABLE, "landing_day", lambda: Draft(rows, {DAYS[0]: "x"}, {}))


def test_the_lake_alone_refuses_some_windows_of_another_type_and_names_both(made: tuple[Path, Lake, int]) -> None:
    _, lake, version = made
    rows = connect().sql(f"SELECT DATE '{DAYS[0]}' AS landing_day, 'one' AS quantity")
    with pytest.raises(
        RetypedError, match=r"probe\.counted: column quantity is DECIMAL\(18, 0\) in the lake and VARCHAR now.*one beside it"
    ):
        lake.replace(TABLE, "landing_day", lambda: Draft(rows, {DAYS[0]: "x"}, {}))
    assert lake.version(TABLE) == version


def test_a_model_that_reads_a_column_not_there_yet_says_what_to_build(made: tuple[Path, Lake, int]) -> None:
    root, lake, _ = made
    reader = root / "assets" / "probe" / "sums.sql"
    header = "-- about: Sums.\n-- grain: landing_day\n-- every: day\n-- window: landing_day\n"
    reader.write_text(f"{header}SELECT landing_day, newest FROM probe.counted", encoding="utf-8")
    shop = declare(root, ADDED)
    sums = shop.catalog.models["probe.sums"]
    with pytest.raises(MissionError, match=r"(?s)sums\.sql: .*newest.*build that table first: mission run DAY"):
        materialise(shop, sums, DAYS)
    build(shop, DAYS[:2])
    assert materialise(shop, sums, DAYS).rebuilt == tuple(DAYS)
    con = connect()
    lake.view(con, "probe.sums")
    assert con.sql("SELECT newest FROM probe.sums ORDER BY landing_day").fetchall() == [("e0",), ("e1",), (None,), (None,)]


RUN = (
    "import sys; from pathlib import Path; from mc_pipelines.home import Home; from mc_pipelines.runner import Workshop, materialise; "
    "shop = Workshop.open(Home(Path(sys.argv[1]))); materialise(shop, shop.catalog.models[sys.argv[2]], sys.argv[3:])"
)


def killed(root: Path, table: str, point: str, days: Sequence[str]) -> None:
    """A process that builds some days of a table and is killed at a named point."""
    environment = os.environ | {"MISSION_CRASH_AT": point, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, "-c", RUN, str(root), table, *days], env=environment, capture_output=True, check=False)
    assert done.returncode == -9, done.stderr


@pytest.mark.parametrize("point", ["lake.rows_handed_over", "lake.committed"])
@pytest.mark.parametrize("columns", [ADDED, RENAMED, RETYPED])
def test_killed_in_the_first_run_after_the_change(made: tuple[Path, Lake, int], columns: str, point: str) -> None:
    root, lake, version = made
    shop = declare(root, columns)
    killed(root, TABLE, point, DAYS[:2])
    if point == "lake.rows_handed_over":
        assert (lake.version(TABLE), content(lake)) == (version, OLD)
    else:
        assert lake.version(TABLE) == version + 1
        assert len(content(lake)[1]) == 4
    build(shop)
    undisturbed = Lake(str(root / "again"))
    build(Workshop(shop.home, shop.catalog, undisturbed_with_inputs(lake, undisturbed)))
    assert content(lake) == content(undisturbed)
    assert content(lake, version) == OLD
    assert build(shop).rebuilt == ()


def undisturbed_with_inputs(lake: Lake, empty: Lake) -> Lake:
    """A lake of the staged tables alone."""
    shutil.copytree(f"{lake.uri}/staging", f"{empty.uri}/staging")
    return empty


def fill(lake: str, root: str, days: list[str], begin: Barrier, said: "Queue[str]") -> None:
    """One process's build of some days by the declarations of one home. Says how it ended."""
    home = Home(Path(root))
    shop = Workshop(home, read_catalog(home), Lake(lake))
    begin.wait()
    try:
        materialise(shop, shop.catalog.models[TABLE], days)
    except BaseException as error:
        said.put(f"{type(error).__name__}: {error}")
        raise
    said.put("")


def together(lake: Lake, writers: Sequence[tuple[Path, list[str]]]) -> None:
    """Every (home, days) by a process of its own, at the same moment."""
    workers = multiprocessing.get_context("forkserver")
    workers.set_forkserver_preload(["mc_pipelines.runner", "deltalake", "duckdb"])
    begin, said = workers.Barrier(len(writers)), workers.Queue()
    running = [workers.Process(target=fill, args=(lake.uri, str(root), days, begin, said)) for root, days in writers]
    for process in running:
        process.start()
    assert [said.get() for _ in running] == [""] * len(running)
    for process in running:
        process.join()


@pytest.mark.parametrize("columns", [ADDED, RENAMED, RETYPED])
def test_writers_of_the_old_and_the_new_version_at_once(made: tuple[Path, Lake, int], tmp_path: Path, columns: str) -> None:
    """Three of each, each a day that the others write too; afterwards the new version builds what is stale, and that is all."""
    root, lake, version = made
    old = tmp_path / "old"
    write_home(old)
    declare(old, f"{FIRST} /* the same columns, another recipe */")
    shop = declare(root, columns)
    together(lake, [(home, [day]) for day in DAYS[:3] for home in (old, root)])
    names, rows = content(lake)
    assert [row[0] for row in rows] == [1, 2, 3, 4]
    if "quantity" in names and columns != ADDED:
        assert {type(row[names.index("quantity")]) for row in rows} in ({int}, {str})
    build(shop)
    expected = {
        ADDED: (["landing_day", "quantity", "newest"], [(n, n, f"e{n - 1}") for n in (1, 2, 3, 4)]),
        RENAMED: (["landing_day", "events"], [(n, n) for n in (1, 2, 3, 4)]),
        RETYPED: (["landing_day", "quantity"], [(n, f"{n} events") for n in (1, 2, 3, 4)]),
    }
    assert content(lake) == expected[columns]
    assert content(lake, version) == OLD
    assert build(shop).rebuilt == ()


def test_four_writers_of_a_retyped_column_each_with_a_new_day(made: tuple[Path, Lake, int], bench: Bench) -> None:
    root, lake, version = made
    new = [f"2026-04-{number}" for number in range(11, 15)]
    bench.land([event(f"n{day}", f"{day}T10:00:00") for day in new])
    shop = declare(root, RETYPED)
    together(lake, [(root, [day]) for day in new])
    assert content(lake)[1] == [(n, f"{n} events") for n in (1, 2, 3, 4)] + [(n, "1 events") for n in range(11, 15)]
    assert build(shop, [*DAYS, *new]).rebuilt == ()
    assert content(lake, version) == OLD


CONTRACT = "checks/contracts/gateway_log.odcs.yaml"
LOG = "staging.gateway_log"
NEW_FIELD = "      - {name: region, logicalType: KIND, physicalType: 'PHYSICAL', description: Where it was served.}\n"


def demand(root: Path, kind: str) -> Workshop:
    """The home's own contract of the gateway log, with one more field."""
    target = root / CONTRACT
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(
        (CHECKOUT / CONTRACT).read_text(encoding="utf-8") + NEW_FIELD.replace("KIND", kind).replace("PHYSICAL", TYPES[kind]),
        encoding="utf-8",
    )
    load_contract.cache_clear()
    return Workshop.open(Home(root))


@pytest.fixture
def staged(tmp_path: Path) -> tuple[Path, Lake, int]:
    """Two landing days staged by the checkout's contract; the second one's rows name a region already."""
    write_home(tmp_path)
    home = Home(tmp_path)
    for at, day in enumerate((date(2026, 4, 1), date(2026, 4, 2))):
        land(home, "gateway_log", day, "g.ndjson", [landed_seen(at, day) | ({"region": "7"} if at else {}), {"meter": "bad"}])
    shop = Workshop.open(home)
    for key in ("reference.tenants", "reference.calendar"):
        materialise(shop, shop.catalog.models[key])
    assert materialise(shop, shop.catalog.models[LOG], DAYS[:2]).rebuilt == tuple(DAYS[:2])
    version = shop.lake.version(LOG)
    assert version is not None
    return tmp_path, shop.lake, version


def regions(lake: Lake, version: int | None = None) -> list[tuple[Any, ...]]:
    con = connect()
    lake.view(con, LOG, version)
    return con.sql(f"SELECT id, region FROM {LOG} ORDER BY id").fetchall()


def test_a_field_added_to_a_contract_leaves_old_landing_days_alone(staged: tuple[Path, Lake, int]) -> None:
    root, lake, version = staged
    shop = demand(root, "string")
    shutil.rmtree(root / "landing" / "gateway_log" / DAYS[0])  # archived: nobody can stage that day again
    materialise(shop, shop.catalog.models[LOG], DAYS[1:2])
    assert regions(lake) == [("e0", None), ("e1", "7")]
    con = connect()
    lake.view(con, LOG, version)
    assert "region" not in con.sql(f"FROM {LOG}").columns


@pytest.mark.parametrize("point", ["staging.quarantine_committed", "staging.rows_committed", "lake.rows_handed_over", "lake.committed"])
def test_a_field_of_another_type_is_staged_again_for_every_day(staged: tuple[Path, Lake, int], point: str) -> None:
    root, lake, _ = staged
    shop = demand(root, "string")
    materialise(shop, shop.catalog.models[LOG], DAYS[:2])
    before = lake.version(LOG)
    shop = demand(root, "number")
    killed(root, LOG, point, DAYS[1:2])
    assert {str(type(region).__name__) for _, region in regions(lake)} in ({"NoneType", "str"}, {"NoneType", "Decimal"})
    materialise(shop, shop.catalog.models[LOG], DAYS[1:2])
    assert regions(lake) == [("e0", None), ("e1", 7)]
    assert regions(lake, before) == [("e0", None), ("e1", "7")]
    assert materialise(shop, shop.catalog.models[LOG], DAYS[:2]).rebuilt == ()
    con = connect()
    lake.view(con, "quarantine.gateway_log")
    assert con.sql("SELECT count(*) FROM quarantine.gateway_log").fetchall() == [(2,)]


def test_a_field_of_another_type_whose_files_are_gone_is_refused_whole(staged: tuple[Path, Lake, int]) -> None:
    root, lake, _ = staged
    shop = demand(root, "string")
    materialise(shop, shop.catalog.models[LOG], DAYS[:2])
    before = lake.version(LOG)
    shop = demand(root, "number")
    shutil.rmtree(root / "landing" / "gateway_log" / DAYS[0])
    expected = rf"(?s)staging\.gateway_log: column region is VARCHAR in the lake and DECIMAL\(38, 9\) now.*a new one beside it.*{DAYS[0]}"
    with pytest.raises(MissionError, match=expected):
        materialise(shop, shop.catalog.models[LOG], DAYS[1:2])
    assert (lake.version(LOG), regions(lake)) == (before, [("e0", None), ("e1", "7")])


def test_a_signed_month_stays_readable_after_its_tables_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daily table gets a column and another renames one; a mart of the month has one of another type."""
    monkeypatch.delenv("MISSION_SIGNING_KEY", raising=False)
    home = lay(tmp_path)
    signed = plain(home)
    keys = known_keys(home.keys)
    recorded = Recorded.read(verify(signed.bundle, keys, journal=Journal(home.journal, trusted=keys)).predicate)
    change(home, "usage_daily", "states.level_microseconds\nFROM", "states.level_microseconds, 1 AS edition\nFROM")
    change(home, "touched", "count(*) AS events", "count(*) AS happened")
    change(home, "gateway_period", "count(*) AS log_rows", "CAST(count(*) AS VARCHAR) AS log_rows")
    again = plain(home)
    assert (again.verdict, again.fresh) == (signed.verdict, True)
    assert columns_of(home, "metering.usage_daily")[-1] == "edition"
    assert "happened" in columns_of(home, "metering.touched")
    assert plain(home).fresh is False
    assert verify(signed.bundle, keys).ok
    assert reproduce(home, signed.bundle, recorded).ok
    traced = call(home, "trace", "metering_variance", "--bundle", str(signed.bundle))
    assert traced.exit_code == 0, traced.output
    pins = [f"--at={table}={recorded.pins[table]}" for table in ("metering.usage_daily", "metering.gateway_period")]
    asked = call(home, "sql", "SELECT typeof(any_value(log_rows)) AS kind FROM metering.gateway_period", *pins)
    assert "BIGINT" in asked.output
    refused = call(home, "sql", "SELECT edition FROM metering.usage_daily", *pins)
    assert (refused.exit_code, "edition" in refused.output) == (2, True)


def call(home: Home, *arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), env={"MISSION_HOME": str(home.root)})


def columns_of(home: Home, table: str) -> list[str]:
    con = connect()
    Lake(str(home.lake)).view(con, table)
    return list(con.sql(f"FROM {table} LIMIT 0").columns)


def change(home: Home, table: str, old: str, new: str) -> None:
    """The home's own declaration of a table, with something else in its SQL."""
    text = (CHECKOUT / "assets" / "metering" / f"{table}.sql").read_text(encoding="utf-8")
    assert old in text
    target = home.root / "assets" / "metering" / f"{table}.sql"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text.replace(old, new), encoding="utf-8")
