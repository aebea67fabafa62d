"""The same work as `script_duckdb`, written for Spark on this machine: landed Parquet files to period totals and variance.

Usage: python -m benchmarks.script_spark HOME OUT, with any interpreter that has pyspark and tzdata, and Java on the path.
"""

import json
import os
import sys
from pathlib import Path

import pyspark
from pyspark.sql import SparkSession

from benchmarks.declared import declared

INSTANT = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:[0-5]\d(\.\d{1,6})?(Z|[+-]\d{2}:\d{2})$"
TENANTS = "tenant_id STRING, zone STRING, start_utc TIMESTAMP_NTZ, end_utc TIMESTAMP_NTZ, cutoff DATE"
DAYS = "zone STRING, utc_day DATE, local_day DATE, begins TIMESTAMP_NTZ, ends TIMESTAMP_NTZ"
OPTIONS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.shuffle.partitions": "8",
    "spark.driver.memory": "8g",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.ui.enabled": "false",
}


def instant(column: str) -> str:
    return f"CAST(try_cast(CASE WHEN {column} RLIKE r'{INSTANT}' THEN {column} END AS TIMESTAMP_LTZ) AS TIMESTAMP_NTZ)"


EVENTS = f"""
WITH typed AS (
    SELECT CAST(element_at(split(file_path, '/'), -2) AS DATE) AS landing_day, subject AS tenant_id, source, id, type,
           `data.path` AS path, `data.status` AS status, {instant("time")} AS occurred_at, {instant("ingested_at")} AS ingested,
           try_cast(`data.bytes` AS DECIMAL(38, 9)) AS bytes, `data.bytes` AS sent
    FROM landed
),
accepted AS (
    SELECT * FROM typed
    WHERE length(id) BETWEEN 1 AND 500 AND length(source) BETWEEN 1 AND 500
      AND type RLIKE r'^(http\\.request|llm\\.completion|usage\\.[a-z0-9_]+)$'
      AND occurred_at IS NOT NULL AND ingested IS NOT NULL AND (sent IS NULL OR bytes IS NOT NULL)
      AND coalesce(bytes >= 0, true) AND coalesce(status RLIKE '^[1-5][0-9][0-9]$', true)
      AND tenant_id IN (SELECT tenant_id FROM tenants)
),
once AS (
    SELECT * FROM accepted
    QUALIFY row_number() OVER (PARTITION BY tenant_id, source, id ORDER BY landing_day, ingested) = 1
)
SELECT once.tenant_id, once.bytes, once.path, days.local_day,
       once.occurred_at >= tenants.start_utc AND once.occurred_at < tenants.end_utc AND once.landing_day <= tenants.cutoff AS closed
FROM once
JOIN tenants ON tenants.tenant_id = once.tenant_id
JOIN days ON days.zone = tenants.zone AND days.utc_day = CAST(once.occurred_at AS DATE)
 AND once.occurred_at >= days.begins AND once.occurred_at < days.ends
WHERE once.type = 'http.request'
"""
COUNTED = """
SELECT {keys}, meter, quantity FROM (
    SELECT {keys}, CAST(count(*) AS DECIMAL(38, 9)) AS api_requests, coalesce(sum(bytes), 0) AS egress_bytes,
           CAST(count(DISTINCT path) AS DECIMAL(38, 9)) AS unique_paths
    FROM events WHERE {rows} GROUP BY {keys}
) UNPIVOT (quantity FOR meter IN (api_requests, egress_bytes, unique_paths))
"""
GATEWAY = f"""
WITH typed AS (
    SELECT tenant_id, meter, item, try_cast(quantity AS DECIMAL(38, 9)) AS quantity, coalesce({instant("occurred_at")}, {instant("hour")}) AS moment
    FROM logged
    WHERE tenant_id IS NOT NULL AND meter RLIKE '^[a-z][a-z0-9_]*$' AND hour IS NOT NULL
)
SELECT typed.tenant_id, typed.meter,
       CASE WHEN typed.meter = 'unique_paths' THEN CAST(count(DISTINCT typed.item) AS DECIMAL(38, 9)) ELSE sum(typed.quantity) END AS reference
FROM typed
JOIN tenants ON tenants.tenant_id = typed.tenant_id AND typed.moment >= tenants.start_utc AND typed.moment < tenants.end_utc
WHERE typed.quantity IS NOT NULL
GROUP BY typed.tenant_id, typed.meter
"""
VARIANCE = """
SELECT tenant_id, meter, coalesce(totals.quantity, 0) AS metered, coalesce(gateway.reference, 0) AS reference,
       abs(coalesce(totals.quantity, 0) - coalesce(gateway.reference, 0)) / greatest(coalesce(gateway.reference, 0), 1) AS ratio
FROM totals
FULL JOIN gateway USING (tenant_id, meter)
"""


def main(home: Path, out: Path) -> None:
    builder = SparkSession.builder.master(f"local[{os.cpu_count()}]")
    for name, value in {**OPTIONS, "spark.local.dir": str(out), "spark.sql.warehouse.dir": str(out)}.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    for view, columns, told in zip(("tenants", "days"), (TENANTS, DAYS), declared(home), strict=True):
        spark.createDataFrame(told, columns).createOrReplaceTempView(view)
    for view, source in (("landed", "usage_events"), ("logged", "gateway_log")):
        files = spark.read.option("mergeSchema", "true").parquet(f"{home}/landing/{source}/*/*.parquet")
        files.select("*", "_metadata.file_path").createOrReplaceTempView(view)
    spark.sql(EVENTS).cache().createOrReplaceTempView("events")
    for view, keys, rows in (("daily", "tenant_id, local_day", "true"), ("totals", "tenant_id", "closed")):
        spark.sql(COUNTED.format(keys=keys, rows=rows)).cache().createOrReplaceTempView(view)
    spark.sql(GATEWAY).createOrReplaceTempView("gateway")
    spark.sql(VARIANCE).cache().createOrReplaceTempView("variance")
    for table in ("daily", "totals", "variance"):
        spark.table(table).orderBy(*spark.table(table).columns[:3]).coalesce(1).write.option("compression", "zstd").parquet(
            f"{out}/{table}.parquet"
        )
    shown = spark.sql("SELECT tenant_id, meter, CAST(metered AS STRING), CAST(reference AS STRING) FROM variance ORDER BY ALL").collect()
    counts = spark.sql("SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM daily)").collect()[0]
    result = {"totals": [list(row) for row in shown], "events": counts[0], "daily": counts[1], "version": pyspark.__version__}
    (out / "result.json").write_text(json.dumps(result), encoding="utf-8")
    java = spark.sparkContext._gateway.proc  # its CPU and memory are counted only where it is waited for
    spark.stop()
    java.stdin.close()
    java.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
