"""One function per charge model: a quantity or per-event values in, lines out, each rounded once.

Discounts, bounds, commitments and tax are steps of an invoice (`steps.py`). Formulas: docs/price-book.md. Callers hold `money.EXACT` as the
decimal context, so that whatever would lose a digit raises.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from mc_pipelines.errors import MissionError
from mc_pipelines.rating.lines import Event, Kind, Line, Usage
from mc_pipelines.rating.money import ZERO, checked_quantity, divided, rounded, unit_of
from mc_pipelines.rating.plans import (
    Charge,
    Counted,
    Flat,
    Graduated,
    GraduatedPercentage,
    Matrix,
    Metered,
    Package,
    Percentage,
    PerUnit,
    RateTier,
    Tier,
    Volume,
)
from mc_pipelines.rating.scale import ONE, Reach, Span, UnpricedError, converted, reaches


class Pen:
    """Writes the lines of one span: everything but the model's own figures is the same on each."""

    def __init__(self, span: Span) -> None:
        charge, book = span.charge, span.book
        self.unit = unit_of(book.currency)
        tax = charge.tax or book.plans[span.plan].tax
        self.same: dict[str, Any] = {
            "charge": charge.id,
            "segment": span.segment,
            "plan": span.plan,
            "price_book": book.price_book,
            "version": book.version,
            "meter": charge.meter if isinstance(charge, Metered) else None,
            "discount_percent": charge.discount_percent,
            "tax": tax,
            "tax_percent": book.taxes[tax] if tax else None,
        }

    def line(self, kind: Kind, quantity: Decimal, price: Decimal, **more: Any) -> Line:
        """quantity x price, rounded once."""
        return Line(kind, amount=rounded(quantity * price, self.unit), quantity=quantity, unit_price=price, **self.same, **more)

    def sum(self, kind: Kind, amount: Decimal, count: int) -> Line:
        """An exact sum over `count` events, rounded once."""
        return Line(kind, amount=rounded(amount, self.unit), quantity=Decimal(count), **self.same)


def _tier_bounds(tiers: Sequence[Tier | RateTier]) -> Iterator[tuple[Decimal, Decimal | None, Tier | RateTier]]:
    above = ZERO
    for tier in tiers:
        yield above, tier.up_to, tier
        above = tier.up_to or above


def _flat_fees(charge: Any, reach: Reach) -> Iterator[tuple[Decimal, tuple[Decimal, Decimal | None], int]]:
    """(fee, tier, times) of the tiers that this span reaches first: 1, or -1 where a negative quantity takes the scale back below one."""
    for above, up_to, tier in _tier_bounds(charge.tiers):
        if tier.flat:
            due_at_zero = above == 0 and charge.flat_at_zero
            after = due_at_zero or reach.ends > above
            before = not reach.opening and (due_at_zero or reach.begins > above)
            if after != before:
                yield tier.flat, (above, up_to), 1 if after else -1


def per_unit(charge: PerUnit, reach: Reach, pen: Pen, used: Decimal) -> Iterator[Line]:
    """n x p."""
    yield pen.line("usage", reach.quantity, charge.price, allowance_used=used)


def graduated(charge: Graduated | GraduatedPercentage, reach: Reach, pen: Pen, used: Decimal) -> Iterator[Line]:
    """(min(n, u_i) - u_(i-1)) x p_i per tier, and f_i once where n > u_(i-1). A negative n lies in the first tier."""
    written = False
    for above, up_to, tier in _tier_bounds(charge.tiers):
        low, high = reach.begins, reach.ends
        if up_to is not None:
            low, high = min(low, up_to), min(high, up_to)
        if above:
            low, high = max(low, above), max(high, above)
        if low != high:
            yield pen.line("usage", high - low, tier.price, tier=(above, up_to), allowance_used=ZERO if written else used)
            written = True
    if not written:
        first = charge.tiers[0]
        yield pen.line("usage", ZERO, first.price, tier=(ZERO, first.up_to), allowance_used=used)
    for fee, bounds, times in _flat_fees(charge, reach):
        yield pen.line("flat", Decimal(times), fee, tier=bounds)


