"""Millions of generated decisions as one Parquet file, for measuring: the columns of accepted decisions, and nothing planted."""

from datetime import date
from pathlib import Path

from mc_pipelines.contracts import literal
from mc_pipelines.engine import connect
from mc_pipelines.errors import MissionError
from mc_pipelines.predictive.simulated_truth import BEFORE, LIVE, MODEL

FIRST, DAYS = date(2026, 4, 10), 26
# One md5 a row: one half places the decision, the other says what it is. tenant ~ T u^3: few are large.
MAKE = """
WITH hashed AS (SELECT n, md5_number($seed || '/' || n) AS hash FROM range($decisions) AS numbers(n)),
drawn AS (SELECT n, CAST((hash >> 64) & 4611686018427387903 AS BIGINT) AS a, CAST(hash & 4611686018427387903 AS BIGINT) AS b FROM hashed),
placed AS (
    SELECT n, b, CAST(floor($tenants * pow(CAST(a & 1048575 AS DOUBLE) / 1048576, 3)) AS INTEGER) AS tenant,
           CAST($first AS TIMESTAMP) + to_microseconds(CAST(floor($days * 86400000000::DOUBLE / $decisions * n) AS BIGINT) + (a >> 20) % 1000) AS occurred_at,
           CASE WHEN b % 100 < 62 THEN 5501 + (b >> 8) % 4500 ELSE (b >> 8) % 5501 END AS points
    FROM drawn
)
SELECT CAST(occurred_at AS DATE) AS landing_day, occurred_at, printf('d-%s-%012d', $seed, n) AS decision_id, printf('tenant-%05d', tenant) AS tenant_id,
       $model AS model, CASE WHEN tenant % 12 = 7 THEN $before ELSE $live END AS model_version, sha256($seed || '/inputs/' || n) AS inputs_digest,
       CASE WHEN points < 4500 THEN 'low' WHEN points < 5500 THEN 'medium' ELSE 'high' END AS outcome,
       CAST(CAST(points AS DECIMAL(38, 0)) * CAST(0.0001 AS DECIMAL(4, 4)) AS DECIMAL(38, 9)) AS score,
       CASE WHEN points < 4500 THEN 'low_score' WHEN points < 5500 THEN 'edge' ELSE 'high_score' END AS stratum,
       CASE (b >> 24) % 1000 WHEN 0 THEN 'error' WHEN 1 THEN 'refused' ELSE 'ok' END AS status,
       CAST(30 + 12000 // (50 + (b >> 34) % 400) AS DECIMAL(38, 9)) AS latency_ms, CAST(1 AS DECIMAL(38, 9)) AS cost
FROM placed ORDER BY n
"""


def simulate_big(path: Path, decisions: int, tenants: int, seed: int) -> None:
    """Write `decisions` decisions of `tenants` over 26 days from 10 April 2026, in order of their instants, as the Parquet file `path`.

    The same arguments give the same rows. MissionError for numbers below 1, and where the file is there.
    """
    if decisions < 1 or tenants < 1 or path.exists():
        raise MissionError(f"simulate_big: {decisions} decisions, {tenants} tenants, {path}: at least 1 each, and a new file.")
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {"seed": str(seed), "decisions": decisions, "tenants": tenants, "first": str(FIRST), "days": DAYS}
    half = path.with_name(path.name + ".part")
    with connect() as con:
        con.execute(
            f"COPY ({MAKE}) TO {literal(half)} (FORMAT parquet, COMPRESSION zstd)",
            values | {"model": MODEL, "before": BEFORE, "live": LIVE},
        )
    half.replace(path)
