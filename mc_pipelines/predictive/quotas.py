"""Token buckets replayed over decisions, and what is left of monthly budgets. How a quota is declared is not known here.

A table of decisions has tenant_id, decision_id, occurred_at (TIMESTAMP, UTC) and cost (DECIMAL(38,9)); its name stands in the queries as given,
so code names it, never data.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from mc_pipelines.errors import MissionError
from mc_pipelines.rating.money import EXACT

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

MICRO, NANO = 10**6, 10**9
UNITS = MICRO * NANO
"""Units of one token: a rate with nine decimals adds a whole number of them each microsecond."""
MOST = NANO
"""The largest capacity: tokens left, in billionths, fit 64 bits."""
BATCH = 1_000_000
LAST_DAYS = 7
DAY, MICROSECOND = timedelta(days=1), timedelta(microseconds=1)


@dataclass(frozen=True)
class Bucket:
    """Tokens per second, and the most tokens there can be; it starts full. MissionError where the numbers are none of a bucket."""

    rate: Decimal
    capacity: Decimal

    def __post_init__(self) -> None:
        exact = all(value.is_finite() and (Fraction(value) * NANO).denominator == 1 for value in (self.rate, self.capacity))
        if not (exact and 0 <= self.rate <= MOST and 0 < self.capacity <= MOST):
            raise MissionError(
                f"rate {self.rate} a second, capacity {self.capacity}: write at most nine decimals, a rate from 0 and a capacity above 0, "
                f"both up to {MOST}."
            )


class Left(NamedTuple):
    """A bucket between two decisions: its units, and the microsecond at which they were counted."""

    units: int
    at: int


def replay(con: "duckdb.DuckDBPyConnection", decisions: str, buckets: Mapping[str, Bucket]) -> "pa.Table":
    """Per decision tenant_id, decision_id, would_refuse and tokens_left (DECIMAL(38,9), rounded down), by tenant, occurred_at, decision_id.

    Before a decision the bucket holds min(capacity, tokens + seconds * rate); a decision that costs more is refused and takes nothing.
    Integers throughout. Both columns are NULL for a tenant without a bucket. MissionError for a decision without time, or without cost.
    """
    import pyarrow as pa

    _judged(con, decisions)
    query = f"""
        SELECT tenant_id, decision_id, epoch_us(occurred_at) AS at,
            CAST(CAST(least(cost, {2 * MOST}) AS DECIMAL(19, 9)) * CAST({NANO} AS DECIMAL(10, 0)) AS BIGINT) AS cost
        FROM {decisions} ORDER BY tenant_id, occurred_at, decision_id"""
    batches, left = [], dict[str, Left]()
    for batch in con.sql(query).to_arrow_reader(BATCH):
        refused, tokens = _replayed(batch, buckets, left)
        columns = [batch["tenant_id"], batch["decision_id"], refused, tokens]
        batches.append(pa.record_batch(columns, ["tenant_id", "decision_id", "would_refuse", "tokens_left"]))
    text, decimal = pa.string(), pa.decimal128(38, 9)
    schema = pa.schema({"tenant_id": text, "decision_id": text, "would_refuse": pa.bool_(), "tokens_left": decimal})
    return pa.Table.from_batches(batches, schema)


def _judged(con: "duckdb.DuckDBPyConnection", decisions: str) -> None:
    strange = f"FROM {decisions} WHERE occurred_at IS NULL OR cost IS NULL OR cost < 0 ORDER BY ALL LIMIT 1"
    if found := con.execute(f"SELECT decision_id, occurred_at, cost {strange}").fetchone():
        raise MissionError(f"{decisions}: decision {found[0]} at {found[1]} costs {found[2]}. Give it a time, and a cost of 0 or more.")


def _replayed(batch: "pa.RecordBatch", buckets: Mapping[str, Bucket], left: dict[str, Left]) -> "tuple[pa.Array, pa.Array]":
    """would_refuse and tokens_left of sorted decisions; `left` carries the buckets from batch to batch."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    runs = pc.run_end_encode(batch["tenant_id"])
    times, costs = batch["at"].to_pylist(), batch["cost"].to_pylist()
    refused: list[bool | None] = []
    tokens: list[int | None] = []
    first = 0
    for tenant, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        if bucket := buckets.get(tenant):
            start = left.get(tenant) or Left(int(bucket.capacity * UNITS), times[first])
            left[tenant] = _taken(bucket, start, times[first:end], costs[first:end], refused, tokens)
        else:
            refused += [None] * (end - first)
            tokens += [None] * (end - first)
        first = end
    words = np.zeros((len(tokens), 2), np.int64)
    known = pa.array(tokens, pa.int64())
    words[:, 0] = known.fill_null(0).to_numpy()
    present = known.is_valid().buffers()[1]
    return pa.array(refused, pa.bool_()), pa.Array.from_buffers(pa.decimal128(38, 9), len(tokens), [present, pa.py_buffer(words)])


