"""The packets of a sprint as a table. What makes one count is `packets.py`'s."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mc_pipelines.code import package_digest
from mc_pipelines.evidence.people import people_file
from mc_pipelines.marketplace.packets import verify
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
    return relation_of(work, schema, _rows(work))


def _rows(work: "Work") -> Iterator[tuple[Any, ...]]:
    declared = work.con.sql(
        "SELECT source_id, name, partner_id, status FROM marketplace.sources WHERE status <> 'retired' ORDER BY source_id"
    ).fetchall()
    for sprint, _, _, as_of in sprints_of(work):
        for source, name, partner, status in declared:
            found = verify(work.shop.home, source, as_of)
            for each in (found.dpia, found.licence):
                told = (int(each.ok), each.why, each.digest, each.person, _naive(each.signed_at))
                yield sprint, source, name, partner, status, each.kind, *told


def _naive(at: datetime | None) -> datetime | None:
    return at.astimezone(UTC).replace(tzinfo=None) if at else None
