"""Drills of the month end with processes of their own: killed between two steps, two people at once, a backfill while somebody locks.

What one process alone may and may not do is tried in test_close_life.py and test_corrections.py.
"""

import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench
from test_corrections import APRIL, MAY, approved, build, close, invoice, made, requests  # noqa: F401  # `made` is a fixture

from mc_pipelines.close import attempt
from mc_pipelines.close import lock as fix
from mc_pipelines.closing.states import ATTEMPT, LOCK, fold
from mc_pipelines.evidence.signing import known_keys
from mc_pipelines.evidence.verify import verify
from mc_pipelines.home import Home
from mc_pipelines.journaling import journal_of
from mc_pipelines.runner import Workshop


@pytest.fixture(scope="module")
def workers() -> Any:
    """Processes forked off one that has imported everything and opened nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mc_pipelines.acceptance", "great_expectations", "pandas", "test_corrections"])
    return context


@pytest.fixture
def bench(made: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:  # noqa: F811
    """April locked, and May built with something late for April."""
    shutil.copytree(made.root, tmp_path / "home")
    monkeypatch.delenv("MISSION_SIGNING_KEY", raising=False)
    bench = Bench(Workshop.open(Home(tmp_path / "home")))
    bench.land([*requests(MAY, 10), *requests(APRIL, 150, first=300, landed=f"{MAY}-10")])
    build(bench, [f"{MAY}-10"], MAY)
    return bench


def in_process(work: Callable[..., None], *arguments: Any, crash_at: str = "") -> None:
    """What a worker runs; it dies at a point where one is named."""
    os.environ["MISSION_CRASH_AT"] = crash_at
    work(*arguments)


def attempted(root: str) -> None:
    attempt(Home(Path(root)), MAY, requested_by="ops")


def locked(root: str, who: str) -> None:
    fix(Home(Path(root)), MAY, None, who)


def backfilled(root: str, times: int) -> None:
    """The month and its days computed anew, again and again: each price of it makes everything stale."""
    from test_corrections import price

    bench = Bench(Workshop.open(Home(Path(root))))
    for number in range(times):
        price(bench.home, f"0.{60 + number}")
        build(bench, [f"{MAY}-10"], MAY)


def run(workers: Any, work: Callable[..., None], *arguments: Any, crash_at: str = "") -> Any:
    process = workers.Process(target=in_process, args=(work, *arguments), kwargs={"crash_at": crash_at})
    process.start()
    return process


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("point", ["close.bundle_built", "journal.entry_written", "close.journal_written"])
def test_a_close_killed_between_two_steps_is_closed_once(point: str, bench: Bench, workers: Any) -> None:
    killed = run(workers, attempted, str(bench.home.root), crash_at=point)
    killed.join()
    assert killed.exitcode == -9
    done = close(bench, MAY)
    assert (done.edition, done.fresh) == (1, point == "close.bundle_built")
    assert [entry.body["edition"] for entry in journal_of(bench.home).chain() if entry.body["period"] == MAY] == [1]
    assert verify(done.bundle, known_keys(bench.home.keys)).ok
    assert [path.name for path in done.bundle.parent.iterdir() if not path.name.startswith(".")] == [done.bundle.name]
    assert invoice(bench, MAY)["rated"]["totals"]["payable"] == "78.00"
    assert (bench.home.site / "invoices" / MAY / "acme" / "preview.pdf").is_file()


def test_a_lock_killed_before_the_checkpoint_is_a_lock(bench: Bench, workers: Any) -> None:
    close(bench, MAY)
    approved(bench.home, MAY)
    killed = run(workers, locked, str(bench.home.root), "first", crash_at="journal.entry_written")
    killed.join()
    assert killed.exitcode == -9
    assert fix(bench.home, MAY, None, "second").body["requested_by"] == "first"
    assert sum(entry.kind == LOCK and entry.body["period"] == MAY for entry in journal_of(bench.home).chain()) == 1


def test_two_closers_at_once_get_the_same_object(bench: Bench, workers: Any) -> None:
    both = [run(workers, attempted, str(bench.home.root)) for _ in range(2)]
    for each in both:
        each.join()
        assert each.exitcode == 0
    attempts = [entry for entry in journal_of(bench.home).chain() if entry.kind == ATTEMPT and entry.body["period"] == MAY]
    assert [entry.body["edition"] for entry in attempts] == [1]
    assert invoice(bench, MAY)["rated"]["totals"]["payable"] == "78.00"


def test_what_is_locked_while_a_backfill_of_the_month_runs_is_what_was_approved(bench: Bench, workers: Any) -> None:
    done = close(bench, MAY)
    before = files(done.bundle)
    approved(bench.home, MAY)
    backfill = run(workers, backfilled, str(bench.home.root), 3)
    entry = fix(bench.home, MAY, None, "locker")
    backfill.join()
    assert backfill.exitcode == 0
    assert (entry.body["edition"], entry.body["digest"]) == (1, done.digest)
    assert files(done.bundle) == before
    again = close(bench, MAY)  # at the price that the backfill left
    assert (again.edition, again.digest != done.digest) == (2, True)
    state = fold(journal_of(bench.home).entries(), MAY)
    assert {tenant: (lock.edition, lock.digest) for tenant, lock in state.locks.items()} == {
        "acme": (1, done.digest),
        "beta": (1, done.digest),
    }
    assert verify(done.bundle, known_keys(bench.home.keys)).ok


def test_a_locked_month_that_is_computed_again_bills_its_corrections_once(bench: Bench) -> None:
    """Nothing late is billed again, neither by another edition of the locked month nor by the next one."""
    close(bench, MAY)
    approved(bench.home, MAY)
    fix(bench.home, MAY, None, "ops")
    build(bench, [], APRIL, MAY)
    assert not close(bench, MAY).fresh
    bench.land(requests("2026-06", 1))
    build(bench, ["2026-06-10"], "2026-06")
    close(bench, "2026-06")
    assert invoice(bench, "2026-06")["rated"]["corrections"] == []
