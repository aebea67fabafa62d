"""The demo's invoices calculated a second time: landed files and YAML texts in, amounts as fractions out.

Shares no code with the pipeline, so that an agreement of both says something. Only what the demo has is understood: count, sum and unique_count
meters without dimensions, and the charge models that their quantities can be priced by. Anything else raises.
"""

import csv
import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import yaml

Declared = Mapping[str, Any]
"""A mapping of a YAML file, every scalar of it a text."""
Reading = tuple[datetime, Fraction, tuple[str, ...]]
"""What one event adds to a meter: its instant (naive UTC), a quantity, and the items that it names."""
TYPES = re.compile(r"http\.request|llm\.completion|usage\.[a-z0-9_]+")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
MINOR_UNITS = {"JPY": 0}


def declared(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)


# Events


@dataclass(frozen=True)
class Event:
    landed: date
    tenant: str
    key: tuple[str, str]
    type: str
    at: datetime
    ingested: datetime
    kind: str
    amends: tuple[str, str] | None
    data: Declared


def rows_of(path: Path) -> Iterator[Any]:
    """The rows of a landed file with `data` as a mapping; None for a line that is no JSON object or has a key twice."""
    if path.name.endswith(".parquet"):
        yield from map(nested, pq.read_table(path).to_pylist())
        return
    content = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
    if path.name.endswith(".csv.gz"):
        yield from map(nested, csv.DictReader(content.decode().splitlines()))
        return
    for line in content.split(b"\n")[:-1]:
        try:
            yield json.loads(line, object_pairs_hook=without_repeats)
        except ValueError:
            yield None


def nested(row: Declared) -> dict[str, Any]:
    data = {name.removeprefix("data."): value for name, value in row.items() if name.startswith("data.")}
    return {**{name: value for name, value in row.items() if not name.startswith("data.")}, "data": data}


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def accepted(row: Any, landed: date, tenants: Mapping[str, Declared]) -> Event | None:
    """The row as an event, or None where the contract refuses it."""
    if not isinstance(row, dict) or not all(row.get(name) for name in ("id", "source", "type", "subject", "time", "ingested_at")):
        return None
    data, amends = row.get("data") or {}, row.get("amends")
    numbers = [data[name] for name in ("bytes", "context_tokens", "generated_tokens") if data.get(name) is not None]
    whole = all(INSTANT.fullmatch(row[name]) for name in ("time", "ingested_at"))
    if not whole or row["subject"] not in tenants or not TYPES.fullmatch(row["type"]) or any(Fraction(each) < 0 for each in numbers):
        return None
    at, ingested = (datetime.fromisoformat(row[name]).astimezone(UTC).replace(tzinfo=None) for name in ("time", "ingested_at"))
    target = (amends["source"], amends["id"]) if amends else None
    return Event(landed, row["subject"], (row["source"], row["id"]), row["type"], at, ingested, row.get("kind") or "usage", target, data)


def landed_events(root: Path, tenants: Mapping[str, Declared]) -> Iterator[Event]:
    for path in sorted((root / "landing" / "usage_events").glob("*/*")):
        for row in rows_of(path):
            event = accepted(row, date.fromisoformat(path.parent.name), tenants)
            if event is not None:
                yield event


def counted_events(events: Sequence[Event], cut_offs: Mapping[str, date]) -> Iterator[Event]:
    """Each identity once, as amended, of what landed by its tenant's cut-off; of copies the first that landed, an amendment at its target's instant."""
    first: dict[tuple[str, tuple[str, str]], Event] = {}
    for event in sorted(events, key=lambda event: (event.landed, event.ingested)):
        first.setdefault((event.tenant, event.key), event)
    in_time = [event for event in first.values() if event.landed <= cut_offs[event.tenant]]
    amended = {(event.tenant, event.amends): event for event in in_time if event.kind != "usage"}
    for event in in_time:
        if event.kind == "usage":
            last = amended.get((event.tenant, event.key), event)
            if last.kind != "void":
                yield Event(**{**vars(last), "at": event.at})


