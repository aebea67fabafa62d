"""A window's tables computed in one connection, over tables as they are pinned; nothing is written to the lake.

So an attempt is reproduced from what it pins, and the running month is rehearsed before it ends.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from mc_pipelines import report
from mc_pipelines.runner import Work, Workshop, bind_views, computed

if TYPE_CHECKING:
    import duckdb


def window_again(
    deliverable: str,
    shop: Workshop,
    con: "duckdb.DuckDBPyConnection",
    period: str,
    tables: Sequence[str],
    pins: Mapping[str, int],
    prepare: "Callable[[duckdb.DuckDBPyConnection], None]" = lambda con: None,
) -> None:
    """Views of the pinned tables, but every table of the deliverable's window computed anew, upstream first, once `prepare` has seen the connection.

    A table that others read through earlier windows has those as they are pinned, for as long as it takes. A table that nobody built yet has none.
    """
    marts = {model.key: model for model in shop.catalog.judged(deliverable)}
    report.month_views(shop, con, period, [table for table in tables if table in pins], pins)
    prepare(con)
    looked_back = {
        dep
        for model in marts.values()
        for dep, scope in shop.catalog.inputs(model).items()
        if scope == "through" and dep in marts and dep in pins
    }
    pinned = {key: con.sql(f"FROM {key} LIMIT 0").to_arrow_table().schema for key in marts if key in pins}
    con.execute(f'CREATE SCHEMA IF NOT EXISTS "{deliverable}"')
    for key, model in marts.items():
        bind_views(shop, con, model)
        rows = computed(Work(shop, con, model, (period,), pins)).filter(f"{model.header.window} = DATE '{period}'").to_arrow_table()
        schema, name = key.split(".")
        con.execute(f'DROP VIEW IF EXISTS "{schema}"."{name}"')
        con.from_arrow(pinned.get(key, rows.schema).empty_table()).create(f'"{schema}"."{name}"')
        con.register("computed_again", rows)
        con.execute(f'INSERT INTO "{schema}"."{name}" BY NAME FROM computed_again')
        con.unregister("computed_again")
        if key in looked_back:
            opened, before = shop.lake.open(key, pins[key]), f"{model.header.window} < '{period}'"
            assert opened is not None
            con.execute(f'INSERT INTO "{schema}"."{name}" BY NAME FROM ({shop.lake.select(opened, before)}) WHERE {before}')
    for key in looked_back:
        schema, name = key.split(".")
        con.execute(f'DELETE FROM "{schema}"."{name}" WHERE {marts[key].header.window} < \'{period}\'')
