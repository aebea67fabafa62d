"""Spark over Spark Connect, for portable models whose input outgrows one machine: the same text, the same files, the same rows.

The server reads the files of the pinned versions itself, so it must see the lake under the same paths. The rows of a mart come back as
Arrow and are committed as DuckDB's would be: to the lake, and to what is stale, the engine makes no difference.
"""

import socket
import warnings
from collections.abc import Collection, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mc_pipelines.columns import duckdb_type, schema_of
from mc_pipelines.errors import MissionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from mc_pipelines.lake import Lake
    from mc_pipelines.runner import Work

NAMES = {"VARCHAR": "STRING", "INTEGER": "INT", "TIMESTAMP": "TIMESTAMP_NTZ"}
"""Types that Spark calls otherwise than DuckDB."""
FUNCTIONS = {"sha256": "(text STRING) RETURNS STRING RETURN sha2(text, 256)"}
"""Functions that Spark calls otherwise than DuckDB."""
SETTINGS = {"spark.sql.session.timeZone": "UTC", "spark.sql.timestampType": "TIMESTAMP_NTZ", "spark.sql.ansi.enabled": "true"}
WAIT = 5
"""Seconds for a server to answer at all."""


def computed(url: str, work: "Work", reads: Mapping[str, tuple[int, str | None]]) -> "pa.Table":
    """The rows of a portable model for the windows of `work`, computed by the server at `url` (sc://host:port).

    `reads`: by table, the version to read and which of its files matter (None: all). MissionError where pyspark is not installed, no server
    answers, Spark refuses the query, or the model reads a view that only DuckDB computes.
    """
    views = {view.key: select(replace(work, model=view)) for view in work.shop.catalog.views(work.model)}
    known = {*reads, *views}
    with _session(url) as session:
        for table, (version, where) in reads.items():
            _frame(session, work.shop.lake, table, version, where).createOrReplaceTempView(_flat(table))
        for name, text in views.items():
            session.sql(spoken(text, known)).createOrReplaceTempView(_flat(name))
        found: pa.Table = session.sql(spoken(select(work), known), args=work.used).toArrow()
        return found


def select(work: "Work") -> str:
    """The SELECT of a portable model, or of a view behind one: its own text, or what its module offers as `<function>_on_spark`."""
    model = work.model
    if model.sql is not None and model.header.engine == "portable":
        return model.sql
    made = None if model.sql is not None else model.offered(f"{model.function.__name__}_on_spark")
    if made is None:
        raise MissionError(
            f"{model.key}: a portable model reads it, and it has no SELECT for Spark. Make it portable, or unset MISSION_ENGINE."
        )
    text: str = made(work)
    return text


def _frame(session: Any, lake: "Lake", table: str, version: int, where: str | None) -> Any:
    """The rows of one version. The schema is given, so that types, late columns and a table without files are as the lake has them."""
    opened = lake.open(table, version)
    assert opened is not None
    schema = ", ".join(f"`{each.name}` {_type(duckdb_type(each.type))}" for each in schema_of(opened))
    files = lake.files(opened, where)
    reader = session.read.schema(schema).option("basePath", opened.table_uri)
    return reader.parquet(*files) if files else session.createDataFrame([], schema)


def _type(name: str) -> str:
    return NAMES.get(name, name)


def _flat(table: str) -> str:
    """Spark's temporary views have no schema to stand in."""
    return table.replace(".", "__")


def spoken(sql: str, tables: Collection[str]) -> str:
    """The text of a portable model with `$name` as `:name` and the names of tables flat; nothing else is touched."""
    from sqlglot.dialects.duckdb import DuckDB

    tokens = DuckDB().tokenize(sql)
    changes = []
    for at, token in enumerate(tokens):
        name = sql[token.start : tokens[at + 2].end + 1] if at + 2 < len(tokens) else ""
        if token.text == "$":
            changes.append((token.start, token.end, ":"))
        elif name in tables:
            changes.append((token.start, tokens[at + 2].end, _flat(name)))
    for start, end, text in reversed(changes):
        sql = sql[:start] + text + sql[end + 1 :]
    return sql


@contextmanager
def _session(url: str) -> "Iterator[Any]":
    """A session of its own, so that two computations never see each other's views."""
    where = urlsplit(url)
    try:
        with warnings.catch_warnings():
            # pyspark 4.3 warns of pandas 3 at import; rows come back as Arrow, and pandas is not used. The builder of pyspark.sql would also
            # tell every process started from this one to speak Connect; the one of Connect itself does not.
            warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas")
            from pyspark.errors import PySparkException
            from pyspark.sql.connect.session import SparkSession

            with socket.create_connection((where.hostname, where.port), timeout=WAIT):
                pass  # pyspark itself would go on trying for minutes
            session = SparkSession.builder.remote(url).create()
    except ImportError as error:
        raise MissionError(f"MISSION_ENGINE={url} needs pyspark ({error}). Install it with: make spark") from error
    except OSError as error:
        raise MissionError(
            f"MISSION_ENGINE={url}: no Spark Connect server answers there ({error}). Start it, name another, or unset MISSION_ENGINE."
        ) from error
    try:
        for setting, value in SETTINGS.items():
            session.conf.set(setting, value)
        for name, defined in FUNCTIONS.items():
            session.sql(f"CREATE TEMPORARY FUNCTION {name}{defined}")
        yield session
    except PySparkException as error:
        said = " ".join(str(error).split())[:600]
        raise MissionError(
            f"MISSION_ENGINE={url}: {said}\nThe server must see the lake under the same path. Without MISSION_ENGINE, DuckDB does it."
        ) from error
    finally:
        session.client.close()
