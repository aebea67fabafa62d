"""What the site shows: after an attempt, and again after every act, from the journal and the bundles.

Nothing is computed or judged here; pages are drawn in `site/`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import UndefinedError

from mc_pipelines.catalog import Catalog, named, read_catalog
from mc_pipelines.closing.states import ATTEMPT, REHEARSAL, fold
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.bundle import payload_file, payload_files
from mc_pipelines.home import Home
from mc_pipelines.invoicing.batch_files import BATCH
from mc_pipelines.journaling import journal_of, kind_of
from mc_pipelines.payload import METERING
from mc_pipelines.scoreboard import Pages, scoreboard

if TYPE_CHECKING:
    from mc_pipelines.evidence.entry import Entry


@contextmanager
def _drawing(bundle: str) -> Iterator[None]:
    """MissionError where a page asks for what the document of an older code does not say."""
    try:
        yield
    except (UndefinedError, KeyError) as error:
        raise MissionError(
            f"{bundle}: another version of the code signed it, and this one cannot draw its report ({error}). The bundle stays valid; attempt "
            "the window again to show it."
        ) from error


def show_month(home: Home, month: str) -> Sequence[Path]:
    """Write the pages of a month's newest edition; returns the files whose bytes changed. MissionError where its bundle is not as signed."""
    from mc_pipelines.invoicing.batch_files import tenant_files
    from mc_pipelines.site.build import build_close

    entries = journal_of(home).entries()
    close = fold(entries, month, datetime.now(UTC))
    files = payload_files(home.evidence / close.newest.bundle, close.newest.digest)
    batch = json.loads(files.get(BATCH, b"{}"))
    batch |= {"waived": sorted(close.waived)} if batch else {}
    with _drawing(close.newest.bundle):
        built = build_close(home.site, json.loads(files[METERING]), batch, tenant_files(files))
    return [*built, *show_scoreboard(home)]


def show_window(home: Home, deliverable: str, name: str) -> Sequence[Path]:
    """Write the pages of a window's newest attempt, as its deliverable declares them, then the scoreboard; returns the files whose bytes changed."""
    from mc_pipelines.site.build import write

    ends = read_catalog(home).exit_of(deliverable)
    body = [each.body for each in journal_of(home).entries() if each.kind == kind_of(deliverable) and each.body["period"] == name][-1]
    files = payload_files(home.evidence / body["bundle"], body["digest"])
    with _drawing(body["bundle"]):
        pages = named(ends.pages)(files, name) if ends.pages else {}
    return [*write(home.site, pages), *show_editions(home, deliverable), *show_scoreboard(home)]


def show_editions(home: Home, deliverable: str) -> Sequence[Path]:
    """Write the pages of everything that a deliverable has published; returns the files whose bytes changed.

    An edition whose bundle is lost is left as it is shown: the gate that judges it says so.
    """
    from mc_pipelines.editions import content_of, newest_of
    from mc_pipelines.site.build import write

    published = read_catalog(home).exit_of(deliverable).publishes
    pages: dict[str, bytes] = {}
    for entry in newest_of(journal_of(home).entries(), deliverable):
        draws = published[entry.body["document"]].pages if entry.body["document"] in published else None
        data = content_of(home, entry)
        if draws and data is not None:
            with _drawing(entry.body["bundle"]):
                pages |= named(draws)(data, entry.body["period"])
    return write(home.site, pages)


def show_scoreboard(home: Home) -> Sequence[Path]:
    """Write the scoreboard of all deliverables; returns the files whose bytes changed."""
    from mc_pipelines.site.build import build_scoreboard

    catalog, entries = read_catalog(home), journal_of(home).entries()
    return build_scoreboard(home.site, scoreboard(home, catalog, entries, _pages(home, catalog, entries)))


def _pages(home: Home, catalog: Catalog, entries: "Sequence[Entry]") -> dict[str, Pages]:
    """The pages of each deliverable's newest attempt, by deliverable."""
    found: dict[str, Pages] = {}
    for name, declared in catalog.deliverables.items():
        tried = [entry.body for entry in entries if entry.kind == kind_of(name)]
        if not tried or declared.exit is None:
            continue
        window = str(tried[-1]["period"])
        if name == "metering":
            found[name] = _month_pages(home, tried[-1], entries)
        else:
            links = [(path.replace("{window}", window), label.replace("{window}", window)) for path, label in declared.exit.links.items()]
            found[name] = [(path, label) for path, label in links if (home.site / path).is_file()]
    return found


def _month_pages(home: Home, body: Mapping[str, Any], entries: "Sequence[Entry]") -> Pages:
    month = body["period"]
    pages = [(f"metering/{month}.html", f"Metering {month}")]
    with suppress(MissionError):  # a lost bundle is said on the scoreboard
        if payload_file(home.evidence / body["bundle"], body["digest"], BATCH, b""):
            pages.append((f"invoices/{month}.html", f"Invoices {month}"))
    pages.append((f"finance/{month}.html", f"Finance {month}"))
    if any(entry.kind == REHEARSAL for entry in entries):
        pages.append(("tonight.html", "Tonight"))
    return pages


def show_tonight(home: Home, document: Mapping[str, Any]) -> Sequence[Path]:
    """Write the page of a rehearsal; the first one is linked from the scoreboard."""
    from mc_pipelines.site.finance import build_tonight

    entries = journal_of(home).entries()
    tried = [entry for entry in entries if entry.kind == ATTEMPT]
    pages = build_tonight(home.site, document, bool(tried))
    if tried and sum(entry.kind == REHEARSAL for entry in entries) == 1:
        return [*pages, *show_scoreboard(home)]
    return pages


def show_board(home: Home, month: str) -> Sequence[Path]:
    """Write the finance dashboard of a month; returns the files whose bytes changed.

    Where somebody acted meanwhile it is written again, so that of several who write at once the last word is the journal's.
    """
    from mc_pipelines.closing.board import board
    from mc_pipelines.site.finance import build_board

    journal = journal_of(home)
    entries = journal.entries()
    while fold(entries, month).editions:
        pages = build_board(home.site, board(home, entries, month, datetime.now(UTC)))
        read, entries = len(entries), journal.entries()
        if len(entries) == read:
            return pages
    return ()
