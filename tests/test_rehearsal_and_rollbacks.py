"""What went back and whether it could: the models `predictive.live` and `predictive.rehearsal` on rows written by hand, without a lake."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from mc_pipelines.catalog import read_catalog
from mc_pipelines.home import CHECKOUT, Home

TABLES = """
CREATE SCHEMA predictive; CREATE SCHEMA reference; CREATE SCHEMA staging;
CREATE TABLE reference.sprints AS SELECT * FROM (VALUES
    (DATE '2026-04-06', TIMESTAMP '2026-04-06', TIMESTAMP '2026-04-11', DATE '2026-04-14'),
    (DATE '2026-04-13', TIMESTAMP '2026-04-13', TIMESTAMP '2026-04-18', DATE '2026-04-21'),
    (DATE '2026-04-20', TIMESTAMP '2026-04-20', TIMESTAMP '2026-04-25', DATE '2026-04-28')) AS rows (sprint, start_utc, end_utc, cutoff_day);
CREATE TABLE predictive.settings AS SELECT 'm' AS model;
CREATE TABLE staging.releases (release_id VARCHAR, model_version VARCHAR, event VARCHAR, occurred_at TIMESTAMP, landing_day DATE, model VARCHAR DEFAULT 'm');
CREATE TABLE staging.rehearsals (
    rehearsal_id VARCHAR, inputs_digest VARCHAR, archived_digest VARCHAR, rebuilt_digest VARCHAR, landing_day DATE, elapsed_ms DECIMAL(38, 9) DEFAULT 10,
    ran_at TIMESTAMP DEFAULT TIMESTAMP '2026-04-08', model VARCHAR DEFAULT 'm', model_version VARCHAR DEFAULT '1');
CREATE TABLE predictive.decisions (
    inputs_digest VARCHAR, model_version VARCHAR, landing_day DATE, status VARCHAR DEFAULT 'ok', model VARCHAR DEFAULT 'm');
