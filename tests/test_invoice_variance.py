"""Variance weighted by money, the money floor, and the change against the month before; expected values by hand."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from conftest import Bench, Row, bind, event, seen

from mc_pipelines.acceptance import evaluate
from mc_pipelines.demo_person import sign_explanations
from mc_pipelines.engine import connect
from mc_pipelines.gates import gates_of
from mc_pipelines.report import records
from mc_pipelines.window_again import window_again

TENANTS = """tenants:
  - {tenant_id: acme, name: Acme, zone: UTC, currency: USD, plan: basic, grace_days: 2}
  - {tenant_id: beta, name: Beta, zone: UTC, currency: USD, plan: basic, grace_days: 2}
  - {tenant_id: nippon, name: Nippon, zone: UTC, currency: JPY, plan: basic, grace_days: 2}
"""
METERS = """meters:
  - {meter: calls, type: usage.calls, aggregation: sum, value: value, unit: call, floor: 1}
  - {meter: bytes, type: usage.bytes, aggregation: sum, value: value, unit: byte, floor: 1}
"""
BOOK = """price_book: {name}
version: "1"
effective: 2025-01-01T00:00:00Z
currency: {currency}
plans:
  basic:
    charges:
      - {{id: calls, model: per_unit, meter: calls, price: "{calls}", allowance: "{allowance}"}}
      - {{id: bytes, model: per_unit, meter: bytes, price: "0.001"}}
"""


@pytest.fixture
def bench(tmp_path: Path, make_bench: Callable[[Path], Bench]) -> Bench:
    found = make_bench(tmp_path)
    found.declare("tenants", TENANTS)
    found.declare("meters", METERS)
    found.declare("explained", "explained: []\n")
    (found.home.reference / "price_books").mkdir(exist_ok=True)
    for path in (found.home.reference / "price_books").glob("*.yaml"):
        path.unlink()
    return found


def book(bench: Bench, currency: str = "USD", calls: str = "0.50", allowance: str = "0") -> None:
    path = bench.home.reference / "price_books" / f"{currency.lower()}.yaml"
    path.write_text(BOOK.format(name=currency.lower(), currency=currency, calls=calls, allowance=allowance), encoding="utf-8")


def used(tenant: str, meter: str, metered: float, reference: float, day: str = "2026-04-10") -> tuple[list[Row], list[Row]]:
    """One event with the metered quantity and one row of the log with the reference's; none where it is 0."""
    name = f"{tenant} {meter} {day}"
    events = [event(name, f"{day}T10:00:00", tenant=tenant, type=f"usage.{meter}", value=metered)] if metered else []
    return events, [seen(name, f"{day}T10:00:00", reference, tenant=tenant, meter=meter)] if reference else []


def built(bench: Bench, *usages: tuple[list[Row], list[Row]], months: tuple[str, ...] = ("2026-04-01",)) -> None:
    events, log = [row for each, _ in usages for row in each], [row for _, each in usages for row in each]
    bench.land(events, log)
    bench.build(sorted({str(row["landing_day"]) for row in (*events, *log)}), months)


def money(bench: Bench) -> list[tuple[object, ...]]:
    return bench.rows(
        "SELECT currency, reference_money, absolute_money, net_money, explained_money, variance_ratio FROM metering.variance_money ORDER BY 1",
        "metering.variance_money",
    )


def pairs(bench: Bench, *columns: str) -> list[tuple[object, ...]]:
    return bench.rows(f"SELECT {', '.join(columns)} FROM metering.variance ORDER BY tenant_id, meter", "metering.variance")


def test_differences_are_worth_what_the_invoice_charges_and_do_not_cancel(bench: Bench) -> None:
    book(bench)
    book(bench, "JPY", "30")
    built(bench, used("acme", "calls", 998, 1000), used("beta", "calls", 1002, 1000), used("nippon", "calls", 100, 100))
    assert pairs(bench, "tenant_id", "currency", "delta_money") == [
        ("acme", "USD", Decimal(1)),  # 2 x 0.50
        ("beta", "USD", Decimal(1)),
        ("nippon", "JPY", Decimal(0)),
    ]
    # USD: (1 + 1) / (500 + 500), although the net is 0; JPY is 3,000 yen without a difference.
    assert money(bench) == [
        ("JPY", Decimal(3000), Decimal(0), Decimal(0), Decimal(0), Decimal(0)),
        ("USD", Decimal(1000), Decimal(2), Decimal(0), Decimal(0), Decimal("0.002")),
    ]


def explained(bench: Bench, note: str = "n") -> None:
    line = f'{{tenant_id: acme, meter: calls, period: "2026-04", reason: r, note: {note}, owner: "team:sre", expires: 2026-06-30}}'
    bench.declare("explained", f"explained:\n  - {line}\n")


