"""What publishing hands over, as files: the list of invoices, the ledger's entries, credit notes. Made from locked previews; nothing is read or signed.

The same locked previews and accounts give the same bytes.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

from mc_pipelines.closing.ledger import Accounts, ledger_csv
from mc_pipelines.evidence.canonical import canonical, canonical_of_plain, sha256
from mc_pipelines.invoicing.batch_files import folder_of
from mc_pipelines.invoicing.documents import Press, guarded
from mc_pipelines.rating.display import money_of
from mc_pipelines.rating.money import total

LEDGER, LIST = "ledger.csv", "invoices"
CREDIT_NOTE = Path(__file__).parent.parent / "invoicing" / "credit_note.typ"
COLUMNS = ("invoice", "tenant_id", "period", "currency", "net", "tax", "total", "corrections", "credits_used", "payable", "digest", "key")
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
    """One invoice in the list; amounts are text with the currency's minor units."""
    rated, totals = document["rated"], document["rated"]["totals"]
    key = idempotency_key(rated, document["digest"])
    tax = money_of(total(Decimal(each["amount"]) for each in rated["taxes"]), rated["currency"])
    return {
        "invoice": number_of(rated, key),
        "tenant_id": rated["tenant_id"],
        "period": rated["period"]["name"],
        "currency": rated["currency"],
        "net": totals["net"],
        "tax": tax,
        **{name: totals[name] for name in ("total", "corrections", "credits_used", "payable")},
        "digest": document["digest"],
        "key": key,
    }


def files(documents: Sequence[Document], accounts: Accounts) -> dict[str, bytes]:
    """All files by path. `documents` are locked previews, in any order."""
    ordered = sorted(documents, key=lambda each: (each["rated"]["tenant_id"], each["rated"]["period"]["name"]))
    rows = [row(each) for each in ordered]
    booked = [(listed["invoice"], each["rated"]) for listed, each in zip(rows, ordered, strict=True)]
    notes = [note for listed, each in zip(rows, ordered, strict=True) for note in credit_notes(each, listed["invoice"])]
    found = {LEDGER: ledger_csv(booked, accounts), f"{LIST}.json": canonical({"invoices": rows}), f"{LIST}.csv": _csv(rows)}
    press = Press(CREDIT_NOTE) if notes else None
    for note in notes:
        folder = f"credit-notes/{folder_of(note['tenant_id'])}-{note['original_period']}"
        assert press is not None
        found |= {f"{folder}/credit-note.json": canonical_of_plain(note), f"{folder}/credit-note.pdf": press.pdf(note)}
    return found


def credit_notes(document: Document, invoice: str) -> list[dict[str, Any]]:
    """One document for each earlier period of which a correction takes money off; it names that period's invoice and the one that carries it."""
    rated = document["rated"]
    return [
        {
            "credit_note": f"{each['original_period']}-{sha256(canonical([rated['tenant_id'], invoice, each['original_period'], each['digest']]))[:16]}",
            "tenant_id": rated["tenant_id"],
            "name": document["name"],
            "currency": rated["currency"],
            "period": rated["period"]["name"],
            "invoice": invoice,
            **each,
        }
        for each in rated["corrections"]
        if Decimal(each["total"]) < 0
    ]


def _csv(rows: Iterable[Mapping[str, str]]) -> bytes:
    """RFC 4180; text cells are guarded, numbers as they are."""
    out = StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: guarded(value) if name in TEXTS else value for name, value in each.items()} for each in rows)
    return out.getvalue().encode()
