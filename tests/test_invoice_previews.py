"""Previews as files of a signed month, the page of the batch, and a month under a draft; expected values by hand."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import Bench, event, seen

from mc_pipelines.attempts import Attempt, standing
from mc_pipelines.cli import main
from mc_pipelines.close import attempt
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.canonical import canonical, sha256
from mc_pipelines.home import Home
from mc_pipelines.invoicing.batch_files import folder_of
from mc_pipelines.runner import Workshop

TENANTS = """tenants:
  - {tenant_id: acme, name: Acme, zone: UTC, currency: USD, plan: basic, grace_days: 2}
  - {tenant_id: "Beta GmbH/2", name: "Beta = 1", zone: UTC, currency: USD, plan: basic, grace_days: 2}
  - {tenant_id: nippon, name: 日本電気, zone: Asia/Tokyo, currency: JPY, plan: basic, grace_days: 2}
"""
METERS = """meters:
  - {meter: calls, type: usage.calls, aggregation: sum, value: value, unit: call, floor: 1}
"""
BOOK = """price_book: {name}
version: "{version}"
effective: 2025-01-01T00:00:00Z
currency: {currency}
taxes: {{vat: "20"}}
plans:
  basic:
    tax: vat
    charges:
      - {{id: fee, model: flat, price: "{fee}"}}
      - {{id: calls, model: per_unit, meter: {meter}, price: "{price}"}}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, make_bench: Callable[[Path], Bench]) -> tuple[Bench, Attempt]:
    """A home with one close of April."""
    found = make_bench(tmp_path_factory.mktemp("made"))
    for name, text in (("tenants", TENANTS), ("meters", METERS), ("explained", "explained: []\n")):
        found.declare(name, text)
    books = found.home.reference / "price_books"
    books.mkdir(exist_ok=True)
    for path in books.glob("*.yaml"):
        path.unlink()
    book(books / "usd.yaml")
    book(books / "jpy.yaml", name="jpy", currency="JPY", fee="1000", price="3")
    used = [("acme", 200), ("Beta GmbH/2", 30), ("nippon", 70)]
    found.land(
        [event(f"e {tenant}", "2026-04-10T10:00:00", tenant=tenant, type="usage.calls", value=calls) for tenant, calls in used],
        [seen(f"e {tenant}", "2026-04-10T10:00:00", calls, tenant=tenant, meter="calls") for tenant, calls in used],
    )
    return found, closed(found)


@pytest.fixture
def first(made: tuple[Bench, Attempt], bench: Bench) -> Attempt:
    """The close of April, in the test's own copy of the home."""
    done = made[1]
    return replace(done, bundle=bench.home.root / done.bundle.relative_to(made[0].home.root))


@pytest.fixture
def bench(made: tuple[Bench, Attempt], tmp_path: Path) -> Bench:
    """A copy of the home."""
    copied = tmp_path / "home"
    copytree(made[0].home.root, copied)
    return Bench(Workshop.open(Home(copied)))


def book(
    path: Path, name: str = "usd", currency: str = "USD", fee: str = "10", price: str = "0.50", meter: str = "calls", version: str = "1"
) -> Path:
    path.write_text(BOOK.format(name=name, version=version, currency=currency, fee=fee, price=price, meter=meter), encoding="utf-8")
    return path


def closed(bench: Bench) -> Attempt:
    bench.build(["2026-04-10"])
    return attempt(bench.home, "2026-04")


def batch_of(done: Attempt) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((done.bundle / "data/invoices/batch.json").read_bytes())
    return found


