"""Where the usage of a part of a period stands on a charge's scale of tiers: conversion, allowance, and what came before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from mc_pipelines.errors import MissionError
from mc_pipelines.rating.book import Book
from mc_pipelines.rating.lines import Segment
from mc_pipelines.rating.money import ZERO, divided
from mc_pipelines.rating.plans import Charge, Counted, UnitConversion

ONE = Decimal(1)


class UnpricedError(MissionError):
    """Usage that the price book has no price for. It blocks the close of its tenant; it is never billed at 0."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a period in which one charge has the same terms."""

    charge: Charge
    segment: Segment
    plan: str
    book: Book


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a span stands on the charge's scale, in billable units: its usage covers (begins, ends] of `whole`.

    `opening` where the scale begins. Under `restart` every span opens a scale of its own.
    """

    begins: Decimal
    ends: Decimal
    whole: Decimal
    opening: bool

    @property
    def quantity(self) -> Decimal:
        return self.ends - self.begins


def converted(quantity: Decimal, conversion: UnitConversion | None) -> Decimal:
    if conversion is None:
        return quantity
    divisor, factor = conversion.divide_by or ONE, conversion.multiply_by or ONE
    if conversion.rounding == "none":
        return quantity * factor / divisor
    return divided(quantity * factor, divisor, conversion.decimals, conversion.rounding)


def reaches(spans: Sequence[Span], quantities: Sequence[Decimal], carry: bool) -> list[tuple[Reach, Decimal]]:
    """Where each span stands on the scale, and how much of the allowance it used. `carry`: cumulative_tiers is continue.

    Conversion and allowance apply to the running total, so that cutting a period in two changes neither.
    """
    total = sum(quantities, ZERO)
    running, found = ZERO, []
    for place, (span, quantity) in enumerate(zip(spans, quantities, strict=True)):
        charge = span.charge
        assert isinstance(charge, Counted)
        begins, ends, whole = (running, running + quantity, total) if carry else (ZERO, quantity, quantity)
        running += quantity
        raw = [converted(each, charge.unit_conversion) if each else ZERO for each in (begins, ends, whole)]
        free = [min(max(each, ZERO), charge.allowance) for each in raw]
        at = [each - less for each, less in zip(raw, free, strict=True)]
        found.append((Reach(at[0], at[1], at[2], place == 0 or not carry), free[1] - free[0]))
    return found
