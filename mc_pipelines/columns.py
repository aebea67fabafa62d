"""The columns of a table in the lake beside those of rows that are to replace some of its windows. Nothing is read or written here.

Every file of a version holds each column of that version with its very type, except a column added later, which older files lack: it
is marked in the table's schema, and they are read with NULL for it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mc_pipelines.errors import MissionError, RetypedError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from deltalake import DeltaTable

ADDED = {b"mission.added": b"true"}
"""Marks a column that files older than it lack."""
_NAMES = {
    "string": "VARCHAR",
    "large_string": "VARCHAR",
    "string_view": "VARCHAR",
    "int64": "BIGINT",
    "int32": "INTEGER",
    "int16": "SMALLINT",
    "int8": "TINYINT",
    "bool": "BOOLEAN",
    "double": "DOUBLE",
    "date32[day]": "DATE",
    "timestamp[us]": "TIMESTAMP",
}


@dataclass(frozen=True)
class Fit:
    """What a commit writes: `schema` is the table's after it, `changed` where that is not the one before, `projection` makes the rows so."""

    schema: "pa.Schema"
    changed: bool
    projection: str


def schema_of(opened: "DeltaTable") -> "pa.Schema":
    """The columns of an opened table, in its order."""
    import pyarrow as pa

    return pa.schema(opened.schema().to_arrow())


def added(column: "pa.Field") -> bool:
    """Whether files may lack the column."""
    return (column.metadata or {}).items() >= ADDED.items()


def drafted_schema(relation: "duckdb.DuckDBPyRelation") -> "pa.Schema":
    """The columns of a relation as Delta stores them."""
    import pyarrow as pa
    from deltalake import Schema

    return pa.schema(Schema.from_arrow(relation.limit(0).to_arrow_table().schema).to_arrow())


def fit(table: str, column: str | None, opened: "DeltaTable", drafted: "pa.Schema", windows: Collection[str]) -> Fit:
    """How rows with the columns `drafted` go into the table in place of `windows` (of the window column `column`; None: the whole table).

    A new column is added, and one that the rows lack stays, with NULL in them. Types and names change only where no other window stays.
    Raises RetypedError where other windows stay, MissionError where the window column changed or a column became NOT NULL.
    """
    import pyarrow as pa

    standing = schema_of(opened)
    _refuse(table, column, opened, standing, drafted)
    before, after = ({each.name: each.type for each in schema} for schema in (standing, drafted))
    if before == after:
        return Fit(standing, False, _projection(standing, drafted))
    stays = column is not None and bool({part[column] for part in opened.partitions()} - set(windows))
    if not stays:
        return Fit(drafted, True, _projection(drafted, drafted))
    new, gone = [name for name in after if name not in before], [name for name in before if name not in after]
    retyped = [name for name, kind in after.items() if before.get(name, kind) != kind]
    if retyped or (new and gone):
        raise RetypedError(_retyped(table, standing, drafted, retyped, new, gone))
    if not new:
        return Fit(standing, False, _projection(standing, drafted))
    marked = {each.name for each in standing if added(each)} | set(new)
    fields = [each.with_metadata(ADDED if each.name in marked else None) for each in (*drafted, *map(standing.field, gone))]
    grown = pa.schema(fields)
    return Fit(grown, True, _projection(grown, drafted))


def _projection(schema: "pa.Schema", drafted: "pa.Schema") -> str:
    return ", ".join(f'"{each.name}"' if each.name in drafted.names else _null(each) for each in schema)


def _refuse(table: str, column: str | None, opened: "DeltaTable", standing: "pa.Schema", drafted: "pa.Schema") -> None:
    was, now = [*opened.metadata().partition_columns], [column] if column else []
    if was != now or (column and standing.field(column).type != drafted.field(column).type):
        told = [
            f"`{names[0]}` ({_shown(schema, names[0])})" if names else "no column" for names, schema in ((was, standing), (now, drafted))
        ]
        raise MissionError(
            f"{table}: its windows are by {told[0]} in the lake and by {told[1]} now. A table keeps its window column for good, so that signed "
            "versions stay readable: give the model another name, or its window column the old name and type."
        )
    if strict := [each.name for each in standing if not each.nullable]:
        raise MissionError(
            f"{table}: {', '.join(strict)} is NOT NULL in the lake, which another program made so; tables here take NULL in every column. "
            "Drop the constraint with that program, or give the model another name."
        )


def _retyped(
    table: str, standing: "pa.Schema", drafted: "pa.Schema", retyped: Sequence[str], new: Sequence[str], gone: Sequence[str]
) -> str:
    changes = [f"column {name} is {_shown(standing, name)} in the lake and {_shown(drafted, name)} now" for name in retyped]
    if new and gone:
        changes.append(f"column {', '.join(gone)} gave way to {', '.join(f'{name} ({_shown(drafted, name)})' for name in new)}")
    return (
        f"{table}: {'; '.join(changes)}. Old and new windows cannot stand side by side, so all of them are computed again in one commit. "
        "Where that cannot be done, keep the old column as it was and add a new one beside it."
    )


def _shown(schema: "pa.Schema", name: str) -> str:
    kind = schema.field(name).type
    try:
        return duckdb_type(kind)
    except MissionError:
        return str(kind)


def _null(each: "pa.Field") -> str:
    return f'CAST(NULL AS {duckdb_type(each.type)}) AS "{each.name}"'


def nothing(schema: "pa.Schema") -> str:
    """A SELECT of no rows with the columns of a table."""
    return f"SELECT {', '.join(map(_null, schema))} WHERE false"


def duckdb_type(kind: "pa.DataType") -> str:
    """The SQL name of a column type. MissionError for one that tables here may not have."""
    text = str(kind)
    if text.startswith("decimal"):
        return "DECIMAL" + text[text.index("(") :]
    if text not in _NAMES:
        raise MissionError(f"column type {text} is not one that tables here may have. Cast it in the model.")
    return _NAMES[text]