def preview_of(done: Attempt, tenant: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((done.bundle / f"data/invoices/{folder_of(tenant)}/preview.json").read_bytes())
    return found


def test_a_tenant_has_a_folder_whatever_its_id_is() -> None:
    assert folder_of("acme-2_b") == "acme-2_b"
    odd = ["Acme", "a/b", "..", "con", "lpt1", "", "ä", "a" * 101, ".a", "_acme"]
    assert all(folder_of(tenant).startswith("_") for tenant in odd)
    assert len({folder_of(tenant) for tenant in odd}) == len(odd)


def test_every_tenant_has_json_csv_and_pdf_of_one_digest_in_the_bundle(first: Attempt) -> None:
    for tenant in ("acme", "Beta GmbH/2", "nippon"):
        folder = first.bundle / "data/invoices" / folder_of(tenant)
        assert sorted(path.name for path in folder.iterdir()) == ["preview.csv", "preview.json", "preview.pdf"]
        document = preview_of(first, tenant)
        assert document["digest"] == sha256(canonical(document["rated"]))
        assert document["digest"] in (folder / "preview.csv").read_text(encoding="utf-8")
        assert (folder / "preview.pdf").read_bytes().startswith(b"%PDF-")
    acme = preview_of(first, "acme")
    # 10 + 200 x 0.50 = 110, tax 20 % is 22
    assert {name: acme["rated"]["totals"][name] for name in ("net", "total", "payable")} == {
        "net": "110.00",
        "total": "132.00",
        "payable": "132.00",
    }
    assert preview_of(first, "nippon")["rated"]["totals"]["total"] == "1452"  # 1000 + 210, tax 242
    assert preview_of(first, "nippon")["rated"]["period"]["start"] == "2026-03-31T15:00:00.000000Z"
    assert acme["variance"] == [
        {
            "meter": "calls",
            "unit": "call",
            "metered": "200",
            "reference": "200",
            "difference": "0",
            "percent": "0",
            "limit_percent": "0.25",
            "status": "within_floor",
        }
    ]


def test_the_evidence_of_a_line_is_the_digest_of_its_row_in_the_bundle(first: Attempt) -> None:
    fee, calls = preview_of(first, "acme")["evidence"]
    assert fee is None
    rows = (first.bundle / "data" / calls["file"]).read_bytes().splitlines(keepends=True)
    assert [sha256(row) == calls["row"] for row in rows if b'"acme"' in row] == [True]


def test_the_batch_says_totals_and_who_is_blocked(bench: Bench) -> None:
    book(bench.home.reference / "price_books" / "jpy.yaml", name="jpy", currency="JPY", fee="1000", price="3", meter="other")
    bench.declare("meters", METERS + "  - {meter: other, type: usage.other, aggregation: count, unit: other, floor: 1}\n")
    done = closed(bench)
    batch = batch_of(done)
    assert batch["totals"] == [
        {
            "currency": "USD",
            "invoices": 2,
            "net": "135.00",  # 110 + 25
            "total": "162.00",
            "corrected": "0.00",
            "credits_used": "0.00",
            "payable": "162.00",
            "tax": "27.00",
        }
    ]
    assert {(row["meter"], row["kind"]): row["net"] for row in batch["meters"]} == {("", "flat"): "20.00", ("calls", "usage"): "115.00"}
    assert [(row["tenant_id"], row["problems"][0].partition(" used")[0]) for row in batch["blocked"]] == [
        ("nippon", "meter calls: no charge prices 70")
    ]
    assert not (done.bundle / "data/invoices/nippon").exists()
    assert done.verdict == "failed"
    assert set(batch["not_passed"]) == {each.gate for each in done.results if each.status != "passed" and each.severity == "critical"}
    assert "invoice_preview_complete" in batch["not_passed"]
    assert {result.gate for result in done.results if result.status == "failed"} >= {"invoice_preview_complete"}


def test_previews_are_compared_with_the_newest_that_were_rated_otherwise(bench: Bench, first: Attempt) -> None:
    assert preview_of(first, "acme")["change"] is None
    assert batch_of(first)["previous"] is None
    again = closed(bench)
    assert (again.fresh, again.digest) == (False, first.digest)
    book(bench.home.reference / "price_books" / "usd.yaml", price="0.60")
    second = closed(bench)
    change = preview_of(second, "acme")["change"]
    # 10 + 120 = 130, tax 26
    assert (change["edition"], change["digest"]) == (1, preview_of(first, "acme")["digest"])
    assert (change["before"], change["now"], change["difference"]) == ("132.00", "156.00", "24.00")
    assert change["charges"] == [
        {"charge": "fee", "before": "10.00", "now": "10.00", "difference": "0.00"},
        {"charge": "calls", "before": "100.00", "now": "120.00", "difference": "20.00"},
    ]
    assert closed(bench).fresh is False
    assert [row["difference"] for row in batch_of(second)["invoices"]] == ["3.60", "24.00", "0"]
    assert batch_of(second)["previous"]["digest"] == batch_of(first)["digest"]


def test_a_bundle_reproduces_with_the_previews_that_it_was_compared_with(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISSION_HOME", str(bench.home.root))
    book(bench.home.reference / "price_books" / "usd.yaml", price="0.60")
    second = closed(bench)
    book(bench.home.reference / "price_books" / "usd.yaml", price="0.70")
    closed(bench)
    done = CliRunner().invoke(main, ["reproduce", str(second.bundle)])
    assert (done.exit_code, done.output.splitlines()[-1].partition(": ")[2]) == (0, "the same bytes"), done.output


def test_a_line_of_an_invoice_is_proven_without_the_others(
    bench: Bench, first: Attempt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MISSION_HOME", str(bench.home.root))
    lines = (first.bundle / "data/tables/metering.invoice_lines.jsonl").read_text(encoding="utf-8").splitlines()
    number = next(place for place, text in enumerate(lines, 1) if '"acme"' in text and '"usage"' in text)
    proof = CliRunner().invoke(main, ["prove", str(first.bundle), "metering.invoice_lines", str(number)])
    assert proof.exit_code == 0, proof.output
    (tmp_path / "proof.json").write_text(proof.stdout, encoding="utf-8")
    assert "nippon" not in proof.stdout
    done = CliRunner().invoke(main, ["verify", "--proof", str(tmp_path / "proof.json")])
    assert done.exit_code == 0, done.output


def test_a_bundle_that_was_changed_is_no_previous_one(bench: Bench, first: Attempt) -> None:
    path = first.bundle / "data/invoices/batch.json"
    path.write_bytes(path.read_bytes().replace(b"132.00", b"131.00"))
    book(bench.home.reference / "price_books" / "usd.yaml", price="0.60")
    bench.build(["2026-04-10"])
    with pytest.raises(MissionError, match=r"batch\.json: not the file that was signed; restore the bundle"):
        attempt(bench.home, "2026-04")


def test_what_stands_is_told_from_the_bundle(bench: Bench, first: Attempt) -> None:
    with pytest.raises(MissionError, match="2026-05 was never attempted here"):
        standing(bench.home, "metering", "2026-05")
    told = standing(bench.home, "metering", "2026-04")
    assert (told.results, told.bundle, told.verdict, told.digest) == (first.results, first.bundle, first.verdict, first.digest)


def test_the_site_shows_the_previews_of_the_newest_close_and_no_others(bench: Bench, first: Attempt) -> None:
    site = bench.home.site / "invoices"
    page = (site / "2026-04.html").read_text(encoding="utf-8")
    for row in batch_of(first)["invoices"]:
        assert f'href="2026-04/{row["folder"]}/preview.pdf"' in page
        for kind in ("pdf", "csv", "json"):
            name = f"{row['folder']}/preview.{kind}"
            assert (site / "2026-04" / name).read_bytes() == (first.bundle / "data/invoices" / name).read_bytes()
    assert 'href="invoices/2026-04.html"' in (bench.home.site / "index.html").read_text(encoding="utf-8")
    bench.declare(
        "tenants",
        TENANTS.replace("plan: basic, grace_days: 2}\n  - {tenant_id: nippon", "plan: none, grace_days: 2}\n  - {tenant_id: nippon"),
    )
    closed(bench)
    assert not (site / "2026-04" / folder_of("Beta GmbH/2")).exists()
    assert (site / "2026-04/acme/preview.pdf").exists()
    for path in (bench.home.reference / "price_books").glob("*.yaml"):
        path.unlink()
    closed(bench)
    assert sorted(path.name for path in site.rglob("*") if path.is_file()) == []
    assert "invoices/" not in (bench.home.site / "index.html").read_text(encoding="utf-8")


def ask(bench: Bench, monkeypatch: pytest.MonkeyPatch, draft: Path, *options: str) -> tuple[int, str]:
    monkeypatch.setenv("MISSION_HOME", str(bench.home.root))
    done = CliRunner().invoke(main, ["preview", "2026-04", "--price-book", str(draft), *options])
    return done.exit_code, done.output


def test_a_draft_is_compared_and_nothing_is_published(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in bench.home.root.rglob("*") if path.is_file()}
    draft = book(tmp_path / "draft.yaml", fee="12", price="0.40", version="2 <b>")
    code, output = ask(bench, monkeypatch, draft, "--json", "--to", str(tmp_path / "out"))
    assert code == 0
    found = json.loads(output)
    # acme 110 becomes 12 + 80 = 92; Beta 25 becomes 12 + 12 = 24
    assert found["total"] == {"tenants": 2, "before": "135.00", "after": "116.00", "difference": "-19.00", "ratio": "-0.140740741"}
    assert {row["tenant_id"]: (row["difference"], row["ratio"]) for row in found["tenants"]} == {
        "acme": ("-18.00", "-0.163636364"),
        "Beta GmbH/2": ("-1.00", "-0.04"),
    }
    assert found["instead_of"] == ["1"]
    (page,) = (tmp_path / "out").glob("*.html")
    assert "2 &lt;b&gt;" in page.read_text(encoding="utf-8")
    assert json.loads(page.with_suffix(".json").read_bytes()) == found
    after = {path: path.stat().st_mtime_ns for path in bench.home.root.rglob("*") if path.is_file()}
    assert {path for path in after if after[path] != before.get(path) and tmp_path / "out" not in path.parents and path != draft} == set()


def test_the_plan_beside_a_draft_is_the_one_held_last(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = BOOK.format(name="usd", version="1", currency="USD", fee="10", price="0.50", meter="calls")
    text += text.partition("plans:\n")[2].replace("  basic:", "  large:")
    (bench.home.reference / "price_books/usd.yaml").write_text(text, encoding="utf-8")
    subscribed = "  - {{tenant_id: acme, plan: {}, price_book: usd, from: {}}}\n"
    bench.declare("subscriptions", "subscriptions:\n" + subscribed.format("basic", "2026-01-01") + subscribed.format("large", "2026-04-05"))
    closed(bench)
    draft = tmp_path / "draft.yaml"
    draft.write_text(text, encoding="utf-8")
    code, output = ask(bench, monkeypatch, draft, "--json")
    assert code == 0
    assert {row["tenant_id"]: row["plan"] for row in json.loads(output)["tenants"]} == {"acme": "large", "Beta GmbH/2": "basic"}


def test_a_draft_that_is_effective_later_stands_in_for_the_whole_month(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    draft = book(tmp_path / "draft.yaml", price="1")
    draft.write_text(draft.read_text().replace("2025-01-01", "2031-07-01"))
    code, output = ask(bench, monkeypatch, draft, "--json")
    assert (code, json.loads(output)["total"]["after"]) == (0, "250.00")  # 2 x 10 + 230
    assert len(list((bench.home.root / "what-if").iterdir())) == 2


def test_a_draft_that_leaves_usage_without_a_price_says_whose(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    draft = book(tmp_path / "draft.yaml")
    draft.write_text("".join(line for line in draft.read_text().splitlines(keepends=True) if "id: calls" not in line))
    code, output = ask(bench, monkeypatch, draft)
    assert code == 1
    assert "blocked: acme: meter calls: no charge prices 200 used" in output
    assert "all 0" in output


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "eur"}, "no tenant has a plan of price book 'eur'; there are jpy, usd."),
        ({"meter": "cals"}, "draft.yaml:11: charge calls: meter 'cals' is not in meters.yaml."),
        ({"price": "0.5.0"}, "draft.yaml:11"),
    ],
)
def test_a_draft_that_cannot_be_used_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: dict[str, str], said: str
) -> None:
    code, output = ask(bench, monkeypatch, book(tmp_path / "draft.yaml", **change))
    assert code == 2
    assert said in output


@pytest.mark.parametrize(("data", "said"), [(b"", "draft.yaml:1: expected keys"), (b"\xff\xfe", "draft.yaml:1: not readable YAML")])
def test_a_draft_that_is_no_text_of_a_price_book_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: bytes, said: str
) -> None:
    draft = tmp_path / "draft.yaml"
    draft.write_bytes(data)
    code, output = ask(bench, monkeypatch, draft)
    assert (code, said in output) == (2, True), output


def test_a_month_that_is_not_rated_has_nothing_to_compare_with(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MISSION_HOME", str(bench.home.root))
    done = CliRunner().invoke(main, ["preview", "2026-03", "--price-book", str(book(tmp_path / "draft.yaml"))])
    assert (done.exit_code, "2026-03 is not rated yet" in done.output) == (2, True)
