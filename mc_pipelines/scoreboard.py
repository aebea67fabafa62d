"""The scoreboard: every gate of every deliverable, as the newest signed attempt at its newest window left it.

Read from the journal and the bundles that it names; nothing is judged or drawn here. What nobody attempted has no gates to show,
and one deliverable whose bundle is lost is said to have lost it, so that the others are still shown.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mc_pipelines.catalog import Catalog
from mc_pipelines.closing.states import Close, fold
from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home
from mc_pipelines.journaling import kind_of
from mc_pipelines.payload import results_of
from mc_pipelines.report import released, verdict

if TYPE_CHECKING:
    from mc_pipelines.evidence.entry import Entry
    from mc_pipelines.gates import GateResult

SHOWN_OF_ATTEMPT = ("edition", "verdict", "as_of", "bundle", "digest", "failed")
COUNTED = ("passed", "failed", "no_evidence", "warning", "waived")
Pages = Sequence[tuple[str, str]]
"""(path below site/, label); the first is the report that a deliverable's gates lead to."""


def scoreboard(home: Home, catalog: Catalog, entries: "Sequence[Entry]", pages: Mapping[str, Pages]) -> dict[str, Any]:
    """All sections as one JSON-safe document. The verdict passes only when every critical gate of every section passed; no evidence is no pass.

    `pages` are those of each deliverable, by its name.
    """
    sections = []
    for name, declared in sorted(catalog.deliverables.items()):
        tried = [entry for entry in entries if entry.kind == kind_of(name)] if declared.exit else []
        if tried:
            sections.append(_section(home, catalog, name, tried, entries, pages.get(name, ())))
    counts = {each: sum(section["counts"][each] for section in sections) for each in COUNTED}
    return {
        "title": "Gate scoreboard",
        "verdict": "passed" if sections and all(each["verdict"] == "passed" for each in sections) else "failed",
        "released": bool(sections) and all(each["released"] for each in sections),
        "counts": counts,
        "deliverables": sections,
    }


def _section(home: Home, catalog: Catalog, name: str, tried: "Sequence[Entry]", entries: "Sequence[Entry]", pages: Pages) -> dict[str, Any]:
    """One deliverable: its newest attempt, the earlier ones of the same window, and the history of each gate."""
    body, declared = tried[-1].body, catalog.deliverables[name]
    assert declared.exit is not None
    window, (results, lost) = str(body["period"]), _results(home, body)
    close = fold(entries, window, datetime.now(UTC)) if name == "metering" else Close(window)
    history = _history(tried)
    waivers = close.waivers_shown() if close.editions else []
    counts = dict.fromkeys(COUNTED, 0)
    gates = []
    for result in results:
        waived = result.gate in close.waived if close.editions else False
        counts[_shown(result, waived)] += 1
        beside = {"waived": waived, "waivers": [each for each in waivers if each["gate"] == result.gate]}
        beside |= {"history": history.get(result.gate, []), "evidence": _page_of(result, pages)}
        gates.append(result.to_json() | beside)
    of_window = [entry.body for entry in tried if entry.body["period"] == window]
    return {
        "name": name,
        "title": declared.title,
        "about": declared.about,
        "window": window if declared.exit.every == "month" else f"Sprint {window}",
        "as_of": body["as_of"],
        "code": str(body.get("code", ""))[:12],
        "verdict": verdict(results),
        "released": released(results, close.waived if close.editions else ()),
        "counts": counts,
        "pages": [list(each) for each in pages],
        "gates": gates,
        "lost": lost,
        "attempts": [{key: each[key] for key in SHOWN_OF_ATTEMPT} for each in of_window],
        "bundle": body["bundle"],
    }


def _results(home: Home, body: Mapping[str, Any]) -> "tuple[Sequence[GateResult], str | None]":
    """The gates of an attempt; or none and why, where its bundle is not there or not as signed: then nothing of it counts as passed."""
    try:
        return results_of(home, body), None
    except MissionError as error:
        return [], str(error).replace(f"{home.root}/", "")


def _shown(result: "GateResult", waived: bool) -> str:
    """A waived gate is counted as waived, never as passed, and a warning that failed as a warning."""
    return "waived" if waived else result.status if result.status == "passed" or result.severity == "critical" else "warning"


def _history(tried: "Sequence[Entry]") -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in tried:
        for gate, value in entry.body["values"].items():
            found.setdefault(gate, []).append({"period": f"{entry.body['period']} #{entry.body['edition']}", "value": value})
    return found


def _page_of(result: "GateResult", pages: Pages) -> str | None:
    """The page that shows what a gate judged: that of the invoices for their gates, else the deliverable's report."""
    paths = [path for path, _ in pages]
    if result.table.startswith("metering.invoice"):
        paths = [path for path in paths if path.startswith("invoices/")] or paths
    return paths[0] if paths else None