"""
Act = tuple[str, str, str, str, str]
BEGUN: list[Act] = [("r1", "1", "deploy", "2026-03-01", "2026-03-01"), ("r2", "2", "deploy", "2026-04-05", "2026-04-05")]


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    found = duckdb.connect()
    found.execute(TABLES)
    return found


def computed(
    con: duckdb.DuckDBPyConnection, key: str, columns: str, first: str = "2026-04-06", last: str = "2026-04-20"
) -> list[tuple[Any, ...]]:
    sql = read_catalog(Home(CHECKOUT)).models[key].sql
    return con.execute(f"SELECT {columns} FROM ({sql}) ORDER BY ALL", {"first": first, "last": last}).fetchall()


def rollbacks(con: duckdb.DuckDBPyConnection, acts: Sequence[Act]) -> list[int]:
    """Of the three sprints in order."""
    con.executemany(
        "INSERT INTO staging.releases (release_id, model_version, event, occurred_at, landing_day) VALUES (?, ?, ?, ?, ?)", acts
    )
    return [count for _, count in computed(con, "predictive.live", "sprint, rollbacks")]


@pytest.mark.parametrize(
    ("acts", "expected"),
    [
        ([], [0, 0, 0]),
        ([("r3", "1", "rollback", "2026-04-08", "2026-04-08")], [1, 0, 0]),
        # Going back under another name is going back; coming forward again is not.
        ([("r3", "1", "deploy", "2026-04-08", "2026-04-08")], [1, 0, 0]),
        ([("r3", "1", "rollback", "2026-04-08", "2026-04-08"), ("r4", "2", "deploy", "2026-04-09", "2026-04-09")], [1, 0, 0]),
        ([("r3", "3", "deploy", "2026-04-08", "2026-04-08"), ("r4", "1", "deploy", "2026-04-14", "2026-04-14")], [0, 1, 0]),
        ([("r3", "2", "deploy", "2026-04-08", "2026-04-08")], [0, 0, 0]),  # the same version once more
        ([("r3", "1", "rehearsal", "2026-04-08", "2026-04-08")], [0, 0, 0]),
        # Landed on the 15th, a day after the first sprint's cut-off: the second one's.
        ([("r3", "1", "rollback", "2026-04-08", "2026-04-15")], [0, 1, 0]),
        ([("r3", "1", "rollback", "2026-04-08", "2026-04-22")], [0, 0, 1]),
        ([("r3", "1", "rollback", "2026-04-08", "2026-04-29")], [0, 0, 0]),  # no sprint has ended that could know it
        # Between two sprints: the next one's, as nothing that is deployed waits for a Monday.
        ([("r3", "1", "rollback", "2026-04-12", "2026-04-12")], [0, 1, 0]),
        ([("r0", "1", "rollback", "2026-04-01", "2026-04-01")], [0, 0, 0]),  # before anything was judged
        # One act that landed twice with another instant: the first landed counts.
        ([("r3", "1", "rollback", "2026-04-08", "2026-04-08"), ("r3", "1", "rollback", "2026-04-09", "2026-04-09")], [1, 0, 0]),
        ([("r3", "1", "rollback", "2026-04-08", "2026-04-08"), ("r3", "2", "deploy", "2026-04-08", "2026-04-09")], [1, 0, 0]),
        # That 3 came between is known late, and so is that r3 went back to 2.
        ([("r3", "2", "deploy", "2026-04-09", "2026-04-09"), ("r4", "3", "deploy", "2026-04-08", "2026-04-16")], [0, 1, 0]),
    ],
)
def test_what_goes_back_counts_once_in_the_first_sprint_that_knows_it(
    con: duckdb.DuckDBPyConnection, acts: list[Act], expected: list[int]
) -> None:
    assert rollbacks(con, [*BEGUN, *acts]) == expected


def test_a_run_of_one_sprint_counts_as_a_run_of_all(con: duckdb.DuckDBPyConnection) -> None:
    late = [("r3", "1", "rollback", "2026-04-08", "2026-04-15"), ("r4", "3", "deploy", "2026-04-16", "2026-04-16")]
    assert rollbacks(con, [*BEGUN, *late]) == [0, 1, 0]
    columns = "model_version, previous_version, rollbacks"
    assert computed(con, "predictive.live", columns, "2026-04-06", "2026-04-06") == [("2", "1", 0)]
    assert computed(con, "predictive.live", columns, "2026-04-13", "2026-04-13") == [("3", "1", 1)]
    assert computed(con, "predictive.live", columns, "2026-04-20", "2026-04-20") == [("3", "1", 0)]


def test_each_input_is_rehearsed_once_and_proves_something_only_where_it_was_served(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE TABLE predictive.live AS SELECT DATE '2026-04-06' AS sprint, 'm' AS model, '1' AS previous_version")
    decided = [
        ("a", "1", "2026-03-01"),
        ("a", "1", "2026-03-02"),
        ("b", "1", "2026-03-01"),
        ("c", "2", "2026-03-01"),
        ("d", "1", "2026-04-15"),
    ]
    con.executemany("INSERT INTO predictive.decisions (inputs_digest, model_version, landing_day) VALUES (?, ?, ?)", decided)
    con.execute(
        "INSERT INTO predictive.decisions (inputs_digest, model_version, landing_day, status) VALUES ('e', '1', '2026-03-01', 'refused')"
    )
    rows = [
        ("h", "a", "x", "x", "2026-04-08"),
        ("h", "a", "x", "x", "2026-04-09"),  # the same landing once more
        ("h", "a", "x", "y", "2026-04-10"),  # and once more, with another result: too late
        ("h", "b", "x", "x", "2026-04-08"),
        ("h", "b", "x", "y", "2026-04-08"),  # two results in one landing: the one that differs
        ("h", "c", "x", "x", "2026-04-08"),  # what another version served
        ("h", "d", "x", "x", "2026-04-08"),  # served, but landed after the cut-off
        ("h", "e", "x", "y", "2026-04-08"),  # refused, so never served; and it differs
        ("i", "a", "x", "x", "2026-04-08"),
    ]
    con.executemany(
        "INSERT INTO staging.rehearsals (rehearsal_id, inputs_digest, archived_digest, rebuilt_digest, landing_day) VALUES (?, ?, ?, ?, ?)",
        rows,
    )
    # Five inputs of 10 ms: b and e differ; c, d and e are unknown; a alone proves something.
    columns = "rehearsal_id, inputs, differing, unknown, unproven, elapsed_ms"
    assert computed(con, "predictive.rehearsal", columns) == [("h", 5, 2, 3, 4, Decimal(50)), ("i", 1, 0, 0, 0, Decimal(10))]
