"""The model card of a sprint: made from the declared card and the mart's figures, and compared with both again."""

from typing import TYPE_CHECKING, Any

from mc_pipelines.code import package_digest
from mc_pipelines.predictive.card import Card, card, differences, validate
from mc_pipelines.predictive.declared import settings_of
from mc_pipelines.reference_tables import relation_of
from mc_pipelines.report import records

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.runner import Work, Workshop


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """Digest of the code that makes and compares cards."""
    return package_digest("predictive")


def checked(work: "Work") -> "duckdb.DuckDBPyRelation":
    """One row per sprint that has figures: in how much its card differs from the live version, the mart and the standard, and in what."""
    schema = {
        "sprint": "DATE",
        "model": "VARCHAR",
        "card_version": "VARCHAR",
        "describes": "VARCHAR",
        "live": "VARCHAR",
        "figures": "BIGINT",
        "differences": "BIGINT",
        "which": "VARCHAR",
    }
    sprints = work.con.sql(
        "SELECT sprint, cutoff_day FROM reference.sprints WHERE sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) ORDER BY sprint",
        params=work.params,
    ).fetchall()
    return relation_of(
        work, schema, (row for sprint, cutoff in sprints for row in _checked(work.con, sprint, f"{cutoff}T23:59:59.999999Z"))
    )


def _checked(con: "duckdb.DuckDBPyConnection", sprint: Any, as_of: str) -> list[tuple[Any, ...]]:
    figures = _figures(con, f"DATE '{sprint}'")
    if not figures:
        return []
    declared = declared_card(con)
    live = dict(con.sql("SELECT model, model_version FROM predictive.live WHERE sprint = $sprint", params={"sprint": sprint}).fetchall())
    made = card(declared, figures, as_of, str(settings_of(con).confidence))
    found = [*differences(made, figures, live.get(declared.model)), *validate(made)]
    said = (declared.card_version, declared.model_version, live.get(declared.model))
    return [(sprint, declared.model, *said, len(figures), len(found), "; ".join(found))]


def card_of(con: "duckdb.DuckDBPyConnection", as_of: str) -> dict[str, Any] | None:
    """The card of the one sprint that `con` shows; None where the mart has no figure yet."""
    figures = _figures(con, "sprint")
    return card(declared_card(con), figures, as_of, str(settings_of(con).confidence)) if figures else None


def declared_card(con: "duckdb.DuckDBPyConnection") -> Card:
    """The card as it is declared, from the table that a connection sees."""
    ((text,),) = con.sql("SELECT declared FROM predictive.card").fetchall()
    return Card.model_validate_json(text)


def _figures(con: "duckdb.DuckDBPyConnection", sprint: str) -> list[dict[str, Any]]:
    return records(
        con,
        f"SELECT metric, slice, value, lower, n FROM predictive.card_figures WHERE sprint = {sprint} AND value IS NOT NULL ORDER BY metric, slice",
    )
