"""The list of issued invoices, as the billing system gives it, beside what was published: each once, with the same amounts, and no other.

A list is judged by its contract at the door, kept under its digest in the home, and what came of it is an entry of the journal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mc_pipelines.closing.publication import handed_over
from mc_pipelines.closing.states import ISSUED, fold
from mc_pipelines.disk import writing
from mc_pipelines.durable import write
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.canonical import sha256
from mc_pipelines.home import Home
from mc_pipelines.intake import try_rows
from mc_pipelines.invoicing.documents import guarded
from mc_pipelines.journaling import journal_of
from mc_pipelines.rating.display import number_text
from mc_pipelines.windows import month_key

if TYPE_CHECKING:
    from mc_pipelines.evidence.entry import Entry

CONTRACT = "issued_invoices"
AMOUNTS = ("net", "tax", "corrections", "credits_used", "payable")
TEXTS = ("tenant_id", "currency")
KEPT = 200
"""Differences that the journal keeps one by one; it counts all."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Difference:
    """An invoice that is not as it was published: `missing` from the list, `unknown` to us, listed `twice`, or a field that `differs`."""

    invoice: str
    what: str
    field: str = ""
    published: str = ""
    issued: str = ""


def differences(published: Sequence[Row], issued: Sequence[Row]) -> list[Difference]:
    """What is not alike, by invoice number. Amounts are compared as decimals, so 5 is 5.00; a text may be as our own CSV guards it."""
    listed: dict[str, list[Row]] = {}
    for row in issued:
        listed.setdefault(str(row["invoice"]), []).append(row)
    known = {str(row["invoice"]): row for row in published}
    found = [Difference(number, "missing") for number in known if number not in listed]
    for number, rows in listed.items():
        if number not in known:
            found.append(Difference(number, "unknown"))
        elif len(rows) > 1:
            found.append(Difference(number, "twice"))
        else:
            found += _differing(number, known[number], rows[0])
    return sorted(found, key=lambda each: (each.invoice, each.what, each.field))


def _differing(number: str, published: Row, issued: Row) -> list[Difference]:
    texts = [(name, str(published[name]), str(issued[name])) for name in TEXTS if issued[name] != guarded(str(published[name]))]
    amounts = [(name, str(number_text(Decimal(published[name]))), str(number_text(Decimal(issued[name])))) for name in AMOUNTS]
    return [Difference(number, "differs", name, ours, theirs) for name, ours, theirs in (*texts, *amounts) if ours != theirs]


def reconcile(home: Home, month: str, file: Path, requested_by: str) -> "tuple[Entry, list[Difference]]":
    """Judge a list, keep it, compare it, and remember what came of it. The same list again adds nothing.

    MissionError where nothing is published, or the contract refuses rows of the list: then nothing is kept.
    """
    period, journal = month_key(month)[:7], journal_of(home)
    close = fold(journal.entries(), period)
    if not close.publications:
        raise MissionError(
            f"{period}: nothing is published, so there is nothing to compare with. Publish it first: mission publish {period}"
        )
    accepted, refused = try_rows(home, file, CONTRACT)
    if refused:
        raise MissionError(
            f"{file}: {len(refused)} row(s) refused by contract {CONTRACT}, the first for {refused[0]['reasons']}. Mend the list."
        )
    published = handed_over(home, close)
    found = differences(published, accepted)
    data = file.read_bytes()
    kept = home.root / "issued" / period / f"{sha256(data)[:12]}-{file.name}"
    with writing(kept.parent):
        kept.parent.mkdir(parents=True, exist_ok=True)
        if not kept.exists():
            write(kept, data)
    body = {
        "period": period,
        "file": kept.relative_to(home.root).as_posix(),
        "sha256": sha256(data),
        "published": len(published),
        "issued": len(accepted),
        "differences": len(found),
        "first": [vars(each) for each in found[:KEPT]],
        "publications": sorted({each.entry.number for each in close.publications.values()}),
        "requested_by": requested_by,
    }
    compared = ("sha256", "publications", "differences")

    def already(entries: "list[Entry]") -> "Entry | None":
        listed = fold(entries, period).issued
        return listed[-1] if listed and all(listed[-1].body[name] == body[name] for name in compared) else None

    return journal.append(ISSUED, body, already), found
