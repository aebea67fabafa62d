"""The model card: CycloneDX 1.6 JSON from what is declared and the figures of a mart, validated offline, and its figures read back.

Which figures a card states is the mart's; how it is drawn for customers is `site/`.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import NAMESPACE_URL, uuid5

from pydantic import Field

from mc_pipelines.evidence.canonical import canonical, sha256
from mc_pipelines.reference import Declared, read_one

if TYPE_CHECKING:
    from mc_pipelines.home import Home

SCHEMA = Path(__file__).parent / "schemas" / "cyclonedx-bom-1.6.schema.json"
ABSENT = ("spdx.schema.json", "jsf-0.82.schema.json")
"""Schemas that a card needs nothing of; what would need them is refused."""
WHOLE = "all"
SIZE, CAVEAT = "mission:n", "ethicalConsiderations"
Figure = Mapping[str, Any]
"""metric, slice, value, lower (None where no bound is stated) and n; numbers as exact text."""


class Caveat(Declared):
    title: str = Field(min_length=1)
    text: str = Field(min_length=1)


class Card(Declared):
    """A model card without its figures, as `reference/model_card.yaml` declares it."""

    model: str = Field(min_length=1)
    card_version: str = Field(pattern=r"^[0-9]+(\.[0-9]+)*$")
    model_version: str = Field(min_length=1)
    """The version that the card describes."""
    title: str
    about: str
    publisher: str
    approach: Literal["supervised", "unsupervised", "reinforcement-learning", "semi-supervised", "self-supervised"]
    task: str
    architecture: str
    inputs: tuple[str, ...] = Field(min_length=1)
    outputs: tuple[str, ...] = Field(min_length=1)
    users: tuple[str, ...] = Field(min_length=1)
    uses: tuple[str, ...] = Field(min_length=1)
    not_for: tuple[str, ...] = Field(min_length=1)
    limitations: tuple[str, ...] = Field(min_length=1)
    tradeoffs: tuple[str, ...] = ()
    caveats: tuple[Caveat, ...] = Field(min_length=1)
    """What a customer must know before relying on the model."""
    contact: str
    link: str = Field(pattern=r"^cards/[a-z0-9-]+/[0-9.]+\.html$")
    """Stable path of the customer page below the site."""
    surfaces: tuple[str, ...] = Field(min_length=1)
    """Pages of the product that must link to it."""


def read_card(home: "Home") -> Card:
    """`reference/model_card.yaml`. MissionError names file, line, value and remedy."""
    return read_one(home.reference / "model_card.yaml", Card)


def card(declared: Card, figures: Sequence[Figure], as_of: str, confidence: str) -> dict[str, Any]:
    """The card as CycloneDX 1.6 JSON; the same arguments give the same bytes.

    `as_of` is the instant that the figures speak for, `confidence` that of their bounds, from 0 to 1.
    """
    component = {
        "type": "machine-learning-model",
        "bom-ref": f"{declared.model}@{declared.model_version}",
        "publisher": declared.publisher,
        "name": declared.model,
        "version": declared.model_version,
        "description": declared.about,
        "externalReferences": [{"type": "model-card", "url": declared.link}],
        "modelCard": {
            "modelParameters": {
                "approach": {"type": declared.approach},
                "task": declared.task,
                "modelArchitecture": declared.architecture,
                "inputs": [{"format": each} for each in declared.inputs],
                "outputs": [{"format": each} for each in declared.outputs],
            },
            "quantitativeAnalysis": {"performanceMetrics": [_metric(each) for each in figures]},
            "considerations": {
                "users": list(declared.users),
                "useCases": [*declared.uses, *(f"Not for: {each}" for each in declared.not_for)],
                "technicalLimitations": list(declared.limitations),
                "performanceTradeoffs": list(declared.tradeoffs),
                CAVEAT: [{"name": each.title, "mitigationStrategy": each.text} for each in declared.caveats],
            },
            "properties": [{"name": f"{SIZE}:{each['metric']}:{each['slice']}", "value": str(each["n"])} for each in figures],
        },
    }
    beside = {"card_version": declared.card_version, "title": declared.title, "contact": declared.contact, "confidence": confidence}
    content = sha256(canonical({"component": component, "as_of": as_of, **beside}))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {"timestamp": as_of, "properties": [{"name": f"mission:{name}", "value": value} for name, value in beside.items()]},
        "components": [component],
    }


def _metric(figure: Figure) -> dict[str, Any]:
    bound = {} if figure["lower"] is None else {"confidenceInterval": {"lowerBound": figure["lower"]}}
    return {"type": figure["metric"], "slice": figure["slice"], "value": figure["value"]} | bound


def figures_of(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The figures that a card states, in its order."""
    model = found["components"][0]["modelCard"]
    sizes = {each["name"]: each["value"] for each in model.get("properties", ())}
    return [
        {
            "metric": each["type"],
            "slice": each.get("slice", WHOLE),
            "value": each["value"],
            "lower": each.get("confidenceInterval", {}).get("lowerBound"),
            "n": sizes.get(f"{SIZE}:{each['type']}:{each.get('slice', WHOLE)}"),
        }
        for each in model["quantitativeAnalysis"]["performanceMetrics"]
    ]


def differences(found: Mapping[str, Any], figures: Sequence[Figure], live: str | None) -> list[str]:
    """A line for everything that a card says otherwise than the mart: the version that is live, and each figure, as exact text."""
    said = found["components"][0]["version"]
    lines = [] if said == live else [f"describes version {said}, live is {live or 'none'}"]
    stated = {(each["metric"], each["slice"]): each for each in figures_of(found)}
    known = {(each["metric"], each["slice"]): {**each, "n": str(each["n"])} for each in figures}
    for metric, part in sorted(stated.keys() | known.keys()):
        ours, theirs = known.get((metric, part)), stated.get((metric, part))
        if ours is None or theirs is None:
            lines.append(f"{metric} of {part}: only in the {'card' if ours is None else 'mart'}")
        else:
            lines += [
                f"{metric} of {part}: {key} is {theirs[key]} in the card, {ours[key]} in the mart"
                for key in ("value", "lower", "n")
                if theirs[key] != ours[key]
            ]
    return lines


def validate(found: Mapping[str, Any]) -> list[str]:
    """A line with its path for everything that makes a card no CycloneDX 1.6 document; no network is asked."""
    problems = sorted(_validator().iter_errors(json.loads(json.dumps(found))), key=lambda each: [str(part) for part in each.absolute_path])
    return [f"{'/'.join(map(str, each.absolute_path)) or 'card'}: {each.message[:300]}" for each in problems]


@cache
def _validator() -> Any:  # jsonschema ships no types
    from jsonschema import Draft7Validator
    from referencing import Registry
    from referencing.jsonschema import DRAFT7

    nothing: dict[str, Any] = {"not": {}, "definitions": {"signature": {"not": {}}}}
    registry: Registry[Any] = Registry().with_resources(
        [(f"http://cyclonedx.org/schema/{name}", DRAFT7.create_resource(nothing)) for name in ABSENT]
    )
    return Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")), registry=registry)
