"""Exact decimals, and the few places where money and quantities are rounded. Prices and lines do not belong here.

Outside of `rounded` and `divided` a result that would need rounding is an error: `EXACT` traps it.
"""

import decimal
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import cache
from typing import Literal

from mc_pipelines.errors import MissionError

_SERIOUS = [decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow, decimal.Underflow, decimal.FloatOperation]
EXACT = Context(prec=76, rounding=ROUND_HALF_UP, traps=[decimal.Inexact, *_SERIOUS])
"""Arithmetic of rating: 38 digits of quantity times 38 of price fit; what does not fit, and every float, raises."""
_TO_UNIT = Context(prec=76, rounding=ROUND_HALF_UP, traps=_SERIOUS)

ZERO = Decimal(0)
QUANTITY_DIGITS, QUANTITY_DECIMALS = 38, 9

Rounding = Literal["ceil", "floor", "half_up"]


@cache
def minor_units(currency: str) -> int:
    """Decimals of a currency by ISO 4217: USD 2, JPY 0, KWD 3. MissionError for a code that is unknown or has none, such as gold."""
    from iso4217 import Currency

    try:
        digits = Currency(currency).exponent
    except ValueError as error:
        raise MissionError(f"{currency!r} is no currency of ISO 4217. Write its code of three capitals, for example EUR.") from error
    if digits is None:
        raise MissionError(f"{currency} has no minor units in ISO 4217 and cannot be billed. Name a currency that is paid in.")
    return digits


@cache
def unit_of(currency: str) -> Decimal:
    """The smallest amount of a currency: 0.01 for USD, 1 for JPY."""
    return Decimal((0, (1,), -minor_units(currency)))


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Their sum, exact: Python's own `sum` rounds to 28 digits in silence wherever no other context was set."""
    found = ZERO
    for amount in amounts:
        found = EXACT.add(found, amount)
    return found


def rounded(amount: Decimal, unit: Decimal, per: int = 1) -> Decimal:
    """`amount / per` in whole `unit`s (a power of ten), once, half away from zero; never minus zero.

    The quotient is never formed as a decimal, so 1/31 of an amount is rounded from the exact fraction.
    """
    result = amount.quantize(unit, ROUND_HALF_UP, _TO_UNIT) if per == 1 else EXACT.multiply(_whole(amount, unit, per, "half_up"), unit)
    return result.copy_abs() if result.is_zero() else result


def divided(quantity: Decimal, divisor: Decimal, decimals: int, rounding: Rounding) -> Decimal:
    """`quantity / divisor` at `decimals` places: `ceil` up, `floor` down, `half_up` half away from zero."""
    unit = Decimal((0, (1,), -decimals))
    top, bottom = divisor.as_integer_ratio()
    return EXACT.multiply(_whole(EXACT.multiply(quantity, Decimal(bottom)), unit, top, rounding), unit)


def _whole(amount: Decimal, unit: Decimal, per: int, rounding: Rounding) -> Decimal:
    """How many `unit`s are in amount / per, as a whole number, from the exact ratio of two integers."""
    (top, bottom), (up, down) = amount.as_integer_ratio(), unit.as_integer_ratio()
    top, bottom = top * down, bottom * up * per
    if rounding == "ceil":
        return Decimal(-(-top // bottom))
    if rounding == "floor":
        return Decimal(top // bottom)
    half = (2 * abs(top) + bottom) // (2 * bottom)
    return Decimal(half if top >= 0 else -half)


def shares(total: Decimal, weights: Sequence[Decimal], unit: Decimal) -> list[Decimal]:
    """`total`, spread in proportion to `weights` by largest remainder, ties to the earlier; the parts add up to `total`.

    All are in whole `unit`s. ValueError where one is not, a weight is negative, or all weights are zero.
    """
    counts, rests = zip(*(EXACT.divmod(each, unit) for each in (total.copy_abs(), *weights)), strict=True)
    count, *parts = map(int, counts)
    if any(rests) or min(parts, default=0) < 0 or not sum(parts):
        raise ValueError(f"cannot spread {total} over {list(map(str, weights))} in units of {unit}")
    quotas = [divmod(count * part, sum(parts)) for part in parts]
    left = count - sum(quota for quota, _ in quotas)
    larger = set(sorted(range(len(quotas)), key=lambda place: (-quotas[place][1], place))[:left])
    signed = unit.copy_negate() if total < 0 else unit
    return [EXACT.add(EXACT.multiply(quota + (place in larger), signed), ZERO) for place, (quota, _) in enumerate(quotas)]


def checked_quantity(quantity: object, what: str) -> Decimal:
    """A quantity as usage tables hold it: a finite Decimal of at most 38 digits, 9 of them decimals. TypeError for floats and the like."""
    if type(quantity) is not Decimal:
        raise TypeError(f"{what}: {quantity!r} is {type(quantity).__name__}; quantities are Decimal, made from text")
    if not quantity.is_finite():
        raise MissionError(f"{what}: {quantity} is no quantity. Give a finite decimal.")
    exponent = quantity.as_tuple().exponent
    assert isinstance(exponent, int)
    if exponent < -QUANTITY_DECIMALS or (quantity and quantity.adjusted() >= QUANTITY_DIGITS - QUANTITY_DECIMALS):
        raise MissionError(
            f"{what}: {quantity} has more than {QUANTITY_DIGITS - QUANTITY_DECIMALS} digits before or {QUANTITY_DECIMALS} after the point. "
            "Quantities are DECIMAL(38, 9)."
        )
    return quantity
