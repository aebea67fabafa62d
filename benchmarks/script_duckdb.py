"""What a competent user would write by hand: one DuckDB script from landed files to period totals and variance, nothing of the project.

It reads the same files, refuses the same rows by the same rules (without keeping the reasons), counts an identity once by its first
landing, and writes three Parquet files. `--keep` also writes the counted events, as one would who must answer for a figure later.
Usage: python -m benchmarks.script_duckdb HOME OUT [--keep]
"""

import json
import sys
from os import environ
from pathlib import Path

import duckdb

from benchmarks.declared import declared

INSTANT = r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:[0-5]\d(\.\d{1,6})?(Z|[+-]\d{2}:\d{2})"


def declare(con: duckdb.DuckDBPyConnection, home: Path) -> None:
    """Tenants with the bounds of their month, and the calendar of their zones."""
    con.execute("CREATE TABLE tenants (tenant_id VARCHAR, zone VARCHAR, start_utc TIMESTAMP, end_utc TIMESTAMP, cutoff DATE)")
    con.execute("CREATE TABLE days (zone VARCHAR, utc_day DATE, local_day DATE, start_utc TIMESTAMP, end_utc TIMESTAMP)")
    for table, rows in zip(("tenants", "days"), declared(home), strict=True):
        columns = [list(column) for column in zip(*rows, strict=True)]
        con.execute(f"INSERT INTO {table} SELECT unnest(?), unnest(?), unnest(?), unnest(?), unnest(?)", columns)


def landed(home: Path) -> str:
    """The usage files as one relation with the columns that are read. Files of bad rows are left out, which spares the script that work."""
    folder = home / "landing" / "usage_events"
    if not any(folder.glob("*/*.parquet")):
        files = [str(path) for path in sorted(folder.glob("*/*.ndjson")) if not path.name.startswith("malformed")]
        columns = dict.fromkeys(("id", "source", "type", "subject", "time", "ingested_at"), "VARCHAR")
        text = ", ".join(f"{name}: '{kind}'" for name, kind in columns.items())
        return (
            "(SELECT * EXCLUDE (data), data.bytes AS bytes, data.path AS path, data.status AS status "
            f"FROM read_ndjson({files}, filename = true, "
            f"columns = {{{text}, data: 'STRUCT(bytes VARCHAR, path VARCHAR, status VARCHAR)'}}))"
        )
    return (
        '(SELECT *, "data.bytes" AS bytes, "data.path" AS path, "data.status" AS status '
        f"FROM read_parquet('{folder}/*/*.parquet', filename = true, union_by_name = true))"
    )


