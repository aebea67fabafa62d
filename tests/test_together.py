"""Many processes on one lake: other days, the same day, an empty lake, readers meanwhile, and a slow run that a newer one overtakes."""

import multiprocessing
from collections import Counter
from datetime import date, timedelta
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any

import pytest
from test_month import event, land, seen

from mc_pipelines import runner, staging
from mc_pipelines.engine import connect
from mc_pipelines.home import Home
from mc_pipelines.lake import WHOLE, Lake
from mc_pipelines.runner import Outcome, Work, Workshop, materialise
from mc_pipelines.starter import write_home
from mc_pipelines.windows import in_use

FIRST = date(2026, 4, 1)
DAYS = [(FIRST + timedelta(days=at)).isoformat() for at in range(9)]
PER_DAY, LATE = 12, 3
"""Events of a landing day's own local day, and events of the day before."""
PRELOADED = ["mc_pipelines.runner", "mc_pipelines.metering", "mc_pipelines.intake", "deltalake", "duckdb", "pyarrow.parquet", "test_month"]
Rows = dict[str, list[tuple[Any, ...]]]


def lay(root: Path) -> Home:
    write_home(root)
    home = Home(root)
    for at, name in enumerate(DAYS):
        day = date.fromisoformat(name)
        events = [event(at * 100 + step, day) for step in range(PER_DAY)]
        land(home, "usage_events", day, "a.ndjson", [*events, event(at * 100 + 90, day, time="never")])
        land(home, "gateway_log", day, "g.ndjson", [seen(at * 100 + step, day) for step in range(PER_DAY)])
        if at:
            land(home, "usage_events", day, "late.ndjson", [event(at * 100 + 50 + step, day - timedelta(days=1)) for step in range(LATE)])
    return home


def run(shop: Workshop, days: list[str], every: tuple[str, ...] = ("once", "day")) -> dict[str, Outcome]:
    """What `mission run` does without Dagster around it."""
    windows = {"day": days, "once": [WHOLE]}
    return {
        model.key: materialise(shop, model, windows[model.header.every])
        for model in in_use(shop.home, shop.catalog)
        if model.header.every in every
    }


def fill(root: str, day: str, begin: Barrier, said: "Queue[str]") -> None:
    """One process's back-fill of one day. Says how it ended."""
    begin.wait()
    try:
        run(Workshop.open(Home(Path(root))), [day])
    except BaseException as error:
        said.put(f"{day}: {type(error).__name__}: {error}")
        raise
    said.put("")


def wrong(lake: Lake) -> list[str]:
    """What a reader finds wrong now: a window that is there with other rows than its own."""
    found = []
    con = connect()
    if lake.view(con, "staging.usage_events") is not None:
        for day, rows, keys in con.sql(
            "SELECT CAST(landing_day AS VARCHAR), count(*), count(DISTINCT event_key) FROM staging.usage_events GROUP BY 1"
        ).fetchall():
            whole = PER_DAY + (LATE if day != DAYS[0] else 0)
            found += [f"usage_events {day}: {rows} rows, {keys} events"] if (rows, keys) != (whole, whole) else []
    if lake.view(con, "metering.usage_daily") is not None:
        for day, landed, rows, events, quantity in con.sql(
            "SELECT CAST(day AS VARCHAR), CAST(landing_day AS VARCHAR), count(*), sum(events), CAST(sum(quantity_sum) AS BIGINT) "
            "FROM metering.usage_daily GROUP BY ALL"
        ).fetchall():
            whole = PER_DAY if day == landed else LATE
            found += [f"usage_daily {day} {landed}: {rows}, {events}, {quantity}"] if (rows, events, quantity) != (1, whole, whole) else []
    return found


def watch(root: str, begin: Barrier, over: Event, said: "Queue[tuple[int, list[str]]]") -> None:
    """Read until the writers are done, and once more."""
    lake, reads, found = Lake(str(Home(Path(root)).lake)), 0, []
    begin.wait()
    try:
        while not over.is_set():
            found += wrong(lake)
            reads += 1
        found += wrong(lake)
    except BaseException as error:
        said.put((reads, [*found, f"{type(error).__name__}: {error}"]))
        raise
    said.put((reads, found))


def tables(home: Home) -> Rows:
    con, lake = connect(), Lake(str(home.lake))
    found = {}
    for table in lake.tables():
        lake.view(con, table)
        found[table] = con.sql(f"FROM {table} ORDER BY ALL").fetchall()
    return found


@pytest.fixture(scope="module")
def workers() -> Any:
    """Processes forked off one that has imported everything and opened nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """The tables of a build by one process, table after table."""
    home = lay(tmp_path_factory.mktemp("one-by-one"))
    run(Workshop.open(home), DAYS)
    found = tables(home)
    counted = Counter(str(row[0]) for row in found["staging.usage_events"])
    assert dict(counted) == {day: PER_DAY + (LATE if day != DAYS[0] else 0) for day in DAYS}
    assert wrong(Lake(str(home.lake))) == []
    return found


def test_ten_processes_fill_nine_days_while_two_read(workers: Any, one_by_one: Rows, tmp_path: Path) -> None:
    """Eight days by a process each, the ninth by two at once; late events make each touch its neighbour's local day."""
    home = lay(tmp_path)
    run(Workshop.open(home), [], ("once",))
    filled = [*DAYS, DAYS[-1]]
    begin, over, said, seen_by = workers.Barrier(len(filled) + 2), workers.Event(), workers.Queue(), workers.Queue()
    writers = [workers.Process(target=fill, args=(str(home.root), day, begin, said)) for day in filled]
    readers = [workers.Process(target=watch, args=(str(home.root), begin, over, seen_by)) for _ in range(2)]
    for process in (*writers, *readers):
        process.start()
    assert [said.get() for _ in writers] == [""] * len(writers)
    over.set()
    read = [seen_by.get() for _ in readers]
    for process in (*writers, *readers):
        process.join()
    assert [found for _, found in read] == [[], []]
    assert min(reads for reads, _ in read) >= 1
    assert {process.exitcode for process in (*writers, *readers)} == {0}
    assert_equal(tables(home), one_by_one)
    assert run(Workshop.open(home), DAYS)["staging.usage_events"].rebuilt == ()


