"""Quantities per charge, invoices, lines and what blocks them, on a small lake; expected values by hand."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench, Row, bind, event

from mc_pipelines.acceptance import evaluate
from mc_pipelines.engine import connect
from mc_pipelines.gates import gates_of

TENANTS = """tenants:
  - {tenant_id: acme, name: Acme, zone: America/New_York, currency: USD, plan: basic, grace_days: 2}
  - {tenant_id: idle, name: Idle, zone: UTC, currency: USD, plan: basic, grace_days: 2}
"""
METERS = """meters:
  - {meter: api_requests, type: http.request, aggregation: count, unit: request, floor: 1, dimensions: [status]}
  - {meter: paths, type: http.request, aggregation: unique_count, value: path, unit: path, floor: 1}
  - {meter: seats, type: usage.seats, aggregation: weighted_sum, value: value, unit: seat, floor: 1}
  - {meter: payments, type: usage.payment, aggregation: sum, value: value, unit: dollar, floor: 1}
"""
BOOK = """price_book: usd
version: "{version}"
effective: {effective}
currency: USD
taxes: {{vat: "10"}}
plans:
  basic:
    tax: vat
    charges:
      - {{id: fee, model: flat, price: "30", prorate: true}}
      - {{id: api, model: per_unit, meter: api_requests, price: "{price}"}}
      - {{id: paths, model: per_unit, meter: paths, price: "1"}}
      - {{id: seats, model: per_unit, meter: seats, price: "10"}}
      - {{id: payments, model: percentage, meter: payments, rate: "1", fee: "0.10", free_events: 1}}
"""
ALWAYS = "2025-01-01T00:00:00Z"
INVOICE = ("invoice_lines_add_up", "invoice_every_billable_usage_priced", "invoice_preview_complete")


@pytest.fixture
def bench(tmp_path: Path, make_bench: Callable[[Path], Bench]) -> Bench:
    found = make_bench(tmp_path)
    found.declare("tenants", TENANTS)
    found.declare("meters", METERS)
    (found.home.reference / "price_books").mkdir()
    return found


def book(bench: Bench, price: str = "0.50", version: str = "1", effective: str = ALWAYS, text: str = BOOK) -> None:
    path = bench.home.reference / "price_books" / f"usd-{version}.yaml"
    path.write_text(text.format(version=version, effective=effective, price=price), encoding="utf-8")


def usage() -> list[Row]:
    """New York's April 2026 begins at 04:00 UTC. The last instant of March and the first of May are in no span."""
    return [
        event("march", "2026-04-01T03:59:59.999999", path="/never"),
        event("first", "2026-04-01T04:00:00", path="/a", status="200"),
        event("before", "2026-04-11T03:59:59.999999", path="/a", status="200"),
        event("after", "2026-04-11T04:00:00", path="/a", status="404"),
        event("last", "2026-05-01T03:59:59.999999", landed="2026-05-02", path="/b", status="200"),
        event("may", "2026-05-01T04:00:00", path="/never"),
        event("late", "2026-04-20T00:00:00", landed="2026-05-04", path="/late"),
        event("seats", "2026-04-01T04:00:00", type="usage.seats", value=3),
        event("paid", "2026-04-05T00:00:00", type="usage.payment", value=40),
        event("paid more", "2026-04-06T00:00:00", type="usage.payment", value=250),
    ]


def built(bench: Bench, events: Sequence[Row]) -> Bench:
    bench.land(events)
    bench.build(sorted({str(row["landing_day"]) for row in events}), ["2026-04-01"])
    return bench


def lines(bench: Bench, tenant: str = "acme") -> list[tuple[Any, ...]]:
    return bench.rows(
        f"SELECT kind, charge, quantity, amount, tax_amount FROM metering.invoice_lines WHERE tenant_id = '{tenant}' ORDER BY line",
        "metering.invoice_lines",
    )


def test_a_whole_month_is_rated_from_its_totals_and_a_tenant_without_usage_pays_its_fee(bench: Bench) -> None:
    book(bench)
    built(bench, usage())
    assert lines(bench) == [
        ("flat", "fee", Decimal(1), Decimal(30), Decimal(3)),
        ("usage", "api", Decimal(4), Decimal(2), Decimal("0.2")),  # first, before, after, last; 4 x 0.50
        ("usage", "paths", Decimal(2), Decimal(2), Decimal("0.2")),  # /a and /b
        ("usage", "seats", Decimal(3), Decimal(30), Decimal(3)),  # 3 all month
        ("usage", "payments", Decimal(250), Decimal("2.5"), Decimal("0.25")),  # the first event is free; 1 % of 250
        ("fee", "payments", Decimal(1), Decimal("0.1"), Decimal("0.01")),
    ]
    # 30 + 2 + 2 + 30 + 2.50 + 0.10 = 66.60; tax 3 + 0.20 + 0.20 + 3 + 0.25 + 0.01 = 6.66
    assert bench.rows("SELECT tenant_id, status, net, tax, payable FROM metering.invoices ORDER BY tenant_id", "metering.invoices") == [
        ("acme", "rated", Decimal("66.6"), Decimal("6.66"), Decimal("73.26")),
        ("idle", "rated", Decimal(30), Decimal(3), Decimal(33)),
    ]


