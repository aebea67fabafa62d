"""Windows replaced in one commit, pinned, raced by processes, killed and vacuumed. Small tables; the processes are real."""

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from mc_pipelines.engine import connect
from mc_pipelines.errors import MissionError, SupersededError
from mc_pipelines.home import CHECKOUT
from mc_pipelines.lake import Draft, Lake

TABLE = "metering.counted"


def draft(day: str, count: int, tag: str, **inputs: int) -> Callable[[], Draft]:
    """`count` rows of one day, all with one tag: a read that mixes two writers shows."""

    def make() -> Draft:
        con = connect()
        said = f"DATE '{day}' AS day, CAST(i AS BIGINT) AS i, '{tag}' AS tag, CAST({count} AS BIGINT) AS whole"
        rows = con.sql(f"SELECT {said} FROM range({count}) AS r(i)")
        return Draft(rows, {day: tag}, inputs)

    return make


def read(lake: Lake, version: int | None = None) -> dict[str, tuple[str, int]]:
    """Tag and rows of every day; fails on a day that holds anything but one whole write."""
    con = connect()
    lake.view(con, TABLE, version)
    rows = con.sql(
        f"SELECT CAST(day AS VARCHAR), min(tag), count(*), count(DISTINCT tag), count(DISTINCT i), min(whole) FROM {TABLE} GROUP BY day"
    ).fetchall()
    for day, tag, count, tags, distinct, whole in rows:
        assert (tags, count, distinct) == (1, whole, whole), f"{day} holds a mixture: {tag}"
    return {day: (tag, count) for day, tag, count, *_ in rows}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path))


def test_a_window_is_swapped_and_the_others_stay(lake: Lake) -> None:
    assert lake.version(TABLE) is None
    assert lake.windows(TABLE) == {}
    for day, count, tag in (("2026-04-01", 3, "a"), ("2026-04-02", 2, "b"), ("2026-04-01", 5, "c")):
        lake.replace(TABLE, "day", draft(day, count, tag, up=1), "run-7")
    assert read(lake) == {"2026-04-01": ("c", 5), "2026-04-02": ("b", 2)}
    written = lake.windows(TABLE)
    assert {day: (each.recipe, each.version, dict(each.inputs)) for day, each in written.items()} == {
        "2026-04-01": ("c", 3, {"up": 1}),
        "2026-04-02": ("b", 2, {"up": 1}),
    }
    assert Lake(lake.uri).windows(TABLE) == written
    assert lake.tables() == [TABLE]


def test_a_pinned_version_stays_as_it_was(lake: Lake) -> None:
    first = lake.replace(TABLE, "day", draft("2026-04-01", 3, "a"))
    lake.replace(TABLE, "day", draft("2026-04-01", 4, "b"))
    assert read(lake, first) == {"2026-04-01": ("a", 3)}
    assert read(lake) == {"2026-04-01": ("b", 4)}
    assert first is not None
    assert lake.files_digest(TABLE, first) == Lake(lake.uri).files_digest(TABLE, first) != lake.files_digest(TABLE, first + 1)


def test_a_window_replaced_by_nothing_is_empty_and_written(lake: Lake) -> None:
    lake.replace(TABLE, "day", draft("2026-04-01", 3, "a"))
    lake.replace(TABLE, "day", draft("2026-04-01", 0, "none"))
    assert read(lake) == {}
    assert lake.windows(TABLE)["2026-04-01"].recipe == "none"
    lake.replace("metering.new", "day", draft("2026-04-01", 0, "none"))
    con = connect()
    lake.view(con, "metering.new")
    assert con.sql("SELECT typeof(day), * FROM metering.new").fetchall() == []


def test_nothing_stale_writes_nothing(lake: Lake) -> None:
    assert lake.replace(TABLE, "day", lambda: None) is None
    assert lake.version(TABLE) is None


