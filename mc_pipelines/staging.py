"""Rows judged by their contract: accepted ones typed and in UTC, refused ones with every reason. Rows in = accepted + refused, always.

Relations in, relations out; which files and where the results are kept is `intake.py`'s.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from mc_pipelines import personal, rawlines
from mc_pipelines.contracts import Contract, Field, literal
from mc_pipelines.errors import MissionError
from mc_pipelines.fields import select
from mc_pipelines.landing import LandedFile
from mc_pipelines.rawlines import RAW_CHARACTERS

if TYPE_CHECKING:
    import duckdb

LOG = logging.getLogger(__name__)
DEFAULTS = {"usage_events": {"kind": "usage"}}
"""What a field that is absent says."""


def digest(*texts: str) -> str:
    """SQL: 126 bits of the md5 of some texts, as DECIMAL(38, 0): 16 bytes that join, sort and add up as a number does."""
    return f"CAST(md5_number(concat({', chr(31), '.join(texts)})) >> 2 AS DECIMAL(38, 0))"


EVENT_KEY, AMENDS_KEY = digest("tenant_id", "source", "id"), digest("tenant_id", "amends_source", "amends_id")
COPIES = """
    CREATE OR REPLACE TEMP TABLE copies AS
    WITH repeated AS (SELECT landing_day, event_key FROM judged WHERE NOT bad GROUP BY landing_day, event_key HAVING count(*) > 1)
    SELECT rowid AS row, row_number() OVER (
        PARTITION BY landing_day, event_key ORDER BY ingested_at, {payload}, replay_of NULLS FIRST) AS copy
    FROM judged SEMI JOIN repeated USING (landing_day, event_key)"""
"""Few events come more than once in a day: only those are put in order, by ingest time, then by what they say."""


@dataclass(frozen=True)
class Staged:
    """Three relations of one batch of files: accepted rows, refused rows, and one row of facts a file."""

    accepted: "duckdb.DuckDBPyRelation"
    refused: "duckdb.DuckDBPyRelation"
    facts: "duckdb.DuckDBPyRelation"


def stage(
    con: "duckdb.DuckDBPyConnection",
    contract: Contract,
    files: Sequence[tuple[str, LandedFile]],
    run_id: str = "",
    unread: Sequence[tuple[str, str]] = (),
) -> Staged:
    """Judge the rows of (landing day, file) pairs. `con` has the views `reference.tenants` and `reference.calendar`.

    `unread` are (landing day, "file: why it was left for the next look"): they stand among the facts, so that no month closes without them unseen.
    A file that turns out to be damaged joins them. MissionError where a file's rows do not add up: that is a defect, and nothing of the
    batch may be kept.
    """
    import duckdb

    try:
        _judge(con, contract, files)
    except duckdb.Error:
        damaged = _damaged(con, files)
        if not damaged:
            raise
        whole = [(day, file) for day, file in files if file.name not in damaged]
        return stage(con, contract, whole, run_id, [*unread, *((day, damaged[file.name]) for day, file in files if file.name in damaged)])
    facts = _facts(con, contract, files, unread)
    return Staged(_accepted(con, contract), _refused(con, contract, run_id), facts)


def _judge(con: "duckdb.DuckDBPyConnection", contract: Contract, files: Sequence[tuple[str, LandedFile]]) -> None:
    """Make the table `judged` of every row of the files."""
    rules = _rules(contract)
    bad = " OR ".join(["reject IS NOT NULL", "flaws IS NOT NULL", *(f"coalesce({rule}, false)" for rule in rules.values())])
    reasons = ", ".join(f"CASE WHEN reject IS NULL AND coalesce({rule}, false) THEN {literal(code)} END" for code, rule in rules.items())
    converted = ", ".join(f"{field.typed} AS {field.value}" for field in contract.fields)
    typed = ", ".join(f'CASE WHEN NOT bad THEN {_typed(contract, field)} END AS "{field.name}"' for field in contract.fields)
    identity = f", CASE WHEN NOT bad THEN {EVENT_KEY} END AS event_key" if contract.source == "usage_events" else ""
    # One pass: a row is read, judged and typed; only a bad one keeps its texts and learns its reasons.
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE judged AS
        WITH texts AS ({select(con, contract, files)}),
        converted AS (SELECT *, {converted} FROM texts),
        marked AS (SELECT *, {bad} AS bad FROM converted),
        typed AS (
            SELECT landing_day, file, replay_of, position, bad, extras, {typed},
                   CASE WHEN bad THEN concat_ws(',', coalesce(reject, flaws), {reasons}) END AS reasons,
                   CASE WHEN bad THEN left({_shown(contract)}, {RAW_CHARACTERS}) END AS raw,
                   {_refused_texts(contract)}
            FROM marked
        )
        SELECT *{identity} FROM typed""")


def _damaged(con: "duckdb.DuckDBPyConnection", files: Sequence[tuple[str, LandedFile]]) -> dict[str, str]:
    """By name, a line for each file that its reader cannot read to the end, such as one whose Parquet pages are damaged behind a good footer."""
    import duckdb

    damaged = {}
    for _, file in files:
        try:
            source = rawlines.SOURCES[rawlines.likeness(con, file)[0]](con, [file])
            con.sql(f"SELECT bit_xor(hash(each)) FROM ({source}) AS each").fetchall()
        except (duckdb.OutOfMemoryException, duckdb.InterruptException):
            raise
        except duckdb.Error as error:
            why = " ".join(str(error).replace(str(file.path), file.path.name).split())[:300]
            damaged[file.name] = f"{file.name}: cannot be read ({why}); land a whole copy in its place, none of its rows counts yet"
            LOG.warning(damaged[file.name])
    return damaged


