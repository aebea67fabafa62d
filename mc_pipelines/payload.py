"""The files that a close puts under its signature: canonical rows, leaves, gates, the report, and the invoice previews.

The same rows, and the same batch of previews before them, give the same bytes. Nothing is judged or signed here.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mc_pipelines import report
from mc_pipelines.catalog import Model
from mc_pipelines.evidence.bundle import payload_file
from mc_pipelines.evidence.canonical import canonical, rows_bytes
from mc_pipelines.evidence.proofs import leaf_files, rows_file
from mc_pipelines.gates import GateResult
from mc_pipelines.invoicing.batch_files import preview_files
from mc_pipelines.invoicing.previews import USAGE, Usage, month_previews
from mc_pipelines.windows import Window

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.home import Home

METERING = "metering.json"
GATES = "gates.json"
Before = Callable[[str], Mapping[str, Any] | None]
"""For the digest of a batch of previews the batch before it, as `invoices/previous.json` holds it; None where there is none."""


def table_files(con: "duckdb.DuckDBPyConnection", marts: Sequence[Model]) -> dict[str, bytes]:
    """Canonical rows and the schema of every mart that `con` shows, with the leaves of those whose rows are proven one by one."""
    files: dict[str, bytes] = {}
    for model in marts:
        relation = con.sql(f"FROM {model.key}")
        files[rows_file(model.key)] = rows_bytes(relation.columns, relation.fetchall(), model.header.grain)
        files[f"schemas/{model.key}.json"] = canonical(
            {"columns": relation.columns, "types": [str(kind) for kind in relation.types], "grain": list(model.header.grain)}
        )
    return files | leaf_files(files)


def results_of(home: "Home", body: Mapping[str, Any]) -> list[GateResult]:
    """The gate results in the bundle that an attempt's entry names."""
    return [GateResult(**each) for each in json.loads(payload_file(home.evidence / body["bundle"], body["digest"], GATES))]


def gates_file(results: Sequence[GateResult]) -> dict[str, bytes]:
    """What was judged."""
    return {GATES: canonical([result.to_json() for result in results])}


def payload(
    con: "duckdb.DuckDBPyConnection", marts: Sequence[Model], window: Window, results: Sequence[GateResult], before: Before
) -> dict[str, bytes]:
    """The bytes by path under data/ of a month's close. `con` shows the month's tables, `marts` among them."""
    files = table_files(con, marts)
    limit, money_limit = variance_limits(results)
    usage = Usage.of(rows_file(USAGE), con.sql(f"FROM {USAGE}").columns, files[rows_file(USAGE)])
    previews, blocked = month_previews(con, usage, limit)
    about = {
        "period": window.name,
        "as_of": window.as_of,
        "movers": report.movers(con),
        "late": report.corrections(con),
        "not_passed": [result.gate for result in results if result.status != "passed" and result.severity == "critical"],
    }
    return (
        files
        | gates_file(results)
        | {METERING: canonical(report.metering_report(con, window.key, window.as_of, limit, money_limit))}
        | preview_files(previews, blocked, about, before)
    )


def variance_limits(results: Sequence[GateResult]) -> tuple[str, str]:
    """The declared thresholds of the variance gates, per tenant and in money: the only place that they are read from for the page."""
    by_gate = {result.gate: result.threshold for result in results}
    limit = by_gate.get("metering_variance_tenants") or by_gate.get("metering_variance") or "0"
    return limit, by_gate.get("metering_variance_money", limit)
