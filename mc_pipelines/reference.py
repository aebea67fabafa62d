"""Reference data: YAML under reference/, read strictly, as tables. Calendars are made in `calendars.py`.

Prices, approvals and anything measured do not belong here.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from zoneinfo import available_timezones

import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.runner import Work, Workshop


@cache
def zones() -> frozenset[str]:
    """Every IANA time zone; the folder of tzdata is read once."""
    return frozenset(available_timezones())


class Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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
        if value not in zones():
            raise ValueError(f"{value} is no IANA time zone; write one such as Europe/Berlin")
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
    period: str = Field(pattern=r"^\d{4}-\d{2}$")
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
    days: Literal["daily"] = "daily"
    counts_repeats: bool = False
    counts_repeats_why: str = ""


class Calendar(Declared):
    """First and last day for which partitions, local days and periods exist."""

    start: date
    end: date


KINDS: dict[str, tuple[type[Declared], str]] = {
    "tenants": (Tenant, "tenant_id"),
    "meters": (Meter, "meter"),
    "explained": (Explained, "tenant_id,meter,period"),
    "conflicts": (ConflictChoice, "tenant_id,source,id"),
}


# The C parser reads what SafeLoader reads, ten times as fast; it is there wherever PyYAML's wheel is.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _load(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), LOADER)
    except FileNotFoundError as error:
        raise MissionError(f"{path}: missing. `mission init DIR` writes one to start from.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        raise MissionError(f"{path}:{mark.line + 1 if mark else 1}: not readable YAML: {error}") from error


def _line(path: Path, where: Sequence[int | str]) -> int:
    """The line of the deepest node of `where` (keys and positions from the top) that the file has."""
    node, line = yaml.compose(path.read_text(encoding="utf-8")), 1
    for step in where:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode) and step in (found := {key.value: (key, value) for key, value in node.value}):
            key, node = found[str(step)]
            line = key.start_mark.line + 1
        else:
            break
    return line


def read(home: Home, kind: str) -> list[Any]:
    """The rows of `reference/<kind>.yaml`, in key order. Raises MissionError with file, line, value and remedy."""
    path = home.declared(f"reference/{kind}.yaml")
    declared, grain = KINDS[kind]
    loaded = _load(path)
    if not isinstance(loaded, dict) or set(loaded) != {kind} or not isinstance(loaded[kind], list):
        raise MissionError(f"{path}:1: expected one key `{kind}` holding a list (it may be []).")
    rows: dict[tuple[Any, ...], Any] = {}
    for number, item in enumerate(loaded[kind]):
        row: Any = _one(path, declared, item, (kind, number))
        key = tuple(getattr(row, part) for part in grain.split(","))
        if key in rows:
            raise MissionError(f"{path}:{_line(path, (kind, number))}: {grain} = {key} is declared twice. Keep one.")
        rows[key] = row
    return [rows[key] for key in sorted(rows)]


def read_sources(home: Home) -> dict[str, Source]:
    """`reference/sources.yaml`: landing sources by name."""
    path = home.declared("reference/sources.yaml")
    loaded = _load(path)
    if not isinstance(loaded, dict) or set(loaded) != {"sources"} or not isinstance(loaded["sources"], dict):
        raise MissionError(f"{path}:1: expected one key `sources` holding a mapping of source name to its declaration.")
    return {name: _one(path, Source, item, ("sources", name)) for name, item in sorted(loaded["sources"].items())}


def read_calendar(home: Home) -> Calendar:
    """`reference/calendar.yaml`: the span of every calendar."""
    path = home.declared("reference/calendar.yaml")
    calendar = _one(path, Calendar, _load(path), ())
    if calendar.end < calendar.start:
        raise MissionError(f"{path}:{_line(path, ('end',))}: end {calendar.end} lies before start {calendar.start}. Swap them.")
    return calendar


def _one(path: Path, kind: type[Kind], item: Any, where: tuple[int | str, ...]) -> Kind:
    try:
        return kind.model_validate(item)
    except ValidationError as error:
        problems = [
            f"{path}:{_line(path, at)}: {'.'.join(map(str, at))}: {each['msg']} (got {each['input']!r})."
            for each in error.errors()
            for at in [(*where, *each["loc"])]
        ]
        raise MissionError("\n".join([*problems, f"Known keys: {', '.join(kind.model_fields)}."])) from error


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """Digest of every reference file, and of tzdata's version for the calendars."""
    from importlib.metadata import version

    names = ("tenants", "meters", "explained", "conflicts", "sources", "calendar")
    digests = [hashlib.sha256(shop.home.declared(f"reference/{name}.yaml").read_bytes()).hexdigest() for name in _read_by(model, names)]
    return " ".join([*digests, version("tzdata")])


