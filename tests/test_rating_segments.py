"""Periods and their segments: anchors, days of 23 and 25 hours, changes in mid-period, plans and versions in force."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from priced import book_of

from mc_pipelines.errors import MissionError
from mc_pipelines.rating.book import Book
from mc_pipelines.rating.invoice import rate
from mc_pipelines.rating.money import EXACT, divided, minor_units, rounded, shares
from mc_pipelines.rating.scale import UnpricedError
from mc_pipelines.rating.segments import anchored, cut, in_force, midnights, spans, terms
from mc_pipelines.rating.subscriptions import Held, Subscription, held
from mc_pipelines.reference import Tenant

D = Decimal
APRIL = midnights("UTC", date(2026, 4, 1), date(2026, 5, 1))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_an_anchor_clamps_to_the_end_of_a_month_and_returns() -> None:
    assert [anchored(31, 2026, month)[0] for month in (1, 2, 3, 4, 12)] == [
        date(2026, 1, 31),
        date(2026, 2, 28),
        date(2026, 3, 31),
        date(2026, 4, 30),
        date(2026, 12, 31),
    ]
    assert anchored(31, 2028, 1) == (date(2028, 1, 31), date(2028, 2, 29))
    assert anchored(15, 2026, 12) == (date(2026, 12, 15), date(2027, 1, 15))
    for year, month in ((2026, 1), (2026, 2), (2027, 12)):  # periods touch: nothing is billed twice, nothing falls between
        following = (year + month // 12, month % 12 + 1)
        assert anchored(31, year, month)[1] == anchored(31, *following)[0]


@pytest.mark.parametrize(
    ("zone", "first", "after", "days", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 1), date(2026, 4, 1), 31, 743),  # the 29th has 23 hours
        ("Europe/Berlin", date(2026, 10, 1), date(2026, 11, 1), 31, 745),  # the 25th has 25
        ("Australia/Lord_Howe", date(2026, 4, 1), date(2026, 5, 1), 30, 720.5),  # half an hour
        ("Asia/Kathmandu", date(2026, 2, 1), date(2026, 3, 1), 28, 672),
        ("America/Sao_Paulo", date(2018, 11, 1), date(2018, 12, 1), 30, 719),  # 4 November begins at 01:00
        ("Pacific/Apia", date(2011, 12, 1), date(2012, 1, 1), 30, 720),  # there was no 30 December
    ],
)
def test_a_month_counts_whole_local_days(zone: str, first: date, after: date, days: int, hours: float) -> None:
    [segment] = cut(midnights(zone, first, after), [])
    assert segment.start is not None
    assert segment.end is not None
    assert (segment.days, segment.of, (segment.end - segment.start).total_seconds() / 3600) == (days, days, hours)


def test_a_fee_is_prorated_by_local_days_in_a_month_with_a_day_of_23_hours(tmp_path: Path) -> None:
    """Berlin, March 2026, from the 29th: 3 of 31 days. By hours it would be 71 of 743."""
    book = book_of(tmp_path, '- {id: fee, model: flat, price: "310", prorate: true}')
    segment = cut(midnights("Europe/Berlin", date(2026, 3, 1), date(2026, 4, 1)), [utc("2026-03-28T23:00:00")])[1]
    assert (segment.days, segment.of) == (3, 31)
    assert [str(line.amount) for line in rate(book, "p", "fee", segment=segment)] == ["30.00"]


def test_a_day_counts_for_the_segment_in_which_it_begins() -> None:
    cuts = [
        utc("2026-04-10T00:00:00"),
        utc("2026-04-20T12:00:00"),
        utc("2026-04-20T13:00:00"),
        utc("2026-03-01T00:00:00"),
        utc("2026-05-01T00:00:00"),
    ]
    assert [(each.days, each.of) for each in cut(APRIL, cuts)] == [(9, 30), (11, 30), (0, 30), (10, 30)]


def books(folder: Path) -> dict[Path, Book]:
    charges = '- {id: fee, model: flat, price: "10"}\n- {id: api, model: per_unit, meter: m, price: "%s"}\n'
    return {
        folder / version: book_of(folder, charges % price, version=version, effective=since)
        for version, price, since in (
            ("1", "1", "2026-01-01T00:00:00Z"),
            ("2", "2", "2026-04-10T12:00:00+02:00"),
            ("3", "3", "2026-06-01T00:00:00Z"),
        )
    }


def test_the_version_in_force_is_the_one_that_became_effective_last(tmp_path: Path) -> None:
    found = books(tmp_path)
    at = {
        text: in_force(found, "test", utc(text))
        for text in ("2025-12-31T23:59:59", "2026-01-01T00:00:00", "2026-04-10T09:59:59", "2026-04-10T10:00:00")
    }
    assert [book and book.version for book in at.values()] == [None, "1", "1", "2"]
    assert in_force(found, "other", utc("2026-04-10T10:00:00")) is None


def test_a_period_is_cut_where_prices_and_plans_change(tmp_path: Path) -> None:
    period = terms(APRIL, [Held(APRIL[4], APRIL[19], "p", "test")], books(tmp_path))
    assert [(term.book.version, str(term.segment.start), str(term.segment.end), term.segment.days) for term in period] == [
        ("1", "2026-04-05 00:00:00", "2026-04-10 10:00:00", 6),
        ("2", "2026-04-10 10:00:00", "2026-04-20 00:00:00", 9),
    ]
    assert [(span.segment.days, span.book.version) for span in spans(period)["fee"]] == [(15, "1")]  # its price did not change
    assert [(span.segment.days, span.book.version) for span in spans(period)["api"]] == [(6, "1"), (9, "2")]


def test_a_plan_that_is_held_again_is_not_one_span(tmp_path: Path) -> None:
    found = {tmp_path / "1": book_of(tmp_path, '- {id: fee, model: flat, price: "10"}')}
    period = terms(APRIL, [Held(None, APRIL[5], "p", "test"), Held(APRIL[10], None, "p", "test")], found)
    assert [span.segment.days for span in spans(period)["fee"]] == [5, 20]


def test_a_time_without_a_price_is_an_error(tmp_path: Path) -> None:
    march = midnights("UTC", date(2025, 3, 1), date(2025, 4, 1))
    with pytest.raises(UnpricedError, match="price book test: no version is in force at 2025-03-01T00:00:00Z"):
        terms(march, [Held(None, None, "p", "test")], books(tmp_path))
    with pytest.raises(UnpricedError, match="version 1 has no plan gold at 2026-04-01T00:00:00Z"):
        terms(APRIL, [Held(None, None, "gold", "test")], books(tmp_path))


TENANT = Tenant(tenant_id="acme", name="Acme", zone="America/New_York", currency="USD", plan="p", grace_days=2)


def subscribed(*rows: tuple[str, object, object]) -> list[Subscription]:
    return [
        Subscription.model_validate({"tenant_id": "acme", "plan": plan, "price_book": "test", "from": begins, "until": ends})
        if ends
        else Subscription.model_validate({"tenant_id": "acme", "plan": plan, "price_book": "test", "from": begins})
        for plan, begins, ends in rows
    ]


def test_subscriptions_run_from_local_midnights_or_instants(tmp_path: Path) -> None:
    noon = datetime(2026, 4, 20, 12, tzinfo=UTC)
    rows = subscribed(("scale", noon, None), ("p", date(2026, 4, 1), date(2026, 4, 10)), ("growth", date(2026, 4, 10), None))
    assert held(TENANT, rows, books(tmp_path)) == [
        Held(utc("2026-04-01T04:00:00"), utc("2026-04-10T04:00:00"), "p", "test"),
        Held(utc("2026-04-10T04:00:00"), utc("2026-04-20T12:00:00"), "growth", "test"),
        Held(utc("2026-04-20T12:00:00"), None, "scale", "test"),
    ]


def test_subscriptions_may_not_overlap(tmp_path: Path) -> None:
    with pytest.raises(MissionError, match="overlaps the next one"):
        held(TENANT, subscribed(("p", date(2026, 4, 1), date(2026, 4, 11)), ("growth", date(2026, 4, 10), None)), books(tmp_path))
    with pytest.raises(MissionError, match="is empty"):
        held(TENANT, subscribed(("p", date(2026, 4, 1), None), ("growth", date(2026, 4, 1), None)), books(tmp_path))


def test_a_tenant_without_a_subscription_has_its_plan_in_the_book_of_its_currency(tmp_path: Path) -> None:
    found = books(tmp_path)
    assert held(TENANT, [], found) == [Held(None, None, "p", "test")]
    with pytest.raises(UnpricedError, match="plan p in EUR is offered by no price book"):
        held(TENANT.model_copy(update={"currency": "EUR"}), [], found)


@pytest.mark.parametrize(
    ("amount", "unit", "per", "expected"),
    [
        ("0.005", "0.01", 1, "0.01"),
        ("-0.005", "0.01", 1, "-0.01"),
        ("-0.004", "0.01", 1, "0.00"),
        ("0.5", "1", 1, "1"),
        ("10", "0.01", 3, "3.33"),
        ("-20", "0.01", 3, "-6.67"),
        ("0.01", "0.01", 2, "0.01"),  # half a cent
        ("-0.03", "0.01", 2, "-0.02"),  # one and a half
        ("1234567.8905", "0.001", 1, "1234567.891"),
    ],
)
def test_rounding_is_half_away_from_zero(amount: str, unit: str, per: int, expected: str) -> None:
    assert str(rounded(D(amount), D(unit), per)) == expected


def test_division_rounds_a_quantity_as_it_is_told() -> None:
    quotients = [[str(divided(D(quantity), D(4), 0, how)) for quantity in ("9", "10", "-9", "-10")] for how in ("ceil", "floor", "half_up")]
    assert quotients == [["3", "3", "-2", "-2"], ["2", "2", "-3", "-3"], ["2", "3", "-2", "-3"]]


def test_minor_units_are_those_of_iso_4217() -> None:
    assert [minor_units(code) for code in ("USD", "JPY", "KWD", "CLF")] == [2, 0, 3, 4]
    with pytest.raises(MissionError, match="'EURO' is no currency of ISO 4217"):
        minor_units("EURO")
    with pytest.raises(MissionError, match="XAU has no minor units"):
        minor_units("XAU")


@pytest.mark.parametrize(
    ("total", "weights", "expected"),
    [
        ("0.10", ["1.00", "1.00", "1.00"], ["0.04", "0.03", "0.03"]),
        ("-0.10", ["1.00", "1.00", "1.00"], ["-0.04", "-0.03", "-0.03"]),
        ("1.00", ["1.00", "0.00", "2.00"], ["0.33", "0.00", "0.67"]),
        ("0.01", ["0.00", "5.00"], ["0.00", "0.01"]),
    ],
)
def test_shares_go_by_largest_remainder(total: str, weights: list[str], expected: list[str]) -> None:
    assert list(map(str, shares(D(total), list(map(D, weights)), D("0.01")))) == expected


@pytest.mark.parametrize(("total", "weights"), [("0.001", ["1.00"]), ("1.00", []), ("1.00", ["0.00"]), ("1.00", ["2.00", "-1.00"])])
def test_what_cannot_be_shared_is_refused(total: str, weights: list[str]) -> None:
    with pytest.raises(ValueError, match="cannot spread"):
        shares(D(total), list(map(D, weights)), D("0.01"))


def test_the_exact_context_refuses_what_it_would_have_to_round() -> None:
    from decimal import FloatOperation, Inexact

    with pytest.raises(Inexact):
        EXACT.divide(D(1), D(3))
    with pytest.raises(FloatOperation):
        EXACT.create_decimal(0.5)
