"""Token buckets and budgets. Expected values by hand, and a bucket of fractions that is written as the definition says."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mc_pipelines.errors import MissionError
from mc_pipelines.predictive import quotas
from mc_pipelines.predictive.quotas import Bucket, Forecast, burn_down, forecast, forecasts, replay

NOON = datetime(2026, 4, 1, 12)  # noqa: DTZ001  # the lake's instants are naive UTC
Decision = tuple[str, str, datetime | None, str | None]


def after(seconds: str) -> datetime:
    return NOON + timedelta(microseconds=int(Decimal(seconds) * 10**6))


def lake(decisions: list[Decision]) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("CREATE TABLE decisions (tenant_id VARCHAR, decision_id VARCHAR, occurred_at TIMESTAMP, cost DECIMAL(38, 9))")
    if decisions:
        con.executemany("INSERT INTO decisions VALUES (?, ?, ?, CAST(? AS DECIMAL(38, 9)))", decisions)
    return con


def replayed(decisions: list[Decision], buckets: dict[str, Bucket]) -> list[tuple[Any, ...]]:
    found = replay(lake(decisions), "decisions", buckets)
    assert found.column_names == ["tenant_id", "decision_id", "would_refuse", "tokens_left"]
    return [tuple(row.values()) for row in found.to_pylist()]


def bucket(rate: str, capacity: str) -> Bucket:
    return Bucket(Decimal(rate), Decimal(capacity))


def one(times_and_costs: list[tuple[str, str]], held: Bucket) -> list[tuple[bool, str]]:
    decisions: list[Decision] = [("t", f"{n:03}", after(at), cost) for n, (at, cost) in enumerate(times_and_costs)]
    return [(refused, f"{left.normalize():f}") for _, _, refused, left in replayed(decisions, {"t": held})]


def test_a_bucket_by_hand() -> None:
    found = one([("0", "1"), ("0", "1"), ("0", "1"), ("0.5", "1"), ("1", "1"), ("10", "1")], bucket("1", "2"))
    # full with 2; the third and fourth find 0 and 0.5 and leave them; a second after the second there is 1; then it is full at 2
    assert found == [(False, "1"), (False, "0"), (True, "0"), (True, "0.5"), (False, "0"), (False, "1")]


def test_costs_differ_and_a_refusal_leaves_the_tokens_to_the_next() -> None:
    found = one([("0", "3"), ("0", "1.5"), ("0", "0"), ("0", "100000000000000000000"), ("2", "1.75")], bucket("0.25", "2"))
    assert found == [(True, "2"), (False, "0.5"), (False, "0.5"), (True, "0.5"), (True, "1")]


def test_tenths_are_exact_where_doubles_are_not() -> None:
    assert 0.3 - 0.1 - 0.1 < 0.1  # a double would refuse the third
    assert one([("0", "0.1")] * 4, bucket("0", "0.3")) == [(False, "0.2"), (False, "0.1"), (False, "0"), (True, "0")]


def test_a_slow_rate_counts_each_microsecond_and_what_is_printed_is_rounded_down() -> None:
    # a millionth a second is 1e-12 a microsecond: nothing to print after one, a billionth after a thousand; both are kept exactly
    found = one([("0", "1"), ("0.000001", "1"), ("0.001", "0.000000001"), ("0.001999", "0.000000001")], bucket("0.000001", "1"))
    assert found == [(False, "0"), (True, "0"), (False, "0"), (True, "0")]
    assert one([("0", "1"), ("0.002", "0.000000001")], bucket("0.000001", "1")) == [(False, "0"), (False, "0.000000001")]


def test_decisions_at_one_instant_go_by_their_id_each_tenant_by_itself_and_no_bucket_is_no_verdict() -> None:
    decisions: list[Decision] = [
        ("b", "2", NOON, "1"),
        ("a", "9", NOON, "1"),
        ("b", "10", NOON, "1"),
        ("c", "1", NOON, "1"),
        ("c", "0", NOON, "1"),
    ]
    found = replayed(decisions, {"a": bucket("1", "1"), "b": bucket("1", "1"), "d": bucket("1", "1")})
    whole, none = Decimal("0E-9"), None
    assert found == [
        ("a", "9", False, whole),
        ("b", "10", False, whole),
        ("b", "2", True, whole),
        ("c", "0", none, none),
        ("c", "1", none, none),
    ]


def test_no_decisions_are_no_rows() -> None:
    assert replayed([], {"a": bucket("1", "1")}) == []


@pytest.mark.parametrize(("at", "cost"), [(NOON, "-1"), (NOON, None), (None, "1")])
def test_a_decision_without_time_or_with_a_strange_cost_is_refused(at: datetime | None, cost: str | None) -> None:
    with pytest.raises(MissionError, match="decisions: decision d7 at"):
        replayed([("t", "d6", NOON, "1"), ("t", "d7", at, cost)], {})


@pytest.mark.parametrize(("rate", "capacity"), [("-1", "1"), ("1", "0"), ("0.0000000001", "1"), ("1", "NaN"), ("1", "1000000001")])
def test_numbers_of_no_bucket_are_refused(rate: str, capacity: str) -> None:
    with pytest.raises(MissionError, match="at most nine decimals"):
        bucket(rate, capacity)


NANOS = st.integers(0, 4 * 10**9)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3_000_000), NANOS), max_size=40),
    st.integers(0, 2 * 10**9),
    st.integers(1, 5 * 10**9),
)
def test_every_replay_is_that_of_fractions(rows: list[tuple[str, int, int]], rate: int, capacity: int) -> None:
    decisions: list[Decision] = [
        (tenant, f"{n:02}", NOON + timedelta(microseconds=at), str(Decimal(cost) / 10**9)) for n, (tenant, at, cost) in enumerate(rows)
    ]
    held = Bucket(Decimal(rate) / 10**9, Decimal(capacity) / 10**9)
    expected = []
    for tenant in "ab":
        tokens, last = Fraction(held.capacity), None
        for at, name, cost in sorted((at, f"{n:02}", cost) for n, (its, at, cost) in enumerate(rows) if its == tenant):
            tokens = min(Fraction(held.capacity), tokens + Fraction(at - (at if last is None else last), 10**6) * Fraction(held.rate))
            last, price = at, Fraction(cost, 10**9)
            refused = price > tokens
            tokens -= 0 if refused else price
            expected.append((tenant, name, refused, int(tokens * 10**9)))
    found = replayed(decisions, {"a": held, "b": held})
    assert [(*row, int(left * 10**9)) for *row, left in found] == expected


def test_where_a_batch_ends_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    con = duckdb.connect()
    con.execute(
        "CREATE TABLE decisions AS SELECT 't' || hash(i) % 3 AS tenant_id, 'd' || i AS decision_id, "
        "TIMESTAMP '2026-04-01' + to_milliseconds(CAST(hash(i + 1) % 9000000 AS BIGINT)) AS occurred_at, "
        "CAST(1 + hash(i + 2) % 5 AS DECIMAL(38, 9)) AS cost FROM range(9000) AS each (i)"
    )
    buckets = {"t0": bucket("1", "50"), "t1": bucket("0.5", "9")}
    whole = replay(con, "decisions", buckets)
    assert 0 < sum(row is True for row in whole["would_refuse"].to_pylist()) < 6000
    monkeypatch.setattr(quotas, "BATCH", 100)
    parts = replay(con, "decisions", buckets)
    assert parts["decision_id"].num_chunks > whole["decision_id"].num_chunks
    assert parts.to_pylist() == whole.to_pylist()


def test_a_bucket_does_not_know_months() -> None:
    # 10 tokens are gone at 23:59 on 30 April; the two minutes until 00:01 on 1 May bring 120 x 0.0001 = 0.012, so 10 more are refused
    may = datetime(2026, 5, 1)  # noqa: DTZ001  # as above
    minute = timedelta(minutes=1)
    found = replayed([("t", "0", may - minute, "10"), ("t", "1", may + minute, "10")], {"t": bucket("0.0001", "10")})
    assert found == [("t", "0", False, Decimal(0)), ("t", "1", True, Decimal("0.012"))]


def spent(day: str, cost: str, tenant: str = "t") -> Decision:
    return (tenant, f"{tenant}{day}", datetime.fromisoformat(f"{day}T23:59:59"), cost)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_budgets_burn_down_by_day_and_begin_anew_each_month() -> None:
    con = lake([spent("2026-03-30", "4"), spent("2026-04-01", "0.5"), spent("2026-04-03", "7.25"), spent("2026-04-03", "1", "free")])
    con.execute(
        "INSERT INTO decisions VALUES ('t', 'late', TIMESTAMP '2026-04-03 00:00:00', 3), ('t', 'after', TIMESTAMP '2026-04-04 06:00:00', 9)"
    )
    budgets = {"t": Decimal("10.5"), "nobody": Decimal(1)}
    table = burn_down(con, "decisions", budgets, date(2026, 3, 1), instant("2026-04-04T06:00:00"))
    ten = Decimal("10.5")
    # t begins on 30 March, free on 3 April; days without decisions are there; what comes at the instant itself is not
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        ("free", date(2026, 4, 3), Decimal(1), Decimal(1), None, None),
        ("free", date(2026, 4, 4), Decimal(0), Decimal(1), None, None),
        ("t", date(2026, 3, 30), Decimal(4), Decimal(4), ten, Decimal("6.5")),
        ("t", date(2026, 3, 31), Decimal(0), Decimal(4), ten, Decimal("6.5")),
        ("t", date(2026, 4, 1), Decimal("0.5"), Decimal("0.5"), ten, Decimal(10)),
        ("t", date(2026, 4, 2), Decimal(0), Decimal("0.5"), ten, Decimal(10)),
        ("t", date(2026, 4, 3), Decimal("10.25"), Decimal("10.75"), ten, Decimal("-0.25")),
        ("t", date(2026, 4, 4), Decimal(0), Decimal("10.75"), ten, Decimal("-0.25")),
    ]
    later = burn_down(con, "decisions", budgets, date(2026, 4, 1), instant("2026-04-02T00:00:00"))
    assert [tuple(row.values())[:4] for row in later.to_pylist()] == [("t", date(2026, 4, 1), Decimal("0.5"), Decimal("0.5"))]


def days(*costs: str, first: str = "2026-04-01") -> dict[date, Decimal]:
    start = date.fromisoformat(first)
    return {start + timedelta(days=n): Decimal(cost) for n, cost in enumerate(costs)}


@pytest.mark.parametrize(
    ("budget", "by_day", "as_of", "mean", "day"),
    [
        # 9 days; the last seven spent 2 each, 34 so far: 16 left take 8 days
        ("50", days("10", "10", *["2"] * 7), "2026-04-10", "2", "2026-04-17"),
        ("50.1", days("10", "10", *["2"] * 7), "2026-04-10", "2", "2026-04-18"),
        # a day without decisions is a day at no pace: 6 in four days are 1.5 a day, and 4 left take 2 2/3
        ("10", days("3", "0", "0", "3"), "2026-04-05", "1.5", "2026-04-07"),
        # the cut day is no whole one: 4 a day, and the 5 of six hours count for what is left alone; 3 left are 0.75 days, until the 4th at 00:00
        ("16", days("3", "5", "5"), "2026-04-03T06:00:00", "4", "2026-04-03"),
        ("16.1", days("3", "5", "5"), "2026-04-03T06:00:00", "4", "2026-04-04"),
        ("10", days("3", "8", "1"), "2026-04-04", "4", "2026-04-02"),  # reached already
        ("11", days("3", "8", "1"), "2026-04-04", "4", "2026-04-02"),  # reached to the last digit
        ("100", days("10", "10", "10", first="2026-04-21"), "2026-04-24", "10", "2026-04-30"),
        ("100.000000001", days("10", "10", "10", first="2026-04-21"), "2026-04-24", "10", None),  # the first of May has a new budget
        ("10", days("0", "0"), "2026-04-03", "0", None),
        # March gives the mean, and nothing to the month: 9 + 0 + 0 in three days, 10 left take 3 1/3 from the 3rd on
        ("10", days("9", "0", "0", first="2026-03-31"), "2026-04-03", "3", "2026-04-06"),
        # of eight days the first is too old: seven of 1
        ("3.5", days("99", *["1"] * 7, first="2026-03-25"), "2026-04-02", "1", "2026-04-04"),
        ("3", days("0", "0", "1"), "2026-04-04", "0.333333333", "2026-04-09"),  # 2 left at exactly a third a day
        ("3", days("1"), "2026-04-01T12:00:00", None, None),  # no day is complete yet
        ("1", days("1"), "2026-04-01T12:00:00", None, "2026-04-01"),
        ("1e20", days("0.000000001"), "2026-04-02", "0.000000001", None),  # longer than there are dates
    ],
)
def test_exhaustion_by_hand(budget: str, by_day: dict[date, Decimal], as_of: str, mean: str | None, day: str | None) -> None:
    april = date(2026, 4, 1)
    total = sum((cost for each, cost in by_day.items() if each >= april), Decimal(0))
    pace = None if mean is None else Decimal(mean)
    expected = Forecast("t", Decimal(budget), total, pace, None if day is None else date.fromisoformat(day))
    assert forecast("t", Decimal(budget), by_day, april, instant(as_of)) == expected


@pytest.mark.parametrize("as_of", ["2026-05-01T06:00:00", "2026-05-06T06:00:00", "2026-05-12T00:00:00", "2026-05-13T13:00:00"])
def test_a_steady_pace_ends_on_one_day_whatever_the_instant(as_of: str) -> None:
    con = duckdb.connect()
    con.execute(
        "CREATE TABLE decisions AS SELECT 't' AS tenant_id, 'd' || i AS decision_id, TIMESTAMP '2026-04-01' + to_hours(i) AS occurred_at, "
        "CAST(1 AS DECIMAL(38, 9)) AS cost FROM range(24 * 60) AS hours (i)"
    )
    # One an hour, 24 a day: 288 by the end of 12 May, and the 300th at 11:00 on the 13th.
    may = date(2026, 5, 1)
    table = burn_down(con, "decisions", {"t": Decimal(300)}, date(2026, 4, 1), instant(as_of))
    (found,) = forecasts(table, may, instant(as_of))
    spent_by = int((instant(as_of) - instant("2026-05-01T00:00:00")).total_seconds()) // 3600
    assert found == Forecast("t", Decimal(300), Decimal(spent_by), Decimal(24), date(2026, 5, 13))
    # April spends 720 of 300: the 300th is the 12th decision of the 13th day, whatever May does.
    (april,) = forecasts(table, date(2026, 4, 1), instant("2026-05-01T00:00:00"))
    assert (april.spent, april.exhausted_on) == (Decimal(720), date(2026, 4, 13))


def test_forecasts_are_of_tenants_with_a_budget_and_know_no_later_day() -> None:
    con = lake([spent("2026-12-01", "2"), spent("2026-12-02", "4"), spent("2026-12-03", "99"), spent("2026-12-01", "1", "free")])
    december = date(2026, 12, 1)
    table = burn_down(con, "decisions", {"t": Decimal(12)}, december, instant("2026-12-04T00:00:00"))
    # 6 left at 3 a day last through the 3rd and 4th
    assert forecasts(table, december, instant("2026-12-03T00:00:00")) == [
        Forecast("t", Decimal(12), Decimal(6), Decimal(3), date(2026, 12, 4))
    ]
    assert forecasts(table, date(2026, 11, 1), instant("2026-12-01T00:00:00")) == []
