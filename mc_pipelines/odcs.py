"""Contract files (Open Data Contract Standard 3.1), read strictly: whatever a run would stumble over is an error with file, line and remedy.

What a contract then means stands in `contracts.py`.
"""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from mc_pipelines.contracts import NUMBER, TYPES, Contract, Field, literal, related
from mc_pipelines.errors import MissionError
from mc_pipelines.home import CHECKOUT
from mc_pipelines.yamlread import line_at, load_yaml

NAME = r"[a-z][a-z0-9_]*"
PLACE = r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)?"
LENGTHS, BOUNDS = frozenset({"minLength", "maxLength"}), frozenset({"minimum", "maximum"})
OPTIONS = {"string": LENGTHS | {"pattern"}, "number": BOUNDS, "timestamp": frozenset({"pattern"}), "array": LENGTHS}
"""What a type's `logicalTypeOptions` may hold."""
CLASSES = ("public", "internal", "confidential", "restricted", "personal")
"""What a field's `classification` may say; only `personal` changes what is done with it."""
NEEDED = frozenset(
    (
        *("id", "source", "type", "tenant_id", "occurred_at", "ingested_at", "kind", "amends_source", "amends_id"),
        *("bytes", "path", "status", "context_tokens", "generated_tokens", "blocks", "value"),
        *("meter", "hour", "item", "quantity"),
    )
)
"""Fields that identity, tenants, time and meters need as they are; no hash can stand in their place."""
RESERVED = frozenset(
    (
        *("landing_day", "file", "replay_of", "position", "reject", "whole", "flaws", "extras", "bad", "raw", "reasons"),
        *("landed_path", "landed_row", "occurred_us", "event_key", "id_key", "payload_digest", "run_id", "left_because"),
        *("refused_tenant", "refused_type", "refused_quantity"),
    )
)
"""Columns that stand beside a contract's own."""


@cache
def load_contract(path: Path) -> Contract:
    """Read one ODCS file. MissionError names file, line, value and remedy, a line for each problem."""
    from open_data_contract_standard.model import OpenDataContractStandard
    from pydantic import ValidationError

    loaded = load_yaml(path)
    if not isinstance(loaded, dict):
        raise MissionError(f"{path}:1: not an ODCS contract: expected keys with their values, got {loaded!r}.")
    try:
        declared = OpenDataContractStandard.model_validate(loaded)
    except ValidationError as error:
        problems = [(each["loc"], each["msg"], each["input"]) for each in error.errors()]
        raise MissionError(
            "\n".join(
                f"{path}:{line_at(path, at)}: not an ODCS contract: {'.'.join(map(str, at))}: {said} (got {value!r})."
                for at, said, value in problems
            )
        ) from error
    if len(declared.schema_ or ()) != 1 or not declared.schema_ or not declared.schema_[0].properties or not declared.version:
        raise MissionError(f"{path}:1: a contract needs a version and one schema with properties.")
    wheres = [f"{path}:{line_at(path, ('schema', 0, 'properties', at))}" for at in range(len(declared.schema_[0].properties))]
    fields = tuple(_field(where, each, path) for where, each in zip(wheres, declared.schema_[0].properties, strict=True))
    _check_places(wheres, fields)
    own = _needed(path)
    rules = dict(own.rules if own else ()) | dict(_rules(path, declared.schema_[0]))
    contract = Contract(path.name.partition(".")[0], declared.version, fields, path, tuple(rules.items()))
    _check_whole(contract)
    return contract


def _rules(path: Path, schema: Any) -> Iterator[tuple[str, str]]:
    """What the contract says of whole rows (`quality`), and of fields that must be found elsewhere (`relationships`)."""
    for at, rule in enumerate(schema.quality or ()):
        if (
            rule.type != "custom"
            or rule.engine != "duckdb"
            or not re.fullmatch(f"{NAME}:{NAME}", rule.name or "")
            or not rule.implementation
        ):
            raise MissionError(
                f"{path}:{line_at(path, ('schema', 0, 'quality', at))}: a rule of rows has type custom, engine duckdb, a name `field:reason`, "
                "and as implementation a SQL condition over the fields' texts that is true where the row is bad."
            )
        yield rule.name, f"({rule.implementation})"
    for at, field in enumerate(schema.properties):
        for each in field.relationships or ():
            rule = related(field.name, str(each.to))
            if rule is None:
                where = f"{path}:{line_at(path, ('schema', 0, 'properties', at))}"
                raise MissionError(
                    f"{where}: {field.name}: relationship to {each.to!r}; known are tenants.tenant_id, partners.partner_id and calendar.instants."
                )
            yield rule


