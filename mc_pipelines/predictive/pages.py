"""The pages of a sprint of predictive operations, drawn from the documents that its bundle holds: audit dashboard, drills, model card."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mc_pipelines.predictive.report import CARD, DRILLS, REPORT
from mc_pipelines.site import charts
from mc_pipelines.site.build import canonical_json, environment
from mc_pipelines.site.card import card_page
from mc_pipelines.site.drills import drills_page
from mc_pipelines.site.format import Figures, day_label, exact, number


def pages(files: Mapping[str, bytes], window: str) -> dict[str, bytes]:
    """HTML and JSON by path below the site, from the payload of a sprint's bundle."""
    report, drills = json.loads(files[REPORT]), json.loads(files[DRILLS])
    link = _link(json.loads(files[CARD])) if CARD in files else ""
    return {
        f"predictive/{window}.json": canonical_json(report),
        f"predictive/{window}.html": _drawn("predictive", report, link=link, budgets=budgets(report["burn_down"])),
        f"predictive/{window}-drills.json": canonical_json(drills),
        f"predictive/{window}-drills.html": drills_page(drills),
    }


def card_pages(document: bytes, window: str) -> dict[str, bytes]:
    """The customer page of a published card under its stable link, and the card itself beside it."""
    card = json.loads(document)
    link = _link(card)
    return {f"{link.removesuffix('.html')}.json": canonical_json(card), link: card_page(card)}


def budgets(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each tenant what was left of its budget by day, drawn over the same days, and what the drawing shows."""
    days = sorted({each["day"] for row in rows for each in row["days"]})
    return [_budget(row, days) for row in rows]


def _budget(row: Mapping[str, Any], days: Sequence[str]) -> dict[str, Any]:
    left = {each["day"]: each["remaining"] for each in row["days"]}
    finding = f"{_left(row)} by {day_label(days[-1])}. {_spent_on(row)}"
    said = f"Budget left of {row['tenant_id']} by day. {finding}"
    svg = charts.left_by_day(days, charts.decimals([left.get(day) for day in days]), said)
    return {"tenant_id": row["tenant_id"], "finding": finding, "svg": svg}


def _left(row: Mapping[str, Any]) -> str:
    left = exact(row["remaining"]) or 0
    return f"{number(abs(left))} {'over' if left < 0 else 'left of'} a budget of {number(row['monthly_budget'])}"


def _spent_on(row: Mapping[str, Any]) -> str:
    if row["exhausted_on"] is None:
        return "At the pace of the last days it lasts until the month ends."
    known = (exact(row["remaining"]) or 0) <= 0
    return f"{'Spent on' if known else 'At the pace of the last days it is spent on'} {day_label(row['exhausted_on'])}."


def _drawn(name: str, report: Mapping[str, Any], **beside: Any) -> bytes:
    return environment().get_template(f"{name}.html.j2").render(report=report, fig=Figures(report), **beside).encode()


def _link(card: Mapping[str, Any]) -> str:
    """The stable path of the customer page."""
    return str(next(each["url"] for each in card["components"][0]["externalReferences"] if each["type"] == "model-card"))
