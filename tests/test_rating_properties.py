"""What must hold for every input: an independent calculation in fractions agrees, lines add up, order and splits change nothing."""

import os
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mc_pipelines.rating.book import Book
from mc_pipelines.rating.invoice import rate, rate_invoice, rate_spans
from mc_pipelines.rating.lines import Event, Invoice, Line, Segment
from mc_pipelines.rating.money import EXACT, minor_units, shares, unit_of
from mc_pipelines.rating.scale import Span
from mc_pipelines.rating.segments import Term, cut, midnights

EXAMPLES = settings(max_examples=int(os.environ.get("RATING_EXAMPLES", "60")), deadline=None)
"""A test never asserts a time. RATING_EXAMPLES=20000 looks longer."""


def numbers(whole: int, decimals: int, least: int = 0) -> st.SearchStrategy[Decimal]:
    """Decimals of up to `whole` digits before the point and `decimals` after it."""
    return st.integers(least * 10**decimals, 10 ** (whole + decimals) - 1).map(
        lambda digits: Decimal((0, tuple(map(int, str(digits))), -decimals))
    )


QUANTITIES = st.one_of(st.integers(0, 1500).map(Decimal), numbers(29, 9), numbers(4, 9))
SIGNED = st.one_of(QUANTITIES, QUANTITIES.map(lambda quantity: quantity.copy_negate()))
PRICES = st.one_of(st.just(Decimal(0)), numbers(3, 12), numbers(6, 2))
CURRENCIES = st.sampled_from(["USD", "JPY", "KWD"])


def text(number: Decimal) -> str:
    return format(number, "f")


@st.composite
def tiers(draw: st.DrawFn, price: str = "price") -> list[dict[str, str]]:
    bounds = sorted(draw(st.sets(st.one_of(st.integers(1, 1200).map(Decimal), numbers(4, 9, 1)), max_size=3)))
    rows = [{"up_to": text(bound), price: text(draw(PRICES)), "flat": text(draw(PRICES))} for bound in bounds]
    return [*rows, {price: text(draw(PRICES)), "flat": text(draw(PRICES))}]


@st.composite
def charges(draw: st.DrawFn, fees: bool = True) -> dict[str, Any]:
    """A declared charge that takes one quantity."""
    model = draw(st.sampled_from(["per_unit", "graduated", "volume", "package"]))
    charge: dict[str, Any] = {
        "id": "c",
        "meter": "m",
        "model": model,
        "allowance": text(draw(st.one_of(st.just(Decimal(0)), numbers(3, 9)))),
    }
    if model == "per_unit":
        charge["price"] = text(draw(PRICES))
    elif model == "package":
        charge |= {"price": text(draw(PRICES)), "size": text(draw(numbers(3, 3, 1))), "rounding": draw(st.sampled_from(["up", "down"]))}
    else:
        rows = draw(tiers())
        charge |= {"tiers": rows if fees else [{**row, "flat": "0"} for row in rows], "flat_at_zero": draw(st.booleans())}
    if draw(st.booleans()):
        way = draw(st.sampled_from(["divide_by", "multiply_by"]))
        charge["unit_conversion"] = {
            way: text(draw(numbers(3, 2, 1))),
            "rounding": draw(st.sampled_from(["ceil", "floor", "half_up"])),
            "decimals": draw(st.integers(0, 9)),
        }
    return charge


def book(charge: dict[str, Any], currency: str = "USD", **more: Any) -> Book:
    head = {"price_book": "b", "version": "1", "effective": datetime(2026, 1, 1, tzinfo=UTC), "currency": currency}
    plan = {key: more.pop(key) for key in ("tax", "discount", "commitment", "minimum", "maximum") if key in more}
    return Book.model_validate({**head, **more, "plans": {"p": {"charges": [charge], **plan}}})


def total(lines: Sequence[Line]) -> Decimal:
    with localcontext(EXACT):
        return sum((line.net for line in lines), Decimal(0))


def half_away(amount: Fraction, digits: int) -> Fraction:
    """Round half away from zero, from the definition: the nearest of the two multiples of a unit, the farther one at the middle."""
    scaled = abs(amount) * 10**digits
    below = scaled.numerator // scaled.denominator
    nearest = below + 1 if scaled - below >= Fraction(1, 2) else below
    return Fraction(nearest, 10**digits) * (-1 if amount < 0 else 1)


