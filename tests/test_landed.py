"""Which days of a sprint are missing, on files written down by hand."""

import duckdb
import pytest

from mc_pipelines.landed import landed

# A sprint from Monday 6 to Friday 10 April 2026, UTC, with four days of grace.
TABLES = """
CREATE SCHEMA landing; CREATE SCHEMA reference;
CREATE TABLE reference.sprints AS
    SELECT DATE '2026-04-06' AS sprint, TIMESTAMP '2026-04-06' AS start_utc, TIMESTAMP '2026-04-11' AS end_utc, DATE '2026-04-14' AS cutoff_day;
CREATE TABLE reference.sources (source VARCHAR, daily BOOLEAN, start DATE, deliverable VARCHAR DEFAULT 'd');
CREATE TABLE landing.decisions (landing_day DATE, rows_in BIGINT, accepted BIGINT, quarantined BIGINT, left_because VARCHAR);
"""
File = tuple[int, int, int, str | None]
"""Day of April, rows, accepted ones, and why it was left."""


def missing(files: list[File], start: str = "2026-04-01", daily: bool = True) -> list[tuple[int, int, int]]:
    """(missing days, days with unread files, both)."""
    con = duckdb.connect()
    con.execute(TABLES)
    con.execute("INSERT INTO reference.sources VALUES ('decisions', ?, ?, 'd')", [daily, start])
    for day, rows, accepted, left in files:
        con.execute("INSERT INTO landing.decisions VALUES (?, ?, ?, ?, ?)", [f"2026-04-{day:02}", rows, accepted, rows - accepted, left])
    params = {"first": "2026-04-06", "last": "2026-04-06", "deliverable": "d"}
    return landed(con, ["decisions"], params).project("missing_days, unread_days, gaps").fetchall()


def whole(*days: int) -> list[File]:
    return [(day, 3, 3, None) for day in days]


@pytest.mark.parametrize(
    ("files", "start", "expected"),
    [
        (whole(6, 7, 8, 9, 10), "2026-04-01", (0, 0, 0)),
        (whole(6, 8, 8, 10, 12), "2026-04-01", (2, 0, 2)),  # the 7th and 9th; what landed in the grace makes up for no day
        ([], "2026-04-01", (5, 0, 5)),
        # From the 9th on it lands every day. Three files before make up for nothing: the 10th is missing.
        (whole(6, 7, 8, 9), "2026-04-09", (1, 0, 1)),
        (whole(6, 7, 8), "2026-04-12", (0, 0, 0)),  # it was not due in the sprint at all
        # Two rows on the 7th and none of them accepted; one of two on the 8th; an empty file on the 9th says that there was nothing.
        ([*whole(6, 10), (7, 2, 0, None), (8, 2, 1, None), (9, 0, 0, None)], "2026-04-01", (1, 0, 1)),
        ([*whole(6, 8, 9, 10), (7, 2, 0, None), (7, 5, 5, None)], "2026-04-01", (0, 0, 0)),  # another file of the same day was good
        ([*whole(6, 8, 9, 10), (7, 0, 0, "truncated")], "2026-04-01", (0, 1, 1)),  # it is there and was not read: one gap, not two
    ],
)
def test_a_day_is_missing_where_nothing_tells_of_it(files: list[File], start: str, expected: tuple[int, int, int]) -> None:
    assert missing(files, start) == [expected]


def test_a_source_that_lands_when_there_is_something_misses_no_day() -> None:
    assert missing(whole(7), daily=False) == [(0, 0, 0)]
    assert missing([], daily=False) == []
