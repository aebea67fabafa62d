"""Dagster's SQLite event log with engines kept and batches of events stored at once, named in deploy/dagster.yaml. Nothing of metering belongs here.

Dagster 1.13 makes a SQLAlchemy engine for every event it stores and with it compiles every statement and opens the file again: some 10 ms of
CPU an event, several times per table and day. Events of one asset and many partitions it hands over in batches where
DAGSTER_EVENT_BATCH_SIZE asks for it, but its SQLite storage stores them one by one all the same.

It also leaves a pool's slot with a run that was killed, and a run that waits for a slot asks for it without a pause. Here the process of a run
holds a file's lock, which ends with it: a slot is taken from a run whose process is gone.
"""

import fcntl
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import sqlalchemy
from dagster import EventLogEntry, Field, StringSource
from dagster._core.events import ASSET_EVENTS
from dagster._core.storage.event_log import SqlEventLogStorageTable, SqliteEventLogStorage
from dagster._serdes import ConfigurableClassData
from dagster._utils.concurrency import ConcurrencyClaimStatus

BUSY_TIMEOUT_S = 30
"""As Dagster's own: how long a writer waits for another one."""
WAIT_S = 0.3
"""How long a run waits before it asks again for a table that another one builds."""
KEPT = 8
"""Databases held open, one a run and one for all; a server that shows old runs closes those it used least lately."""


class KeptEngines(SqliteEventLogStorage):
    """The default event log; `base_dir` defaults to where Dagster keeps it, history/runs under DAGSTER_HOME."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, sqlalchemy.Engine] = OrderedDict()
        self._alive: dict[str, IO[str]] = {}
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

    def claim_concurrency_slot(
        self, concurrency_key: str, run_id: str, step_key: str, priority: int | None = None
    ) -> ConcurrencyClaimStatus:
        """As Dagster's, but a run whose process is gone keeps no slot, and who has to wait waits here for a moment."""
        if run_id not in self._alive:
            self._alive[run_id] = self._life(run_id).open("w")
            fcntl.flock(self._alive[run_id], fcntl.LOCK_EX)
        claim = super().claim_concurrency_slot(concurrency_key, run_id, step_key, priority)
        if not claim.is_claimed and self._freed(concurrency_key):
            claim = super().claim_concurrency_slot(concurrency_key, run_id, step_key, priority)
        if not claim.is_claimed:
            time.sleep(WAIT_S)
            claim = ConcurrencyClaimStatus(concurrency_key=concurrency_key, slot_status=claim.slot_status, sleep_interval=0.0)
        return claim

    def _freed(self, concurrency_key: str) -> bool:
        """Fail the runs that hold the pool, or stand in its queue, and whose process is gone; whether there was one."""
        info = self.get_concurrency_info(concurrency_key)
        waiting = {each.run_id for each in info.pending_steps}  # also those that were given the slot and have not taken it
        gone = [run for run in sorted(info.active_run_ids | waiting) if self._is_gone(run)]
        for run_id in gone:
            run = self._instance.get_run_by_id(run_id)
            if run is not None and not run.is_finished:
                self._instance.report_run_failed(run, "The process of this run ended without a word; a run that waited for it went on.")
            self.free_concurrency_slots_for_run(run_id)
        return bool(gone)

    def _is_gone(self, run_id: str) -> bool:
        if run_id in self._alive:
            return False
        try:
            with self._life(run_id).open() as life:
                fcntl.flock(life, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:  # from before there were such files: gone for certain only where Dagster knows that it ended
            run = self._instance.get_run_by_id(run_id)
            return run is None or run.is_finished
        except BlockingIOError:
            return False
        return True

    def _life(self, run_id: str) -> Path:
        return Path(self._base_dir) / f"{run_id}.alive"

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
        for life in self._alive.values():
            life.close()
        self._alive.clear()
        super().dispose()
