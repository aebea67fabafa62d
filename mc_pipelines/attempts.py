"""One attempt at a window of any deliverable: pin, judge, sign, remember, show.

The gates are evaluated here again, by whoever signs; what a check in the UI said does not count. A failed attempt is signed too, and the
journal entry that names the bundle is the commit point. What only the metering close does stands in `close.py`, what windows are in
`windows.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mc_pipelines import report
from mc_pipelines.catalog import named
from mc_pipelines.engine import connect
from mc_pipelines.errors import MissionError
from mc_pipelines.faults import reach
from mc_pipelines.gates import Gate, GateResult, gates_of
from mc_pipelines.home import Home
from mc_pipelines.journaling import Progress, journal_of, kind_of, requester
from mc_pipelines.payload import results_of
from mc_pipelines.runner import Workshop
from mc_pipelines.windows import Window, window_named

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.evidence.entry import Entry
    from mc_pipelines.evidence.journal import Journal

Bind = Callable[[Workshop, "duckdb.DuckDBPyConnection", str, Sequence[str], Mapping[str, int]], None]


@dataclass(frozen=True)
class Attempt:
    """A signed attempt: its number within the window, verdict, gate results and bundle; `fresh` is False when it stood already."""

    period: str
    edition: int
    verdict: str
    results: Sequence[GateResult]
    bundle: Path
    digest: str
    fresh: bool
    pages: Sequence[Path]


@dataclass(frozen=True)
class Judged:
    """A window judged and written out, before anything is signed. `files` are the payload's bytes by path under data/."""

    deliverable: str
    window: Window
    pins: Mapping[str, int]
    gates: Sequence[Gate]
    results: Sequence[GateResult]
    files: Mapping[str, bytes]

    @property
    def as_of(self) -> str:
        return self.window.as_of

    @property
    def said(self) -> Mapping[str, Any]:
        """What the journal entry says beside what it says of every attempt."""
        return {}


def pinned(shop: Workshop, deliverable: str, windows: bool = True) -> dict[str, int]:
    """The newest version of every table that a deliverable's windows rest on, and of their own, which may be absent without `windows`.

    MissionError names what was never built.
    """
    names = {
        also: model.judged
        for model in shop.catalog.behind(shop.catalog.judged(deliverable))
        for also in (model.key, *model.header.also)
        if not model.header.view
    }
    pins = {name: shop.lake.version(name) for name in sorted(names)}
    absent = [name for name, version in pins.items() if version is None and (windows or not names[name])]
    if absent:
        raise MissionError(
            f"not built yet: {', '.join(absent)}. Run `mission run FIRST..LAST` over the window's landing days, then attempt it again."
        )
    return {name: version for name, version in pins.items() if version is not None}


def evaluate_window(shop: Workshop, window: Window, pins: Mapping[str, int], gates: Sequence[Gate]) -> list[GateResult]:
    """Judge every gate on the window's rows at the pinned versions."""
    from mc_pipelines.acceptance import evaluate

    con = connect()
    tables = sorted({gate.table for gate in gates})
    report.month_views(shop, con, window.key, tables, pins)
    return evaluate(con, gates, {table: table for table in tables}, window.name)


def compute(
    shop: Workshop, deliverable: str, window: Window, pins: Mapping[str, int], gates: Sequence[Gate], bind: Bind = report.month_views
) -> Judged:
    """Judge a window and write its files: canonical rows, leaves, gates, and the documents that its pages draw.

    `bind` makes the views of the tables: as the lake has them, or computed again.
    """
    from mc_pipelines.acceptance import evaluate
    from mc_pipelines.evidence.canonical import canonical
    from mc_pipelines.payload import gates_file, table_files

    con = connect()
    bind(shop, con, window.key, sorted(pins), pins)
    results = evaluate(con, gates, {gate.table: gate.table for gate in gates}, window.name)
    files = table_files(con, shop.catalog.judged(deliverable)) | gates_file(results)
    if (report_of := shop.catalog.exit_of(deliverable).report) is not None:
        documents = named(report_of)(con, window)
        files |= {path: each if isinstance(each, bytes) else canonical(each) for path, each in documents.items()}
    return Judged(deliverable, window, pins, gates, results, files)