def _read_by(model: "Model", names: Sequence[str]) -> Sequence[str]:
    name = model.key.partition(".")[2]
    by_table = {"local_days": ("tenants", "calendar"), "periods": ("tenants", "calendar"), "conflict_choices": ("conflicts",)}
    return by_table.get(name, tuple(each for each in names if each == name))


def relation_of(work: "Work", schema: Mapping[str, str], rows: Iterator[tuple[Any, ...]]) -> "duckdb.DuckDBPyRelation":
    """Python rows as a relation; `schema` maps column to VARCHAR, DATE, TIMESTAMP, BIGINT, BOOLEAN or DECIMAL (38, 9)."""
    import pyarrow as pa

    kinds = {
        "VARCHAR": pa.string(),
        "DATE": pa.date32(),
        "TIMESTAMP": pa.timestamp("us"),
        "BIGINT": pa.int64(),
        "BOOLEAN": pa.bool_(),
        "DECIMAL": pa.decimal128(38, 9),
    }
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    table = pa.table({name: pa.array(values, kinds[kind]) for (name, kind), values in zip(schema.items(), columns, strict=True)})
    return work.con.from_arrow(table)


def tenants(work: "Work") -> "duckdb.DuckDBPyRelation":
    rows = ((row.tenant_id, row.name, row.zone, row.currency, row.plan, row.grace_days) for row in read(work.shop.home, "tenants"))
    schema = {
        "tenant_id": "VARCHAR",
        "name": "VARCHAR",
        "zone": "VARCHAR",
        "currency": "VARCHAR",
        "plan": "VARCHAR",
        "grace_days": "BIGINT",
    }
    return relation_of(work, schema, rows)


def meters(work: "Work") -> "duckdb.DuckDBPyRelation":
    rows = (
        (row.meter, row.about, row.type, row.aggregation, row.unit, row.floor, row.model_dump_json())
        for row in read(work.shop.home, "meters")
    )
    schema = dict.fromkeys(("meter", "about", "type", "aggregation", "unit"), "VARCHAR") | {"floor": "DECIMAL", "declared": "VARCHAR"}
    return relation_of(work, schema, rows)


def meters_of(con: "duckdb.DuckDBPyConnection") -> list[Meter]:
    """The declared meters, from the table `reference.meters` that a connection sees."""
    return [
        Meter.model_validate_json(declared) for (declared,) in con.sql("SELECT declared FROM reference.meters ORDER BY meter").fetchall()
    ]


def explained(work: "Work") -> "duckdb.DuckDBPyRelation":
    rows = (
        (row.tenant_id, row.meter, date.fromisoformat(f"{row.period}-01"), row.reason, row.note, row.owner, row.expires)
        for row in read(work.shop.home, "explained")
    )
    schema = {
        "tenant_id": "VARCHAR",
        "meter": "VARCHAR",
        "period": "DATE",
        "reason": "VARCHAR",
        "note": "VARCHAR",
        "owner": "VARCHAR",
        "expires": "DATE",
    }
    return relation_of(work, schema, rows)


def conflict_choices(work: "Work") -> "duckdb.DuckDBPyRelation":
    rows = ((row.tenant_id, row.source, row.id, row.choice, row.reason, row.owner) for row in read(work.shop.home, "conflicts"))
    schema = dict.fromkeys(("tenant_id", "source", "id", "choice", "reason", "owner"), "VARCHAR")
    return relation_of(work, schema, rows)


def sources(work: "Work") -> "duckdb.DuckDBPyRelation":
    rows = (
        (name, row.about, row.owner, row.start, row.counts_repeats, row.counts_repeats_why)
        for name, row in read_sources(work.shop.home).items()
    )
    schema = {
        "source": "VARCHAR",
        "about": "VARCHAR",
        "owner": "VARCHAR",
        "start": "DATE",
        "counts_repeats": "BOOLEAN",
        "counts_repeats_why": "VARCHAR",
    }
    return relation_of(work, schema, rows)
