"""Landed rows with every field of a contract as text, whatever their format: one SELECT of the same shape for all of them.

The shape: `landing_day`, `file`, `replay_of`, `position` (from 1), `reject` (why there is no row to judge, else NULL), `whole` (the row as
it stood, for the quarantine), one VARCHAR per field, `flaws` (reasons that the texts no longer show: numbers that their JSON spelling rounds,
objects and lists in place of a text; comma-separated, NULL without any) and `extras` (unknown fields as JSON text in key order, NULL without
any). Whether a value is acceptable is decided in `staging.py`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mc_pipelines import personal, rawlines
from mc_pipelines.contracts import EXACT_DIGITS, Contract, Field, literal
from mc_pipelines.landing import LandedFile

if TYPE_CHECKING:
    import duckdb
    from duckdb.sqltypes import DuckDBPyType

ENVELOPE = ("specversion", "datacontenttype", "dataschema")
"""CloudEvents attributes that say nothing of usage and are no unknown fields."""
EXTRAS = "CASE WHEN len(pairs) > 0 THEN CAST(to_json(map_from_entries(pairs)) AS VARCHAR) END"
Landed = tuple[str, LandedFile]
"""(landing day, file)."""


def select(con: "duckdb.DuckDBPyConnection", contract: Contract, files: Sequence[Landed]) -> str:
    """SQL of all rows of the files. Files that are read alike are read together, so that many small ones cost little."""
    groups: dict[tuple[str, str], list[Landed]] = {}
    for day, file in sorted(files, key=lambda each: each[1].name):
        groups.setdefault(rawlines.likeness(con, file), []).append((day, file))
    parts = [_group(con, contract, kind, group) for (kind, _), group in sorted(groups.items())]
    return " UNION ALL BY NAME ".join(parts) or _nothing(contract)


def _group(con: "duckdb.DuckDBPyConnection", contract: Contract, kind: str, files: Sequence[Landed]) -> str:
    source = rawlines.SOURCES[kind](con, [file for _, file in files])
    rows = _from_lines(contract, source) if kind in rawlines.LINES else _from_columns(con, contract, source)
    before, known = 0, []
    for day, file in files:
        replayed = f"DATE '{file.replay_of}'" if file.replay_of else "CAST(NULL AS DATE)"
        known.append(f"({literal(file.path)}, DATE '{day}', {literal(file.name)}, {replayed}, {before})")
        before += rawlines.counted(kind, file)
    return f"""
        SELECT landed.landing_day, landed.file, landed.replay_of, rows.landed_row - landed.before AS position, rows.* EXCLUDE (landed_path, landed_row)
        FROM ({rows}) AS rows
        JOIN (VALUES {", ".join(known)}) AS landed(path, landing_day, file, replay_of, before) ON landed.path = rows.landed_path"""


def _nothing(contract: Contract) -> str:
    fields = ", ".join(f'CAST(NULL AS VARCHAR) AS "{field.name}"' for field in contract.fields)
    return f"""SELECT CAST(NULL AS DATE) AS landing_day, '' AS file, CAST(NULL AS DATE) AS replay_of, CAST(NULL AS BIGINT) AS position,
        '' AS whole, '' AS reject, {fields}, '' AS flaws, '' AS extras WHERE false"""


def _from_lines(contract: Contract, lines: str) -> str:
    """Rows that are JSON texts: a text is parsed once per question, never once per field."""
    numbers = [field for field in contract.fields if field.logical == "number"]
    objects = ["$", *(f'$."{name}"' for name in contract.objects)]
    names = sorted(contract.top_level | set(ENVELOPE))
    known = [*(f'$."{name}"' for name in names), *(_nested(field) for field in contract.fields if "." in field.path)]
    places = {path: at for at, path in enumerate((path for field in contract.fields for path in _paths(field)), 1)}
    keys = " + ".join(f"len(coalesce(keys[{at}], []))" for at in range(1, 1 + len(objects)))
    misshaped = (
        " OR ".join(f"len(keys[{at}]) = 0 AND kinds[{at}] NOT IN ('OBJECT', 'NULL')" for at in range(2, 1 + len(objects))) or "false"
    )
    return f"""
        WITH valid AS (
            SELECT landed_path, landed_row, reject, raw, line, CASE WHEN reject IS NULL AND json_valid(line) THEN line END AS json
            FROM ({lines})
        ),
        read AS (
            SELECT landed_path, landed_row, raw, line, reject, json,
                   json_type(json, {_list([*objects, *(_nested(field) for field in numbers)])}) AS kinds,
                   json_keys(json, {_list(objects)}) AS keys,
                   json_exists(json, {_list(known)}) AS present,
                   json_extract_string(json, {_list(list(places))}) AS found
            FROM valid
        ),
        shaped AS (SELECT *, {_unknown(contract, names)} AS unknown FROM read),
        paired AS (SELECT *, {_pairs(contract, names)} AS pairs FROM shaped)
        SELECT landed_path, landed_row, coalesce(raw, {personal.redacted(contract, "json")}, line) AS whole,
               CASE WHEN reject IS NOT NULL THEN reject
                    WHEN json IS NULL THEN 'json:invalid'
                    WHEN kinds[1] <> 'OBJECT' OR {misshaped} THEN 'json:not_an_object'
                    WHEN {keys} - len(unknown) <> len(list_filter(present, lambda there: there)) THEN 'json:duplicate_key'
                    WHEN len(unknown) > 1 AND len(unknown) <> len(list_distinct(unknown)) THEN 'json:duplicate_key'
                    WHEN {_told_twice(contract)} THEN 'json:duplicate_key' END AS reject,
               {_found(contract)}, {_flaws(contract, len(objects), places)} AS flaws, {EXTRAS} AS extras
        FROM paired"""


def _nested(field: Field) -> str:
    return "$." + ".".join(f'"{part}"' for part in field.path.split("."))


def _paths(field: Field) -> list[str]:
    """Where a field may stand: nested, or flat under its dotted name."""
    return [_nested(field)] if "." not in field.path else [_nested(field), f'$."{field.path}"']


def _list(values: Sequence[str]) -> str:
    return "[" + ", ".join(map(literal, values)) + "]"


def _found(contract: Contract) -> str:
    columns, at = [], 1
    for field in contract.fields:
        places = len(_paths(field))
        text = f"found[{at}]" if places == 1 else f"coalesce(found[{at}], found[{at + 1}])"
        columns.append(f'{text} AS "{field.name}"')
        at += places
    return ", ".join(columns)


def _told_twice(contract: Contract) -> str:
    """SQL: some field stands both nested and flat, with two values."""
    at, twice = 1, []
    for field in contract.fields:
        if len(_paths(field)) > 1:
            twice.append(f"found[{at}] <> found[{at + 1}]")
        at += len(_paths(field))
    return " OR ".join(twice) or "false"


def _unknown(contract: Contract, names: Sequence[str]) -> str:
    """SQL: the list of unknown names, those inside a known object with its name and a dot before them."""
    lists = [f"list_filter(keys[1], lambda k: k NOT IN ({', '.join(map(literal, names))}))"]
    for at, name in enumerate(contract.objects, 2):
        inner = ", ".join(map(literal, _inner(contract, name)))
        strangers = f"list_filter(coalesce(keys[{at}], []), lambda k: k NOT IN ({inner}))"
        lists.append(f"list_transform({strangers}, lambda k: {literal(name + '.')} || k)")
    return lists[0] if len(lists) == 1 else f"list_concat({', '.join(lists)})"


def _inner(contract: Contract, name: str) -> list[str]:
    """The names that an object's fields have inside it."""
    return [field.path.removeprefix(f"{name}.") for field in contract.fields if field.path.startswith(f"{name}.")]


