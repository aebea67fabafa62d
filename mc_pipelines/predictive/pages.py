"""The pages of a sprint of predictive operations, drawn from the documents that its bundle holds: audit dashboard, drills, model card."""

import json
from collections.abc import Mapping
from typing import Any

from mc_pipelines.predictive.report import CARD, DRILLS, REPORT
from mc_pipelines.site.build import canonical_json, environment
from mc_pipelines.site.card import card_page
from mc_pipelines.site.drills import drills_page
from mc_pipelines.site.format import Figures


def pages(files: Mapping[str, bytes], window: str) -> dict[str, bytes]:
    """HTML and JSON by path below the site, from the payload of a sprint's bundle."""
    report, drills = json.loads(files[REPORT]), json.loads(files[DRILLS])
    link = _link(json.loads(files[CARD])) if CARD in files else ""
    return {
        f"predictive/{window}.json": canonical_json(report),
        f"predictive/{window}.html": _drawn("predictive", report, link=link),
        f"predictive/{window}-drills.json": canonical_json(drills),
        f"predictive/{window}-drills.html": drills_page(drills),
    }


def card_pages(document: bytes, window: str) -> dict[str, bytes]:
    """The customer page of a published card under its stable link, and the card itself beside it."""
    card = json.loads(document)
    link = _link(card)
    return {f"{link.removesuffix('.html')}.json": canonical_json(card), link: card_page(card)}


def _drawn(name: str, report: Mapping[str, Any], **beside: Any) -> bytes:
    return environment().get_template(f"{name}.html.j2").render(report=report, fig=Figures(report), **beside).encode()


def _link(card: Mapping[str, Any]) -> str:
    """The stable path of the customer page."""
    return str(next(each["url"] for each in card["components"][0]["externalReferences"] if each["type"] == "model-card"))
