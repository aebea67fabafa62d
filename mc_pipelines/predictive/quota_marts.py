"""Budgets and token buckets of a sprint as tables. How a bucket is replayed and a budget forecast is `quotas.py`'s."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mc_pipelines.calendars import next_month
from mc_pipelines.code import package_digest
from mc_pipelines.predictive.quotas import Bucket, burn_down, forecasts, midnight, replay
from mc_pipelines.reference_tables import relation_of

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from mc_pipelines.catalog import Model
    from mc_pipelines.runner import Work, Workshop

MONTHS = {
    "sprint": "DATE",
    "tenant_id": "VARCHAR",
    "month": "DATE",
    "monthly_budget": "DECIMAL",
    "spent": "DECIMAL",
    "remaining": "DECIMAL",
    "refused": "BIGINT",
    "would_refuse": "BIGINT",
    "unrefused": "BIGINT",
    "exhausted_on": "DATE",
}
DAYS = {"sprint": "DATE", "tenant_id": "VARCHAR", "month": "DATE", "day": "DATE", "spent": "DECIMAL", "remaining": "DECIMAL"}
DECIDED = """
    CREATE OR REPLACE TEMP TABLE decided AS
    SELECT tenant_id, decision_id, occurred_at, CAST(date_trunc('month', occurred_at) AS DATE) AS month, cost, status
    FROM predictive.decisions
    WHERE occurred_at < $until AND landing_day <= $cutoff
"""
ASKED = "(SELECT * FROM decided WHERE status <> 'error')"
"""What a bucket is asked for: an error was nobody's wish."""
SERVED = "(SELECT tenant_id, occurred_at, CASE WHEN status = 'ok' THEN cost ELSE 0 END AS cost FROM decided)"
"""What a budget is spent by; a decision that was not served begins a tenant's days all the same."""
WOULD_REFUSE = """
    SELECT tenant_id, month, count(*) FROM replayed JOIN decided USING (tenant_id, decision_id) WHERE would_refuse GROUP BY tenant_id, month
"""
# Tenants with a quota, and whoever decided in the month without one: a limit that nobody declared is no limit that held.
SPENDING = """
    WITH served AS (
        SELECT tenant_id, occurred_at, sum(cost) OVER (PARTITION BY tenant_id ORDER BY occurred_at, decision_id) AS so_far
        FROM decided
        WHERE status = 'ok' AND month = $month
    ),
    spending AS (
        SELECT served.tenant_id, max(served.so_far) AS spent, min(served.occurred_at) FILTER (WHERE served.so_far >= quotas.monthly_budget) AS reached_at
        FROM served LEFT JOIN predictive.quotas AS quotas USING (tenant_id)
        GROUP BY served.tenant_id
    ),
    tenants AS (SELECT tenant_id FROM predictive.quotas UNION SELECT tenant_id FROM decided WHERE month = $month),
    counted AS (
        SELECT tenants.tenant_id, quotas.monthly_budget, CAST(coalesce(spending.spent, 0) AS DECIMAL(38, 9)) AS spent, count(refused.decision_id) AS refused
        FROM tenants
        LEFT JOIN predictive.quotas AS quotas USING (tenant_id)
        LEFT JOIN spending USING (tenant_id)
        LEFT JOIN decided AS refused
          ON refused.tenant_id = tenants.tenant_id AND refused.status = 'refused' AND refused.month = $month AND refused.occurred_at >= spending.reached_at
        GROUP BY tenants.tenant_id, quotas.monthly_budget, spending.spent
    )
    SELECT tenant_id, monthly_budget, spent, CAST(monthly_budget - spent AS DECIMAL(38, 9)) AS remaining,
           CASE WHEN monthly_budget IS NOT NULL THEN refused END AS refused,
           CASE WHEN monthly_budget IS NOT NULL THEN CAST(spent > monthly_budget AND refused = 0 AS BIGINT) END AS unrefused
    FROM counted
    ORDER BY tenant_id
"""


@dataclass(frozen=True)
class Span:
    """A sprint's months: [start, end) and the last landing day that counts."""

    sprint: date
    start: datetime
    end: datetime
    cutoff: date

    @property
    def months(self) -> list[date]:
        """First days of the UTC months that the sprint touches."""
        found = [self.start.date().replace(day=1)]
        while midnight(next_month(found[-1])) < self.end:
            found.append(next_month(found[-1]))
        return found


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """Digest of the code that replays and forecasts."""
    return package_digest("predictive")


def quota_months(work: "Work") -> "duckdb.DuckDBPyRelation":
    """A row for every UTC month that a sprint of `work` touches, counted up to the sprint's end, and every tenant with a quota or decisions in it.

    Of a tenant without a quota nothing can be judged: its budget and all that follows from it is NULL.
    """
    return relation_of(work, MONTHS, (row for span in _spans(work) for row in _months(work.con, span)))


def burnt_down(work: "Work") -> "duckdb.DuckDBPyRelation":
    """A row for every UTC day of these months, from a tenant's first decision up to the sprint's end."""
    return relation_of(work, DAYS, (row for span in _spans(work) for row in _days(work.con, span)))


def _spans(work: "Work") -> list[Span]:
    rows = work.con.sql(
        "SELECT sprint, start_utc, end_utc, cutoff_day FROM reference.sprints "
        "WHERE sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) ORDER BY sprint",
        params=work.params,
    ).fetchall()
    return [Span(*row) for row in rows]


def _decided(con: "duckdb.DuckDBPyConnection", span: Span) -> None:
    """Every decision of the home up to the sprint's end: a bucket has no months, so it is replayed from the first one on."""
    con.execute(DECIDED, {"until": span.end, "cutoff": span.cutoff})


def _burn_down(con: "duckdb.DuckDBPyConnection", span: Span) -> "pa.Table":
    """From the month before the sprint's first on, so that a forecast has its last days."""
    budgets: dict[str, Decimal] = dict(con.sql("SELECT tenant_id, monthly_budget FROM predictive.quotas").fetchall())
    before = (span.months[0] - timedelta(days=1)).replace(day=1)
    return burn_down(con, SERVED, budgets, before, span.end)


def _days(con: "duckdb.DuckDBPyConnection", span: Span) -> Iterator[tuple[Any, ...]]:
    _decided(con, span)
    for row in _burn_down(con, span).to_pylist():
        month = row["day"].replace(day=1)
        if month in span.months:
            yield span.sprint, row["tenant_id"], month, row["day"], row["spent"], row["left_of_budget"]


def _months(con: "duckdb.DuckDBPyConnection", span: Span) -> Iterator[tuple[Any, ...]]:
    _decided(con, span)
    quotas = con.sql("SELECT tenant_id, rate, capacity FROM predictive.quotas").fetchall()
    con.register("replayed", replay(con, ASKED, {tenant: Bucket(rate, capacity) for tenant, rate, capacity in quotas}))
    would_refuse = {(tenant, month): count for tenant, month, count in con.sql(WOULD_REFUSE).fetchall()}
    con.unregister("replayed")
    days = _burn_down(con, span)
    for month in span.months:
        as_of = min(span.end, midnight(next_month(month)))
        reached = {each.tenant_id: each.exhausted_on for each in forecasts(days, month, as_of)}
        for tenant, budget, spent, left, refused, unrefused in con.sql(SPENDING, params={"month": month}).fetchall():
            asked = None if budget is None else would_refuse.get((tenant, month), 0)
            yield span.sprint, tenant, month, budget, spent, left, refused, asked, unrefused, reached.get(tenant)