def ceiling(number: Fraction) -> int:
    return -((-number.numerator) // number.denominator)


def by_fractions(charge: dict[str, Any], quantity: Decimal, digits: int) -> Fraction:
    """What a charge costs, written from docs/price-book.md with fractions and without a look at the code."""
    n = Fraction(quantity)
    if conversion := charge.get("unit_conversion"):
        n = n / Fraction(conversion["divide_by"]) if "divide_by" in conversion else n * Fraction(conversion["multiply_by"])
        step = Fraction(1, 10 ** conversion["decimals"])
        steps = n / step
        ways = {"ceil": Fraction(ceiling(steps)), "floor": Fraction(steps.numerator // steps.denominator), "half_up": half_away(steps, 0)}
        n = ways[conversion["rounding"]] * step
    if n > 0:
        n = max(n - Fraction(charge["allowance"]), Fraction(0))
    if charge["model"] == "per_unit":
        return half_away(n * Fraction(charge["price"]), digits)
    if charge["model"] == "package":
        packages = n / Fraction(charge["size"])
        count = ceiling(packages) if charge["rounding"] == "up" else packages.numerator // packages.denominator
        return half_away(count * Fraction(charge["price"]), digits)
    rows = charge["tiers"]
    if charge["model"] == "volume":
        row = next(row for row in rows if "up_to" not in row or n <= Fraction(row["up_to"]))
        fee = Fraction(row["flat"]) if n > 0 or charge["flat_at_zero"] else Fraction(0)
        return half_away(n * Fraction(row["price"]), digits) + half_away(fee, digits)
    cost, below = Fraction(0), Fraction(0)
    for place, row in enumerate(rows):
        top = min(n, Fraction(row["up_to"])) if "up_to" in row else n
        if n > below or place == 0:
            cost += half_away((top - below) * Fraction(row["price"]), digits)
        if n > below or (place == 0 and charge["flat_at_zero"]):
            cost += half_away(Fraction(row["flat"]), digits)
        below = Fraction(row.get("up_to", 0))
    return cost


@EXAMPLES
@given(charges(), SIGNED, CURRENCIES)
def test_an_independent_calculation_in_fractions_agrees(charge: dict[str, Any], quantity: Decimal, currency: str) -> None:
    lines = rate(book(charge, currency), "p", "c", quantity)
    assert Fraction(total(lines)) == by_fractions(charge, quantity, minor_units(currency))


@EXAMPLES
@given(charges(), SIGNED, CURRENCIES)
def test_every_line_is_its_own_product_rounded_once_in_minor_units(charge: dict[str, Any], quantity: Decimal, currency: str) -> None:
    for line in rate(book(charge, currency), "p", "c", quantity):
        assert line.quantity is not None
        assert line.unit_price is not None
        assert Fraction(line.amount) == half_away(Fraction(line.quantity) * Fraction(line.unit_price), minor_units(currency))
        assert line.amount.as_tuple().exponent == -minor_units(currency)
        assert not (line.amount.is_zero() and line.amount.is_signed())


@EXAMPLES
@given(charges(), QUANTITIES, QUANTITIES)
def test_more_usage_never_costs_less_where_no_tier_applies_to_all(charge: dict[str, Any], one: Decimal, other: Decimal) -> None:
    """Volume may get cheaper: that is its point. Every other model grows."""
    if charge["model"] != "volume":
        low, high = (total(rate(book(charge), "p", "c", quantity)) for quantity in sorted((one, other)))
        # each line rounds by half a cent at most; tiers that both have in full are the same
        assert low <= high


@EXAMPLES
@given(charges(), st.lists(numbers(4, 9), min_size=2, max_size=5))
def test_splitting_a_period_without_a_price_change_changes_nothing_before_rounding(charge: dict[str, Any], parts: list[Decimal]) -> None:
    """The quantities of each tier, the packages and the fees of the parts add up to those of the whole; lines are rounded each for itself."""
    priced = book(charge, cumulative_tiers="continue")
    declared = priced.plans["p"].charges[0]
    spans = [Span(declared, Segment(None, None, 1, len(parts)), "p", priced) for _ in parts]
    with localcontext(EXACT):
        whole = sum(parts, Decimal(0))
        split, one = rate_spans(spans, parts), rate_spans(spans[:1], [whole])
        assert _by_tier(split) == _by_tier(one)
        assert sum(line.allowance_used for line in split) == sum(line.allowance_used for line in one)


def _by_tier(lines: Sequence[Line]) -> dict[Any, Decimal]:
    found: dict[Any, Decimal] = {}
    for line in lines:
        assert line.quantity is not None
        key = (line.kind, line.tier, line.unit_price)
        found[key] = found.get(key, Decimal(0)) + line.quantity
    return {key: quantity for key, quantity in found.items() if quantity}


@st.composite
def percentages(draw: st.DrawFn) -> dict[str, Any]:
    optional: dict[str, st.SearchStrategy[Any]] = {
        "free_events": st.integers(0, 4),
        "free_amount": numbers(3, 2).map(text),
        "event_maximum": numbers(2, 3).map(text),
    }
    chosen = {key: draw(values) for key, values in optional.items() if draw(st.booleans())}
    least = {"event_minimum": "0.05"} if draw(st.booleans()) and Decimal(chosen.get("event_maximum", "1")) >= Decimal("0.05") else {}
    return {
        "id": "c",
        "meter": "m",
        "model": "percentage",
        "rate": text(draw(numbers(2, 10))),
        "fee": text(draw(numbers(1, 3))),
        **chosen,
        **least,
    }


EVENTS = st.lists(numbers(4, 3), max_size=6).map(lambda values: [Event((f"{place:03}",), value) for place, value in enumerate(values)])


def percentage_by_fractions(charge: dict[str, Any], events: Sequence[Event]) -> Fraction:
    """The exact cost of events in their order, event by event."""
    free_events, free_amount = charge.get("free_events"), charge.get("free_amount")
    cost, seen, running, still_free = Fraction(0), 0, Fraction(0), free_events is not None or free_amount is not None
    for event in events:
        value, charged = Fraction(event.value), Fraction(event.value)
        if still_free and free_events is not None and seen >= free_events:
            still_free = False
        if still_free and free_amount is not None and running + value > Fraction(free_amount):
            still_free, charged = False, running + value - Fraction(free_amount)
        elif still_free:
            seen, running = seen + 1, running + value
            continue
        one = charged * Fraction(charge["rate"]) / 100 + Fraction(charge["fee"])
        one = max(one, Fraction(charge["event_minimum"])) if "event_minimum" in charge else one
        cost += min(one, Fraction(charge["event_maximum"])) if "event_maximum" in charge else one
    return cost


@EXAMPLES
@given(percentages(), EVENTS, st.randoms())
def test_events_in_any_order_cost_the_same_and_what_fractions_say(charge: dict[str, Any], events: list[Event], random: Any) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)
    lines = rate(book(charge), "p", "c", events)
    assert rate(book(charge), "p", "c", shuffled) == lines
    # up to four lines, each rounded once
    assert abs(Fraction(total(lines)) - percentage_by_fractions(charge, events)) <= Fraction(len(lines), 200)


@EXAMPLES
@given(percentages(), EVENTS, st.integers(0, 6))
def test_splitting_events_between_segments_changes_nothing_before_rounding(charge: dict[str, Any], events: list[Event], at: int) -> None:
    priced = book(charge, cumulative_tiers="continue")
    span = Span(priced.plans["p"].charges[0], Segment(None, None, 1, 2), "p", priced)
    split = rate_spans([span, span], [events[:at], events[at:]])
    assert _by_tier(split) == _by_tier(rate_spans([span], [events]))


PLANS = st.fixed_dictionaries(
    {},
    optional={
        "tax": st.just("vat"),
        "discount": numbers(3, 2).map(text),
        "minimum": numbers(3, 3).map(text),
        "maximum": numbers(3, 3).map(text),
        "commitment": st.fixed_dictionaries(
            {"amount": numbers(3, 3).map(text), "overage_factor": numbers(1, 2).map(text), "true_up": st.booleans()}
        ),
    },
)


@EXAMPLES
@given(charges(), SIGNED, PLANS, CURRENCIES, st.integers(1, 31), numbers(3, 0), st.sampled_from(["line", "document"]))
def test_what_is_printed_adds_up(
    charge: dict[str, Any], quantity: Decimal, plan: dict[str, Any], currency: str, days: int, credit: Decimal, tax_rounding: str
) -> None:
    plan = {key: value for key, value in plan.items() if key != "maximum" or Decimal(plan.get("minimum", 0)) <= Decimal(value)}
    priced = book(charge | {"discount_percent": "7.5"}, currency, taxes={"vat": "19"}, tax_rounding=tax_rounding, **plan)
    found = rate_invoice([Term(Segment(None, None, days, 31), "p", priced)], {"c": [quantity]}, credit)
    exact = {field.name: Fraction(value) for field in fields(Invoice) if isinstance(value := getattr(found, field.name), Decimal)}
    assert exact["subtotal"] == sum(Fraction(line.amount) for line in found.lines)
    assert exact["discount"] == sum(Fraction(line.line_discount) + Fraction(line.invoice_discount) for line in found.lines)
    assert exact["net"] == exact["subtotal"] + exact["discount"] == sum(Fraction(line.net) for line in found.lines)
    assert exact["total"] == exact["net"] + sum(Fraction(each.amount) for each in found.taxes)
    assert exact["payable"] == exact["total"] + exact["credits_used"]
    assert -credit <= found.credits_used <= 0
    assert found.payable >= min(found.total, Decimal(0))
    digits = minor_units(currency)
    for each in found.taxes:
        own = [line for line in found.lines if line.tax == each.tax]
        if tax_rounding == "line":
            assert Fraction(each.amount) == sum(half_away(Fraction(line.net) * 19 / 100, digits) for line in own)
        else:
            assert Fraction(each.amount) == half_away(sum((Fraction(line.net) for line in own), Fraction(0)) * 19 / 100, digits)


@EXAMPLES
@given(charges(), SIGNED, PLANS)
def test_there_is_never_a_float_and_the_same_bytes_come_again(charge: dict[str, Any], quantity: Decimal, plan: dict[str, Any]) -> None:
    priced = book(charge, taxes={"vat": "19"}, **{key: value for key, value in plan.items() if key != "maximum"})
    term = [Term(Segment(None, None, 10, 31), "p", priced)]
    found = rate_invoice(term, {"c": [quantity]})
    numbers_seen = [getattr(line, field.name) for line in found.lines for field in fields(Line)] + [
        getattr(found, field.name) for field in fields(Invoice)
    ]
    assert not any(isinstance(value, float) for value in numbers_seen)
    with localcontext() as outer:
        outer.prec = 3  # what the caller's context is does not matter
        assert repr(rate_invoice(term, {"c": [quantity]})) == repr(found)


@EXAMPLES
@given(st.lists(numbers(3, 2), min_size=1, max_size=8).filter(any), numbers(4, 2), st.booleans())
def test_shares_add_up_and_each_is_within_a_unit_of_its_quota(weights: list[Decimal], amount: Decimal, negative: bool) -> None:
    spread = -amount if negative else amount
    parts = shares(spread, weights, unit_of("USD"))
    assert sum(map(Fraction, parts)) == Fraction(spread)
    whole = sum(map(Fraction, weights))
    assert all(
        abs(Fraction(part) - Fraction(spread) * Fraction(weight) / whole) < Fraction(1, 100)
        for part, weight in zip(parts, weights, strict=True)
    )


@EXAMPLES
@given(
    st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"]),
    st.dates(date(2009, 1, 1), date(2030, 1, 1)),
    st.integers(1, 62),
    st.lists(st.integers(-100, 62 * 24), max_size=5),
)
def test_segments_cover_a_period_and_their_days_add_up(zone: str, first: date, length: int, hours: list[int]) -> None:
    days = midnights(zone, first, first + timedelta(days=length))
    segments = cut(days, [days[0] + timedelta(hours=hour) for hour in hours])
    assert (segments[0].start, segments[-1].end) == (days[0], days[-1])
    assert all(one.end == other.start for one, other in pairwise(segments))
    assert sum(segment.days for segment in segments) == segments[0].of == len(days) - 1
