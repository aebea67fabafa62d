"""Gates judged: exact, never passing without evidence, each result with value, threshold and offending rows."""

from decimal import Decimal
from pathlib import Path

import pytest

from mc_pipelines.acceptance import evaluate
from mc_pipelines.engine import connect
from mc_pipelines.errors import MissionError
from mc_pipelines.gates import Gate, GateResult, read_gates
from mc_pipelines.home import CHECKOUT
from mc_pipelines.site.build import BOUNDS

YAML = """metering.variance_meters:
  - gate: metering_variance
    about: Metered usage stays within 0.25%.
    expect_column_max_to_be_between: {column: ratio, max_value: 0.0025}
    offending: ratio > $max_value
    severity: critical
    owner: team:product-ops
    runbook: docs/runbooks/metering_variance.md
    unit: ratio
"""


def gates(tmp_path: Path, text: str = YAML) -> tuple[Gate, ...]:
    path = tmp_path / "metering.yaml"
    path.write_text(text, encoding="utf-8")
    return read_gates(path)


def judge(tmp_path: Path, values: list[str], kind: str = "DECIMAL(38,20)", text: str = YAML) -> GateResult:
    con = connect()
    con.execute("CREATE SCHEMA metering")
    con.execute(f"CREATE TABLE metering.variance_meters (meter VARCHAR, ratio {kind})")
    for number, value in enumerate(values):
        con.execute(f"INSERT INTO metering.variance_meters VALUES ('m{number}', {value})")
    (result,) = evaluate(con, gates(tmp_path, text), {"metering.variance_meters": "metering.variance_meters"})
    return result


def test_within_the_threshold_passes_with_value_and_headroom(tmp_path: Path) -> None:
    result = judge(tmp_path, ["0.001", "0.0025"])
    assert (result.status, result.value, result.threshold, result.margin) == ("passed", "0.0025", "0.0025", "0")
    assert (result.rows, result.offending_count) == (2, 0)


def test_beyond_the_threshold_fails_and_shows_the_rows(tmp_path: Path) -> None:
    result = judge(tmp_path, ["0.001", "0.004", "0.003"])
    assert (result.status, result.value, result.margin, result.offending_count) == ("failed", "0.004", "-0.0015", 2)
    assert result.offending == [{"meter": "m1", "ratio": "0.004"}, {"meter": "m2", "ratio": "0.003"}]


STRICT = YAML.replace("max_value: 0.0025}", "max_value: 0.0025, strict_max: true}").replace("ratio > $max", "ratio >= $max")


def test_a_strict_bound_is_broken_by_its_own_value(tmp_path: Path) -> None:
    at = judge(tmp_path, ["0.001", "0.0025"], text=STRICT)
    assert (at.status, at.bound, at.threshold, at.margin, at.offending_count) == ("failed", "<", "0.0025", "0", 1)
    below = judge(tmp_path, ["0.0024"], text=STRICT)
    assert (below.status, below.margin, below.reason) == ("passed", "0.0001", "Observed 0.0024 ratio, required < 0.0025.")


@pytest.mark.parametrize(
    ("bounds", "expectation", "values", "status", "bound"),
    [
        ("min_value: 2, strict_min: true", "min", ["2", "3"], "failed", "> 2"),
        ("min_value: 2, strict_min: true", "min", ["2.000001", "3"], "passed", "> 2"),
        ("min_value: 2", "min", ["2"], "passed", ">= 2"),
        ("min_value: 1, max_value: 2, strict_max: true", "values", ["1", "1.5"], "passed", "between 1..<2"),
        ("min_value: 1, max_value: 2, strict_max: true", "values", ["1", "2"], "failed", "between 1..<2"),
        ("min_value: 1, max_value: 2, strict_min: true", "values", ["1", "2"], "failed", "between >1..2"),
        ("max_value: 3, strict_max: true", "sum", ["1", "2"], "failed", "< 3"),
        ("max_value: 3, strict_max: true", "mean", ["1", "4"], "passed", "< 3"),
    ],
)
def test_strict_bounds_of_every_column_expectation(
    tmp_path: Path, bounds: str, expectation: str, values: list[str], status: str, bound: str
) -> None:
    name = "expect_column_values_to_be_between" if expectation == "values" else f"expect_column_{expectation}_to_be_between"
    text = (
        YAML.replace("expect_column_max_to_be_between", name)
        .replace("max_value: 0.0025", bounds)
        .replace("ratio > $max_value", "ratio = ratio")
    )
    result = judge(tmp_path, values, text=text)
    assert (result.status, f"{result.bound} {result.threshold}") == (status, bound)
    assert result.bound in BOUNDS  # the scoreboard has a sign for it
    assert "both must pass" not in result.reason  # Great Expectations says the same


