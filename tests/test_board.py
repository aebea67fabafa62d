"""The finance dashboard and tonight's close: what they say of real closes, as page, JSON, CSV and XLSX, and that a rehearsal is never a close."""

import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from click.testing import CliRunner, Result
from conftest import Bench, event, seen
from test_corrections import (  # noqa: F401  # `made` is a fixture
    APRIL,
    BOOK,
    MAY,
    METERS,
    TENANTS,
    approved,
    build,
    checks_without,
    close,
    lock,
    made,
    people,
    price,
    requests,
)

from mc_pipelines.cli import main
from mc_pipelines.closing.rehearsal import rehearse
from mc_pipelines.closing.states import REHEARSAL, fold
from mc_pipelines.definitions import build_defs
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.canonical import instant
from mc_pipelines.evidence.signing import known_keys
from mc_pipelines.evidence.verify import verify
from mc_pipelines.home import Home
from mc_pipelines.journaling import journal_of
from mc_pipelines.runner import Workshop
from mc_pipelines.showing import show_board
from mc_pipelines.site.finance import board_csv, board_xlsx, build_board


@pytest.fixture
def bench(made: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:  # noqa: F811
    """April locked: acme 150.00 net, beta 50.00, 20 % of tax."""
    shutil.copytree(made.root, tmp_path / "home")
    monkeypatch.delenv("MISSION_SIGNING_KEY", raising=False)
    monkeypatch.setenv("MISSION_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MISSION_PERSON", "ops")
    return Bench(Workshop.open(Home(tmp_path / "home")))


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def shown(bench: Bench, month: str) -> dict[str, Any]:
    show_board(bench.home, month)
    found: dict[str, Any] = json.loads((bench.home.site / "finance" / f"{month}.json").read_bytes())
    return found


def test_the_board_says_where_every_tenant_stands_and_what_is_billed(bench: Bench) -> None:
    found = shown(bench, APRIL)
    assert found["counts"] == {"candidate": 0, "reconciled": 0, "approved": 0, "locked": 2, "published": 0}
    assert [(row["tenant_id"], row["name"], row["state"], row["net"], row["payable"]) for row in found["tenants"]] == [
        ("acme", "Acme", "locked", "150.00", "180.00"),
        ("beta", "Beta", "locked", "50.00", "60.00"),
    ]
    assert found["change"] == []
    assert {(row["before"], row["change"]) for row in found["tenants"]} == {(None, None)}
    assert [(row["currency"], row["billed"], row["unbilled"], row["payable"]) for row in found["totals"]] == [
        ("EUR", "200.00", "0.00", "240.00")
    ]
    assert [(row["meter"], row["billed"], row["unbilled"]) for row in found["meters"]] == [("api_requests", "200.00", "0.00")]
    entry = next(each for each in journal_of(bench.home).entries() if each.kind.endswith(".lock"))
    assert {row["since"][:19] for row in found["tenants"]} == {entry.signed_at.isoformat()[:19]}


def test_who_is_held_is_named_with_its_owner_and_locked_tenants_are_shown_as_locked(bench: Bench) -> None:
    """May: acme has 10 requests (5.00) and late tokens without a price for April; beta 4 requests (2.00), approved, then locked."""
    late = event("bytes", f"{APRIL}-10T10:00:00", f"{MAY}-10", type="tokens.used", context_tokens=5)
    bench.land([*requests(MAY, 10), *requests(MAY, 4, "beta"), late])
    build(bench, [f"{MAY}-10"], MAY)
    close(bench, MAY)
    found = {row["tenant_id"]: row for row in shown(bench, MAY)["tenants"]}
    assert (found["acme"]["state"], found["acme"]["blockers"], found["acme"]["owners"]) == (
        "candidate",
        ["invoice_corrections_rated"],
        ["team:finance-ops"],
    )
    assert (found["beta"]["state"], found["beta"]["before"], found["beta"]["change"]) == ("reconciled", "50.00", "-48.00")
    approved(bench.home, MAY, ["beta"])
    assert {row["tenant_id"]: row["state"] for row in shown(bench, MAY)["tenants"]} == {"acme": "candidate", "beta": "approved"}
    lock(bench.home, MAY, ["beta"])
    price(bench.home, "0.75")
    build(bench, [f"{MAY}-10"], MAY)
    close(bench, MAY)
    after = shown(bench, MAY)
    assert [(row["tenant_id"], row["state"], row["edition"], row["net"]) for row in after["tenants"]] == [
        ("acme", "candidate", 2, "7.50"),
        ("beta", "locked", 1, "2.00"),
    ]
    assert [(row["billed"], row["unbilled"]) for row in after["totals"]] == [("2.00", "7.50")]
    assert after["change"] == [{"currency": "EUR", "before": "200.00", "now": "9.50", "difference": "-190.50"}]


def test_the_same_journal_gives_the_same_bytes_and_five_at_once_leave_whole_files(bench: Bench) -> None:
    show_board(bench.home, APRIL)
    folder = bench.home.site / "finance"
    before = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    assert sorted(before) == [f"{APRIL}.{end}" for end in ("csv", "html", "json", "xlsx")]
    with ThreadPoolExecutor(5) as pool:
        assert [list(pages) for pages in pool.map(lambda _: show_board(bench.home, APRIL), range(5))] == [[]] * 5
    shutil.rmtree(folder)
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda _: show_board(bench.home, APRIL), range(5)))
    assert {path.name: path.read_bytes() for path in sorted(folder.iterdir())} == before


