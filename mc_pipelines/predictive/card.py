"""The model card: CycloneDX 1.6 JSON from what is declared and the figures of a mart, validated offline, and its figures read back.

Which figures a card states is the mart's; how it is drawn for customers is `site/`.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import NAMESPACE_URL, uuid5

from pydantic import Field, ValidationInfo, field_validator

from mc_pipelines.evidence.canonical import canonical, sha256
from mc_pipelines.reference import Declared, read_one

if TYPE_CHECKING:
    from mc_pipelines.home import Home

SCHEMA = Path(__file__).parent / "schemas" / "cyclonedx-bom-1.6.schema.json"
ABSENT = ("spdx.schema.json", "jsf-0.82.schema.json")
"""Schemas that a card needs nothing of; what would need them is refused."""
WHOLE = "all"
OURS = "mission:"
"""What names of properties that CycloneDX does not know begin with."""
SIZE, CAVEATS, NOT_FOR = f"{OURS}n", f"{OURS}caveats", "Not for: "
Figure = Mapping[str, Any]
"""metric, slice, value, lower and upper (None or absent where no bound is stated) and n; numbers as exact text."""
PARTS = ("value", "lower", "upper", "n")


class Caveat(Declared):
    title: str = Field(min_length=1, pattern="^[^:]*$")
    """No colon: in the card it stands before the text, with one between them."""
    text: str = Field(min_length=1)


class Risk(Declared):
    name: str = Field(min_length=1)
    mitigation: str = Field(min_length=1)


class Fairness(Declared):
    """A group that the model may treat worse, what it gains and loses by it, and what is done about that."""

    group: str = Field(min_length=1)
    benefits: str = Field(min_length=1)
    harms: str = Field(min_length=1)
    mitigation: str = Field(min_length=1)


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
    risks: tuple[Risk, ...] = ()
    fairness: tuple[Fairness, ...] = ()
    contact: str
    link: str = Field(pattern=r"^cards/[a-z0-9-]+/[0-9.]+\.html$")
    """Stable path of the customer page below the site."""
    surfaces: tuple[str, ...] = Field(min_length=1)
    """Pages of the product that must link to it."""

    @field_validator("link")
    @classmethod
    def _of_this_card(cls, value: str, info: ValidationInfo) -> str:
        if value != (meant := f"cards/{info.data.get('model')}/{info.data.get('card_version')}.html"):
            raise ValueError(f"not the link of this model and card version; write {meant}")
        return value

    @field_validator("surfaces")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("a surface stands twice; name each once")
        return value


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
        "modelCard": _model_card(declared, figures),
    }
    beside = {"card_version": declared.card_version, "title": declared.title, "contact": declared.contact, "confidence": confidence}
    content = sha256(canonical({"component": component, "as_of": as_of, **beside}))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {"timestamp": as_of, "properties": [{"name": f"{OURS}{name}", "value": value} for name, value in beside.items()]},
        "components": [component],
    }


def _model_card(declared: Card, figures: Sequence[Figure]) -> dict[str, Any]:
    """CycloneDX knows neither caveats nor sizes: caveats are the first of the limitations, and properties say how many, and each size."""
    sizes = [{"name": f"{SIZE}:{each['metric']}:{each['slice']}", "value": str(each["n"])} for each in figures]
    return {
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
            "useCases": [*declared.uses, *(f"{NOT_FOR}{each}" for each in declared.not_for)],
            "technicalLimitations": [*(f"{each.title}: {each.text}" for each in declared.caveats), *declared.limitations],
            "performanceTradeoffs": list(declared.tradeoffs),
            "ethicalConsiderations": [{"name": each.name, "mitigationStrategy": each.mitigation} for each in declared.risks],
            "fairnessAssessments": [
                {"groupAtRisk": each.group, "benefits": each.benefits, "harms": each.harms, "mitigationStrategy": each.mitigation}
                for each in declared.fairness
            ],
        },
        "properties": [{"name": CAVEATS, "value": str(len(declared.caveats))}, *sizes],
    }


def _metric(figure: Figure) -> dict[str, Any]:
    stated = {"lowerBound": figure.get("lower"), "upperBound": figure.get("upper")}
    bounds = {name: value for name, value in stated.items() if value is not None}
    metric = {"type": figure["metric"], "slice": figure["slice"], "value": figure["value"]}
    return metric | ({"confidenceInterval": bounds} if bounds else {})


def property_of(found: Mapping[str, Any], name: str) -> str:
    """What a card says of itself beside what CycloneDX knows: card_version, title, contact, confidence. KeyError for anything else."""
    return str({each["name"]: each["value"] for each in found["metadata"]["properties"]}[f"{OURS}{name}"])


def figures_of(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The figures that a card states, in its order."""
    model = found["components"][0]["modelCard"]
    sizes = {each["name"]: each["value"] for each in model.get("properties", ())}
    return [
        {
            "metric": each["type"],
            "slice": each.get("slice", WHOLE),
            "value": each.get("value"),
            "lower": each.get("confidenceInterval", {}).get("lowerBound"),
            "upper": each.get("confidenceInterval", {}).get("upperBound"),
            "n": sizes.get(f"{SIZE}:{each['type']}:{each.get('slice', WHOLE)}"),
        }
        for each in model["quantitativeAnalysis"]["performanceMetrics"]
    ]


