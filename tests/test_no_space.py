"""A full disk, a read-only one, a limit on files: the command says what to do and ends with 2, what stood stands, and later it finishes."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from test_month import lay

from mc_pipelines.calendars import days
from mc_pipelines.close import attempt
from mc_pipelines.disk import DiskError, writing
from mc_pipelines.engine import connect
from mc_pipelines.evidence.journal import Journal
from mc_pipelines.evidence.signing import known_keys
from mc_pipelines.evidence.verify import verify
from mc_pipelines.home import CHECKOUT, Home
from mc_pipelines.lake import WHOLE, Draft, Lake
from mc_pipelines.orchestra import run_job
from mc_pipelines.runner import Workshop, materialise
from mc_pipelines.shell import views
from mc_pipelines.windows import in_use

MONTH = "2026-04"
SIZE = "64m"
PROGRAM = "import sys; from mc_pipelines.cli import main; main(sys.argv[1:], prog_name='mission')"
Mission = subprocess.CompletedProcess[str]


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small disk of its own. Filling the machine's real one is no way to test."""
    path = tmp_path_factory.mktemp("disk")
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(path)], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("there is no mount command here, so no small disk can be made")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here ({done.stderr.strip()}): run as root, where mounting is allowed")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Not a byte is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass
    assert shutil.disk_usage(disk).free == 0
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    mount("-o", "remount,ro", str(disk))
    try:
        yield
    finally:
        mount("-o", "remount,rw", str(disk))


def mission(home: Home, *arguments: str) -> Mission:
    environment = os.environ | {"MISSION_HOME": str(home.root), "PYTHONPATH": str(CHECKOUT), "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=False
    )


def standing(home: Home) -> dict[str, Any]:
    """Everything that counts: version and rows of each table, evidence, journal, pages. Read as a reader does."""
    lake, con = Lake(str(home.lake)), connect()
    con.execute(views(home, {}))
    found: dict[str, Any] = {}
    for table in lake.tables():
        found[table] = (lake.version(table), con.sql(f"FROM {table} ORDER BY ALL").fetchall())
    for folder in (home.evidence, home.journal, home.site):
        found |= {
            str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".new-")
        }
    return found


def refused(done: Mission, home: Home, remedy: str) -> None:
    assert done.returncode == 2, done.stderr
    said = done.stdout + done.stderr
    assert "mission: " in said
    assert str(home.root) in said
    assert remedy in said
    assert "run the same command again" in said
    assert "Traceback" not in said
    assert "panicked" not in said


HINDERED = [(full, "the disk is full"), (read_only, "read-only")]
Hinder = Callable[[Path], AbstractContextManager[None]]


def test_a_home_without_room_ends_clearly_keeps_the_last_good_state_and_goes_on_later(disk: Path) -> None:
    """All of it on the small disk, Dagster's own files too."""
    home = lay(disk / "home")
    done = mission(home, "run", "2026-04-01..2026-04-10")
    assert done.returncode == 0, done.stderr
    before = standing(home)
    assert len(before["staging.usage_events"][1]) == 100
    for hinder, remedy in HINDERED:
        with hinder(disk):
            refused(mission(home, "run", "2026-04-01..2026-05-03"), home, remedy)
            assert standing(home) == before
    with full(disk):
        refused(mission(home, "close", MONTH), home, "the disk is full")
        asked = mission(home, "sql", "SELECT count(*) AS n FROM staging.usage_events")
        assert asked.returncode == 0, asked.stderr
        assert "100" in asked.stdout
    assert standing(home) == before
    for command in (("run", "2026-04-01..2026-05-03"), ("close", MONTH)):
        done = mission(home, *command)
        assert done.returncode == 0, done.stderr
    (bundle,) = (home.evidence / "finance" / "metering" / "close" / MONTH).iterdir()
    keys = known_keys(home.keys)
    assert keys is not None
    assert verify(bundle, keys).ok
    assert len(Journal(home.journal, trusted=keys).chain()) == 1
    with read_only(disk):  # what is there can still be looked at
        assert mission(home, "gates", MONTH).returncode == 0
    shutil.rmtree(home.root)


@pytest.mark.parametrize(("hinder", "remedy"), HINDERED)
def test_a_lake_without_room_fails_the_run_in_words(disk: Path, tmp_path: Path, hinder: Hinder, remedy: str) -> None:
    """Only the lake is on the small disk: Dagster goes on, and the run says which table and why."""
    home = lay(tmp_path)
    elsewhere = disk / tmp_path.name
    elsewhere.mkdir()
    home.lake.symlink_to(elsewhere)
    with hinder(disk):
        ran = run_job(home, "daily", days("2026-04-01", "2026-04-02"))
    assert not ran.ok
    assert any(remedy in problem and str(home.lake) in problem for problem in ran.problems), ran.problems
    assert Lake(str(home.lake)).tables() == []
    assert views(home, {}) == "\n"
    assert run_job(home, "daily", days("2026-04-01", "2026-04-02")).ok
    before = standing(home)
    with hinder(disk):
        ran = run_job(home, "daily", days("2026-04-03"))
        assert standing(home) == before
    assert [problem for problem in ran.problems if remedy in problem and "/quarantine/" in problem], ran.problems
    assert standing(home) == before
    assert run_job(home, "daily", days("2026-04-03")).ok
    assert len(standing(home)["staging.usage_events"][1]) == 30


