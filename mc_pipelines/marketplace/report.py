"""What a sprint's bundle of the marketplace holds beside its rows: SLA tracker, queue, packets and the feedback report as one JSON document,
and the packets that count with their signatures, as they were signed.

Only selection and naming belong here; every figure is a column of a mart, and no text of a partner is shown.
"""

from typing import TYPE_CHECKING, Any

from mc_pipelines.copies import SHOWN as CONFLICT
from mc_pipelines.report import editions, records, shortened

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.windows import Window

REPORT = "marketplace.json"
SHOWN = 100
HOURS = "CAST({} * 1000000000 // 3600 AS DECIMAL(28, 0)) * CAST('0.000000001' AS DECIMAL(10, 9))"
"""Seconds as hours, to the billionth below."""
LISTS = {
    "conflicts": (f"SELECT {CONFLICT} FROM marketplace.conflicts ORDER BY source, record", 50),
    "open": (
        "SELECT requests.request_id, requests.source_id, requests.tenant_id, requests.state, requests.requested_at, "
        f"{HOURS.format('clocks.calendar_seconds')} AS hours, clocks.breached, clocks.at_risk FROM marketplace.requests AS requests "
        "LEFT JOIN marketplace.clocks AS clocks ON clocks.request_id = requests.request_id AND clocks.kind = 'resolution' "
        "WHERE requests.counted = 1 AND requests.closed_at IS NULL ORDER BY requests.requested_at, requests.request_id",
        SHOWN,
    ),
    "urgent": (
        "SELECT request_id, partner_id, kind, basis, "
        f"{HOURS.format('used')} AS used_hours, {HOURS.format('limit_seconds')} AS limit_hours, "
        "CAST(used * 1000000000 // limit_seconds AS DECIMAL(28, 0)) * CAST('0.000000001' AS DECIMAL(10, 9)) AS share, breached, at_risk "
        "FROM (SELECT *, CASE basis WHEN 'business' THEN business_seconds ELSE calendar_seconds END AS used FROM marketplace.clocks) "
        "WHERE stopped_at IS NULL AND (breached = 1 OR at_risk = 1) ORDER BY share DESC, request_id, kind",
        SHOWN,
    ),
    "refused": (
        "SELECT request_id, state, occurred_at, reason, detail FROM marketplace.refused_events ORDER BY occurred_at DESC, request_id, state, reason, detail",
        SHOWN,
    ),
    "issues": (
        "SELECT issue_id, partner_id, category, severity, tags, remarks, first_at, owners, next_due, open_actions, overdue FROM marketplace.issues "
        "ORDER BY overdue DESC, open_actions = 0, next_due, issue_id",
        SHOWN,
    ),
    "stray": (
        "SELECT action_id, partner_id, feedback_id, owner, state, due FROM marketplace.stray_actions ORDER BY due, action_id",
        SHOWN,
    ),
}
"""By name in the report a query, and how many of its rows are shown at most."""


def packet_documents(con: "duckdb.DuckDBPyConnection") -> dict[str, bytes]:
    """The packets that count at the sprint's cut-off and their signatures, byte for byte, by path in the bundle."""
    rows = con.sql(
        "SELECT files.source_id, files.packet, files.document, files.signature FROM marketplace.packets AS packets "
        "JOIN marketplace.packet_files AS files USING (source_id, packet, file) WHERE packets.verified = 1 ORDER BY ALL"
    ).fetchall()
    named = ((f"packets/{source}/{packet}.json", document, signature) for source, packet, document, signature in rows)
    return {path: text.encode() for file, document, signature in named for path, text in ((file, document), (f"{file}.dsse", signature))}


def documents(con: "duckdb.DuckDBPyConnection", window: "Window") -> dict[str, Any]:
    """The documents by path in the bundle, as JSON or as bytes. `con` shows the sprint's tables."""
    return (
        {
            REPORT: {
                "sprint": window.name,
                "as_of": window.as_of,
                "landed": records(con, "SELECT * EXCLUDE (sprint, gaps) FROM marketplace.landed ORDER BY source"),
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
                "partners": records(
                    con,
                    f"SELECT partner_id, kind, basis, {HOURS.format('max(limit_seconds)')} AS limit_hours, count(*) AS promises, "
                    "CAST(sum(breached) AS BIGINT) AS breached, CAST(sum(at_risk) AS BIGINT) AS at_risk, "
                    f"{HOURS.format('percentile_disc(0.5) WITHIN GROUP (ORDER BY calendar_seconds)')} AS median_calendar_hours, "
                    f"{HOURS.format('percentile_disc(0.5) WITHIN GROUP (ORDER BY business_seconds)')} AS median_business_hours "
                    "FROM marketplace.clocks GROUP BY partner_id, kind, basis ORDER BY partner_id, kind",
                ),
                "weeks": records(
                    con,
                    "SELECT week, kind, CAST(sum(started) AS BIGINT) AS started, CAST(sum(breached) AS BIGINT) AS breached, "
                    "CAST(sum(at_risk) AS BIGINT) AS at_risk, CAST(sum(running) AS BIGINT) AS running FROM marketplace.weeks GROUP BY week, kind ORDER BY week, kind",
                ),
                "feedback": records(con, "SELECT remarks, issues, edition, published_at, current FROM marketplace.feedback_report"),
                "tracked": records(con, "SELECT tagged, tracked, overdue, share FROM marketplace.tracked"),
                "ombuds": records(con, "SELECT source_id, records, verified, why FROM marketplace.ombuds ORDER BY source_id"),
            }
            | shortened(con, LISTS)
        }
        | editions(con, "marketplace", window)
        | packet_documents(con)
    )
