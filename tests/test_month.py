"""A whole month through Dagster on a small home: landing to signed bundle and pages, asked again, failed, late, killed."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from mc_pipelines.attempts import Attempt
from mc_pipelines.calendars import days
from mc_pipelines.close import attempt
from mc_pipelines.engine import connect
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.signing import known_keys
from mc_pipelines.evidence.verify import verify
from mc_pipelines.home import CHECKOUT, Home
from mc_pipelines.lake import WHOLE, Lake
from mc_pipelines.orchestra import run_job
from mc_pipelines.runner import Workshop, materialise
from mc_pipelines.starter import write_home
from mc_pipelines.windows import in_use

MONTH = "2026-04"
FIRST, LAST = date(2026, 4, 1), date(2026, 4, 30)


def event(number: int, day: date, **changes: object) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": f"e{number}",
        "source": "edge",
        "type": "http.request",
        "subject": "acme",
        "time": f"{day}T12:00:00+02:00",
        "ingested_at": f"{day}T12:00:01Z",
        "data": {"bytes": 100, "path": f"/p{number % 7}", "status": "200"},
    } | changes


def seen(number: int, day: date) -> dict[str, object]:
    return {"tenant_id": "acme", "meter": "api_requests", "hour": f"{day}T10:00:00Z", "id": f"e{number}", "quantity": 1}


def land(home: Home, source: str, day: date, name: str, rows: list[dict[str, object]]) -> None:
    folder = home.landing / source / day.isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def month_days() -> Iterator[date]:
    day = FIRST
    while day <= LAST:
        yield day
        day += timedelta(days=1)


def lay(root: Path) -> Home:
    """Ten requests a day, 300 in all, on both sides; the starter's tenant and its one meter."""
    write_home(root)
    sources = root / "reference" / "sources.yaml"
    sources.write_text(sources.read_text(encoding="utf-8").replace("2026-01-01", "2026-04-01"), encoding="utf-8")
    home = Home(root)
    for at, day in enumerate(month_days()):
        land(home, "usage_events", day, "a.ndjson", [event(at * 10 + step, day) for step in range(10)])
        land(home, "gateway_log", day, "g.ndjson", [seen(at * 10 + step, day) for step in range(10)])
    return home


def build(home: Home) -> None:
    ran = run_job(home, "daily", days("2026-04-01", "2026-05-03"))
    assert ran.ok, ran.problems


def close(home: Home) -> Attempt:
    ran = run_job(home, "month_end", ["2026-04-01"])
    assert ran.ok, ran.problems
    return attempt(home, MONTH)


def plain(home: Home) -> Attempt:
    """The same computation without Dagster, for tests that repeat it: every table in order, then the attempt."""
    shop = Workshop.open(home)
    for model in in_use(shop.home, shop.catalog):
        materialise(shop, model, {"day": days("2026-04-01", "2026-05-03"), "month": ["2026-04-01"], "once": [WHOLE]}[model.header.every])
    return attempt(home, MONTH)


def quantity(home: Home, meter: str = "api_requests") -> object:
    con = connect()
    Lake(str(home.lake)).view(con, "metering.usage_period")
    return con.sql("SELECT sum(quantity) FROM metering.usage_period WHERE meter = $meter", params={"meter": meter}).fetchall()[0][0]


def state(home: Home) -> dict[str, object]:
    lake = Lake(str(home.lake))
    made = {
        path.relative_to(home.root).as_posix(): path.read_bytes()
        for folder in (home.site, home.evidence)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return made | {table: lake.version(table) for table in lake.tables()}


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Attempt]:
    home = lay(tmp_path_factory.mktemp("closed"))
    build(home)
    return home, close(home)


def test_a_month_is_counted_judged_signed_and_shown(closed: tuple[Home, Attempt]) -> None:
    home, done = closed
    assert quantity(home) == 300  # 30 days of ten
    assert done.verdict == "passed"
    assert {result.gate: result.status for result in done.results}["metering_variance"] == "passed"
    assert verify(done.bundle, known_keys(home.keys)).ok
    assert "metering_variance" in (home.site / "index.html").read_text(encoding="utf-8")


def test_the_price_book_of_a_new_home_bills_its_tenant(closed: tuple[Home, Attempt]) -> None:
    con = connect()
    Lake(str(closed[0].lake)).view(con, "metering.invoices")
    # a fee of 49; of 300 requests 1000 are free; 19 % of 49 is 9.31
    assert con.sql("SELECT tenant_id, net, tax, payable FROM metering.invoices").fetchall() == [
        ("acme", Decimal(49), Decimal("9.31"), Decimal("58.31"))
    ]


def test_asked_again_nothing_is_new(closed: tuple[Home, Attempt]) -> None:
    home, first = closed
    before = state(home)
    build(home)
    again = close(home)
    assert again.digest == first.digest
    assert again.edition == first.edition
    assert state(home) == before


