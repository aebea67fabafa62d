"""A person's way into the lake: one query, a small shell, and views.sql for any DuckDB. Reads only."""

from collections.abc import Mapping
from contextlib import suppress

import click

from mc_pipelines.disk import writing
from mc_pipelines.engine import connect
from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home
from mc_pipelines.lake import WHOLE, Lake
from mc_pipelines.runner import Work, Workshop, computed


def views(home: Home, pins: Mapping[str, int]) -> str:
    """CREATE VIEW statements for every table, at the newest or the pinned version, and for every declared view that these can make."""
    lake = Lake(str(home.lake))
    tables = lake.tables()
    unknown = sorted(set(pins) - set(tables))
    if unknown:
        raise MissionError(f"--at {', '.join(unknown)}: no such table. There are {', '.join(tables) or 'none yet'}.")
    statements = []
    for table in tables:
        opened = lake.open(table, pins.get(table))
        assert opened is not None
        statements.append(_statement(table, lake.select(opened)))
    shop, con = Workshop.open(home), connect()
    con.execute("\n".join(statements))
    for view in (model for model in shop.catalog.ordered() if model.header.view and set(shop.catalog.inputs(model)) <= set(tables)):
        with suppress(MissionError):  # an older version may lack a column
            statements.append(_statement(view.key, computed(Work(shop, con, view, (WHOLE,))).sql_query()))
            con.execute(statements[-1])
    return "\n".join(statements) + "\n"


def _statement(name: str, select: str) -> str:
    schema, table = name.split(".")
    return f'CREATE SCHEMA IF NOT EXISTS "{schema}";\nCREATE OR REPLACE VIEW "{schema}"."{table}" AS {select};'


def write_views(home: Home) -> bool:
    """Write lake/views.sql in one step, if it differs; True where it was written."""
    target = home.lake / "views.sql"
    text = views(home, {})
    if target.exists() and target.read_text(encoding="utf-8") == text:
        return False
    temporary = target.with_suffix(".tmp")
    with writing(target):
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(target)
    return True


def show_query(home: Home, query: str, pins: Mapping[str, int]) -> None:
    """Print the rows of one query."""
    import duckdb

    con = connect()
    con.execute(views(home, pins))
    try:
        con.sql(query).show(max_width=200, max_rows=200)
    except duckdb.Error as error:
        raise MissionError(f"{query}\n{error}") from error


def open_shell(home: Home, pins: Mapping[str, int]) -> None:
    """Read queries from the terminal until an empty line or end of input."""
    click.echo("One query a line; an empty line ends. Tables: " + ", ".join(Lake(str(home.lake)).tables()))
    while True:
        try:
            query = input("mission> ").strip()
        except EOFError:
            return
        if not query:
            return
        try:
            show_query(home, query, pins)
        except MissionError as error:
            click.echo(error)
