"""Copies of a record that say something else: of each the first landed counts, and what was left out is named here.

A record is what the grain of its staging table names, the landing day apart. Which sources these are follows from what the table declares that it reads.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.runner import Work

STAGING = "staging."
SHOWN = "source, record, copies, versions, first_day, last_day"
"""What a report says of a record whose copies differ."""
FOUND = """
    SELECT sprints.sprint, '{source}' AS source, {identity} AS record, count(*) AS copies, count(DISTINCT copies.content) AS versions,
           min(copies.landing_day) AS first_day, max(copies.landing_day) AS last_day
    FROM (
        -- Few records come more than once; only those, and what shares a hash with another, are looked at closely.
        SELECT landing_day, {columns}, row(*COLUMNS(* EXCLUDE (landing_day, replay_of))) AS content
        FROM {table}
        WHERE hash({columns}) IN (SELECT hash({columns}) FROM {table} GROUP BY ALL HAVING count(*) > 1)
    ) AS copies
    JOIN reference.sprints AS sprints ON copies.landing_day <= sprints.cutoff_day
    WHERE sprints.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
    GROUP BY sprints.sprint, {columns}, sprints.start_utc
    HAVING count(DISTINCT copies.content) > 1 AND max(copies.landing_day) >= CAST(sprints.start_utc AS DATE)
"""
"""Records with different copies until a sprint's cut-off, one of which landed since it began."""
COUNTED = """
    SELECT sprints.sprint, sources.source, count(conflicts.record) AS conflicts
    FROM reference.sprints AS sprints
    JOIN reference.sources AS sources ON sources.deliverable = $deliverable
    LEFT JOIN {conflicts} AS conflicts ON conflicts.sprint = sprints.sprint AND conflicts.source = sources.source
    WHERE sprints.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
    GROUP BY sprints.sprint, sources.source
    ORDER BY sprints.sprint, sources.source
"""


def conflicts(work: "Work") -> "duckdb.DuckDBPyRelation":
    """(sprint, source, record, copies, versions, first_day, last_day); `record` is its identity as text, the parts joined by " / "."""
    models = [work.shop.catalog.models[table] for table in sorted(work.model.deps) if table.startswith(STAGING)]
    return work.con.sql(" UNION ALL ".join(map(_found, models)), params=work.params).order("sprint, source, record")


def _found(model: "Model") -> str:
    names = [f'"{name}"' for name in model.header.grain if name != model.header.window]
    shown = f"concat_ws(' / ', {', '.join(names)})"
    return FOUND.format(source=model.key.removeprefix(STAGING), table=model.key, columns=", ".join(names), identity=shown)


def counted(work: "Work") -> "duckdb.DuckDBPyRelation":
    """A row for every source of the table's deliverable and sprint: how many of its records have copies that differ."""
    deliverable = work.model.deliverable
    return work.con.sql(COUNTED.format(conflicts=f"{deliverable}.conflicts"), params={**work.params, "deliverable": deliverable})