def volume(charge: Volume, reach: Reach, pen: Pen, used: Decimal) -> Iterator[Line]:
    """n x p_i + f_i of the one tier with whole <= u_i; where spans continue, each is priced in the tier of the whole period's quantity."""
    above, up_to, tier = next(each for each in _tier_bounds(charge.tiers) if each[1] is None or reach.whole <= each[1])
    yield pen.line("usage", reach.quantity, tier.price, tier=(above, up_to), allowance_used=used)
    if tier.flat and reach.opening and (charge.flat_at_zero or reach.whole > 0):
        yield pen.line("flat", ONE, tier.flat, tier=(above, up_to))


def package(charge: Package, reach: Reach, pen: Pen, used: Decimal) -> Iterator[Line]:
    """ceil(n / size) x price; `rounding: down` bills full packages only. The line's quantity is packages."""
    begun, done = (divided(each, charge.size, 0, "ceil" if charge.rounding == "up" else "floor") for each in (reach.begins, reach.ends))
    yield pen.line("usage", done - begun, charge.price, allowance_used=used)


COUNTED: Mapping[type[Counted], Callable[..., Iterator[Line]]] = {
    PerUnit: per_unit,
    Graduated: graduated,
    GraduatedPercentage: graduated,
    Volume: volume,
    Package: package,
}


def flat(spans: Sequence[Span]) -> list[list[Line]]:
    """f once per period, at the price of the first span; where it is prorated, f x days / days of the period in each span."""
    lines: list[list[Line]] = []
    for place, span in enumerate(spans):
        charge, segment = span.charge, span.segment
        assert isinstance(charge, Flat)
        pen = Pen(span)
        if charge.prorate:
            amount = rounded(charge.price * segment.days, pen.unit, segment.of)
            lines.append([Line("flat", amount=amount, quantity=ONE, unit_price=charge.price, **pen.same)])
        else:
            lines.append([pen.line("flat", ONE, charge.price)] if place == 0 else [])
    return lines


def matrix(spans: Sequence[Span], usages: Sequence[Mapping[tuple[str, ...], Decimal]], carry: bool) -> list[list[Line]]:
    """A line per tuple, in the order of the tuples. Raises UnpricedError naming every tuple without a price."""
    lines: list[list[Line]] = []
    running: dict[tuple[str, ...], Decimal] = {}
    for span, usage in zip(spans, usages, strict=True):
        charge = span.charge
        assert isinstance(charge, Matrix)
        prices = {charge.key(cell): cell.price for cell in charge.prices}
        missing = [values for values in sorted(usage) if prices.get(values, charge.default_price) is None]
        if missing:
            raise UnpricedError(
                f"charge {charge.id} of plan {span.plan}, {span.book.price_book} {span.book.version}: no price for "
                f"{', '.join('/'.join(values) for values in missing)} ({'/'.join(charge.dimensions)}). Add it to prices, or a default_price."
            )
        pen, written = Pen(span), []
        for values in sorted(usage):
            begins = running.get(values, ZERO) if carry else ZERO
            running[values] = begins + usage[values]
            quantity = converted(running[values], charge.unit_conversion) - converted(begins, charge.unit_conversion)
            price = prices.get(values, charge.default_price)
            assert price is not None
            written.append(pen.line("usage", quantity, price, dimensions=tuple(zip(charge.dimensions, values, strict=True))))
        lines.append(written)
    return lines


@dataclass
class Free:
    """How much of a percentage charge's free events and free amount is used up; `over` once either did not suffice."""

    events: int = 0
    amount: Decimal = ZERO
    over: bool = False

    def chargeable(self, charge: Percentage, value: Decimal) -> Decimal | None:
        """None for an event that is free, else the part of its value that is charged: of the first that does not fit, what is above."""
        limited = charge.free_events is not None or charge.free_amount is not None
        if self.over or not limited or (charge.free_events is not None and self.events >= charge.free_events):
            self.over = True
            return value
        left = None if charge.free_amount is None else charge.free_amount - self.amount
        if left is not None and value > left:
            self.over = True
            return value - max(left, ZERO)
        self.events += 1
        self.amount += value
        return None


