"""Ombuds exports of a sprint: each source's trail built, signed and verified, as a table of what came of it. Redaction is `ombuds.py`'s."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mc_pipelines import personal
from mc_pipelines.code import package_digest
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.bundle import Bundle, build
from mc_pipelines.evidence.canonical import instant, sha256
from mc_pipelines.evidence.signing import Signer, known_keys, signer
from mc_pipelines.evidence.verify import verify
from mc_pipelines.marketplace.ombuds import Export, export
from mc_pipelines.marketplace.reference import redaction_of, sprints_of
from mc_pipelines.reference import read
from mc_pipelines.reference_tables import relation_of

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.home import Home
    from mc_pipelines.runner import Work, Workshop

Subject = Literal["source", "tenant"]
LINES, PAGE = "trail.jsonl", "trail.html"
REQUESTS = """
    SELECT DISTINCT request_id, source_id, tenant_id, state, occurred_at, "by"
    FROM staging.connect_requests
    WHERE occurred_at <= $as_of AND landing_day <= CAST($as_of AS DATE)
    ORDER BY ALL
"""
DECISIONS = """
    SELECT DISTINCT concat(request_id, '.', state) AS decision_id, source_id, tenant_id, state AS outcome, occurred_at, "by"
    FROM staging.connect_requests
    WHERE state IN ('approved', 'rejected') AND occurred_at <= $as_of AND landing_day <= CAST($as_of AS DATE)
    ORDER BY ALL
"""
PACKETS = """
    SELECT source_id, packet, digest, verified = 1 AS ok, why, person, signed_at FROM marketplace.packets WHERE sprint = $sprint ORDER BY ALL
"""
DEMOTIONS = """
    SELECT source_id, clause, kind AS after, signed_at AS occurred_at, pattern, tags
    FROM marketplace.clauses WHERE sprint = $sprint AND kind IN ('demote', 'block') ORDER BY ALL
"""
FEEDBACK = """
    SELECT DISTINCT feedback_id, partner_id, category, severity, text, contact, contact_consent, submitted_at
    FROM staging.feedback
    WHERE submitted_at <= $as_of AND landing_day <= CAST($as_of AS DATE)
    ORDER BY ALL
"""


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """Digest of the code that exports, and of the key that names are hashed with."""
    return f"{package_digest('marketplace')} {hashlib.sha256(b'ombuds' + _key(shop.home)).hexdigest()}"


def _key(home: "Home") -> bytes:
    return hashlib.sha256(b"ombuds export" + personal.key(home)).digest()


def exports(work: "Work") -> "duckdb.DuckDBPyRelation":
    """A row for every source that has a status on the sprint's last day, per sprint of `work`."""
    schema = {"sprint": "DATE", "source_id": "VARCHAR", "records": "BIGINT", "digest": "VARCHAR", "verified": "BIGINT", "why": "VARCHAR"}
    return relation_of(work, schema, (row for sprint, _, _, as_of in sprints_of(work) for row in _rows(work, sprint, as_of)))


def _rows(work: "Work", sprint: date, as_of: datetime) -> Iterator[tuple[Any, ...]]:
    home, by = work.shop.home, signer(work.shop.home.keys)
    query = "SELECT source_id FROM marketplace.standing WHERE sprint = $sprint ORDER BY source_id"
    for (source,) in work.con.sql(query, params={"sprint": sprint}).fetchall():
        made = trail(work.con, home, "source", source, sprint, as_of)
        with tempfile.TemporaryDirectory() as folder:
            bundle = signed(Path(folder), f"source-{source}", made, as_of, by)
            found = verify(bundle.path, known_keys(home.keys))
        yield sprint, source, sum(made.counts.values()), sha256(made.lines), int(found.ok), "; ".join(found.reasons)


def trail(con: "duckdb.DuckDBPyConnection", home: "Home", subject: Subject, subject_id: str, sprint: date, as_of: datetime) -> Export:
    """The whole trail of a source or tenant until `as_of` (naive UTC), redacted. MissionError for one that nobody declared.

    Every event of its requests, what was decided, and of the sources that it is or asked for the packets, and the clauses by which a licence
    that counts demotes or blocks items. A source's trail also holds what its partner said.
    """
    partners = dict(con.sql("SELECT DISTINCT source_id, partner_id FROM marketplace.sources").fetchall())
    declared = sorted(partners) if subject == "source" else [each.tenant_id for each in read(home, "tenants")]
    if subject_id not in declared:
        raise MissionError(f"no {subject} is called {subject_id[:80]!r}. Declared are {', '.join(declared) or 'none'}.")
    own = f"{subject}_id"
    requests, decisions = ([row for row in _named(con, query, as_of=as_of) if row[own] == subject_id] for query in (REQUESTS, DECISIONS))
    sources = {subject_id} if subject == "source" else {row["source_id"] for row in requests}
    packets, demotions = (
        [row for row in _named(con, query, sprint=sprint) if row["source_id"] in sources] for query in (PACKETS, DEMOTIONS)
    )
    feedback = [row for row in _named(con, FEEDBACK, as_of=as_of) if subject == "source" and row["partner_id"] == partners[subject_id]]
    rows = {"requests": requests, "packets": packets, "decisions": decisions, "demotions": demotions, "feedback": feedback}
    return export(subject, subject_id, rows, redaction_of(con), _key(home), as_of)


def _named(con: "duckdb.DuckDBPyConnection", query: str, **params: date) -> list[dict[str, Any]]:
    found = con.sql(query, params=params)
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def signed(folder: Path, name: str, made: Export, as_of: datetime, by: Signer, seen: Mapping[str, Any] | None = None) -> Bundle:
    """The export as a signed bundle of its own, which verifies offline. `seen` is the journal's head before the entry that names it, if one does."""
    about = {"deliverable": "marketplace", "export": "ombuds", "as_of": instant(as_of), "records": dict(made.counts)}
    return build(folder, name, {LINES: made.lines, PAGE: made.page}, about | ({"checkpoint": seen} if seen else {}), by)
