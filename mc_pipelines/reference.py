"""Reference data: YAML under reference/, read strictly, as tables. Calendars are made here once, with zoneinfo and the pinned tzdata.

Prices, approvals and anything measured do not belong here.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from zoneinfo import ZoneInfo, available_timezones

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
    """Every IANA time zone that is the same everywhere; the folder of tzdata is read once."""
    return frozenset(available_timezones()) - {"localtime", "Factory"}  # what these mean depends on the machine


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
    days: Literal["daily"] = "daily"
    counts_repeats: bool = False
    counts_repeats_why: str = ""


class Calendar(Declared):
    """First and last day for which partitions, local days and periods exist."""

    start: date = Field(ge=date(1970, 1, 1))
    end: date = Field(lt=date(2200, 1, 1))


KINDS: dict[str, tuple[type[Declared], str]] = {
    "tenants": (Tenant, "tenant_id"),
    "meters": (Meter, "meter"),
    "explained": (Explained, "tenant_id,meter,period"),
    "conflicts": (ConflictChoice, "tenant_id,source,id"),
}


# The C parser reads what SafeLoader reads, ten times as fast; it is there wherever PyYAML's wheel is.
class _Strict(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # whichever of the two there is
    """Refuses a key that stands twice, of which YAML's own loader takes the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key `{key.value}` stands twice; keep one", key.start_mark)
            seen.add(str(key.value))
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def _load(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Strict)
    except FileNotFoundError as error:
        raise MissionError(f"{path}: missing. `mission init DIR` writes one to start from.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        raise MissionError(f"{path}:{mark.line + 1 if mark else 1}: not readable YAML: {error}") from error


def _line(path: Path, where: Sequence[int | str]) -> int:
    """The line of the deepest node of `where` (keys and positions from the top) that the file has."""
    node, line = yaml.compose(path.read_text(encoding="utf-8"), _Strict), 1
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
    if odd := [name for name in loaded["sources"] if not isinstance(name, str)]:
        raise MissionError(f"{path}:{_line(path, ('sources', str(odd[0])))}: {odd[0]!r} is no name of a source. Write a text.")
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


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The instant at which a local day begins, as naive UTC; where midnight does not exist, the first instant after the gap."""
    return datetime.combine(day, time(), zone).astimezone(UTC).replace(tzinfo=None)


def microseconds(instant: datetime) -> int:
    """Whole microseconds from the epoch to a naive UTC instant."""
    return (instant - datetime.fromtimestamp(0, UTC).replace(tzinfo=None)) // timedelta(microseconds=1)


def local_day_rows(zone_name: str, start: date, end: date) -> Iterator[tuple[str, date, date, datetime, datetime, int]]:
    """(zone, utc_day, local_day, start_utc, end_utc, end_us) for every UTC day that a local day touches; `end` inclusive."""
    zone = ZoneInfo(zone_name)
    day = start
    begins = midnight(day, zone)
    while day <= end:
        ends = midnight(day + timedelta(days=1), zone)
        utc_day = begins.date()
        while datetime.combine(utc_day, time()) < ends and begins < ends:
            yield zone_name, utc_day, day, begins, ends, microseconds(ends)
            utc_day += timedelta(days=1)
        day, begins = day + timedelta(days=1), ends


def local_days(work: "Work") -> "duckdb.DuckDBPyRelation":
    calendar = read_calendar(work.shop.home)
    names = sorted({row.zone for row in read(work.shop.home, "tenants")})
    margin = timedelta(days=2)
    rows = (row for zone in names for row in local_day_rows(zone, calendar.start - margin, calendar.end + margin))
    schema = {
        "zone": "VARCHAR",
        "utc_day": "DATE",
        "local_day": "DATE",
        "start_utc": "TIMESTAMP",
        "end_utc": "TIMESTAMP",
        "end_us": "BIGINT",
    }
    return relation_of(work, schema, rows)


def calendar_instants(calendar: Calendar) -> tuple[datetime, datetime]:
    """The naive UTC instants [first, after the last) that lie on a local day of the calendar in every zone on earth."""
    margin = timedelta(days=1)
    return datetime.combine(calendar.start - margin, time()), datetime.combine(calendar.end + 2 * margin, time())


def calendar(work: "Work") -> "duckdb.DuckDBPyRelation":
    rows = iter([calendar_instants(read_calendar(work.shop.home))])
    return relation_of(work, {"begins": "TIMESTAMP", "ends": "TIMESTAMP"}, rows)


def next_month(day: date) -> date:
    """The first day of the month after `day`'s."""
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def period_rows(home: Home) -> Iterator[tuple[str, date, datetime, datetime, date]]:
    """(tenant_id, period, start_utc, end_utc, cutoff_day) per tenant and calendar month; the cut-off is end + grace, as a landing day."""
    calendar = read_calendar(home)
    for tenant in read(home, "tenants"):
        zone, period = ZoneInfo(tenant.zone), calendar.start.replace(day=1)
        while period <= calendar.end:
            begins, ends = midnight(period, zone), midnight(next_month(period), zone)
            yield tenant.tenant_id, period, begins, ends, (ends + timedelta(days=tenant.grace_days)).date()
            period = next_month(period)


def periods(work: "Work") -> "duckdb.DuckDBPyRelation":
    schema = {"tenant_id": "VARCHAR", "period": "DATE", "start_utc": "TIMESTAMP", "end_utc": "TIMESTAMP", "cutoff_day": "DATE"}
    return relation_of(work, schema, period_rows(work.shop.home))
