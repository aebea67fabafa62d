"""The packets of a sprint, and the clauses of its licences, as tables. What makes a packet count is `packets.py`'s."""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from mc_pipelines.code import package_digest
from mc_pipelines.evidence.people import people_file
from mc_pipelines.marketplace.packets import Verified, verify
from mc_pipelines.marketplace.reference import sprints_of
from mc_pipelines.reference_tables import relation_of

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.runner import Work, Workshop


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """Digest of every packet, its signature, the people who may sign, and the code that judges."""
    home = shop.home
    found = hashlib.sha256()
    for path in [*sorted((home.reference / "marketplace" / "packets").glob("*/*")), people_file(home)]:
        if path.is_file():
            found.update(f"{path.parent.name}/{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return f"{found.hexdigest()} {package_digest('marketplace')}"


def packets(work: "Work") -> "duckdb.DuckDBPyRelation":
    """Two rows for every source that is not retired, per sprint of `work`."""
    schema = {
        "sprint": "DATE",
        "source_id": "VARCHAR",
        "name": "VARCHAR",
        "partner_id": "VARCHAR",
        "status": "VARCHAR",
        "packet": "VARCHAR",
        "verified": "BIGINT",
        "why": "VARCHAR",
        "digest": "VARCHAR",
        "person": "VARCHAR",
        "signed_at": "TIMESTAMP",
    }
    rows = (
        (sprint, *about, each.kind, int(each.ok), each.why, each.digest, each.person, _naive(each.signed_at))
        for sprint, about, found in _verified(work)
        for each in (found.dpia, found.licence)
    )
    return relation_of(work, schema, rows)


def clauses(work: "Work") -> "duckdb.DuckDBPyRelation":
    """A row for every clause of a licence that counts, per sprint of `work`; `place` is its turn, from 1."""
    texts = ("clause", "kind", "pattern", "tags")
    schema = {
        "sprint": "DATE",
        "source_id": "VARCHAR",
        "place": "BIGINT",
        **dict.fromkeys(texts, "VARCHAR"),
        "signed_at": "TIMESTAMP",
    }
    rows = (
        (sprint, about[0], place, *_clause(each), _naive(found.licence.signed_at))
        for sprint, about, found in _verified(work)
        for place, each in enumerate(found.clauses, 1)
    )
    return relation_of(work, schema, rows)


def _clause(each: Mapping[str, Any]) -> tuple[str, str, str | None, str]:
    items = each["items"]
    return each["id"], each["kind"], items.get("pattern"), ", ".join(sorted(items.get("tags", ())))


def _verified(work: "Work") -> Iterator[tuple[date, tuple[str, str, str, str], Verified]]:
    """(sprint, (source, name, partner, status), what its packets are worth at the sprint's cut-off), sources in order."""
    declared = work.con.sql(
        "SELECT source_id, name, partner_id, status FROM marketplace.sources WHERE status <> 'retired' ORDER BY source_id"
    ).fetchall()
    for sprint, _, _, as_of in sprints_of(work):
        for about in declared:
            yield sprint, about, verify(work.shop.home, about[0], as_of)


def _naive(at: datetime | None) -> datetime | None:
    return at.astimezone(UTC).replace(tzinfo=None) if at else None