# Time


def midnight(day: date, zone: str) -> datetime:
    """The instant at which a day begins in a zone, as naive UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC).replace(tzinfo=None)


def midnights(month: date, zone: str) -> list[datetime]:
    """The midnights of a month's days in a zone, and the one at which it ends."""
    days = [month + timedelta(days=number) for number in range(32)]
    end = next(number for number, day in enumerate(days) if number and day.day == 1)
    return [midnight(day, zone) for day in days[: end + 1]]


def instant(text: str, zone: str) -> datetime:
    """A local day or an instant of a declaration, as naive UTC."""
    if len(text) == 10:
        return midnight(date.fromisoformat(text), zone)
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)


# Usage


@dataclass
class Usage:
    """What was counted, by tenant and meter."""

    meters: Mapping[str, Declared]
    readings: dict[tuple[str, str], list[Reading]] = field(default_factory=dict)

    def quantity(self, tenant: str, meter: str, start: datetime, end: datetime) -> Fraction:
        inside = [reading for reading in self.readings.get((tenant, meter), []) if start <= reading[0] < end]
        if self.meters[meter]["aggregation"] == "unique_count":
            return Fraction(len({item for _, _, items in inside for item in items}))
        return sum((quantity for _, quantity, _ in inside), Fraction(0))


def usage_of(root: Path, month: date) -> Usage:
    """The usage of a demo home that counts for a month: landed by the end of the tenant's month and its days of grace."""
    tenants = tenants_of(root)
    usage = Usage({meter["meter"]: meter for meter in declared(root / "reference" / "meters.yaml")["meters"]})
    ends = {name: midnights(month, tenant["zone"])[-1] for name, tenant in tenants.items()}
    cut_offs = {name: (ends[name] + timedelta(days=int(tenant["grace_days"]))).date() for name, tenant in tenants.items()}
    for event in counted_events(list(landed_events(root, tenants)), cut_offs):
        for name, meter in usage.meters.items():
            if meter["type"] == event.type and (found := reading(event, meter)):
                usage.readings.setdefault((event.tenant, name), []).append(found)
    return usage


def reading(event: Event, meter: Declared) -> Reading | None:
    if meter["aggregation"] == "count":
        return event.at, Fraction(1), ()
    value = event.data.get(meter["value"])
    if value is None:
        return None
    if meter["aggregation"] == "sum":
        return event.at, Fraction(value), ()
    assert meter["aggregation"] == "unique_count", meter
    return event.at, Fraction(0), tuple(map(str, value)) if meter.get("list") == "true" else (str(value),)


def tenants_of(root: Path) -> dict[str, Declared]:
    return {tenant["tenant_id"]: tenant for tenant in declared(root / "reference" / "tenants.yaml")["tenants"]}


# Prices


@dataclass
class Part:
    """A part of a month in which a plan (of one version), or a charge of it, stays the same."""

    start: datetime
    end: datetime
    days: int
    book: Declared
    plan: str
    charge: Declared = field(default_factory=dict)

    @property
    def terms(self) -> Declared:
        plan: Declared = self.book["plans"][self.plan]
        return plan

    @property
    def tax(self) -> tuple[str, Fraction] | None:
        name = self.charge.get("tax") or self.terms.get("tax")
        return (name, Fraction(self.book["taxes"][name])) if name else None


@dataclass
class Line:
    """A row of the invoice; `plan` is the price book and plan that it belongs to."""

    amount: Fraction
    plan: tuple[str, str]
    tax: tuple[str, Fraction] | None
    metered: bool
    off: Fraction = Fraction(0)

    @property
    def net(self) -> Fraction:
        return self.amount + self.off


