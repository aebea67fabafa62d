"""Generated usage of any size with planted faults of known truth, written as a home: landing/, reference/ and truth.json.

Everything follows from the seed: one md5 per event is cut into its random numbers, so a run has no other source of chance. Nothing here
calls the pipeline; the truth is counted while the events are made.
"""

import json
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

from mc_pipelines.durable import write
from mc_pipelines.errors import MissionError
from mc_pipelines.malformed import spoilt
from mc_pipelines.truth import Truth, total

if TYPE_CHECKING:
    import duckdb

Format = Literal["ndjson", "csv", "parquet"]
ZONES = (
    "UTC", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Tokyo", "Europe/Berlin",
    "America/Los_Angeles", "Asia/Kolkata", "Europe/London", "America/Sao_Paulo", "Pacific/Auckland",
)  # fmt: skip
WEEK = (10, 11, 11, 11, 10, 5, 4)  # relative events from Monday to Sunday
HOURS = (2, 1, 1, 1, 1, 2, 3, 5, 8, 11, 12, 12, 10, 11, 12, 12, 11, 9, 7, 6, 5, 4, 4, 3)  # relative, per hour of a day
EVERY = 2000  # one event in so many is planted, per kind
GRACE, LATE_DAYS, PATHS, IDS_UP_TO = 2, 4, 40, 200_000
CLASSES = {
    "duplicates": 1,
    "conflicting_duplicates": 2,
    "late": 3,
    "missing": 4,
    "extra": 5,
    "zone_boundary": 6,
    "schema_drift": 7,
    "malformed": 8,
}
METERS = """meters:
  - {meter: api_requests, type: http.request, aggregation: count, unit: request, floor: 1}
  - {meter: egress_bytes, type: http.request, aggregation: sum, value: bytes, unit: byte, floor: 1}
  - {meter: unique_paths, type: http.request, aggregation: unique_count, value: path, unit: path, floor: 1}
"""


def simulate(
    out: Path, events: int, tenants: int, start: date, days: int, seed: int, format: Format = "parquet", faults: bool = True
) -> Truth:
    """Write `events` usage events of `tenants` over `days` from `start` into `out`, and what is true of them into out/truth.json.

    The same arguments give the same rows and truth. Raises MissionError for impossible arguments and for an `out` that has landed files.
    """
    import duckdb

    if events < 1 or tenants < 1 or days < 1 or format not in ("ndjson", "csv", "parquet"):
        raise MissionError(
            f"simulate: events {events}, tenants {tenants}, days {days}, format {format!r}: at least 1 each, and ndjson, csv or parquet."
        )
    if (out / "landing").exists() and any((out / "landing").rglob("*.*")):
        raise MissionError(f"{out / 'landing'}: has files already; landed files never change. Name another folder.")
    truth = Truth(events, {"usage_events": 0, "gateway_log": 0}, planted=dict.fromkeys((*CLASSES, "out_of_order"), 0))
    _declare(out, tenants, start)
    with duckdb.connect() as con:
        _prepare(con, tenants, start, days)
        at = 0
        for offset, count in enumerate(_per_day(events, start, days)):
            _day(con, truth, out, start + timedelta(days=offset), range(at, at + count), seed, format, faults, events <= IDS_UP_TO)
            at += count
        total(con, truth)
    (out / "truth.json").write_text(json.dumps(asdict(truth), indent=1) + "\n", encoding="utf-8")
    return truth


