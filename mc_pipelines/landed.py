"""What landed for a sprint, per source of a deliverable, so that a day that is missing and a file that was not read are seen by a gate.

Which sources these are follows from what the table declares that it reads. Files are read in `intake.py`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.runner import Work

FACTS = "landing."
LANDED = """
    WITH days AS (
        SELECT source, landing_day, sum(rows_in) AS rows_in, sum(accepted) AS accepted, sum(quarantined) AS quarantined,
               max(CASE WHEN left_because IS NULL THEN 0 ELSE 1 END) AS unread
        FROM ({facts})
        GROUP BY source, landing_day
    ),
    sprints AS (
        SELECT sprint, CAST(start_utc AS DATE) AS first_day, CAST(end_utc - INTERVAL 1 MICROSECOND AS DATE) AS last_day, cutoff_day
        FROM reference.sprints
        WHERE sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
    ),
    landed AS (
        SELECT sprints.sprint, days.source, sum(days.unread) AS unread_days,
               sum(days.rows_in) FILTER (WHERE days.landing_day >= sprints.first_day) AS rows_in,
               sum(days.accepted) FILTER (WHERE days.landing_day >= sprints.first_day) AS accepted,
               sum(days.quarantined) FILTER (WHERE days.landing_day >= sprints.first_day) AS quarantined
        FROM sprints
        JOIN days ON days.landing_day <= sprints.cutoff_day
        GROUP BY sprints.sprint, days.source
    ),
    -- An empty file says that there was nothing; one of which not a row was accepted says nothing.
    told AS (SELECT source, landing_day FROM days WHERE accepted > 0 OR coalesce(rows_in, 0) = 0),
    missing AS (
        SELECT due.sprint, due.source, count(*) AS days
        FROM (
            SELECT sprints.sprint, sources.source,
                   CAST(unnest(generate_series(greatest(sprints.first_day, sources.start), sprints.last_day, INTERVAL 1 DAY)) AS DATE) AS day
            FROM sprints
            JOIN reference.sources AS sources ON sources.daily
        ) AS due
        LEFT JOIN told ON told.source = due.source AND told.landing_day = due.day
        WHERE told.source IS NULL
        GROUP BY due.sprint, due.source
    ),
    counted AS (
        SELECT sprints.sprint, sources.source, landed.unread_days, landed.rows_in, landed.accepted, landed.quarantined,
               coalesce(missing.days, 0) AS missing_days
        FROM sprints
        CROSS JOIN reference.sources AS sources
        LEFT JOIN landed ON landed.sprint = sprints.sprint AND landed.source = sources.source
        LEFT JOIN missing ON missing.sprint = sprints.sprint AND missing.source = sources.source
        -- Where a source lands when there is something, nothing ever landed is no evidence of anything.
        WHERE sources.deliverable = $deliverable AND (sources.daily OR landed.source IS NOT NULL)
    )
    SELECT sprint, source, CAST(missing_days AS BIGINT) AS missing_days, CAST(coalesce(unread_days, 0) AS BIGINT) AS unread_days,
           CAST(missing_days + coalesce(unread_days, 0) AS BIGINT) AS gaps, CAST(coalesce(rows_in, 0) AS BIGINT) AS rows_in,
           CAST(coalesce(accepted, 0) AS BIGINT) AS accepted, CAST(coalesce(quarantined, 0) AS BIGINT) AS quarantined
    FROM counted
    ORDER BY sprint, source
"""


def by_sprint(work: "Work") -> "duckdb.DuckDBPyRelation":
    """A row for every source of the table's deliverable that lands daily or has landed until the cut-off, per sprint of `work`."""
    sources = [table.removeprefix(FACTS) for table in sorted(work.model.deps) if table.startswith(FACTS)]
    return landed(work.con, sources, {**work.params, "deliverable": work.model.deliverable})


def landed(con: "duckdb.DuckDBPyConnection", sources: Sequence[str], params: Mapping[str, str]) -> "duckdb.DuckDBPyRelation":
    """The same of the files that `con` knows of each source; `params` are the first and the last sprint and the deliverable."""
    facts = " UNION ALL ".join(
        f"SELECT '{source}' AS source, landing_day, rows_in, accepted, quarantined, left_because FROM {FACTS}{source}" for source in sources
    )
    return con.sql(LANDED.replace("{facts}", facts), params=dict(params))