@dataclass(frozen=True)
class Totals:
    """An invoice's sums, and its line amounts in rising order without those that are 0."""

    currency: str
    lines: tuple[Fraction, ...]
    subtotal: Fraction
    discount: Fraction
    net: Fraction
    tax: Fraction
    total: Fraction
    credits_used: Fraction
    payable: Fraction


def number(of: Declared, name: str, default: str = "0") -> Fraction:
    return Fraction(of.get(name, default))


def rounded(amount: Fraction, decimals: int) -> Fraction:
    """Half away from zero."""
    size = Fraction(floor(abs(amount) * 10**decimals + Fraction(1, 2)), 10**decimals)
    return size if amount > 0 else -size


def parts_of(root: Path, tenant: Declared, month: date) -> list[Part]:
    """The month of a tenant, cut where its plan or the version of its price book changes."""
    books = [declared(path) for path in sorted((root / "reference" / "price_books").glob("*.yaml"))]
    zone, days = tenant["zone"], midnights(month, tenant["zone"])
    own = [each for each in listed(root, "subscriptions") if each["tenant_id"] == tenant["tenant_id"]]
    assert not any("until" in each for each in own), "until is not understood here"
    held = sorted((instant(each["from"], zone), each["price_book"], each["plan"]) for each in own)
    if not held:
        (name,) = {book["price_book"] for book in books if book["currency"] == tenant["currency"] and tenant["plan"] in book["plans"]}
        held = [(days[0], name, tenant["plan"])]
    versions = [(instant(book["effective"], zone), book) for book in books if book["price_book"] in {name for _, name, _ in held}]
    changes = {at for at, *_ in (*held, *versions) if days[0] < at < days[-1]}
    parts = []
    for start, end in pairwise(sorted({days[0], days[-1], *changes})):
        _, name, plan = max(each for each in held if each[0] <= start)
        _, book = max(((at, book) for at, book in versions if book["price_book"] == name and at <= start), key=lambda each: each[0])
        parts.append(Part(start, end, sum(start <= day < end for day in days[:-1]), book, plan))
    return parts


def listed(root: Path, name: str) -> list[Declared]:
    path = root / "reference" / f"{name}.yaml"
    return list(declared(path)[name]) if path.exists() else []


def charge_parts(parts: Sequence[Part]) -> dict[str, list[Part]]:
    """The parts of each charge; a change that leaves a charge and its tax as they were does not cut it."""
    found: dict[str, list[Part]] = {}
    for part in parts:
        for charge in part.terms["charges"]:
            new = Part(part.start, part.end, part.days, part.book, part.plan, charge)
            own = found.setdefault(charge["id"], [])
            last = own[-1] if own else None
            same = last and (last.plan, last.book["price_book"], last.end, last.charge, last.tax) == (
                new.plan,
                new.book["price_book"],
                new.start,
                new.charge,
                new.tax,
            )
            if last and same:
                own[-1] = Part(last.start, new.end, last.days + new.days, last.book, last.plan, last.charge)
            else:
                own.append(new)
    return found


def sold(quantity: Fraction, charge: Declared) -> Fraction:
    """A metered quantity in the unit that is sold, less what is free."""
    if conversion := charge.get("unit_conversion"):
        step = 10 ** int(conversion.get("decimals", "0"))
        scaled = quantity * number(conversion, "multiply_by", "1") / number(conversion, "divide_by", "1") * step
        to_whole = {"ceil": ceil, "floor": floor, "half_up": lambda each: floor(each + Fraction(1, 2)), "none": lambda each: each}
        quantity = Fraction(to_whole[conversion["rounding"]](scaled)) / step
    return max(quantity - number(charge, "allowance"), Fraction(0))


def tiers_of(charge: Declared) -> list[tuple[Fraction, Fraction | None, Declared]]:
    """(above, up to and including, tier)."""
    tops = [Fraction(tier["up_to"]) if "up_to" in tier else None for tier in charge["tiers"]]
    return list(zip([Fraction(0), *(top for top in tops if top is not None)], tops, charge["tiers"], strict=True))