def test_one_changed_byte_of_the_bundle_is_refused(closed: tuple[Home, Attempt], tmp_path: Path) -> None:
    from shutil import copytree

    copy = tmp_path / "bundle"
    copytree(closed[1].bundle, copy)
    target = copy / "data" / "gates.json"
    body = bytearray(target.read_bytes())
    body[len(body) // 2] ^= 1
    target.write_bytes(body)
    found = verify(copy, None)
    assert not found.ok
    assert any("gates.json" in reason for reason in found.reasons)


def test_a_failed_attempt_is_signed_and_the_next_lists_it(tmp_path: Path) -> None:
    home = lay(tmp_path)
    (home.landing / "usage_events" / "2026-04-10" / "a.ndjson").unlink()
    failed = plain(home)
    assert failed.verdict == "failed"
    assert {result.gate for result in failed.results if result.status == "failed"} >= {"metering_variance", "metering_landing_complete"}
    assert verify(failed.bundle, known_keys(home.keys)).ok
    land(home, "usage_events", date(2026, 4, 10), "again.ndjson", [event(90 + step, date(2026, 4, 10)) for step in range(10)])
    passed = plain(home)
    assert (passed.verdict, passed.edition) == ("passed", 2)
    statement = verify(passed.bundle, known_keys(home.keys)).predicate
    assert statement is not None
    assert [entry["verdict"] for entry in statement["earlier_attempts"]] == ["failed"]


def test_a_month_does_not_close_without_a_file_that_could_not_be_read(tmp_path: Path) -> None:
    home = lay(tmp_path)
    day = date(2026, 4, 10)
    whole = gzip.compress(b"".join(json.dumps(event(7000 + each, day)).encode() + b"\n" for each in range(50)), mtime=0)
    path = home.landing / "usage_events" / day.isoformat() / "more.ndjson.gz"
    path.write_bytes(whole[:-40])
    (path.parent / ".DS_Store").write_bytes(b"x")
    failed = plain(home)
    assert [result.gate for result in failed.results if result.status == "failed"] == ["metering_landing_complete"]
    assert quantity(home) == 300
    con = connect()
    Lake(str(home.lake)).view(con, "landing.usage_events")
    left = con.sql("SELECT file, rows_in, left_because FROM landing.usage_events WHERE left_because IS NOT NULL").fetchall()
    assert [(name, rows) for name, rows, _ in left] == [("usage_events/2026-04-10/more.ndjson.gz", 0)]
    assert "gzip ends too early" in left[0][2]
    path.write_bytes(whole)
    assert "metering_landing_complete" not in {result.gate for result in plain(home).results if result.status == "failed"}
    assert quantity(home) == 350


def test_events_after_the_cut_off_are_late_and_not_counted(tmp_path: Path) -> None:
    home = lay(tmp_path)
    # The starter's tenant lives in Berlin with two days of grace: April ends 2026-04-30T22:00Z, the cut-off day is 2026-05-02.
    land(home, "usage_events", date(2026, 5, 2), "in-time.ndjson", [event(1001, date(2026, 4, 30))])
    land(home, "usage_events", date(2026, 5, 3), "late.ndjson", [event(1002, date(2026, 4, 30))])
    plain(home)
    assert quantity(home) == 301
    con = connect()
    Lake(str(home.lake)).view(con, "metering.late_events")
    late = con.sql("SELECT tenant_id, meter, CAST(landing_day AS VARCHAR), events FROM metering.late_events").fetchall()
    assert late == [("acme", "api_requests", "2026-05-03", 1)]


def test_a_landed_file_that_changes_is_an_error_and_the_last_good_state_stands(tmp_path: Path) -> None:
    home = lay(tmp_path)
    build(home)
    before = state(home)
    land(home, "usage_events", date(2026, 4, 10), "a.ndjson", [event(90, date(2026, 4, 10))])
    ran = run_job(home, "daily", days("2026-04-10"))
    assert not ran.ok
    assert any("bytes changed after landing" in problem and "2026-04-10/a.ndjson" in problem for problem in ran.problems)
    after = state(home)
    assert {name: after[name] for name in before if not name.startswith("ops.")} == {
        name: before[name] for name in before if not name.startswith("ops.")
    }


def test_a_close_without_tables_says_what_to_run(tmp_path: Path) -> None:
    write_home(tmp_path)
    with pytest.raises(MissionError, match="mission run"):
        attempt(Home(tmp_path), MONTH)


@pytest.mark.parametrize(
    "point",
    [
        "lake.rows_handed_over",
        "lake.committed",
        "staging.quarantine_committed",
        "staging.rows_committed",
        "close.bundle_built",
        "close.journal_written",
    ],
)
def test_killed_at_a_commit_point_a_re_run_gives_the_same_results(point: str, closed: tuple[Home, Attempt], tmp_path: Path) -> None:
    home = lay(tmp_path)
    script = "import sys; from pathlib import Path; from mc_pipelines.home import Home; from test_month import plain; plain(Home(Path(sys.argv[1])))"
    environment = os.environ | {"MISSION_CRASH_AT": point, "PYTHONPATH": f"{CHECKOUT}{os.pathsep}{CHECKOUT / 'tests'}"}
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=environment, cwd=CHECKOUT, capture_output=True, check=False)
    assert killed.returncode == -9
    again = plain(home)
    assert again.digest == closed[1].digest
    assert again.edition == 1
    for file in sorted((closed[1].bundle / "data").rglob("*")):
        if file.is_file():
            assert (again.bundle / "data" / file.relative_to(closed[1].bundle / "data")).read_bytes() == file.read_bytes()


def test_rows_that_no_meter_counts_are_a_warning_with_their_names(tmp_path: Path) -> None:
    home = lay(tmp_path)
    day = date(2026, 4, 10)
    land(
        home,
        "usage_events",
        day,
        "other.ndjson",
        [event(8000 + each, day, type="usage.nobody_counts", data={"value": 9}) for each in range(4)],
    )
    land(home, "gateway_log", day, "other.ndjson", [seen(8000, day) | {"meter": "undeclared"}])
    done = plain(home)
    assert done.verdict == "passed"  # a warning fails no close
    (result,) = (result for result in done.results if result.gate == "metering_unmetered")
    assert result.status == "failed"
    assert [(row["source"], row["unmetered"], row["names"]) for row in result.offending] == [
        ("gateway_log", 1, "undeclared"),
        ("usage_events", 4, "usage.nobody_counts"),
    ]
