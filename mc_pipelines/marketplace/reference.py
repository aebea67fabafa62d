"""What a home declares of its marketplace as tables. How it is read stands in `declared.py`."""

import hashlib
from datetime import date, datetime
from itertools import zip_longest
from typing import TYPE_CHECKING

from mc_pipelines.code import package_digest
from mc_pipelines.evidence.canonical import canonical
from mc_pipelines.marketplace.declared import Partner, Redaction, Tagging, read_partners, read_redaction, read_sources, read_tagging
from mc_pipelines.reference_tables import relation_of
from mc_pipelines.yamlread import bytes_of

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.home import Home
    from mc_pipelines.runner import Work, Workshop


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """Digest of the declarations, and of the code that reads them."""
    paths = sorted((shop.home.reference / "marketplace").glob("*.yaml"))
    return " ".join([*(f"{path.name}:{hashlib.sha256(bytes_of(path)).hexdigest()}" for path in paths), package_digest("marketplace")])


def read_all(home: "Home") -> None:
    """Everything that a home declares of its marketplace, but for its packets; MissionError for the first file that is wrong."""
    read_sources(home)
    read_tagging(home)
    read_redaction(home)


def sources(work: "Work") -> "duckdb.DuckDBPyRelation":
    """A row for every stage of every source; `until` is the day from which the next one holds, NULL of the last."""
    schema = {**dict.fromkeys(("source_id", "name", "partner_id", "status"), "VARCHAR"), "since": "DATE", "until": "DATE"}
    rows = (
        (row.source_id, row.name, row.partner_id, each.status, each.from_, after.from_ if after else None)
        for row in read_sources(work.shop.home)
        for each, after in zip_longest(row.stages, row.stages[1:])
    )
    return relation_of(work, schema, rows)


def partners(work: "Work") -> "duckdb.DuckDBPyRelation":
    rows = read_partners(work.shop.home)
    schema = {"partner_id": "VARCHAR", "name": "VARCHAR", "clock": "VARCHAR", "declared": "VARCHAR"}
    return relation_of(work, schema, ((row.partner_id, row.name, row.clock, _text(row)) for row in rows))


def _text(partner: Partner) -> str:
    """A partner as it is declared: hours without seconds."""
    hours = {name: getattr(partner, name).strftime("%H:%M") for name in ("opens", "closes")}
    return canonical(partner.model_dump(mode="json") | hours).decode()


def rules(work: "Work") -> "duckdb.DuckDBPyRelation":
    home = work.shop.home
    found = {"redaction": read_redaction(home), "tagging": read_tagging(home)}
    texts = ((name, canonical(each.model_dump(mode="json")).decode()) for name, each in found.items())
    return relation_of(work, {"name": "VARCHAR", "declared": "VARCHAR"}, texts)


def partners_of(con: "duckdb.DuckDBPyConnection") -> dict[str, Partner]:
    """The declared partners by id, from the table that a connection sees."""
    rows = con.sql("SELECT partner_id, declared FROM marketplace.partners").fetchall()
    return {partner: Partner.model_validate_json(text) for partner, text in rows}


def tagging_of(con: "duckdb.DuckDBPyConnection") -> Tagging:
    return Tagging.model_validate_json(_rule(con, "tagging"))


def redaction_of(con: "duckdb.DuckDBPyConnection") -> Redaction:
    return Redaction.model_validate_json(_rule(con, "redaction"))


def _rule(con: "duckdb.DuckDBPyConnection", name: str) -> str:
    ((text,),) = con.sql("SELECT declared FROM marketplace.rules WHERE name = $name", params={"name": name}).fetchall()
    return str(text)


def sprints_of(work: "Work") -> list[tuple[date, datetime, datetime, datetime]]:
    """(sprint, begins, ends, the instant that its verdict speaks for) of the sprints of `work`, naive UTC."""
    return work.con.sql(
        "SELECT sprint, start_utc, end_utc, CAST(cutoff_day AS TIMESTAMP) + INTERVAL 1 DAY - INTERVAL 1 MICROSECOND FROM reference.sprints "
        "WHERE sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) ORDER BY sprint",
        params=work.params,
    ).fetchall()
