"""Budgets and token buckets of a sprint as a table. How a bucket is replayed and a budget forecast is `quotas.py`'s."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mc_pipelines.calendars import next_month
from mc_pipelines.code import package_digest
from mc_pipelines.predictive.quotas import Bucket, burn_down, forecasts, replay
from mc_pipelines.reference_tables import relation_of

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.runner import Work, Workshop

SPENDING = """
    WITH served AS (
        SELECT tenant_id, decision_id, occurred_at, sum(cost) OVER (PARTITION BY tenant_id ORDER BY occurred_at, decision_id) AS so_far
        FROM month_decisions
        WHERE status = 'ok'
    ),
    spending AS (
        SELECT served.tenant_id, max(served.so_far) AS spent, min(served.occurred_at) FILTER (WHERE served.so_far >= quotas.monthly_budget) AS reached_at
        FROM served JOIN predictive.quotas AS quotas USING (tenant_id)
        GROUP BY served.tenant_id
    )
    SELECT quotas.tenant_id, quotas.monthly_budget, CAST(coalesce(spending.spent, 0) AS DECIMAL(38, 9)) AS spent,
           count(refused.decision_id) AS refused
    FROM predictive.quotas AS quotas
    LEFT JOIN spending USING (tenant_id)
    LEFT JOIN month_decisions AS refused
      ON refused.tenant_id = quotas.tenant_id AND refused.status = 'refused' AND refused.occurred_at >= spending.reached_at
    GROUP BY quotas.tenant_id, quotas.monthly_budget, spending.spent
    ORDER BY quotas.tenant_id
"""


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """Digest of the code that replays and forecasts."""
    return package_digest("predictive")


def quota_months(work: "Work") -> "duckdb.DuckDBPyRelation":
    """A row for every tenant with a quota and every UTC month that a sprint of `work` touches, counted up to the sprint's end."""
    schema = {
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
    sprints = work.con.sql(
        "SELECT sprint, start_utc, end_utc, cutoff_day FROM reference.sprints "
        "WHERE sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) ORDER BY sprint",
        params=work.params,
    ).fetchall()
    return relation_of(work, schema, (row for sprint in sprints for row in _of_sprint(work.con, *sprint)))


def _of_sprint(con: "duckdb.DuckDBPyConnection", sprint: date, start: datetime, end: datetime, cutoff: date) -> Iterator[tuple[Any, ...]]:
    quotas = con.sql("SELECT tenant_id, rate, capacity, monthly_budget FROM predictive.quotas").fetchall()
    buckets = {tenant: Bucket(rate, capacity) for tenant, rate, capacity, _ in quotas}
    budgets = {tenant: budget for tenant, _, _, budget in quotas}
    month = start.date().replace(day=1)
    while datetime(month.year, month.month, 1) < end:  # noqa: DTZ001  # instants of tables are naive UTC
        after = next_month(month)
        until = min(end, datetime(after.year, after.month, 1))  # noqa: DTZ001  # as above
        con.execute(
            "CREATE OR REPLACE TEMP TABLE month_decisions AS SELECT tenant_id, decision_id, occurred_at, cost, status FROM predictive.decisions "
            "WHERE occurred_at >= $month AND occurred_at < $until AND landing_day <= $cutoff AND tenant_id IN (SELECT tenant_id FROM predictive.quotas)",
            {"month": month, "until": until, "cutoff": cutoff},
        )
        con.register("replayed", replay(con, "(SELECT * FROM month_decisions WHERE status <> 'error')", buckets))
        refusals = dict(
            con.sql(
                "SELECT tenant_id, count(*) FROM replayed JOIN month_decisions USING (tenant_id, decision_id) "
                "WHERE would_refuse AND occurred_at >= $start GROUP BY tenant_id",
                params={"start": start},
            ).fetchall()
        )
        con.unregister("replayed")
        days = burn_down(con, "(SELECT * FROM month_decisions WHERE status = 'ok')", budgets)
        reached = {each.tenant_id: each.exhausted_on for each in forecasts(days, (until - timedelta(microseconds=1)).date())}
        for tenant, budget, spent, refused in con.sql(SPENDING).fetchall():
            unrefused = int(spent > budget and refused == 0)
            yield sprint, tenant, month, budget, spent, budget - spent, refused, refusals.get(tenant, 0), unrefused, reached.get(tenant)
        month = after
