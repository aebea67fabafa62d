"""For any arrival order the invoices of all months, before credits, add up to what one perfect close of each would have billed.

Real closes and locks: two dozen tenants with the same usage, of which each one's arrives in an order of its own, beside a home to which
everything came in time.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from conftest import Bench, Row, event
from test_corrections import checks_without, close, lock, people

MONTHS = ("2026-01", "2026-02", "2026-03")
LAST = "2026-04"
ZONES = ("UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Apia")
TENANTS = 24
METERS = """meters:
  - {meter: api_requests, type: http.request, aggregation: count, unit: request}
  - {meter: egress, type: http.request, aggregation: sum, value: bytes, unit: byte}
  - {meter: paths, type: http.request, aggregation: unique_count, value: path, unit: path}
  - {meter: seats, type: usage.seats, aggregation: weighted_sum, value: value, unit: seat}
  - {meter: sales, type: sale, aggregation: sum, value: value, unit: euro}
  - {meter: disk, type: usage.disk, aggregation: latest, value: value, unit: byte}
"""
BOOK = """price_book: example
version: "{version}"
effective: {effective}
currency: EUR
taxes: {{vat: "19", low: "7"}}
plans:
  standard:
    tax: vat
    minimum: "9"
    discount: "2.5"
    commitment: {{amount: "12", overage_factor: "1.25"}}
    charges:
      - {{id: platform, model: flat, price: "5"}}
      - id: requests
        model: graduated
        meter: api_requests
        discount_percent: "7.5"
        tiers: [{{up_to: "4", price: "{price}", flat: "1"}}, {{price: "0.37"}}]
      - {{id: egress, model: package, meter: egress, size: "1000", price: "0.13", allowance: "500", tax: low}}
      - id: paths
        model: volume
        meter: paths
        tiers: [{{up_to: "2", price: "1"}}, {{price: "0.5"}}]
      - {{id: seats, model: per_unit, meter: seats, price: "0.731", maximum: "6"}}
      - {{id: sales, model: percentage, meter: sales, rate: "2.9", fee: "0.30", free_events: 1}}
      - {{id: disk, model: per_unit, meter: disk, price: "0.01", tax: low}}
"""


def usage(tenant: str, chance: random.Random) -> Iterator[Row]:
    """Some three dozen events over three months, with copies, replacements and voids; the same for every tenant."""
    for number in range(36):
        month = chance.choice(MONTHS)
        at = f"{month}-{chance.randint(1, 28):02}T{chance.randint(0, 23):02}:{chance.randint(0, 59):02}:00"
        kind = chance.choice(["http.request", "http.request", "usage.seats", "sale", "usage.disk"])
        name, amount = f"{tenant} {number}", chance.randint(-2 if kind == "usage.seats" else 1, 40)
        data = {"bytes": amount * 100, "path": f"/{chance.randint(1, 5)}"} if kind == "http.request" else {"value": amount}
        yield event(name, at, tenant=tenant, type=kind, **data)
        way = chance.random()
        if way < 0.1:
            yield event(f"{name} void", at, tenant=tenant, type=kind, kind="void", amends=name)
        elif way < 0.2:
            data = data | ({"bytes": 77} if kind == "http.request" else {"value": 3})
            yield event(f"{name} new", at, tenant=tenant, type=kind, kind="replace", amends=name, **data)


def landing(row: Row, chance: random.Random) -> Row:
    """In time, in grace, weeks later, or months later; never before the event's own day, never after the last cut-off."""
    occurred: date = row["occurred_at"].date()  # type: ignore[attr-defined]  # a datetime, in a row of objects
    after = (occurred.replace(day=1) + timedelta(days=32)).replace(day=1)
    ways = (occurred, after, after + timedelta(days=20), after + timedelta(days=45), date(2026, 4, 28))
    return {**row, "landing_day": max(occurred, min(chance.choice(ways), date(2026, 4, 28)))}


def set_up(bench: Bench) -> None:
    names = [(f"t{number:02}", ZONES[number % len(ZONES)]) for number in range(TENANTS)]
    bench.declare(
        "tenants",
        "tenants:\n"
        + "".join(
            f"  - {{tenant_id: {name}, name: {name}, zone: {zone}, currency: EUR, plan: standard, grace_days: 2}}\n" for name, zone in names
        ),
    )
    bench.declare("meters", METERS)
    people(bench)
    checks_without(bench.home, "metering.quarantine_value")
    books = bench.home.reference / "price_books"
    books.mkdir(exist_ok=True)
    for version, effective, price in (("1", "2025-12-31T00:00:00Z", "0.91"), ("2", "2026-02-11T07:30:00Z", "1.01")):
        text = BOOK.format(version=version, effective=effective, price=price)
        (books / f"{version}.yaml").write_text(text, encoding="utf-8")


def events(arrival: Callable[[Row, random.Random], Row]) -> list[Row]:
    """Every tenant's usage. What arrives when is drawn apart from what happens, so that both homes have the same events."""
    return [event("april", f"{LAST}-15T10:00:00", tenant="t00", type="sale", value=1)] + [
        arrival(row, chance)
        for number in range(TENANTS)
        for chance in [random.Random(number)]
        for row in usage(f"t{number:02}", random.Random(f"usage {number % 6}"))
    ]


def closed(bench: Bench, rows: list[Row]) -> dict[str, Fraction]:
    """Run days, close and lock month after month as it happens; the sum of every tenant's invoices before credits."""
    billed: dict[str, Fraction] = {}
    by_day: dict[str, list[Row]] = {}
    for row in rows:
        by_day.setdefault(str(row["landing_day"]), []).append(row)
    done: set[str] = set()
    for month in (*MONTHS, LAST):
        cutoff = ((date.fromisoformat(f"{month}-01") + timedelta(days=32)).replace(day=1) + timedelta(days=3)).isoformat()
        days = sorted(day for day in by_day if day <= cutoff and day not in done)
        if days:
            bench.land([row for day in days for row in by_day[day]])
        bench.build(days, [f"{month}-01"])
        done |= set(days)
        assert [each.reason for each in close(bench, month).results if each.status != "passed" and each.severity == "critical"] == []
        lock(bench.home, month)
        sums: list[tuple[str, Decimal]] = bench.rows(
            f"SELECT tenant_id, total + corrections FROM metering.invoices WHERE period = '{month}-01' ORDER BY tenant_id",
            "metering.invoices",
        )
        for tenant, amount in sums:
            billed[tenant] = billed.get(tenant, Fraction(0)) + Fraction(amount)
    return billed


def test_the_sum_of_all_invoices_is_that_of_perfect_closes(tmp_path: Path, make_bench: Callable[[Path], Bench]) -> None:
    homes: list[Mapping[str, Fraction]] = []
    for name, arrival in (("perfect", lambda row, chance: row), ("late", landing)):
        bench = make_bench(tmp_path / name)
        set_up(bench)
        homes.append(closed(bench, events(arrival)))
    perfect, late = homes
    assert late == perfect
    assert len(set(perfect.values())) > 3
    statuses = "SELECT period, count(DISTINCT tenant_id) FROM metering.corrected WHERE status = 'corrected' GROUP BY period ORDER BY period"
    corrected = dict(bench.rows(statuses, "metering.corrected"))
    assert [corrected[date.fromisoformat(f"{month}-01")] > TENANTS // 2 for month in (*MONTHS[1:], LAST)] == [True] * 3
