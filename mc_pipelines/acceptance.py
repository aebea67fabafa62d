"""Judge marts by their gates: Great Expectations states the acceptance, exact decimals have the last word.

Great Expectations passes on empty frames, ignores nulls beside good values and compares decimals as floats; so emptiness, nulls and NaN
are looked for first ("no evidence" fails), and a gate passes only when GX and the exact comparison both say so.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mc_pipelines.evidence.canonical import canonical, sha256
from mc_pipelines.gates import Gate, GateResult, Status
from mc_pipelines.rating.money import EXACT, total
from mc_pipelines.report import text

if TYPE_CHECKING:
    import duckdb

MOST_OFFENDING = 20


@dataclass(frozen=True)
class Judged:
    """What the mart holds for one gate: its row count and the exact values of the judged column (None for a NULL)."""

    rows: int
    values: Sequence[Decimal | None]


def evaluate(
    con: "duckdb.DuckDBPyConnection", gates: Sequence[Gate], tables: Mapping[str, str], period: str | None = None
) -> list[GateResult]:
    """Judge every gate, in the order given. `tables` maps a judged table to the view that holds its rows on `con`.

    `period` is what the rows are about: a failure of another one is another failure.
    """
    found = {gate.gate: _judged(con, gate, tables[gate.table]) for gate in gates}
    missing = {gate.gate: reason for gate in gates if (reason := _no_evidence(gate, found[gate.gate]))}
    agreed = _great_expectations([(gate, found[gate.gate]) for gate in gates if gate.gate not in missing])
    return [
        _result(con, gate, tables[gate.table], period, found[gate.gate], missing.get(gate.gate), agreed.get(gate.gate)) for gate in gates
    ]


def _judged(con: "duckdb.DuckDBPyConnection", gate: Gate, view: str) -> Judged:
    if gate.between.column is None:
        return Judged(int(con.sql(f"SELECT count(*) FROM {view}").fetchall()[0][0]), ())
    rows = con.sql(f'SELECT "{gate.between.column}" FROM {view} ORDER BY 1 NULLS FIRST').fetchall()
    return Judged(len(rows), [None if value is None else Decimal(str(value)) for (value,) in rows])


def _no_evidence(gate: Gate, judged: Judged) -> str | None:
    if judged.rows < gate.min_rows:
        return f"No evidence: {gate.table} has {judged.rows} row(s), at least {gate.min_rows} needed."
    empty = sum(value is None or value.is_nan() for value in judged.values)
    return f"No evidence: {gate.between.column} is NULL or NaN in {empty} of {judged.rows} row(s)." if empty else None


def _great_expectations(judged: Sequence[tuple[Gate, Judged]]) -> dict[str, bool]:
    """Great Expectations' own verdict by gate; one ephemeral context, imported only here because that takes seconds."""
    if not judged:
        return {}
    import pandas as pd

    with warnings.catch_warnings():
        # It imports pyspark where there is one (make spark), which warns of pandas 3; neither is used here.
        warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas")
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("marts")
    verdicts = {}
    for gate, found in judged:
        frame = pd.DataFrame(
            {gate.between.column: [float(value or 0) for value in found.values]} if gate.between.column else {"row": range(found.rows)}
        )
        batch = (
            source.add_dataframe_asset(gate.gate)
            .add_batch_definition_whole_dataframe("all")
            .get_batch(batch_parameters={"dataframe": frame})
        )
        verdicts[gate.gate] = bool(batch.validate(_expectation(gate), result_format="BOOLEAN_ONLY").success)
    return verdicts


def _expectation(gate: Gate) -> Any:
    import great_expectations as gx

    name = "".join(part.capitalize() for part in gate.expectation.split("_"))
    bounds = {
        key: float(value)
        for key, value in (("min_value", gate.between.min_value), ("max_value", gate.between.max_value))
        if value is not None
    }
    strict = {name: True for name in ("strict_min", "strict_max") if getattr(gate.between, name)}
    column = {"column": gate.between.column} if gate.between.column else {}
    return getattr(gx.expectations, name)(**column, **bounds, **strict, severity=gate.severity, meta={"gate": gate.gate})


