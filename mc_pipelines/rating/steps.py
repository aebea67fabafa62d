"""What each step of a policy does to lines. In which order they come stands in `policy.py`; the lines themselves are made in `charges.py`.

A step of a charge judges a scale: all spans of the charge under `continue`, each span alone under `restart`. A step of the plan judges the
lines of one plan, in the segments in which it was held; a step of the invoice all lines.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from mc_pipelines.rating.book import Book
from mc_pipelines.rating.charges import Pen
from mc_pipelines.rating.lines import Kind, Line, TaxSubtotal, changed
from mc_pipelines.rating.money import ZERO, rounded, shares, unit_of
from mc_pipelines.rating.plans import Metered
from mc_pipelines.rating.policy import Step
from mc_pipelines.rating.scale import Span
from mc_pipelines.rating.segments import Term

Lines = list[Line]


def net(lines: Sequence[Line]) -> Decimal:
    return sum((line.net for line in lines), ZERO)


def line_discount(lines: Lines, scale: Sequence[Span]) -> Lines:
    """Each line's own percentage off its amount, rounded once."""
    unit = unit_of(scale[0].book.currency)
    return [
        changed(line, line_discount=rounded(-line.amount * line.discount_percent.scaleb(-2), unit)) if line.discount_percent else line
        for line in lines
    ]


def charge_maximum(lines: Lines, scale: Sequence[Span]) -> Lines:
    """A negative line down to the maximum in force at the end of the scale."""
    last = scale[-1]
    if not isinstance(last.charge, Metered) or last.charge.maximum is None or (over := net(lines) - last.charge.maximum) <= 0:
        return lines
    return [*lines, *_charge_line("maximum", -over, 1, last)]


def charge_minimum(lines: Lines, scale: Sequence[Span]) -> Lines:
    """A true-up line up to the minimum, by days where the scale is no whole period."""
    last = scale[-1]
    owed = sum(
        (each.charge.minimum * each.segment.days for each in scale if isinstance(each.charge, Metered) and each.charge.minimum), ZERO
    )
    lacking = owed - net(lines) * last.segment.of if owed else ZERO
    return [*lines, *_charge_line("minimum", lacking, last.segment.of, last)] if lacking > 0 else lines


def _charge_line(kind: Kind, amount: Decimal, per: int, span: Span) -> Lines:
    """A line of the charge as a whole, unless it rounds to nothing."""
    pen = Pen(span)
    exact = rounded(amount, pen.unit, per)
    return [Line(kind, amount=exact, **(pen.same | {"discount_percent": None}))] if exact else []


def commitment(lines: Lines, held: Sequence[Term]) -> Lines:
    """Usage above the commitment at the overage factor, or the rest of the commitment as a true-up; by days, summed over the segments."""
    agreed = [(each, term.segment.days) for term in held if (each := term.book.plans[term.plan].commitment)]
    if not agreed:
        return lines
    of, (latest, _) = held[-1].segment.of, agreed[-1]
    owed = sum((each.amount * days for each, days in agreed), ZERO)
    beyond = net([line for line in lines if line.meter is not None]) * of - owed
    if beyond > 0:
        return [*lines, *_plan_line("overage", beyond * (latest.overage_factor - 1), of, held)]
    return [*lines, *_plan_line("commitment", -beyond, of, held)] if latest.true_up else lines


def plan_maximum(lines: Lines, held: Sequence[Term]) -> Lines:
    """A negative line down to the maximum that is in force when the plan was last held."""
    most = held[-1].book.plans[held[-1].plan].maximum
    over = ZERO if most is None else net(lines) - most
    return [*lines, *_plan_line("maximum", -over, 1, held)] if over > 0 else lines


def plan_minimum(lines: Lines, held: Sequence[Term]) -> Lines:
    """A true-up line up to the plan's minimum, by days, summed over the segments."""
    of = held[-1].segment.of
    owed = sum((least * term.segment.days for term in held if (least := term.book.plans[term.plan].minimum)), ZERO)
    lacking = owed - net(lines) * of if owed else ZERO
    return [*lines, *_plan_line("minimum", lacking, of, held)] if lacking > 0 else lines


def _plan_line(kind: Kind, amount: Decimal, per: int, held: Sequence[Term]) -> Lines:
    """A line of the plan itself over the segments in which it was held, unless it rounds to nothing."""
    first, last = held[0].segment, held[-1]
    book, tax = last.book, last.book.plans[last.plan].tax
    exact = rounded(amount, unit_of(book.currency), per)
    segment = replace(last.segment, start=first.start, days=sum(term.segment.days for term in held))
    percent = book.taxes[tax] if tax else None
    line = Line(kind, "", exact, segment, last.plan, book.price_book, book.version, tax=tax, tax_percent=percent)
    return [line] if exact else []


def invoice_discount(lines: Lines, period: Sequence[Term]) -> Lines:
    """The fixed discount in force at the period's end, over the lines that cost something; never below a net of 0."""
    last = period[-1]
    fixed, unit = last.book.plans[last.plan].discount, unit_of(last.book.currency)
    off = ZERO if fixed is None else min(rounded(fixed, unit), max(net(lines), ZERO))
    if not off:
        return lines
    parts = shares(-off, [max(line.net, ZERO) for line in lines], unit)
    return [changed(line, invoice_discount=part) if part else line for line, part in zip(lines, parts, strict=True)]


def tax(lines: Lines, period: Sequence[Term]) -> Lines:
    """Tax per line on its net, rounded once; nothing where tax is rounded per document."""
    book = period[-1].book
    if book.tax_rounding == "document":
        return lines
    unit = unit_of(book.currency)
    return [
        changed(line, tax_amount=rounded(line.net * line.tax_percent.scaleb(-2), unit)) if line.tax_percent is not None else line
        for line in lines
    ]


def tax_subtotals(lines: Sequence[Line], book: Book) -> tuple[TaxSubtotal, ...]:
    """Tax per rate, by name: the sum of the lines' tax, or for `document` the tax on the sum of their nets, rounded once."""
    by_rate: dict[tuple[str, Decimal], Lines] = {}
    for line in lines:
        if line.tax is not None and line.tax_percent is not None:
            by_rate.setdefault((line.tax, line.tax_percent), []).append(line)
    found = []
    for (name, percent), own in sorted(by_rate.items()):
        base = net(own)
        if book.tax_rounding == "document":
            amount = rounded(base * percent.scaleb(-2), unit_of(book.currency))
        else:
            amount = sum((line.tax_amount for line in own if line.tax_amount is not None), ZERO)
        found.append(TaxSubtotal(name, percent, base, amount))
    return tuple(found)


CHARGE_STEPS: Mapping[Step, Callable[[Lines, Sequence[Span]], Lines]] = {
    "line_discount": line_discount,
    "charge_maximum": charge_maximum,
    "charge_minimum": charge_minimum,
}
PLAN_STEPS: Mapping[Step, Callable[[Lines, Sequence[Term]], Lines]] = {
    "commitment": commitment,
    "plan_maximum": plan_maximum,
    "plan_minimum": plan_minimum,
}
INVOICE_STEPS: Mapping[Step, Callable[[Lines, Sequence[Term]], Lines]] = {
    "invoice_discount": invoice_discount,
    "tax": tax,
}
