"""Every charge model against hand calculations: tiers, fees, packages, percentages, matrices, conversion, allowance, rounding."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest
from priced import book_of, events, short

from mc_pipelines.errors import MissionError
from mc_pipelines.rating.invoice import rate
from mc_pipelines.rating.lines import Event, Segment, Usage
from mc_pipelines.rating.scale import UnpricedError

D = Decimal


def lines(
    folder: Path, charge: str, usage: Usage, currency: str = "USD", segment: Segment | None = None
) -> list[tuple[str, str | None, str]]:
    book = book_of(folder, f"- {{id: c, {charge}}}", currency=currency)
    return short(rate(book, "p", "c", usage, *([segment] if segment else [])))


GRADUATED = 'model: graduated, meter: m, tiers: [{up_to: "100", price: "0.10", flat: "5"}, {up_to: "200", price: "0.05"}, {price: "0.01", flat: "2"}]'
VOLUME = GRADUATED.replace("graduated", "volume")


@pytest.mark.parametrize(
    ("charge", "quantity", "expected"),
    [
        # per_unit: n x p
        ('model: per_unit, meter: m, price: "0.002"', "1500", [("usage", "1500", "3.00")]),
        ('model: per_unit, meter: m, price: "0.002"', "0", [("usage", "0", "0.00")]),
        ('model: per_unit, meter: m, price: "0.002"', "2.5", [("usage", "2.5", "0.01")]),  # 0.005, half up
        ('model: per_unit, meter: m, price: "0.002"', "-2.5", [("usage", "-2.5", "-0.01")]),  # -0.005, half away from zero
        ('model: per_unit, meter: m, price: "0.002"', "-2.4", [("usage", "-2.4", "0.00")]),  # -0.0048 is 0.00, without a sign
        # graduated: every boundary belongs to the tier that ends there
        (GRADUATED, "0", [("usage", "0", "0.00"), ("flat", "1", "5.00")]),
        (GRADUATED, "100", [("usage", "100", "10.00"), ("flat", "1", "5.00")]),
        (GRADUATED, "100.5", [("usage", "100", "10.00"), ("usage", "0.5", "0.03"), ("flat", "1", "5.00")]),  # 0.025
        (GRADUATED, "200", [("usage", "100", "10.00"), ("usage", "100", "5.00"), ("flat", "1", "5.00")]),
        (
            GRADUATED,
            "201",
            [("usage", "100", "10.00"), ("usage", "100", "5.00"), ("usage", "1", "0.01"), ("flat", "1", "5.00"), ("flat", "1", "2.00")],
        ),
        (GRADUATED, "-10", [("usage", "-10", "-1.00"), ("flat", "1", "5.00")]),
        (GRADUATED + ", flat_at_zero: false", "0", [("usage", "0", "0.00")]),
        (GRADUATED + ", flat_at_zero: false", "0.000000001", [("usage", "1E-9", "0.00"), ("flat", "1", "5.00")]),
        # volume: the one tier that holds n, for all of n
        (VOLUME, "100", [("usage", "100", "10.00"), ("flat", "1", "5.00")]),
        (VOLUME, "100.000000001", [("usage", "100.000000001", "5.00")]),
        (VOLUME, "200", [("usage", "200", "10.00")]),
        (VOLUME, "300", [("usage", "300", "3.00"), ("flat", "1", "2.00")]),
        (VOLUME, "0", [("usage", "0", "0.00"), ("flat", "1", "5.00")]),
        (VOLUME + ", flat_at_zero: false", "0", [("usage", "0", "0.00")]),
        # package: the free quantity off first, then packages
        ('model: package, meter: m, size: "100", price: "7"', "0", [("usage", "0", "0.00")]),
        ('model: package, meter: m, size: "100", price: "7"', "100", [("usage", "1", "7.00")]),
        ('model: package, meter: m, size: "100", price: "7"', "100.1", [("usage", "2", "14.00")]),
        ('model: package, meter: m, size: "100", price: "7", allowance: "50"', "150", [("usage", "1", "7.00")]),  # not ceil(1.5) - 0.5
        ('model: package, meter: m, size: "100", price: "7", allowance: "50"', "151", [("usage", "2", "14.00")]),
        ('model: package, meter: m, size: "100", price: "7", rounding: down', "199", [("usage", "1", "7.00")]),
        # graduated_percentage: 1 % of 1000, 0.5 % of 1000
        (
            'model: graduated_percentage, meter: m, tiers: [{up_to: "1000", rate: "1"}, {rate: "0.5", flat: "3"}]',
            "2000",
            [("usage", "1000", "10.00"), ("usage", "1000", "5.00"), ("flat", "1", "3.00")],
        ),
    ],
)
def test_a_quantity_by_hand(tmp_path: Path, charge: str, quantity: str, expected: list[tuple[str, str, str]]) -> None:
    assert lines(tmp_path, charge, D(quantity)) == expected


@pytest.mark.parametrize(
    ("charge", "values", "expected"),
    [
        # 1.5 % of 100 + 250, and 0.30 for each
        ('rate: "1.5", fee: "0.30"', ["100", "250"], [("usage", "350", "5.25"), ("fee", "2", "0.60")]),
        ('rate: "1.5", fee: "0.30"', [], [("usage", "0", "0.00"), ("fee", "0", "0.00")]),
        # two free events, whatever their value
        ('rate: "1", free_events: 2', ["500", "300", "100"], [("usage", "100", "1.00")]),
        # 400 free: the second fits with 100 only, so 200 of it are charged, and all after it
        ('rate: "1", free_amount: "400"', ["300", "300", "10"], [("usage", "210", "2.10")]),
        # the value that uses the free amount up is free itself
        ('rate: "1", fee: "1", free_amount: "400"', ["300", "100", "10"], [("usage", "10", "0.10"), ("fee", "1", "1.00")]),
        # whichever runs out first: the events do, though 300 of the amount are left
        ('rate: "1", fee: "1", free_events: 1, free_amount: "400"', ["100", "50"], [("usage", "50", "0.50"), ("fee", "1", "1.00")]),
        # whichever runs out first: the amount does, though 8 events are left
        ('rate: "1", fee: "1", free_events: 10, free_amount: "400"', ["300", "300", "5"], [("usage", "205", "2.05"), ("fee", "2", "2.00")]),
        ('rate: "1", free_events: 0', ["100"], [("usage", "100", "1.00")]),
        # 1 % + 0.10 of 5, 100 and 2000 is 0.15, 1.10 and 20.10; the bounds are 0.50 and 15 after the fee
        (
            'rate: "1", fee: "0.10", event_minimum: "0.50", event_maximum: "15"',
            ["5", "100", "2000"],
            [("usage", "2105", "21.05"), ("fee", "3", "0.30"), ("event_minimum", "1", "0.35"), ("event_maximum", "1", "-5.10")],
        ),
    ],
)
def test_percentages_by_hand(tmp_path: Path, charge: str, values: list[str], expected: list[tuple[str, str, str]]) -> None:
    assert lines(tmp_path, f"model: percentage, meter: m, {charge}", events(*values)) == expected


def test_which_events_are_free_is_decided_by_when_they_happened(tmp_path: Path) -> None:
    book = book_of(tmp_path, '- {id: c, model: percentage, meter: m, rate: "1", free_events: 1}')
    given = [Event(("2026-04-02", "b"), D(10)), Event(("2026-04-01", "z"), D(500)), Event(("2026-04-02", "a"), D(90))]
    assert short(rate(book, "p", "c", given)) == [("usage", "100", "1.00")]


MATRIX = (
    'model: matrix, meter: m, dimensions: [region, size], prices: [{match: {region: eu, size: big}, price: "2"}, '
    '{match: {size: small, region: eu}, price: "0.5"}]'
)


def test_a_matrix_prices_each_tuple(tmp_path: Path) -> None:
    book = book_of(tmp_path, f"- {{id: c, {MATRIX}}}")
    found = rate(book, "p", "c", {("eu", "small"): D(3), ("eu", "big"): D("1.5")})
    assert [(line.dimensions, line.amount) for line in found] == [
        ((("region", "eu"), ("size", "big")), D("3.00")),
        ((("region", "eu"), ("size", "small")), D("1.50")),
    ]


def test_a_tuple_without_a_price_blocks_or_takes_the_default(tmp_path: Path) -> None:
    usage: Mapping[tuple[str, ...], Decimal] = {("us", "big"): D(4), ("eu", "big"): D(1)}
    with pytest.raises(UnpricedError, match=r"no price for us/big \(region/size\)\. Add it to prices, or a default_price"):
        lines(tmp_path, MATRIX, usage)
    assert lines(tmp_path, MATRIX + ', default_price: "9"', usage) == [("usage", "1", "2.00"), ("usage", "4", "36.00")]


@pytest.mark.parametrize(
    ("conversion", "quantity", "expected"),
    [
        ('{divide_by: "1000", rounding: ceil}', "1001", ("2", "2.00")),
        ('{divide_by: "1000", rounding: ceil}', "1000", ("1", "1.00")),
        ('{divide_by: "1000", rounding: floor}', "1999.999999999", ("1", "1.00")),
        ('{divide_by: "1000", rounding: half_up}', "1500", ("2", "2.00")),
        ('{divide_by: "1000", rounding: half_up}', "1499.999999999", ("1", "1.00")),
        ('{divide_by: "1000", rounding: half_up}', "-1500", ("-2", "-2.00")),
        ('{divide_by: "1000", rounding: none}', "1234.5", ("1.2345", "1.23")),
        (
            '{divide_by: "1073741824", rounding: none}',
            "2747282740",
            ("2.5586064346134662628173828125", "2.56"),
        ),  # by bc; gigabytes of egress
        ('{divide_by: "3", rounding: half_up, decimals: 9}', "1", ("0.333333333", "0.33")),
        ('{divide_by: "0.3", rounding: floor}', "1", ("3", "3.00")),
        ('{multiply_by: "60", rounding: none}', "1.5", ("90.0", "90.00")),
        ('{multiply_by: "1.5", rounding: ceil}', "3", ("5", "5.00")),
    ],
)
def test_units_are_converted_before_anything_else(tmp_path: Path, conversion: str, quantity: str, expected: tuple[str, str]) -> None:
    charge = f'model: per_unit, meter: m, price: "1", unit_conversion: {conversion}'
    assert [line[1:] for line in lines(tmp_path, charge, D(quantity))] == [expected]


def test_the_allowance_comes_off_after_conversion_and_says_what_was_used(tmp_path: Path) -> None:
    charge = '{id: c, model: per_unit, meter: m, price: "1", unit_conversion: {divide_by: "1000", rounding: ceil}, allowance: "3"}'
    book = book_of(tmp_path, f"- {charge}")
    found = {quantity: rate(book, "p", "c", D(quantity)) for quantity in ("500", "4500", "-500", "-1500")}
    assert {quantity: [(str(line.quantity), str(line.allowance_used)) for line in lines] for quantity, lines in found.items()} == {
        "500": [("0", "1")],
        "4500": [("2", "3")],
        "-500": [("0", "0")],
        "-1500": [("-1", "0")],
    }


def test_minor_units_follow_the_currency(tmp_path: Path) -> None:
    charge = 'model: per_unit, meter: m, price: "0.12345"'
    assert [lines(tmp_path, charge, D(10), currency) for currency in ("USD", "JPY", "KWD", "CLF")] == [
        [("usage", "10", "1.23")],
        [("usage", "10", "1")],
        [("usage", "10", "1.235")],  # 1.2345
        [("usage", "10", "1.2345")],
    ]


def test_twenty_digits_times_twelve_decimals_is_exact(tmp_path: Path) -> None:
    """bc: 98765432109876543210.123456789 * 0.123456789012 = 12193263113668038396.460112787271672002468."""
    found = lines(tmp_path, 'model: per_unit, meter: m, price: "0.123456789012"', D("98765432109876543210.123456789"))
    assert found == [("usage", "98765432109876543210.123456789", "12193263113668038396.46")]


def test_the_largest_quantity_at_the_longest_price_fits(tmp_path: Path) -> None:
    """(10^29 - 10^-9) x (10^15 - 10^-12) = 10^44 - 10^17 - 10^6 + 10^-21."""
    largest = D("9" * 29 + "." + "9" * 9)
    [(_, _, amount)] = lines(tmp_path, 'model: per_unit, meter: m, price: "999999999999999.999999999999"', largest)
    assert amount == "99999999999999999999999999899999999999000000.00"


@pytest.mark.parametrize("quantity", ["NaN", "Infinity", "1.0000000001", "1e29"])
def test_what_no_usage_table_can_hold_is_refused(tmp_path: Path, quantity: str) -> None:
    with pytest.raises(MissionError, match="charge c: "):
        lines(tmp_path, 'model: per_unit, meter: m, price: "1"', D(quantity))


@pytest.mark.parametrize("quantity", [1.5, 3, "3"])
def test_only_decimals_are_quantities(tmp_path: Path, quantity: object) -> None:
    with pytest.raises(TypeError, match="quantities are Decimal"):
        lines(tmp_path, 'model: per_unit, meter: m, price: "1"', quantity)  # type: ignore[arg-type]  # that is the point


def test_a_flat_fee_is_prorated_only_where_the_plan_says_so(tmp_path: Path) -> None:
    ten_days = Segment(None, None, 10, 31)
    assert lines(tmp_path, 'model: flat, price: "49.99"', None, segment=ten_days) == [("flat", "1", "49.99")]
    # 49.99 x 10 / 31 = 16.1258...
    assert lines(tmp_path, 'model: flat, price: "49.99", prorate: true', None, segment=ten_days) == [("flat", "1", "16.13")]


@pytest.mark.parametrize(
    ("bounds", "quantity", "days", "expected"),
    [
        ('minimum: "50"', "30", 30, [("usage", "30", "30.00"), ("minimum", None, "20.00")]),
        ('minimum: "50"', "50", 30, [("usage", "50", "50.00")]),
        ('minimum: "50"', "0", 10, [("usage", "0", "0.00"), ("minimum", None, "16.67")]),  # 50 x 10 / 30 = 16.666...
        ('minimum: "50"', "16.67", 10, [("usage", "16.67", "16.67")]),
        ('maximum: "40"', "100", 30, [("usage", "100", "100.00"), ("maximum", None, "-60.00")]),
        ('maximum: "40"', "40", 30, [("usage", "40", "40.00")]),
        (
            'maximum: "40", discount_percent: "50"',
            "100",
            30,
            [("usage", "100", "100.00"), ("maximum", None, "-10.00")],
        ),  # after the discount
    ],
)
def test_a_charge_is_brought_up_or_down_to_its_bounds(
    tmp_path: Path, bounds: str, quantity: str, days: int, expected: list[tuple[str, str | None, str]]
) -> None:
    charge = f'model: per_unit, meter: m, price: "1", {bounds}'
    assert lines(tmp_path, charge, D(quantity), segment=Segment(None, None, days, 30)) == expected


def test_a_line_discount_is_rounded_once_per_line(tmp_path: Path) -> None:
    book = book_of(
        tmp_path, '- {id: c, model: graduated, meter: m, discount_percent: "12.5", tiers: [{up_to: "1", price: "0.20"}, {price: "0.05"}]}'
    )
    found = rate(book, "p", "c", D(2))
    # 12.5 % of 0.20 is 0.025, of 0.05 is 0.00625
    assert [(line.amount, line.line_discount, line.net) for line in found] == [
        (D("0.20"), D("-0.03"), D("0.17")),
        (D("0.05"), D("-0.01"), D("0.04")),
    ]


@pytest.mark.parametrize(
    ("charge", "usage", "said"),
    [
        ('model: percentage, meter: m, rate: "1"', D(5), "Give its events"),
        (MATRIX, D(5), "Give a quantity for each tuple"),
        (MATRIX, {("eu",): D(5)}, "eu is no tuple of them"),
        (MATRIX, {("eu", "big"): D("1.0000000001")}, "9 after the point"),
    ],
)
def test_usage_of_the_wrong_form_is_refused(tmp_path: Path, charge: str, usage: Usage, said: str) -> None:
    with pytest.raises(MissionError, match=said):
        lines(tmp_path, charge, usage)


def test_a_result_that_would_lose_a_digit_is_an_error(tmp_path: Path) -> None:
    charge = 'model: per_unit, meter: m, price: "0.123456789012", unit_conversion: {divide_by: "1208925819614629174706176", rounding: none}'  # 2^80
    with pytest.raises(MissionError, match="needs more than 76 digits"):
        lines(tmp_path, charge, D("123456789.123456789"))


def test_a_charge_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    book = book_of(tmp_path, '- {id: c, model: flat, price: "1"}')
    with pytest.raises(MissionError, match=r"no charge 'd' in plan 'p'\. It has p: c\."):
        rate(book, "p", "d")
