"""What is locked, as tables of the lake: folded from the journal, and built anew from it at the beginning of every close.

A locked close keeps what its bundle recorded of itself (pins, models), so that its month can be counted and rated again from the lake alone.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from mc_pipelines.closing.states import ATTEMPT, LOCK, Lock, fold, in_order
from mc_pipelines.engine import connect
from mc_pipelines.evidence.bundle import payload_file
from mc_pipelines.evidence.canonical import canonical, sha256
from mc_pipelines.evidence.position import journal_at_hand
from mc_pipelines.evidence.record import REPEATED, Recorded, named_predicate
from mc_pipelines.invoicing.batch_files import BATCH
from mc_pipelines.reference_tables import relation_of

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.evidence.entry import Entry
    from mc_pipelines.runner import Work, Workshop

CLOSES = {"period": "DATE", "edition": "BIGINT", "digest": "VARCHAR", "recorded": "VARCHAR"}
TENANTS = {"tenant_id": "VARCHAR", "period": "DATE", "edition": "BIGINT", "entry": "BIGINT", "invoice": "VARCHAR"}


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """Digest of the locks in the journal."""
    return sha256(canonical([entry.digest for entry in _entries(shop) if entry.kind == LOCK]))


def _entries(shop: "Workshop") -> "Sequence[Entry]":
    journal = journal_at_hand(shop.home)
    return journal.entries() if journal else []


def _locks(shop: "Workshop") -> Iterator[tuple[str, "Sequence[Lock]", frozenset[str]]]:
    """By month: its locks in order, and the tenants of the first edition that was locked."""
    entries = [entry for entry in _entries(shop) if entry.kind in (ATTEMPT, LOCK)]
    for month in sorted({entry.body["period"] for entry in entries if entry.kind == LOCK}):
        close = fold(entries, month)
        assert close.present is not None
        yield month, in_order(close.locks.values()), close.present


def closes(work: "Work") -> "duckdb.DuckDBPyRelation":
    """One row for each edition in which some tenant is locked. MissionError where a bundle is gone, or is not the one that was locked."""
    home = work.shop.home
    rows = (
        (date.fromisoformat(f"{month}-01"), edition, lock.digest, canonical(_recorded(named_predicate(home, lock.entry))).decode())
        for month, locks, _ in _locks(work.shop)
        for edition, lock in sorted({lock.edition: lock for lock in locks}.items())
    )
    return relation_of(work, CLOSES, rows)


def _recorded(predicate: Any) -> dict[str, Any]:
    return {name: predicate[name] for name in REPEATED}


def tenants(work: "Work") -> "duckdb.DuckDBPyRelation":
    """One row for each tenant and month that is locked, with the digest of its invoice ('' where it has none).

    A tenant that the first locked edition of a month does not have is closed there with nothing.
    """
    return relation_of(work, TENANTS, _tenants(work))


def _tenants(work: "Work") -> Iterator[tuple[Any, ...]]:
    home = work.shop.home
    for month, locks, known in _locks(work.shop):
        period = date.fromisoformat(f"{month}-01")
        for lock in locks:
            batch = json.loads(payload_file(home.evidence / lock.bundle, lock.digest, BATCH, absent=b'{"invoices": []}'))
            invoices = {each["tenant_id"]: each["digest"] for each in batch["invoices"]}
            for tenant in sorted(lock.tenants):
                yield tenant, period, lock.edition, lock.entry.number, invoices.get(tenant, "")
        recorded = Recorded.read(_recorded(named_predicate(home, locks[0].entry)))
        con = connect()
        work.shop.lake.view(con, "reference.tenants", recorded.pins["reference.tenants"])
        for (tenant,) in con.sql("SELECT tenant_id FROM reference.tenants ORDER BY tenant_id").fetchall():
            if tenant not in known:
                yield tenant, period, locks[0].edition, locks[0].entry.number, ""
