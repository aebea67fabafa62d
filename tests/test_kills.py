"""Killed with signal 9 at random moments of the whole run, some of the repeats too: the result is that of an undisturbed run.

A moment is a number of marks (commits, files of evidence, journal and pages) that have appeared, and a random pause after; so the kills are
spread over the run however fast the machine is.
"""

import multiprocessing
import os
import random
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from test_month import event, land, seen

from mc_pipelines.attempts import Attempt
from mc_pipelines.calendars import days
from mc_pipelines.close import attempt
from mc_pipelines.closing.states import ATTEMPT
from mc_pipelines.engine import connect
from mc_pipelines.evidence.journal import Journal
from mc_pipelines.evidence.signing import known_keys
from mc_pipelines.evidence.verify import verify
from mc_pipelines.home import Home
from mc_pipelines.lake import WHOLE, Lake
from mc_pipelines.runner import Workshop, materialise
from mc_pipelines.starter import write_home
from mc_pipelines.windows import in_use

MONTH = "2026-04"
FIRST = date(2026, 4, 27)
"""The first day that either source is due: the month is four days and the grace after it."""
LANDED = days("2026-04-27", "2026-05-03")
PER_DAY = 6
CHAINS, KILLS = 5, 5
"""At least four kills of each chain are asserted to have come before the end of its run: twenty in all."""
TENANT = "  - {tenant_id: globex, name: Globex, zone: America/New_York, currency: USD, plan: standard, grace_days: 2}\n"
PRELOADED = [
    "mc_pipelines.acceptance",
    "mc_pipelines.evidence.bundle",
    "mc_pipelines.close",
    "mc_pipelines.evidence.proofs",
    "mc_pipelines.evidence.record",
]
PRELOADED += ["mc_pipelines.site.build", "mc_pipelines.metering", "mc_pipelines.intake", "great_expectations", "pandas", "pyarrow.parquet"]
PRELOADED += ["deltalake", "duckdb", "test_month"]


def lay(root: Path) -> Home:
    """Two tenants in two zones; each event twice, the copy a day later, and one row a day that is refused."""
    write_home(root)
    for name, old, new in (("sources", "2026-01-01", FIRST.isoformat()), ("tenants", "tenants:\n", f"tenants:\n{TENANT}")):
        path = root / "reference" / f"{name}.yaml"
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    home = Home(root)
    for at in range(4):
        day = FIRST + timedelta(days=at)
        events = [event(at * PER_DAY + step, day, subject=("acme", "globex")[step % 2]) for step in range(PER_DAY)]
        log = [seen(at * PER_DAY + step, day) | {"tenant_id": ("acme", "globex")[step % 2]} for step in range(PER_DAY)]
        land(home, "usage_events", day, "a.ndjson", events)
        land(home, "usage_events", day, "bad.ndjson", [event(1000 + at, day, time="never")])
        land(home, "usage_events", day + timedelta(days=1), f"again-{at}.ndjson", events)
        land(home, "gateway_log", day, "g.ndjson", log)
    return home


def build(root: str) -> None:
    """The whole way, without Dagster: every table in order, then the attempt."""
    home = Home(Path(root))
    shop = Workshop.open(home)
    windows = {"day": LANDED, "month": [f"{MONTH}-01"], "once": [WHOLE]}
    for model in in_use(shop.home, shop.catalog):
        materialise(shop, model, windows[model.header.every])
    attempt(home, MONTH)


def marks(home: Home) -> int:
    """How far a run has come. A repeated run finds the marks of the one before it."""
    folders = (home.evidence, home.journal, home.site, home.keys)
    made = sum(
        len(names) for folder in folders for _, _, names in os.walk(folder)
    )  # unlike rglob, it bears folders that are renamed meanwhile
    return made + sum(1 for _ in home.lake.glob("*/*/_delta_log/*.json"))


