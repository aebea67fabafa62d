"""The misuse sandbox as a table: abuse rules replayed on the labelled history that landed by a sprint's cut-off. Judging is `abuse.py`'s."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mc_pipelines.code import package_digest
from mc_pipelines.predictive.abuse import Rule, judge
from mc_pipelines.reference_tables import relation_of

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.runner import Work, Workshop

COUNTS = ("cases", "true_positives", "false_positives", "false_negatives", "true_negatives")
SHARES = ("precision", "recall", "good_tenants_blocked_share")


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """Digest of the code that judges."""
    return package_digest("predictive")


def replayed(work: "Work") -> "duckdb.DuckDBPyRelation":
    """A row for each rule and one for all together, per sprint that has labelled history by its cut-off."""
    names = ("rule", "about", "example_allowed", "example_refused")
    schema = {
        "sprint": "DATE",
        **dict.fromkeys(names, "VARCHAR"),
        **dict.fromkeys((*COUNTS, "good_tenants", "good_tenants_blocked"), "BIGINT"),
    }
    return relation_of(work, schema | dict.fromkeys(SHARES, "DECIMAL"), _rows(work))


def _rows(work: "Work") -> Iterator[tuple[Any, ...]]:
    con = work.con
    rules = [Rule.model_validate_json(text) for (text,) in con.sql("SELECT declared FROM predictive.rules ORDER BY rule").fetchall()]
    by_name = {each.rule: each for each in rules}
    sprints = con.sql(
        "SELECT sprint, cutoff_day FROM reference.sprints WHERE sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) ORDER BY sprint",
        params=work.params,
    ).fetchall()
    for sprint, cutoff in sprints:
        con.execute(
            "CREATE OR REPLACE TEMP TABLE history AS SELECT * FROM staging.abuse_history WHERE landing_day <= $cutoff "
            "QUALIFY row_number() OVER (PARTITION BY case_id ORDER BY landing_day, occurred_at, tenant_id, label, "
            "requests_per_minute, distinct_inputs_share, probe_share, payload_kb) = 1",
            {"cutoff": cutoff},
        )
        judged = judge(con, "history", rules) if con.sql("SELECT count(*) FROM history").fetchall()[0][0] else []
        for row in judged:
            rule = by_name.get(row["rule"])
            told = (rule.about, _shown(rule.example_allowed), _shown(rule.example_refused)) if rule else ("All rules together.", None, None)
            yield sprint, row["rule"], *told, *(row[name] for name in (*COUNTS, "good_tenants", "good_tenants_blocked", *SHARES))


def _shown(example: Any) -> str:
    return ", ".join(f"{name} {value:f}" for name, value in sorted(example.items()))
