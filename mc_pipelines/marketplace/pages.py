"""The pages of a marketplace sprint: its dashboard from the document that its bundle holds, and the published feedback report."""

import json
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from mc_pipelines.marketplace.report import REPORT
from mc_pipelines.site import charts
from mc_pipelines.site.build import canonical_json, environment
from mc_pipelines.site.format import Figures


def pages(files: Mapping[str, bytes], window: str) -> dict[str, bytes]:
    """HTML and JSON by path below the site, from the payload of a sprint's bundle."""
    report = json.loads(files[REPORT])
    return _drawn("marketplace", f"marketplace/{window}", report)


def feedback_pages(document: bytes, window: str) -> dict[str, bytes]:
    """The page of a published feedback report, and the report itself beside it."""
    return _drawn("feedback", f"marketplace/{window}-feedback", json.loads(document))


def _drawn(template: str, path: str, report: Mapping[str, Any]) -> dict[str, bytes]:
    page = environment().get_template(f"{template}.html.j2").render(report=report, fig=Figures(report), trends=trends(report["weeks"]))
    return {f"{path}.json": canonical_json(report), f"{path}.html": page.encode()}


def trends(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For every kind of promise its chart by week, without gaps between the first and the last week of any kind, and what it shows."""
    weeks = _between(min(row["week"] for row in rows), max(row["week"] for row in rows)) if rows else []
    return [_trend(kind, weeks, [row for row in rows if row["kind"] == kind]) for kind in sorted({row["kind"] for row in rows})]


def _trend(kind: str, weeks: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    begun, broken = ({row["week"]: Decimal(row[name]) for row in rows} for name in ("started", "breached"))
    whole, bad = ([found.get(week, Decimal(0)) for week in weeks] for found in (begun, broken))
    finding = f"{sum(bad)} of {sum(whole)} promises broken"
    if sum(bad):
        worst = max(range(len(weeks)), key=lambda at: (bad[at], at))
        finding += f", most of those that began in {weeks[worst]}: {bad[worst]} of {whole[worst]}"
    said = f"Promises of {kind} by week. {finding}."
    return {"kind": kind, "finding": f"{finding}.", "svg": charts.weekly(weeks, whole, bad, said)}


def _between(first: str, last: str) -> list[str]:
    """Every ISO week from one to another."""
    day, weeks = date.fromisocalendar(int(first[:4]), int(first[6:]), 1), [first]
    while weeks[-1] != last:
        day += timedelta(weeks=1)
        weeks.append(f"{day:%G-W%V}")
    return weeks
