"""The invoice of every tenant of a month, rated from the counted quantities: one row a tenant, the invoice in canonical JSON.

The tables of lines and totals are SQL over these rows. A tenant that cannot be rated is a row too, with the reason; it blocks the close.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mc_pipelines.code import package_digest
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.canonical import canonical_of_plain
from mc_pipelines.invoicing.pricing import Pricing
from mc_pipelines.invoicing.usage import tenant_months
from mc_pipelines.rating.display import invoice_json, number_text
from mc_pipelines.rating.invoice import invoice_of_corrections, rate_invoice
from mc_pipelines.rating.lines import Event, Invoice, Usage
from mc_pipelines.rating.money import total
from mc_pipelines.rating.plans import Matrix, Percentage
from mc_pipelines.rating.scale import Span, UnpricedError
from mc_pipelines.rating.segments import Term, spans
from mc_pipelines.reference_tables import relation_of

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.reference import Tenant
    from mc_pipelines.runner import Work, Workshop

SCHEMA = {
    "period": "DATE",
    "tenant_id": "VARCHAR",
    "currency": "VARCHAR",
    "plan": "VARCHAR",
    "events": "BIGINT",
    "problems": "VARCHAR",
    "invoice": "VARCHAR",
}
Counted = Mapping[tuple[str, int], Sequence[tuple[str, Decimal]]]
"""By charge and span: items with their quantities."""


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """The code behind this module."""
    return package_digest("rating", "invoicing")


def rated(work: "Work") -> "duckdb.DuckDBPyRelation":
    """One row per tenant with terms or usage in the month. `problems` lists why it has no invoice, one a line; '' where it has one."""
    return rated_under(work, Pricing.of(work.con))


def rated_under(work: "Work", pricing: Pricing) -> "duckdb.DuckDBPyRelation":
    """As `rated`, at some prices; `work` shows the charge usage at these."""
    return relation_of(work, SCHEMA, _rows(work, pricing) if pricing.books else iter(()))


def _rows(work: "Work", pricing: Pricing) -> Iterator[tuple[Any, ...]]:
    events: dict[tuple[date, str], int] = {
        (period, tenant): count
        for period, tenant, count in work.con.sql(
            "SELECT period, tenant_id, CAST(sum(events) AS BIGINT) FROM metering.usage_period GROUP BY ALL"
        ).fetchall()
    }
    counted, gaps = _usage(work)
    corrections = _corrections(work)
    for tenant, period, _ in tenant_months(work):
        own, used = (period, tenant.tenant_id), events.get((period, tenant.tenant_id), 0)
        corrected = corrections.get(own, [])
        plan, found = _invoice(pricing, tenant, period, counted.get(own, {}), total(Decimal(each["total"]) for each in corrected))
        problems = [*([found] if isinstance(found, str) else []), *gaps.get(own, [])]
        if problems:
            yield period, tenant.tenant_id, tenant.currency, plan, used, "\n".join(problems), ""
        elif isinstance(found, Invoice) and (used or found.lines or corrected):
            yield period, tenant.tenant_id, tenant.currency, plan, used, "", canonical_of_plain(invoice_json(found, corrected)).decode()


def _corrections(work: "Work") -> dict[tuple[date, str], list[Mapping[str, Any]]]:
    """By month and tenant the corrections that its invoice takes, by the months that they correct."""
    found: dict[tuple[date, str], list[Mapping[str, Any]]] = {}
    for period, tenant, text in work.con.sql(
        "SELECT period, tenant_id, correction FROM metering.corrected WHERE status = 'corrected' "
        "AND period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) ORDER BY period, tenant_id, original_period",
        params=work.params,
    ).fetchall():
        found.setdefault((period, tenant), []).append(json.loads(text))
    return found


def _usage(
    work: "Work",
) -> tuple[dict[tuple[date, str], dict[tuple[str, int], list[tuple[str, Decimal]]]], dict[tuple[date, str], list[str]]]:
    """Quantities by tenant, charge and span, and what no charge covers, as text."""
    counted: dict[tuple[date, str], dict[tuple[str, int], list[tuple[str, Decimal]]]] = {}
    gaps: dict[tuple[date, str], list[str]] = {}
    for period, tenant, charge, span, meter, item, start, end, quantity in work.con.sql(
        "SELECT period, tenant_id, charge, span, meter, item, start_utc, end_utc, quantity FROM metering.charge_usage "
        "WHERE period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) ORDER BY ALL",
        params=work.params,
    ).fetchall():
        if charge:
            counted.setdefault((period, tenant), {}).setdefault((charge, span), []).append((item, quantity))
        else:
            gaps.setdefault((period, tenant), []).append(_uncovered(meter, item, start, end, quantity))
    return counted, gaps


def _uncovered(meter: str, item: str, start: datetime, end: datetime, quantity: Decimal) -> str:
    return (
        f"meter {meter}{' ' + item if item else ''}: no charge prices {number_text(quantity)} used from {start.isoformat()}Z to "
        f"{end.isoformat()}Z. Add a charge to the plan (its price may be 0), or a subscription for this time."
    )


def _invoice(pricing: Pricing, tenant: "Tenant", period: date, counted: Counted, corrected: Decimal) -> tuple[str, Invoice | str]:
    """The plan held last, with the invoice, or why there is none; the declared plan, and an invoice without lines, where none is held at all."""
    plan = tenant.plan
    try:
        held: Sequence[Term] = pricing.terms(tenant, period)
        if not held:
            return plan, invoice_of_corrections(tenant.currency, pricing.credit(tenant), corrected)
        plan, billed = held[-1].plan, held[-1].book.currency
        if billed != tenant.currency:
            return (
                plan,
                f"plan {plan} is priced in {billed}, the tenant is billed in {tenant.currency}. Name a price book of that currency.",
            )
        usage = {
            charge: [_given(span, counted.get((charge, number), ())) for number, span in enumerate(own)]
            for charge, own in spans(held).items()
        }
        return plan, rate_invoice(held, usage, pricing.credit(tenant), corrected)
    except (UnpricedError, MissionError) as error:
        return plan, " ".join(str(error).split())


def _given(span: Span, items: Sequence[tuple[str, Decimal]]) -> Usage:
    """Counted items as rating takes them; nothing for a flat fee."""
    charge = span.charge
    if charge.model == "flat":  # type: ignore[attr-defined]  # every charge of a plan names its model
        return None
    if isinstance(charge, Percentage):
        return [Event((place,), value) for place, value in items]
    if isinstance(charge, Matrix):
        return {tuple(json.loads(item)): quantity for item, quantity in items}
    return total(quantity for _, quantity in items)