def percentage(spans: Sequence[Span], usages: Sequence[Sequence[Event]], carry: bool) -> list[list[Line]]:
    """value x rate / 100 + fee per event, then the minimum and maximum per event: the parts are lines of their own, each summed exactly."""
    lines: list[list[Line]] = []
    free = Free()
    for span, events in zip(spans, usages, strict=True):
        charge = span.charge
        assert isinstance(charge, Percentage)
        free = free if carry else Free()
        values = [part for event in sorted(events) if (part := free.chargeable(charge, event.value)) is not None]
        lines.append(list(_percentage_lines(charge, values, Pen(span))))
    return lines


def _percentage_lines(charge: Percentage, values: Sequence[Decimal], pen: Pen) -> Iterator[Line]:
    price = charge.rate.scaleb(-2)
    yield pen.line("usage", sum(values, ZERO), price)
    if charge.fee:
        yield pen.line("fee", Decimal(len(values)), charge.fee)
    costs = [value * price + charge.fee for value in values]
    if charge.event_minimum is not None and (raised := [charge.event_minimum - cost for cost in costs if cost < charge.event_minimum]):
        yield pen.sum("event_minimum", sum(raised, ZERO), len(raised))
    if charge.event_maximum is not None and (cut := [charge.event_maximum - cost for cost in costs if cost > charge.event_maximum]):
        yield pen.sum("event_maximum", sum(cut, ZERO), len(cut))


def lines_of(spans: Sequence[Span], usages: Sequence[Usage], carry: bool) -> list[list[Line]]:
    """The lines of one charge, per span. The spans are those of one charge id in one period, in time order; `usages` has one for each.

    Spans of different models share no scale: where the model changes, a new scale begins.
    """
    lines: list[list[Line]] = []
    start = 0
    for end in range(1, len(spans) + 1):
        if end == len(spans) or type(spans[end].charge) is not type(spans[start].charge):
            lines += _of_one_model(spans[start:end], usages[start:end], carry)
            start = end
    return lines


def _of_one_model(spans: Sequence[Span], usages: Sequence[Usage], carry: bool) -> list[list[Line]]:
    charge = spans[0].charge
    if isinstance(charge, Flat):
        return flat(spans)
    if isinstance(charge, Percentage):
        return percentage(spans, [_events(charge, usage) for usage in usages], carry)
    if isinstance(charge, Matrix):
        return matrix(spans, [_tuples(charge, usage) for usage in usages], carry)
    quantities = [checked_quantity(usage, f"charge {charge.id}") for usage in usages]
    return [
        list(COUNTED[type(span.charge)](span.charge, reach, Pen(span), used))  # type: ignore[index]  # Counted, as the first span's charge is
        for span, (reach, used) in zip(spans, reaches(spans, quantities, carry), strict=True)
    ]


def _events(charge: Charge, usage: Usage) -> list[Event]:
    if usage is None or isinstance(usage, Decimal | Mapping):
        raise MissionError(f"charge {charge.id} is a percentage of each event's value. Give its events, not a quantity.")
    for event in usage:
        checked_quantity(event.value, f"charge {charge.id}")
    return list(usage)


def _tuples(charge: Matrix, usage: Usage) -> Mapping[tuple[str, ...], Decimal]:
    if not isinstance(usage, Mapping):
        raise MissionError(f"charge {charge.id} is priced by {'/'.join(charge.dimensions)}. Give a quantity for each tuple of them.")
    for values, quantity in usage.items():
        checked_quantity(quantity, f"charge {charge.id}")
        if len(values) != len(charge.dimensions):
            raise MissionError(f"charge {charge.id} is priced by {'/'.join(charge.dimensions)}; {'/'.join(values)} is no tuple of them.")
    return usage
