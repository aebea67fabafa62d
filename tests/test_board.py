"""The finance dashboard and tonight's close: what they say of real closes, as page, JSON, CSV and XLSX, and that a rehearsal is never a close."""

import csv
import io
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from click.testing import CliRunner, Result
from conftest import Bench, event
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
from mc_pipelines.close import journal_of
from mc_pipelines.closing.rehearsal import REHEARSAL, rehearse
from mc_pipelines.closing.states import fold
from mc_pipelines.definitions import build_defs
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.signing import known_keys
from mc_pipelines.evidence.verify import verify
from mc_pipelines.home import Home
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
    assert after["change"] == [{"currency": "EUR", "before": "200.00", "now": "10.50", "difference": "-189.50"}]


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
    assert (found["day"], found["would_close"], found["held"].keys()) == (f"{APRIL}-21", 1, {"acme"})
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
        (("2026-04", "--day", "2026-03-10"), "2026-03-10 does not lie in 2026-04"),
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
