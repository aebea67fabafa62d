"""What a plan of a price book may declare: a model per kind of charge, and what holds for a whole invoice. Nothing is rated here."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from mc_pipelines.rating.declared import Count, Percent, Positive, Price, Priced, Quantity, Rate, Text, Truth, within, wrong
from mc_pipelines.rating.money import EXACT


class UnitConversion(Priced):
    """quantity / divide_by or x multiply_by, then rounded to `decimals` places; `none` keeps the exact result."""

    divide_by: Positive | None = None
    multiply_by: Positive | None = None
    rounding: Literal["ceil", "floor", "half_up", "none"]
    decimals: Count = 0

    @model_validator(mode="after")
    def _exact(self) -> "UnitConversion":
        if (self.divide_by is None) == (self.multiply_by is None):
            raise wrong("write divide_by or multiply_by, one of them")
        if self.decimals > 9:
            raise wrong("quantities have 9 decimals at most", "decimals")
        if self.rounding == "none" and self.divide_by is not None and not _finite(self.divide_by):
            raise wrong(
                f"a quantity divided by {self.divide_by} has no end in decimals; write rounding: ceil, floor or half_up", "rounding"
            )
        return self


def _finite(divisor: Decimal) -> bool:
    """Whether every quotient by `divisor` is a finite decimal: no prime factors but 2 and 5."""
    number, _ = divisor.as_integer_ratio()
    for prime in (2, 5):
        while number % prime == 0:
            number //= prime
    return number == 1


class Charge(Priced):
    """What every charge has. `minimum` and `maximum` bound the sum of its lines after `discount_percent`."""

    id: Annotated[Text, Field(pattern="^[a-z][a-z0-9_]*$")]
    about: Text = ""
    tax: Text | None = None
    discount_percent: Percent | None = None


class Flat(Charge):
    """A fee per period, by days in part periods where `prorate` is true."""

    model: Literal["flat"]
    price: Price
    prorate: Truth = False


class Metered(Charge):
    """A charge for what a meter counted, of events that pass `filter` (dimension -> values)."""

    meter: Text
    filter: Mapping[Text, tuple[Text, ...]] = Field(default_factory=dict)
    minimum: Price | None = None
    maximum: Price | None = None

    @model_validator(mode="after")
    def _within(self) -> "Metered":
        within(self.minimum, self.maximum, "minimum")
        return self


class Counted(Metered):
    """A charge for one quantity: converted, then less the allowance."""

    unit_conversion: UnitConversion | None = None
    allowance: Quantity = Decimal(0)


class PerUnit(Counted):
    model: Literal["per_unit"]
    price: Price


class Tier(Priced):
    """Up to and including `up_to`; the last one is open. `flat` is due once when the tier is reached."""

    up_to: Positive | None = None
    price: Price = Decimal(0)
    flat: Price = Decimal(0)


class RateTier(Priced):
    up_to: Positive | None = None
    rate: Rate = Decimal(0)
    flat: Price = Decimal(0)

    @property
    def price(self) -> Decimal:
        return EXACT.scaleb(self.rate, -2)


class _Tiered(Counted):
    flat_at_zero: Truth = True

    @model_validator(mode="after")
    def _ordered(self) -> "_Tiered":
        tiers: Sequence[Tier | RateTier] = self.tiers  # type: ignore[attr-defined]  # each model declares its own kind of tier
        if not tiers:
            raise wrong("a tiered charge needs a tier; write at least one, without up_to", "tiers")
        before = Decimal(0)
        for place, tier in enumerate(tiers[:-1]):
            if tier.up_to is None:
                raise wrong("only the last tier is open; give this one an up_to", "tiers", place)
            if tier.up_to <= before:
                raise wrong(
                    f"up_to {tier.up_to} is not above {before}, where this tier begins; put tiers in rising order", "tiers", place, "up_to"
                )
            before = tier.up_to
        if tiers[-1].up_to is not None:
            raise wrong("the last tier is open; leave out its up_to, or add a tier", "tiers", len(tiers) - 1, "up_to")
        return self


class Graduated(_Tiered):
    model: Literal["graduated"]
    tiers: tuple[Tier, ...]


class Volume(_Tiered):
    model: Literal["volume"]
    tiers: tuple[Tier, ...]


class GraduatedPercentage(_Tiered):
    model: Literal["graduated_percentage"]
    tiers: tuple[RateTier, ...]


class Package(Counted):
    """Whole packages of `size`; a begun one counts (`up`) or does not (`down`). `allowance` is the free quantity."""

    model: Literal["package"]
    size: Positive
    price: Price
    rounding: Literal["up", "down"] = "up"


class Percentage(Metered):
    """A percentage of each event's value, with a fee per event. `free_events` and `free_amount`: whichever runs out first ends both."""

    model: Literal["percentage"]
    rate: Rate
    fee: Price = Decimal(0)
    free_events: Count | None = None
    free_amount: Price | None = None
    event_minimum: Price | None = None
    event_maximum: Price | None = None

    @model_validator(mode="after")
    def _event_bounds(self) -> "Percentage":
        within(self.event_minimum, self.event_maximum, "event_minimum")
        return self


class Cell(Priced):
    """The price of one tuple: a value for each dimension of the charge."""

    match: Mapping[Text, Text]
    price: Price


class Matrix(Metered):
    """A price per tuple of dimension values. A tuple without a price takes `default_price`; where there is none, it blocks."""

    model: Literal["matrix"]
    dimensions: tuple[Text, ...]
    prices: tuple[Cell, ...]
    default_price: Price | None = None
    unit_conversion: UnitConversion | None = None

    @model_validator(mode="after")
    def _each_once(self) -> "Matrix":
        if not self.dimensions:
            raise wrong("a matrix needs a dimension; write one, or model: per_unit", "dimensions")
        seen = set()
        for place, cell in enumerate(self.prices):
            if set(cell.match) != set(self.dimensions):
                raise wrong(f"match names {', '.join(cell.match)}; name {', '.join(self.dimensions)}", "prices", place, "match")
            if (values := self.key(cell)) in seen:
                raise wrong(f"{'/'.join(values)} has a price already; keep one", "prices", place, "match")
            seen.add(values)
        return self

    def key(self, cell: Cell) -> tuple[str, ...]:
        return tuple(cell.match[dimension] for dimension in self.dimensions)


AnyCharge = Annotated[
    Flat | PerUnit | Graduated | Volume | Package | Percentage | GraduatedPercentage | Matrix, Field(discriminator="model")
]


class Commitment(Priced):
    """Usage agreed per period. Beyond it usage costs `overage_factor` times its price; short of it `true_up` charges the rest."""

    amount: Price
    overage_factor: Quantity = Decimal(1)
    true_up: Truth = True


class Plan(Priced):
    """Charges, and what holds for the whole invoice. `tax` is that of the plan's own lines, and of charges that name none."""

    about: Text = ""
    charges: tuple[AnyCharge, ...]
    tax: Text | None = None
    commitment: Commitment | None = None
    minimum: Price | None = None
    maximum: Price | None = None
    discount: Price | None = None

    @model_validator(mode="after")
    def _within(self) -> "Plan":
        within(self.minimum, self.maximum, "minimum")
        return self

    @field_validator("charges")
    @classmethod
    def _once(cls, charges: tuple[AnyCharge, ...]) -> tuple[AnyCharge, ...]:
        ids = [charge.id for charge in charges]
        if not ids:
            raise wrong("a plan needs a charge; write one")
        for place, name in enumerate(ids):
            if name in ids[:place]:
                raise wrong(f"charge {name} stands twice in this plan; keep one, or give it another id", place, "id")
        return charges
