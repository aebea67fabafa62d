"""Rows judged by their contract: accepted ones typed and in UTC, refused ones with every reason. Rows in = accepted + refused, always.

Relations in, relations out; which files and where the results are kept is `intake.py`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from mc_pipelines.contracts import EARLIEST, EXACT_DIGITS, INSTANT, LATEST, Contract, Field, literal
from mc_pipelines.errors import MissionError
from mc_pipelines.landing import LandedFile
from mc_pipelines.rawlines import RAW_CHARACTERS, relation

if TYPE_CHECKING:
    import duckdb

ENVELOPE = ("specversion", "datacontenttype", "dataschema")
"""CloudEvents attributes that say nothing of usage and are no unknown fields."""
IDENTITY = {
    "usage_events": (
        "md5(concat(tenant_id, chr(31), source, chr(31), id)) AS event_key, md5(concat(source, chr(31), id)) AS id_key, "
        "md5(CAST(to_json([type, CAST(occurred_at AS VARCHAR), kind, amends_source, amends_id, CAST(bytes AS VARCHAR), path, status, "
        "CAST(context_tokens AS VARCHAR), CAST(generated_tokens AS VARCHAR), blocks, CAST(value AS VARCHAR), extras]) AS VARCHAR)) AS payload_digest"
    ),
}
UNKNOWN_TENANT = {"tenant_id:unknown_tenant": "tenant_id IS NOT NULL AND tenant_id NOT IN (SELECT tenant_id FROM reference.tenants)"}


def _outside_calendar(field: str) -> dict[str, str]:
    """An instant that is possible, but for which no local day and no period exists: it could never be counted."""
    at = f"CAST(try_cast({field} AS TIMESTAMPTZ) AT TIME ZONE 'UTC' AS TIMESTAMP)"
    possible = f"{at} >= TIMESTAMP '{EARLIEST}' AND {at} < TIMESTAMP '{LATEST}' AND regexp_full_match({field}, {literal(INSTANT)})"
    outside = f"({at} < (SELECT begins FROM reference.calendar) OR {at} >= (SELECT ends FROM reference.calendar))"
    return {f"{field}:outside_calendar": f"{possible} AND {outside}"}


CROSS_RULES = {
    "usage_events": {
        "amends:missing": "kind IN ('void', 'replace') AND (amends_source IS NULL OR amends_id IS NULL)",
        **UNKNOWN_TENANT,
        **_outside_calendar("occurred_at"),
    },
    "gateway_log": UNKNOWN_TENANT | _outside_calendar("hour") | _outside_calendar("occurred_at"),
}
ORDER = {
    "usage_events": "landing_day, occurred_at, event_key, payload_digest, ingested_at",
    "gateway_log": "landing_day, tenant_id, meter, hour, id, item, quantity, occurred_at",
}


@dataclass(frozen=True)
class Staged:
    """Three relations of one batch of files: accepted rows, refused rows, and one row of facts a file."""

    accepted: "duckdb.DuckDBPyRelation"
    refused: "duckdb.DuckDBPyRelation"
    facts: "duckdb.DuckDBPyRelation"


def stage(con: "duckdb.DuckDBPyConnection", contract: Contract, files: Sequence[tuple[str, LandedFile]], run_id: str = "") -> Staged:
    """Judge the rows of (landing day, file) pairs. `con` has the views `reference.tenants` and `reference.calendar`.

    Raises MissionError where a file's rows do not add up: that is a defect, and nothing of the batch may be kept.
    """
    _read(con, contract, files)
    rules = _rules(contract)
    bad = " OR ".join(["reject IS NOT NULL", *(f"coalesce({rule}, false)" for rule in rules.values())])
    con.execute(f"CREATE OR REPLACE TEMP TABLE judged AS SELECT *, {bad} AS bad FROM texts")
    facts = _facts(con, contract, files)
    return Staged(_accepted(con, contract), _refused(con, contract, rules, run_id), facts)


def _read(con: "duckdb.DuckDBPyConnection", contract: Contract, files: Sequence[tuple[str, LandedFile]]) -> None:
    """The temp table `texts`: every row of every file with each field as text."""
    sources = [
        f"SELECT DATE '{day}' AS landing_day, {literal(file.name)} AS file, {_replayed(file.replay_of)} AS replay_of, {number} AS file_number, line, reject, raw "
        f"FROM ({relation(con, file, number)})"
        for number, (day, file) in enumerate(files)
    ] or [
        "SELECT NULL::DATE AS landing_day, '' AS file, NULL::DATE AS replay_of, 0 AS file_number, '' AS line, '' AS reject, '' AS raw WHERE false"
    ]
    checked = """
        SELECT landing_day, file, replay_of, file_number, raw, line AS whole,
               CASE WHEN reject IS NOT NULL THEN reject
                    WHEN NOT json_valid(line) THEN 'json:invalid'
                    WHEN json_type(line) <> 'OBJECT' THEN 'json:not_an_object'
                    WHEN len(json_keys(line)) <> len(list_distinct(json_keys(line)))
                      OR (json_type(line, '$.data') = 'OBJECT' AND len(json_keys(line, '$.data')) <> len(list_distinct(json_keys(line, '$.data'))))
                    THEN 'json:duplicate_key' END AS reject
        FROM raws"""
    fields = ", ".join(f'{field.text} AS "{field.name}"' for field in contract.fields)
    inexact = "".join(f", {_inexact(field)} AS inexact_{field.name}" for field in contract.fields if field.logical == "number")
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE texts AS
        WITH raws AS ({" UNION ALL ".join(sources)}),
        checked AS ({checked}),
        objects AS (SELECT *, CASE WHEN reject IS NULL THEN whole END AS line FROM checked)
        SELECT landing_day, file, replay_of, file_number, row_number() OVER (PARTITION BY file_number) AS position, raw, whole, reject,
               {fields}{inexact}, {_extras(contract)} AS extras
        FROM objects""")
    if "kind" in {field.name for field in contract.fields}:
        con.execute("UPDATE texts SET kind = 'usage' WHERE kind IS NULL AND reject IS NULL")