def _taken(
    bucket: Bucket, left: Left, times: Iterable[int], costs: Iterable[int], refused: list[bool | None], tokens: list[int | None]
) -> Left:
    """Run decisions (microseconds in order, costs in billionths of a token) through a bucket; what each leaves is added to the two lists."""
    rate, capacity = int(bucket.rate * NANO), int(bucket.capacity * UNITS)
    units, last = left
    for at, cost in zip(times, costs, strict=True):
        units += (at - last) * rate
        last = at
        if units > capacity:
            units = capacity
        after = units - cost * MICRO
        refused.append(after < 0)
        if after >= 0:
            units = after
        tokens.append(units // MICRO)
    return Left(units, last)


def burn_down(con: "duckdb.DuckDBPyConnection", decisions: str, budgets: Mapping[str, Decimal], since: date, until: datetime) -> "pa.Table":
    """Per tenant and UTC day: spent that day, in its month so far, the monthly budget and what is left of it (below 0: overspent).

    The days go from `since` (first of a month), or a tenant's first decision where that is later, up to the instant `until`, those without
    decisions too. Budget and left are NULL for a tenant without a budget.
    """
    query = f"""
        WITH budgets AS (SELECT unnest($tenants) AS tenant_id, CAST(unnest($budgets) AS DECIMAL(38, 9)) AS budget),
        known AS (SELECT tenant_id, CAST(occurred_at AS DATE) AS day, cost FROM {decisions} WHERE occurred_at < CAST($until AS TIMESTAMP)),
        costs AS (SELECT tenant_id, day, sum(cost) AS spent FROM known GROUP BY ALL),
        firsts AS (SELECT tenant_id, greatest(min(day), CAST($since AS DATE)) AS first FROM costs GROUP BY ALL),
        calendar AS (
            SELECT CAST(unnest(generate_series(CAST($since AS TIMESTAMP), CAST($until AS TIMESTAMP) - INTERVAL 1 MICROSECOND, INTERVAL 1 DAY)) AS DATE) AS day
        ),
        days AS (
            SELECT tenant_id, calendar.day, CAST(coalesce(costs.spent, 0) AS DECIMAL(38, 9)) AS spent
            FROM firsts JOIN calendar ON calendar.day >= firsts.first LEFT JOIN costs USING (tenant_id, day)
        ),
        months AS (
            SELECT *, CAST(sum(spent) OVER (PARTITION BY tenant_id, date_trunc('month', day) ORDER BY day) AS DECIMAL(38, 9)) AS spent_in_month
            FROM days
        )
        SELECT tenant_id, day, spent, spent_in_month, budget, CAST(budget - spent_in_month AS DECIMAL(38, 9)) AS left_of_budget
        FROM months LEFT JOIN budgets USING (tenant_id) ORDER BY tenant_id, day"""
    bound = {"tenants": list(budgets), "budgets": [str(budget) for budget in budgets.values()], "since": since, "until": until}
    return con.sql(query, params=bound).to_arrow_table()


def midnight(day: date) -> datetime:
    """Where a UTC day begins, as the instants of tables are: naive."""
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001  # said above


@dataclass(frozen=True)
class Forecast:
    """A month's spending as of an instant: so far, a day (the mean of the last seven that were complete, rounded), and when the budget is reached.

    `mean` is None where no day was complete. `exhausted_on` may lie in the past; it is None where the month ends before the budget does.
    """

    tenant_id: str
    budget: Decimal
    spent: Decimal
    mean: Decimal | None
    exhausted_on: date | None


def forecasts(days: "pa.Table", month: date, as_of: datetime) -> list[Forecast]:
    """One forecast of a month per tenant with a budget and a first decision before `as_of`, from the rows of `burn_down`, in order of the tenants."""
    spent: dict[str, tuple[Decimal, dict[date, Decimal]]] = {}
    for row in days.to_pylist():
        if row["budget"] is not None and midnight(row["day"]) < as_of:
            spent.setdefault(row["tenant_id"], (row["budget"], {}))[1][row["day"]] = row["spent"]
    return [forecast(tenant, budget, by_day, month, as_of) for tenant, (budget, by_day) in sorted(spent.items())]


def forecast(tenant: str, budget: Decimal, spent: Mapping[date, Decimal], month: date, as_of: datetime) -> Forecast:
    """From what a tenant spent on every day before `as_of`: those of the month, and seven more or all since its first decision.

    The day that `as_of` cuts counts for the month and not for the mean; where the month is young, the mean is of days of the month before.
    """
    in_month = [day for day in sorted(spent) if day.replace(day=1) == month]
    so_far = list(accumulate((spent[day] for day in in_month), EXACT.add))
    complete = [spent[day] for day in sorted(spent) if midnight(day) + DAY <= as_of][-LAST_DAYS:]
    mean = sum(map(Fraction, complete), Fraction(0)) / len(complete) if complete else None
    rounded = None if mean is None else Decimal(f"{round(mean * NANO)}e-9")
    total = so_far[-1] if so_far else Decimal(0)
    reached = next((day for day, by_then in zip(in_month, so_far, strict=True) if by_then >= budget), None)
    found = reached or _exhausted(Fraction(budget) - Fraction(total), mean, as_of)
    return Forecast(tenant, budget, total, rounded, found if found and found.replace(day=1) == month else None)


def _exhausted(left: Fraction, mean: Fraction | None, as_of: datetime) -> date | None:
    """Day on which what is left is spent at so much a day from `as_of` on; None where that takes longer than any month."""
    today = midnight(as_of.date())
    days = ceil(Fraction((as_of - today) // MICROSECOND, DAY // MICROSECOND) + left / mean) - 1 if mean else None
    return today.date() + timedelta(days=days) if days is not None and days <= 31 else None
