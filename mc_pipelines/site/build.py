"""Writes the gate scoreboard and the pages of a close, and beside each its JSON.

Selection, order and the files belong here; wording and layout are in the templates, numbers in `format`, drawings in `charts`.
"""

import calendar
import json
import os
import re
import shlex
import tempfile
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jinja2
from markupsafe import Markup

from mc_pipelines.disk import writing
from mc_pipelines.errors import MissionError
from mc_pipelines.site import charts, invoices
from mc_pipelines.site.format import Figures, breaks, day_label, exact, moment, number, percent, step

HERE = Path(__file__).resolve().parent
MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
WITHIN_SHOWN = 2000  # pairs within the limit on the page; a page of all pairs of 10,000 tenants opens in no browser
LATE_SHOWN = 500
ORDER = {"breach": 0, "unsigned": 0, "unreferenced": 1, "explained": 2}
BOUNDS = {"<=": "≤", "<": "<", ">=": "≥", ">": ">", "==": "=", "between": ""}
NO_SUM = frozenset({"unique_count", "max", "latest", "avg", "average"})  # their days do not add up to the month
_NUMERIC = re.compile(r"-?[0-9]{1,15}(\.[0-9]+)?")
_NAMES = re.compile(r"(^|_)(id|key|line|item|offset|period|day|path|status|digest|version)$")


def build_close(
    site: Path,
    metering: Mapping[str, Any],
    batch: Mapping[str, Any] = MappingProxyType({}),
    previews: Mapping[str, bytes] = MappingProxyType({}),
) -> list[Path]:
    """Write pages and JSON of one close under `site`; returns the paths whose bytes changed, in the order written.

    `batch` is what is said of all invoices, empty where none was rated; `previews` are the tenants' files by `<folder>/<file>`.
    The same documents give the same bytes: no clock, no run, no state of the folder enters. Raises MissionError for a period that is
    no month, jinja2.UndefinedError where a field is missing.
    """
    month = str(metering["period"])
    if not MONTH.fullmatch(month):
        raise MissionError(f"site: the metering report's period {month!r} is no month; give it as YYYY-MM")
    files = {f"metering/{month}.json": canonical_json(metering), f"metering/{month}.html": metering_page(metering, bool(batch))}
    if batch:
        files |= {f"invoices/{month}/{name}": data for name, data in previews.items()}
        files |= {
            f"invoices/{month}.json": canonical_json(batch),
            f"invoices/{month}.html": environment().get_template("invoices.html.j2").render(invoices.context(batch)).encode(),
        }
    return [*write(site, files), *_swept(site / "invoices", month, {site / name for name in files})]


def build_scoreboard(site: Path, scoreboard: Mapping[str, Any]) -> list[Path]:
    """Write the scoreboard and its JSON under `site`; returns the paths whose bytes changed. As `build_close` in everything else."""
    return write(site, {"scoreboard.json": canonical_json(scoreboard), "index.html": scoreboard_page(scoreboard)})


def write(site: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Put each file in its place below `site`; returns the paths whose bytes changed."""
    with writing(site):
        return [site / name for name, data in files.items() if replace(site / name, data)]


def _swept(folder: Path, month: str, files: Container[Path]) -> list[Path]:
    """Take away what an earlier close of the month showed of invoices and this one does not."""
    found = [*folder.glob(f"{month}.*"), *folder.glob(f"{month}/*/*")]
    gone = sorted(path for path in found if path not in files)
    for path in gone:
        path.unlink()
    for left in {path.parent for path in gone if path.parent != folder}:
        if not any(left.iterdir()):
            left.rmdir()
    return gone


def canonical_json(document: Mapping[str, Any]) -> bytes:
    """Keys sorted, UTF-8, indented for reading and for diffs. ValueError for NaN and infinities."""
    return (json.dumps(document, sort_keys=True, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()


def replace(path: Path, data: bytes) -> bool:
    """Put the bytes at the path in one step, readers see the old file or the new; false where they stand there already."""
    with suppress(FileNotFoundError):  # asked of the file itself: another process may take it away between two questions
        if path.read_bytes() == data:
            return False
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, 0o644)
            file.write(data)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return True


def environment() -> jinja2.Environment:
    """Everything is escaped and a field that is missing is an error, never a blank."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {
        "breaks": breaks,
        "number": number,
        "percent": percent,
        "moment": moment,
        "day_label": day_label,
        "words": words,
        "step": step,
        "unit": charts.unit_of,
    }
    env.globals |= {"css": Markup((HERE / "style.css").read_text()), "bounds": BOUNDS, "no_sum": NO_SUM}
    return env


