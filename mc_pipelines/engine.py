"""The engine that runs the SQL: one DuckDB database in memory per piece of work. No file of DuckDB's own, ever."""

import atexit
import os
import tempfile
import weakref
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from mc_pipelines.errors import MissionError

if TYPE_CHECKING:
    import duckdb


MEMORY = "2GB"
"""What one computation may take unless MISSION_MEMORY says otherwise: several people work on one machine."""
_opened = count()


def spark_url() -> str | None:
    """Where portable models run: at the Spark Connect server that MISSION_ENGINE names (sc://host:port), or here (None). MissionError for anything else."""
    from urllib.parse import urlsplit

    named = os.environ.get("MISSION_ENGINE") or "duckdb"
    if named == "duckdb":
        return None
    try:
        where = urlsplit(named)
        if where.scheme == "sc" and where.hostname and where.port:
            return named
    except ValueError:
        pass
    raise MissionError(f"MISSION_ENGINE={named}: write duckdb, or sc://host:port of a Spark Connect server.")


def connect() -> "duckdb.DuckDBPyConnection":
    """A fresh database in memory, in UTC. MISSION_MEMORY (2GB) and MISSION_THREADS bound all of a process; what does not fit spills to the temporary folder.

    Starting DuckDB costs ten times as much as an empty database in one that runs, so a process starts it once. The database goes when
    nobody holds the connection, or a relation of it, any more.
    """
    started = _started(os.getpid(), os.environ.get("MISSION_MEMORY") or MEMORY, os.environ.get("MISSION_THREADS"))
    con, name = started.cursor(), f"work_{next(_opened)}"
    con.execute(f"ATTACH ':memory:' AS {name}")
    con.execute(f"USE {name}")
    con.execute("SET enable_progress_bar = false")
    weakref.finalize(con, _detach, started, name)
    return con


@cache
def _started(pid: int, memory: str, threads: str | None) -> "duckdb.DuckDBPyConnection":
    """DuckDB itself, once a process: a child that was forked starts its own."""
    import duckdb

    # A spill folder of its own: DuckDB names the files in it the same in every process. It is made when needed and removed after.
    spill = Path(tempfile.gettempdir()) / f"mission-spill-{pid}-{next(_opened)}"
    bounds: dict[str, str | bool | int | float | list[str]] = {"temp_directory": str(spill), "memory_limit": memory}
    if threads:
        bounds["threads"] = int(threads)
    con = duckdb.connect(config=bounds)
    con.execute("SET GLOBAL TimeZone = 'UTC'")
    atexit.register(_started.cache_clear)  # DuckDB complains of what outlives the interpreter
    return con


def _detach(started: "duckdb.DuckDBPyConnection", name: str) -> None:
    started.cursor().execute(f"DETACH {name}")
