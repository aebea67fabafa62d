"""What the preview of an invoice says: rated content with its corrections, and beside it evidence, variance and change. Bytes are made in `documents`.

The digest is that of the rated content alone, so it stays when only what it is compared with changes. Fields: docs/invoice-preview.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.canonical import canonical_of_plain, instant, sha256
from mc_pipelines.rating.display import money_of, number_text
from mc_pipelines.rating.money import EXACT, ZERO

SUMS = ("subtotal", "discount", "net", "total", "credits_used", "payable")
Status = Literal["within", "within_floor", "explained", "breach", "unreferenced"]


@dataclass(frozen=True, slots=True)
class Compared:
    """A meter beside the independent reference. `ratio` is signed, as a part of 1; None where there is nothing to divide by.

    `limit` is the gate's: the size of the ratio beyond which it is a breach.
    """

    meter: str
    unit: str
    metered: Decimal
    reference: Decimal
    ratio: Decimal | None
    limit: Decimal
    status: Status


@dataclass(frozen=True, slots=True)
class Previous:
    """The preview before this one: its edition, digest, total with tax, and the net of each charge id ("" for lines of a plan itself)."""

    edition: int
    digest: str
    total: Decimal
    charges: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The usage behind a line: a path in the bundle, and the sha256 (hex) of the canonical row or rows."""

    file: str
    row: str


@dataclass(frozen=True, slots=True)
class Preview:
    """One tenant's period. `first_day` and `last_day` are local and inclusive; `start` and `end` are naive UTC instants, half-open.

    `period` is the name of the period ("2026-04"), `plans` are those held in it in time order, `books` (price book, version).
    `invoice` is as `rating.display.invoice_json` gives it. `evidence` has one entry per line of it, None for a line without usage.
    """

    tenant_id: str
    name: str
    zone: str
    period: str
    first_day: date
    last_day: date
    start: datetime
    end: datetime
    plans: tuple[str, ...]
    invoice: Mapping[str, Any]
    books: tuple[tuple[str, str], ...]
    evidence: tuple[Evidence | None, ...]
    variance: tuple[Compared, ...] = ()
    previous: Previous | None = None


def document(preview: Preview) -> dict[str, Any]:
    """The preview in JSON's own types, as docs/schemas/invoice-preview.json describes it. Money has the currency's minor digits, always.

    MissionError where evidence and lines differ in number.
    """
    lines = len(preview.invoice["lines"])
    if len(preview.evidence) != lines:
        raise MissionError(
            f"preview of {preview.tenant_id} {preview.period}: {len(preview.evidence)} entries of evidence for {lines} lines. "
            "Give one per line, None for a line without usage."
        )
    rated = _rated(preview)
    return {
        "preview": True,
        "digest": sha256(canonical_of_plain(rated)),
        "name": preview.name,
        "rated": rated,
        "evidence": [None if each is None else {"file": each.file, "row": each.row} for each in preview.evidence],
        "variance": [_compared(each) for each in preview.variance],
        "change": None if preview.previous is None else change(preview.invoice, preview.previous),
    }


def by_charge(invoice: Mapping[str, Any]) -> dict[str, Decimal]:
    """The net of each charge in the order of the lines: what the next preview is given as `Previous.charges`."""
    found: dict[str, Decimal] = {}
    for line in invoice["lines"]:
        found[line["charge"]] = EXACT.add(found.get(line["charge"], ZERO), Decimal(line["net"]))
    return found


def _rated(preview: Preview) -> dict[str, Any]:
    """What the digest is about."""
    invoice = preview.invoice
    return {
        "tenant_id": preview.tenant_id,
        "period": {
            "name": preview.period,
            "first_day": preview.first_day.isoformat(),
            "last_day": preview.last_day.isoformat(),
            "start": instant(preview.start),
            "end": instant(preview.end),
        },
        "zone": preview.zone,
        "currency": invoice["currency"],
        "policy": invoice["policy"],
        "plans": list(preview.plans),
        "books": [{"price_book": name, "version": version} for name, version in preview.books],
        "lines": invoice["lines"],
        "taxes": invoice["taxes"],
        "corrections": invoice["corrections"],
        "totals": {name: invoice[name] for name in SUMS} | {"corrections": invoice["corrected"]},
    }


def _compared(each: Compared) -> dict[str, Any]:
    return {
        "meter": each.meter,
        "unit": each.unit,
        "metered": number_text(each.metered),
        "reference": number_text(each.reference),
        "difference": number_text(EXACT.subtract(each.metered, each.reference)),
        "percent": None if each.ratio is None else number_text(each.ratio.scaleb(2, EXACT)),
        "limit_percent": number_text(each.limit.scaleb(2, EXACT)),
        "status": each.status,
    }


def change(invoice: Mapping[str, Any], previous: Previous) -> dict[str, Any]:
    """What a document says of the preview before it: totals with tax, and the net of every charge that either of the two has."""
    now, currency = by_charge(invoice), invoice["currency"]
    names = [*now, *sorted(set(previous.charges) - set(now))]
    return {
        "edition": previous.edition,
        "digest": previous.digest,
        **_difference(previous.total, Decimal(invoice["total"]), currency),
        "charges": [{"charge": name, **_difference(previous.charges.get(name, ZERO), now.get(name, ZERO), currency)} for name in names],
    }


def _difference(before: Decimal, now: Decimal, currency: str) -> dict[str, str]:
    difference = EXACT.subtract(now, before)
    return {"before": money_of(before, currency), "now": money_of(now, currency), "difference": money_of(difference, currency)}
