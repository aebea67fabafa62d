"""What a difference between metered usage and the reference is worth, per tenant and meter, in the tenant's currency.

The price of one unit is what the tenant's invoice of the month charges for it. Ratios and floors are judged in SQL (`variance`, `variance_money`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mc_pipelines.code import package_digest
from mc_pipelines.invoicing.pricing import Pricing
from mc_pipelines.invoicing.usage import tenant_months
from mc_pipelines.rating.display import total_of
from mc_pipelines.rating.invoice import rate_spans
from mc_pipelines.rating.lines import Event, Usage
from mc_pipelines.rating.money import EXACT, ZERO, divided, unit_of
from mc_pipelines.rating.plans import Matrix, Metered, Percentage
from mc_pipelines.rating.scale import Span
from mc_pipelines.rating.segments import spans
from mc_pipelines.reference_tables import relation_of

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.runner import Work, Workshop

SCHEMA = {
    "period": "DATE",
    "tenant_id": "VARCHAR",
    "meter": "VARCHAR",
    "currency": "VARCHAR",
    "minor_unit": "DECIMAL",
    "charged": "DECIMAL",
    "reference_money": "DECIMAL",
    "delta_money": "DECIMAL",
}
PAIRS = """
WITH metered AS (
    SELECT period, tenant_id, meter, CAST(sum(quantity) AS DECIMAL(38, 9)) AS quantity FROM metering.usage_period
    WHERE period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) GROUP BY ALL
)
SELECT coalesce(metered.period, gateway.period), coalesce(metered.tenant_id, gateway.tenant_id), coalesce(metered.meter, gateway.meter),
       coalesce(metered.quantity, 0), coalesce(gateway.quantity, 0), meters.floor
FROM metered
FULL JOIN (SELECT period, tenant_id, meter, quantity FROM metering.gateway_period
           WHERE period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)) AS gateway
  ON gateway.period = metered.period AND gateway.tenant_id = metered.tenant_id AND gateway.meter = metered.meter
JOIN reference.meters AS meters ON meters.meter = coalesce(metered.meter, gateway.meter)
ORDER BY ALL
"""
INVOICES = """
SELECT period, tenant_id, currency, invoice FROM metering.rated
WHERE invoice <> '' AND period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
"""
NANO = 9


@dataclass(frozen=True, slots=True)
class Pair:
    """A tenant's meter in a month: quantities metered and in the reference, and the difference that never counts."""

    metered: Decimal
    reference: Decimal
    floor: Decimal

    @property
    def absolute(self) -> Decimal:
        return EXACT.subtract(self.metered, self.reference).copy_abs()


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """The code behind this module."""
    return package_digest("rating", "invoicing")


def variance_priced(work: "Work") -> "duckdb.DuckDBPyRelation":
    """One row per tenant and meter of every tenant that has an invoice. Amounts have 9 decimals, differences rounded up, references down."""
    pricing = Pricing.of(work.con)
    return relation_of(work, SCHEMA, _rows(work, pricing) if pricing.books else iter(()))


def _rows(work: "Work", pricing: Pricing) -> Iterator[tuple[Any, ...]]:
    invoices = {
        (period, tenant): (currency, json.loads(text))
        for period, tenant, currency, text in work.con.sql(INVOICES, params=work.params).fetchall()
    }
    pairs: dict[tuple[date, str], dict[str, Pair]] = {}
    for period, tenant, meter, metered, reference, floor in work.con.sql(PAIRS, params=work.params).fetchall():
        pairs.setdefault((period, tenant), {})[meter] = Pair(metered, reference, floor)
    for declared, period, (_, ends) in tenant_months(work):
        own = (period, declared.tenant_id)
        if own in invoices and own in pairs:
            currency, invoice = invoices[own]
            charged = _charged(invoice)
            charges = Charges.of([span for each in spans(pricing.terms(declared, period, ends)).values() for span in each])
            for meter, pair in sorted(pairs[own].items()):
                paid = charged.get(meter, ZERO)
                worth = priced(charges, meter, pair, paid)
                yield period, declared.tenant_id, meter, currency, unit_of(currency), paid, *worth


def _charged(invoice: Mapping[str, Any]) -> dict[str, Decimal]:
    """Net of an invoice's lines by meter; lines of a plan itself have none."""
    found: dict[str, Decimal] = {}
    for line in invoice["lines"]:
        if line["meter"] is not None:
            found[line["meter"]] = EXACT.add(found.get(line["meter"], ZERO), Decimal(line["net"]))
    return found


@dataclass(frozen=True)
class Charges:
    """The charges of each meter that a tenant has at the end of its month."""

    by_meter: Mapping[str, Sequence[Span]]

    @classmethod
    def of(cls, held: Sequence[Span]) -> "Charges":
        """From the spans of a month, in time order per charge: the last of each charge counts."""
        last = {span.charge.id: span for span in held}
        by_meter: dict[str, list[Span]] = {}
        for span in last.values():
            if isinstance(span.charge, Metered):
                by_meter.setdefault(span.charge.meter, []).append(span)
        return cls(by_meter)

    def amount(self, meter: str, quantity: Decimal) -> Decimal:
        """What a quantity would cost by itself; where the meter has several charges, by the one that takes most for it."""
        return max((_amount(span, max(quantity, ZERO)) for span in self.by_meter.get(meter, ())), default=ZERO)


def _amount(span: Span, quantity: Decimal) -> Decimal:
    return total_of(rate_spans([span], [_usage(span, quantity)]))


def _usage(span: Span, quantity: Decimal) -> Usage:
    """A quantity of which no parts are known: one event, or the dearest tuple."""
    charge = span.charge
    if isinstance(charge, Percentage):
        return [Event(("reference",), quantity)]
    if isinstance(charge, Matrix):
        prices = {charge.key(cell): cell.price for cell in charge.prices}
        if charge.default_price is not None:
            prices.setdefault(("",) * len(charge.dimensions), charge.default_price)
        return {max(prices, key=lambda values: prices[values]): quantity}
    return quantity


def priced(charges: Charges, meter: str, pair: Pair, paid: Decimal) -> tuple[Decimal, Decimal]:
    """(money of the reference, money of the difference).

    By the effective price: paid / metered. Where that is nothing, because nothing was metered or the allowance covered it, by what the
    reference would cost. A difference beyond the meter's floor is worth at least what the charge would change by if the reference were billed.
    """
    amount, quantity = paid.copy_abs(), pair.metered
    if not amount or quantity <= 0:
        amount, quantity = charges.amount(meter, pair.reference), pair.reference
    if quantity <= 0:
        amount, quantity = charges.amount(meter, pair.metered), pair.metered
    if quantity <= 0:
        return ZERO, ZERO
    reference = _times(amount, pair.reference.copy_abs(), quantity, "floor")
    difference = _times(amount, pair.absolute, quantity, "ceil")
    if pair.absolute > pair.floor:
        billed = EXACT.subtract(charges.amount(meter, pair.reference), charges.amount(meter, pair.metered))
        difference = max(difference, billed.copy_abs())
    return reference, difference


def _times(amount: Decimal, quantity: Decimal, whole: Decimal, rounding: Any) -> Decimal:
    """amount x quantity / whole, rounded once at the ninth decimal."""
    return divided(EXACT.multiply(amount, quantity), whole, NANO, rounding)
