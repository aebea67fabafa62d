"""The committed samples, read twice by code that shares nothing: as usage events (metering) and as the gateway's log (reference).

The metering path parses line by line in Python; the gateway path is SQL over the raw text. Which organisation a client belongs to, and when a
trace is replayed, is declared in data/samples/organisations.yaml. Faults and files are `demo.py`'s.
"""

import csv
import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mc_pipelines.home import CHECKOUT

if TYPE_CHECKING:
    import duckdb

SAMPLES = CHECKOUT / "data" / "samples"
ACCESS_LOG = SAMPLES / "access_log.gz"
LLM_TRACES = {
    "azure_llm_conv": SAMPLES / "azure_llm_conv.csv.gz",
    "azure_llm_code": SAMPLES / "azure_llm_code.csv.gz",
    "mooncake_conversation": SAMPLES / "mooncake_conversation.jsonl.gz",
}
ACCESS_SOURCE = "access-log"
LINE = re.compile(r'^(?P<client>\S+) \S+ \S+ \[(?P<time>[^\]]+)\] "(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) (?P<bytes>\d+|-)')
LOG_DAYS = (date(2015, 5, 17), date(2015, 5, 18), date(2015, 5, 19), date(2015, 5, 20))
Event = dict[str, Any]


@dataclass(frozen=True)
class Organisation:
    """A tenant of the sample: client hashes from `low` (inclusive) to `high` (exclusive)."""

    tenant_id: str
    low: str
    high: str


@dataclass(frozen=True)
class Replay:
    """One replay of an LLM trace: its tenant, and the instant at which its first row happens."""

    trace: str
    tenant_id: str
    starts: datetime


@cache
def organisations() -> tuple[Organisation, ...]:
    declared = yaml.safe_load((SAMPLES / "organisations.yaml").read_text(encoding="utf-8"))
    return tuple(Organisation(each["tenant_id"], each["from"], each["to"]) for each in declared["organisations"])


@cache
def replays() -> tuple[Replay, ...]:
    declared = yaml.safe_load((SAMPLES / "organisations.yaml").read_text(encoding="utf-8"))
    return tuple(
        Replay(each["trace"], each["tenant_id"], datetime.fromisoformat(start)) for each in declared["traces"] for start in each["starts"]
    )


def tenant_of(client: str) -> str:
    """The organisation whose range holds a client hash."""
    return next(each.tenant_id for each in organisations() if each.low <= client < each.high)


def log_lines() -> list[str]:
    """The lines of the access log, in file order, without line ends."""
    return gzip.decompress(ACCESS_LOG.read_bytes()).decode("utf-8", "surrogateescape").splitlines()


def digest(*parts: str) -> str:
    """sha256 hex of the parts joined by U+001F: the identity of a replayed event."""
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def access_events(lines: Sequence[str], shift: Mapping[date, Sequence[date]], by_client: bool = False) -> Iterator[Event]:
    """Usage events of the access log; `shift` maps each day of the log to the days that it is replayed on.

    A copy of a line keeps its identity. `by_client` makes every client hash a tenant of its own.
    """
    for line in lines:
        found = LINE.match(line)
        if found is None:
            raise ValueError(f"not a line of the combined log format: {line[:200]}")
        happened = datetime.strptime(found["time"], "%d/%b/%Y:%H:%M:%S %z").astimezone(UTC)
        tenant = found["client"] if by_client else tenant_of(found["client"])
        data: dict[str, Any] = {"path": found["request"].split(" ")[1], "status": found["status"]}
        if found["bytes"] != "-":
            data["bytes"] = int(found["bytes"])
        line_digest = hashlib.sha256(line.encode("utf-8", "surrogateescape")).hexdigest()
        for day in shift.get(happened.date(), ()):
            moved = datetime.combine(day, happened.timetz())
            yield _event("http.request", tenant, ACCESS_SOURCE, digest("access_log", line_digest, day.isoformat()), moved, data)


def _event(kind: str, tenant: str, source: str, identity: str, at: datetime, data: dict[str, Any]) -> Event:
    return {
        "specversion": "1.0",
        "id": identity,
        "source": source,
        "type": kind,
        "subject": tenant,
        "time": at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "ingested_at": (at + timedelta(seconds=2)).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "data": data,
    }


def llm_events(replay: Replay) -> Iterator[Event]:
    """Usage events of one replay of an LLM trace: the time since the trace's first row is kept."""
    rows = _mooncake_rows() if replay.trace == "mooncake_conversation" else _azure_rows(LLM_TRACES[replay.trace])
    for number, (since, context, generated, blocks) in enumerate(rows):
        data: dict[str, Any] = {"context_tokens": context, "generated_tokens": generated}
        if blocks is not None:
            data["blocks"] = blocks
        identity = digest(replay.trace, str(number), replay.starts.date().isoformat())
        yield _event("llm.completion", replay.tenant_id, replay.trace, identity, replay.starts + since, data)


