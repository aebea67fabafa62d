"""The same work as `script_duckdb`, written for chdb, ClickHouse in a process: landed Parquet files to period totals and variance.

Usage: python -m benchmarks.script_chdb HOME OUT, with any interpreter that has chdb and tzdata.
"""

import csv
import json
import sys
from pathlib import Path

import chdb
from chdb.session import Session

from benchmarks.declared import declared

INSTANT = r"^\\d{4}-\\d{2}-\\d{2}[T ]\\d{2}:\\d{2}:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]\\d{2}:\\d{2})$"
TENANTS = "tenant_id String, zone String, start_utc DateTime64(6, 'UTC'), end_utc DateTime64(6, 'UTC'), cutoff Date"
DAYS = "zone String, utc_day Date, local_day Date, begins DateTime64(6, 'UTC'), ends DateTime64(6, 'UTC')"


def declare(home: Path, out: Path) -> None:
    """Tenants and local days as CSV beside the results."""
    for name, lines in zip(("tenants", "days"), declared(home), strict=True):
        with (out / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(lines)


def instant(column: str) -> str:
    return f"if(match(assumeNotNull({column}), '{INSTANT}'), parseDateTime64BestEffortOrNull(assumeNotNull({column}), 6, 'UTC'), NULL)"


EVENTS = f"""
CREATE TABLE events ENGINE = Memory AS
WITH typed AS (
    SELECT toDate(splitByChar('/', _path)[-2]) AS landing_day, subject AS tenant_id, source, id, type, `data.path` AS path,
           {instant("time")} AS occurred_at, {instant("ingested_at")} AS ingested,
           toDecimal128OrNull(toString(`data.bytes`), 9) AS bytes, `data.bytes` IS NOT NULL AND bytes IS NULL AS bad_bytes, `data.status` AS status
    FROM file('{{landing}}/usage_events/*/*.parquet', Parquet)
),
once AS (
    SELECT landing_day, tenant_id, occurred_at, bytes, path, type
    FROM typed
    WHERE lengthUTF8(id) BETWEEN 1 AND 500 AND lengthUTF8(source) BETWEEN 1 AND 500
      AND match(type, '^(http\\\\.request|llm\\\\.completion|usage\\\\.[a-z0-9_]+)$')
      AND occurred_at IS NOT NULL AND ingested IS NOT NULL
      AND NOT bad_bytes AND coalesce(bytes >= 0, true) AND coalesce(match(status, '^[1-5][0-9][0-9]$'), true)
      AND tenant_id IN (SELECT tenant_id FROM tenants)
    ORDER BY landing_day, ingested
    LIMIT 1 BY tenant_id, source, id
)
SELECT once.tenant_id AS tenant_id, once.bytes AS bytes, once.path AS path, days.local_day AS local_day,
       once.occurred_at >= tenants.start_utc AND once.occurred_at < tenants.end_utc AND once.landing_day <= tenants.cutoff AS closed
FROM once
JOIN tenants ON tenants.tenant_id = once.tenant_id
JOIN days ON days.zone = tenants.zone AND days.utc_day = toDate(assumeNotNull(once.occurred_at), 'UTC')
WHERE once.type = 'http.request' AND once.occurred_at >= days.begins AND once.occurred_at < days.ends
"""
COUNTED = """
CREATE TABLE {name} ENGINE = Memory AS
SELECT {keys}, counted.1 AS meter, counted.2 AS quantity
FROM (
    SELECT {keys}, toDecimal128(count(), 9) AS n, sum(bytes) AS b, toDecimal128(uniqExact(path), 9) AS u
    FROM events WHERE {rows} GROUP BY {keys}
)
ARRAY JOIN [('api_requests', n), ('egress_bytes', coalesce(b, 0)), ('unique_paths', u)] AS counted
"""
GATEWAY = f"""
CREATE TABLE gateway ENGINE = Memory AS
WITH typed AS (
    SELECT tenant_id, meter, item, toDecimal128OrNull(toString(quantity), 9) AS amount,
           coalesce({instant("occurred_at")}, {instant("hour")}) AS moment
    FROM file('{{landing}}/gateway_log/*/*.parquet', Parquet)
    WHERE tenant_id IS NOT NULL AND match(meter, '^[a-z][a-z0-9_]*$') AND hour IS NOT NULL
)
SELECT typed.tenant_id AS tenant_id, typed.meter AS meter,
       if(any(typed.meter) = 'unique_paths', toDecimal128(uniqExact(typed.item), 9), sum(typed.amount)) AS reference
FROM typed
JOIN tenants ON tenants.tenant_id = typed.tenant_id
WHERE typed.amount IS NOT NULL AND typed.moment >= tenants.start_utc AND typed.moment < tenants.end_utc
GROUP BY typed.tenant_id, typed.meter
"""
VARIANCE = """
CREATE TABLE variance ENGINE = Memory AS
SELECT coalesce(nullIf(totals.tenant_id, ''), gateway.tenant_id) AS tenant_id, coalesce(nullIf(totals.meter, ''), gateway.meter) AS meter,
       coalesce(totals.quantity, 0) AS metered, coalesce(gateway.reference, 0) AS reference,
       toFloat64(abs(metered - reference)) / toFloat64(greatest(reference, toDecimal128(1, 9))) AS ratio
FROM totals
FULL JOIN gateway ON gateway.tenant_id = totals.tenant_id AND gateway.meter = totals.meter
"""


def main(home: Path, out: Path) -> None:
    declare(home, out)
    session = Session(str(out / "chdb"))
    session.query("SET schema_inference_mode = 'union'")
    for name, columns in (("tenants", TENANTS), ("days", DAYS)):
        session.query(f"CREATE TABLE {name} ENGINE = Memory AS SELECT * FROM file('{out / name}.csv', CSV, $${columns}$$)")
    landing = str((home / "landing").resolve())
    session.query(EVENTS.replace("{landing}", landing))
    session.query(COUNTED.format(name="daily", keys="tenant_id, local_day", rows="true"))
    session.query(COUNTED.format(name="totals", keys="tenant_id", rows="closed"))
    session.query(GATEWAY.replace("{landing}", landing))
    session.query(VARIANCE)
    for table in ("daily", "totals", "variance"):
        session.query(
            f"SELECT * FROM {table} ORDER BY ALL INTO OUTFILE '{out / table}.parquet' FORMAT Parquet SETTINGS output_format_parquet_compression_method = 'zstd'"
        )
    shown = session.query(
        "SELECT tenant_id, meter, toString(metered), toString(reference) FROM variance ORDER BY ALL", "JSONCompactStrings"
    )
    counts = session.query("SELECT (SELECT count() FROM events), (SELECT count() FROM daily)", "JSONCompactStrings")
    events, daily = json.loads(str(counts))["data"][0]
    result = {"totals": json.loads(str(shown))["data"], "events": int(events), "daily": int(daily), "version": chdb.__version__}
    (out / "result.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
