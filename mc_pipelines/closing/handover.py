"""What publishing hands over, as files: the list of invoices, the ledger's entries, credit notes. Made from locked previews; nothing is read or signed.

The same locked previews and accounts give the same bytes.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

from mc_pipelines.closing.ledger import Accounts, corrections_of, ledger_csv
from mc_pipelines.evidence.canonical import canonical, canonical_of_plain, sha256
from mc_pipelines.invoicing.batch_files import folder_of
from mc_pipelines.invoicing.documents import NUMBERS, TEXT, Press, flat_line, guarded
from mc_pipelines.rating.display import money_of
from mc_pipelines.rating.money import ZERO, total

LEDGER, LIST = "ledger.csv", "invoices"
CREDIT_NOTE = Path(__file__).parent.parent / "invoicing" / "credit_note.typ"
AMOUNTS = ("net", "tax", "total", "corrections", "credits_used", "payable")
COLUMNS = ("invoice", "tenant_id", "period", "edition", "currency", *AMOUNTS, "digest", "key")
NOTED = ("credit_note", "tenant_id", "invoice", "original_period", "original_number", "original_invoice", "currency")
TEXTS = ("tenant_id",)
Document = Mapping[str, Any]


def idempotency_key(rated: Document, digest: str) -> str:
    """sha256 (hex) over tenant, period, policy, price versions, digest of what was rated, and kind: the same invoice has the same key everywhere."""
    books = [[each["price_book"], each["version"]] for each in rated["books"]]
    return sha256(canonical([rated["tenant_id"], rated["period"]["name"], rated["policy"], books, digest, "invoice"]))


def number_of(rated: Document, key: str) -> str:
    """The number by which books and lists name an invoice: its month, and enough of its key to be unique."""
    return f"{rated['period']['name']}-{key[:16]}"


def row(document: Document) -> dict[str, str]:
    """One invoice in the list; amounts are text with the currency's minor units. `document` is a preview with the `edition` that it is locked in."""
    rated, totals = document["rated"], document["rated"]["totals"]
    key = idempotency_key(rated, document["digest"])
    tax = money_of(total(Decimal(each["amount"]) for each in rated["taxes"]), rated["currency"])
    return {
        "invoice": number_of(rated, key),
        "tenant_id": rated["tenant_id"],
        "period": rated["period"]["name"],
        "edition": str(document["edition"]),
        "currency": rated["currency"],
        "net": totals["net"],
        "tax": tax,
        "corrections": totals.get("corrections", money_of(ZERO, rated["currency"])),
        **{name: totals[name] for name in ("total", "credits_used", "payable")},
        "digest": document["digest"],
        "key": key,
    }


def files(documents: Sequence[Document], accounts: Accounts, numbers: Mapping[str, str]) -> dict[str, bytes]:
    """All files by path. `documents` are locked previews, in any order; `numbers` those of published invoices of earlier months, by digest."""
    ordered = sorted(documents, key=lambda each: (each["rated"]["tenant_id"], each["rated"]["period"]["name"]))
    rows = [row(each) for each in ordered]
    booked = [(listed["invoice"], each["rated"]) for listed, each in zip(rows, ordered, strict=True)]
    notes = [note for listed, each in zip(rows, ordered, strict=True) for note in credit_notes(each, listed["invoice"], numbers)]
    found = {LEDGER: ledger_csv(booked, accounts), f"{LIST}.json": canonical({"invoices": rows}), f"{LIST}.csv": _csv(rows)}
    press = Press(CREDIT_NOTE) if notes else None
    for note in notes:
        folder = f"credit-notes/{folder_of(note['tenant_id'])}-{note['original_period']}"
        assert press is not None
        found |= {
            f"{folder}/credit-note.json": canonical_of_plain(note),
            f"{folder}/credit-note.csv": note_csv(note),
            f"{folder}/credit-note.pdf": press.pdf(note),
        }
    return found


def credit_notes(document: Document, invoice: str, numbers: Mapping[str, str]) -> list[dict[str, Any]]:
    """One document for each earlier period of which a correction takes money off; it names that period's invoice and the one that carries it.

    `original_number` is None where the invoice of that period was locked but never published.
    """
    rated = document["rated"]
    return [
        {
            "credit_note": f"{each['original_period']}-{sha256(canonical([rated['tenant_id'], invoice, each['original_period'], each['digest']]))[:16]}",
            "tenant_id": rated["tenant_id"],
            "name": document["name"],
            "currency": rated["currency"],
            "period": rated["period"]["name"],
            "invoice": invoice,
            "original_number": numbers.get(each["original_invoice"]),
            **each,
        }
        for each in corrections_of(rated)
        if Decimal(each["total"]) < 0
    ]


def note_csv(note: Document) -> bytes:
    """A credit note's lines under a header, as the CSV of a preview has them, with what the note is about before each."""
    out = StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([*NOTED, "line", *TEXT, *NUMBERS, "events"])
    about = [guarded(note[name] or "") for name in NOTED]
    for number, line in enumerate(note["lines"], 1):
        flat = flat_line(line)
        text, numbers = [guarded(flat[name] or "") for name in TEXT], [flat[name] for name in NUMBERS]
        writer.writerow([*about, number, *text, *numbers, line["event_count"]])
    return out.getvalue().encode()


def _csv(rows: Iterable[Mapping[str, str]]) -> bytes:
    """RFC 4180; text cells are guarded, numbers as they are."""
    out = StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: guarded(value) if name in TEXTS else value for name, value in each.items()} for each in rows)
    return out.getvalue().encode()