def test_a_strict_row_count_is_judged(tmp_path: Path) -> None:
    text = YAML.replace(
        "expect_column_max_to_be_between: {column: ratio, max_value: 0.0025}",
        "expect_table_row_count_to_be_between: {max_value: 2, strict_max: true}",
    )
    result = judge(tmp_path, ["1", "2"], text=text.replace("ratio > $max_value", "ratio = ratio"))
    assert (result.status, result.reason.count("both must pass")) == ("failed", 0)


def test_a_float_would_pass_where_the_exact_decimal_fails(tmp_path: Path) -> None:
    assert float(Decimal("0.00250000000000000001")) == 0.0025  # what Great Expectations compares
    result = judge(tmp_path, ["0.00250000000000000001"])
    assert result.status == "failed"
    assert "exact comparison failed" in result.reason


@pytest.mark.parametrize(
    ("values", "kind"),
    [([], "DECIMAL(38,20)"), (["NULL"], "DECIMAL(38,20)"), (["0.001", "NULL"], "DECIMAL(38,20)"), (["'NaN'::DOUBLE", "0.001"], "DOUBLE")],
)
def test_empty_null_and_nan_are_no_evidence_and_no_pass(tmp_path: Path, values: list[str], kind: str) -> None:
    result = judge(tmp_path, values, kind)
    assert (result.status, result.value) == ("no_evidence", None)
    assert "No evidence" in result.reason


def test_fewer_rows_than_needed_are_no_evidence(tmp_path: Path) -> None:
    assert judge(tmp_path, ["0.001"], text=YAML + "    min_rows: 2\n").status == "no_evidence"


def test_an_infinite_value_fails(tmp_path: Path) -> None:
    assert judge(tmp_path, ["'infinity'::DOUBLE"], "DOUBLE").status == "failed"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("severity: critical", "severty: critical", r":2: |severty"),
        ("severity: critical", "severity: urgent", r"severity.*urgent"),
        ("expect_column_max_to_be_between", "expect_column_max_to_be_betwen", "unknown expectation|exactly one"),
        ("    runbook: docs/runbooks/metering_variance.md\n", "", "names no runbook"),
        ("docs/runbooks/metering_variance.md", "docs/runbooks/none.md", "does not exist"),
        ("max_value: 0.0025", "max_vlaue: 0.0025", "max_vlaue"),
        (", max_value: 0.0025", "", "no bound"),
        ("max_value: 0.0025", "max_value: 0.0025, strict_min: true", "a strict bound needs its value"),
        ("max_value: 0.0025", "min_value: 1, max_value: 1, strict_max: true", "no value is strictly within"),
        ("column: ratio, ", "", "needs column"),
        ("max_value: 0.0025", "max_value: 2026-02-30", ":[0-9]+: not readable YAML: '2026-02-30' is no day"),
        ("    unit: ratio", "    unit: ratio\n    unit: ratio", "key `unit` stands twice"),
        ("    unit: ratio", "    unit: ratio\n    1: 2", "Keys should be strings"),
        ("    unit: ratio", "    unit: ratio\n1: none", "1 must hold a list of gates"),
    ],
)
def test_a_gate_that_cannot_be_read_names_file_line_and_remedy(tmp_path: Path, before: str, after: str, message: str) -> None:
    with pytest.raises(MissionError, match=message) as caught:
        gates(tmp_path, YAML.replace(before, after))
    assert "metering.yaml:" in str(caught.value)


def test_a_gate_cannot_be_declared_twice(tmp_path: Path) -> None:
    with pytest.raises(MissionError, match="declared twice"):
        gates(tmp_path, YAML + "\n".join(YAML.splitlines()[1:]) + "\n")


def test_the_declared_gates_are_readable_and_every_critical_one_has_its_runbook() -> None:
    declared = read_gates(CHECKOUT / "checks" / "metering.yaml")
    assert {"metering_variance", "metering_unreferenced", "metering_conflicts", "metering_quarantine", "metering_rows_conserved"} <= {
        g.gate for g in declared
    }
    assert all(gate.runbook for gate in declared if gate.severity == "critical")