def _path(name: str) -> str:
    return f'$."{name}"'


def _flaws(contract: Contract, first: int, places: Mapping[str, int]) -> str:
    """SQL: numbers that JSON wrote with a fraction and more digits than its reader keeps (as text they are exact), and texts that are none."""
    flags = []
    for field in contract.texts:
        for path in _paths(field):
            text = f"found[{places[path]}]"
            # Only what looks like an object or a list is asked what it is.
            composed = f"json_type(json, {literal(path)}) IN ('OBJECT', 'ARRAY')"
            flags.append(
                f"CASE WHEN (starts_with({text}, '{{') OR starts_with({text}, '[')) AND {composed} THEN {literal(f'{field.name}:type')} END"
            )
    for at, field in enumerate((field for field in contract.fields if field.logical == "number"), 1):
        for path in _paths(field):
            # A flat name is rare: its kind is asked for only where it stands.
            flat = f"found[{places[path]}] IS NOT NULL AND json_type(json, {literal(path)}) = 'DOUBLE'"
            double = f"kinds[{first + at}] = 'DOUBLE'" if path == _nested(field) else flat
            digits = f"length(regexp_replace(json_extract_string(json, {literal(path)}), '[^0-9]', '', 'g'))"
            flags.append(f"CASE WHEN {double} AND {digits} > {EXACT_DIGITS} THEN {literal(f'{field.name}:precision')} END")
    return _joined(flags)


def _joined(reasons: Sequence[str]) -> str:
    return f"nullif(concat_ws(',', {', '.join(reasons)}), '')" if reasons else "CAST(NULL AS VARCHAR)"