def test_a_month_cut_by_a_price_version_counts_each_part_from_its_events(bench: Bench) -> None:
    book(bench)
    book(bench, "0.75", "2", "2026-04-11T04:00:00Z")  # ten of New York's thirty days are over
    built(bench, usage())
    found = [row[:4] for row in lines(bench) if row[1] in {"api", "paths"}]
    assert found == [
        ("usage", "api", Decimal(2), Decimal(1)),  # first and before x 0.50
        ("usage", "api", Decimal(2), Decimal("1.5")),  # after and last x 0.75
        ("usage", "paths", Decimal(2), Decimal(2)),  # the new version leaves it as it was: one span
    ]


def test_parts_of_a_level_add_up_to_the_month_and_unique_items_are_counted_in_each_part(bench: Bench) -> None:
    book(bench)
    text = BOOK.replace('id: seats, model: per_unit, meter: seats, price: "10"', 'id: seats, model: per_unit, meter: seats, price: "20"')
    text = text.replace('id: paths, model: per_unit, meter: paths, price: "1"', 'id: paths, model: per_unit, meter: paths, price: "2"')
    book(bench, version="2", effective="2026-04-11T04:00:00Z", text=text)
    built(bench, usage())
    counted = bench.rows(
        "SELECT charge, span, quantity FROM metering.charge_usage WHERE charge IN ('seats', 'paths') AND tenant_id = 'acme' ORDER BY ALL",
        "metering.charge_usage",
    )
    # 3 seats over 10 of 30 days are 1, over 20 of 30 days 2; /a in the first part, /a and /b in the second.
    assert counted == [("paths", 0, Decimal(1)), ("paths", 1, Decimal(2)), ("seats", 0, Decimal(1)), ("seats", 1, Decimal(2))]


def gates(bench: Bench) -> dict[str, tuple[str, str | None]]:
    """Status and value of the gates on invoices."""
    con = connect()
    for table in ("metering.invoices", "metering.invoice_sums"):
        bind(bench.shop, con, table)
    declared = [gate for gate in gates_of(bench.home, "metering") if gate.gate in INVOICE]
    return {each.gate: (each.status, each.value) for each in evaluate(con, declared, {gate.table: gate.table for gate in declared})}


def test_a_meter_without_a_charge_blocks_its_tenant_and_fails_two_gates(bench: Bench) -> None:
    text = "\n".join(line for line in BOOK.splitlines() if "id: paths" not in line)
    book(bench, text=text)
    built(bench, usage())
    rows = bench.rows("SELECT tenant_id, status, unpriced, problems FROM metering.invoices ORDER BY tenant_id", "metering.invoices")
    assert rows[0][:3] == ("acme", "blocked", 1)
    assert rows[0][3] == (
        "meter paths: no charge prices 2 used from 2026-04-01T04:00:00Z to 2026-05-01T04:00:00Z. "
        "Add a charge to the plan (its price may be 0), or a subscription for this time."
    )
    assert rows[1][:3] == ("idle", "rated", 0)
    assert gates(bench) == {
        "invoice_lines_add_up": ("passed", "0"),
        "invoice_every_billable_usage_priced": ("failed", "1"),
        "invoice_preview_complete": ("failed", "0.5"),
    }


def test_usage_before_a_subscription_begins_is_covered_by_nothing(bench: Bench) -> None:
    book(bench)
    bench.declare("subscriptions", "subscriptions:\n  - {tenant_id: acme, plan: basic, price_book: usd, from: 2026-04-11}\n")
    built(bench, usage())
    (problems,) = bench.rows("SELECT problems FROM metering.invoices WHERE tenant_id = 'acme'", "metering.invoices")[0]
    assert sorted(problem.split(" from ")[0] for problem in problems.splitlines()) == [
        'meter api_requests {"status":"200"}: no charge prices 2 used',
        "meter paths: no charge prices 1 used",
        "meter payments: no charge prices 290 used",
        "meter seats: no charge prices 1 used",
    ]


def test_usage_of_a_month_without_any_plan_blocks_its_tenant(bench: Bench) -> None:
    book(bench)
    bench.declare("subscriptions", "subscriptions:\n  - {tenant_id: acme, plan: basic, price_book: usd, from: 2026-06-01}\n")
    built(bench, usage())
    ((status, problems),) = bench.rows("SELECT status, problems FROM metering.invoices WHERE tenant_id = 'acme'", "metering.invoices")
    assert status == "blocked"
    assert sorted(problem.split(" from ")[0] for problem in problems.splitlines()) == [
        'meter api_requests {"status":"200"}: no charge prices 3 used',
        'meter api_requests {"status":"404"}: no charge prices 1 used',
        "meter paths: no charge prices 2 used",
        "meter payments: no charge prices 290 used",
        "meter seats: no charge prices 3 used",
    ]
    assert gates(bench)["invoice_every_billable_usage_priced"] == ("failed", "5")


