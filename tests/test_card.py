"""The model card: declared strictly, valid CycloneDX 1.6, its figures read back exactly, and drawn for customers without a figure of its own."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench
from test_site import Page

from mc_pipelines.errors import MissionError
from mc_pipelines.home import CHECKOUT
from mc_pipelines.predictive.card import Card, card, differences, figures_of, read_card, validate
from mc_pipelines.reference import read_one
from mc_pipelines.site.card import card_page

DECLARED = CHECKOUT / "data" / "reference" / "model_card.yaml"
AS_OF = "2026-05-08T23:59:59.999999Z"
METRICS = "components.0.modelCard.quantitativeAnalysis.performanceMetrics"


def figure(metric: str, part: str, value: str, n: str, lower: str | None = None, upper: str | None = None) -> dict[str, Any]:
    return {"metric": metric, "slice": part, "value": value, "lower": lower, "upper": upper, "n": n}


# 298 of 299 upheld; a coverage is counted whole and has no bound; an error rate has two.
FIGURES = [
    figure("agreement", "all", "0.996655518", "299", "0.984217610"),
    figure("agreement", "high_value", "0.975000000", "40"),
    figure("rollout_coverage", "all", "0.909090909", "44"),
    figure("error_rate", "all", "0.004000000", "12000", "0.003100000", "0.005200000"),
]


def declared() -> Card:
    return read_one(DECLARED, Card)


def made() -> dict[str, Any]:
    return card(declared(), FIGURES, AS_OF, "0.95")


def shown(tmp_path: Path, document: dict[str, Any]) -> Page:
    (tmp_path / "card.html").write_bytes(card_page(document))
    return Page(tmp_path / "card.html")


def test_the_card_is_valid_and_says_what_was_declared() -> None:
    document = made()
    assert validate(document) == []
    (component,) = document["components"]
    assert (component["name"], component["version"], component["type"]) == ("churn-risk", "4.2.0", "machine-learning-model")
    assert component["externalReferences"] == [{"type": "model-card", "url": "cards/churn-risk/1.4.html"}]
    considered = component["modelCard"]["considerations"]
    assert considered["technicalLimitations"][1].startswith("Seasons: Accounts that pause every summer")
    assert considered["useCases"][1] == "Not for: setting prices or refusing service"
    assert considered["fairnessAssessments"][0]["groupAtRisk"] == "Small companies"
    assert document["metadata"]["timestamp"] == AS_OF


def test_figures_come_back_as_they_went_in() -> None:
    through = json.loads(json.dumps(made()))
    assert figures_of(through) == FIGURES
    assert differences(through, FIGURES, "4.2.0") == []


def test_the_same_card_has_the_same_bytes_and_any_other_a_serial_number_of_its_own() -> None:
    others = [
        card(declared(), FIGURES, AS_OF.replace("-08T", "-09T"), "0.95"),
        card(declared(), FIGURES[:3], AS_OF, "0.95"),
        *(card(declared().model_copy(update=change), FIGURES, AS_OF, "0.95") for change in ({"card_version": "1.5"}, {"model": "other"})),
    ]
    assert made() == made()
    assert len({each["serialNumber"] for each in (made(), *others)}) == 5


def changed(place: int, key: str, value: str | None) -> list[dict[str, Any]]:
    return [each | ({key: value} if number == place else {}) for number, each in enumerate(FIGURES)]


@pytest.mark.parametrize(
    ("figures", "live", "said"),
    [
        (FIGURES, "4.3.0", "describes version 4.2.0, live is 4.3.0"),
        (FIGURES, None, "describes version 4.2.0, live is none"),
        (changed(0, "value", "0.99665552"), "4.2.0", "agreement of all: value is 0.996655518 in the card, 0.99665552 in the mart"),
        (changed(0, "value", "0.9966555180"), "4.2.0", "agreement of all: value is 0.996655518 in the card, 0.9966555180 in the mart"),
        (changed(0, "lower", None), "4.2.0", "agreement of all: lower is 0.984217610 in the card, None in the mart"),
        (changed(3, "upper", "0.0053"), "4.2.0", "error_rate of all: upper is 0.005200000 in the card, 0.0053 in the mart"),
        (changed(2, "n", "45"), "4.2.0", "rollout_coverage of all: n is 44 in the card, 45 in the mart"),
        (FIGURES[:3], "4.2.0", "error_rate of all: 1 in the card, 0 in the mart"),
        ([*FIGURES, figure("agreement", "low", "1", "3")], "4.2.0", "agreement of low: 0 in the card, 1 in the mart"),
    ],
)
def test_every_difference_is_said(figures: list[dict[str, Any]], live: str | None, said: str) -> None:
    assert differences(made(), figures, live) == [said]


def test_a_figure_said_twice_does_not_hide_behind_the_right_one() -> None:
    forged = made()
    metrics = forged["components"][0]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    metrics.insert(0, metrics[0] | {"value": "1.000000000"})
    assert differences(forged, FIGURES, "4.2.0") == ["agreement of all: 2 in the card, 1 in the mart"]


def example() -> dict[str, Any]:
    """The model card of CycloneDX's own ML example (valid-machine-learning-1.6.json, Apache-2.0), its pictures left out."""
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79",
        "version": 1,
        "components": [
            {
                "bom-ref": "component-a",
                "type": "machine-learning-model",
                "publisher": "Acme Inc",
                "group": "CompVis",
                "name": "stable-diffusion",
                "version": "1.4",
                "modelCard": {
                    "modelParameters": {
                        "approach": {"type": "supervised"},
                        "datasets": [
                            {"type": "dataset", "name": "Training Data", "contents": {"url": "https://example.com/path/to/dataset"}}
                            | {"classification": "public"}
                        ],
                        "inputs": [{"format": "string"}],
                        "outputs": [{"format": "byte[]"}],
                    },
                    "quantitativeAnalysis": {
                        "performanceMetrics": [
                            {
                                "type": "accuracy",
                                "value": "0.9",
                                "slice": "all",
                                "confidenceInterval": {"lowerBound": "0.8", "upperBound": "1"},
                            }
                        ]
                    },
                    "considerations": {"users": ["Data scientists"], "ethicalConsiderations": [{"name": "x", "mitigationStrategy": "y"}]},
                },
            }
        ],
    }