def assert_equal(found: Rows, wanted: Rows) -> None:
    assert sorted(found) == sorted(wanted)
    assert [table for table in wanted if found[table] != wanted[table]] == []


def test_four_processes_fill_an_empty_lake_at_the_same_moment(workers: Any, tmp_path: Path) -> None:
    """The same day, and with it every table's making and all reference data: one copy of everything."""
    home = lay(tmp_path / "four")
    begin, said = workers.Barrier(4), workers.Queue()
    writers = [workers.Process(target=fill, args=(str(home.root), DAYS[0], begin, said)) for _ in range(4)]
    for process in writers:
        process.start()
    assert [said.get() for _ in writers] == [""] * 4
    for process in writers:
        process.join()
    found = tables(home)
    assert len(found["staging.usage_events"]) == PER_DAY
    alone = lay(tmp_path / "alone")
    run(Workshop.open(alone), DAYS[:1])
    assert_equal(found, tables(alone))


def test_a_slow_run_on_older_inputs_gives_way_to_a_newer_one(one_by_one: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the slow one has drafted a local day from what had landed, another process lands more for that day and is done first."""
    home = lay(tmp_path)
    run(Workshop.open(home), DAYS[:1])
    slow = Workshop.open(home, "slow")
    model = slow.catalog.models["metering.usage_daily"]
    run_upstream = [each for each in in_use(slow.home, slow.catalog) if each.header.every == "day" and each.key != model.key]
    land(home, "usage_events", FIRST, "more.ndjson", [event(7, FIRST, id="more")])  # the first day is stale, for the slow run too
    for each in run_upstream:
        materialise(slow, each, DAYS[:1])
    drafted: list[tuple[Any, ...]] = []
    unhindered = runner.computed

    def computed(work: Work) -> Any:
        relation = unhindered(work)
        if work.shop.run_id == "slow" and work.model.key == model.key:
            drafted.append(tuple(relation.fetchall()))
            if len(drafted) == 1:
                run(Workshop.open(home, "newer"), DAYS)
                relation = unhindered(work)  # still over the versions that were pinned before
                assert tuple(relation.fetchall()) == drafted[0]
        return relation

    monkeypatch.setattr(runner, "computed", computed)
    monkeypatch.setattr("mc_pipelines.lake.time.sleep", lambda _: None)
    outcome = materialise(slow, model, DAYS[:1])
    assert drafted  # it had something to write, and it was too old
    assert outcome.rebuilt == ()
    assert len(drafted) == 1
    lake = Lake(str(home.lake))
    assert {commit.get("run_id") for commit in (lake.open(model.key) or pytest.fail("no table")).history(1)} == {"newer"}
    newest = lake.windows(model.key)
    assert {each.inputs["staging.usage_events"] for each in newest.values()} == {lake.version("staging.usage_events")}
    daily = tables(home)["metering.usage_daily"]
    assert len(daily) == len(one_by_one["metering.usage_daily"])
    assert sum(PER_DAY + 1 in row for row in daily) == 1  # the first day, with the one event that landed late in its file


@pytest.mark.parametrize("made", [False, True])
def test_a_slow_staging_that_saw_fewer_files_gives_way(made: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file lands, and another process stages it, while the slow one has judged the files that were there; its tables made or not."""
    home = lay(tmp_path)
    if made:
        run(Workshop.open(home), DAYS[1:2])
    run(Workshop.open(home), [], ("once",))
    slow = Workshop.open(home, "slow")
    judged: list[int] = []
    unhindered = staging.stage

    def stage(con: Any, contract: Any, files: Any, run_id: str = "", unread: Any = ()) -> staging.Staged:
        result = unhindered(con, contract, files, run_id, unread)
        if run_id == "slow":
            judged.append(len(files))
            if len(judged) == 1:
                land(home, "usage_events", FIRST, "more.ndjson", [event(7, FIRST, id="more"), event(8, FIRST, time="never")])
                run(Workshop.open(home, "newer"), DAYS[:1])
        return result

    monkeypatch.setattr(staging, "stage", stage)
    monkeypatch.setattr("mc_pipelines.lake.time.sleep", lambda _: None)
    outcome = materialise(slow, slow.catalog.models["staging.usage_events"], DAYS[:1])
    assert (outcome.rebuilt, judged[0]) == ((), 1)
    assert set(judged[1:]) == {2}
    found = tables(home)
    day = {
        table: [row for row in found[table] if FIRST in row]
        for table in ("staging.usage_events", "landing.usage_events", "quarantine.usage_events")
    }
    assert {table: len(rows) for table, rows in day.items()} == {
        "staging.usage_events": PER_DAY + 1,
        "landing.usage_events": 2,
        "quarantine.usage_events": 2,
    }
    assert run(Workshop.open(home), DAYS[:1])["staging.usage_events"].rebuilt == ()