def differences(found: Mapping[str, Any], figures: Sequence[Figure], live: str | None) -> list[str]:
    """A line for everything that a card says otherwise than the mart: the version that is live, and each figure, as exact text."""
    said = found["components"][0]["version"]
    lines = [] if said == live else [f"describes version {said}, live is {live or 'none'}"]
    stated, known = _by_place(figures_of(found)), _by_place(figures)
    for place in sorted(stated.keys() | known.keys()):
        ours, theirs, of = known.get(place, []), stated.get(place, []), " of ".join(place)
        if len(ours) != len(theirs):
            lines.append(f"{of}: {len(theirs)} in the card, {len(ours)} in the mart")
        else:
            pairs = zip(ours, theirs, strict=True)
            lines += [f"{of}: {key} is {b[key]} in the card, {a[key]} in the mart" for a, b in pairs for key in PARTS if a[key] != b[key]]
    return lines


def _by_place(figures: Sequence[Figure]) -> dict[tuple[str, str], list[dict[str, str | None]]]:
    """The texts of each metric and slice; a list, since nothing keeps a foreign card from saying one twice."""
    found: dict[tuple[str, str], list[dict[str, str | None]]] = {}
    for each in figures:
        texts = {key: None if each.get(key) is None else str(each[key]) for key in PARTS}
        found.setdefault((each["metric"], each["slice"]), []).append(texts)
    return found


def validate(found: Mapping[str, Any]) -> list[str]:
    """A line with its path for everything that makes a card no CycloneDX 1.6 document; no network is asked."""
    problems = sorted(_validator().iter_errors(json.loads(json.dumps(found))), key=lambda each: [str(part) for part in each.absolute_path])
    return [f"{'/'.join(map(str, each.absolute_path)) or 'card'}: {each.message[:300]}" for each in problems]


@cache
def _validator() -> Any:  # jsonschema ships no types
    from jsonschema import Draft7Validator, FormatChecker
    from referencing import Registry
    from referencing.jsonschema import DRAFT7

    nothing: dict[str, Any] = {"not": {}, "definitions": {"signature": {"not": {}}}}
    registry: Registry[Any] = Registry().with_resources(
        [(f"http://cyclonedx.org/schema/{name}", DRAFT7.create_resource(nothing)) for name in ABSENT]
    )
    moments = FormatChecker(formats=())
    moments.checks("date-time", raises=ValueError)(_is_moment)
    return Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")), registry=registry, format_checker=moments)


def _is_moment(value: object) -> bool:
    """jsonschema itself knows `date-time` only with a package more. Not a text: another keyword's business."""
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None
