"""Differences of ratings: by hand, and the property that makes them a bill - whatever arrives when, the sum is what one perfect close bills."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_rating_properties import CURRENCIES, EXAMPLES, PLANS, SIGNED, book, charges

from mc_pipelines.corrections.differences import Standing, difference, drifted
from mc_pipelines.rating.display import invoice_json
from mc_pipelines.rating.invoice import rate_invoice
from mc_pipelines.rating.lines import Segment
from mc_pipelines.rating.segments import Term

TIERS = {"id": "c", "meter": "m", "model": "graduated", "tiers": [{"up_to": "100", "price": "1"}, {"price": "0.5"}]}


def rated(quantity: str | Decimal, charge: dict[str, Any] = TIERS, currency: str = "USD", days: int = 30, **more: Any) -> dict[str, Any]:
    term = Term(Segment(None, None, days, 30), "p", book(charge, currency, taxes={"vat": "19"}, **more))
    return invoice_json(rate_invoice([term], {"c": [Decimal(quantity)]}))


def delta(new: dict[str, Any], *billed: dict[str, Any], currency: str = "USD") -> dict[str, Any] | None:
    return difference(new, Standing.of(billed), currency)


def test_a_line_per_tier_and_a_tax_per_rate() -> None:
    """90 were billed at 1 each; 120 are 100 at 1 and 20 at 0.50: 10.00 and 10.00 more, and 19 % of each."""
    found = delta(rated("120", tax="vat"), rated("90", tax="vat"))
    assert found is not None
    assert [(line["tier"], line["quantity"], line["net"], line["tax_amount"]) for line in found["lines"]] == [
        (["0", "100"], "10", "10.00", "1.90"),
        (["100", None], "20", "10.00", "1.90"),
    ]
    assert found["taxes"] == [{"tax": "vat", "percent": "19", "base": "20.00", "amount": "3.80"}]
    assert (found["net"], found["tax"], found["total"]) == ("20.00", "3.80", "23.80")


def test_what_is_less_is_a_credit_and_a_line_that_is_gone_is_taken_back_whole() -> None:
    found = delta(rated("40", tax="vat"), rated("120", tax="vat"))
    assert found is not None
    assert [(line["tier"], line["quantity"], line["net"]) for line in found["lines"]] == [
        (["0", "100"], "-60", "-60.00"),
        (["100", None], "-20", "-10.00"),
    ]
    assert found["total"] == "-83.30"


def test_a_volume_price_that_changes_takes_one_line_back_and_bills_another() -> None:
    """90 at 1; 110 all at 0.50."""
    charge = {**TIERS, "model": "volume"}
    found = delta(rated("110", charge), rated("90", charge))
    assert found is not None
    assert [(line["quantity"], line["unit_price"], line["net"]) for line in found["lines"]] == [
        ("110", "0.5", "55.00"),
        ("-90", "1", "-90.00"),
    ]


def test_tax_that_is_rounded_per_document_differs_there() -> None:
    """1 and 3 units of 0.10 net: 0.019 and 0.057 of tax round to 0.02 and 0.06."""
    charge = {"id": "c", "meter": "m", "model": "per_unit", "price": "0.10"}
    found = delta(rated("3", charge, tax="vat", tax_rounding="document"), rated("1", charge, tax="vat", tax_rounding="document"))
    assert found is not None
    assert ([line["tax_amount"] for line in found["lines"]], found["tax"], found["total"]) == ([None], "0.04", "0.24")


def test_nothing_differs_where_nothing_is_billed_otherwise() -> None:
    assert delta(rated("90"), rated("90")) is None
    charge = {**TIERS, "allowance": "1000"}
    assert delta(rated("90", charge), rated("50", charge)) is None


def test_from_no_invoice_at_all_everything_is_the_difference() -> None:
    found = delta(rated("90", tax="vat"))
    assert found is not None
    assert found["total"] == rated("90", tax="vat")["total"]


@pytest.mark.parametrize(
    ("one", "other", "lines"),
    [
        (rated("90"), rated("90"), 0),
        (rated("90"), rated("91"), 1),
        (rated("90"), rated("120"), 2),
        (rated("90"), None, 1),
        (None, None, 0),
        (rated("90"), {**rated("90"), "total": "90.01"}, 1),
        (rated("90"), {**rated("90"), "credits_used": "-5.00", "payable": "85.00"}, 0),  # depends on other months
    ],
)
def test_drift_is_counted_in_lines(one: Any, other: Any, lines: int) -> None:
    assert drifted(one, other) == drifted(other, one) == lines


@EXAMPLES
@given(
    charges(),
    PLANS,
    CURRENCIES,
    st.integers(1, 30),
    st.sampled_from(["line", "document"]),
    st.lists(SIGNED, min_size=2, max_size=5),
    st.data(),
)
def test_whatever_arrives_when_all_invoices_add_up_to_that_of_one_perfect_close(
    charge: dict[str, Any],
    plan: dict[str, Any],
    currency: str,
    days: int,
    tax_rounding: str,
    quantities: list[Decimal],
    data: st.DataObject,
) -> None:
    """A period billed once, and then corrected after each arrival: every rule of a plan, prices that jump, usage that is taken back."""
    plan = {key: value for key, value in plan.items() if key != "maximum" or Decimal(plan.get("minimum", 0)) <= Decimal(value)}
    charge = charge | {"discount_percent": "7.5"}
    perfect, *rest = [rated(each, charge, currency, days, tax_rounding=tax_rounding, **plan) for each in quantities]
    first, *corrected = [*rest, perfect]
    billed = [first]
    for now in corrected:
        standing = list(billed)
        data.draw(st.randoms()).shuffle(standing)
        found = difference(now, Standing.of(standing), currency)
        if found is not None:
            assert Fraction(found["net"]) == sum(Fraction(line["net"]) for line in found["lines"])
            assert all(
                Fraction(line["net"]) == Fraction(line["amount"]) + Fraction(line["line_discount"]) + Fraction(line["invoice_discount"])
                for line in found["lines"]
            )
            assert Fraction(found["total"]) == Fraction(found["net"]) + sum(Fraction(each["amount"]) for each in found["taxes"])
            billed.append(found)
    assert sum(Fraction(each["total"]) for each in billed) == Fraction(perfect["total"])
    assert sum(Fraction(each["net"]) for each in billed) == Fraction(perfect["net"])
    for rate in {(tax["tax"], tax["percent"]) for each in billed for tax in each["taxes"]}:
        own = [sum(Fraction(tax["amount"]) for tax in each["taxes"] if (tax["tax"], tax["percent"]) == rate) for each in (*billed, perfect)]
        assert sum(own[:-1]) == own[-1]
    assert difference(perfect, Standing.of(billed), currency) is None
