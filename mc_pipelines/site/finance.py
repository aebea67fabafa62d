"""The finance dashboard and tonight's close as files: pages, JSON, and the same rows as CSV and XLSX. Wording and layout are in the templates.

Nothing is computed here. The same document gives the same bytes, XLSX included: it carries no clock.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mc_pipelines.disk import writing
from mc_pipelines.invoicing.documents import guarded
from mc_pipelines.site.build import canonical_json, environment, replace
from mc_pipelines.site.format import Figures, exact
from mc_pipelines.site.invoices import KINDS, SHOWN, across

if TYPE_CHECKING:
    from xlsxwriter.format import Format
    from xlsxwriter.workbook import Workbook

STATES = {
    "candidate": "held",
    "reconciled": "waits for approvals",
    "approved": "waits for its lock",
    "locked": "locked",
    "published": "published",
}
FIGURES = frozenset({"edition", "net", "tax", "total", "corrected", "credits_used", "payable", "before", "change"})
COLUMNS = (
    *("tenant_id", "name", "state", "since", "blockers", "owners", "edition", "plan", "currency"),
    *("net", "tax", "total", "corrected", "credits_used", "payable", "before", "change"),
)
SHEETS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Board", "tenants", COLUMNS),
    ("By currency", "totals", ("currency", "invoices", "billed", "unbilled", "tax", "total", "corrected", "credits_used", "payable")),
    ("By plan", "plans", ("currency", "plan", "invoices", "billed", "unbilled", "corrected", "credits_used", "payable")),
    ("By meter", "meters", ("currency", "meter", "kind", "billed", "unbilled")),
    ("Explained", "explained", ("currency", "reference", "absolute", "net", "explained", "ratio")),
    ("Waivers", "waivers", ("gate", "tenants", "state", "rationale", "owner", "expires", "person", "entry")),
    ("Change", "change", ("currency", "before", "now", "difference")),
)
NO_NUMBER = frozenset(
    {
        "tenant_id",
        "name",
        "state",
        "since",
        "blockers",
        "owners",
        "plan",
        "currency",
        "meter",
        "kind",
        "gate",
        "tenants",
        "rationale",
        "owner",
    }
    | {"expires", "person"}
)
CELL, CUT = 32_000, " … the rest stands in the JSON"
"""Characters of a spreadsheet's cell, which would drop what is beyond them unsaid."""
MOST_NAMED = 20  # tenants that moved; all stand in the JSON
LONGEST = 15
"""Digits that a spreadsheet's number keeps; a longer one is written as text, so that none is lost."""


def build_board(site: Path, board: Mapping[str, Any]) -> list[Path]:
    """Write the dashboard of a month as page, JSON, CSV and XLSX; returns the paths whose bytes changed. Each file is replaced whole."""
    month, folder = board["period"], site / "finance"
    page = environment().get_template("finance.html.j2").render(board_context(board)).encode()
    files = {".json": canonical_json(board), ".csv": board_csv(board), ".xlsx": board_xlsx(board), ".html": page}
    with writing(site):
        return [path for end, data in files.items() if replace(path := folder / f"{month}{end}", data)]


def build_tonight(site: Path, document: Mapping[str, Any], closed: bool) -> list[Path]:
    """Write tonight's close as page and JSON. `closed`: there is a scoreboard beside it, of a month that was attempted."""
    page = environment().get_template("tonight.html.j2").render(tonight_context(document), closed=closed).encode()
    with writing(site):
        return [
            path
            for name, data in (("tonight.json", canonical_json(document)), ("tonight.html", page))
            if replace(path := site / name, data)
        ]


def board_context(board: Mapping[str, Any]) -> dict[str, Any]:
    """What the template is given: held tenants first, then by state in the order of a close, ties by tenant."""
    order = {state: place for place, state in enumerate(STATES)}
    rows = sorted(
        range(len(board["tenants"])), key=lambda index: (order[board["tenants"][index]["state"]], board["tenants"][index]["tenant_id"])
    )
    by_state: dict[str, list[int]] = {}
    for index in rows[:SHOWN]:
        by_state.setdefault(board["tenants"][index]["state"], []).append(index)
    return {
        "board": board,
        "fig": Figures(board),
        "invoiced": any(row["currency"] for row in board["tenants"]),
        "month": board["period"],
        "by_state": by_state,
        "shown": min(len(rows), SHOWN),
        "states": STATES,
        "currencies": [row["currency"] for row in board["totals"]],
        "plans": across(board["plans"], "plan"),
        "meters": across(board["meters"], "meter", "kind"),
        "kinds": KINDS,
    }


def tonight_context(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the template is given for a rehearsal: held tenants first, then the largest amounts."""
    rows = document["by_tenant"]
    order = sorted(
        range(len(rows)), key=lambda index: (not rows[index]["held"], rows[index]["currency"], -(exact(rows[index]["net"]) or 0))
    )
    return {
        "tonight": document,
        "fig": Figures(document),
        "order": order[:SHOWN],
        "most_named": MOST_NAMED,
        "currencies": [row["currency"] for row in document["unbilled"]["totals"]],
        "plans": across(document["unbilled"]["plans"], "plan"),
        "meters": across(document["unbilled"]["meters"], "meter", "kind"),
        "kinds": KINDS,
    }


def board_csv(board: Mapping[str, Any]) -> bytes:
    """The close board, one row a tenant (RFC 4180). Text is guarded against formulas, numbers are as in the JSON."""
    out = StringIO(newline="")
    rows = csv.writer(out, lineterminator="\r\n")
    rows.writerow(COLUMNS)
    for row in board["tenants"]:
        rows.writerow([_text(row[name]) if name in FIGURES else guarded(_text(row[name])) for name in COLUMNS])
    return out.getvalue().encode()


def _text(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def board_xlsx(board: Mapping[str, Any]) -> bytes:
    """Every table of the dashboard as a sheet. Amounts are numbers with the decimals that they carry, everything else is text, never a formula."""
    import xlsxwriter

    out = BytesIO()
    book = xlsxwriter.Workbook(
        out, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    )
    book.set_properties({"title": f"Close of {board['period']}, edition {board['edition']}", "created": datetime(2000, 1, 1, tzinfo=UTC)})
    formats: dict[int, Format] = {}
    for title, key, columns in SHEETS:
        _sheet(book, formats, title, columns, board[key])
    book.close()
    return out.getvalue()


def _sheet(book: "Workbook", formats: "dict[int, Format]", title: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    sheet = book.add_worksheet(title)
    sheet.freeze_panes(1, 1)
    sheet.write_row(0, 0, columns, book.add_format({"bold": True}))
    count = 0
    for count, row in enumerate(rows, 1):
        for place, name in enumerate(columns):
            value = row[name]
            number = None if name in NO_NUMBER else exact(value)
            if number is None or len(number.as_tuple().digits) > LONGEST:
                text = _text(value)
                sheet.write_string(count, place, text if len(text) <= CELL else f"{text[: CELL - len(CUT)]}{CUT}")
            else:
                sheet.write_number(count, place, float(number), _decimals(book, formats, number))
    sheet.autofilter(0, 0, max(count, 1), len(columns) - 1)
    sheet.set_column(0, len(columns) - 1, 16)


def _decimals(book: "Workbook", formats: "dict[int, Format]", number: Decimal) -> "Format":
    """A format that shows as many decimals as the number carries."""
    places = max(0, -int(number.as_tuple().exponent))
    if places not in formats:
        formats[places] = book.add_format({"num_format": "#,##0" + ("." + "0" * places if places else "")})
    return formats[places]
