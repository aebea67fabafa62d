"""Delta tables: windows replaced in one commit, read at a pinned version, remembered by recipe.

A window is one value of a table's window column (a landing day, a local day, a period). Each commit's metadata says which windows
it wrote, from which recipe and which input versions; folding the log gives the last writer of every window. What the rows mean,
and when a window is stale, is not decided here.
"""

import hashlib
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mc_pipelines.columns import added, drafted_schema, duckdb_type, fit, nothing, schema_of
from mc_pipelines.disk import room, writing
from mc_pipelines.errors import MissionError, RetypedError, SupersededError
from mc_pipelines.faults import reach

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from deltalake import DeltaTable

# Versions that signed work pins must outlive Delta's defaults (a week for files, 30 days for the log).
KEEP = {"delta.logRetentionDuration": "interval 4000 days", "delta.deletedFileRetentionDuration": "interval 4000 days"}
SUMMED_UP = {"delta.checkpointInterval": "10"}
"""A table is opened hundreds of times a run, and each time the commits since the last checkpoint are read."""
BATCH_ROWS = 100_000
ATTEMPTS = 12
WHOLE = "all"
"""The one window of a table that has no window column."""


@dataclass(frozen=True)
class Written:
    """The last writer of one window."""

    recipe: str
    version: int
    inputs: Mapping[str, int]


@dataclass(frozen=True)
class Draft:
    """Rows ready to replace some windows: `relation` is lazy, `recipes` has one digest per window, `inputs` the versions read."""

    relation: "duckdb.DuckDBPyRelation"
    recipes: Mapping[str, str]
    inputs: Mapping[str, int]