EVENTS = f"""
CREATE TEMP TABLE events AS
WITH typed AS (
    SELECT CAST(split_part(filename, '/', -2) AS DATE) AS landing_day, subject AS tenant_id, source, id, type, path,
           CAST(try_cast(CASE WHEN regexp_full_match(time, '{INSTANT}') THEN time END AS TIMESTAMPTZ) AT TIME ZONE 'UTC' AS TIMESTAMP) AS occurred_at,
           CAST(try_cast(CASE WHEN regexp_full_match(ingested_at, '{INSTANT}') THEN ingested_at END AS TIMESTAMPTZ) AT TIME ZONE 'UTC' AS TIMESTAMP)
               AS ingested_at,
           try_cast(bytes AS DECIMAL(38, 9)) AS bytes, bytes IS NOT NULL AND try_cast(bytes AS DECIMAL(38, 9)) IS NULL AS bad_bytes, status
    FROM {{landed}}
),
once AS (
    SELECT *
    FROM typed
    WHERE length(id) BETWEEN 1 AND 500 AND length(source) BETWEEN 1 AND 500
      AND regexp_full_match(type, 'http\\.request|llm\\.completion|usage\\.[a-z0-9_]+')
      AND occurred_at IS NOT NULL AND ingested_at IS NOT NULL
      AND NOT bad_bytes AND coalesce(bytes >= 0, true) AND coalesce(regexp_full_match(status, '[1-5][0-9][0-9]'), true)
      AND tenant_id IN (SELECT tenant_id FROM tenants)
    QUALIFY row_number() OVER (PARTITION BY tenant_id, source, id ORDER BY landing_day, ingested_at) = 1
)
SELECT once.tenant_id, once.source, once.id, once.landing_day, once.occurred_at, once.bytes, once.path, once.status, days.local_day,
       once.occurred_at >= tenants.start_utc AND once.occurred_at < tenants.end_utc AND once.landing_day <= tenants.cutoff AS closed
FROM once
JOIN tenants USING (tenant_id)
JOIN days ON days.zone = tenants.zone AND days.utc_day = CAST(once.occurred_at AS DATE)
 AND once.occurred_at >= days.start_utc AND once.occurred_at < days.end_utc
WHERE once.type = 'http.request'
"""
# Three meters from one pass: a row per group, then one row per meter.
COUNTED = """
WITH counted AS (
    SELECT {keys}, CAST(count(*) AS DECIMAL(38, 9)) AS api_requests, CAST(sum(bytes) AS DECIMAL(38, 9)) AS egress_bytes,
           CAST(count(DISTINCT path) AS DECIMAL(38, 9)) AS unique_paths
    FROM events
    WHERE {rows}
    GROUP BY {keys}
)
UNPIVOT counted ON api_requests, egress_bytes, unique_paths INTO NAME meter VALUE quantity
"""
GATEWAY = """
CREATE TEMP TABLE gateway AS
WITH typed AS (
    SELECT tenant_id, meter, item, try_cast(quantity AS DECIMAL(38, 9)) AS quantity,
           CAST(coalesce(try_cast(occurred_at AS TIMESTAMPTZ), try_cast(hour AS TIMESTAMPTZ)) AT TIME ZONE 'UTC' AS TIMESTAMP) AS moment
    FROM read_parquet('{folder}/*/*.parquet')
    WHERE tenant_id IS NOT NULL AND regexp_full_match(meter, '[a-z][a-z0-9_]*') AND hour IS NOT NULL
)
SELECT typed.tenant_id, typed.meter,
       CAST(CASE WHEN typed.meter = 'unique_paths' THEN count(DISTINCT typed.item) ELSE sum(typed.quantity) END AS DECIMAL(38, 9)) AS reference
FROM typed
JOIN tenants ON tenants.tenant_id = typed.tenant_id AND typed.moment >= tenants.start_utc AND typed.moment < tenants.end_utc
WHERE typed.quantity IS NOT NULL
GROUP BY typed.tenant_id, typed.meter
"""
VARIANCE = """
CREATE TEMP TABLE variance AS
SELECT tenant_id, meter, coalesce(totals.quantity, 0) AS metered, coalesce(gateway.reference, 0) AS reference,
       abs(coalesce(totals.quantity, 0) - coalesce(gateway.reference, 0)) / greatest(coalesce(gateway.reference, 0), 1) AS ratio
FROM totals
FULL JOIN gateway USING (tenant_id, meter)
"""


def main(home: Path, out: Path, keep: bool) -> None:
    con = duckdb.connect(config={"temp_directory": str(out / "spill")})
    con.execute("SET TimeZone = 'UTC'")
    if memory := environ.get("MISSION_MEMORY"):
        con.execute("SET memory_limit = ?", [memory])
    declare(con, home)
    con.execute(EVENTS.replace("{landed}", landed(home)))
    con.execute("CREATE TEMP TABLE daily AS " + COUNTED.format(keys="tenant_id, local_day", rows="true"))
    con.execute("CREATE TEMP TABLE totals AS " + COUNTED.format(keys="tenant_id", rows="closed"))
    con.execute(GATEWAY.format(folder=home / "landing" / "gateway_log"))
    con.execute(VARIANCE)
    for table in ("daily", "totals", "variance", *(["events"] if keep else [])):
        con.execute(f"COPY (FROM {table} ORDER BY ALL) TO '{out / table}.parquet' (FORMAT parquet, COMPRESSION zstd)")
    rows = con.sql("SELECT tenant_id, meter, CAST(metered AS VARCHAR), CAST(reference AS VARCHAR) FROM variance ORDER BY ALL").fetchall()
    counts = con.sql("SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM daily)").fetchall()[0]
    result = {"totals": rows, "events": counts[0], "daily": counts[1]}
    (out / "result.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    folders = [Path(argument) for argument in sys.argv[1:] if argument != "--keep"]
    main(folders[0], folders[1], "--keep" in sys.argv)
