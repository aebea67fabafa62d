"""Reference data: YAML under reference/, read strictly, as tables. Calendars are made in `calendars.py`.

Prices, approvals and anything measured do not belong here.
"""

import json
import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar
from zoneinfo import available_timezones

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from mc_pipelines.disk import there
from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home
from mc_pipelines.yamlread import line_at, load_yaml


@cache
def zones() -> frozenset[str]:
    """Every IANA time zone that is the same everywhere; the folder of tzdata is read once."""
    return frozenset(available_timezones()) - {"localtime", "Factory"}  # what these mean depends on the machine


def known_zone(value: str) -> str:
    """The zone itself. ValueError where there is none of this name."""
    if value not in zones():
        raise ValueError(f"{value} is no IANA time zone; write one such as Europe/Berlin")
    return value


@cache
def currencies() -> frozenset[str]:
    """Every code of ISO 4217 that is in use."""
    from iso4217 import Currency

    return frozenset(currency.code for currency in Currency)


class Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _meant(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads `yes` as true and 20260101 as a number; as a count or a day they would pass for 1 and for seconds."""
        wanted = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and wanted is not bool:
            raise ValueError("YAML reads this as a yes or no; write a number, or put a text in quotes")
        if isinstance(value, int | float) and wanted in {date, AwareDatetime}:
            raise ValueError("YAML reads this as a number; write a day as YYYY-MM-DD, an instant as YYYY-MM-DDThh:mm:ssZ")
        return value


Kind = TypeVar("Kind", bound=Declared)


class Stage(Declared):
    product: str
    stage: Literal["pilot", "ga"]
    from_: AwareDatetime = Field(alias="from")


class Tenant(Declared):
    tenant_id: str = Field(min_length=1)
    name: str
    zone: str
    currency: str = Field(pattern="^[A-Z]{3}$")
    plan: str
    grace_days: int = Field(ge=0, le=60)
    stages: tuple[Stage, ...] = ()

    @field_validator("zone")
    @classmethod
    def _known(cls, value: str) -> str:
        return known_zone(value)

    @field_validator("currency")
    @classmethod
    def _in_use(cls, value: str) -> str:
        if value not in currencies():
            raise ValueError(f"{value} is no ISO 4217 currency in use; write one such as EUR")
        return value


class Meter(Declared):
    meter: str = Field(pattern="^[a-z][a-z0-9_]*$")
    about: str = ""
    type: str
    aggregation: Literal["count", "sum", "min", "max", "avg", "latest", "unique_count", "weighted_sum"]
    value: str | None = None
    list: bool = False
    unit: str
    floor: Decimal = Field(default=Decimal(1), gt=0, max_digits=38, decimal_places=9)
    filter: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    dimensions: tuple[str, ...] = ()


class Explained(Declared):
    tenant_id: str
    meter: str
    period: str = Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")
    reason: str
    note: str
    owner: str
    expires: date


class ConflictChoice(Declared):
    tenant_id: str
    source: str
    id: str
    choice: Literal["first", "void"]
    reason: str
    owner: str


class Source(Declared):
    about: str
    owner: str
    start: date
    days: Literal["daily", "any"] = "daily"
    """Whether something is due every day, or lands when it happens."""
    deliverable: str = "metering"
    """Whose tables read it: a day that is missing fails that deliverable alone."""
    counts_repeats: bool = False
    counts_repeats_why: str = ""


FIRST_DAY, AFTER_LAST_DAY = date(1970, 1, 1), date(2200, 1, 1)
"""Days and their instants are counted within these, in every zone."""


class Sprint(Declared):
    """A window that deliverables are judged by: local days of one zone, both ends inclusive."""

    sprint: str = Field(pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=40)
    first: date = Field(ge=FIRST_DAY, lt=AFTER_LAST_DAY)
    last: date = Field(ge=FIRST_DAY, lt=AFTER_LAST_DAY)
    zone: str
    grace_days: int = Field(default=0, ge=0, le=60)
    """Days after the end in which what the verdict rests on may still land."""

    @field_validator("sprint")
    @classmethod
    def _no_day(cls, value: str) -> str:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
            raise ValueError("this is a day, and a sprint may be named by its first day too; write another name")
        return value

    @field_validator("zone")
    @classmethod
    def _known(cls, value: str) -> str:
        return known_zone(value)


class Calendar(Declared):
    """First and last day for which partitions, local days and periods exist."""

    start: date = Field(ge=FIRST_DAY)
    end: date = Field(lt=AFTER_LAST_DAY)


KINDS: dict[str, tuple[type[Declared], str]] = {
    "tenants": (Tenant, "tenant_id"),
    "meters": (Meter, "meter"),
    "explained": (Explained, "tenant_id,meter,period"),
    "conflicts": (ConflictChoice, "tenant_id,source,id"),
}


def file_of(home: Home, kind: str) -> Path:
    """The file that declares `kind`: YAML, or for tenants CSV. MissionError where there is none, or both."""
    path, table = home.reference / f"{kind}.yaml", home.reference / f"{kind}.csv"
    if kind == "tenants" and there(table):
        if there(path):
            raise MissionError(f"{table}: {path.name} declares tenants too. Keep one of the two files.")
        return table
    if not there(path):
        raise MissionError(f"{path}: missing. `mission init DIR` writes one to start from.")
    return path


def read(home: Home, kind: str) -> list[Any]:
    """The rows of `reference/<kind>.yaml` (or tenants.csv), in key order. Raises MissionError with file, line, value and remedy."""
    path = file_of(home, kind)
    declared, grain = KINDS[kind]
    rows: dict[tuple[Any, ...], Any] = {}
    placed = _csv_items(path) if path.suffix == ".csv" else _yaml_items(path, kind)
    for line, where, item in placed:
        row: Any = _one(path, declared, item, where, line)
        key = tuple(getattr(row, part) for part in grain.split(","))
        if key in rows:
            raise MissionError(f"{path}:{line or line_at(path, where)}: {grain} = {key} is declared twice. Keep one.")
        rows[key] = row
    if kind == "tenants":
        _judge(home, path, placed)
    return [rows[key] for key in sorted(rows)]


Placed = list[tuple[int | None, tuple[int | str, ...], Any]]
"""(line of a CSV row, or the way to a YAML node whose line is looked up when needed, what is declared there)."""


def _yaml_items(path: Path, kind: str) -> Placed:
    loaded = load_yaml(path)
    if not isinstance(loaded, dict) or set(loaded) != {kind} or not isinstance(loaded[kind], list):
        raise MissionError(f"{path}:1: expected one key `{kind}` holding a list (it may be []).")
    return [(None, (kind, number), item) for number, item in enumerate(loaded[kind])]


def _csv_items(path: Path) -> Placed:
    from mc_pipelines.tenants import csv_rows

    return [(line, (), row) for line, row in csv_rows(path)]


def _judge(home: Home, path: Path, placed: Placed) -> None:
    """A home's own contract may ask more of its tenants than this code does."""
    from mc_pipelines.tenants import refused

    contract = home.declared("checks/contracts/tenants.odcs.yaml")
    rows = "".join(json.dumps(item, default=str) + "\n" for _, _, item in placed)
    found = refused(contract, contract.read_text(encoding="utf-8"), rows)
    problems = [
        f"{path}:{placed[index][0] or line_at(path, placed[index][1])}: {reasons} (refused by {contract.name})." for index, reasons in found
    ]
    if problems:
        raise MissionError("\n".join(problems))


def line_of(home: Home, kind: str, row: Declared) -> str:
    """`<file>:<line>` where `reference/<kind>.yaml` declares a row that was read from it."""
    path = file_of(home, kind)
    grain = KINDS[kind][1].split(",")
    at = next(at for at, item in enumerate(load_yaml(path)[kind]) if all(item[part] == getattr(row, part) for part in grain))
    return f"{path}:{line_at(path, (kind, at))}"


def read_sources(home: Home) -> dict[str, Source]:
    """`reference/sources.yaml`: landing sources by name."""
    path = file_of(home, "sources")
    loaded = load_yaml(path)
    if not isinstance(loaded, dict) or set(loaded) != {"sources"} or not isinstance(loaded["sources"], dict):
        raise MissionError(f"{path}:1: expected one key `sources` holding a mapping of source name to its declaration.")
    if odd := [name for name in loaded["sources"] if not isinstance(name, str)]:
        raise MissionError(f"{path}:{line_at(path, ('sources', str(odd[0])))}: {odd[0]!r} is no name of a source. Write a text.")
    return {name: _one(path, Source, item, ("sources", name)) for name, item in sorted(loaded["sources"].items())}


def read_calendar(home: Home) -> Calendar:
    """`reference/calendar.yaml`: the span of every calendar."""
    path = file_of(home, "calendar")
    calendar = read_one(path, Calendar)
    if calendar.end < calendar.start:
        raise MissionError(f"{path}:{line_at(path, ('end',))}: end {calendar.end} lies before start {calendar.start}. Swap them.")
    return calendar


def read_sprints(home: Home) -> list[Sprint]:
    """`reference/sprints.yaml` by first day; none where there is no file. MissionError where two overlap, or one ends before it begins."""
    path = home.reference / "sprints.yaml"
    if not there(path):
        return []
    sprints = declared_list(path, "sprints", Sprint)
    for place, each in enumerate(sprints):
        where = f"{path}:{line_of_item(path, 'sprints', place)}: sprint {each.sprint}"
        if each.last < each.first:
            raise MissionError(f"{where}: ends on {each.last}, before it begins on {each.first}. Swap them.")
        for other in sprints:
            if each.sprint.startswith(f"{other.sprint}-"):
                raise MissionError(f"{where}: begins with sprint {other.sprint}'s name and a dash, as its pages do. Write another name.")
        for other in sprints[:place]:
            if other.sprint == each.sprint or (each.first <= other.last and other.first <= each.last):
                raise MissionError(
                    f"{where}: has the name or days of sprint {other.sprint} ({other.first}..{other.last}). Move one of them."
                )
    return sorted(sprints, key=lambda each: each.first)


def declared_list(path: Path, name: str, kind: type[Kind]) -> list[Kind]:
    """The declarations of a file with one key and a list under it, in its order. MissionError names file, line, value and remedy."""
    return [_one(path, kind, item, where) for _, where, item in _yaml_items(path, name)]


def line_of_item(path: Path, name: str, place: int) -> int:
    """The line of a declaration in such a list."""
    return line_at(path, (name, place))


def read_one(path: Path, kind: type[Kind]) -> Kind:
    """A file that is one declaration. MissionError names file, line, value and remedy."""
    return _one(path, kind, load_yaml(path), ())


def _one(path: Path, kind: type[Kind], item: Any, where: tuple[int | str, ...], line: int | None = None) -> Kind:
    known = f"Known keys: {', '.join(kind.model_fields)}."
    if not isinstance(item, dict):
        raise MissionError(f"{path}:{line or line_at(path, where)}: expected keys with their values, got {item!r}. {known}")
    try:
        return kind.model_validate(item)
    except ValidationError as error:
        problems = [
            f"{path}:{line or line_at(path, at)}: {'.'.join(map(str, at))}: {each['msg']} (got {each['input']!r})."
            for each in error.errors()
            for at in [(*where, *each["loc"])]
        ]
        raise MissionError("\n".join(f"{problem} {known}" for problem in problems)) from error