def test_what_is_explained_counts_in_money_too(bench: Bench) -> None:
    book(bench)
    explained(bench)
    sign_explanations(bench.home, "2026-04")
    built(bench, used("acme", "calls", 100, 110), used("beta", "calls", 890, 890))
    # 10 x 0.50 = 5 of 55 + 445 = 500
    assert money(bench) == [("USD", Decimal(500), Decimal(5), Decimal(-5), Decimal(5), Decimal("0.01"))]
    assert pairs(bench, "status", "explained_by")[0] == ("explained", "development")


def test_an_explanation_counts_once_it_is_signed_and_no_longer_when_it_is_edited(bench: Bench) -> None:
    book(bench)
    explained(bench)
    usages = used("acme", "calls", 100, 110), used("beta", "calls", 890, 890)
    unsigned = ("unsigned", Decimal("0.090909091"), None)  # 10 of 110, rounded up
    built(bench, *usages)
    assert pairs(bench, "status", "judged_ratio", "explained_by")[0] == unsigned
    assert money(bench)[0][4] == 0
    sign_explanations(bench.home, "2026-04")
    built(bench, *usages)
    assert pairs(bench, "status", "judged_ratio", "explained_by")[0] == ("explained", 0, "development")
    explained(bench, "edited")
    built(bench, *usages)
    assert pairs(bench, "status", "judged_ratio", "explained_by")[0] == unsigned


def test_a_difference_of_at_most_one_minor_unit_is_within_the_floor(bench: Bench) -> None:
    book(bench)
    built(bench, used("acme", "bytes", 1000, 1010), used("beta", "bytes", 1000, 1011))
    assert pairs(bench, "tenant_id", "delta_money", "status", "judged_ratio > 0.0025") == [
        ("acme", Decimal("0.01"), "within_floor", False),  # 10 x 0.001
        ("beta", Decimal("0.011"), "judged", True),
    ]


def test_without_prices_only_the_floor_of_quantity_counts(bench: Bench) -> None:
    built(bench, used("acme", "bytes", 1000, 1010))
    assert pairs(bench, "currency", "delta_money", "status") == [(None, None, "judged")]
    assert money(bench) == []


def test_usage_that_was_lost_is_worth_what_the_reference_would_cost(bench: Bench) -> None:
    book(bench)
    built(bench, used("acme", "calls", 0, 10), used("acme", "bytes", 5000, 5000))
    # Nothing metered: 10 x 0.50. The bytes are worth 5.
    assert money(bench) == [("USD", Decimal(10), Decimal(5), Decimal(-5), Decimal(0), Decimal("0.5"))]


def test_an_allowance_hides_no_loss_beyond_it(bench: Bench) -> None:
    book(bench, allowance="100")
    built(bench, used("acme", "calls", 90, 150), used("beta", "calls", 110, 150))
    assert pairs(bench, "tenant_id", "delta_money") == [
        ("acme", Decimal(25)),  # billed 0, would be 50 x 0.50; the price of the reference is 25 / 150, and 60 of it are 10
        ("beta", Decimal(20)),  # billed 5, would be 25; by the effective price of 5 / 110 only 1.82
    ]


def test_usage_that_the_log_does_not_know_is_no_matter_of_money(bench: Bench) -> None:
    book(bench)
    built(bench, used("acme", "bytes", 5, 0), used("beta", "bytes", 1000, 1000))
    assert pairs(bench, "tenant_id", "status", "delta_money")[0] == (
        "acme",
        "unreferenced",
        Decimal("0.01"),  # 5 x 0.001, which the invoice rounds up; it is the floor of money, and does not help
    )


