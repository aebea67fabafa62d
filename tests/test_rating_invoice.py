"""An invoice by hand: the order of its steps, commitments, bounds of the plan, discounts, tax, credits, and changes in mid-period."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from priced import book_of, short

from mc_pipelines.errors import MissionError
from mc_pipelines.rating.book import Book
from mc_pipelines.rating.invoice import rate_invoice
from mc_pipelines.rating.lines import Invoice, Segment, Usage
from mc_pipelines.rating.policy import POLICIES
from mc_pipelines.rating.segments import Term, cut, midnights, spans, terms
from mc_pipelines.rating.subscriptions import Held

D = Decimal
APRIL = midnights("UTC", date(2026, 4, 1), date(2026, 5, 1))
API = '- {id: api, model: per_unit, meter: m, price: "1"}\n'


def whole(book: Book, days: int = 30) -> list[Term]:
    """One plan over `days` of 30."""
    return [Term(Segment(None, None, days, 30), "p", book)]


def invoice(folder: Path, quantity: str, *, plan: str = "", head: str = "", charges: str = API, days: int = 30, **more: str) -> Invoice:
    book = book_of(folder, charges, plan=plan, head=head, **more)
    return rate_invoice(whole(book, days), {"api": [D(quantity)]})


@pytest.mark.parametrize(
    ("agreed", "quantity", "days", "expected"),
    [
        # under the commitment: the rest is a true-up
        ('{amount: "100"}', "40", 30, [("usage", "40.00"), ("commitment", "60.00")]),
        ('{amount: "100", true_up: false}', "40", 30, [("usage", "40.00")]),
        ('{amount: "100"}', "100", 30, [("usage", "100.00")]),
        # over it: 50 at factor 1.5 is 75, of which the usage line has 50
        ('{amount: "100", overage_factor: "1.5"}', "150", 30, [("usage", "150.00"), ("overage", "25.00")]),
        ('{amount: "100"}', "150", 30, [("usage", "150.00")]),
        ('{amount: "100", overage_factor: "0.8"}', "150", 30, [("usage", "150.00"), ("overage", "-10.00")]),
        # a third of the period: 33.33..., exactly
        ('{amount: "100"}', "10", 10, [("usage", "10.00"), ("commitment", "23.33")]),
        ('{amount: "100", overage_factor: "2"}', "50", 10, [("usage", "50.00"), ("overage", "16.67")]),
    ],
)
def test_a_commitment(tmp_path: Path, agreed: str, quantity: str, days: int, expected: list[tuple[str, str]]) -> None:
    found = invoice(tmp_path, quantity, plan=f"commitment: {agreed}", days=days)
    assert [(line.kind, str(line.amount)) for line in found.lines] == expected


def test_a_flat_fee_is_no_usage_of_a_commitment(tmp_path: Path) -> None:
    charges = API + '- {id: fee, model: flat, price: "30"}\n'
    found = invoice(tmp_path, "40", plan='commitment: {amount: "100"}', charges=charges)
    assert short(found.lines) == [("usage", "40", "40.00"), ("flat", "1", "30.00"), ("commitment", None, "60.00")]


def test_the_plan_has_a_maximum_and_then_a_minimum(tmp_path: Path) -> None:
    assert short(invoice(tmp_path, "130", plan='maximum: "100"').lines)[1:] == [("maximum", None, "-30.00")]
    assert short(invoice(tmp_path, "30", plan='minimum: "100"').lines)[1:] == [("minimum", None, "70.00")]
    assert short(invoice(tmp_path, "3", plan='minimum: "100"', days=10).lines)[1:] == [("minimum", None, "30.33")]  # 33.33... - 3
    assert short(invoice(tmp_path, "130", plan='maximum: "100"\nminimum: "100"').lines)[1:] == [("maximum", None, "-30.00")]


def test_every_step_in_the_order_of_the_policy(tmp_path: Path) -> None:
    """api: 200 - 10 % = 180, down to 150. store: 5, up to 20. Usage 170 of 300 committed: 130 more. Plan: 300, down to 250. Then 50 off:

    over 180 (api), 5, 15, 130 of 330 (the two negative lines take none): 27.2727, 0.7576, 2.2727, 19.6970 -> 27.27, 0.76, 2.27, 19.70.
    Nets 152.73, -30, 4.24, 12.73, 110.30, -50 = 200.00. Tax 19 %: 29.0187, -5.70, 0.8056, 2.4187, 20.957, -9.50 -> 38.00.
    """
    charges = (
        '- {id: api, model: per_unit, meter: m, price: "1", discount_percent: "10", maximum: "150"}\n'
        '- {id: store, model: per_unit, meter: m, price: "1", minimum: "20"}\n'
    )
    plan = 'tax: vat\ncommitment: {amount: "300"}\nmaximum: "250"\nminimum: "200"\ndiscount: "50"'
    book = book_of(tmp_path, charges, plan=plan, head='taxes: {vat: "19"}')
    found = rate_invoice(whole(book), {"api": [D(200)], "store": [D(5)]}, D(100))
    assert [
        (line.charge, line.kind, *map(str, (line.amount, line.line_discount, line.invoice_discount, line.net, line.tax_amount)))
        for line in found.lines
    ] == [
        ("api", "usage", "200.00", "-20.00", "-27.27", "152.73", "29.02"),
        ("api", "maximum", "-30.00", "0", "0", "-30.00", "-5.70"),
        ("store", "usage", "5.00", "0", "-0.76", "4.24", "0.81"),
        ("store", "minimum", "15.00", "0", "-2.27", "12.73", "2.42"),
        ("", "commitment", "130.00", "0", "-19.70", "110.30", "20.96"),
        ("", "maximum", "-50.00", "0", "0", "-50.00", "-9.50"),
    ]
    sums = (found.subtotal, found.discount, found.net, found.total, found.credits_used, found.payable)
    assert list(map(str, sums)) == ["270.00", "-70.00", "200.00", "238.01", "-100.00", "138.01"]
    assert [(each.tax, each.percent, each.base, str(each.amount)) for each in found.taxes] == [("vat", D(19), D(200), "38.01")]


def test_tax_is_rounded_per_line_or_per_document(tmp_path: Path) -> None:
    """19 % of 0.10 is 0.019: 0.02 on each of three lines, 0.057 -> 0.06 on their sum; 19 % of 0.03 is 0.0057, three times 0.01, and 0.0171 -> 0.02."""
    charges = "".join(f'- {{id: {name}, model: per_unit, meter: m, price: "0.03", tax: vat}}\n' for name in ("a", "b", "c"))
    usage: Mapping[str, Sequence[Usage]] = {name: [D(1)] for name in ("a", "b", "c")}
    head = 'taxes: {vat: "19"}\ntax_rounding: '
    line, document = (rate_invoice(whole(book_of(tmp_path, charges, head=head + how)), usage) for how in ("line", "document"))
    assert ([str(each.tax_amount) for each in line.lines], str(line.total)) == (["0.01", "0.01", "0.01"], "0.12")
    assert ([each.tax_amount for each in document.lines], str(document.total)) == ([None, None, None], "0.11")


def test_tax_has_a_subtotal_per_rate_and_may_be_absent(tmp_path: Path) -> None:
    charges = '- {id: api, model: per_unit, meter: m, price: "1", tax: low}\n- {id: fee, model: flat, price: "10"}\n- {id: none, model: flat, price: "5", tax: zero}\n'
    found = invoice(tmp_path, "100", charges=charges, plan="tax: vat", head='taxes: {vat: "19", low: "7", zero: "0"}')
    assert [(each.tax, str(each.base), str(each.amount)) for each in found.taxes] == [
        ("low", "100.00", "7.00"),
        ("vat", "10.00", "1.90"),
        ("zero", "5.00", "0.00"),
    ]
    assert invoice(tmp_path, "1").taxes == ()


def test_a_fixed_discount_is_spread_to_the_cent_with_ties_to_the_earlier_line(tmp_path: Path) -> None:
    charges = "".join(f'- {{id: {name}, model: flat, price: "10"}}\n' for name in ("a", "b", "c"))
    found = rate_invoice(whole(book_of(tmp_path, charges, plan='discount: "10"')), {})
    assert [str(line.invoice_discount) for line in found.lines] == ["-3.34", "-3.33", "-3.33"]


def test_a_fixed_discount_takes_no_more_than_there_is(tmp_path: Path) -> None:
    found = invoice(tmp_path, "4", plan='discount: "10"')
    assert (str(found.discount), str(found.total)) == ("-4.00", "0.00")
    credit_note = invoice(tmp_path, "-4", plan='discount: "10"')
    assert (str(credit_note.discount), str(credit_note.total)) == ("0.00", "-4.00")


@pytest.mark.parametrize(
    ("quantity", "credit", "used", "payable"),
    [("30", "10", "-10.00", "20.00"), ("30", "50", "-30.00", "0.00"), ("-30", "50", "0.00", "-30.00")],
)
def test_prepaid_credits_lower_what_is_payable_never_below_zero(
    tmp_path: Path, quantity: str, credit: str, used: str, payable: str
) -> None:
    found = rate_invoice(whole(book_of(tmp_path, API)), {"api": [D(quantity)]}, D(credit))
    assert (str(found.credits_used), str(found.payable)) == (used, payable)


def test_negative_totals_are_taxed_and_rounded_away_from_zero(tmp_path: Path) -> None:
    """-10.50 at 19 % is -1.995."""
    found = invoice(tmp_path, "-10.5", plan="tax: vat", head='taxes: {vat: "19"}')
    assert (str(found.net), str(found.total)) == ("-10.50", "-12.50")


TIERS = 'tiers: [{up_to: "100", price: "1"}, {price: "0.50"}]'
DEAR = TIERS.replace('"1"', '"2"').replace("0.50", "0.80")


def changed(folder: Path, model: str, before: str, after: str, how: str) -> list[Term]:
    """April 2026 in UTC: the terms `before` for 9 days, `after` for 21."""
    head = f"cumulative_tiers: {how}"
    books = {
        folder / number: book_of(folder, f"- {{id: api, model: {model}, {terms}}}", version=number, effective=since, head=head)
        for number, terms, since in (("1", before, "2026-01-01T00:00:00Z"), ("2", after, "2026-04-10T00:00:00Z"))
    }
    return terms(APRIL, [Held(None, None, "p", "test")], books)


@pytest.mark.parametrize(
    ("model", "before", "after", "how", "expected"),
    [
        # 150 before, 60 after. restart: 60 x 2. continue: 60 beyond the 100, x 0.80
        ("graduated, meter: m", TIERS, DEAR, "restart", ["100.00", "25.00", "120.00"]),
        ("graduated, meter: m", TIERS, DEAR, "continue", ["100.00", "25.00", "48.00"]),
        # volume, continue: the tier of all 210, at each version's price
        ("volume, meter: m", TIERS, DEAR, "restart", ["75.00", "120.00"]),
        ("volume, meter: m", TIERS, DEAR, "continue", ["75.00", "48.00"]),
        # packages of 100: two, then one; or two, then the third
        ("package, meter: m", 'size: "100", price: "7"', 'size: "100", price: "9"', "restart", ["14.00", "9.00"]),
        ("package, meter: m", 'size: "200", price: "7"', 'size: "200", price: "9"', "continue", ["7.00", "9.00"]),
        ("package, meter: m", 'size: "300", price: "7"', 'size: "300", price: "9"', "continue", ["7.00", "0.00"]),
        # an allowance of 160: again in the second part, or what is left of it
        ("per_unit, meter: m", 'price: "1", allowance: "160"', 'price: "2", allowance: "160"', "restart", ["0.00", "0.00"]),
        ("per_unit, meter: m", 'price: "1", allowance: "160"', 'price: "2", allowance: "160"', "continue", ["0.00", "100.00"]),
        # a cap of 160 on each part, or on both: 150 + 120 - 110
        ("per_unit, meter: m", 'price: "1", maximum: "160"', 'price: "2", maximum: "160"', "restart", ["150.00", "120.00"]),
        ("per_unit, meter: m", 'price: "1", maximum: "160"', 'price: "2", maximum: "160"', "continue", ["150.00", "120.00", "-110.00"]),
        # a minimum of 600 is 180 for 9 days and 420 for 21: 30 + 300; or 600 - 270
        (
            "per_unit, meter: m",
            'price: "1", minimum: "600"',
            'price: "2", minimum: "600"',
            "restart",
            ["150.00", "30.00", "120.00", "300.00"],
        ),
        ("per_unit, meter: m", 'price: "1", minimum: "600"', 'price: "2", minimum: "600"', "continue", ["150.00", "120.00", "330.00"]),
        # a fee of a tier, restarted and carried on
        (
            "graduated, meter: m",
            'tiers: [{price: "1", flat: "10"}]',
            'tiers: [{price: "2", flat: "10"}]',
            "restart",
            ["150.00", "10.00", "120.00", "10.00"],
        ),
        (
            "graduated, meter: m",
            'tiers: [{price: "1", flat: "10"}]',
            'tiers: [{price: "2", flat: "10"}]',
            "continue",
            ["150.00", "10.00", "120.00"],
        ),
    ],
)
def test_a_price_that_changes_in_mid_period(tmp_path: Path, model: str, before: str, after: str, how: str, expected: list[str]) -> None:
    period = changed(tmp_path, model, before, after, how)
    found = rate_invoice(period, {"api": [D(150), D(60)]})
    assert [str(line.amount) for line in found.lines] == expected


def test_a_fee_that_changes_in_mid_period(tmp_path: Path) -> None:
    """Not prorated it is due once, as it was when the period began; prorated it is 30 x 9/30 + 60 x 21/30."""
    once = changed(tmp_path, "flat", 'price: "30"', 'price: "60"', "restart")
    assert [str(line.amount) for line in rate_invoice(once, {}).lines] == ["30.00"]
    daily = changed(tmp_path, "flat", 'price: "30", prorate: true', 'price: "60", prorate: true', "restart")
    assert [(str(line.amount), line.segment.days, line.version) for line in rate_invoice(daily, {}).lines] == [
        ("9.00", 9, "1"),
        ("42.00", 21, "2"),
    ]


@pytest.mark.parametrize("how", ["restart", "continue"])
def test_a_new_version_without_a_new_price_changes_nothing(tmp_path: Path, how: str) -> None:
    split = changed(tmp_path, "graduated, meter: m", TIERS, TIERS, how)
    assert (len(split), len(spans(split)["api"])) == (2, 1)
    assert rate_invoice(split, {"api": [D(150)]}) == rate_invoice([Term(cut(APRIL, [])[0], "p", split[0].book)], {"api": [D(150)]})


def test_a_tax_that_changes_in_mid_period_cuts_the_charge(tmp_path: Path) -> None:
    """9 of 30 days at 19 %, 21 at 16 %: 30 x 9/30 x 0.19 = 1.71 and 30 x 21/30 x 0.16 = 3.36."""
    charge = '- {id: fee, model: flat, price: "30", prorate: true, tax: vat}'
    books = {
        tmp_path / number: book_of(tmp_path, charge, version=number, effective=since, head=f'taxes: {{vat: "{percent}"}}')
        for number, percent, since in (("1", "19", "2026-01-01T00:00:00Z"), ("2", "16", "2026-04-10T00:00:00Z"))
    }
    found = rate_invoice(terms(APRIL, [Held(None, None, "p", "test")], books), {})
    assert [(str(line.amount), str(line.tax_amount)) for line in found.lines] == [("9.00", "1.71"), ("21.00", "3.36")]
    assert [(str(each.percent), str(each.amount)) for each in found.taxes] == [("16", "3.36"), ("19", "1.71")]


def test_a_released_policy_never_changes() -> None:
    """Charges: percentage discount, maximum, minimum. Then the plan's terms, the fixed discount, tax, credits."""
    assert POLICIES["2026-1"] == (
        "lines",
        "line_discount",
        "charge_maximum",
        "charge_minimum",
        "commitment",
        "plan_maximum",
        "plan_minimum",
        "invoice_discount",
        "tax",
        "credits",
    )