def amounts(charge: Declared, before: Fraction, after: Fraction, whole: Fraction, first: bool) -> list[Fraction]:
    """What usage from `before` to `after` (as metered, of `whole`) costs, not rounded: a line per tier, then fees; `first` where the scale begins."""
    low, high, total = (sold(each, charge) for each in (before, after, whole))
    model = charge["model"]
    if model == "per_unit":
        return [(high - low) * number(charge, "price")]
    if model == "package":
        whole_packages = floor if charge.get("rounding") == "down" else ceil
        size = number(charge, "size")
        return [(whole_packages(high / size) - whole_packages(low / size)) * number(charge, "price")]
    at_zero = charge.get("flat_at_zero", "true") == "true"
    if model == "volume":
        tier = next(tier for _, top, tier in tiers_of(charge) if top is None or total <= top)
        fee = number(tier, "flat") if first and (at_zero or total > 0) else Fraction(0)
        return [(high - low) * number(tier, "price"), fee]
    assert model == "graduated", model
    found, fees = [], []
    for above, top, tier in tiers_of(charge):
        in_tier = [max(each - above if top is None else min(each, top) - above, Fraction(0)) for each in (low, high)]
        reached, reached_before = high > above or (above == 0 and at_zero), low > above or (above == 0 and at_zero)
        found.append((in_tier[1] - in_tier[0]) * number(tier, "price"))
        fees.append(number(tier, "flat") if reached and (first or not reached_before) else Fraction(0))
    return [*found, *fees]


