"""A model card as the page that customers read. It is drawn from the card's JSON alone; wording and layout are in the template."""

from collections.abc import Mapping
from typing import Any

from mc_pipelines.predictive.card import CAVEATS, NOT_FOR, SIZE, WHOLE, property_of
from mc_pipelines.site.build import environment
from mc_pipelines.site.format import Figures, percent

MODEL = "components.0.modelCard"
METRICS = {
    "agreement": ("Decisions that people upheld", "all decisions", "decision", "not stated"),
    "error_rate": ("Decisions that ended in an error", "all decisions", "decision", "all counted"),
    "audit_coverage": ("Customers with a decision that people checked", "all customers", "customer", "all counted"),
    "rollout_coverage": ("Customers whom this version serves", "all customers", "customer", "all counted"),
}
"""What a share is for a customer, what the whole of it is, what was counted, and what is said where no bound is.

A metric that stands nowhere is shown by its name and as a number."""
UNKNOWN = ("all", "", "not stated")


def card_page(card: Mapping[str, Any]) -> bytes:
    """A card that `validate` has nothing against, as HTML. KeyError where it lacks what `card` writes."""
    return environment().get_template("card.html.j2").render(card=context(card), fig=Figures(card)).encode()


def context(card: Mapping[str, Any]) -> dict[str, Any]:
    """What the template is given: texts, and for every figure the paths in the JSON at which its parts stand."""
    component = card["components"][0]
    considered = component["modelCard"]["considerations"]
    caveats = int(_named(component["modelCard"]["properties"])[CAVEATS])
    limitations = considered["technicalLimitations"]
    return {
        "title": property_of(card, "title"),
        "card_version": property_of(card, "card_version"),
        "contact": property_of(card, "contact"),
        "confidence": percent(property_of(card, "confidence")),
        "model": component["name"],
        "describes": component["version"],
        "as_of": card["metadata"]["timestamp"],
        "about": component["description"],
        "caveats": [each.partition(": ")[::2] for each in limitations[:caveats]],
        "limitations": limitations[caveats:],
        "uses": [each for each in considered["useCases"] if not each.startswith(NOT_FOR)],
        "not_for": [each.removeprefix(NOT_FOR) for each in considered["useCases"] if each.startswith(NOT_FOR)],
        "users": considered["users"],
        "tradeoffs": considered["performanceTradeoffs"],
        "risks": considered["ethicalConsiderations"],
        "fairness": considered["fairnessAssessments"],
        "figures": _figures(component["modelCard"]),
    }


def _named(properties: list[dict[str, str]]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in properties}


def _figures(model: Mapping[str, Any]) -> list[dict[str, Any]]:
    sizes = {each["name"]: f"{MODEL}.properties.{place}.value" for place, each in enumerate(model["properties"])}
    rows = []
    for place, each in enumerate(model["quantitativeAnalysis"]["performanceMetrics"]):
        at = f"{MODEL}.quantitativeAnalysis.performanceMetrics.{place}"
        part = each.get("slice", WHOLE)
        label, whole, counted, unbound = METRICS.get(each["type"], (each["type"].replace("_", " "), *UNKNOWN))
        bounds = {name: f"{at}.confidenceInterval.{name}Bound" for name in ("lower", "upper")}
        stated = {name: path for name, path in bounds.items() if f"{name}Bound" in each.get("confidenceInterval", {})}
        rows.append(
            {"label": label, "of": whole if part == WHOLE else f"group {part.replace('_', ' ')}", "value": f"{at}.value"}
            | {"lower": stated.get("lower"), "upper": stated.get("upper"), "n": sizes[f"{SIZE}:{each['type']}:{part}"]}
            | {"counted": counted, "unbound": unbound, "share": each["type"] in METRICS}
        )
    return rows
