"""The same events give the same bytes: whatever their format, order, split into files, the threads, the folder and the way of building."""

import gzip
import json
import random
from collections.abc import Callable
from datetime import date
from pathlib import Path
from shutil import copytree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mc_pipelines.attempts import Attempt
from mc_pipelines.calendars import days
from mc_pipelines.close import attempt
from mc_pipelines.home import Home
from mc_pipelines.lake import WHOLE
from mc_pipelines.runner import Workshop, materialise
from mc_pipelines.simulate import Format, simulate
from mc_pipelines.truth import Truth
from mc_pipelines.windows import in_use

MONTH = "2026-04"
LANDED = days("2026-04-01", "2026-05-04")
FORMATS: tuple[Format, ...] = ("ndjson", "csv", "parquet")
Simulated = dict[Format, tuple[Path, Truth]]


def build(home: Home, landed: list[str]) -> None:
    shop = Workshop.open(home)
    windows = {"day": landed, "month": [f"{MONTH}-01"], "once": [WHOLE]}
    for model in in_use(shop.home, shop.catalog):
        materialise(shop, model, windows[model.header.every])


def close(root: Path) -> Attempt:
    build(Home(root), LANDED)
    return attempt(Home(root), MONTH)


def payload(done: Attempt) -> dict[str, bytes]:
    data = done.bundle / "data"
    return {path.relative_to(data).as_posix(): path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    roots: dict[Format, Path] = {form: tmp_path_factory.mktemp(form) for form in FORMATS}
    return {form: (root, simulate(root, 5000, 6, date(2026, 4, 1), 30, 11, form)) for form, root in roots.items()}


@pytest.fixture(scope="module")
def expected(simulated: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Attempt:
    root = tmp_path_factory.mktemp("expected") / "home"
    copytree(simulated["ndjson"][0], root)
    return close(root)


def landed_files(root: Path, pattern: str) -> list[Path]:
    found = sorted((root / "landing").glob(pattern))
    assert found
    return found


def shuffled(root: Path) -> None:
    """Every file's rows in another order, on both sides."""
    chance = random.Random(5)
    for path in landed_files(root, "usage_events/*/*.ndjson"):
        lines = path.read_bytes().splitlines(keepends=True)
        chance.shuffle(lines)
        path.write_bytes(b"".join(lines))
    for path in landed_files(root, "gateway_log/*/*.parquet"):
        rows = pq.read_table(path)
        pq.write_table(rows.take(pa.array(chance.sample(range(len(rows)), len(rows)))), path)


def many_files(root: Path) -> None:
    """Every file's rows dealt out to up to seven, whose names sort unlike their rows."""
    for path in landed_files(root, "usage_events/*/*.ndjson"):
        lines = path.read_bytes().splitlines(keepends=True)
        path.unlink()
        for part in range(min(7, len(lines)) or 1):  # a file without rows stays one
            path.with_name(f"{9 - part}-{path.name}").write_bytes(b"".join(lines[part::7]))
    for path in landed_files(root, "gateway_log/*/*.parquet"):
        rows = pq.read_table(path)
        path.unlink()
        for part in range(3):
            pq.write_table(rows.take(pa.array(range(part, len(rows), 3), pa.int64())), path.with_name(f"{9 - part}.parquet"))


def one_file(root: Path) -> None:
    """All that lands on a day in one file: plain events, copies, conflicts, late and malformed ones."""
    for day in sorted((root / "landing" / "usage_events").iterdir()):
        found = sorted(day.iterdir())
        body = b"".join(path.read_bytes() for path in found)
        for path in found:
            path.unlink()
        (day / "all.ndjson").write_bytes(body)


def compressed(root: Path) -> None:
    """In a folder whose name has a blank, a quote and letters beyond ASCII."""
    for path in landed_files(root, "usage_events/*/*.ndjson"):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


REWRITTEN: dict[str, Callable[[Path], None]] = {
    "shuffled": shuffled,
    "many_files": many_files,
    "one_file": one_file,
    "another home's üñí": compressed,
}


def assert_same(done: Attempt, expected: Attempt) -> None:
    found, wanted = payload(done), payload(expected)
    assert sorted(found) == sorted(wanted)
    assert [name for name in wanted if found[name] != wanted[name]] == []
    assert done.digest == expected.digest
    assert done.verdict == expected.verdict


def test_what_is_compared_holds_the_month(expected: Attempt, simulated: Simulated) -> None:
    """Not an empty payload: its quantities are the simulation's own."""
    truth = simulated["ndjson"][1]
    rows = [json.loads(line) for line in payload(expected)["tables/metering.usage_period.jsonl"].splitlines()]
    schema = json.loads(payload(expected)["schemas/metering.usage_period.json"])["columns"]
    meter, quantity = schema.index("meter"), schema.index("quantity")
    counted = sum(int(row[quantity].partition(".")[0]) for row in rows if row[meter] == "api_requests")
    assert counted == sum(metered for _, name, month, metered, _ in truth.months if (name, month) == ("api_requests", MONTH)) > 4000


def test_no_landing_file_folder_or_run_stands_in_the_payload(expected: Attempt) -> None:
    home = expected.bundle.parents[5]
    names = {path.name for path in (home / "landing").rglob("*") if path.is_file()} | {str(home)}
    assert len(names) > 40
    for name, body in payload(expected).items():
        assert [each for each in names if each.encode() in body] == [], name


@pytest.mark.parametrize("name", REWRITTEN)
def test_the_folder_the_order_and_the_split_do_not_show(name: str, simulated: Simulated, expected: Attempt, tmp_path: Path) -> None:
    root = tmp_path / name
    copytree(simulated["ndjson"][0], root)
    REWRITTEN[name](root)
    assert_same(close(root), expected)


@pytest.mark.parametrize(("form", "threads"), [("csv", "1"), ("parquet", "1"), ("parquet", "4")])
def test_the_format_and_the_number_of_threads_do_not_show(
    form: Format, threads: str, simulated: Simulated, expected: Attempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MISSION_THREADS", threads)
    copytree(simulated[form][0], tmp_path / "home")
    assert simulated[form][1] == simulated["ndjson"][1]
    assert_same(close(tmp_path / "home"), expected)


def test_formats_mixed_from_day_to_day_do_not_show(simulated: Simulated, expected: Attempt, tmp_path: Path) -> None:
    root = tmp_path / "home"
    copytree(simulated["ndjson"][0] / "reference", root / "reference")
    for at, day in enumerate(LANDED):
        for source in ("usage_events", "gateway_log"):
            folder = simulated[FORMATS[at % 3]][0] / "landing" / source / day
            if folder.exists():
                copytree(folder, root / "landing" / source / day)
    assert len({path.suffix for path in landed_files(root, "usage_events/*/*")}) == 3
    assert_same(close(root), expected)


def test_the_order_of_runs_does_not_show(simulated: Simulated, expected: Attempt, tmp_path: Path) -> None:
    """The later days first, and then the whole range, as operations.md says."""
    copytree(simulated["ndjson"][0], tmp_path / "home")
    build(Home(tmp_path / "home"), LANDED[14:])
    assert_same(close(tmp_path / "home"), expected)
