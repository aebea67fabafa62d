"""Dagster's SQLite event log with engines kept and batches of events stored at once, named in deploy/dagster.yaml. Nothing of metering belongs here.

Dagster 1.13 makes a SQLAlchemy engine for every event it stores and with it compiles every statement and opens the file again: some 10 ms of
CPU an event, several times per table and day. Events of one asset and many partitions it hands over in batches where
DAGSTER_EVENT_BATCH_SIZE asks for it, but its SQLite storage stores them one by one all the same.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from dagster import EventLogEntry, Field, StringSource
from dagster._core.events import ASSET_EVENTS
from dagster._core.storage.event_log import SqlEventLogStorageTable, SqliteEventLogStorage
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
        self._db_lock: Any = threading.RLock()  # a batch holds the run's database and the one of all runs

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """What `store_event` does for each of the events, in one transaction of each database. All are of one run."""
        if any(event.dagster_event_type not in ASSET_EVENTS for event in events):  # planned checks have a table of their own
            super().store_event_batch(events)
            return
        table = SqlEventLogStorageTable
        rows = [self._event_to_row(event) for event in events]
        # Both or neither: where this fails, Dagster stores the events one by one.
        with self.run_connection(events[0].run_id) as run, self.index_transaction() as index:
            run.execute(table.insert(), rows)
            ids = index.execute(table.insert().returning(table.c.id, sort_by_parameter_order=True), rows).scalars().all()
            self._store_asset_event_tags(index, events, ids)
            newest = {event.get_dagster_event().asset_key: (event, at) for event, at in zip(events, ids, strict=True)}
            for event, at in newest.values():
                self._store_asset_event(index, event, at)

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
