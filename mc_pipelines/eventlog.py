"""Dagster's SQLite event log with engines and connections kept, named in deploy/dagster.yaml. Nothing of metering belongs here.

Dagster 1.13 makes a SQLAlchemy engine for every event it stores and with it compiles every statement and opens the file again: some 10 ms of
CPU an event, several times per table and day.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from dagster import Field, StringSource
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._serdes import ConfigurableClassData

BUSY_TIMEOUT_S = 30
"""As Dagster's own: how long a writer waits for another one."""
KEPT = 8
"""Databases held open, one a run and one for all; a server that shows old runs closes those it used least lately."""


class KeptEngines(SqliteEventLogStorage):
    """The default event log; `base_dir` defaults to where Dagster keeps it, history/runs under DAGSTER_HOME."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, sqlalchemy.Engine] = OrderedDict()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> Any:
        return {"base_dir": Field(StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "KeptEngines":
        return cls(config_value.get("base_dir") or os.path.join(os.environ["DAGSTER_HOME"], "history", "runs"), inst_data)  # noqa: PTH118  # Dagster asks for text

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sqlalchemy.Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _engine(self, shard: str) -> sqlalchemy.Engine:
        if shard not in self._engines:
            self._engines[shard] = sqlalchemy.create_engine(
                self.conn_string_for_shard(shard), pool_size=1, connect_args={"timeout": BUSY_TIMEOUT_S}
            )
            if len(self._engines) > KEPT:
                self._engines.popitem(last=False)[1].dispose()
        self._engines.move_to_end(shard)
        return self._engines[shard]

    def dispose(self) -> None:
        for engine in self._engines.values():
            engine.dispose()
        self._engines.clear()
        super().dispose()
