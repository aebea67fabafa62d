"""The engine that runs the SQL: one DuckDB connection in memory per piece of work. No file of DuckDB's own, ever."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb


def connect() -> "duckdb.DuckDBPyConnection":
    """A fresh connection in UTC. MISSION_MEMORY (for example 2GB) bounds it; what does not fit spills to the temporary folder."""
    import duckdb

    con = duckdb.connect(config={"temp_directory": os.environ.get("TMPDIR", "/tmp") + "/mission-spill"})
    con.execute("SET TimeZone='UTC'")
    con.execute("SET enable_progress_bar = false")
    if memory := os.environ.get("MISSION_MEMORY"):
        con.execute("SET memory_limit = ?", [memory])
    if threads := os.environ.get("MISSION_THREADS"):
        con.execute("SET threads = ?", [int(threads)])
    return con