def board(**changes: Any) -> dict[str, Any]:
    """One tenant with a name like a formula, and an amount of more digits than a spreadsheet keeps."""
    amounts: dict[str, Any] = dict.fromkeys(("net", "tax", "total", "corrected", "credits_used", "payable", "before", "change"), "-5.25")
    row: dict[str, Any] = {
        "tenant_id": "=1+1",
        "name": "@SUM(A1)",
        "state": "locked",
        "since": "2026-05-03T10:00:00.000000Z",
        "blockers": [],
        "owners": [],
    }
    row |= {"edition": 1, "plan": "+x", "currency": "EUR", **amounts, "payable": "12345678901234567.89"}
    empty: dict[str, Any] = {name: [] for name in ("totals", "plans", "meters", "explained", "waivers", "change")}
    counts = {"candidate": 0, "reconciled": 0, "approved": 0, "locked": 1, "published": 0}
    head = {"period": APRIL, "edition": 1, "digest": "ab" * 32, "verdict": "passed", "requested_by": "ops", "counts": counts}
    return head | empty | {"tenants": [row]} | changes


def test_text_is_no_formula_and_numbers_are_numbers_in_csv_and_xlsx() -> None:
    (row,) = csv.DictReader(io.StringIO(board_csv(board()).decode(), newline=""))
    assert (row["tenant_id"], row["name"], row["plan"], row["net"], row["payable"]) == (
        "'=1+1",
        "'@SUM(A1)",
        "'+x",
        "-5.25",
        "12345678901234567.89",
    )
    book = openpyxl.load_workbook(io.BytesIO(board_xlsx(board())))
    assert book.sheetnames == ["Board", "By currency", "By plan", "By meter", "Explained", "Waivers", "Change"]
    sheet = book["Board"]
    cells = {str(head.value): cell for head, cell in zip(sheet[1], sheet[2], strict=True)}
    assert (cells["tenant_id"].value, cells["tenant_id"].data_type) == ("=1+1", "s")
    assert (cells["net"].value, cells["net"].data_type, cells["net"].number_format) == (-5.25, "n", "#,##0.00")
    assert (cells["payable"].value, cells["payable"].data_type) == ("12345678901234567.89", "s")
    assert board_xlsx(board()) == board_xlsx(board())


def test_a_list_that_no_cell_takes_says_where_its_rest_is() -> None:
    waiver: dict[str, Any] = {
        "gate": "g",
        "tenants": [f"tenant-{number:05}" for number in range(10_000)],
        "state": "stands",
        "rationale": "r",
    }
    waiver |= {"owner": "o", "expires": "2026-05-31", "person": "dana", "entry": 7}
    (_, row) = openpyxl.load_workbook(io.BytesIO(board_xlsx(board(waivers=[waiver]))))["Waivers"].iter_rows(values_only=True)
    assert str(row[1]).startswith("tenant-00000, tenant-00001, ")
    assert str(row[1]).endswith(" … the rest stands in the JSON")


