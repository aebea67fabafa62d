"""Data contracts: what is acceptable at the door, compiled to DuckDB expressions over one JSON text a row, and what producers are promised.

A field's value is the text at its physical name; a rule says what is wrong with that text. A contract's file is read in `odcs.py`, files and
rows are `staging.py`'s.
"""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

EARLIEST, LATEST = "1970-01-01", "2200-01-01"
NUMBER = r"-?[0-9]{1,29}(\.[0-9]{1,9}0*)?"
INSTANT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-9]{2}:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9]|[+-]14:00)"
LOCAL = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?"
PARTNERS = "marketplace.partners"
"""The table of declared partners; a contract that asks for one needs it."""
EXACT_DIGITS = 15
"""Digits that a JSON number with a fraction keeps in DuckDB; more are refused unless the value is written as text."""
TYPES = {"string": "VARCHAR", "timestamp": "TIMESTAMP", "number": "DECIMAL(38,9)", "array": "VARCHAR"}


@dataclass(frozen=True)
class Field:
    """One property: its column, where it stands in the row, and its rules."""

    name: str
    path: str
    logical: str
    required: bool
    options: tuple[tuple[str, Any], ...]
    personal: bool = False

    @property
    def typed(self) -> str:
        """SQL: the value in its column's type, from the text column of the same name; NULL where the text is no such value."""
        quoted = f'"{self.name}"'
        if self.logical == "timestamp":
            instant = f"CAST(try_cast({quoted} AS TIMESTAMPTZ) AT TIME ZONE 'UTC' AS TIMESTAMP)"
            return f"CASE WHEN regexp_full_match({quoted}, {literal(INSTANT)}) THEN {instant} END"
        if self.logical == "number":
            return f"CASE WHEN regexp_full_match({quoted}, {literal(NUMBER)}) THEN try_cast({quoted} AS DECIMAL(38,9)) END"
        return quoted

    @property
    def value(self) -> str:
        """SQL: the column that holds `typed`, computed once and read by every rule."""
        return f'"typed {self.name}"'

    def rules(self) -> dict[str, str]:
        """SQL conditions that are true where the value is bad, by reason code, over the text and the typed column."""
        quoted, found = f'"{self.name}"', {}
        untyped = f"{quoted} IS NOT NULL AND {self.value} IS NULL"
        if self.required:
            found["missing"] = f"{quoted} IS NULL"
        if self.logical == "number":
            found["type"] = untyped
        if self.logical == "timestamp":
            local = f"regexp_full_match({quoted}, {literal(LOCAL)})"  # asked of bad values only: a regular expression is dear
            found["zone"] = f"CASE WHEN {untyped} THEN {local} END"
            found["type"] = f"CASE WHEN {untyped} THEN NOT {local} END"
            found["range"] = f"{self.value} < TIMESTAMP '{EARLIEST}' OR {self.value} >= TIMESTAMP '{LATEST}'"
        if self.logical == "array":
            found["type"] = (
                f"{quoted} IS NOT NULL AND coalesce(json_type(CASE WHEN json_valid({quoted}) THEN {quoted} END) <> 'ARRAY', true)"
            )
        for option, value in self.options:
            found |= self._rule(quoted, option, value)
        return found

    def _rule(self, quoted: str, option: str, value: Any) -> dict[str, str]:
        if option == "pattern":
            return {"pattern": f"NOT regexp_full_match({quoted}, {literal(value)})"}
        if option in {"minLength", "maxLength"}:
            return {option: f"length({quoted}) {'<' if option == 'minLength' else '>'} {int(value)}"}
        return {option: f"{self.value} {'<' if option == 'minimum' else '>'} CAST('{Decimal(str(value)):f}' AS DECIMAL(38,9))"}


@dataclass(frozen=True)
class Contract:
    """A source's contract. `fields` in column order."""

    source: str
    version: str
    fields: tuple[Field, ...]
    path: Path
    rules: tuple[tuple[str, str], ...] = ()
    """Reason code and SQL condition of what is wrong with a row as a whole, or with a field beside other data."""

    @property
    def objects(self) -> tuple[str, ...]:
        """Names of the objects that fields stand in, sorted."""
        return tuple(sorted({field.path.split(".")[0] for field in self.fields if "." in field.path}))

    @property
    def texts(self) -> tuple[Field, ...]:
        """The fields whose value is any text."""
        return tuple(field for field in self.fields if field.logical == "string")

    @property
    def personal(self) -> tuple[Field, ...]:
        """The fields that are kept as a keyed hash only."""
        return tuple(field for field in self.fields if field.personal)

    @property
    def top_level(self) -> frozenset[str]:
        """Every name that a row may have at its top: plain fields, objects, and dotted fields written flat."""
        return frozenset({field.path for field in self.fields} | set(self.objects))


def literal(value: Any) -> str:
    """A SQL text literal."""
    return "'" + str(value).replace("'", "''") + "'"


def related(field: str, to: str) -> tuple[str, str] | None:
    """Reason code and SQL condition of a field that must be found elsewhere, as a contract's relationships name that; None for nothing known.

    An instant outside the calendar is possible, but no local day and no period exists for it: it could never be counted.
    """
    if to == "tenants.tenant_id":
        return f"{field}:unknown_tenant", f'"{field}" IS NOT NULL AND "{field}" NOT IN (SELECT tenant_id FROM reference.tenants)'
    if to == "partners.partner_id":
        return f"{field}:unknown_partner", f'"{field}" IS NOT NULL AND "{field}" NOT IN (SELECT partner_id FROM {PARTNERS})'
    if to == "calendar.instants":
        at = f'"typed {field}"'
        possible = f"{at} >= TIMESTAMP '{EARLIEST}' AND {at} < TIMESTAMP '{LATEST}'"
        outside = f"({at} < (SELECT begins FROM reference.calendar) OR {at} >= (SELECT ends FROM reference.calendar))"
        return f"{field}:outside_calendar", f"{possible} AND {outside}"
    return None


def promise(contract: Contract) -> dict[str, Any]:
    """What producers may rely on, as JSON types: the version, and each field's place, type and rules."""
    fields = {
        field.name: {"path": field.path, "logical": field.logical, "required": field.required, "options": dict(field.options)}
        for field in contract.fields
    }
    return {"version": contract.version, "fields": fields}


def breaking(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Why rows that the earlier promise accepts could be refused or lost by the later one; nothing where the major version is higher.

    A rule that goes breaks nothing; one that comes or changes does, for nobody can tell by machine that a pattern only became wider.
    """
    if int(after["version"].split(".")[0]) > int(before["version"].split(".")[0]):
        return []
    found = []
    for name, old in before["fields"].items():
        new = after["fields"].get(name)
        if new is None:
            found.append(f"{name}: removed")
            continue
        if new["path"] != old["path"]:
            found.append(f"{name}: stands at {new['path']}, was {old['path']}")
        if new["logical"] != old["logical"]:
            found.append(f"{name}: is a {new['logical']}, was a {old['logical']}")
        if new["required"] and not old["required"]:
            found.append(f"{name}: is required now")
        changed = {option: value for option, value in new["options"].items() if old["options"].get(option) != value}
        found += [f"{name}: {option} is {value}, was {old['options'].get(option)}" for option, value in changed.items()]
    return found + [
        f"{name}: new and required" for name, new in after["fields"].items() if name not in before["fields"] and new["required"]
    ]
