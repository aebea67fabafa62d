"""Lines as text: for the terminal, and as JSON whose every number is text. Nothing is rated here."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from mc_pipelines.evidence.canonical import decimal_text, instant
from mc_pipelines.rating.lines import Invoice, Line
from mc_pipelines.rating.money import EXACT, total, unit_of

COLUMNS = ("kind", "tier", "quantity", "unit price", "amount", "discount", "net", "tax")
NUMBERS = frozenset(COLUMNS) - {"kind", "tier", "tax"}


@lru_cache(maxsize=4096)
def number_text(number: Decimal | None) -> str | None:
    """Plain digits without trailing zeros, so that equal quantities read the same."""
    return None if number is None else decimal_text(EXACT.normalize(number))


@lru_cache(maxsize=1024)
def moment_text(moment: datetime | None) -> str | None:
    """An instant with Z."""
    return None if moment is None else instant(moment)


def money_text(amount: Decimal, line: Line) -> str:
    """An amount with the minor units that the line's own amount carries."""
    return decimal_text(EXACT.quantize(amount, line.amount))


def money_of(amount: Decimal, currency: str) -> str:
    """An amount with the minor units of its currency, always: 5.00 in USD, 5 in JPY."""
    return decimal_text(EXACT.quantize(amount, unit_of(currency)))


def tier_text(line: Line) -> str:
    """`above..up to`, or `above..` for the open one; for a matrix the tuple."""
    if line.tier is None:
        return "/".join(value for _, value in line.dimensions)
    above, up_to = line.tier
    return f"{number_text(above)}..{number_text(up_to) or ''}"


def cells(line: Line) -> list[str]:
    """One row of COLUMNS."""
    tax = f"{line.tax} {number_text(line.tax_percent)} %" if line.tax else ""
    discount = EXACT.add(line.line_discount, line.invoice_discount)
    figures = [number_text(line.quantity) or "", number_text(line.unit_price) or ""]
    figures += [money_text(each, line) for each in (line.amount, discount, line.net)]
    return [line.kind, tier_text(line), *figures, tax]


def table(lines: Sequence[Line]) -> list[str]:
    """Lines as rows of text under a header, numbers to the right. No number is ever cut, however narrow the terminal."""
    rows = [list(COLUMNS), *map(cells, lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if name in NUMBERS else cell.ljust(width) for name, cell, width in zip(COLUMNS, row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def line_json(line: Line) -> dict[str, Any]:
    """Every field of a line; numbers as text, instants with Z, None where a line has none."""
    segment = line.segment
    return {
        "kind": line.kind,
        "charge": line.charge,
        "plan": line.plan,
        "price_book": line.price_book,
        "version": line.version,
        "start": moment_text(segment.start),
        "end": moment_text(segment.end),
        "days": [segment.days, segment.of],
        "meter": line.meter,
        "dimensions": dict(line.dimensions),
        "tier": [number_text(bound) for bound in line.tier] if line.tier else None,
        "quantity": number_text(line.quantity),
        "unit_price": number_text(line.unit_price),
        "allowance_used": number_text(line.allowance_used),
        "amount": money_text(line.amount, line),
        "discount_percent": number_text(line.discount_percent),
        "line_discount": money_text(line.line_discount, line),
        "invoice_discount": money_text(line.invoice_discount, line),
        "net": money_text(line.net, line),
        "tax": line.tax,
        "tax_percent": number_text(line.tax_percent),
        "tax_amount": None if line.tax_amount is None else money_text(line.tax_amount, line),
    }


def invoice_json(invoice: Invoice, corrections: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """An invoice in JSON's own types: every number as text, money with the currency's minor units. `corrections` are the documents behind `corrected`."""
    currency = invoice.currency
    sums = ("subtotal", "discount", "net", "total", "corrected", "credits_used", "payable")
    return {
        "currency": currency,
        "policy": invoice.policy,
        "lines": [line_json(line) for line in invoice.lines],
        "taxes": [
            {
                "tax": each.tax,
                "percent": number_text(each.percent),
                "base": money_of(each.base, currency),
                "amount": money_of(each.amount, currency),
            }
            for each in invoice.taxes
        ],
        "corrections": list(corrections),
        **{name: money_of(getattr(invoice, name), currency) for name in sums},
    }


def total_of(lines: Sequence[Line]) -> Decimal:
    """The sum of the lines' nets, exact."""
    return total(line.net for line in lines)
