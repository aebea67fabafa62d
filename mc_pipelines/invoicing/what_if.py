"""A month's usage rated under a draft of a price book, beside what its tenants' invoices are now. Nothing is written to the lake.

The draft stands in for every version of its price book, for the whole month, whatever instant it names as effective.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mc_pipelines import report
from mc_pipelines.close import pinned
from mc_pipelines.engine import connect
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.canonical import sha256
from mc_pipelines.home import Home
from mc_pipelines.invoicing.batch import rated_under
from mc_pipelines.invoicing.batch_files import by_meter, tax_of
from mc_pipelines.invoicing.pricing import Pricing, tenants_of
from mc_pipelines.invoicing.usage import usage_under
from mc_pipelines.metering import quotient
from mc_pipelines.rating.book import Book, read_book
from mc_pipelines.rating.cross_checks import of_book
from mc_pipelines.rating.display import money_of, number_text
from mc_pipelines.rating.money import EXACT, ZERO, total
from mc_pipelines.rating.subscriptions import held
from mc_pipelines.reference_tables import meters_of
from mc_pipelines.runner import Work, Workshop, bind_views
from mc_pipelines.windows import month_key

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.reference import Tenant

ALWAYS = datetime.min.replace(tzinfo=UTC)
Row = dict[str, Any]
Found = tuple[str, str, Mapping[str, Any] | None]
"""The plan held last, problems one a line, and the invoice where there is one."""
Rated = Mapping[str, Found]
"""By tenant."""


def what_if(home: Home, month: str, draft: Path) -> Row:
    """The comparison as plain JSON: per tenant that holds the draft's price book, per meter, and in total. Amounts are text.

    MissionError for a draft that is no price book or that nobody holds, and for a month whose tables are not built.
    """
    shop, period, con = Workshop.open(home), month_key(month), connect()
    pins = pinned(shop)
    if period not in shop.lake.windows("metering.rated"):
        raise MissionError(f"{month} is not rated yet, so there is nothing to compare with. Build it first: mission close {month}")
    report.month_views(shop, con, period, sorted(pins), pins)
    book = _checked(con, draft)
    standing = Pricing.of(con)
    drafted = standing.under(draft, book.model_copy(update={"effective": ALWAYS}))
    holders = _holders(con, drafted, book, draft)
    before = _invoices(con)
    _rate(shop, con, period, drafted)
    after = _invoices(con)
    rows = [_row(tenant, before.get(tenant.tenant_id), after.get(tenant.tenant_id), book.currency) for tenant in holders]
    both = [row for row in rows if row["before"] is not None and row["after"] is not None]
    replaced = sorted((each for each in standing.books.values() if each.price_book == book.price_book), key=lambda each: each.since)
    return {
        "what_if": True,
        "period": month,
        "draft": {"file": draft.name, "sha256": sha256(draft.read_bytes()), "price_book": book.price_book, "version": book.version},
        "instead_of": [each.version for each in replaced],
        "currency": book.currency,
        "total": {"tenants": len(both), **_compared(_sum(both, "before"), _sum(both, "after"), book.currency)},
        "meters": _meters([row["tenant_id"] for row in both], before, after, book.currency),
        "tenants": rows,
    }


def _checked(con: "duckdb.DuckDBPyConnection", draft: Path) -> Book:
    """The draft, which names only meters and dimensions that there are."""
    book = read_book(draft)
    if odd := list(of_book(draft, book, {meter.meter: meter for meter in meters_of(con)})):
        raise MissionError("\n".join(odd))
    return book


def _holders(con: "duckdb.DuckDBPyConnection", pricing: Pricing, book: Book, draft: Path) -> "list[Tenant]":
    """The tenants with a plan of the draft's price book, at any time."""
    found = []
    for tenant in tenants_of(con):
        try:
            plans = held(tenant, pricing.subscriptions.get(tenant.tenant_id, ()), pricing.books)
        except MissionError:
            continue  # no book offers its plan, with the draft or without: the close says so
        if any(each.price_book == book.price_book for each in plans):
            found.append(tenant)
    if not found:
        known = sorted({each.price_book for path, each in pricing.books.items() if path != draft})
        raise MissionError(
            f"{draft}: no tenant has a plan of price book {book.price_book!r}; there are {', '.join(known) or 'none'}. "
            "Give the draft the name of the book that it shall replace."
        )
    return found


def _invoices(con: "duckdb.DuckDBPyConnection") -> Rated:
    rows = con.sql("SELECT tenant_id, plan, problems, invoice FROM metering.rated").fetchall()
    return {tenant: (plan, problems, json.loads(text) if text else None) for tenant, plan, problems, text in rows}


def _rate(shop: Workshop, con: "duckdb.DuckDBPyConnection", period: str, pricing: Pricing) -> None:
    """Put charge usage and invoices under other prices in the place of the month's own, in this connection alone."""
    for key, compute in (("metering.charge_usage", usage_under), ("metering.rated", rated_under)):
        model = shop.catalog.models[key]
        bind_views(shop, con, model)
        rows = compute(Work(shop, con, model, (period,)), pricing).to_arrow_table()
        schema, name = key.split(".")
        con.execute(f'DROP VIEW "{schema}"."{name}"')
        con.from_arrow(rows).create(f'"{schema}"."{name}"')


def _row(tenant: "Tenant", before: Found | None, after: Found | None, currency: str) -> Row:
    either = before or after
    found: Row = {"tenant_id": tenant.tenant_id, "name": tenant.name, "plan": either[0] if either else tenant.plan}
    for name, rated in (("before", before), ("after", after)):
        _, problems, invoice = rated or ("", "", None)
        found[name] = None if invoice is None else {"net": invoice["net"], "tax": tax_of(invoice), "total": invoice["total"]}
        found[f"problems_{name}"] = problems.split("\n") if problems else []
    if found["before"] is None or found["after"] is None:
        return found | {"difference": None, "ratio": None}
    compared = _compared(Decimal(found["before"]["net"]), Decimal(found["after"]["net"]), currency)
    return found | {"difference": compared["difference"], "ratio": compared["ratio"]}


def _sum(rows: Sequence[Row], name: str) -> Decimal:
    return total(Decimal(row[name]["net"]) for row in rows)


def _compared(before: Decimal, after: Decimal, currency: str) -> Row:
    """Nets, their difference, and its ratio to the first (9 decimals); no ratio to nothing."""
    difference = EXACT.subtract(after, before)
    sums = {name: money_of(amount, currency) for name, amount in (("before", before), ("after", after), ("difference", difference))}
    return sums | {"ratio": number_text(quotient(difference, before)) if before else None}


def _meters(tenants: Sequence[str], before: Rated, after: Rated, currency: str) -> list[Row]:
    """Nets by meter, or by kind of line without one, over the tenants that have both invoices."""
    sums: dict[tuple[str, str], list[Decimal]] = {}
    for place, rated in enumerate((before, after)):
        for tenant in tenants:
            _, _, invoice = rated[tenant]
            assert invoice is not None
            for key, net in by_meter(invoice).items():
                own = sums.setdefault(key, [ZERO, ZERO])
                own[place] = EXACT.add(own[place], net)
    return [{"meter": meter, "kind": kind, **_compared(own[0], own[1], currency)} for (meter, kind), own in sorted(sums.items())]