def _azure_rows(path: Path) -> Iterator[tuple[timedelta, int, int, None]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        first: datetime | None = None
        for row in csv.DictReader(stream):
            at = datetime.fromisoformat(row["TIMESTAMP"][:26]).replace(tzinfo=UTC)  # seven decimals: the last is below a microsecond
            first = first or at
            yield at - first, int(row["ContextTokens"]), int(row["GeneratedTokens"]), None


def _mooncake_rows() -> Iterator[tuple[timedelta, int, int, list[int]]]:
    with gzip.open(LLM_TRACES["mooncake_conversation"], "rt", encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            yield timedelta(milliseconds=row["timestamp"]), row["input_length"], row["output_length"], row["hash_ids"]


def gateway_access(
    con: "duckdb.DuckDBPyConnection", shift: Mapping[date, Sequence[date]], by_client: bool = False
) -> "duckdb.DuckDBPyRelation":
    """The gateway's reading of the same log, in SQL: one row per written line and meter, repeated lines included.

    Columns tenant_id, meter, hour, occurred_at (TIMESTAMPTZ), id, item, quantity (BIGINT), day (the replay's date).
    """
    con.execute("CREATE OR REPLACE TEMP TABLE replay_days (logged DATE, day DATE)")
    con.executemany("INSERT INTO replay_days VALUES (?, ?)", [[logged, day] for logged, days in sorted(shift.items()) for day in days])
    con.execute("CREATE OR REPLACE TEMP TABLE ranges (tenant_id VARCHAR, low VARCHAR, high VARCHAR)")
    con.executemany("INSERT INTO ranges VALUES (?, ?, ?)", [[each.tenant_id, each.low, each.high] for each in organisations()])
    owner = "client AS tenant_id" if by_client else "(SELECT tenant_id FROM ranges WHERE client >= low AND client < high) AS tenant_id"
    return con.sql(f"""
        WITH written AS (
            SELECT line, split_part(line, ' ', 1) AS client,
                   strptime(regexp_extract(line, '\\[([^\\]]+)\\]', 1), '%d/%b/%Y:%H:%M:%S %z') AS moment,
                   regexp_extract(line, '"[A-Z]+ ([^ ]+)', 1) AS path,
                   regexp_extract(line, '" [0-9]{{3}} ([0-9]+|-)', 1) AS sent
            FROM read_csv('{ACCESS_LOG}', columns = {{'line': 'VARCHAR'}}, header = false, auto_detect = false, delim = chr(31), quote = '', escape = '')
        ),
        replayed AS (
            SELECT {owner}, day, path, sent, moment + to_days(CAST(day - CAST(moment AS DATE) AS INTEGER)) AS moment,
                   sha256('access_log' || chr(31) || sha256(line) || chr(31) || CAST(day AS VARCHAR)) AS id
            FROM written JOIN replay_days ON logged = CAST(moment AS DATE)
        ),
        counted AS (
            SELECT tenant_id, 'api_requests' AS meter, moment, id, NULL AS item, 1 AS quantity, day FROM replayed
            UNION ALL SELECT tenant_id, 'egress_bytes', moment, id, NULL, CAST(sent AS BIGINT), day FROM replayed WHERE sent <> '-'
            UNION ALL SELECT tenant_id, 'unique_paths', moment, id, path, 1, day FROM replayed
        )
        SELECT tenant_id, meter, date_trunc('hour', moment) AS hour, moment AS occurred_at, id, item, CAST(quantity AS BIGINT) AS quantity, day
        FROM counted ORDER BY day, meter, tenant_id, moment, id""")


def gateway_llm(con: "duckdb.DuckDBPyConnection", replay: Replay) -> "duckdb.DuckDBPyRelation":
    """The provider's usage report of one replay: hourly totals without ids; block ids where the trace has them. Columns as `gateway_access`."""
    starts = f"TIMESTAMPTZ '{replay.starts.isoformat()}'"
    if replay.trace == "mooncake_conversation":
        rows = f"""SELECT {starts} + to_milliseconds("timestamp") AS moment, input_length AS context, output_length AS generated, hash_ids
                   FROM read_json('{LLM_TRACES[replay.trace]}', format = 'newline_delimited',
                        columns = {{'timestamp': 'BIGINT', 'input_length': 'BIGINT', 'output_length': 'BIGINT', 'hash_ids': 'BIGINT[]'}})"""
    else:
        rows = f"""SELECT {starts} + (logged - min(logged) OVER ()) AS moment, context, generated, CAST(NULL AS BIGINT[]) AS hash_ids
                   FROM (SELECT CAST(left("TIMESTAMP", 26) AS TIMESTAMP) AS logged, CAST(ContextTokens AS BIGINT) AS context,
                                CAST(GeneratedTokens AS BIGINT) AS generated FROM read_csv('{LLM_TRACES[replay.trace]}', all_varchar = true))"""
    return con.sql(f"""
        WITH served AS ({rows}),
        hours AS (SELECT date_trunc('hour', moment) AS hour, count(*) AS requests, sum(context) AS context, sum(generated) AS generated FROM served GROUP BY 1),
        blocks AS (SELECT DISTINCT date_trunc('hour', moment) AS hour, unnest(hash_ids) AS block FROM served),
        counted AS (
            SELECT 'requests' AS meter, hour, NULL AS item, requests AS quantity FROM hours
            UNION ALL SELECT 'context_tokens', hour, NULL, context FROM hours
            UNION ALL SELECT 'generated_tokens', hour, NULL, generated FROM hours
            UNION ALL SELECT 'unique_blocks', hour, CAST(block AS VARCHAR), 1 FROM blocks
        )
        SELECT '{replay.tenant_id}' AS tenant_id, meter, hour, CAST(NULL AS TIMESTAMPTZ) AS occurred_at, CAST(NULL AS VARCHAR) AS id, item,
               CAST(quantity AS BIGINT) AS quantity, CAST(hour AS DATE) AS day
        FROM counted ORDER BY day, meter, hour, item""")