def test_a_level_that_is_carried_into_a_time_without_a_plan_is_not_free(bench: Bench) -> None:
    book(bench)
    bench.declare(
        "subscriptions", "subscriptions:\n  - {tenant_id: acme, plan: basic, price_book: usd, from: 2026-01-01, until: 2026-04-11}\n"
    )
    built(bench, [row for row in usage() if row["id"] == "seats"])
    (problems,) = bench.rows("SELECT problems FROM metering.invoices WHERE tenant_id = 'acme'", "metering.invoices")[0]
    # 3 seats over 20 of 30 days
    assert problems.split(" from ")[0] == "meter seats: no charge prices 2 used"


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (
            "subscriptions",
            "subscriptions:\n  - {tenant_id: acme, plan: basic, price_book: jpy, from: 2026-01-01}\n",
            "plan basic is priced in JPY, the tenant is billed in USD. Name a price book of that currency.",
        ),
        (
            "credits",
            'credits:\n  - {tenant_id: acme, amount: "500", currency: JPY}\n',
            "credits.yaml: a credit in JPY for a tenant billed in USD. Give it in USD.",
        ),
    ],
)
def test_prices_and_credits_in_another_currency_than_the_tenants_block_it(bench: Bench, file: str, text: str, said: str) -> None:
    book(bench)
    yen = BOOK.replace("price_book: usd", "price_book: jpy").replace("currency: USD", "currency: JPY")
    (bench.home.reference / "price_books/jpy.yaml").write_text(yen.format(version="1", effective=ALWAYS, price="1"), encoding="utf-8")
    bench.declare(file, text)
    built(bench, usage())
    rows = bench.rows("SELECT tenant_id, status, problems FROM metering.invoices ORDER BY tenant_id", "metering.invoices")
    assert rows == [("acme", "blocked", said), ("idle", "rated", "")]


def test_the_first_event_is_the_free_one_whatever_its_dimension(bench: Bench) -> None:
    bench.declare("meters", METERS.replace("unit: dollar, floor: 1}", "unit: dollar, floor: 1, dimensions: [status]}"))
    book(bench)
    paid = {"type": "usage.payment", "tenant": "acme"}
    built(
        bench,
        [
            event("first", "2026-04-05T00:00:00", value=40, status="z", **paid),
            event("second", "2026-04-06T00:00:00", value=250, status="a", **paid),
        ],
    )
    assert ("usage", "payments", Decimal(250), Decimal("2.5"), Decimal("0.25")) in lines(bench)  # 40 is free, 1 % of 250


def test_all_gates_pass_where_all_is_priced(bench: Bench) -> None:
    book(bench)
    built(bench, usage())
    assert gates(bench) == {
        "invoice_lines_add_up": ("passed", "0"),
        "invoice_every_billable_usage_priced": ("passed", "0"),
        "invoice_preview_complete": ("passed", "1"),
    }


def test_without_price_books_nothing_is_rated_and_no_gate_asks_for_it(bench: Bench) -> None:
    built(bench, usage())
    assert bench.rows("SELECT count(*) FROM metering.invoices", "metering.invoices") == [(0,)]
    assert {gate.gate for gate in gates_of(bench.home, "metering")}.isdisjoint(INVOICE)


def test_a_changed_price_makes_the_month_stale_and_nothing_else_does(bench: Bench) -> None:
    book(bench)
    built(bench, usage())
    days = sorted({str(row["landing_day"]) for row in usage()})
    assert {key for key, outcome in bench.build(days, ["2026-04-01"]).items() if outcome.rebuilt} == set()
    book(bench, price="0.60")
    rebuilt = {key for key, outcome in bench.build(days, ["2026-04-01"]).items() if outcome.rebuilt}
    assert {"reference.pricing", "metering.rated", "metering.invoices", "metering.invoice_lines"} <= rebuilt
    assert "metering.usage_period" not in rebuilt
    assert lines(bench)[1][3] == Decimal("2.4")


def test_quantities_of_more_than_28_digits_reach_the_invoice_unrounded(bench: Bench) -> None:
    """Python's default context keeps 28 digits; a quantity has up to 38."""
    book(bench)
    large = "12345678901234567890.123456789"
    built(bench, [event("seats", "2026-04-01T04:00:00", type="usage.payment", value=large), event("one", "2026-04-02T04:00:00")])
    quantities = {row[1]: row[2] for row in lines(bench) if row[0] == "usage"}
    assert quantities["payments"] == 0  # the first event is free
    text = BOOK.replace(
        'model: percentage, meter: payments, rate: "1", fee: "0.10", free_events: 1', 'model: per_unit, meter: payments, price: "1"'
    )
    book(bench, text=text)
    bench.build(["2026-04-01", "2026-04-02"], ["2026-04-01"])
    found = {row[1]: row[2:4] for row in lines(bench) if row[0] == "usage"}
    assert found["payments"] == (Decimal(large), Decimal("12345678901234567890.12"))