def _shown(contract: Contract) -> str:
    """SQL: what the quarantine keeps of a row; `whole` has personal fields withheld, but where there is no row they could stand anywhere."""
    return f"CASE WHEN reject IS NULL THEN whole ELSE {literal(personal.UNREADABLE)} END" if contract.personal else "whole"


def _refused_texts(contract: Contract) -> str:
    """SQL: what a quarantined row still says of tenant, type and quantity, so that its value can be shown."""
    names = {field.name for field in contract.fields}
    tenant, kind = (f"left({name}, 200)" if name in names else "CAST(NULL AS VARCHAR)" for name in ("tenant_id", "type"))
    amounts = ", ".join(f'"{field.name}"' for field in contract.fields if field.logical == "number")
    return f"""CASE WHEN bad THEN {tenant} END AS refused_tenant, CASE WHEN bad THEN {kind} END AS refused_type,
               CASE WHEN bad THEN left(coalesce({amounts or "NULL"}), 200) END AS refused_quantity"""


def _rules(contract: Contract) -> dict[str, str]:
    own = {f"{field.name}:{code}": rule for field in contract.fields for code, rule in field.rules().items()}
    return own | dict(contract.rules)


def _typed(contract: Contract, field: Field) -> str:
    if field.logical == "array":
        return f'CAST(json("{field.name}") AS VARCHAR)'
    if field.personal:
        return personal.hashed(field.value)
    default = DEFAULTS.get(contract.source, {}).get(field.name)
    return f"coalesce({field.value}, {literal(default)})" if default else field.value


def _accepted(con: "duckdb.DuckDBPyConnection", contract: Contract) -> "duckdb.DuckDBPyRelation":
    columns = ", ".join(f'"{field.name}"' for field in contract.fields)
    if contract.source != "usage_events":
        return con.sql(
            f"SELECT landing_day, {columns}, extras, replay_of FROM judged WHERE NOT bad ORDER BY landing_day, {columns}, extras"
        )
    texts = [f'CAST("{field.name}" AS VARCHAR)' for field in contract.fields]
    con.execute(COPIES.format(payload=digest(f"CAST(to_json([{', '.join([*texts, 'extras'])}]) AS VARCHAR)")))
    return con.sql(f"""
        SELECT landing_day, {columns}, extras, replay_of, epoch_us(occurred_at) AS occurred_us, event_key, coalesce(copies.copy, 1) AS copy,
               CASE WHEN kind <> 'usage' THEN {AMENDS_KEY} END AS amends_key
        FROM judged LEFT JOIN copies ON copies.row = judged.rowid
        WHERE NOT bad ORDER BY landing_day, occurred_at, event_key, copy""")


def _refused(con: "duckdb.DuckDBPyConnection", contract: Contract, run_id: str) -> "duckdb.DuckDBPyRelation":
    return con.sql(f"""
        SELECT {literal(contract.source)} AS source, landing_day, {literal(contract.version)} AS contract_version, file, position AS "offset",
               reasons, raw, refused_tenant AS tenant_id, refused_type AS "type", refused_quantity AS quantity_text,
               {literal(run_id)} AS run_id, CAST(NULL AS VARCHAR) AS resolution
        FROM judged WHERE bad ORDER BY landing_day, file, position""")


def _facts(
    con: "duckdb.DuckDBPyConnection", contract: Contract, files: Sequence[tuple[str, LandedFile]], unread: Sequence[tuple[str, str]]
) -> "duckdb.DuckDBPyRelation":
    import pyarrow as pa

    counted = con.sql(
        "SELECT file, count(*) FILTER (WHERE NOT bad), count(*) FILTER (WHERE bad), string_agg(DISTINCT array_to_string(json_keys(extras), ' '), ' ') FROM judged GROUP BY file"
    )
    counts = {file: (accepted, refused, extras) for file, accepted, refused, extras in counted.fetchall()}
    rows: list[tuple[Any, ...]] = []
    for day, line in unread:
        name, _, why = line.partition(": ")
        rows.append((date.fromisoformat(day), name, None, None, 0, 0, 0, None, contract.version, why))
    for day, file in files:
        accepted, refused, extras = counts.get(file.name, (0, 0, None))
        by_bytes = file.scan.rows if file.format != "csv" else max(0, file.scan.rows - 1) if not file.scan.quoted else accepted + refused
        if by_bytes != accepted + refused:
            raise MissionError(
                f"landing/{file.name}: {by_bytes} rows by its bytes, but {accepted} accepted and {refused} refused. Keep the file and report this defect."
            )
        rows.append(
            (
                date.fromisoformat(day),
                file.name,
                file.scan.sha256,
                file.bytes,
                by_bytes,
                accepted,
                refused,
                " ".join(sorted(set((extras or "").split())))[:RAW_CHARACTERS] or None,
                contract.version,
                None,
            )
        )
    text, number = pa.string(), pa.int64()
    kinds = [pa.date32(), text, text, number, number, number, number, text, text, text]
    names = (
        "landing_day",
        "file",
        "sha256",
        "bytes",
        "rows_in",
        "accepted",
        "quarantined",
        "unknown_fields",
        "contract_version",
        "left_because",
    )
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return con.from_arrow(pa.table({name: pa.array(values, kind) for name, kind, values in zip(names, kinds, columns, strict=True)}))
