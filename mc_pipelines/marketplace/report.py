"""What a sprint's bundle of the marketplace holds beside its rows: SLA tracker, queue, packets and the feedback report as one JSON document.

Only selection and naming belong here; every figure is a column of a mart, and no text of a partner is shown.
"""

from typing import TYPE_CHECKING, Any

from mc_pipelines.report import records

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.windows import Window

REPORT = "marketplace.json"
SHOWN = 100


def documents(con: "duckdb.DuckDBPyConnection", window: "Window") -> dict[str, dict[str, Any]]:
    """The document by its path in the bundle. `con` shows the sprint's tables."""
    return {
        REPORT: {
            "sprint": window.name,
            "as_of": window.as_of,
            "live": records(con, "SELECT live FROM marketplace.live"),
            "connect_time": records(con, "SELECT * EXCLUDE (sprint) FROM marketplace.connect_time"),
            "sources": records(
                con,
                "SELECT source_id, name, partner_id, status, max(verified) FILTER (WHERE packet = 'dpia') AS dpia, "
                "max(verified) FILTER (WHERE packet = 'licence') AS licence, string_agg(nullif(why, ''), '; ' ORDER BY packet) AS why "
                "FROM marketplace.packets GROUP BY ALL ORDER BY source_id",
            ),
            "clauses": records(
                con, "SELECT source_id, place, clause, kind FROM marketplace.clauses WHERE kind <> 'allow' ORDER BY source_id, place"
            ),
            "packets_verified": records(con, "SELECT packets, verified, share FROM marketplace.packets_verified"),
            "states": records(
                con, "SELECT state, count(*) AS requests FROM marketplace.requests WHERE counted = 1 GROUP BY state ORDER BY state"
            ),
            "open": records(
                con,
                "SELECT requests.request_id, requests.source_id, requests.tenant_id, requests.state, requests.requested_at, "
                "clocks.calendar_seconds // 3600 AS hours, clocks.breached, clocks.at_risk FROM marketplace.requests AS requests "
                "LEFT JOIN marketplace.clocks AS clocks ON clocks.request_id = requests.request_id AND clocks.kind = 'resolution' "
                f"WHERE requests.counted = 1 AND requests.closed_at IS NULL ORDER BY requests.requested_at, requests.request_id LIMIT {SHOWN}",
            ),
            "partners": records(
                con,
                "SELECT partner_id, kind, basis, max(limit_seconds) // 3600 AS limit_hours, count(*) AS promises, "
                "CAST(sum(breached) AS BIGINT) AS breached, CAST(sum(at_risk) AS BIGINT) AS at_risk, "
                "percentile_disc(0.5) WITHIN GROUP (ORDER BY calendar_seconds) // 3600 AS median_calendar_hours, "
                "percentile_disc(0.5) WITHIN GROUP (ORDER BY business_seconds) // 3600 AS median_business_hours "
                "FROM marketplace.clocks GROUP BY partner_id, kind, basis ORDER BY partner_id, kind",
            ),
            "weeks": records(
                con,
                "SELECT week, kind, CAST(sum(started) AS BIGINT) AS started, CAST(sum(breached) AS BIGINT) AS breached, "
                "CAST(sum(at_risk) AS BIGINT) AS at_risk, CAST(sum(running) AS BIGINT) AS running FROM marketplace.weeks GROUP BY week, kind ORDER BY week, kind",
            ),
            "refused": records(
                con,
                f"SELECT request_id, state, occurred_at, reason, detail FROM marketplace.refused_events ORDER BY ALL LIMIT {SHOWN}",
            ),
            "feedback": records(con, "SELECT remarks, issues FROM marketplace.feedback_report"),
            "tracked": records(con, "SELECT tagged, tracked, overdue, share FROM marketplace.tracked"),
            "issues": records(
                con,
                "SELECT issue_id, partner_id, category, severity, tags, remarks, first_at, owners, next_due, open_actions, overdue FROM marketplace.issues "
                f"ORDER BY overdue DESC, open_actions = 0, next_due, issue_id LIMIT {SHOWN}",
            ),
            "ombuds": records(con, "SELECT source_id, records, verified, why FROM marketplace.ombuds ORDER BY source_id"),
        }
    }