@dataclass
class Bill:
    """The calculation of one tenant's month."""

    tenant: Declared
    month: date
    parts: Sequence[Part]
    usage: Usage

    @property
    def decimals(self) -> int:
        return MINOR_UNITS.get(self.tenant["currency"], 2)

    def line(self, amount: Fraction, part: Part) -> Line:
        return Line(rounded(amount, self.decimals), (part.book["price_book"], part.plan), part.tax, "meter" in part.charge)

    def days(self) -> int:
        return sum(part.days for part in self.parts)

    def charge(self, parts: Sequence[Part]) -> list[Line]:
        """The lines of a charge, with its own discount and bounds; each part by itself, or the month as one."""
        if "meter" not in parts[0].charge:
            return [line for place, part in enumerate(parts) for line in self.fee(part, place)]
        if self.parts[-1].book.get("cumulative_tiers") == "continue":
            return self.scale(parts)
        return [line for part in parts for line in self.scale([part])]

    def fee(self, part: Part, place: int) -> list[Line]:
        if part.charge.get("prorate") == "true":
            return [self.discounted(number(part.charge, "price") * part.days / self.days(), part)]
        return [self.discounted(number(part.charge, "price"), part)] if place == 0 else []

    def discounted(self, amount: Fraction, part: Part) -> Line:
        line = self.line(amount, part)
        line.off = rounded(-line.amount * number(part.charge, "discount_percent") / 100, self.decimals)
        return line

    def scale(self, parts: Sequence[Part]) -> list[Line]:
        used = [self.usage.quantity(self.tenant["tenant_id"], part.charge["meter"], part.start, part.end) for part in parts]
        assert len({part.charge["model"] for part in parts}) == 1, "a charge that changes its model is not understood here"
        lines = []
        for place, part in enumerate(parts):
            before = sum(used[:place], Fraction(0))
            priced = amounts(part.charge, before, before + used[place], sum(used, Fraction(0)), place == 0)
            lines += [self.discounted(amount, part) for amount in priced]
        last, net = parts[-1], sum((line.net for line in lines), Fraction(0))
        if "maximum" in last.charge and net > number(last.charge, "maximum"):
            lines.append(self.line(number(last.charge, "maximum") - net, last))
            net = number(last.charge, "maximum")
        least = sum((number(part.charge, "minimum") * part.days for part in parts), Fraction(0)) / self.days()
        return [*lines, self.line(least - net, last)] if least > net else lines

    def plan(self, lines: list[Line], parts: Sequence[Part]) -> list[Line]:
        """The lines of one plan with its commitment, maximum and minimum."""
        last, found = parts[-1], list(lines)
        agreed = [part for part in parts if "commitment" in part.terms]
        if agreed:
            terms = agreed[-1].terms["commitment"]
            owed = sum((number(part.terms["commitment"], "amount") * part.days for part in agreed), Fraction(0)) / self.days()
            used = sum((line.net for line in lines if line.metered), Fraction(0))
            if used > owed:
                found.append(self.line((used - owed) * (number(terms, "overage_factor", "1") - 1), last))
            elif terms.get("true_up", "true") == "true":
                found.append(self.line(owed - used, last))
        over = sum((line.net for line in found), Fraction(0)) - number(last.terms, "maximum")
        if "maximum" in last.terms and over > 0:
            found.append(self.line(-over, last))
        least = sum((number(part.terms, "minimum") * part.days for part in parts), Fraction(0)) / self.days()
        net = sum((line.net for line in found), Fraction(0))
        return [*found, self.line(least - net, last)] if least > net else found

    def discount(self, lines: Sequence[Line]) -> None:
        """The plan's fixed discount over the lines that cost something: whole minor units by share, the rest by largest remainder."""
        costing = [line for line in lines if line.net > 0]
        whole = sum((line.net for line in costing), Fraction(0))
        most = max(sum((line.net for line in lines), Fraction(0)), Fraction(0))
        units = min(number(self.parts[-1].terms, "discount"), most) * 10**self.decimals
        exact = [units * line.net / whole for line in costing]
        left = int(units) - sum(map(floor, exact))
        first = sorted(range(len(exact)), key=lambda place: (floor(exact[place]) - exact[place], place))[:left]
        for place, line in enumerate(costing):
            line.off -= Fraction(floor(exact[place]) + (place in first), 10**self.decimals)

    def taxed(self, lines: Sequence[Line]) -> Fraction:
        bases: dict[tuple[str, Fraction], list[Fraction]] = {}
        for line in lines:
            if line.tax:
                bases.setdefault(line.tax, []).append(line.net)
        if self.parts[-1].book.get("tax_rounding") == "document":
            bases = {tax: [sum(nets, Fraction(0))] for tax, nets in bases.items()}
        return sum((rounded(net * percent / 100, self.decimals) for (_, percent), nets in bases.items() for net in nets), Fraction(0))

    def totals(self, credit: Fraction) -> Totals:
        lines = [line for own in charge_parts(self.parts).values() for line in self.charge(own)]
        by_plan: dict[tuple[str, str], list[Part]] = {}
        for part in self.parts:
            by_plan.setdefault((part.book["price_book"], part.plan), []).append(part)
        lines = [line for key, own in by_plan.items() for line in self.plan([line for line in lines if line.plan == key], own)]
        self.discount(lines)
        subtotal, net = sum((line.amount for line in lines), Fraction(0)), sum((line.net for line in lines), Fraction(0))
        tax = self.taxed(lines)
        used = min(credit, max(net + tax, Fraction(0)))
        printed = tuple(sorted(line.amount for line in lines if line.amount))
        return Totals(self.tenant["currency"], printed, subtotal, net - subtotal, net, tax, net + tax, -used, net + tax - used)


def invoices(root: Path, usage: Usage, month: date) -> dict[str, Totals]:
    """The invoice of every tenant of a demo home for a month, by tenant."""
    found = {}
    for name, tenant in tenants_of(root).items():
        credit = sum((number(each, "amount") for each in listed(root, "credits") if each["tenant_id"] == name), Fraction(0))
        found[name] = Bill(tenant, month, parts_of(root, tenant, month), usage).totals(credit)
    return found