def _per_day(events: int, start: date, days: int) -> list[int]:
    """Events per day by weekday weight; cumulative rounding, so that they add up."""
    weights = [WEEK[(start + timedelta(days=each)).weekday()] for each in range(days)]
    marks = [events * sum(weights[:each]) // sum(weights) for each in range(days + 1)]
    return [upper - lower for lower, upper in pairwise(marks)]


def tenant_name(index: int) -> str:
    return f"tenant-{index:05d}"


def _declare(out: Path, tenants: int, start: date) -> None:
    folder = out / "reference"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "tenant_id": tenant_name(each),
            "name": f"Tenant {each}",
            "zone": ZONES[each % len(ZONES)],
            "currency": "USD",
            "plan": "simulated",
            "grace_days": GRACE,
        }
        for each in range(tenants)
    ]
    about = {"about": "Generated usage", "owner": "team:data-eng", "days": "daily", "start": str(start)}
    gateway = about | {"counts_repeats": False, "counts_repeats_why": "The generated gateway writes each request once."}
    declared: dict[str, Any] = {
        "tenants": {"tenants": rows},
        "explained": {"explained": []},
        "conflicts": {"conflicts": []},
        "sources": {"sources": {"usage_events": about, "gateway_log": gateway}},
        "calendar": {"start": f"{start.year}-01-01", "end": f"{start.year + 1}-12-31"},
    }
    for name, content in declared.items():
        (folder / f"{name}.yaml").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (folder / "meters.yaml").write_text(METERS, encoding="utf-8")


def _prepare(con: "duckdb.DuckDBPyConnection", tenants: int, start: date, days: int) -> None:
    """Small tables: tenants, the local midnights of each zone, and what is counted on the way."""
    con.execute("CREATE TABLE tenants (tenant INTEGER, tenant_id VARCHAR, zone INTEGER)")
    con.execute(f"INSERT INTO tenants SELECT range, printf('tenant-%05d', range), range % {len(ZONES)} FROM range({tenants})")
    con.execute("CREATE TABLE midnights (zone INTEGER, local_day DATE, begins TIMESTAMP, ends TIMESTAMP, month DATE, cutoff DATE)")
    rows = []
    for index, name in enumerate(ZONES):
        for each in range(-2, days + 3):
            day = start + timedelta(days=each)
            month = day.replace(day=1)
            after = _midnight((month + timedelta(days=32)).replace(day=1), name)
            rows.append(
                [index, day, _midnight(day, name), _midnight(day + timedelta(days=1), name), month, (after + timedelta(days=GRACE)).date()]
            )
    con.executemany("INSERT INTO midnights VALUES (?, ?, ?, ?, ?, ?)", rows)
    con.execute(
        "CREATE TABLE sums (tenant INT, local_day DATE, month DATE, metered BOOL, referenced BOOL, in_time BOOL, n BIGINT, bytes BIGINT)"
    )
    con.execute("CREATE TABLE paths (tenant INT, local_day DATE, month DATE, metered BOOL, referenced BOOL, in_time BOOL, path INT)")


def _midnight(day: date, zone: str) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC).replace(tzinfo=None)


# One md5 a row: one half places the event, the other sizes it (62 bits each). tenant ~ T u^3 and bytes ~ 1/u: few are large.
MAKE = """
CREATE OR REPLACE TEMP TABLE made AS
WITH near AS (
    SELECT * FROM midnights WHERE local_day BETWEEN CAST($day AS DATE) - 1 AND CAST($day AS DATE) + 1
), hashed AS (
    SELECT n, md5_number($seed || '/' || n) AS hash FROM range($first, $last) AS numbers(n)
), drawn AS (
    SELECT n, CAST((hash >> 64) & 4611686018427387903 AS BIGINT) AS a, CAST(hash & 4611686018427387903 AS BIGINT) AS b,
           CASE WHEN $faults THEN n % $every ELSE 0 END AS class
    FROM hashed
), placed AS (
    SELECT n, class, CAST(floor($tenants * pow(CAST(a & 1048575 AS DOUBLE) / 1048576, 3)) AS INTEGER) AS tenant,
           ascii(substr($hours, CAST(1 + (a >> 20) % length($hours) AS INTEGER), 1)) - 65 AS hour, CAST((a >> 30) % 3600000000 AS BIGINT) AS within,
           CAST(200 + 40000000 // (1 + (b & 65535)) AS BIGINT) AS bytes,
           CAST(((b >> 16) % $paths) * ((b >> 24) % $paths) // $paths AS INTEGER) AS path
    FROM drawn
), timed AS (
    SELECT placed.*, tenants.tenant_id, tenants.zone,
           CASE WHEN class = 6 AND mids.begins IS NOT NULL THEN mids.begins + to_microseconds((n // $every) % 3 - 1)
                ELSE CAST($day AS TIMESTAMP) + to_microseconds(((hour + placed.tenant * 7) % 24) * 3600000000 + within) END AS moment
    FROM placed JOIN tenants USING (tenant)
    LEFT JOIN near AS mids ON mids.zone = tenants.zone AND CAST(mids.begins AS DATE) = CAST($day AS DATE)
)
SELECT timed.*, local.local_day, local.month, local.cutoff, CAST($day AS DATE) + CASE WHEN class = 3 THEN $late ELSE 0 END AS landing,
       'sim-' || $seed || '-' || n AS id
FROM timed JOIN near AS local ON local.zone = timed.zone AND moment >= local.begins AND moment < local.ends
"""
# What lands beside the plain rows: file name -> (days after the event's, which rows, its bytes).
PARTS: dict[str, tuple[int, str, str]] = {
    "events": (0, "class NOT IN (3, 4, 7, 8)", "bytes"),
    "drift": (0, "class = 7", "bytes"),
    "late": (LATE_DAYS, "class = 3", "bytes"),
    "copies": (1, "class = 1", "bytes"),
    "conflicts": (1, "class = 2", "bytes + 1"),
}


