"""What is read from a SELECT: tables, parameters, columns and their lineage; and that it is read once."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mc_pipelines import sqlread
from mc_pipelines.home import CHECKOUT


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("SELECT day, sum(quantity) AS quantity FROM m.daily", {"day": "m.daily.day", "quantity": "m.daily.quantity"}),
        ("SELECT count(*) AS rows FROM m.daily", {"rows": ""}),
        ("SELECT a.x + b.y AS both FROM m.left AS a JOIN m.right AS b ON a.id = b.id", {"both": "m.left.x m.right.y"}),
        (
            "WITH one AS (SELECT x AS y FROM m.a WHERE z = $first), two AS (SELECT y, one.y * 2 AS w FROM one) SELECT w FROM two",
            {"w": "m.a.x"},
        ),
        ("WITH both AS (SELECT x FROM m.a UNION ALL SELECT y FROM m.b) SELECT x FROM both", {"x": "m.a.x m.b.y"}),
        ("WITH s AS (SELECT day, sum(rows) AS rows FROM m.a GROUP BY day) SELECT s.rows FROM s", {"rows": "m.a.rows"}),
        ("WITH s AS (SELECT x, y FROM m.a) SELECT s.*, x AS z FROM s", {}),
        ("SELECT x FROM m.a WHERE k IN (SELECT k FROM m.b)", {"x": "m.a.x"}),
        ("SELECT (SELECT max(b.v) FROM m.b AS b WHERE b.k = a.k) AS top FROM m.a AS a", {"top": "m.b.v"}),
        ("SELECT coalesce(x.a, y.a) AS a FROM m.x AS x FULL JOIN (SELECT a FROM m.y) AS y ON x.k = y.k", {"a": "m.x.a m.y.a"}),
        ("SELECT * FROM m.a", {}),
    ],
)
def test_a_column_is_traced_to_the_tables_its_values_come_from(sql: str, columns: dict[str, str]) -> None:
    assert {name: " ".join(".".join(pair) for pair in pairs) for name, pairs in sqlread.read(sql).columns.items()} == columns


def test_tables_and_parameters_are_found() -> None:
    found = sqlread.read("WITH days AS (SELECT d FROM m.days) SELECT d FROM days JOIN n.other ON d = $first AND d < $last")
    assert found.tables == ("m.days", "n.other")
    assert found.params == {"first", "last"}


@pytest.mark.parametrize("sql", ["SELECT FROM WHERE", "DROP TABLE x", "SELECT 1 AS a; SELECT 2 AS a", ""])
def test_what_is_not_one_select_is_refused(sql: str) -> None:
    with pytest.raises(sqlread.NotOneSelectError):
        sqlread.facts(sql)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder of its own, and nothing remembered in this process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sqlread._folder.cache_clear()
    sqlread.facts.cache_clear()
    yield tmp_path
    sqlread._folder.cache_clear()
    sqlread.facts.cache_clear()


def test_what_was_read_is_kept_and_a_broken_file_is_read_anew(folder: Path) -> None:
    sql = "WITH s AS (SELECT x FROM m.a WHERE d = $first) SELECT x FROM s"
    first = sqlread.facts(sql)
    (kept,) = folder.rglob("*.json")
    sqlread.facts.cache_clear()
    assert sqlread.facts(sql) == first == sqlread.read(sql)
    for broken in ("", "[]", "{", json.dumps({"tables": []})):
        kept.write_text(broken, encoding="utf-8")
        sqlread.facts.cache_clear()
        assert sqlread.facts(sql) == first
    assert [path.name for path in folder.rglob("*") if path.is_file()] == [kept.name]


def test_a_cache_that_cannot_be_written_is_done_without(folder: Path) -> None:
    (folder / "mc_pipelines").write_text("a file where the folder would be", encoding="utf-8")
    assert sqlread.facts("SELECT x FROM m.a").tables == ("m.a",)


def test_a_second_start_does_not_load_the_parser(tmp_path: Path) -> None:
    # The parser and what it reads cost more than half of `import dagster`; kept, the definitions cost about a quarter of it.
    code = "import sys; import mc_pipelines.location; print('sqlglot' in sys.modules)"
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "MISSION_HOME": str(CHECKOUT / "data"), "PYTHONPATH": str(CHECKOUT)}
    starts = [subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True) for _ in range(2)]
    assert [done.stdout.strip() for done in starts] == ["True", "False"]