def _replayed(day: date | None) -> str:
    return f"DATE '{day}'" if day else "CAST(NULL AS DATE)"


def _inexact(field: Field) -> str:
    """True where JSON wrote a number with more digits than its reader keeps; written as text it is exact."""
    at = "$." + ".".join(f'"{part}"' for part in field.path.split("."))
    return f"coalesce(json_type(line, {literal(at)}) = 'DOUBLE' AND length(regexp_replace({field.text}, '[^0-9]', '', 'g')) > {EXACT_DIGITS}, false)"


def _extras(contract: Contract) -> str:
    """SQL: unknown top-level and data fields as JSON text in key order, NULL without any."""
    known = ", ".join(map(literal, sorted(contract.known | set(ENVELOPE))))
    top = f"list_filter(json_keys(line), lambda k: k NOT IN ({known}))"
    inner = (
        f"CASE WHEN json_type(line, '$.data') = 'OBJECT' THEN list_filter(list_transform(json_keys(line, '$.data'), lambda k: 'data.' || k), "
        f"lambda k: k NOT IN ({known})) ELSE [] END"
    )
    names = f"list_sort(list_concat(coalesce({top}, []), coalesce({inner}, [])))"
    value = "list_transform(found, lambda k: coalesce(json_extract_string(line, '$.\"' || k || '\"'), json_extract_string(line, '$.data.\"' || k[6:] || '\"')))"
    return f"(SELECT CASE WHEN len(found) > 0 THEN CAST(to_json(map(found, {value})) AS VARCHAR) END FROM (SELECT {names} AS found))"


def _rules(contract: Contract) -> dict[str, str]:
    own = {f"{field.name}:{code}": rule for field in contract.fields for code, rule in field.rules().items()}
    return own | CROSS_RULES.get(contract.source, {})


def _typed(field: Field) -> str:
    if field.logical == "array":
        return f'CAST(json("{field.name}") AS VARCHAR) AS "{field.name}"'
    return f'{field.typed} AS "{field.name}"'


def _accepted(con: "duckdb.DuckDBPyConnection", contract: Contract) -> "duckdb.DuckDBPyRelation":
    columns = ", ".join(_typed(field) for field in contract.fields)
    moment = ", epoch_us(occurred_at) AS occurred_us" if contract.source in IDENTITY else ""
    identity = f", {IDENTITY[contract.source]}" if contract.source in IDENTITY else ""
    return con.sql(f"""
        WITH typed AS (SELECT landing_day, {columns}, extras, replay_of FROM judged WHERE NOT bad)
        SELECT *{moment}{identity} FROM typed ORDER BY {ORDER[contract.source]}""")


def _refused(con: "duckdb.DuckDBPyConnection", contract: Contract, rules: dict[str, str], run_id: str) -> "duckdb.DuckDBPyRelation":
    reasons = ", ".join(f"CASE WHEN reject IS NULL AND coalesce({rule}, false) THEN {literal(code)} END" for code, rule in rules.items())
    names = {field.name for field in contract.fields}
    kind = "left(type, 200)" if "type" in names else "CAST(NULL AS VARCHAR)"
    amounts = [f'"{field.name}"' for field in contract.fields if field.logical == "number"]
    return con.sql(f"""
        SELECT {literal(contract.source)} AS source, landing_day, {literal(contract.version)} AS contract_version, file, position AS "offset",
               array_to_string(list_filter([reject, {reasons}], lambda reason: reason IS NOT NULL), ',') AS reasons,
               left(coalesce(raw, whole), {RAW_CHARACTERS}) AS raw, left(tenant_id, 200) AS tenant_id, {kind} AS "type",
               left(coalesce({", ".join(amounts)}), 200) AS quantity_text, {literal(run_id)} AS run_id, CAST(NULL AS VARCHAR) AS resolution
        FROM judged WHERE bad ORDER BY landing_day, file, position""")


def _facts(con: "duckdb.DuckDBPyConnection", contract: Contract, files: Sequence[tuple[str, LandedFile]]) -> "duckdb.DuckDBPyRelation":
    import pyarrow as pa

    counted = con.sql(
        "SELECT file, count(*) FILTER (WHERE NOT bad), count(*) FILTER (WHERE bad), string_agg(DISTINCT array_to_string(json_keys(extras), ' '), ' ') FROM judged GROUP BY file"
    )
    counts = {file: (accepted, refused, extras) for file, accepted, refused, extras in counted.fetchall()}
    rows = []
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
            )
        )
    kinds = [pa.date32(), pa.string(), pa.string(), pa.int64(), pa.int64(), pa.int64(), pa.int64(), pa.string(), pa.string()]
    names = ("landing_day", "file", "sha256", "bytes", "rows_in", "accepted", "quarantined", "unknown_fields", "contract_version")
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return con.from_arrow(pa.table({name: pa.array(values, kind) for name, kind, values in zip(names, kinds, columns, strict=True)}))