def _day(
    con: "duckdb.DuckDBPyConnection", truth: Truth, out: Path, day: date, numbers: range, seed: int, format: Format, faults: bool, ids: bool
) -> None:
    tenants = con.sql("SELECT count(*) FROM tenants").fetchall()[0][0]
    hours = "".join(chr(65 + hour) * weight for hour, weight in enumerate(HOURS))
    values = {
        "seed": str(seed),
        "first": numbers.start,
        "last": numbers.stop,
        "faults": faults,
        "every": EVERY,
        "tenants": tenants,
        "hours": hours,
    }
    con.execute(MAKE, values | {"paths": PATHS, "day": str(day), "late": LATE_DAYS})
    for name, part in PARTS.items():
        _land(con, truth, out, day, name, part, format)
    _land_malformed(con, truth, out, day)
    _log(con, truth, out, day, ids)
    by_class = {int(key): int(count) for key, count in con.sql("SELECT class, count(*) FROM made GROUP BY class").fetchall()}
    for name, number in CLASSES.items():
        truth.planted[name] += by_class.get(number, 0) if faults else 0
    disorder = (
        "SELECT count(*) FROM (SELECT moment < lag(moment) OVER (ORDER BY n) AS back FROM made WHERE class NOT IN (3, 4, 7, 8)) WHERE back"
    )
    truth.planted["out_of_order"] += con.sql(disorder).fetchall()[0][0]
    seen = "tenant, local_day, month, class NOT IN (4, 8), class NOT IN (5, 8), landing <= cutoff"
    con.execute(f"INSERT INTO sums SELECT {seen}, count(*), sum(bytes) FROM made WHERE class <> 8 GROUP BY ALL")
    con.execute(f"INSERT INTO paths SELECT DISTINCT {seen}, path FROM made WHERE class <> 8")


def _land(
    con: "duckdb.DuckDBPyConnection", truth: Truth, out: Path, day: date, name: str, part: tuple[int, str, str], format: Format
) -> None:
    after, rows, size = part
    data = {"bytes": size, "path": "'/v1/' || path", "status": "'200'"} | ({"region": "'eu'"} if name == "drift" else {})
    named = "struct_pack(" + ", ".join(f"{key} := {value}" for key, value in data.items()) + ") AS data"
    flat = ", ".join(f'{value} AS "data.{key}"' for key, value in data.items())
    select = f"""SELECT '1.0' AS specversion, id, 'sim/edge' AS source, 'http.request' AS type, tenant_id AS subject,
        strftime(moment, '%Y-%m-%dT%H:%M:%S.%fZ') AS time,
        strftime(moment + to_days({after}) + to_seconds(2), '%Y-%m-%dT%H:%M:%S.%fZ') AS ingested_at, {named if format == "ndjson" else flat}
        FROM (SELECT * FROM made WHERE {rows} ORDER BY n)"""
    count = con.sql(f"SELECT count(*) FROM made WHERE {rows}").fetchall()[0][0]
    truth.rows["usage_events"] += count
    truth.accepted += count
    if count or name == "events":
        how = {"ndjson": "FORMAT json", "csv": "FORMAT csv, HEADER", "parquet": "FORMAT parquet, COMPRESSION zstd"}[format]
        _copy(con, select, out / "landing" / "usage_events" / str(day + timedelta(days=after)) / f"{name}-{day}.{format}", how)