def test_ten_thousand_tenants_are_in_the_files_and_the_page_shows_the_first(tmp_path: Path) -> None:
    rows = [board()["tenants"][0] | {"tenant_id": f"t{number:05}"} for number in range(10_000)]
    build_board(tmp_path, board(tenants=rows, counts=board()["counts"] | {"locked": 10_000}))
    page = (tmp_path / "finance" / f"{APRIL}.html").read_text(encoding="utf-8")
    assert "The first 2,000 of 10,000" in page
    assert page.count('<th scope="row"><bdi>') == 2000
    assert (tmp_path / "finance" / f"{APRIL}.csv").read_bytes().count(b"\r\n") == 10_001


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, make_bench: Any) -> Home:
    """April so far: 300 requests of acme on the tenth and 100 more on the twentieth, a fee of 30.00 prorated, and one of 7.00 that is not."""
    bench = make_bench(tmp_path_factory.mktemp("running"))
    home: Home = bench.home
    bench.declare("tenants", TENANTS)
    bench.declare("meters", METERS)
    (home.reference / "price_books").mkdir(exist_ok=True)
    fees = '      - {id: support, model: flat, price: "30", prorate: true}\n      - {id: setup, model: flat, price: "7"}\n'
    (home.reference / "price_books" / "example.yaml").write_text(BOOK.format(price="0.50") + fees, encoding="utf-8")
    people(bench)
    checks_without(home)
    bench.land(requests(APRIL, 300))
    bench.land([event(f"later {number}", f"{APRIL}-20T10:00:00") for number in range(100)])
    bench.build([f"{APRIL}-10", f"{APRIL}-20"], [])
    return home


@pytest.fixture
def night(running: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    shutil.copytree(running.root, tmp_path / "home")
    monkeypatch.delenv("MISSION_SIGNING_KEY", raising=False)
    monkeypatch.setenv("MISSION_HOME", str(tmp_path / "home"))
    return Bench(Workshop.open(Home(tmp_path / "home")))


def test_the_running_month_is_closed_as_if_it_ended_and_nothing_of_it_is_written(night: Bench) -> None:
    """After the 10th: 300 at 0.50, 10 of 30 days of 30.00, and 7.00: 167.00. After the 20th: 400 at 0.50, 20.00 and 7.00: 227.00."""
    tables = set(night.shop.lake.tables())
    done = call("tonight", "--day", f"{APRIL}-10", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["period"], found["day"], found["rehearsal"], found["moved"]) == (APRIL, f"{APRIL}-10", True, None)
    assert {row["tenant_id"]: row["net"] for row in found["by_tenant"]} == {"acme": "167.00", "beta": "17.00"}
    assert (found["tenants"], found["would_close"], found["blockers"]) == (2, 2, [])
    done = call("tonight")
    assert done.exit_code == 0, done.output
    for told in ("2026-04 as if it ended after 2026-04-20: 2 of 2 tenant(s) would close", "net 254.00", "EUR  70.00 since 2026-04-10"):
        assert told in done.output
    assert set(night.shop.lake.tables()) == tables
    page = (night.home.site / "tonight.html").read_text(encoding="utf-8")
    assert "2 of" in page
    assert json.loads((night.home.site / "tonight.json").read_bytes())["moved"]["unbilled"][0]["difference"] == "70.00"


def test_a_rehearsal_is_signed_once_and_can_be_neither_approved_nor_locked(night: Bench) -> None:
    first, again = rehearse(night.home), rehearse(night.home)
    assert (first.fresh, again.fresh, first.bundle) == (True, False, again.bundle)
    entries = journal_of(night.home).entries()
    assert [entry.kind for entry in entries] == [REHEARSAL]
    assert verify(first.bundle, known_keys(night.home.keys)).ok
    assert fold(entries, APRIL).editions == []
    assert "no edition yet" in call("status", APRIL).output
    for command in (("approve", APRIL, "--all-green"), ("lock", APRIL), ("publish", APRIL)):
        done = call(*command)
        assert done.exit_code == 2, done.output
    with pytest.raises(MissionError, match="has no edition"):
        approved(night.home, APRIL)


def test_who_stands_in_the_way_is_named_with_owner_and_remedy(night: Bench) -> None:
    (night.home.reference / "price_books" / "example.yaml").write_text(BOOK.format(price="0.50"), encoding="utf-8")
    before = rehearse(night.home, day=f"{APRIL}-10").document
    assert before["blockers"] == []
    night.land([event("priceless", f"{APRIL}-21T10:00:00", type="tokens.used", context_tokens=5)])
    night.build([f"{APRIL}-21"], [])
    found = rehearse(night.home).document
    assert (found["day"], found["would_close"], [row["held"] for row in found["by_tenant"]]) == (
        f"{APRIL}-21",
        1,
        [["invoice_every_billable_usage_priced", "invoice_preview_complete"], []],
    )
    blocker = next(each for each in found["blockers"] if each["gate"] == "invoice_every_billable_usage_priced")
    assert (blocker["owner"], blocker["tenants"], blocker["runbook"]) == (
        "team:finance-ops",
        1,
        "docs/runbooks/invoice_every_billable_usage_priced.md",
    )
    moved = found["moved"]
    assert (moved["since"], moved["would_close"], moved["held"], moved["freed"]) == (f"{APRIL}-10", -1, ["acme"], [])
    assert "invoice_every_billable_usage_priced" in moved["failed"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--day", "2026-04-30"), "2026-04-30 has not landed yet; the last day that has is 2026-04-20"),
        (("2026-05",), "no day of 2026-05 has landed yet"),
        (("2026-04", "--day", "2026-03-10"), "2026-03-10 does not lie in 2026-04 or its grace"),
        (("2031-04",), "2031-04 lies outside the calendar"),
        (("--day", "tomorrow"), "tomorrow is not how a day is written here"),
    ],
)
def test_a_night_that_cannot_be_rehearsed(night: Bench, arguments: tuple[str, ...], told: str) -> None:
    done = call("tonight", *arguments)
    assert (done.exit_code, told in done.output) == (2, True), done.output


