"""What is acceptable: gates as checks/*.yaml declares them, read strictly and without Great Expectations, and the result of judging one.

How a gate is judged stands in `acceptance.py`. A threshold lives in the YAML and nowhere else.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mc_pipelines.errors import MissionError
from mc_pipelines.home import CHECKOUT, Home
from mc_pipelines.yamlread import StrictLoader, parsed, text_of

EXPECTATIONS: Mapping[str, bool] = {
    "expect_column_max_to_be_between": True,
    "expect_column_min_to_be_between": True,
    "expect_column_sum_to_be_between": True,
    "expect_column_mean_to_be_between": True,
    "expect_column_values_to_be_between": True,
    "expect_table_row_count_to_be_between": False,
}
"""Supported expectations, and whether each judges a column."""


class Between(BaseModel):
    """The arguments of a `*_to_be_between` expectation. Bounds are written as numbers and kept as exact decimals; a strict one is not met itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str | None = None
    min_value: Decimal | None = None
    max_value: Decimal | None = None
    strict_min: bool = False
    strict_max: bool = False

    def holds(self, value: Decimal) -> bool:
        """Whether a value keeps every bound, compared exactly."""
        low, high = self.min_value, self.max_value
        above = low is None or value > low or (value == low and not self.strict_min)
        return above and (high is None or value < high or (value == high and not self.strict_max))


class Gate(BaseModel):
    """One gate: the table judged, the expectation, who owns it and where its runbook lies."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gate: str = Field(pattern="^[a-z][a-z0-9_]*$")
    deliverable: str
    table: str
    about: str
    expectation: str
    between: Between
    offending: str
    severity: Literal["critical", "warning"]
    owner: str = Field(pattern="^team:")
    runbook: str | None = None
    unit: str
    min_rows: int = Field(default=1, ge=1)
    needs: str | None = Field(default=None, pattern="^[a-z][a-z0-9_]*$")
    """A folder of the home's reference data. A home that has none of it is not judged by this gate, and its scoreboard does not list it."""

    @property
    def bound(self) -> str:
        low, high = self.between.min_value, self.between.max_value
        return (
            "=="
            if low is not None and low == high
            else "between"
            if low is not None and high is not None
            else f">{'' if self.between.strict_min else '='}"
            if low is not None
            else f"<{'' if self.between.strict_max else '='}"
        )

    @property
    def threshold(self) -> str:
        low, high = self.between.min_value, self.between.max_value
        if self.bound == "between":
            return f"{'>' if self.between.strict_min else ''}{low}..{'<' if self.between.strict_max else ''}{high}"
        return str(low if low is not None else high)


Status = Literal["passed", "failed", "no_evidence"]


@dataclass(frozen=True)
class GateResult:
    """The one result that the Dagster check, the scoreboard and the evidence share. Decimals are text, `margin` is positive when good."""

    gate: str
    deliverable: str
    table: str
    about: str
    owner: str
    severity: str
    runbook: str | None
    unit: str
    expectation: str
    column: str | None
    bound: str
    threshold: str
    value: str | None
    margin: str | None
    status: Status
    reason: str
    rows: int
    offending_count: int
    offending: list[dict[str, Any]]
    failure: str | None = None
    """Digest of what failed, for whoever waives it; None where it passed, and where without evidence nothing is known."""

    def to_json(self) -> dict[str, Any]:
        """The result as JSON types."""
        return asdict(self)


class _Numbers(StrictLoader):
    """YAML with every number as text, so that 0.0025 is never a float."""


_Numbers.add_constructor("tag:yaml.org,2002:float", lambda loader, node: loader.construct_scalar(node))


def read_gates(path: Path) -> tuple[Gate, ...]:
    """The gates of one file, in its order. MissionError names file, line, value and remedy for anything misspelt or unknown."""
    text = text_of(path)
    loaded = parsed(path, text, _Numbers)
    if not isinstance(loaded, dict):
        raise MissionError(f"{path}:1: expected tables, each with a list of gates.")
    gates = tuple(_gate(path, text, table, item) for table, items in loaded.items() for item in _items(path, text, str(table), items))
    names = [gate.gate for gate in gates]
    for name in names:
        if names.count(name) > 1:
            raise MissionError(f"{path}:{_line(text, name)}: gate {name} is declared twice. Rename one.")
    return gates


