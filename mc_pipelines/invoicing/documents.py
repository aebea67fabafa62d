"""A preview's document as bytes: canonical JSON is the source; CSV and PDF are views of it that carry the same digest. Nothing is computed here.

The page is set by `preview.typ`, with the fonts beside it and no others; the data reaches it as JSON, never as markup.
"""

import csv
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from mc_pipelines.evidence.canonical import canonical, canonical_of_plain

TEMPLATE = Path(__file__).with_name("preview.typ")
FONTS = Path(__file__).with_name("fonts")

TEXT = ("kind", "charge", "plan", "price_book", "version", "meter", "dimensions", "start", "end", "tax")
NUMBERS = (
    *("tier_above", "tier_up_to", "days", "days_of", "quantity", "unit_price", "allowance_used"),
    *("amount", "line_discount", "invoice_discount", "net", "tax_percent", "tax_amount"),
)
OF_CORRECTIONS = ("original_period", "original_invoice", "events")
"""Empty in the rows of the period's own lines."""
COLUMNS = ("tenant", "period", "digest", "currency", "line", *TEXT, *NUMBERS, "evidence_file", "evidence_row", *OF_CORRECTIONS)
"""Columns of the CSV. Text is guarded, numbers are written as the JSON has them."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "＝", "＋", "－", "＠")


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """Canonical JSON."""
    return canonical_of_plain(document)


def csv_bytes(document: Mapping[str, Any]) -> bytes:
    """One row per line under a header (RFC 4180, UTF-8), then one per line of each correction. Empty where the JSON has null."""
    rated = document["rated"]
    about = [guarded(rated["tenant_id"]), guarded(rated["period"]["name"]), document["digest"], rated["currency"]]
    out = StringIO(newline="")
    rows = csv.writer(out, lineterminator="\r\n")
    rows.writerow(COLUMNS)
    nothing = {"file": "", "row": ""}
    own = [(line, evidence or nothing, ("", "", "")) for line, evidence in zip(rated["lines"], document["evidence"], strict=True)]
    late = [
        (line, nothing, (each["original_period"], each["original_invoice"], line["event_count"]))
        for each in rated["corrections"]
        for line in each["lines"]
    ]
    for number, (line, behind, corrects) in enumerate([*own, *late], 1):
        flat = _flat(line)
        text, numbers = [guarded(flat[name] or "") for name in TEXT], [flat[name] for name in NUMBERS]
        rows.writerow([*about, number, *text, *numbers, guarded(behind["file"]), behind["row"], *corrects])
    return out.getvalue().encode()


def _flat(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line with one value per column; dimensions as canonical JSON."""
    above, up_to = line["tier"] or (None, None)
    days, of = line["days"]
    dimensions = canonical(line["dimensions"]).decode() if line["dimensions"] else ""
    return {**line, "dimensions": dimensions, "tier_above": above, "tier_up_to": up_to, "days": days, "days_of": of}


def guarded(text: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe before it where it begins like one, or with an apostrophe.

    So a text that begins with an apostrophe has lost nothing but that one character's meaning: take it away and the text is as it was.
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


class Press:
    """Sets documents as PDF. The template is read and the fonts are found once; one press serves one thread.

    The same document gives the same bytes, on any machine: no font of the system, no date, no locale is read.
    """

    def __init__(self, template: Path = TEMPLATE) -> None:
        import typst

        fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[FONTS])
        self._compiler = typst.Compiler(template, root=TEMPLATE.parent, font_paths=fonts, ignore_system_fonts=True)

    def pdf(self, document: Mapping[str, Any]) -> bytes:
        """The pages as PDF with all fonts embedded."""
        pages = self._compiler.compile(sys_inputs={"document": json_bytes(document).decode()}, format="pdf", timestamp=0)
        assert isinstance(pages, bytes)
        return pages
