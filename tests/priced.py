"""Price books for tests, from the few lines that matter; and lines as short tuples to compare with a hand calculation."""

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from textwrap import indent

from mc_pipelines.rating.book import Book, read_book
from mc_pipelines.rating.lines import Event, Line


def text_of(charges: str, *, currency: str = "USD", head: str = "", plan: str = "", effective: str = "2026-01-01T00:00:00Z") -> str:
    """A book with one plan `p`. `head` are lines of the book, `plan` lines of the plan, `charges` list items."""
    return (
        f'price_book: test\nversion: "1"\neffective: {effective}\ncurrency: {currency}\n{head}\n'
        f"plans:\n  p:\n{indent(plan, '    ')}\n    charges:\n{indent(charges, '      ')}\n"
    )


def book_of(folder: Path, charges: str, *, version: str = "1", **more: str) -> Book:
    path = folder / f"{version}.yaml"
    path.write_text(text_of(charges, **more).replace('version: "1"', f'version: "{version}"'), encoding="utf-8")
    return read_book(path)


def events(*values: str) -> list[Event]:
    """Events in the order in which they happened."""
    return [Event((f"{place:03}",), Decimal(value)) for place, value in enumerate(values)]


def short(lines: Iterable[Line]) -> list[tuple[str, str | None, str]]:
    """(kind, quantity, amount) of each line."""
    return [(line.kind, None if line.quantity is None else str(line.quantity), str(line.amount)) for line in lines]