def _land_malformed(con: "duckdb.DuckDBPyConnection", truth: Truth, out: Path, day: date) -> None:
    """Bad rows land as JSON Lines whatever the format of the others: only there can a row be bad in every way."""
    rows = con.sql(f"""
        SELECT n // {EVERY}, id, tenant_id, strftime(moment, '%Y-%m-%dT%H:%M:%S.%fZ'), bytes, '/v1/' || path FROM made WHERE class = 8 ORDER BY n
    """).fetchall()
    lines = []
    for number, ident, tenant, moment, size, path in rows:
        event = {"specversion": "1.0", "id": ident, "source": "sim/edge", "type": "http.request", "subject": tenant, "time": moment}
        event |= {"ingested_at": moment, "data": {"bytes": size, "path": path, "status": "200"}}
        reason, bad = spoilt(event, number)
        truth.malformed[reason] = truth.malformed.get(reason, 0) + 1
        lines.append(bad + b"\n")
    truth.rows["usage_events"] += len(lines)
    truth.quarantined += len(lines)
    if lines:
        write(out / "landing" / "usage_events" / str(day) / f"malformed-{day}.ndjson", b"".join(lines))


def _copy(con: "duckdb.DuckDBPyConnection", select: str, path: Path, how: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(path.name + ".part")
    con.execute(f"COPY ({select}) TO '{str(half).replace(chr(39), chr(39) * 2)}' ({how})")
    half.replace(path)


def _log(con: "duckdb.DuckDBPyConnection", truth: Truth, out: Path, day: date, ids: bool) -> None:
    """The gateway's side: a row per request where ids are asked for, else hourly totals; paths once per tenant and local day."""
    stamp = "strftime({}, '%Y-%m-%dT%H:%M:%S.%fZ')"
    first, hour = ("moment", "date_trunc('hour', moment)") if ids else ("min(moment)", "date_trunc('hour', min(moment))")
    group = "" if ids else "GROUP BY tenant_id, local_day, date_trunc('hour', moment)"
    count, total = ("1", "bytes") if ids else ("count(*)", "sum(bytes)")
    head = f"{stamp.format(hour)} AS hour, {'id' if ids else 'CAST(NULL AS VARCHAR)'} AS id"
    seen = "FROM made WHERE class NOT IN (5, 8)"
    select = f"""
        SELECT tenant_id, 'api_requests' AS meter, {head}, CAST(NULL AS VARCHAR) AS item, CAST({count} AS DECIMAL(38, 9)) AS quantity,
               {stamp.format(first)} AS occurred_at {seen} {group}
        UNION ALL SELECT tenant_id, 'egress_bytes', {head}, NULL, CAST({total} AS DECIMAL(38, 9)), {stamp.format(first)} {seen} {group}
        UNION ALL SELECT tenant_id, 'unique_paths', {stamp.format("date_trunc('hour', min(moment))")}, NULL, '/v1/' || path,
               CAST(1 AS DECIMAL(38, 9)), {stamp.format("min(moment)")} {seen} GROUP BY tenant_id, local_day, path
        ORDER BY ALL"""
    con.execute(f"CREATE OR REPLACE TEMP TABLE logged AS {select}")
    truth.rows["gateway_log"] += con.sql("SELECT count(*) FROM logged").fetchall()[0][0]
    _copy(con, "FROM logged", out / "landing" / "gateway_log" / str(day) / "gateway.parquet", "FORMAT parquet, COMPRESSION zstd")