def test_the_standards_own_example_is_valid() -> None:
    assert validate(example()) == []


def broken(change: Callable[[dict[str, Any]], Any]) -> list[str]:
    document = deepcopy(made())
    change(document)
    return validate(document)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda card: card.pop("bomFormat"), "card: 'bomFormat' is a required property"),
        (lambda card: card.update(serialNumber="urn:uuid:1"), "serialNumber: 'urn:uuid:1' does not match"),
        (lambda card: card["metadata"].update(timestamp="yesterday"), "metadata/timestamp: 'yesterday' is not a 'date-time'"),
        (lambda card: card["metadata"].update(timestamp="2026-05-08T10:00:00"), "metadata/timestamp: '2026-05-08T10:00:00' is not"),
        (
            lambda card: card["components"][0]["modelCard"]["modelParameters"].update(approach={"type": "guessed"}),
            "components/0/modelCard/modelParameters/approach/type: 'guessed' is not one of",
        ),
        (
            lambda card: card["components"][0]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"][0].update(value=0.99),
            "components/0/modelCard/quantitativeAnalysis/performanceMetrics/0/value: 0.99 is not of type 'string'",
        ),
        (
            lambda card: card["components"][0]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"][1].update(n="40"),
            "components/0/modelCard/quantitativeAnalysis/performanceMetrics/1: Additional properties are not allowed ('n' was unexpected)",
        ),
        (lambda card: card["components"][0].update(signature={"algorithm": "ES256"}), "components/0/signature: "),  # never unchecked
    ],
)
def test_a_card_that_is_none_is_refused_with_its_path(change: Callable[[dict[str, Any]], Any], said: str) -> None:
    (problem,) = broken(change)
    assert problem.startswith(said)


@pytest.mark.parametrize(
    ("was", "now", "line", "said"),
    [
        ('card_version: "1.4"', "card_version: 1.4", 3, "Input should be a valid string (got 1.4)"),
        ("link: cards/churn-risk/1.4.html", "link: cards/churn-risk/1.3.html", 33, "write cards/churn-risk/1.4.html"),
        ("title: Seasons,", 'title: "Seasons: summer",', 22, "caveats.1.title: String should match pattern"),
        ("surfaces: [accounts/list,", "surfaces: [help/predictions, accounts/list,", 34, "a surface stands twice"),
        ("approach: supervised", "approach: guessed", 8, "'supervised', 'unsupervised'"),
        ("task: classification", "tasks: classification", 9, "tasks: Extra inputs are not permitted"),
    ],
)
def test_a_declaration_is_refused_with_file_line_and_value(bench: Bench, was: str, now: str, line: int, said: str) -> None:
    text = DECLARED.read_text(encoding="utf-8")
    assert was in text
    bench.declare("model_card", text.replace(was, now))
    with pytest.raises(MissionError) as refused:
        read_card(bench.home)
    assert f"model_card.yaml:{line}: " in str(refused.value)
    assert said in str(refused.value)


def test_the_page_shows_every_figure_from_its_place_in_the_json(tmp_path: Path) -> None:
    page = shown(tmp_path, made())
    values = {path.removeprefix(f"{METRICS}."): value for path, value in page.figures.items() if path.startswith(METRICS)}
    assert values == {
        "0.value": "0.996655518",
        "0.confidenceInterval.lowerBound": "0.984217610",
        "1.value": "0.975000000",
        "2.value": "0.909090909",
        "3.value": "0.004000000",
        "3.confidenceInterval.lowerBound": "0.003100000",
        "3.confidenceInterval.upperBound": "0.005200000",
    }
    assert sorted(value for path, value in page.figures.items() if ".properties." in path) == ["12000", "299", "40", "44"]
    text = " ".join(page.text.split()).replace("\u202f", " ")
    for each in ("≈99.67 %", "at least ≈98.42 %", "0.31 % to 0.52 %", "299 decisions", "group high value", "all counted", "Model card 1.4"):
        assert each in text
    assert {"1.4.json", "mailto:predictive@mission-control.example"} <= set(page.links)


def test_caveats_come_before_anything_is_praised(tmp_path: Path) -> None:
    text = shown(tmp_path, made()).text
    places = [text.index(each.title) for each in declared().caveats]
    assert max(places) < text.index("What it is for") < text.index("How good it is")


def test_nothing_declared_is_markup_and_a_metric_nobody_named_is_shown_as_it_is(tmp_path: Path) -> None:
    odd = "<script>alert(1)</script>"
    caveat = declared().caveats[0].model_copy(update={"text": f"{odd}: and so on"})
    document = card(
        declared().model_copy(update={"title": odd, "about": odd, "caveats": (caveat,), "contact": '"><b>', "risks": (), "fairness": ()}),
        [figure("p95_ms", odd, "412.5", "9")],
        AS_OF,
        "0.95",
    )
    page = shown(tmp_path, document)
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert page.text.count(odd) == 5  # page title, heading, about, caveat, slice
    assert "Whom it may harm" not in page.text
    assert "412.5" in page.text
    assert "%" not in page.text.partition("412.5")[2].partition("Where it is weak")[0]
