"""Each rule for portable models refuses what differs between the engines, and lets the equal form pass."""

from pathlib import Path

import pytest

from mc_pipelines.catalog import read_catalog
from mc_pipelines.home import Home
from mc_pipelines.lint import problems as lint
from mc_pipelines.portable import problems
from mc_pipelines.starter import write_home

HEADER = "-- about: A test table.\n-- grain: day\n-- every: once\n-- engine: portable\n"


def found(root: Path, sql: str, header: str = HEADER) -> list[str]:
    path = root / "assets" / "metering" / "x.sql"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header + sql + "\n", encoding="utf-8")
    return problems(read_catalog(Home(root)).models["metering.x"])


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT quantity / 2 AS half FROM metering.readings", "`quantity / 2`: scale and rounding differ"),
        ("SELECT quantity // 2 AS half FROM metering.readings", "`quantity // 2`"),
        ("SELECT quantity * price AS money FROM metering.readings", "`quantity * price`: CAST both factors"),
        ("SELECT CAST(a AS DECIMAL(38, 9)) * CAST(b AS DECIMAL(1, 0)) AS c FROM metering.readings", "at most 38 digits together"),
        ("SELECT lead(day) OVER (ORDER BY day) AS later FROM metering.readings", "`day`: the engines put NULL at opposite ends"),
        ("SELECT row_number() OVER (ORDER BY day NULLS LAST) AS n FROM metering.readings", "Write CAST(... AS BIGINT)"),
        ("SELECT id FROM metering.readings QUALIFY row_number() OVER (ORDER BY id NULLS LAST) = 1", "Write CAST(... AS BIGINT)"),
        ("SELECT CAST(quantity AS BIGINT) AS n FROM metering.readings", "floor, ceil or round inside the CAST"),
        ("SELECT CAST(quantity AS HUGEINT) AS n FROM metering.readings", "is not on both engines"),
        ("SELECT CAST(day AS VARCHAR) AS n FROM metering.readings", "`VARCHAR`: Spark has no such type without a length. Write STRING"),
        ("SELECT * FROM metering.readings", "name the columns"),
        ("SELECT readings.* FROM metering.readings AS readings", "name the columns"),
        ("SELECT COLUMNS('quantity.*') FROM metering.readings", "only one of the engines"),
        ("SELECT [id] AS ids FROM metering.readings", "only one of the engines"),
        ("SELECT {'id': id} AS ids FROM metering.readings", "only one of the engines"),
        ("SELECT max_by(id, (day, id)) AS last FROM metering.readings", "a tuple is a struct"),
        ("SELECT max_by(id, day) AS last FROM metering.readings", "Join with the maximum"),
        ("SELECT blocks ->> '$.a' AS a FROM metering.usage_events", "only one of the engines"),
        ("SELECT json_extract(blocks, '$.a') AS a FROM metering.usage_events", "only one of the engines"),
        ("SELECT list_distinct(ids) AS ids FROM metering.readings", "not known to give the same rows"),
        ("SELECT unnest(ids) AS id FROM metering.readings", "only one of the engines"),
        ("SELECT date_diff('day', a, b) AS n FROM metering.readings", "count boundaries differently"),
        ("SELECT strptime(id, '%Y') AS n FROM metering.readings", "time is parsed once, in staging"),
        ("SELECT concat(id, item) AS n FROM metering.readings", "DuckDB skips NULL"),
        ("SELECT any_value(id) AS n FROM metering.readings", "Say min or max"),
        ("SELECT a.id FROM metering.readings AS a ASOF JOIN metering.amendments AS b ON a.day >= b.day", "ASOF JOIN"),
        ("SELECT a FROM metering.readings PIVOT (sum(quantity) FOR meter IN ('a'))", "only one of the engines"),
        ("SELECT id FROM metering.readings USING SAMPLE 10 ROWS", "only one of the engines"),
    ],
)
def test_what_differs_is_refused_with_what_to_write_instead(tmp_path: Path, sql: str, said: str) -> None:
    messages = "\n".join(found(tmp_path, sql))
    assert said in messages
    assert "or mark the model `-- engine: duckdb` and say why" in messages


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT tenant_id, count(*) AS n, CAST(sum(quantity) AS DECIMAL(38, 9)) AS total FROM metering.readings GROUP BY ALL",
        "SELECT CAST(floor(quantity) AS BIGINT) AS n FROM metering.readings WHERE (id, item) IN (SELECT id, item FROM metering.amendments)",
        "SELECT CAST(a AS DECIMAL(20, 9)) * CAST(b AS DECIMAL(17, 0)) AS c FROM metering.readings",
        "SELECT id FROM metering.readings QUALIFY CAST(row_number() OVER (ORDER BY id NULLS LAST, day DESC NULLS FIRST) AS BIGINT) = 1",
        "SELECT count(*) FILTER (WHERE kind = 'usage' AND NOT id IS NULL) AS n, coalesce(min(day), CAST($first AS DATE)) AS d FROM metering.readings",
        "SELECT CAST(day AS STRING) AS text FROM metering.readings",
        "SELECT CASE WHEN a > 0 THEN 1 ELSE 0 END AS b, date_trunc('hour', occurred_at) + INTERVAL 1 HOUR AS h FROM metering.readings ORDER BY b",
    ],
)
def test_what_is_the_same_on_both_engines_passes(tmp_path: Path, sql: str) -> None:
    assert found(tmp_path, sql) == []


def test_a_breach_names_file_and_line_also_after_parameters(tmp_path: Path) -> None:
    sql = "SELECT id\nFROM metering.readings\nWHERE day BETWEEN CAST($first AS DATE)\n  AND CAST($last AS DATE)\n  AND quantity / 2 > 1"
    (message,) = found(tmp_path, sql)
    assert message.startswith(f"{tmp_path}/assets/metering/x.sql:9: `quantity / 2`")


def test_a_model_for_duckdb_alone_may_use_all_of_it(tmp_path: Path) -> None:
    assert found(tmp_path, "SELECT [quantity / 2] AS x FROM metering.readings", HEADER.replace("portable", "duckdb")) == []


def test_lint_reports_breaches_and_the_checkouts_own_portable_models_have_none(tmp_path: Path) -> None:
    models = read_catalog(Home(tmp_path)).models.values()
    portable = {f"metering.{name}" for name in ("effective", "seen_before", "usage_daily", "usage_events")}
    portable |= {f"predictive.{name}" for name in ("audit_drawn", "decisions", "in_scope")}
    assert {model.key for model in models if model.header.engine == "portable"} == portable
    assert [line for model in models for line in problems(model)] == []
    found(tmp_path, "SELECT quantity / 2 AS half FROM metering.readings")
    write_home(tmp_path)
    assert [line for line in lint(Home(tmp_path)) if "quantity / 2" in line]
