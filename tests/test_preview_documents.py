"""A preview as JSON, CSV and PDF: one digest, any name, the same bytes everywhere. Sums by hand; texts are read back from the pages."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pypdf import PdfReader

from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.canonical import canonical, sha256
from mc_pipelines.home import CHECKOUT
from mc_pipelines.invoicing.documents import FONTS, Press, csv_bytes, guarded, json_bytes
from mc_pipelines.invoicing.preview import Compared, Evidence, Preview, Previous, Status, document

SCHEMA = json.loads((CHECKOUT / "docs/schemas/invoice-preview.json").read_bytes())
SCRIPTS = {
    "arabic": "شركة الاختبار",
    "hebrew": "חברת הבדיקות",
    "chinese": "北京测试有限公司",
    "japanese": "株式会社テスト",
    "korean": "시험 주식회사",
    "devanagari": "परीक्षण कंपनी",
    "thai": "บริษัททดสอบ",
    "greek": "Δοκιμή",
    "cyrillic": "Проверка",
    "georgian": "ტესტი",
    "tamil": "சோதனை",
}


def line(kind: str = "usage", **changed: Any) -> dict[str, Any]:
    """A line of 1,500 units at 0.02, 10 % off, taxed with 20 %: 30.00, -3.00, 27.00, 5.40."""
    return {
        "kind": kind,
        "charge": "api",
        "plan": "growth",
        "price_book": "usd",
        "version": "2026-1",
        "start": "2026-03-31T14:00:00.000000Z",
        "end": "2026-04-30T14:00:00.000000Z",
        "days": [30, 30],
        "meter": "api_requests",
        "dimensions": {},
        "tier": ["1000", "5000"],
        "quantity": "1500",
        "unit_price": "0.02",
        "allowance_used": "250",
        "amount": "30.00",
        "discount_percent": "10",
        "line_discount": "-3.00",
        "invoice_discount": "0.00",
        "net": "27.00",
        "tax": "vat",
        "tax_percent": "20",
        "tax_amount": "5.40",
    } | changed


def invoice(*lines: dict[str, Any], currency: str = "USD", **totals: Any) -> dict[str, Any]:
    sums = {"subtotal": "30.00", "discount": "-3.00", "net": "27.00", "total": "32.40", "credits_used": "-2.40", "payable": "30.00"}
    corrections = [totals.pop("correction")] if "correction" in totals else []
    taxes = [{"tax": "vat", "percent": "20", "base": "27.00", "amount": "5.40"}] if lines else []
    return {
        "currency": currency,
        "policy": "2026-1",
        "lines": list(lines),
        "taxes": taxes,
        "corrections": corrections,
        "corrected": "0.00",
        **(sums | totals),
    }


def correction() -> dict[str, Any]:
    """Seven late events took 12.50 off February, and 2.50 of its tax."""
    credit = line(quantity="-25", amount="-12.50", line_discount="0.00", net="-12.50", tax_amount="-2.50") | {"event_count": 7}
    return {
        "original_period": "2026-02",
        "original_invoice": "9c" * 32,
        "event_count": 7,
        "digest": "ef" * 32,
        "net": "-12.50",
        "tax": "-2.50",
        "total": "-15.00",
        "lines": [credit],
        "taxes": [{"tax": "vat", "percent": "20", "base": "-12.50", "amount": "-2.50"}],
    }


def preview(rated: Mapping[str, Any] | None = None, **changed: Any) -> Preview:
    """A tenant in Lord Howe with one line, where nothing is compared and nothing corrected."""
    shown = invoice(line()) if rated is None else rated
    plain = Preview(
        tenant_id="acme",
        name="Acme",
        zone="Australia/Lord_Howe",
        period="2026-04",
        first_day=date(2026, 4, 1),
        last_day=date(2026, 4, 30),
        start=datetime.fromisoformat("2026-03-31T13:00:00"),
        end=datetime.fromisoformat("2026-04-30T13:30:00"),
        plans=("growth",),
        invoice=shown,
        books=(("usd", "2026-1"),),
        evidence=(None,) * len(shown["lines"]),
    )
    return replace(plain, **changed)


def full() -> Preview:
    """Everything that a preview can say."""
    lines = (
        line(),
        line("flat", charge="platform", meter=None, tier=None, quantity="1", unit_price="49", allowance_used="0", days=[12, 30]),
        line("minimum", charge="", meter=None, tier=None, quantity=None, unit_price=None, tax=None, tax_percent=None, tax_amount=None),
        line(dimensions={"region": "eu <b>", "model": "=1+1"}, amount="-30.00", net="-27.00", tax_amount="-5.40"),
    )
    states: tuple[Status, ...] = ("within", "within_floor", "explained", "breach")
    return preview(
        invoice(*lines, correction=correction(), corrected="-15.00"),
        evidence=(Evidence("tables/metering.charge_usage.jsonl", "ab" * 32), None, None, None),
        variance=(
            *(
                Compared(f"meter_{name}", "request", Decimal(1000), Decimal(1001), Decimal("-0.000999001"), Decimal("0.0025"), name)
                for name in states
            ),
            Compared("meter_new", "request", Decimal(5), Decimal(0), None, Decimal("0.0025"), "unreferenced"),
        ),
        previous=Previous(2, "cd" * 32, Decimal("30.00"), {"api": Decimal("20.00"), "gone": Decimal("5.00")}),
    )


def text_of(pages: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(pages)).pages)


def squeezed(text: str) -> str:
    return "".join(text.split()).replace("\u200b", "")


@pytest.fixture(scope="module")
def press() -> Press:
    return Press()


@pytest.mark.parametrize("shown", [preview(), full(), preview(invoice())])
def test_the_document_is_as_its_published_schema_says(shown: Preview) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert list(Draft202012Validator(SCHEMA).iter_errors(json.loads(json_bytes(document(shown))))) == []


@pytest.mark.parametrize("change", [{"extra": 1}, {"digest": "ab"}, {"preview": False}, {"name": 1}])
def test_the_schema_refuses_what_is_none(change: dict[str, Any]) -> None:
    assert list(Draft202012Validator(SCHEMA).iter_errors(document(preview()) | change))


def test_json_csv_and_pdf_carry_one_digest_which_is_that_of_what_was_rated(press: Press) -> None:
    shown = document(full())
    assert shown["digest"] == sha256(canonical(shown["rated"]))
    assert {row["digest"] for row in rows(csv_bytes(shown))} == {shown["digest"]}
    assert f"Digest{shown['digest']}" in squeezed(text_of(press.pdf(shown)))


def test_the_digest_stays_when_only_what_is_beside_changes_and_moves_with_what_was_rated() -> None:
    digest = document(preview())["digest"]
    same = replace(full(), invoice=preview().invoice, evidence=(Evidence("tables/x.jsonl", "ab" * 32),))
    assert document(same)["digest"] == digest
    for other in (preview(zone="UTC"), preview(plans=("scale",)), preview(invoice(line(net="27.01")))):
        assert document(other)["digest"] != digest


def test_the_change_names_every_charge_of_both() -> None:
    shown = preview(previous=Previous(2, "cd" * 32, Decimal("30.00"), {"gone": Decimal("5.00"), "api": Decimal("20.00")}))
    assert document(shown)["change"] == {
        "edition": 2,
        "digest": "cd" * 32,
        "before": "30.00",
        "now": "32.40",
        "difference": "2.40",
        "charges": [
            {"charge": "api", "before": "20.00", "now": "27.00", "difference": "7.00"},
            {"charge": "gone", "before": "5.00", "now": "0.00", "difference": "-5.00"},
        ],
    }


def test_evidence_is_given_per_line() -> None:
    with pytest.raises(MissionError, match="preview of acme 2026-04: 2 entries of evidence for 1 lines"):
        document(preview(evidence=(None, None)))


def rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def test_numbers_of_the_csv_come_back_as_the_same_decimals_and_texts_are_no_formulas() -> None:
    shown = document(full())
    found = rows(csv_bytes(shown))
    late = [each for correction in shown["rated"]["corrections"] for each in correction["lines"]]
    assert [Decimal(row["net"]) for row in found] == [Decimal(each["net"]) for each in (*shown["rated"]["lines"], *late)]
    assert [(row["original_period"], row["events"]) for row in found] == [("", "")] * 4 + [("2026-02", "7")]
    assert found[3]["amount"] == "-30.00"  # a credit line is a number, not a text
    assert (found[0]["tier_above"], found[0]["tier_up_to"], found[0]["days"], found[1]["days"]) == ("1000", "5000", "30", "12")
    assert json.loads(found[3]["dimensions"]) == {"region": "eu <b>", "model": "=1+1"}
    assert (found[0]["evidence_file"], found[1]["evidence_file"]) == ("tables/metering.charge_usage.jsonl", "")
    hostile = document(preview(invoice(line(charge='=HYPERLINK("http://x")', plan="@plan", meter="-1+1", tax="\tvat"))))
    (row,) = rows(csv_bytes(hostile))
    assert (row["charge"], row["plan"], row["meter"], row["tax"]) == ('\'=HYPERLINK("http://x")', "'@plan", "'-1+1", "'\tvat")


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\tx", "\rx", "\nx", "'x", "＝1"])
def test_a_guarded_text_begins_with_an_apostrophe_and_is_there_behind_it(text: str) -> None:
    assert guarded(text) == f"'{text}"
    assert guarded(f"a{text}") == f"a{text}"


def test_the_page_says_all_that_the_document_says(press: Press) -> None:
    shown = squeezed(text_of(press.pdf(document(full()))))
    for told in (
        "PREVIEW·notaninvoice·acme",
        "Australia/Lord_Howe",
        "2026-04-01to2026-04-30",
        "from2026-03-3113:00:00Zuntilbefore2026-04-3013:30:00Z",
        "tierabove1000upto5000",
        "allowanceused250",
        "12of30days",
        "True-uptotheminimum",
        "-27.00",
        "vat20%on27.00",
        "Prepaidcreditsused-2.40",
        "PayableUSD30.00",
        "2026-02, invoice 9c9c9c9c9c9c: 7 late events",
        "Corrections of earlier periods-15.00",
        "-12.50",
        "breach",
        "noreference",
        "-0.0999001",
        "Againstedition2,digestcdcdcdcdcdcd",
        "evidenceabababababab",
        "region",
    ):
        assert squeezed(told) in shown, told


def test_a_month_without_lines_is_a_page_that_says_so(press: Press) -> None:
    shown = text_of(
        press.pdf(document(preview(invoice(**dict.fromkeys(("subtotal", "discount", "net", "total", "credits_used", "payable"), "0.00")))))
    )
    for told in ("No line in this period.", "None.", "No meter is compared in this period.", "There is no previous preview."):
        assert told in shown


@pytest.mark.parametrize(("currency", "amount"), [("JPY", "30"), ("KWD", "30.000")])
def test_money_has_the_digits_of_its_currency(press: Press, currency: str, amount: str) -> None:
    shown = invoice(line(amount=amount, net=amount), currency=currency, payable=amount)
    assert f"Payable{currency}{amount}" in squeezed(text_of(press.pdf(document(preview(shown)))))


def test_two_hundred_lines_are_pages_that_each_have_head_and_digest(press: Press) -> None:
    shown = document(preview(invoice(*(line(charge=f"charge_{number}") for number in range(200)))))
    pages = PdfReader(io.BytesIO(press.pdf(shown))).pages
    assert len(pages) > 4
    texts = [squeezed(page.extract_text()) for page in pages]
    assert all(f"Digest{shown['digest']}" in text and "PREVIEW" in text for text in texts)
    assert all(f"Page{number}of{len(pages)}" in text for number, text in enumerate(texts, 1))
    assert sum("UnitpriceAmountUSD" in text for text in texts) >= len(pages) - 1
    whole = "".join(texts)
    assert all(f"charge_{number}·Usage" in whole for number in range(200))


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_name_of_any_script_has_all_its_glyphs_from_embedded_fonts(press: Press, script: str) -> None:
    name = SCRIPTS[script]
    reader = PdfReader(io.BytesIO(press.pdf(document(preview(name=name)))))
    fonts = [font.get_object() for page in reader.pages for font in page["/Resources"]["/Font"].values()]  # type: ignore[index]
    kinds = [font["/DescendantFonts"][0].get_object()["/FontDescriptor"].get_object() for font in fonts]
    assert all("/FontFile2" in each or "/FontFile3" in each for each in kinds)
    found = reader.pages[0].extract_text()
    if script not in {
        "arabic",
        "hebrew",
        "devanagari",
        "thai",
        "tamil",
    }:  # shaped or reordered: their code points are not read back in order
        assert squeezed(name) in squeezed(found)
    assert "\ufffd" not in found


@pytest.mark.parametrize(
    "name",
    [
        '#read("/etc/passwd")',
        "$x^2$ *bold* _it_ `raw` @ref <label> // comment",
        "]#panic()[",
        "\\u{0041} \\ ~ --- ...",
        "x" * 400,
        "a b " * 80,
        "🦊 \u202eevil\u0000"[:-1],
        "\u0007bell",
    ],
)
def test_no_name_is_read_as_markup_or_breaks_the_page(press: Press, name: str) -> None:
    pages = press.pdf(document(preview(name=name, tenant_id=name)))
    assert len(PdfReader(io.BytesIO(pages)).pages) >= 1
    if name.isascii() and name.isprintable() and len(name) < 100:
        assert squeezed(name) in squeezed(text_of(pages))


def test_nothing_leaves_the_page(press: Press) -> None:
    """A name of 400 letters is broken into lines."""
    widest = max(len(row) for row in text_of(press.pdf(document(preview(name="x" * 400)))).splitlines())
    assert widest < 140


def test_the_same_document_gives_the_same_bytes_in_another_process_place_and_language(press: Press, tmp_path: Path) -> None:
    shown = document(full())
    (tmp_path / "document.json").write_bytes(json_bytes(shown))
    code = (
        "import json, sys; from mc_pipelines.invoicing.documents import Press, csv_bytes; "
        "d = json.loads(open('document.json', 'rb').read()); sys.stdout.buffer.write(csv_bytes(d) + Press().pdf(d))"
    )
    env = {**os.environ, "TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONPATH": str(CHECKOUT), "SOURCE_DATE_EPOCH": "1"}
    other = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, check=True).stdout
    assert other == csv_bytes(shown) + press.pdf(shown)
    assert press.pdf(shown) == Press().pdf(shown)


def test_every_font_has_its_licence_beside_it() -> None:
    names = {path.name for path in FONTS.glob("*.ttf")}
    assert names
    told = (FONTS / "README.md").read_text(encoding="utf-8")
    assert all(name.startswith(("NotoSans", "NanumSquare")) or name.removesuffix(".ttf") in told for name in names)
    assert {"OFL.txt", "Apache-2.0.txt"} <= {path.name for path in FONTS.iterdir()}