def gates_of(home: Home, deliverable: str) -> tuple[Gate, ...]:
    """The gates of checks/<deliverable>.yaml that a home is judged by, the home's file replacing the checkout's."""
    declared = read_gates(home.declared(f"checks/{deliverable}.yaml"))
    return tuple(gate for gate in declared if gate.needs is None or any((home.reference / gate.needs).glob("*.yaml")))


def _items(path: Path, text: str, table: str, items: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(items, list):
        raise MissionError(f"{path}:{_line(text, table)}: {table} must hold a list of gates.")
    for item in items:
        if not isinstance(item, dict):
            raise MissionError(f"{path}:{_line(text, str(item))}: {item!r} is no gate. Write `- gate: name` with its keys.")
        yield item


def _line(text: str, part: str) -> int:
    return next((number for number, line in enumerate(text.splitlines(), 1) if part and part in line), 1)


def _gate(path: Path, text: str, table: str, item: dict[str, Any]) -> Gate:
    name = str(item.get("gate", table))
    where = f"{path}:{_line(text, name)}"
    stated = [key for key in item if str(key).startswith("expect_")]
    if len(stated) != 1:
        raise MissionError(f"{where}: gate {name} needs exactly one expectation, found {stated}. Known: {', '.join(EXPECTATIONS)}.")
    expectation = stated[0]
    if expectation not in EXPECTATIONS:
        raise MissionError(f"{path}:{_line(text, expectation)}: unknown expectation {expectation}. Known: {', '.join(EXPECTATIONS)}.")
    declared = {key: value for key, value in item.items() if key != expectation}
    try:
        between = Between.model_validate(item[expectation] or {})
        gate = Gate.model_validate(
            declared | {"deliverable": path.name.partition(".")[0], "table": table, "expectation": expectation, "between": between}
        )
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][-1]) if first["loc"] else ""
        start = _line(text, name)
        line = start - 1 + _line("\n".join(text.splitlines()[start - 1 :]), field)
        raise MissionError(
            f"{path}:{line}: gate {name}: {field}: {first['msg']} (got {first['input']!r}). Known keys: {', '.join(Gate.model_fields)}."
        ) from error
    except InvalidOperation as error:
        raise MissionError(f"{where}: gate {name}: a bound is no number.") from error
    _demands(where, gate)
    return gate


def _demands(where: str, gate: Gate) -> None:
    if gate.between.min_value is None and gate.between.max_value is None:
        raise MissionError(f"{where}: gate {gate.gate} has no bound. Give min_value, max_value or both.")
    if fault := _strict_fault(gate.between):
        raise MissionError(f"{where}: gate {gate.gate}: {fault}")
    if EXPECTATIONS[gate.expectation] != (gate.between.column is not None):
        raise MissionError(
            f"{where}: gate {gate.gate}: {gate.expectation} {'needs' if EXPECTATIONS[gate.expectation] else 'takes no'} column."
        )
    if gate.severity == "critical" and gate.runbook is None:
        raise MissionError(f"{where}: critical gate {gate.gate} names no runbook. Add `runbook: docs/runbooks/{gate.gate}.md`.")
    if gate.runbook is not None and not (CHECKOUT / gate.runbook).exists():
        raise MissionError(f"{where}: gate {gate.gate}: runbook {gate.runbook} does not exist. Write it, or correct the path.")


def _strict_fault(between: Between) -> str:
    """What is wrong with a strict bound, empty where nothing is."""
    low, high = between.min_value, between.max_value
    if (between.strict_min and low is None) or (between.strict_max and high is None):
        return "a strict bound needs its value. Give min_value beside strict_min, max_value beside strict_max."
    if low is not None and low == high and (between.strict_min or between.strict_max):
        return f"no value is strictly within {low}..{high}. Take the strict bound away."
    return ""
