"""Documents of a window that people publish: a model card, a feedback report. Each edition is a signed bundle that a journal entry names.

What a document says is a table of its deliverable, which gates compare with what was published. Invoices are published in `closing/publication.py`.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from mc_pipelines.code import code_digest, code_version
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.bundle import build, payload_digest, payload_file
from mc_pipelines.evidence.canonical import sha256
from mc_pipelines.evidence.checkpoint import Head
from mc_pipelines.evidence.position import journal_at_hand
from mc_pipelines.faults import reach
from mc_pipelines.journaling import Progress, journal_of
from mc_pipelines.lake import WHOLE
from mc_pipelines.reference_tables import relation_of
from mc_pipelines.report import some_windows
from mc_pipelines.runner import Workshop, materialise
from mc_pipelines.windows import Window, window_named

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.evidence.entry import Entry
    from mc_pipelines.home import Home
    from mc_pipelines.runner import Work

EDITION = "document.edition"
FOLDER = "published"
"""Below the folder of the window's attempts."""
Place = tuple[str, str, str]
"""Deliverable, key of the window, document."""


def publish_all(
    home: "Home", deliverable: str, name: str, documents: "Sequence[str]", requested_by: str, progress: Progress = lambda line: None
) -> "list[Entry]":
    """Publish some documents of a window; those that the deliverable declares where none is named."""
    known = Workshop.open(home).catalog.exit_of(deliverable).publishes
    return [publish(home, deliverable, name, document, requested_by, progress) for document in documents or known]


def publish(home: "Home", deliverable: str, name: str, document: str, requested_by: str, progress: Progress = lambda line: None) -> "Entry":
    """Sign and publish a document of a window as its tables make it now. Asked again for the same bytes, it returns what stands.

    MissionError where the deliverable has no such document, or its tables have nothing to say yet.
    """
    shop, journal = Workshop.open(home), journal_of(home)
    ends = shop.catalog.exit_of(deliverable)
    if document not in ends.publishes:
        raise MissionError(f"{deliverable} publishes no {document}. It publishes {', '.join(ends.publishes) or 'nothing'}.")
    table, window = ends.publishes[document].draft, window_named(home, ends.every, name)
    progress(f"building {table} of {window.name}")
    version, data = _draft(shop, table, window)
    files = {f"{document}.json": data}
    digest = payload_digest({f"data/{path}": sha256(body) for path, body in files.items()})
    if (standing := _standing(journal.entries(), deliverable, window, document, digest)) is not None:
        return standing
    assert journal.signer is not None
    chain = journal.chain()
    earlier = _editions(chain, deliverable, window, document)
    predicate = {
        "deliverable": deliverable,
        "period": window.name,
        "as_of": window.as_of,
        "document": document,
        "predecessor": earlier[-1].body["digest"] if earlier else None,
        "inputs": [{"name": table, "version": version, "digest": shop.lake.files_digest(table, version)}],
        "code": {"version": code_version(), "digest": code_digest(home)},
        "checkpoint": Head.of(chain).document(),
    }
    folder = home.evidence / ends.evidence / window.name / FOLDER / document
    bundle = build(folder, f"{len(earlier) + 1:03d}-{digest[:12]}", files, predicate, journal.signer)
    reach("edition.bundle_built")
    body = {
        "deliverable": deliverable,
        "window": window.key,
        "period": window.name,
        "document": document,
        "predecessor": predicate["predecessor"],
        "digest": digest,
        "envelope": bundle.envelope,
        "bundle": bundle.path.relative_to(home.evidence).as_posix(),
        "requested_by": requested_by,
    }
    return journal.append(
        EDITION,
        lambda _: body | {"edition": 1 + len(_editions(journal.chain(), deliverable, window, document))},
        lambda entries: _standing(entries, deliverable, window, document, digest),
    )


def _draft(shop: Workshop, table: str, window: Window) -> tuple[int, bytes]:
    """The document of a window as its table makes it, and the table's version; everything that it rests on is brought up to date first."""
    from mc_pipelines.engine import connect

    for model in shop.catalog.behind([shop.catalog.models[table]]):
        if model.header.every != "day":
            materialise(shop, model, [window.key] if model.judged else [WHOLE])
    version, con = shop.lake.version(table), connect()
    if version is not None:
        some_windows(shop, con, table, version, f"{shop.catalog.models[table].header.window} = '{window.key}'")
        for content, against in con.sql(f"SELECT content, against FROM {table}").fetchall():
            if against:
                raise MissionError(f"{window.name}: {table} is not fit to be published: {against}. Mend that first.")
            return version, str(content).encode()
    raise MissionError(f"{window.name}: {table} has nothing to publish yet. Run the window's landing days first: mission run FIRST..LAST")


def _editions(entries: "Sequence[Entry]", deliverable: str, window: Window, document: str) -> "list[Entry]":
    """The editions of a document, oldest first; those of a revoked key among them, so that numbers are never used again."""
    wanted = (deliverable, window.key, document)
    return [each for each in entries if each.kind == EDITION and _place(each) == wanted]


def _place(entry: "Entry") -> Place:
    return entry.body["deliverable"], entry.body["window"], entry.body["document"]


def _standing(entries: "Sequence[Entry]", deliverable: str, window: Window, document: str, digest: str) -> "Entry | None":
    """The newest edition, where it holds the same already."""
    found = _editions(entries, deliverable, window, document)
    return found[-1] if found and found[-1].body["digest"] == digest else None


def newest(work: "Work") -> "duckdb.DuckDBPyRelation":
    """A row for the newest edition of each document and window of the table's deliverable; `content` is NULL where its bundle is lost or changed."""
    schema = {
        "sprint": "DATE",
        "document": "VARCHAR",
        "edition": "BIGINT",
        "entry": "BIGINT",
        "published_at": "TIMESTAMP",
        "published_by": "VARCHAR",
        "content": "VARCHAR",
    }
    return relation_of(work, schema, _rows(work.shop.home, work.model.deliverable))


def fingerprint(shop: Workshop, model: "Model", window: str) -> str:
    """The editions that count, and the bytes that each of them has now."""
    return sha256(repr(list(_rows(shop.home, model.deliverable))).encode())


def _rows(home: "Home", deliverable: str) -> Iterator[tuple[Any, ...]]:
    journal = journal_at_hand(home)
    for entry in newest_of(journal.entries() if journal else (), deliverable):
        at: datetime = entry.signed_at.astimezone(UTC).replace(tzinfo=None)
        data = content_of(home, entry)
        said = (entry.body["edition"], entry.number, at, entry.body["requested_by"], None if data is None else data.decode())
        yield date.fromisoformat(entry.body["window"]), entry.body["document"], *said


def newest_of(entries: "Sequence[Entry]", deliverable: str) -> "list[Entry]":
    """The entry of the newest edition of each document and window of a deliverable, by window and document."""
    last = {_place(entry): entry for entry in entries if entry.kind == EDITION and entry.body["deliverable"] == deliverable}
    return [entry for _, entry in sorted(last.items())]


def content_of(home: "Home", entry: "Entry") -> bytes | None:
    """The bytes of a published document; None where its bundle is not there or not as it was signed."""
    try:
        return payload_file(home.evidence / entry.body["bundle"], entry.body["digest"], f"{entry.body['document']}.json")
    except MissionError:
        return None