def words(count: int, one: str, many: str | None = None) -> str:
    """`1 row`, `1,204 rows`."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def scoreboard_page(scoreboard: Mapping[str, Any]) -> bytes:
    """The gate scoreboard as HTML."""
    page = (
        environment()
        .get_template("scoreboard.html.j2")
        .render(
            board=scoreboard,
            fig=Figures(scoreboard),
            headline=headline(scoreboard),
            outcome="waived" if scoreboard["verdict"] != "passed" and scoreboard["released"] else scoreboard["verdict"],
            spark=spark,
            history_table=history_table,
            table=offending_table,
            quoted=lambda bundle: shlex.quote(f"evidence/{bundle}"),
        )
    )
    return page.encode()


def headline(board: Mapping[str, Any]) -> str:
    """The verdict in one line; it says what stands in the way, not only that something does."""
    counts = board["counts"]
    judged = sum(len(each["gates"]) for each in board["deliverables"])
    lost = sum(each["lost"] is not None for each in board["deliverables"])
    if judged == 0 and not lost:
        return "Not ready: no gate was judged"
    if board["verdict"] == "passed":
        if counts["warning"]:
            return f"Ready: every critical gate passed, {words(counts['warning'], 'warning')}"
        if counts["waived"]:
            return f"Ready: every critical gate passed, {number(counts['waived'])} waived"
        return "Ready: the one gate passed" if judged == 1 else f"Ready: all {number(judged)} gates passed"
    if board["released"]:
        return f"Not passed, but waived: {words(counts['waived'], 'gate')} with a signed rationale"
    parts = [f"{words(lost, 'signed bundle')} that cannot be read"] if lost else []
    if counts["failed"]:
        parts.append(f"{words(counts['failed'], 'gate')} failed")
    if counts["no_evidence"]:
        parts.append(f"{words(counts['no_evidence'], 'gate')} without evidence")
    return "Not ready: " + (", ".join([*parts[:-2], " and ".join(parts[-2:])]) or "a critical gate did not pass")


def spark(gate: Mapping[str, Any]) -> Markup:
    """The history of a gate's value against its threshold of today."""
    values = charts.decimals([point["value"] for point in gate["history"]])
    return charts.sparkline(values, exact(gate["threshold"]), charts.spark_words(values, gate["threshold"]))


def history_table(gates: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Periods in order of first appearance, and per gate the index of its value in each period, or None."""
    periods = list(dict.fromkeys(point["period"] for gate in gates for point in gate["history"]))
    places = [{point["period"]: index for index, point in enumerate(gate["history"])} for gate in gates]
    return {"periods": periods, "rows": [[place.get(period) for period in periods] for place in places]}


def offending_table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The columns of offending rows, first seen first, and whether each is read as numbers. Ids are names, whatever they look like."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    found = []
    for key in keys:
        values = [row[key] for row in rows if row.get(key) is not None]
        counts = all(not isinstance(value, bool) and (isinstance(value, int) or _looks_numeric(value)) for value in values)
        found.append({"key": key, "numeric": bool(values) and counts and not _NAMES.search(key)})
    return found


def _looks_numeric(value: object) -> bool:
    return isinstance(value, str) and _NUMERIC.fullmatch(value) is not None


def metering_page(metering: Mapping[str, Any], invoiced: bool = False) -> bytes:
    """The metering report of one month as HTML; `invoiced` where there is a page of invoices too."""
    variance = metering["variance"]
    order = sorted(range(len(variance["pairs"])), key=lambda index: _urgency(variance["pairs"][index]))
    attention = [index for index in order if variance["pairs"][index]["status"] in ORDER]
    within = [index for index in order if variance["pairs"][index]["status"] not in ORDER]
    page = (
        environment()
        .get_template("metering.html.j2")
        .render(
            report=metering,
            fig=Figures(metering),
            month=metering["period"],
            invoiced=invoiced,
            chart=lambda meter: meter_chart(metering["period"], meter),
            attention=attention,
            within=within[:WITHIN_SHOWN],
            within_count=len(within),
            late=range(min(len(metering["late"]), LATE_SHOWN)),
            tenants=grouped(metering["top_tenants"], "meter"),
            pair_counts=pair_counts(variance["pairs"]),
            landing=landing_grid(metering["landing"]),
        )
    )
    return page.encode()


def what_if_page(compared: Mapping[str, Any]) -> bytes:
    """A month under a draft of a price book as HTML."""
    return environment().get_template("what_if.html.j2").render(invoices.what_if_context(compared)).encode()


def _urgency(pair: Mapping[str, Any]) -> tuple[int, int, Any]:
    """Breaches first, then what nothing was compared with, then what is explained; the larger ratio first, ties in the document's order."""
    ratio = exact(pair["ratio"])
    return ORDER.get(pair["status"], len(ORDER)), 0 if ratio is not None else 1, 0 if ratio is None else -abs(ratio)


def pair_counts(pairs: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many pairs have each status."""
    counts = dict.fromkeys(("breach", "unsigned", "explained", "unreferenced", "within", "within_floor"), 0)
    for pair in pairs:
        counts[pair["status"]] += 1
    return counts


def grouped(rows: Sequence[Mapping[str, Any]], key: str) -> dict[str, list[int]]:
    """Indexes of the rows per value of `key`, in the document's order."""
    found: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        found.setdefault(row[key], []).append(index)
    return found


def meter_chart(month: str, meter: Mapping[str, Any]) -> dict[str, Any]:
    """Drawing and finding of a meter's month. A day without usage stays a gap: it is not zero, it is absent."""
    quantities = {point["day"]: exact(point["quantity"]) for point in meter["days"]}
    days = sorted({*month_days(month), *quantities})
    values = [quantities.get(day) for day in days]
    finding = charts.finding(days, values, meter["unit"])
    kind = "line" if meter["aggregation"] in NO_SUM else "bars"
    return {"svg": charts.daily(days, values, kind, f"{meter['meter']} by day. {finding}"), "finding": finding}


def month_days(month: str) -> list[str]:
    """Every ISO date of a month."""
    first = date.fromisoformat(f"{month}-01")
    return [(first + timedelta(days=offset)).isoformat() for offset in range(calendar.monthrange(first.year, first.month)[1])]


def landing_grid(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Days across, sources down; each cell is the index of its landing row, or None where none was due."""
    days = sorted({row["day"] for row in rows})
    cells: dict[str, dict[str, int]] = {}
    for index, row in enumerate(rows):
        cells.setdefault(row["source"], {})[row["day"]] = index
    return {"days": days, "rows": {source: [place.get(day) for day in days] for source, place in sorted(cells.items())}}