@pytest.mark.parametrize("most", [10**18, 10**19, 10**22, 9 * 10**27])
def test_no_quantity_is_too_large_for_a_ratio(bench: Bench, most: int) -> None:
    """A difference of an eighth of the reference, and one of 1, at sizes beyond what a product of both would fit."""
    book(bench)
    built(bench, used("acme", "bytes", most + most // 8, most), used("beta", "calls", most - 1, most))
    assert pairs(bench, "tenant_id", "variance_ratio") == [("acme", Decimal("0.125")), ("beta", Decimal("0.000000001"))]
    ((_, reference, absolute, *_, ratio),) = money(bench)
    assert reference == most * Decimal("0.501")  # 0.001 a byte and 0.50 a call
    assert absolute == most // 8 * Decimal("0.001") + Decimal("0.5")
    assert Decimal("0.0002495") < Decimal(str(ratio)) < Decimal("0.0002496")  # 0.000125 of 0.501


def test_a_blocked_tenant_has_no_money(bench: Bench) -> None:
    book(bench)
    built(bench, used("acme", "calls", 100, 100), used("nippon", "calls", 100, 200))  # no book is in yen
    assert [row[0] for row in money(bench)] == ["USD"]
    assert pairs(bench, "tenant_id", "currency", "status")[1] == ("nippon", None, "judged")


def judged(bench: Bench, gate: str) -> tuple[str, str | None]:
    con = connect()
    declared = [each for each in gates_of(bench.home, "metering") if each.gate == gate]
    for each in declared:
        bind(bench.shop, con, each.table)
    (found,) = evaluate(con, declared, {each.table: each.table for each in declared})
    return found.status, found.value


def test_the_money_gate_passes_at_the_limit_fails_beyond_and_has_no_evidence_without_invoices(bench: Bench) -> None:
    book(bench)
    built(bench, used("acme", "calls", 3990, 4000))
    assert judged(bench, "metering_variance_money") == ("passed", "0.0025")
    built(bench, used("acme", "calls", 3989, 4000))
    assert judged(bench, "metering_variance_money") == ("failed", "0.00275")
    book(bench, "EUR")
    (bench.home.reference / "price_books" / "usd.yaml").unlink()
    bench.build(["2026-04-10"])
    assert judged(bench, "metering_variance_money") == ("no_evidence", None)


def changes(bench: Bench) -> list[tuple[object, ...]]:
    columns = "tenant_id, status, before, now, change_ratio"
    return bench.rows(
        f"SELECT {columns} FROM metering.invoice_change WHERE period = DATE '2026-05-01' ORDER BY tenant_id", "metering.invoice_change"
    )


def test_an_invoice_is_compared_with_that_of_the_month_before(bench: Bench) -> None:
    book(bench)
    book(bench, "JPY", "30")
    months = ("2026-04-01", "2026-05-01")
    april = used("acme", "calls", 100, 100), used("nippon", "calls", 10, 10)
    built(bench, *april, used("acme", "calls", 160, 160, "2026-05-10"), used("beta", "calls", 2, 2, "2026-05-10"), months=months)
    assert changes(bench) == [
        ("acme", "compared", Decimal(50), Decimal(80), Decimal("0.6")),
        ("beta", "from_zero", Decimal(0), Decimal(1), Decimal(1)),
        ("nippon", "compared", Decimal(300), Decimal(0), Decimal(1)),
    ]
    assert judged(bench, "invoice_revenue_change") == ("failed", "1")
    first = bench.rows(
        "SELECT DISTINCT status, before, change_ratio FROM metering.invoice_change WHERE period = DATE '2026-04-01'",
        "metering.invoice_change",
    )
    assert first == [("first", None, Decimal(0))]


def test_a_net_in_another_currency_is_not_subtracted(bench: Bench) -> None:
    book(bench)
    book(bench, "JPY", "30")
    built(bench, used("acme", "calls", 100, 100))
    bench.declare("tenants", TENANTS.replace("USD", "JPY", 1))
    built(bench, used("acme", "calls", 2, 2, "2026-05-10"), months=("2026-05-01",))
    found = bench.rows(
        "SELECT before, before_currency, now, currency, change, status, change_ratio FROM metering.invoice_change "
        "WHERE period = DATE '2026-05-01' AND tenant_id = 'acme'",
        "metering.invoice_change",
    )
    # 100 x 0.50 USD, then 2 x 30 JPY
    assert [tuple(row) for row in found] == [(Decimal(50), "USD", Decimal(60), "JPY", None, "currency_changed", Decimal(1))]


def test_the_month_before_is_read_as_it_is_pinned_when_a_month_is_computed_again(bench: Bench) -> None:
    book(bench)
    months = ("2026-04-01", "2026-05-01")
    built(bench, used("acme", "calls", 100, 100), used("acme", "calls", 120, 120, "2026-05-10"), months=months)
    pins = {
        name: bench.shop.lake.version(name) or 0
        for model in bench.shop.catalog.models.values()
        for name in (model.key, *model.header.also)
        if bench.shop.lake.version(name) is not None
    }
    book(bench, calls="0.75")
    bench.build(["2026-04-10", "2026-05-10"], months)
    con = connect()
    window_again("metering", bench.shop, con, "2026-05-01", sorted(pins), pins)
    shown = records(con, "SELECT tenant_id, before, now FROM metering.invoice_change WHERE before > 0")
    assert shown == [{"tenant_id": "acme", "before": "50", "now": "60"}]
    assert records(con, "SELECT DISTINCT period FROM metering.invoices") == [{"period": "2026-05-01"}]
