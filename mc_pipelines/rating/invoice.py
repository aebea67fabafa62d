"""The two calls of rating: one charge (`rate`), and a tenant's period (`rate_invoice`). Pure: the same values give the same lines, always.

Usage is counted elsewhere, per charge and span (`segments.spans`). Documents, corrections and approvals come after.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal, Inexact, InvalidOperation, localcontext
from itertools import groupby

from mc_pipelines.errors import MissionError
from mc_pipelines.rating.book import Book
from mc_pipelines.rating.charges import lines_of
from mc_pipelines.rating.lines import WHOLE, Invoice, Line, Segment, TaxSubtotal, Usage
from mc_pipelines.rating.money import EXACT, ZERO, rounded, unit_of
from mc_pipelines.rating.plans import Flat
from mc_pipelines.rating.policy import DEFAULT, POLICIES
from mc_pipelines.rating.scale import Span
from mc_pipelines.rating.segments import Term, spans
from mc_pipelines.rating.steps import CHARGE_STEPS, INVOICE_STEPS, PLAN_STEPS, Lines, net, tax_subtotals


def rate(book: Book, plan: str, charge: str, usage: Usage = None, segment: Segment = WHOLE) -> tuple[Line, ...]:
    """The lines of one charge of a plan, with its own discount, maximum and minimum.

    `usage`: a quantity; for a percentage charge its events, in any order; for a matrix a quantity per tuple of dimension values; for a flat
    fee nothing. Quantities are raw (unit conversion and allowance are applied here), of at most 29 digits and 9 decimals.
    Raises UnpricedError for a tuple without a price, MissionError for a plan or charge that the book has not, TypeError for a float.
    """
    found = next((each for each in book.plans[plan].charges if each.id == charge), None) if plan in book.plans else None
    if found is None:
        known = [f"{name}: {', '.join(each.id for each in of.charges)}" for name, of in book.plans.items()]
        raise MissionError(
            f"price book {book.price_book} {book.version} has no charge {charge!r} in plan {plan!r}. It has {'; '.join(known)}."
        )
    return rate_spans([Span(found, segment, plan, book)], [usage])


def rate_spans(charge_spans: Sequence[Span], usages: Sequence[Usage]) -> tuple[Line, ...]:
    """As `rate`, for a charge whose terms change within a period: its spans in time order, with the usage of each."""
    with _exactly(charge_spans[0].charge.id):
        return tuple(_rated(charge_spans, usages))


def rate_invoice(
    period: Sequence[Term], usage: Mapping[str, Sequence[Usage]], credit: Decimal = ZERO, corrected: Decimal = ZERO
) -> Invoice:
    """The invoice of one tenant and period, calculated in the order of the price book's policy.

    `period`: the tenant's terms (`segments.terms`). `usage`: for each charge id, the usage of each of its spans (`segments.spans`); flat fees
    may be left out. `credit`: prepaid money in the invoice's currency. `corrected`: what corrections of earlier periods add,
    with tax. What the policy, the rounding of tax and `cumulative_tiers` are is said
    by the version in force at the period's end. Raises as `rate` does.
    """
    book = _one_book(period)
    by_charge = spans(period)
    if type(credit) is not Decimal or not credit.is_finite() or credit < 0 or rounded(credit, unit_of(book.currency)) != credit:
        raise MissionError(
            f"credit {credit!r}: no amount of {book.currency} that can be paid. Give a Decimal of its minor units, 0 or more."
        )
    if odd := sorted(set(usage) - set(by_charge)):
        raise MissionError(f"usage of {', '.join(odd)}: no charge of this period has this id. It has {', '.join(by_charge)}.")
    with _exactly(f"plan {period[-1].plan} of {book.price_book} {book.version}"):
        lines: Lines = []
        for name, own in by_charge.items():
            lines += _rated(own, _usages(name, own, usage))
        for step in POLICIES[book.policy]:
            if step in PLAN_STEPS:
                lines = _by_plan(lines, period, step)
            elif step in INVOICE_STEPS:
                lines = INVOICE_STEPS[step](lines, period)
        return _totals(lines, tax_subtotals(lines, book), book.currency, book.policy, credit, corrected)


def invoice_of_corrections(currency: str, credit: Decimal, corrected: Decimal) -> Invoice:
    """The invoice of a period in which no plan is held, but earlier ones are corrected."""
    with _exactly("corrections"):
        return _totals([], (), currency, DEFAULT, credit, corrected)


def _usages(name: str, own: Sequence[Span], usage: Mapping[str, Sequence[Usage]]) -> Sequence[Usage]:
    if name not in usage and all(isinstance(span.charge, Flat) for span in own):
        return [None] * len(own)
    if len(given := usage.get(name, ())) != len(own):
        raise MissionError(
            f"charge {name}: usage of {len(given)} span(s), the period has {len(own)}. Give one for each; 0 where nothing was used."
        )
    return given


def _rated(own: Sequence[Span], usages: Sequence[Usage]) -> Lines:
    """The lines of one charge after the policy's steps for charges."""
    book = own[-1].book
    carry = book.cumulative_tiers == "continue"
    by_span = lines_of(own, usages, carry)
    scales = (
        [(own, [line for lines in by_span for line in lines])]
        if carry
        else [([span], lines) for span, lines in zip(own, by_span, strict=True)]
    )
    found: Lines = []
    for scale, lines in scales:
        for step in POLICIES[book.policy]:
            if step in CHARGE_STEPS:
                lines = CHARGE_STEPS[step](lines, scale)
        found += lines
    return found


def _by_plan(lines: Lines, period: Sequence[Term], step: object) -> Lines:
    """A step of the plan, for each plan that was held, in the order in which they were."""
    found: Lines = []
    held: dict[tuple[str, str], list[Term]] = {}
    for term in period:
        held.setdefault((term.book.price_book, term.plan), []).append(term)
    if len(held) == 1:
        return PLAN_STEPS[step](lines, period)  # type: ignore[index]
    for key, own in held.items():
        found += PLAN_STEPS[step]([line for line in lines if (line.price_book, line.plan) == key], own)  # type: ignore[index]
    return found


def _one_book(period: Sequence[Term]) -> Book:
    if not period:
        raise MissionError("no plan is held in this period, so there is nothing to rate. Leave the tenant out, or add a subscription.")
    currencies = [currency for currency, _ in groupby(term.book.currency for term in period)]
    if len(currencies) > 1:
        raise MissionError(
            f"the plans of one period are in {' and '.join(currencies)}; an invoice has one currency. Change books between periods."
        )
    return period[-1].book


def _totals(lines: Lines, taxes: Sequence[TaxSubtotal], currency: str, policy: str, credit: Decimal, corrected: Decimal) -> Invoice:
    subtotal, after = sum((line.amount for line in lines), ZERO), net(lines)
    total = after + sum((each.amount for each in taxes), ZERO)
    used = -min(credit, max(total + corrected, ZERO))
    sums = (subtotal, after - subtotal, after, total, corrected, used, total + corrected + used)
    return Invoice(currency, policy, tuple(lines), tuple(taxes), *(rounded(each, unit_of(currency)) for each in sums))


@contextmanager
def _exactly(what: str) -> Iterator[None]:
    """Exact arithmetic; a result that would need more than 76 digits is an error of the declaration, not a rounding."""
    with localcontext(EXACT):
        try:
            yield
        except (Inexact, InvalidOperation) as error:
            raise MissionError(
                f"{what}: a result needs more than {EXACT.prec} digits. Give its unit_conversion a rounding, or shorter factors."
            ) from error
