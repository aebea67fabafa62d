"""Price books, subscriptions and credits as a table of the lake, and each tenant's terms of a month read back from it.

The table holds the files' own text, so a close pins the prices that it used. What may stand in the files is declared in `rating/`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from mc_pipelines.calendars import next_month
from mc_pipelines.errors import MissionError
from mc_pipelines.rating.book import Book, book_files, parse_book, read_books
from mc_pipelines.rating.money import total
from mc_pipelines.rating.segments import Term, midnights, terms
from mc_pipelines.rating.subscriptions import (
    Credit,
    Subscription,
    by_tenant,
    held,
    parse_credits,
    parse_subscriptions,
    read_credits,
    read_subscriptions,
)
from mc_pipelines.reference import Tenant
from mc_pipelines.reference_tables import relation_of

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.home import Home
    from mc_pipelines.runner import Work, Workshop

SUBSCRIPTIONS, CREDITS = "subscriptions.yaml", "credits.yaml"


def priced_files(home: "Home") -> list[Path]:
    """Every file of a home that says what something costs, or for whom."""
    lists = [home.reference / name for name in (SUBSCRIPTIONS, CREDITS)]
    return [*book_files(home), *(path for path in lists if path.exists())]


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """Digest of every file that the table holds, by name."""
    digests = [f"{path.name}:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in priced_files(shop.home)]
    return " ".join(digests)


def pricing(work: "Work") -> "duckdb.DuckDBPyRelation":
    """The files as they are: (file, text). MissionError names file, line, value and remedy where one cannot be read."""
    home = work.shop.home
    for read in (read_books, read_subscriptions, read_credits):
        read(home)
    rows = ((path.relative_to(home.reference).as_posix(), path.read_text(encoding="utf-8")) for path in priced_files(home))
    return relation_of(work, {"file": "VARCHAR", "text": "VARCHAR"}, rows)


@dataclass(frozen=True)
class Pricing:
    """What the table `reference.pricing` says: price books by file, subscriptions and credits by tenant."""

    books: Mapping[Path, Book]
    subscriptions: Mapping[str, list[Subscription]]
    credits: Mapping[str, list[Credit]]

    @classmethod
    def of(cls, con: "duckdb.DuckDBPyConnection") -> "Pricing":
        """From the table as `con` sees it."""
        texts = dict(con.sql("SELECT file, text FROM reference.pricing ORDER BY file").fetchall())
        subscribed, credited = texts.pop(SUBSCRIPTIONS, "subscriptions: []"), texts.pop(CREDITS, "credits: []")
        prepaid: dict[str, list[Credit]] = {}
        for each in parse_credits(Path(CREDITS), credited):
            prepaid.setdefault(each.tenant_id, []).append(each)
        books = {Path(name): parse_book(Path(name), text) for name, text in texts.items()}
        return cls(books, by_tenant(parse_subscriptions(Path(SUBSCRIPTIONS), subscribed)), prepaid)

    def under(self, path: Path, draft: Book) -> "Pricing":
        """These prices with a draft in the place of every version of its price book."""
        others = {name: book for name, book in self.books.items() if book.price_book != draft.price_book}
        return replace(self, books=others | {path: draft})

    def terms(self, tenant: Tenant, period: date, until: datetime) -> list[Term]:
        """Plan and price version in each segment of a tenant's month, which ends at `until` (naive UTC) where it is not over yet.

        UnpricedError where no version in force offers the plan.
        """
        days = midnights(tenant.zone, period, next_month(period))
        return terms(days, held(tenant, self.subscriptions.get(tenant.tenant_id, ()), self.books), self.books, until)

    def credit(self, tenant: Tenant) -> Decimal:
        """Money that the tenant prepaid, in its currency. MissionError where some of it is in another."""
        own = self.credits.get(tenant.tenant_id, ())
        if odd := sorted({each.currency for each in own} - {tenant.currency}):
            raise MissionError(
                f"{CREDITS}: a credit in {', '.join(odd)} for a tenant billed in {tenant.currency}. Give it in {tenant.currency}."
            )
        return total(each.amount for each in own)


def tenants_of(con: "duckdb.DuckDBPyConnection") -> list[Tenant]:
    """The declared tenants, from the table `reference.tenants` that a connection sees; without their stages."""
    columns = ("tenant_id", "name", "zone", "currency", "plan", "grace_days")
    rows = con.sql(f"SELECT {', '.join(columns)} FROM reference.tenants ORDER BY tenant_id").fetchall()
    return [Tenant.model_construct(**dict(zip(columns, row, strict=True)), stages=()) for row in rows]
