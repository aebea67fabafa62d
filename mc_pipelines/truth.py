"""What is true of generated usage, counted while it is made and never by the pipeline. What is made, and how, stands in `simulate.py`."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb


@dataclass
class Truth:
    """What the data holds. `daily`: tenant, meter, local day, quantity over all accepted events, each identity once.

    `months`: tenant, meter, month, metered (landed by the cut-off) and reference. `causes`: month, meter, cause, events that differ,
    for the meters that add up. `late`: month, events landed after their tenant's cut-off. `planted`: rows per fault; `malformed`: rows
    per reason; `rows`: rows landed per source; `accepted`, `quarantined`: of the usage events' rows.
    """

    events: int
    rows: dict[str, int] = field(default_factory=dict)
    accepted: int = 0
    quarantined: int = 0
    planted: dict[str, int] = field(default_factory=dict)
    malformed: dict[str, int] = field(default_factory=dict)
    daily: list[tuple[str, str, str, int]] = field(default_factory=list)
    months: list[tuple[str, str, str, int, int]] = field(default_factory=list)
    causes: list[tuple[str, str, str, int]] = field(default_factory=list)
    late: list[tuple[str, int]] = field(default_factory=list)


TOTAL = """
WITH per AS (
    SELECT tenant, 'api_requests' AS meter, local_day, month, metered, referenced, in_time, n AS quantity, NULL AS path FROM sums
    UNION ALL SELECT tenant, 'egress_bytes', local_day, month, metered, referenced, in_time, bytes, NULL FROM sums
    UNION ALL SELECT tenant, 'unique_paths', local_day, month, metered, referenced, in_time, NULL, path FROM paths
)
SELECT tenant_id, meter, CAST({by} AS VARCHAR), {columns} FROM per JOIN tenants USING (tenant) GROUP BY 1, 2, 3 {having} ORDER BY 1, 2, 3
"""


CAUSES = """
SELECT strftime(month, '%Y-%m'), meter, CASE WHEN NOT metered THEN 'missing' WHEN NOT referenced THEN 'extra' ELSE 'period_differs' END,
       CAST(sum(n) AS BIGINT)
FROM sums CROSS JOIN (VALUES ('api_requests'), ('egress_bytes')) AS meters(meter)
WHERE metered <> referenced OR (metered AND NOT in_time)
GROUP BY ALL ORDER BY ALL
"""
LATE = "SELECT strftime(month, '%Y-%m'), CAST(sum(n) AS BIGINT) FROM sums WHERE metered AND NOT in_time GROUP BY ALL ORDER BY ALL"


def total(con: "duckdb.DuckDBPyConnection", truth: Truth) -> None:
    """Fill the truth from the tables `sums` and `paths`, in which `simulate` counted what it made."""

    def counted(where: str) -> str:
        value = f"coalesce(sum(quantity) FILTER ({where}), 0)"
        return f"CAST(CASE WHEN meter = 'unique_paths' THEN count(DISTINCT path) FILTER ({where}) ELSE {value} END AS BIGINT)"

    daily = TOTAL.format(by="local_day", columns=counted("metered"), having="HAVING bool_or(metered)")
    truth.daily = [(row[0], row[1], row[2], row[3]) for row in con.sql(daily).fetchall()]
    months = TOTAL.format(by="strftime(month, '%Y-%m')", columns=f"{counted('metered AND in_time')}, {counted('referenced')}", having="")
    truth.months = [(row[0], row[1], row[2], row[3], row[4]) for row in con.sql(months).fetchall()]
    truth.causes = [(row[0], row[1], row[2], row[3]) for row in con.sql(CAUSES).fetchall()]
    truth.late = [(row[0], row[1]) for row in con.sql(LATE).fetchall()]