def observed(gate: Gate, judged: Judged) -> Decimal:
    """The one figure that the gate judges; for `values`, the one nearest to breaking it."""
    values = [value for value in judged.values if value is not None]
    if gate.expectation == "expect_table_row_count_to_be_between":
        return Decimal(judged.rows)
    if "_sum_" in gate.expectation:
        return total(values)
    if "_mean_" in gate.expectation:
        from mc_pipelines.metering import quotient

        return quotient(total(values), Decimal(len(values)))
    if "_min_" in gate.expectation:
        return min(values)
    return max(values) if "_max_" in gate.expectation else min(values, key=lambda value: (margin(gate, value), gate.between.holds(value)))


def margin(gate: Gate, value: Decimal) -> Decimal:
    """Signed headroom to the nearer bound, in the gate's unit; negative where it is broken, and at 0 a strict bound is broken too."""
    rooms = []
    if gate.between.max_value is not None:
        rooms.append(EXACT.subtract(gate.between.max_value, value))
    if gate.between.min_value is not None:
        rooms.append(EXACT.subtract(value, gate.between.min_value))
    return min(rooms)


def _result(
    con: "duckdb.DuckDBPyConnection",
    gate: Gate,
    view: str,
    period: str | None,
    judged: Judged,
    missing: str | None,
    agreed: bool | None,
) -> GateResult:
    value = None if missing else observed(gate, judged)
    room = None if value is None else margin(gate, value)
    exact = value is not None and gate.between.holds(value)
    status: Status = "no_evidence" if missing else "passed" if exact and agreed else "failed"
    rows = _offending(con, gate, view) if status != "passed" else []
    count = len(rows)
    shown = None if value is None else text(value)
    reason = missing or f"{gate.about} Observed {shown} {gate.unit}, required {gate.bound} {gate.threshold}; {count} row(s) offend."
    if status == "passed":
        reason = f"Observed {shown} {gate.unit}, required {gate.bound} {gate.threshold}."
    elif exact != agreed and not missing:
        reason += f" Great Expectations says {'passed' if agreed else 'failed'}, the exact comparison {'passed' if exact else 'failed'}; both must pass."
    declared = gate.model_dump(include={"gate", "deliverable", "table", "about", "owner", "severity", "runbook", "unit", "expectation"})
    return GateResult(
        **declared,
        column=gate.between.column,
        bound=gate.bound,
        threshold=gate.threshold,
        value=shown,
        margin=None if room is None else text(room),
        status=status,
        reason=reason,
        rows=judged.rows,
        offending_count=count,
        offending=rows[:MOST_OFFENDING],
        failure=failure(gate, period, shown, rows) if status == "failed" else None,
    )


def failure(gate: Gate, period: str | None, value: str | None, rows: Sequence[Mapping[str, Any]]) -> str:
    """sha256 (hex) of what failed: the gate and its severity, the period, threshold and value, and every offending row whatever their order.

    Equal figures are the same failure in a later edition; another row, figure or threshold is another one.
    """
    lines = [{name: None if each is None else str(each) for name, each in row.items()} for row in rows]
    return sha256(
        canonical(
            {
                "gate": gate.gate,
                "severity": gate.severity,
                "period": period,
                "bound": gate.bound,
                "threshold": gate.threshold,
                "value": value,
                "rows": sorted(lines, key=canonical),
            }
        )
    )


def _offending(con: "duckdb.DuckDBPyConnection", gate: Gate, view: str) -> list[dict[str, Any]]:
    bounds = {"min_value": gate.between.min_value, "max_value": gate.between.max_value}
    used = {name: value for name, value in bounds.items() if value is not None and f"${name}" in gate.offending}
    relation = con.sql(f"SELECT * FROM {view} WHERE {gate.offending} ORDER BY ALL", params=used or None)
    return [dict(zip(relation.columns, map(text, row), strict=True)) for row in relation.fetchall()]
