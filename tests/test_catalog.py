"""What assets/ declares is read strictly, in a fixed order, and mistakes name file and line."""

import re
from pathlib import Path

import pytest

from mc_pipelines.catalog import Model, read_catalog
from mc_pipelines.errors import MissionError
from mc_pipelines.home import CHECKOUT, Home
from mc_pipelines.lint import problems as lint
from mc_pipelines.starter import write_home

HEADER = "-- about: A test table.\n-- grain: day\n-- every: once\n"


def add(root: Path, relative: str, text: str) -> Path:
    path = root / "assets" / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def model(root: Path, key: str) -> Model:
    return read_catalog(Home(root)).models[key]


def test_the_checkouts_own_catalog_reads_and_its_order_is_always_the_same(tmp_path: Path) -> None:
    catalog = read_catalog(Home(tmp_path))
    first, second = catalog.ordered(), read_catalog(Home(tmp_path)).ordered()
    assert [each.key for each in first] == [each.key for each in second]
    at = {each.key: number for number, each in enumerate(first)}
    for each in first:
        for dep in each.deps:
            assert at[catalog.owner_of(dep).key] < at[each.key]


def test_tables_read_are_found_in_the_sql_and_common_table_expressions_are_not_tables(tmp_path: Path) -> None:
    sql = "WITH days AS (SELECT * FROM metering.usage_daily) "
    sql += "SELECT * FROM days JOIN (SELECT * FROM reference.meters) AS m ON true WHERE day = $first"
    add(tmp_path, "metering/extra.sql", HEADER + sql)
    extra = model(tmp_path, "metering.extra")
    assert extra.deps == ("metering.usage_daily", "reference.meters")
    assert extra.params == {"first"}


@pytest.mark.parametrize(
    ("relative", "text", "line", "said"),
    [
        ("metering/x.sql", "-- about: A\n-- grain: a\n-- evry: day\n-- every: once\nSELECT 1 AS a", 3, "evry"),
        ("metering/x.sql", "-- about: about every day\n-- grain: a\n-- every: hourly\nSELECT 1 AS a", 3, "hourly"),
        ("metering/x.sql", "-- about: [\nSELECT 1 AS a", 1, "not readable YAML"),
        ("metering/x.sql", HEADER + "SELECT FROM WHERE", 4, "not readable SQL"),
        ("metering/x.sql", HEADER + "SELECT 1 AS a; SELECT 2 AS a", 4, "2 statement"),
        ("metering/x.sql", HEADER + "DROP TABLE metering.usage_daily", 4, "one SELECT"),
        ("new/_deliverable.yaml", "title: T\nabout: A\nowner: O\nasets: {}\n", 4, "asets"),
    ],
)
def test_a_mistake_names_file_and_line(tmp_path: Path, relative: str, text: str, line: int, said: str) -> None:
    path = add(tmp_path, relative, text)
    with pytest.raises(MissionError, match=re.escape(f"{path}:{line}:")) as error:
        read_catalog(Home(tmp_path))
    assert said in str(error.value)


def test_a_circle_is_refused(tmp_path: Path) -> None:
    add(tmp_path, "metering/a.sql", HEADER + "SELECT * FROM metering.b")
    add(tmp_path, "metering/b.sql", HEADER + "SELECT * FROM metering.a")
    with pytest.raises(MissionError, match=r"circle: .*metering\.a"):
        read_catalog(Home(tmp_path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEADER + "SELECT * FROM metering.usage_dayly", "metering.usage_dayly: no file under assets/ declares this table"),
        (HEADER + "-- scope: {metering.readings: all}\nSELECT 1 AS day", "scope names metering.readings, which the SQL does not read"),
        (HEADER + "-- window: day\nSELECT 1 AS day", "absent for `every: once`"),
        (HEADER.replace("once", "day") + "SELECT 1 AS day", "`window` names the column"),
    ],
)
def test_what_does_not_fit_together_names_the_file(tmp_path: Path, text: str, said: str) -> None:
    path = add(tmp_path, "metering/x.sql", text)
    with pytest.raises(MissionError) as error:
        read_catalog(Home(tmp_path))
    assert said in str(error.value)
    assert str(path) in str(error.value)


def test_a_compute_that_does_not_exist_is_found_before_a_run(tmp_path: Path) -> None:
    text = "title: T\nabout: A\nowner: O\nassets:\n  t: {about: a, grain: [a], every: once, compute: mc_pipelines.metering.no_such}\n"
    add(tmp_path, "new/_deliverable.yaml", text)
    with pytest.raises(MissionError, match=r"compute mc_pipelines\.metering\.no_such"):
        read_catalog(Home(tmp_path))


def test_sql_in_a_folder_without_a_deliverable_is_refused(tmp_path: Path) -> None:
    add(tmp_path, "lonely/x.sql", HEADER + "SELECT 1 AS day")
    with pytest.raises(MissionError, match=r"no _deliverable\.yaml"):
        read_catalog(Home(tmp_path))


def test_the_homes_file_replaces_the_checkouts_of_the_same_path(tmp_path: Path) -> None:
    before = model(tmp_path, "metering.variance_unreferenced")
    assert before.path.is_relative_to(CHECKOUT)
    path = add(
        tmp_path, "metering/variance_unreferenced.sql", before.path.read_text(encoding="utf-8").replace("count(*) AS pairs", "7 AS pairs")
    )
    after = model(tmp_path, "metering.variance_unreferenced")
    assert after.path == path
    assert after.recipe != before.recipe
    assert after.sql is not None
    assert "7 AS pairs" in after.sql


def test_a_recipe_follows_header_and_sql(tmp_path: Path) -> None:
    add(tmp_path, "metering/x.sql", HEADER + "SELECT 1 AS day")
    first = model(tmp_path, "metering.x").recipe
    assert model(tmp_path, "metering.x").recipe == first
    for changed in (HEADER.replace("A test table", "Said better"), f"{HEADER}-- columns:\n--   day: The day.\n"):
        add(tmp_path, "metering/x.sql", changed + "SELECT 1 AS day")
        assert model(tmp_path, "metering.x").recipe == first  # words for people make no data stale
    for changed in ("grain: day, a", "grain: day\n-- engine: portable", "grain: day\n-- also: [metering.beside]"):
        add(tmp_path, "metering/x.sql", HEADER.replace("grain: day", changed) + "SELECT 1 AS day")
        assert model(tmp_path, "metering.x").recipe != first


def test_lint_refuses_the_description_of_a_column_that_the_sql_does_not_give(tmp_path: Path) -> None:
    write_home(tmp_path)
    path = add(tmp_path, "metering/x.sql", f"{HEADER}-- columns:\n--   day: The day.\n--   dya: Misspelt.\nSELECT 1 AS day")
    (problem,) = lint(Home(tmp_path))
    assert problem == f"{path}:6: columns describes 'dya', which the SQL does not give. It gives day."
