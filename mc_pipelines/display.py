"""What Dagster shows of a table: its columns with types, descriptions and lineage, and what a run did to each of its days.

What the SQL says is read in `sqlread.py`, what the header says in `declarations.py`; nothing is computed here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from mc_pipelines.catalog import Model
from mc_pipelines.declarations import Header
from mc_pipelines.runner import Outcome, Workshop

UNBUILT = "not built"
DAYS_SHOWN = 31
NAMES = {"long": "bigint", "timestamp_ntz": "timestamp"}
"""Types by the names that SQL has for them, where Delta has another."""


def declared(model: Model) -> dict[str, Any]:
    """Metadata of a table before it is built: every column that the SQL gives or the header describes, and where its values come from."""
    names = dict.fromkeys((*model.lineage, *model.header.columns), UNBUILT)
    return {"dagster/column_schema": schema(names, model.header), **lineage(model)} if names else {}


def schema(types: Mapping[str, str], header: Header | None = None) -> dg.TableSchema:
    """Columns in their order with type, description and a mark on those of the grain; names and types alone without a header."""
    about = header.columns if header else {}
    grain = set(header.grain) if header else set()
    return dg.TableSchema(
        [
            dg.TableColumn(
                name, NAMES.get(kind, kind), about.get(name), dg.TableColumnConstraints(other=["grain"]) if name in grain else None
            )
            for name, kind in types.items()
        ]
    )


def lineage(model: Model) -> dict[str, Any]:
    """Column lineage of a SQL model; none where Python computes the table, or where nothing but a count is in it."""
    deps = {
        name: [dg.TableColumnDep(dg.AssetKey(table.split(".")), column) for table, column in sources]
        for name, sources in model.lineage.items()
        if sources
    }
    if not deps:
        return {}
    lines = [
        f"| {name} | {', '.join('.'.join((*dep.asset_key.path, dep.column_name)) for dep in sources)} |" for name, sources in deps.items()
    ]
    table = "\n".join(["| column | comes from |", "|---|---|", *lines])  # open Dagster keeps the lineage but draws none
    return {"dagster/column_lineage": dg.TableColumnLineage(deps), "columns_from": dg.MetadataValue.md(table)}


def result(shop: Workshop, model: Model, table: str, outcome: Outcome, days: Sequence[str] = ()) -> dict[str, Any]:
    """What the UI shows and plots for a materialisation, with the fate of each day of a daily table."""
    own = table == model.key
    version = shop.lake.version(table)
    opened = shop.lake.open(table)
    types = {str(each.name): str(each.type.type) for each in opened.schema().fields} if opened else {}
    return {
        "windows_rebuilt": len(outcome.rebuilt),
        "table_version": version if version is not None else -1,
        "dagster/uri": shop.lake.table_uri(table),
        "dagster/column_schema": schema(types, model.header if own else None),
        **({"dagster/row_count": outcome.rows} if own and outcome.rebuilt else {}),
        **(day_table(("day", "status", "rows"), _fates(outcome, days)) if own and model.header.every == "day" else {}),
    }


def day_table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> dict[str, Any]:
    """The fate of each day of a run as a table for the UI; none where a run has no days. Dagster keeps it once per day, so it is bounded."""
    shown = [*rows[:DAYS_SHOWN], *([(f"{len(rows) - DAYS_SHOWN} more", "see ops.day_status", "")] if len(rows) > DAYS_SHOWN else [])]
    records = [dg.TableRecord(dict(zip(names, map(str, row), strict=True))) for row in shown]
    return {"days": dg.MetadataValue.table(records)} if records else {}


def _fates(outcome: Outcome, days: Sequence[str]) -> list[tuple[str, str, int | str]]:
    """(day, what was done, rows) of every day asked for or rebuilt."""
    asked = [(day, "rebuilt" if day in outcome.by_window else "up to date", outcome.by_window.get(day, "")) for day in days]
    late = [(day, "rebuilt: late data", outcome.by_window[day]) for day in outcome.rebuilt if day not in days]
    return sorted([*asked, *late])