def tables(home: Home) -> dict[str, list[tuple[Any, ...]]]:
    con, lake = connect(), Lake(str(home.lake))
    found = {}
    for table in lake.tables():
        lake.view(con, table)
        found[table] = con.sql(f"FROM {table} ORDER BY ALL").fetchall()
    return found


def files(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: data for name, data in found.items() if not Path(name).name.startswith(".new-")}  # what a killed writer left: never read


def undated(site: dict[str, bytes]) -> dict[str, bytes]:
    """The pages without the dashboard."""
    assert sum(name.startswith("finance/") for name in site) == 4
    return {name: data for name, data in site.items() if not name.startswith("finance/")}


@pytest.fixture(scope="module")
def workers() -> Any:
    """Processes forked off one that has imported everything and opened nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@pytest.fixture(scope="module")
def undisturbed(workers: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Attempt]:
    home = lay(tmp_path_factory.mktemp("undisturbed"))
    run = workers.Process(target=build, args=(str(home.root),))
    run.start()
    run.join()
    assert run.exitcode == 0
    done = attempt(home, MONTH)
    assert (done.fresh, done.edition, done.verdict) == (False, 1, "failed")  # one row in seven is refused
    return home, done


def killed(run: Any, home: Home, target: int, pause: float) -> bool:
    """Kill the run once there are `target` marks, `pause` seconds later; false where it was done before that."""
    run.start()
    while run.is_alive() and marks(home) < target:
        time.sleep(0.004)
    run.join(pause)
    run.kill()
    run.join()
    assert run.exitcode in {0, -9}
    return bool(run.exitcode == -9)


def whole(home: Home, wanted: dict[str, list[tuple[Any, ...]]]) -> None:
    """What readers see of the killed home: each landing day as it will be at the end, or not at all."""
    con, lake = connect(), Lake(str(home.lake))
    for table in ("staging.usage_events", "metering.touched"):
        if lake.view(con, table) is not None:
            at = con.sql(f"FROM {table} LIMIT 0").columns.index("landing_day")
            found = con.sql(f"FROM {table} ORDER BY ALL").fetchall()
            present = {row[at] for row in found}
            assert found == [row for row in wanted[table] if row[at] in present], table


@pytest.mark.parametrize("chain", range(CHAINS))
def test_killed_again_and_again_the_result_is_that_of_an_undisturbed_run(
    chain: int, workers: Any, undisturbed: tuple[Home, Attempt], tmp_path: Path
) -> None:
    good, expected = undisturbed
    wanted = tables(good)
    home = lay(tmp_path)
    chance = random.Random(chain)
    total = marks(good)
    # One moment in each fifth of the run; the chains take other ones. A run of a chain goes on from where the one before was killed.
    targets = [chance.randrange(total * step // KILLS, total * (step + 1) // KILLS) for step in range(KILLS)]
    moments = []
    for target in targets:
        run = workers.Process(target=build, args=(str(home.root),))
        if killed(run, home, target, chance.uniform(0, 0.05)):
            moments.append(target)
            whole(home, wanted)
    assert len(moments) >= KILLS - 1, (moments, targets, total)  # a target at the very end may be reached as the run ends
    last = workers.Process(target=build, args=(str(home.root),))
    last.start()
    last.join()
    assert last.exitcode == 0
    done = attempt(home, MONTH)
    assert (done.digest, done.edition, done.verdict, done.fresh) == (expected.digest, 1, expected.verdict, False)
    assert files(done.bundle / "data") == files(expected.bundle / "data")
    # The dashboard says since when a state holds, which is when each home signed it.
    assert undated(files(home.site)) == undated(files(good.site))
    assert tables(home) == wanted
    keys = known_keys(home.keys)
    assert [entry.kind for entry in Journal(home.journal, trusted=keys).chain()] == [ATTEMPT]
    assert verify(done.bundle, keys).ok
    assert [path.name for path in done.bundle.parent.iterdir()] == [expected.bundle.name]
