"""One attempt at closing a month: pin, judge, sign, remember, show.

The gates are evaluated here again, by whoever signs; what a check in the UI said does not count. A failed attempt is signed too.
The journal entry that names the bundle is the commit point. Approval, lock and publication are not decided here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mc_pipelines import report
from mc_pipelines.catalog import Model
from mc_pipelines.code import code_digest, code_version
from mc_pipelines.engine import connect
from mc_pipelines.errors import MissionError
from mc_pipelines.faults import reach
from mc_pipelines.gates import Gate, GateResult, read_gates
from mc_pipelines.home import Home
from mc_pipelines.runner import Workshop
from mc_pipelines.shell import write_views

if TYPE_CHECKING:
    from mc_pipelines.journal import Entry, Journal

FOLDER = "finance/metering/close"
DELIVERABLE = "metering"
ATTEMPT = "metering.close.attempt"
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Attempt:
    """A signed attempt: its number within the month, verdict, gate results and bundle; `fresh` is False when it stood already."""

    period: str
    edition: int
    verdict: str
    results: Sequence[GateResult]
    bundle: Path
    digest: str
    fresh: bool
    pages: Sequence[Path]


def month_key(month: str) -> str:
    """'2026-04' as the window key '2026-04-01'. Raises MissionError on anything else."""
    try:
        return date.fromisoformat(f"{month}-01").isoformat()
    except ValueError as error:
        raise MissionError(f"{month!r} is no month. Write it as YYYY-MM, for example 2026-04.") from error


def gates_of(home: Home, deliverable: str) -> tuple[Gate, ...]:
    """The gates that checks/<deliverable>.yaml declares, the home's file replacing the checkout's."""
    return read_gates(home.declared(f"checks/{deliverable}.yaml"))


def month_models(shop: Workshop) -> list[Model]:
    """The month tables of the metering deliverable, upstream first."""
    return [model for model in shop.catalog.ordered() if model.header.every == "month" and model.deliverable == DELIVERABLE]


def pinned(shop: Workshop) -> dict[str, int]:
    """The newest version of every table a close reads; MissionError names what was never built."""
    names = sorted(
        {also for model in shop.catalog.models.values() for also in (model.key, *model.header.also) if not model.key.startswith("ops.")}
    )
    pins = {name: shop.lake.version(name) for name in names}
    absent = [name for name, version in pins.items() if version is None]
    if absent:
        raise MissionError(
            f"not built yet: {', '.join(absent)}. Run `mission run FIRST..LAST` over the month's landing days, then close again."
        )
    return {name: version for name, version in pins.items() if version is not None}


def evaluate_month(shop: Workshop, period: str, pins: Mapping[str, int], gates: Sequence[Gate]) -> list[GateResult]:
    """Judge every gate on the month's rows at the pinned versions."""
    from mc_pipelines.acceptance import evaluate

    con = connect()
    tables = sorted({gate.table for gate in gates})
    report.month_views(shop, con, period, tables, pins)
    return evaluate(con, gates, {table: table for table in tables})


def as_of_instant(shop: Workshop, period: str, pins: Mapping[str, int]) -> str:
    """The cut-off of the month's last tenant: the instant that the close speaks for, from reference data and not from a clock."""
    con = connect()
    shop.lake.view(con, "reference.periods", pins["reference.periods"])
    row = con.sql(
        "SELECT max(cutoff_day) FROM reference.periods WHERE period = CAST($period AS DATE)", params={"period": period}
    ).fetchall()[0]
    if row[0] is None:
        raise MissionError(f"{period[:7]} lies outside the calendar. Extend start or end in reference/calendar.yaml.")
    return f"{row[0].isoformat()}T23:59:59.999999Z"


def result_files(shop: Workshop, period: str, pins: Mapping[str, int], results: Sequence[GateResult], as_of: str) -> dict[str, bytes]:
    """The payload of the bundle: canonical rows of every month mart, the gates and the report. The same rows give the same bytes."""
    from mc_pipelines.canonical import canonical, rows_bytes

    con = connect()
    models = month_models(shop)
    report.month_views(shop, con, period, sorted(pins), pins)
    files: dict[str, bytes] = {}
    for model in models:
        relation = con.sql(f"FROM {model.key}")
        files[f"tables/{model.key}.jsonl"] = rows_bytes(relation.columns, relation.fetchall(), model.header.grain)
        files[f"schemas/{model.key}.json"] = canonical(
            {"columns": relation.columns, "types": [str(kind) for kind in relation.types], "grain": list(model.header.grain)}
        )
    files["gates.json"] = canonical([result.to_json() for result in results])
    files["metering.json"] = canonical(report.metering_report(con, period, as_of, variance_limit(results)))
    return files


def variance_limit(results: Sequence[GateResult]) -> str:
    """The declared threshold of the per-tenant variance gate: the only place that it is read from for the page."""
    by_gate = {result.gate: result.threshold for result in results}
    return by_gate.get("metering_variance_tenants") or by_gate.get("metering_variance") or "0"