def attempt(
    home: Home, deliverable: str, name: str, run_id: str = "", progress: Progress = lambda line: None, requested_by: str = ""
) -> Attempt:
    """Judge and sign a window as the lake has it now, then rebuild the site. Asked again for the same inputs, it returns what stands.

    `requested_by` is who asked for it (default: the user of this machine). Raises MissionError where a table is missing; a failed gate is
    no error but a signed verdict.
    """
    from mc_pipelines.showing import show_window

    shop = Workshop.open(home, run_id)
    ends = shop.catalog.exit_of(deliverable)
    if ends.attempt is not None:
        own: Attempt = named(ends.attempt)(home, name, run_id, progress, requested_by)
        return own
    journal, window = journal_of(home), window_named(home, ends.every, name)
    progress("evaluating the gates")
    judged = compute(shop, deliverable, window, pinned(shop, deliverable), gates_of(home, deliverable))
    fresh = sign(shop, judged, journal, requested_by or requester(), progress)
    standing = attempts(journal, deliverable, window.name)[-1]
    progress("building the site")
    pages = show_window(home, deliverable, window.name)
    bundle = home.evidence / standing["bundle"]
    return Attempt(window.name, standing["edition"], standing["verdict"], judged.results, bundle, standing["digest"], fresh, pages)


def sign(
    shop: Workshop,
    judged: Judged,
    journal: "Journal",
    requested_by: str,
    progress: Progress = lambda line: None,
    waivers: "Callable[[Sequence[Entry]], Sequence[Mapping[str, Any]]]" = lambda chain: (),
) -> bool:
    """Build the bundle, then write the journal entry that names it. False where the newest attempt holds the same already.

    `waivers` gives what the bundle says of waivers, from the journal's entries.
    """
    from mc_pipelines.evidence.bundle import build, payload_digest
    from mc_pipelines.evidence.canonical import sha256
    from mc_pipelines.evidence.checkpoint import Head
    from mc_pipelines.evidence.record import predicate

    deliverable, name, home = judged.deliverable, judged.window.name, shop.home
    digest = payload_digest({f"data/{path}": sha256(body) for path, body in judged.files.items()})
    if _already(journal.entries(), deliverable, name, digest) is not None:
        return False
    edition = next_edition(journal, deliverable, name)
    progress(f"signing attempt {edition}")
    assert journal.signer is not None
    chain = journal.chain()
    written = predicate(shop, judged, waivers(chain), _of_window(chain, deliverable, name), Head.of(chain))
    folder = home.evidence / shop.catalog.exit_of(deliverable).evidence / name
    bundle = build(folder, f"{edition:03d}-{digest[:12]}", judged.files, written, journal.signer)
    reach("close.bundle_built")
    body = {
        "period": name,
        "verdict": report.verdict(judged.results),
        "as_of": judged.as_of,
        "code": written["code"]["digest"],
        "digest": digest,
        "envelope": bundle.envelope,
        "bundle": bundle.path.relative_to(home.evidence).as_posix(),
        "failed": sorted(result.gate for result in judged.results if result.status != "passed" and result.severity == "critical"),
        "failures": failures_of(judged.results),
        "values": {result.gate: result.value for result in judged.results},
        "merkle": written["merkle"],
        "requested_by": requested_by,
        **judged.said,
    }
    journal.append(
        kind_of(deliverable),
        lambda _: body | {"edition": next_edition(journal, deliverable, name)},
        lambda entries: _already(entries, deliverable, name, digest),
    )
    reach("close.journal_written")
    return True


def failures_of(results: Sequence[GateResult]) -> dict[str, str | None]:
    """By gate that did not pass the digest of its failure; None where there was no evidence, which nobody can waive."""
    return {result.gate: result.failure for result in results if result.status != "passed"}


def _of_window(entries: "Sequence[Entry]", deliverable: str, name: str) -> "list[Entry]":
    return [entry for entry in entries if entry.kind == kind_of(deliverable) and entry.body["period"] == name]


def next_edition(journal: "Journal", deliverable: str, name: str) -> int:
    """One more than the attempts so far. Those that a revoked key signed keep their numbers, though they no longer count."""
    return len(_of_window(journal.chain(), deliverable, name)) + 1


def _already(entries: "Sequence[Entry]", deliverable: str, name: str, digest: str) -> "Entry | None":
    """An identical attempt, by us or somebody else, where it is the newest of the window."""
    tried = _of_window(entries, deliverable, name)
    return tried[-1] if tried and tried[-1].body["digest"] == digest else None


def attempts(journal: "Journal", deliverable: str, name: str) -> list[dict[str, Any]]:
    """The signed attempts at one window that count, oldest first."""
    return [dict(entry.body) for entry in _of_window(journal.entries(), deliverable, name)]


def standing(home: Home, deliverable: str, name: str) -> Attempt:
    """The newest attempt at a window that counts, as its bundle tells it. MissionError where there is none, or the bundle is not as signed."""
    from mc_pipelines.evidence.position import journal_at_hand

    journal = journal_at_hand(home)
    tried = attempts(journal, deliverable, name) if journal else []
    if not tried:
        verb = "close" if deliverable == "metering" else f"attempt {deliverable}"
        raise MissionError(f"{name} was never attempted here. Attempt it: mission {verb} {name}")
    body = tried[-1]
    return Attempt(
        name, body["edition"], body["verdict"], results_of(home, body), home.evidence / body["bundle"], body["digest"], False, ()
    )