def _pairs(contract: Contract, names: Sequence[str]) -> str:
    """SQL: name and value of every unknown field that says something, in name order; NULL for a row without unknown names, or with one twice.

    An object is opened once, not once per name: a line may have ten thousands of them.
    """
    lists = [_entries("json", names, "")]
    lists += [_entries(f"json_extract(json, {literal(_path(name))})", _inner(contract, name), f"{name}.") for name in contract.objects]
    return (
        "CASE WHEN len(unknown) > 0 AND len(unknown) = len(list_distinct(unknown)) "
        f"THEN list_sort(list_filter(list_concat({', '.join(lists)}), lambda pair: pair.v IS NOT NULL)) END"
    )


def _entries(json: str, known: Sequence[str], before: str) -> str:
    """SQL: key (with `before` in front) and text of what an object holds beside the known names; NULL of anything but an object."""
    entries = f"map_entries(from_json({json}, '\"MAP(VARCHAR, JSON)\"'))"
    strangers = f"list_filter({entries}, lambda each: each.key NOT IN ({', '.join(map(literal, known))}))"
    return f"list_transform({strangers}, lambda each: {{'k': {literal(before)} || each.key, 'v': json_extract_string(each.value, '$')}})"


def _from_columns(con: "duckdb.DuckDBPyConnection", contract: Contract, source: str) -> str:
    """Rows that have columns already: fields are read from them, one level of known objects opened."""
    described = con.sql(f"SELECT * EXCLUDE (landed_path, landed_row) FROM ({source}) LIMIT 0")
    columns = dict(zip(described.columns, described.types, strict=True))
    found = _columns(contract, columns)
    both = [" <> ".join(text for text, _ in places) for places in found.values() if len(places) > 1]
    shapeless = [f"{_name(name)} IS NOT NULL" for name in contract.objects if name in columns and columns[name].id != "struct"]
    composed = [
        f"CASE WHEN {text} IS NOT NULL THEN {literal(f'{field.name}:type')} END"
        for field in contract.texts
        for text, kind in found.get(field.path, ())
        if _is_composed(kind)
    ]
    texts = {name: f"coalesce({', '.join(text for text, _ in places)})" for name, places in found.items()}
    fields = ", ".join(f'{texts.pop(field.path, "CAST(NULL AS VARCHAR)")} AS "{field.name}"' for field in contract.fields)
    unknown = {name: text for name, text in sorted(texts.items()) if name not in ENVELOPE}
    pairs = ", ".join(f"{{'k': {literal(name)}, 'v': {text}}}" for name, text in unknown.items())
    extras = EXTRAS.replace("pairs", f"list_filter([{pairs}], lambda pair: pair.v IS NOT NULL)") if unknown else "CAST(NULL AS VARCHAR)"
    whole = ", ".join(f"{literal(name)}: {_name(name)}" for name in columns)
    return f"""
        SELECT landed_path, landed_row, {personal.redacted(contract, f"CAST(to_json({{{whole}}}) AS VARCHAR)")} AS whole,
               CASE WHEN {" OR ".join(shapeless) or "false"} THEN 'json:not_an_object'
                    WHEN {" OR ".join(both) or "false"} THEN 'json:duplicate_key' END AS reject,
               {fields}, {_joined(composed)} AS flaws, {extras} AS extras
        FROM ({source})"""


def _columns(contract: Contract, columns: "Mapping[str, DuckDBPyType]") -> dict[str, list[tuple[str, str]]]:
    """Dotted name -> (SQL text, type) wherever it stands: nested in a known object first, then flat."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name, kind in columns.items():
        if name in contract.objects and kind.id == "struct":
            for part, inner in kind.children:
                found.setdefault(f"{name}.{part}", []).insert(0, (_as_text(f"{_name(name)}.{_name(part)}", str(inner)), str(inner)))
        else:
            found.setdefault(name, []).append((_as_text(_name(name), str(kind)), str(kind)))
    return found


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _is_composed(kind: str) -> bool:
    return kind.startswith(("STRUCT", "MAP")) or kind.endswith("]")


def _as_text(column: str, kind: str) -> str:
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"strftime({column} AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ')"
    if kind == "TIMESTAMPTZ_NS":  # pandas' own; what is finer than a microsecond stays as it is, and is refused
        utc = f"{column} AT TIME ZONE 'UTC'"
        whole = f"strftime({utc}, '%Y-%m-%dT%H:%M:%S.%fZ')"
        return f"CASE WHEN epoch_ns({utc}) % 1000 = 0 THEN {whole} ELSE CAST({column} AS VARCHAR) END"
    if _is_composed(kind):
        return f"CAST(to_json({column}) AS VARCHAR)"
    return column if kind == "VARCHAR" else f"CAST({column} AS VARCHAR)"
