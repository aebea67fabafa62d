"""Reference data as tables of the lake. What may be declared, and how it is read, stands in `reference.py`."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date
from typing import TYPE_CHECKING, Any

from mc_pipelines.disk import there
from mc_pipelines.reference import Meter, file_of, read, read_sources
from mc_pipelines.yamlread import bytes_of

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.closing.explanations import Signature
    from mc_pipelines.home import Home
    from mc_pipelines.runner import Work, Workshop


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """Digest of every reference file, and of tzdata's version for the calendars."""
    from importlib.metadata import version

    names = ("tenants", "meters", "explained", "conflicts", "sources", "calendar")
    digests = [hashlib.sha256(bytes_of(file_of(shop.home, name))).hexdigest() for name in _read_by(model, names)]
    sprints = shop.home.reference / "sprints.yaml"
    if model.key == "reference.sprints" and there(sprints):
        digests.append(hashlib.sha256(bytes_of(sprints)).hexdigest())
    signed = [repr(each) for each in _signatures(shop.home)] if model.key == "reference.explained" else []
    return " ".join([*digests, *signed, version("tzdata")])


def _read_by(model: "Model", names: Sequence[str]) -> Sequence[str]:
    name = model.key.partition(".")[2]
    by_table = {
        "local_days": ("tenants", "calendar"),
        "periods": ("tenants", "calendar"),
        "conflict_choices": ("conflicts",),
        "tenant_stages": ("tenants",),
    }
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


def tenant_stages(work: "Work") -> "duckdb.DuckDBPyRelation":
    rows = (
        (row.tenant_id, each.product, each.stage, each.from_.astimezone(UTC).replace(tzinfo=None))
        for row in read(work.shop.home, "tenants")
        for each in row.stages
    )
    return relation_of(work, {"tenant_id": "VARCHAR", "product": "VARCHAR", "stage": "VARCHAR", "from_utc": "TIMESTAMP"}, rows)


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


def _signatures(home: "Home") -> "list[Signature | None]":
    """Of every explanation, in the order of `read`, who signed it; None where nobody has."""
    from mc_pipelines.closing.explanations import digest_of, signatures
    from mc_pipelines.evidence.position import journal_at_hand

    declared = list(read(home, "explained"))
    journal = journal_at_hand(home) if declared else None
    found = signatures(journal.entries()) if journal else {}
    return [found.get(digest_of(each)) for each in declared]


def explained(work: "Work") -> "duckdb.DuckDBPyRelation":
    home = work.shop.home
    rows = (
        (
            *(row.tenant_id, row.meter, date.fromisoformat(f"{row.period}-01"), row.reason, row.note, row.owner, row.expires),
            *((None, None) if signed is None else (signed.person, signed.entry)),
        )
        for row, signed in zip(read(home, "explained"), _signatures(home), strict=True)
    )
    schema = {
        "tenant_id": "VARCHAR",
        "meter": "VARCHAR",
        "period": "DATE",
        "reason": "VARCHAR",
        "note": "VARCHAR",
        "owner": "VARCHAR",
        "expires": "DATE",
        "signed_by": "VARCHAR",
        "entry": "BIGINT",
    }
    return relation_of(work, schema, rows)


def conflict_choices(work: "Work") -> "duckdb.DuckDBPyRelation":
    rows = ((row.tenant_id, row.source, row.id, row.choice, row.reason, row.owner) for row in read(work.shop.home, "conflicts"))
    schema = dict.fromkeys(("tenant_id", "source", "id", "choice", "reason", "owner"), "VARCHAR")
    return relation_of(work, schema, rows)


def sources(work: "Work") -> "duckdb.DuckDBPyRelation":
    rows = (
        (name, row.about, row.owner, row.start, row.counts_repeats, row.counts_repeats_why, row.deliverable, row.days == "daily")
        for name, row in read_sources(work.shop.home).items()
    )
    schema = {
        "source": "VARCHAR",
        "about": "VARCHAR",
        "owner": "VARCHAR",
        "start": "DATE",
        "counts_repeats": "BOOLEAN",
        "counts_repeats_why": "VARCHAR",
        "deliverable": "VARCHAR",
        "daily": "BOOLEAN",
    }
    return relation_of(work, schema, rows)