def _field(where: str, declared: Any, path: Path) -> Field:
    name, kind = declared.name, declared.logicalType
    if not isinstance(name, str) or not re.fullmatch(NAME, name) or name in RESERVED:
        taken = f"{name!r} is taken for a column of every source" if name in RESERVED else f"{name!r} is no name of a column"
        raise MissionError(f"{where}: {taken}. Name the field in small letters, digits and _, and say in physicalName where it stands.")
    if kind not in TYPES:
        raise MissionError(f"{where}: {name}: logicalType {kind!r} is not one of {', '.join(TYPES)}.")
    if declared.physicalType != TYPES[kind]:
        raise MissionError(f"{where}: {name}: physicalType of a {kind} is {TYPES[kind]}, not {declared.physicalType!r}.")
    place = declared.physicalName or name
    if not re.fullmatch(PLACE, place):
        raise MissionError(f"{where}: {name}: physicalName {place!r} is no name, or object.name, of letters, digits, _ and -.")
    options = declared.logicalTypeOptions or {}
    if unknown := sorted({*(declared.model_extra or {}), *(set(options) - OPTIONS[kind])}):
        raise MissionError(
            f"{where}: {name}: unknown key(s) {', '.join(unknown)}. Options of a {kind} are {', '.join(sorted(OPTIONS[kind])) or 'none'}."
        )
    for option, value in options.items():
        if fault := _fault(option, value):
            raise MissionError(f"{where}: {name}: {option} {value!r}: {fault}.")
    _check_class(where, declared, path)
    return Field(name, place, kind, bool(declared.required), tuple(sorted(options.items())), declared.classification == "personal")


def _fault(option: str, value: Any) -> str:
    """What is wrong with an option's value, '' where nothing is."""
    if option == "pattern":
        return _pattern_fault(value) if isinstance(value, str) else "write a regular expression in quotes"
    if option in LENGTHS:
        return "" if type(value) is int and value >= 0 else "write a whole number from 0"
    within = type(value) in {int, float} and re.fullmatch(NUMBER, f"{Decimal(str(value)):f}")
    return "" if within else "write a number of at most 29 digits and 9 decimals"


def _pattern_fault(pattern: str) -> str:
    import duckdb

    from mc_pipelines.engine import connect

    try:
        connect().sql(f"SELECT regexp_full_match('', {literal(pattern)})").fetchall()
    except duckdb.Error as error:
        return f"{' '.join(str(error).split())}. Patterns are those of RE2"
    return ""


def _check_class(where: str, declared: Any, path: Path) -> None:
    kind = declared.classification
    if kind is not None and kind not in CLASSES:
        raise MissionError(f"{where}: {declared.name}: classification {kind!r} is not one of {', '.join(CLASSES)}.")
    if kind == "personal" and declared.logicalType != "string":
        raise MissionError(f"{where}: {declared.name}: classification personal of a {declared.logicalType}; only a string can be hashed.")
    if kind == "personal" and (declared.name in NEEDED or path.name.startswith("tenants.")):
        raise MissionError(f"{where}: {declared.name}: classification personal, but identity, tenants, time or meters need it as it is.")


def _check_places(wheres: Sequence[str], fields: Sequence[Field]) -> None:
    """MissionError where two fields share a name or a place, or one stands inside another."""
    names: set[str] = set()
    places: set[str] = set()
    for where, field in zip(wheres, fields, strict=True):
        if field.name in names or field.path.lower() in places:
            raise MissionError(f"{where}: {field.name}: its name, or its place {field.path}, stands twice. Keep one.")
        names.add(field.name)
        places.add(field.path.lower())
    for where, field in zip(wheres, fields, strict=True):
        if "." in field.path and field.path.partition(".")[0].lower() in places:
            raise MissionError(f"{where}: {field.name}: {field.path} stands inside a field that is no object. Move one of the two.")


def _needed(path: Path) -> Contract | None:
    """The checkout's own contract of this source, whose fields assets and code name; None where this is it, or there is none."""
    own = CHECKOUT / "checks" / "contracts" / path.name
    return load_contract(own) if own.exists() and own != path else None


def _check_whole(contract: Contract) -> None:
    """MissionError where a contract that replaces the checkout's lacks what assets and code need of each row."""
    own = _needed(contract.path)
    fields = {field.name: field for field in contract.fields}
    for needed in own.fields if own else ():
        field = fields.get(needed.name)
        if field is None or field.logical != needed.logical or (needed.required and not field.required):
            raise MissionError(
                f"{contract.path}:1: {needed.name} has to be there as a {needed.logical}{', required' if needed.required else ''}: "
                f"tables are made of it. Declare it as {own.path if own else ''} does; physicalName says what your files call it."
            )