def test_the_night_job_follows_a_single_day(night: Bench) -> None:
    defs = build_defs(night.home)
    assert defs.resolve_job_def("tonight").execute_in_process(run_config={"ops": {"rehearse": {"config": {"day": f"{APRIL}-10"}}}}).success
    assert json.loads((night.home.site / "tonight.json").read_bytes())["day"] == f"{APRIL}-10"
    assert "tonight_after_daily" in {sensor.name for sensor in defs.sensors or ()}


@pytest.fixture
def bench_of(tmp_path: Path, make_bench: Callable[[Path], Bench]) -> Callable[[], Bench]:
    """A new home each time, without prices and with every gate."""
    return lambda: make_bench(tmp_path / str(sum(1 for _ in tmp_path.iterdir())))


ZONED = """tenants:
  - {tenant_id: angeles, name: Angeles, zone: America/Los_Angeles, currency: EUR, plan: standard, grace_days: 2}
  - {tenant_id: tokyo, name: Tokyo, zone: Asia/Tokyo, currency: EUR, plan: standard, grace_days: 2}
"""


def hours(day: int) -> tuple[list[Any], list[Any]]:
    """One request an hour of each tenant on a UTC day, and the log that saw them."""
    at = [(tenant, f"{APRIL}-{day:02}T{hour:02}:00:00") for tenant in ("angeles", "tokyo") for hour in range(24)]
    events = [event(f"{tenant} {moment}", moment, tenant=tenant) for tenant, moment in at]
    return events, [seen(f"{tenant} {moment}", moment, tenant=tenant, meter="api_requests") for tenant, moment in at]


def test_looking_back_says_what_the_night_said_east_and_west_of_greenwich(bench_of: Callable[[], Bench]) -> None:
    """A faultless log, every gate judged: what landed after the night, on time or late, is no part of it."""

    def after(last: int, *late: Any) -> dict[str, Any]:
        bench = bench_of()
        bench.declare("tenants", ZONED)
        for day in range(1, last + 1):
            events, log = hours(day)
            bench.land([*events, *(late if day == last else ())], log)
        bench.build([f"{APRIL}-{day:02}" for day in range(1, last + 1)], [])
        return dict(rehearse(bench.home, day=f"{APRIL}-04").document)

    then = after(4)
    assert (then["tenants"], then["would_close"], then["blockers"]) == (2, 2, [])
    assert [(row["tenant_id"], row["net"], row["held"]) for row in then["by_tenant"]] == [("angeles", None, []), ("tokyo", None, [])]
    late = event("late", f"{APRIL}-02T10:00:00", f"{APRIL}-06", tenant="tokyo")
    again = event(f"angeles {APRIL}-03T10:00:00", f"{APRIL}-03T11:00:00", f"{APRIL}-06", tenant="angeles", ingested=f"{APRIL}-06T10:00:00")
    assert after(6, late, again) == then


def test_a_month_that_is_over_is_rehearsed_whole_with_what_of_its_grace_has_landed(night: Bench) -> None:
    """Two days of grace, so the landing days to 3 May count; the 401st request and each later one is 0.20. Whole, the fees are 30.00 and 7.00."""
    late = [event(f"late {day}", f"{APRIL}-30T10:00:00", f"{MAY}-{day:02}") for day in (2, 3, 4)]
    night.land([event("in time", f"{APRIL}-30T10:00:00"), *late])
    night.build([f"{APRIL}-30", *(f"{MAY}-{day:02}" for day in (2, 3, 4))], [])
    for day, last, net in ((f"{APRIL}-30", f"{APRIL}-30", "237.20"), (f"{MAY}-02", f"{MAY}-02", "237.40"), ("", f"{MAY}-03", "237.60")):
        found = rehearse(night.home, APRIL, day).document
        assert (found["period"], found["day"], found["by_tenant"][0]["net"]) == (APRIL, last, net)
    assert rehearse(night.home).document["period"] == MAY
    with pytest.raises(MissionError, match=r"2026-05-04 does not lie in 2026-04 or its grace, which ends on 2026-05-03\."):
        rehearse(night.home, APRIL, f"{MAY}-04")


