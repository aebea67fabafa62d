"""Packets as tables: what lies in the home, what counts at a sprint's cut-off, and the clauses of its licences.

What makes a packet count is `packets.py`'s. A sprint is judged from the table of what lies there, which its bundle pins.
"""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from mc_pipelines.code import package_digest
from mc_pipelines.evidence.people import people_file
from mc_pipelines.marketplace.declared import read_sources
from mc_pipelines.marketplace.packets import KINDS, Pair, Verdict, judged, pairs
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
    for path in [*sorted((home.reference / "marketplace" / "packets").glob("*/**/*")), people_file(home)]:
        if path.is_file():
            found.update(f"{path.relative_to(home.reference)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return f"{found.hexdigest()} {package_digest('marketplace')}"


def packet_files(work: "Work") -> "duckdb.DuckDBPyRelation":
    """A row for every packet of a declared source, those that were kept among them."""
    schema = {
        **dict.fromkeys(("source_id", "packet", "file", "against", "document", "digest", "signature", "person"), "VARCHAR"),
        "signed_at": "TIMESTAMP",
    }
    home = work.shop.home
    found = ((source.source_id, each) for source in read_sources(home) for each in pairs(home, source.source_id))
    return relation_of(work, schema, (_file(source, each) for source, each in found))


def _file(source: str, each: Pair) -> tuple[Any, ...]:
    about = (source, each.kind, each.file, each.against, _text(each.document), each.digest, _text(each.signature), each.person)
    return *about, _naive(each.signed_at)


def packets(work: "Work") -> "duckdb.DuckDBPyRelation":
    """Two rows for every source that has a status on the sprint's last day, a retired one too, per sprint of `work`."""
    schema = {
        "sprint": "DATE",
        "source_id": "VARCHAR",
        "name": "VARCHAR",
        "partner_id": "VARCHAR",
        "status": "VARCHAR",
        "packet": "VARCHAR",
        "verified": "BIGINT",
        "why": "VARCHAR",
        "file": "VARCHAR",
        "digest": "VARCHAR",
        "person": "VARCHAR",
        "signed_at": "TIMESTAMP",
    }
    return relation_of(work, schema, (_row(sprint, about, each) for sprint, about, each in _verdicts(work)))


def _row(sprint: date, about: tuple[str, str, str, str], each: Verdict) -> tuple[Any, ...]:
    pair = each.pair
    spoken = (pair.file, pair.digest, pair.person, _naive(pair.signed_at)) if pair else (None, None, None, None)
    return sprint, *about, each.kind, int(each.ok), each.why, *spoken


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
        (sprint, about[0], place, *_clause(clause), _naive(each.pair.signed_at if each.pair else None))
        for sprint, about, each in _verdicts(work)
        if each.kind == "licence"
        for place, clause in enumerate(each.document.get("clauses", ()), 1)
    )
    return relation_of(work, schema, rows)


def _clause(each: Mapping[str, Any]) -> tuple[str, str, str | None, str]:
    items = each["items"]
    return each["id"], each["kind"], items.get("pattern"), ", ".join(sorted(items.get("tags", ())))


def _verdicts(work: "Work") -> Iterator[tuple[date, tuple[str, str, str, str], Verdict]]:
    """(sprint, (source, name, partner, status), what one of its packets is worth at the sprint's cut-off), sources and kinds in order."""
    found = _pairs(work)
    for sprint, _, _, as_of in sprints_of(work):
        query = "SELECT source_id, name, partner_id, status FROM marketplace.standing WHERE sprint = $sprint ORDER BY source_id"
        for about in work.con.sql(query, params={"sprint": sprint}).fetchall():
            for kind in KINDS:
                yield sprint, about, judged(kind, found.get(about[0], ()), as_of)


def _pairs(work: "Work") -> dict[str, list[Pair]]:
    """What lies in the home of each source, as the table says; as `pairs` orders it."""
    rows = work.con.sql(
        "SELECT source_id, packet, file, against, document, digest, signature, person, signed_at FROM marketplace.packet_files "
        "ORDER BY source_id, packet, file"
    ).fetchall()
    found: dict[str, list[Pair]] = {}
    for source, kind, file, against, document, digest, signature, person, at in rows:
        data, signed = (text.encode() if text is not None else None for text in (document, signature))
        pair = Pair(kind, file, against, data, digest, signed, person, at.replace(tzinfo=UTC) if at else None)
        found.setdefault(source, []).append(pair)
    return found


def _text(data: bytes | None) -> str | None:
    """What is kept is JSON, hence UTF-8: the text gives the same bytes again."""
    return None if data is None else data.decode()


def _naive(at: datetime | None) -> datetime | None:
    return at.astimezone(UTC).replace(tzinfo=None) if at else None