@dataclass
class Lake:
    """All tables under one URI (a folder, or an object store address that delta-rs knows)."""

    uri: str
    _folded: dict[str, tuple[int, dict[str, Written]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if odd := sorted(set(self.uri) & set("%*?[]")):  # delta-rs or DuckDB read them as escapes and patterns
            raise MissionError(f"{self.uri}: a lake cannot lie in a folder with {' '.join(odd)} in its path. Move or rename the home.")

    def table_uri(self, table: str) -> str:
        return f"{self.uri}/{table.replace('.', '/')}"

    def open(self, table: str, version: int | None = None) -> "DeltaTable | None":
        """The table at a version (None: the newest), or None where it does not exist yet."""
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        try:
            opened = DeltaTable(self.table_uri(table), version=version)
        except TableNotFoundError:
            return None
        except DeltaError as error:
            if version is None:
                raise
            raise MissionError(f"{self.table_uri(table)}: version {version} cannot be read: {error}. Was the lake made anew?") from error
        features = set(opened.protocol().reader_features or ()) - {"timestampNtz"}
        if features:  # file lists ignore deletion vectors and column mapping, so rows would be wrong
            raise MissionError(f"{self.table_uri(table)}: another engine enabled {sorted(features)}; rewrite the table without them.")
        return opened

    def version(self, table: str) -> int | None:
        """The newest version, or None where the table does not exist."""
        opened = self.open(table)
        return None if opened is None else opened.version()

    def windows(self, table: str) -> dict[str, Written]:
        """The last writer of every window, folded from the table's log."""
        opened = self.open(table)
        if opened is None:
            return {}
        known, folded = self._folded.get(table, (-1, {}))
        if opened.version() < known:  # the lake was made anew
            known, folded = -1, {}
        if opened.version() > known:
            folded = dict(folded)
            missing = opened.version() - known
            # delta-rs lists commits newer than the handle too, under wrong numbers: only the oldest ones asked for are its own.
            for version, commit in enumerate(reversed(opened.history(missing)[-missing:]), known + 1):
                inputs = json.loads(commit.get("inputs", "{}"))
                for window, recipe in json.loads(commit.get("windows", "{}")).items():
                    folded[window] = Written(recipe, version, inputs)
            self._folded[table] = (opened.version(), folded)
        return folded

    def view(self, con: "duckdb.DuckDBPyConnection", table: str, version: int | None = None, where: str | None = None) -> int | None:
        """Make the DuckDB view `<schema>.<table>` over exactly the files of one version; returns that version.

        `where` prunes whole files by Delta's statistics (DataFusion SQL over the window column); it is no row filter.
        """
        opened = self.open(table, version)
        if opened is None:
            return None
        schema, name = table.split(".")
        con.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        con.execute(f'CREATE OR REPLACE VIEW "{schema}"."{name}" AS {self.select(opened, where)}')
        return opened.version()

    def files(self, opened: "DeltaTable", where: str | None = None) -> list[str]:
        """The files of an opened table, sorted: paths as the file system has them, or an object store's addresses."""
        uris = opened.file_uris(file_pruning_predicate=where) if where else opened.file_uris()
        return sorted(uri if "://" in uri else unquote(uri) for uri in uris)  # delta-rs escapes blanks and all but ASCII

    def select(self, opened: "DeltaTable", where: str | None = None, only: Iterable[str] | None = None) -> str:
        """A SELECT over the files of an opened table (of them `only` some), columns in the table's order."""
        fields = schema_of(opened)
        files = self.files(opened, where) if only is None else sorted(only)
        if not files:
            return nothing(fields)
        hive = ", ".join(f"{_quoted(name)}: {duckdb_type(fields.field(name).type)}" for name in opened.metadata().partition_columns)
        options = f"hive_partitioning = true, hive_types = {{{hive}}}" if hive else "hive_partitioning = false"
        columns = ", ".join(f'"{each.name}"' for each in fields)
        rows = f"read_parquet([{', '.join(map(_quoted, files))}], {options}"
        if any(map(added, fields)):  # perhaps no file has the column: its type comes from the table
            return f"SELECT {columns} FROM ({nothing(fields)} UNION ALL BY NAME SELECT * FROM {rows}, union_by_name = true))"
        return f"SELECT {columns} FROM {rows})"

    def replace(self, table: str, column: str | None, draft: Callable[[], Draft | None], run_id: str = "") -> int | None:
        """Swap the draft's windows in one commit and return the new version; None where nothing was stale.

        `draft` is called anew for each attempt, so that a run which lost a race reads the newest inputs before it writes.
        Raises SupersededError when, attempt after attempt, somebody else had newer inputs; RetypedError where the columns changed in a way
        that windows besides the draft's cannot follow. DiskError where the disk takes nothing more.
        """
        import duckdb
        from deltalake.exceptions import CommitFailedError, DeltaError

        refused: list[str] = []
        for attempt in range(ATTEMPTS):
            # The versions that may be overwritten are fixed before the inputs are read: any later writer then conflicts.
            handle = self.open(table)
            try:
                with writing(self.table_uri(table), DeltaError, duckdb.IOException, duckdb.OutOfMemoryException):
                    drafted = draft()
                    if drafted is None:
                        return None
                    refused = sorted(drafted.recipes)
                    if "://" not in self.uri:
                        room(self.table_uri(table))
                    if handle is None:
                        handle = self._create(table, column, drafted)
                    if not self._outdated(table, drafted):
                        self._write(table, handle, column, drafted, run_id)
                        reach("lake.committed")
                        return self.version(table)
            except CommitFailedError:
                pass
            except RetypedError:
                if handle is None or self.version(table) == handle.version():
                    raise
            time.sleep(random.uniform(0, min(0.1 * 2**attempt, 5)))
        raise SupersededError(f"{table}: others kept writing {', '.join(refused)} from newer inputs. Run it again when they are done.")

    def fit(self, table: str, column: str | None, draft: Draft) -> None:
        """RetypedError or MissionError where the draft's columns cannot go into the table as it is now."""
        if (opened := self.open(table)) is not None:
            fit(table, column, opened, drafted_schema(draft.relation), draft.recipes)

    def _outdated(self, table: str, draft: Draft) -> bool:
        last = self.windows(table)
        writers = [last[window] for window in draft.recipes if window in last]
        return any(version > draft.inputs.get(name, version) for writer in writers for name, version in writer.inputs.items())

    def _create(self, table: str, column: str | None, draft: Draft) -> "DeltaTable":
        from deltalake import DeltaTable

        schema = draft.relation.limit(0).to_arrow_table().schema
        DeltaTable.create(
            self.table_uri(table), schema, mode="ignore", partition_by=[column] if column else None, configuration=KEEP | SUMMED_UP
        )
        opened = self.open(table, 0)  # as it was before anybody wrote: who made the table meanwhile, and wrote, is in conflict with us
        assert opened is not None
        return opened

    def _write(self, table: str, handle: "DeltaTable", column: str | None, draft: Draft, run_id: str) -> None:
        from deltalake import CommitProperties, WriterProperties, write_deltalake

        metadata = {
            "run_id": run_id,
            "windows": json.dumps(dict(sorted(draft.recipes.items()))),
            "inputs": json.dumps(dict(sorted(draft.inputs.items()))),
        }
        predicate = f"{column} in ({', '.join(map(_quoted, sorted(draft.recipes)))})" if column else None
        fitted = fit(table, column, handle, drafted_schema(draft.relation), draft.recipes)
        # What windows stay, and with which columns, was seen at the handle's version: a change of columns must be the next one.
        retries = 0 if column is None or fitted.changed else 100
        write_deltalake(
            handle,
            _announced(draft.relation.project(fitted.projection).to_arrow_reader(BATCH_ROWS), fitted.schema),
            mode="overwrite",
            predicate=predicate,
            schema_mode="overwrite" if fitted.changed else None,
            writer_properties=WriterProperties(compression="ZSTD", compression_level=3),
            commit_properties=CommitProperties(custom_metadata=metadata, max_commit_retries=retries),
        )

    def files_digest(self, table: str, version: int) -> str:
        """sha256 (hex) over one line `<sha256>  <path>` for each file of one version, in the order of paths: what a pin is checked against.

        MissionError where the table, the version or one of its files is gone. Local lakes only.
        """
        gone = f"{self.table_uri(table)}: version {version} is gone. Restore the lake, or run the months again from landing/."
        opened = self.open(table, version)
        if opened is None:
            raise MissionError(gone)
        lines = []
        for uri in self.files(opened):
            try:
                with Path(uri).open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise MissionError(f"{gone} ({uri}: {error.strerror})") from error
            lines.append(f"{digest}  {uri.removeprefix(self.uri).lstrip('/')}\n")
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def tables(self) -> list[str]:
        """Every table of the lake as `<schema>.<table>`, sorted. Local lakes only: an object store is asked by name."""
        logs = Path(self.uri).glob("*/*/_delta_log")  # one without a commit is what a run left that could not make its table
        return sorted(f"{log.parent.parent.name}.{log.parent.name}" for log in logs if any(log.glob("*.json")))

    def vacuum(self, table: str, pinned: Iterable[int], hours: int = 0, dry_run: bool = False) -> list[str]:
        """Delete files that neither the newest version nor a pinned one needs, and that are older than `hours`; returns them.

        A running writer's files are in no version yet: only their age protects them. A dry run deletes nothing.
        """
        opened = self.open(table)
        if opened is None:
            return []

        def swept(dry: bool) -> list[str]:
            kept = sorted(set(pinned))
            return opened.vacuum(retention_hours=hours, dry_run=dry, enforce_retention_duration=False, keep_versions=kept, full=True)

        # delta-rs names files that an earlier vacuum deleted again, for as long as the log remembers them.
        found = sorted(file for file in swept(dry=True) if Path(self.table_uri(table), file).exists())
        if found and not dry_run:  # a vacuum that deletes nothing would still be two versions more
            swept(dry=False)
        return found


def _announced(reader: "pa.RecordBatchReader", schema: "pa.Schema") -> "pa.RecordBatchReader":
    """The same rows, with the marks that the columns have in `schema`."""
    import pyarrow as pa

    def batches() -> Iterator[Any]:
        yield from reader
        reach("lake.rows_handed_over")

    marked = [each.with_metadata(schema.field(each.name).metadata) for each in reader.schema]
    return pa.RecordBatchReader.from_batches(pa.schema(marked), batches())


def _quoted(value: str) -> str:
    return "'" + str(value).replace("'", "''") + "'"