def test_what_is_left_of_an_allowance_is_said_for_each_part(tmp_path: Path) -> None:
    period = changed(tmp_path, "per_unit, meter: m", 'price: "1", allowance: "160"', 'price: "2", allowance: "160"', "continue")
    found = rate_invoice(period, {"api": [D(150), D(60)]})
    assert [(str(line.quantity), str(line.allowance_used)) for line in found.lines] == [("0", "150"), ("50", "10")]


def test_a_changed_plan_brings_its_own_commitment(tmp_path: Path) -> None:
    """10 days of starter without, 20 days of growth with a commitment of 90 (60 for 20 days), of which growth used 15."""
    text = '- {id: api, model: per_unit, meter: m, price: "1"}\n'
    book = book_of(tmp_path, text, head="")
    path = tmp_path / "two.yaml"
    path.write_text(
        (tmp_path / "1.yaml").read_text()
        + '  growth:\n    commitment: {amount: "90"}\n    charges:\n      - {id: api, model: per_unit, meter: m, price: "0.5"}\n'
    )
    from mc_pipelines.rating.book import read_book

    book = read_book(path)
    plans = [Held(None, APRIL[10], "p", "test"), Held(APRIL[10], None, "growth", "test")]
    found = rate_invoice(terms(APRIL, plans, {path: book}), {"api": [D(200), D(30)]})
    assert [(line.plan, line.kind, str(line.amount), line.segment.days) for line in found.lines] == [
        ("p", "usage", "200.00", 10),
        ("growth", "usage", "15.00", 20),
        ("growth", "commitment", "45.00", 20),
    ]


