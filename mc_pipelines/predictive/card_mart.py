"""The model card of a sprint: drafted from the declared card and the mart's figures; and what was published of it, compared with both."""

import json
from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

from mc_pipelines.code import package_digest
from mc_pipelines.evidence.canonical import canonical
from mc_pipelines.predictive.card import Card, card, differences, property_of, validate
from mc_pipelines.predictive.declared import settings_of
from mc_pipelines.predictive.seeds import Version, registered
from mc_pipelines.reference_tables import relation_of
from mc_pipelines.report import records
from mc_pipelines.windows import LAST_INSTANT

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.runner import Work, Workshop


DOCUMENT = "model-card"


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """Digest of the code that makes and compares cards."""
    return package_digest("predictive")


def draft(work: "Work") -> "duckdb.DuckDBPyRelation":
    """One row per sprint that has figures: the card as canonical JSON, and what stands against publishing it."""
    return relation_of(work, {"sprint": "DATE", "model": "VARCHAR", "content": "VARCHAR", "against": "VARCHAR"}, _drafts(work))


def _drafts(work: "Work") -> Iterator[tuple[Any, ...]]:
    declared, live, seeds, settings = declared_card(work.con), _live(work.con), registered(work.con), settings_of(work.con)
    for sprint, cutoff in _sprints(work):
        if figures := _figures(work.con, sprint):
            version = live.get((sprint, declared.model))
            # The bounds are those of the registered confidence; without a seed no bound is stated.
            stands = seeds.get(Version(sprint, declared.model, version or ""))
            confidence = (stands.settings if stands else settings).confidence
            made = card(declared, figures, f"{cutoff}{LAST_INSTANT}", str(confidence))
            against = [*differences(made, figures, version), *validate(made)]
            yield sprint, declared.model, canonical(made).decode(), "; ".join(against)


def checked(work: "Work") -> "duckdb.DuckDBPyRelation":
    """One row per sprint whose card is published: in how much it differs from the live version, the mart and the standard, and in what."""
    schema = {
        "sprint": "DATE",
        "model": "VARCHAR",
        "card_version": "VARCHAR",
        "describes": "VARCHAR",
        "live": "VARCHAR",
        "edition": "BIGINT",
        "published_at": "TIMESTAMP",
        "figures": "BIGINT",
        "differences": "BIGINT",
        "which": "VARCHAR",
    }
    return relation_of(work, schema, _checked(work))


def _checked(work: "Work") -> Iterator[tuple[Any, ...]]:
    live = _live(work.con)
    published = work.con.sql(
        "SELECT editions.sprint, editions.edition, editions.published_at, editions.content, drafts.content FROM predictive.editions AS editions "
        "LEFT JOIN predictive.card_draft AS drafts USING (sprint) WHERE editions.document = $document "
        "AND sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) ORDER BY sprint",
        params={**work.params, "document": DOCUMENT},
    ).fetchall()
    for sprint, edition, at, content, drafted in published:
        figures = _figures(work.con, sprint)
        if content is None:
            model, version, describes = declared_card(work.con).model, None, None
            found = ["the published edition is lost or was changed"]
        else:
            shown = json.loads(content)
            component = shown["components"][0]
            model, version, describes = component["name"], property_of(shown, "card_version"), component["version"]
            found = [*differences(shown, figures, live.get((sprint, model))), *validate(shown)]
            if not found and content != drafted:
                found = ["its text is not the declared one"]
        yield sprint, model, version, describes, live.get((sprint, model)), edition, at, len(figures), len(found), "; ".join(found)


def _live(con: "duckdb.DuckDBPyConnection") -> dict[tuple[date, str], str]:
    rows = con.sql("SELECT sprint, model, model_version FROM predictive.live").fetchall()
    return {(sprint, model): version for sprint, model, version in rows}


def _sprints(work: "Work") -> list[tuple[date, date]]:
    """(first day, last landing day that counts) of the sprints of `work`."""
    return work.con.sql(
        "SELECT sprint, cutoff_day FROM reference.sprints WHERE sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) ORDER BY sprint",
        params=work.params,
    ).fetchall()


def declared_card(con: "duckdb.DuckDBPyConnection") -> Card:
    """The card as it is declared, from the table that a connection sees."""
    ((text,),) = con.sql("SELECT declared FROM predictive.card").fetchall()
    return Card.model_validate_json(text)


def _figures(con: "duckdb.DuckDBPyConnection", sprint: date) -> list[dict[str, Any]]:
    return records(
        con,
        f"SELECT metric, slice, value, lower, n FROM predictive.card_figures WHERE sprint = DATE '{sprint}' AND value IS NOT NULL ORDER BY metric, slice",
    )
