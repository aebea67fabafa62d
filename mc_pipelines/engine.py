"""The engine that runs the SQL: one DuckDB connection in memory per piece of work. No file of DuckDB's own, ever."""

import os
import tempfile
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
    """A fresh connection in UTC, bounded by MISSION_MEMORY (2GB) and MISSION_THREADS; what does not fit spills to the temporary folder."""
    import duckdb

    # A spill folder of its own: DuckDB names the files in it the same in every process. It is made when needed and removed after.
    spill = Path(tempfile.gettempdir()) / f"mission-spill-{os.getpid()}-{next(_opened)}"
    con = duckdb.connect(config={"temp_directory": str(spill), "memory_limit": os.environ.get("MISSION_MEMORY") or MEMORY})
    con.execute("SET TimeZone='UTC'")
    con.execute("SET enable_progress_bar = false")
    if threads := os.environ.get("MISSION_THREADS"):
        con.execute("SET threads = ?", [int(threads)])
    return con