@pytest.mark.parametrize(("hinder", "remedy"), HINDERED)
def test_each_folder_that_a_close_writes_says_so_when_it_has_no_room(disk: Path, tmp_path: Path, hinder: Hinder, remedy: str) -> None:
    """Keys, journal, evidence and pages on the small disk, one after the other; the same close goes on from where it could not."""
    home = lay(tmp_path)
    shop = Workshop.open(home)
    for model in in_use(shop.home, shop.catalog):
        materialise(shop, model, {"day": days("2026-04-01", "2026-05-03"), "month": [f"{MONTH}-01"], "once": [WHOLE]}[model.header.every])
    before = standing(home)
    for folder in (home.keys, home.evidence, home.journal, home.site):
        (elsewhere := disk / f"{tmp_path.name}-{folder.name}").mkdir()
        folder.symlink_to(elsewhere)
        with hinder(disk), pytest.raises(DiskError, match=remedy) as caught:
            attempt(home, MONTH)
        assert str(folder) in str(caught.value)
        assert not list(elsewhere.rglob("*.html"))
        assert not list(home.journal.glob("*.json")) or folder == home.site
        assert {name: value for name, value in standing(home).items() if name in before} == before
        if folder != home.site:  # the next one alone is in the way
            folder.unlink()
    done = attempt(home, MONTH)
    assert (done.edition, done.verdict, done.fresh) == (1, "passed", False)
    assert verify(done.bundle, known_keys(home.keys)).ok
    assert [path.name for path in done.bundle.parent.iterdir()] == [done.bundle.name]
    assert len(done.pages) == 13  # scoreboard, metering and invoices as page and JSON; a preview in three views; the dashboard in four


def rows(count: int, tag: str) -> Callable[[], Draft]:
    """Rows that no compression makes small."""

    def make() -> Draft:
        con = connect()
        return Draft(
            con.sql(f"SELECT DATE '2026-04-01' AS day, '{tag}' AS tag, md5(CAST(i AS VARCHAR)) AS text FROM range({count}) AS r(i)"),
            {"2026-04-01": tag},
            {},
        )

    return make


def test_a_disk_that_fills_while_a_table_is_written(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mc_pipelines.lake.room", lambda path: None)
    lake = Lake(str(disk / tmp_path.name))
    lake.replace("metering.large", "day", rows(1000, "small"))
    with pytest.raises(DiskError, match="the disk is full") as caught:
        lake.replace("metering.large", "day", rows(6_000_000, "large"))
    assert "metering/large" in str(caught.value)
    assert lake.version("metering.large") == 1
    con = connect()
    lake.view(con, "metering.large")
    assert con.sql("SELECT tag, count(*) FROM metering.large GROUP BY tag").fetchall() == [("small", 1000)]
    shutil.rmtree(lake.uri)


def test_a_limit_on_files_is_named(tmp_path: Path) -> None:
    """Needs no disk of its own."""
    lake = Lake(str(tmp_path))
    lake.replace("metering.large", "day", rows(1000, "small"))
    script = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)); from test_no_space import *; "
    script += "Lake(sys.argv[1]).replace('metering.large', 'day', rows(50_000, 'large'))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "tests")]), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", script, lake.uri], env=environment, capture_output=True, text=True, check=False)
    assert "DiskError" in done.stderr.splitlines()[-1], done.stderr
    assert "ulimit -f" in done.stderr
    assert lake.version("metering.large") == 1


FORBIDDEN = """
import sys
from test_no_space import *
lake = Lake(sys.argv[1])
try:
    lake.replace("metering.large", "day", rows(10, "second"))
except DiskError as error:
    print(error)
print("version", lake.version("metering.large"))
"""


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    """Root may write anywhere, so it gives up that right first."""
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root without setpriv (util-linux) cannot give up its right to write anywhere")
    lake = Lake(str(tmp_path / "lake"))
    lake.replace("metering.large", "day", rows(10, "first"))
    for folder in [path for path in (tmp_path / "lake").rglob("*") if path.is_dir()]:
        folder.chmod(0o555)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "tests")]), "PYTHONDONTWRITEBYTECODE": "1"}
    lesser = ["setpriv", "--bounding-set", "-dac_override"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*lesser, sys.executable, "-c", FORBIDDEN, lake.uri], env=environment, capture_output=True, text=True, check=False
    )
    assert "not permitted" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == "version 1"


def test_errors_that_are_not_the_disks_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), writing(tmp_path):
        (tmp_path / "absent").read_bytes()
    with pytest.raises(ValueError, match="os error 28"), writing(tmp_path):
        raise ValueError("os error 28 in a text of somebody else's")
    with pytest.raises(OSError, match="Input/output"), writing(tmp_path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