def predicate(
    shop: Workshop, period: str, pins: Mapping[str, int], results: Sequence[GateResult], as_of: str, earlier: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """How the numbers came to be: code, parameters, pinned inputs, landing files, SQL, gates, earlier attempts."""
    con = connect()
    for table in ("landing.usage_events", "landing.gateway_log"):
        shop.lake.view(con, table, pins[table])
    landed = report.records(
        con,
        "SELECT 'usage_events' AS source, landing_day, file, sha256, bytes FROM landing.usage_events "
        "UNION ALL SELECT 'gateway_log', landing_day, file, sha256, bytes FROM landing.gateway_log ORDER BY ALL",
    )
    return {
        "deliverable": DELIVERABLE,
        "period": period[:7],
        "as_of": as_of,
        "code": {"version": code_version(), "digest": code_digest(shop.home)},
        "run_id": shop.run_id,
        "verdict": report.verdict(results),
        "inputs": [
            {"name": name, "version": version, "digest": shop.lake.files_digest(name, version)} for name, version in sorted(pins.items())
        ],
        "landing": landed,
        "models": {model.key: {"recipe": model.recipe, "sql": model.sql} for model in shop.catalog.ordered()},
        "gates": [result.to_json() for result in results],
        "waivers": [],
        "earlier_attempts": [{key: entry[key] for key in ("edition", "verdict", "digest", "bundle")} for entry in earlier],
    }


def attempt(home: Home, month: str, run_id: str = "", progress: Progress = lambda line: None) -> Attempt:
    """Judge and sign the month as the lake has it now, then rebuild the site. Asked again for the same inputs, it returns what stands.

    Raises MissionError where a table is missing; a failed gate is no error but a signed verdict.
    """
    from mc_pipelines.bundle import build, payload_digest
    from mc_pipelines.canonical import sha256
    from mc_pipelines.journal import Journal
    from mc_pipelines.signing import signer as signer_of

    period = month_key(month)
    shop = Workshop.open(home, run_id)
    pins = pinned(shop)
    as_of = as_of_instant(shop, period, pins)
    progress("evaluating the gates")
    results = evaluate_month(shop, period, pins, gates_of(home, DELIVERABLE))
    files = result_files(shop, period, pins, results, as_of)
    signer = signer_of(home.keys)
    journal = Journal(home.journal, signer)
    earlier = attempts(journal, month)
    digest = payload_digest({f"data/{name}": sha256(body) for name, body in files.items()})
    fresh = not earlier or earlier[-1]["digest"] != digest
    if fresh:
        progress(f"signing attempt {len(earlier) + 1}")
        name = f"{len(earlier) + 1:03d}-{digest[:12]}"
        bundle = build(home.evidence / FOLDER / month, name, files, predicate(shop, period, pins, results, as_of, earlier), signer)
        reach("close.bundle_built")
        body = {
            "period": month,
            "verdict": report.verdict(results),
            "as_of": as_of,
            "digest": digest,
            "envelope": bundle.envelope,
            "bundle": bundle.path.relative_to(home.evidence).as_posix(),
            "failed": sorted(result.gate for result in results if result.status != "passed" and result.severity == "critical"),
            "values": {result.gate: result.value for result in results},
        }
        journal.append(
            ATTEMPT,
            lambda entries: body | {"edition": len(_of_month(entries, month)) + 1},
            lambda entries: _already(entries, month, digest),
        )
        reach("close.journal_written")
    standing = attempts(journal, month)[-1]
    progress("building the site")
    pages = show(home, shop, period, as_of, results, journal)
    write_views(home)
    return Attempt(month, standing["edition"], standing["verdict"], results, home.evidence / standing["bundle"], digest, fresh, pages)


def _of_month(entries: "Sequence[Entry]", month: str) -> "list[Entry]":
    return [entry for entry in entries if entry.kind == ATTEMPT and entry.body["period"] == month]


def _already(entries: "Sequence[Entry]", month: str, digest: str) -> "Entry | None":
    """Somebody else's identical attempt, where it is the newest of the month."""
    tried = _of_month(entries, month)
    return tried[-1] if tried and tried[-1].body["digest"] == digest else None


def attempts(journal: "Journal", month: str) -> list[dict[str, Any]]:
    """The signed attempts at one month, oldest first."""
    return [dict(entry.body) for entry in _of_month(journal.entries(), month)]


def show(home: Home, shop: Workshop, period: str, as_of: str, results: Sequence[GateResult], journal: "Journal") -> Sequence[Path]:
    """Write scoreboard and metering report; returns the files whose bytes changed."""
    from mc_pipelines.site.build import build as build_site

    month = period[:7]
    pins = pinned(shop)
    con = connect()
    report.month_views(shop, con, period, sorted(pins), pins)
    tried = attempts(journal, month)
    history: dict[str, list[dict[str, Any]]] = {}
    for entry in journal.entries():
        if entry.kind == ATTEMPT:
            for gate, value in entry.body["values"].items():
                history.setdefault(gate, []).append({"period": f"{entry.body['period']} #{entry.body['edition']}", "value": value})
    board = report.scoreboard(shop, period, as_of, results, code_digest(home), history)
    board["attempts"] = [{key: entry[key] for key in ("edition", "verdict", "as_of", "bundle", "digest", "failed")} for entry in tried]
    board["bundle"] = tried[-1]["bundle"] if tried else None
    return build_site(home.site, board, report.metering_report(con, period, as_of, variance_limit(results)))