def test_the_scoreboard_leads_to_the_first_night_without_another_close(bench: Bench) -> None:
    assert "tonight.html" not in (bench.home.site / "index.html").read_text(encoding="utf-8")
    assert call("tonight").exit_code == 0
    assert 'href="tonight.html"' in (bench.home.site / "index.html").read_text(encoding="utf-8")
    assert 'href="index.html"' in (bench.home.site / "tonight.html").read_text(encoding="utf-8")


def test_what_came_for_a_tenant_after_the_lock_is_neither_billed_nor_unbilled(bench: Bench) -> None:
    """gamma has nothing in April when it is locked. Its 10 late requests are in the next edition, and are billed as a correction in May."""
    bench.declare("tenants", TENANTS + "  - {tenant_id: gamma, name: Gamma, zone: UTC, currency: EUR, plan: standard, grace_days: 30}\n")
    bench.land([event(f"gamma {number}", f"{APRIL}-10T10:00:00", f"{APRIL}-11", tenant="gamma") for number in range(10)])
    build(bench, [f"{APRIL}-11"], APRIL)
    close(bench, APRIL)
    found = shown(bench, APRIL)
    row = next(each for each in found["tenants"] if each["tenant_id"] == "gamma")
    assert (row["name"], row["state"], row["edition"], row["net"]) == ("Gamma", "locked", 1, None)
    assert [(each["billed"], each["unbilled"]) for each in found["totals"]] == [("200.00", "0.00")]


def test_since_is_the_first_of_the_editions_that_say_the_same(bench: Bench) -> None:
    """May: beta is free in editions 1 and 2; acme is held in 1 and 2, and free in 3."""
    late = event("bytes", f"{APRIL}-10T10:00:00", f"{MAY}-10", type="tokens.used", context_tokens=5)
    bench.land([*requests(MAY, 10), *requests(MAY, 4, "beta"), late])
    build(bench, [f"{MAY}-10"], MAY)
    close(bench, MAY)
    price(bench.home, "0.75")
    build(bench, [f"{MAY}-10"], MAY)
    close(bench, MAY)

    def editions() -> list[str]:
        return [instant(each.signed_at) for each in journal_of(bench.home).entries() if each.body["period"] == MAY]

    assert [row["since"] for row in shown(bench, MAY)["tenants"]] == [editions()[0], editions()[0]]
    bench.land([*requests(MAY, 10), *requests(MAY, 4, "beta")])
    build(bench, [f"{MAY}-10"], MAY)
    close(bench, MAY)
    assert [row["since"] for row in shown(bench, MAY)["tenants"]] == [editions()[2], editions()[0]]


READ = """
import json, sys, zipfile
from pathlib import Path
from mc_pipelines.home import Home
from mc_pipelines.showing import show_board
home, month = Home(Path(sys.argv[1])), sys.argv[2]
for turn in range(15):
    if sys.argv[3] == "0" and turn % 3 == 0:
        for path in (home.site / "finance").glob(f"{month}.*"):
            path.unlink()
    show_board(home, month)
    for path in (home.site / "finance").glob(f"{month}.*"):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        whole = {".json": b"\\n", ".html": b"</html>", ".csv": b"\\r\\n"}.get(path.suffix)
        assert data.rstrip(b"\\n").endswith(whole.rstrip(b"\\n")) if whole else zipfile.ZipFile(path.open("rb")).testzip() is None, path
"""


def test_five_people_in_processes_of_their_own_never_see_half_a_file(bench: Bench) -> None:
    show_board(bench.home, APRIL)
    folder = bench.home.site / "finance"
    before = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    own = [
        subprocess.Popen([sys.executable, "-c", READ, str(bench.home.root), APRIL, str(number)], stderr=subprocess.PIPE, text=True)
        for number in range(5)
    ]
    assert [(each.communicate(timeout=120)[1], each.returncode) for each in own] == [("", 0)] * 5
    assert {path.name: path.read_bytes() for path in sorted(folder.iterdir())} == before
