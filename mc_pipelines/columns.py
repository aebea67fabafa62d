"""The columns of a table as Dagster shows them: names, types once there is a table, descriptions from the header, lineage from the SQL.

What the SQL says is read in `sqlread.py`, what the header says in `catalog.py`.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from mc_pipelines.catalog import Header, Model

UNBUILT = "not built"


def declared(model: Model) -> dict[str, Any]:
    """Metadata of a table before it is built: every column that the SQL gives or the header describes, and where its values come from."""
    names = dict.fromkeys((*model.lineage, *model.header.columns), UNBUILT)
    return {"dagster/column_schema": schema(names, model.header), **lineage(model)} if names else {}


def schema(types: Mapping[str, str], header: Header | None = None) -> dg.TableSchema:
    """Columns in their order with type and description, and the grain in words; without either for a table written beside a model's own."""
    about = header.columns if header else {}
    return dg.TableSchema(
        columns=[dg.TableColumn(name, kind, description=about.get(name)) for name, kind in types.items()],
        constraints=dg.TableConstraints([f"one row per {', '.join(header.grain)}"]) if header else None,
    )


def lineage(model: Model) -> dict[str, Any]:
    """Column lineage of a SQL model; none where Python computes the table, or where nothing but a count is in it."""
    deps = {
        name: [dg.TableColumnDep(dg.AssetKey(table.split(".")), column) for table, column in sources]
        for name, sources in model.lineage.items()
        if sources
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(deps)} if deps else {}