def test_the_log_folds_right_while_others_commit(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        lake.replace(TABLE, "day", draft(f"2026-04-0{number + 1}", 1, f"t{number}"))
    slow, newest = Lake(lake.uri), Lake.open
    with monkeypatch.context() as patched:  # a handle opened just before two more commits
        patched.setattr(Lake, "open", lambda self, table, version=None: newest(self, table, 2))
        assert {day: each.version for day, each in slow.windows(TABLE).items()} == {"2026-04-01": 1, "2026-04-02": 2}
    assert {day: each.version for day, each in slow.windows(TABLE).items()} == {f"2026-04-0{n}": n for n in (1, 2, 3, 4)}


def test_a_slow_run_on_older_inputs_never_overwrites_a_newer_one(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mc_pipelines.lake.time.sleep", lambda _: None)
    day = "2026-04-01"
    lake.replace(TABLE, "day", draft(day, 1, "start", up=1))
    calls = []

    def slow() -> Draft:
        calls.append(1)
        if len(calls) == 1:  # while it reads input version 2, a run on version 3 commits
            old = draft(day, 2, "old", up=2)()
            Lake(lake.uri).replace(TABLE, "day", draft(day, 3, "new", up=3))
            return old
        return draft(day, 4, "again", up=3)()

    lake.replace(TABLE, "day", slow)
    assert len(calls) == 2
    assert read(lake) == {day: ("again", 4)}
    with pytest.raises(SupersededError, match="2026-04-01"):
        lake.replace(TABLE, "day", draft(day, 2, "old", up=2))
    assert read(lake) == {day: ("again", 4)}


def test_a_commit_between_reading_and_writing_is_a_conflict_even_with_equal_inputs(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mc_pipelines.lake.time.sleep", lambda _: None)
    day, calls = "2026-04-01", []
    lake.replace(TABLE, "day", draft(day, 1, "start"))

    def slow() -> Draft:
        calls.append(1)
        if len(calls) == 1:
            Lake(lake.uri).replace(TABLE, "day", draft(day, 3, "other"))
        return draft(day, 2, f"try{len(calls)}")()

    lake.replace(TABLE, "day", slow)
    assert read(lake) == {day: ("try2", 2)}


def fill(uri: str, tag: str) -> None:
    Lake(uri).replace(TABLE, "day", draft("2026-04-01", 40, tag))


def rewrite(uri: str, day: str, rounds: int) -> None:
    for number in range(rounds):
        Lake(uri).replace(TABLE, "day", draft(day, 5 + number, f"{os.getpid()}-{number}"))


def test_four_processes_filling_an_empty_day_leave_one_copy(lake: Lake) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.starmap(fill, [(lake.uri, f"p{number}") for number in range(4)])
    ((tag, count),) = read(lake).values()
    assert (tag[0], count) == ("p", 40)


def test_processes_replacing_days_while_one_reads(lake: Lake) -> None:
    """Eight days by a process each, two more processes on one day; every read on the way is of whole writes."""
    days = [f"2026-04-{number:02}" for number in range(1, 10)]
    for day in days:
        lake.replace(TABLE, "day", draft(day, 5, "start"))
    with multiprocessing.get_context("spawn").Pool(10) as pool:
        running = pool.starmap_async(rewrite, [(lake.uri, day, 3) for day in [*days, days[-1]]], chunksize=1)
        reads = 0
        while not running.ready():
            assert sorted(read(lake)) == days
            reads += 1
        running.get()
    assert reads > 3
    found = read(lake)
    assert {tag.rpartition("-")[2] for tag, _ in found.values()} == {"2"}
    assert {day: each.recipe for day, each in lake.windows(TABLE).items()} == {day: tag for day, (tag, _) in found.items()}
    assert lake.version(TABLE) == 9 + 3 * 10  # the table itself is version 0


@pytest.mark.parametrize(("point", "survives"), [("lake.rows_handed_over", "a"), ("lake.committed", "b")])
def test_killed_while_writing_the_next_run_gives_the_same_rows(lake: Lake, point: str, survives: str) -> None:
    lake.replace(TABLE, "day", draft("2026-04-01", 3, "a"))
    script = "import sys; from mc_pipelines.lake import Lake; from test_lake import TABLE, draft; "
    script += "Lake(sys.argv[1]).replace(TABLE, 'day', draft('2026-04-01', 4, 'b'))"
    environment = os.environ | {"MISSION_CRASH_AT": point, "PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "tests")])}
    killed = subprocess.run([sys.executable, "-c", script, lake.uri], env=environment, capture_output=True, check=False)
    assert killed.returncode == -9, killed.stderr
    assert read(lake)["2026-04-01"][0] == survives
    lake.replace(TABLE, "day", draft("2026-04-01", 4, "b"))
    assert read(lake) == {"2026-04-01": ("b", 4)}


def test_vacuum_keeps_the_newest_and_the_pinned(lake: Lake) -> None:
    versions = [lake.replace(TABLE, "day", draft("2026-04-01", count, f"t{count}")) for count in (1, 2, 3)]
    assert versions == [1, 2, 3]
    assert len(lake.vacuum(TABLE, [1])) == 1
    assert read(lake, 1) == {"2026-04-01": ("t1", 1)}
    assert read(lake) == {"2026-04-01": ("t3", 3)}
    assert lake.vacuum("metering.absent", []) == []
    with pytest.raises(Exception, match=r"No files found|IO Error"):
        read(lake, 2)
    lake.replace(TABLE, "day", draft("2026-04-02", 1, "after"))
    assert {day: each.recipe for day, each in lake.windows(TABLE).items()} == {"2026-04-01": "t3", "2026-04-02": "after"}


@pytest.mark.parametrize("feature", ["deletionVectors", "columnMapping"])
def test_a_table_that_another_engine_gave_features_is_refused(lake: Lake, feature: str) -> None:
    lake.replace(TABLE, "day", draft("2026-04-01", 1, "a"))
    protocol = {
        "minReaderVersion": 3,
        "minWriterVersion": 7,
        "readerFeatures": [feature, "timestampNtz"],
        "writerFeatures": [feature, "timestampNtz"],
    }
    log = Path(lake.table_uri(TABLE)) / "_delta_log"
    (log / f"{2:020}.json").write_text(json.dumps({"protocol": protocol}) + "\n", encoding="utf-8")
    with pytest.raises(MissionError, match=feature):
        lake.version(TABLE)


def test_a_column_type_that_tables_may_not_have_is_named(lake: Lake) -> None:
    con = connect()
    lake.replace("metering.odd", None, lambda: Draft(con.sql("SELECT [1, 2] AS several"), {"all": "x"}, {}))
    lake.replace("metering.odd", None, lambda: Draft(con.sql("SELECT [1, 2] AS several WHERE false"), {"all": "y"}, {}))
    with pytest.raises(MissionError, match="Cast it in the model"):
        lake.view(con, "metering.odd")


@pytest.mark.parametrize("name", ["my home", "home's", "überall", "a#b", "a+b;c"])
def test_any_plain_folder_name_holds_a_lake(tmp_path: Path, name: str) -> None:
    lake = Lake(str(tmp_path / name))
    version = lake.replace(TABLE, "day", draft("2026-04-01", 2, "a"))
    assert read(lake) == {"2026-04-01": ("a", 2)}
    opened = lake.open(TABLE)
    assert opened is not None
    (file,) = lake.files(opened)
    assert Path(file).is_file()
    assert version is not None
    relative = file.removeprefix(f"{lake.uri}/")
    line = f"{sha256(Path(file).read_bytes()).hexdigest()}  {relative}\n"  # without the folder: two homes pin alike
    assert relative.startswith("metering/counted/day=2026-04-01/")
    assert lake.files_digest(TABLE, version) == sha256(line.encode()).hexdigest()


@pytest.mark.parametrize("name", ["a%20b", "a[b]", "a*b", "a?b"])
def test_a_folder_name_that_would_be_read_as_a_pattern_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissionError, match="Move or rename the home"):
        Lake(str(tmp_path / name / "lake"))