def test_usage_is_given_for_every_span_and_for_no_other_charge(tmp_path: Path) -> None:
    period = whole(book_of(tmp_path, API))
    for usage, said in (
        ({}, r"usage of 0 span\(s\), the period has 1"),
        ({"api": [D(1), D(2)]}, "usage of 2"),
        ({"apy": [D(1)]}, "usage of apy: no charge"),
    ):
        with pytest.raises(MissionError, match=said):
            rate_invoice(period, usage)
    with pytest.raises(MissionError, match="no plan is held"):
        rate_invoice([], {})


@pytest.mark.parametrize("credit", [D("0.001"), D(-1), D("NaN"), 0.5])
def test_a_credit_is_money_that_can_be_paid(tmp_path: Path, credit: Decimal) -> None:
    with pytest.raises(MissionError, match="no amount of USD that can be paid"):
        rate_invoice(whole(book_of(tmp_path, API)), {"api": [D(1)]}, credit)


def test_an_invoice_has_one_currency(tmp_path: Path) -> None:
    one, other = book_of(tmp_path, API), book_of(tmp_path, API, version="2", currency="EUR")
    with pytest.raises(MissionError, match="in USD and EUR; an invoice has one currency"):
        rate_invoice([*whole(one, 10), *whole(other, 20)], {"api": [D(1), D(1)]})
