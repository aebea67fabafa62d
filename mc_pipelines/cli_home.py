"""Commands of `mission` that prepare a home or look into it: lint, try, init, sql, simulate, ui. No close, no evidence."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from mc_pipelines.errors import FAILED, UNUSABLE, MissionError
from mc_pipelines.home import Home


@click.command()
def lint() -> None:
    """Check assets, checks, contracts and reference data without running anything. Example: mission lint"""
    from mc_pipelines.lint import problems, replacements

    home = Home.find()
    for line in replacements(home):
        click.echo(line)
    found = problems(home)
    for line in found:
        click.echo(line, err=True)
    click.echo(f"{len(found)} problem(s)")
    sys.exit(UNUSABLE if found else 0)


@click.command("try")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--contract", required=True, help="The source whose contract judges the file, for example usage_events.")
@click.option("--rows", default=20, show_default=True, help="How many rows of each kind to print.")
def try_(file: Path, contract: str, rows: int) -> None:
    """Judge FILE by a contract and change nothing. Example: mission try march.ndjson --contract usage_events"""
    from mc_pipelines.intake import try_rows

    accepted, refused = try_rows(Home.find(), file, contract)
    click.echo(f"accepted {len(accepted)}, refused {len(refused)}")
    for kind, found in (("accepted", accepted), ("refused", refused)):
        for row in found[:rows]:
            click.echo(f"{kind}: {json.dumps(row, default=str, ensure_ascii=False)}")
    sys.exit(FAILED if refused else 0)


@click.command()
@click.argument("window")
@click.option("--source", help="Only rows of this source (default: all that are declared).")
@click.option("--reason", help="Only rows refused for this reason, for example occurred_at:zone.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write the rows there, a file per landing day, to be mended.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
def quarantine(window: str, source: str | None, reason: str | None, out: Path | None, as_json: bool) -> None:
    """List the rows refused on DAY or FIRST..LAST. Example: mission quarantine 2026-04-01..2026-04-30 --out mend"""
    from dataclasses import asdict

    from mc_pipelines.calendars import days
    from mc_pipelines.quarantine import refused, write_replays

    first, to, last = window.partition("..")
    found = refused(Home.find(), source, days(first, last if to else None), reason)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in found], ensure_ascii=False))
    elif out is None:
        for row in found:
            click.echo(f"{row.source}: {row.file}:{row.offset}: {row.reasons}: {row.raw[:200]}")
    if out is not None:
        for path in write_replays(found, out):
            click.echo(f"{path}: mend it, then land it as landing/{path.parent.name}/<today>/{path.name}", err=as_json)
        for row in (row for row in found if not row.whole):
            why = "its personal fields are withheld" if row.personal else "too long to be kept whole"
            click.echo(f"{row.file}:{row.offset}: {why}; take it from the landed file", err=True)
    if not as_json:
        click.echo(f"{len(found)} row(s) refused")


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
def init(directory: Path) -> None:
    """Make a working home: folders and reference files to start from. Example: mission init ~/metering"""
    from mc_pipelines.starter import write_home

    for line in write_home(directory):
        click.echo(line)
    click.echo(f"Next: export MISSION_HOME={directory.resolve()}; land files under landing/<source>/<day>/; mission run DAY")


@click.command()
@click.argument("query", required=False)
@click.option("--at", multiple=True, metavar="TABLE=VERSION", help="Pin a table to an older version.")
def sql(query: str | None, at: tuple[str, ...]) -> None:
    """Query the lake, or open a shell. Example: mission sql "SELECT * FROM metering.variance LIMIT 5" """
    from mc_pipelines.shell import open_shell, show_query

    home = Home.find()
    pins = {}
    for pin in at:
        table, _, version = pin.partition("=")
        if not version.isdigit():
            raise MissionError(f"--at {pin}: write TABLE=VERSION, for example metering.variance=3.")
        pins[table] = int(version)
    if query:
        show_query(home, query, pins)
    else:
        open_shell(home, pins)


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--events", default=100_000, show_default=True)
@click.option("--tenants", default=50, show_default=True)
@click.option("--start", default="2026-04-01", show_default=True)
@click.option("--days", "span", default=30, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--format", "file_format", type=click.Choice(["ndjson", "csv", "parquet"]), default="parquet", show_default=True)
@click.option("--faults/--no-faults", default=True, show_default=True)
def simulate(directory: Path, events: int, tenants: int, start: str, span: int, seed: int, file_format: Any, faults: bool) -> None:
    """Write a home of generated usage with known truth. Example: mission simulate /tmp/sim --events 1000000"""
    from datetime import date

    from mc_pipelines.simulate import simulate as generate

    try:
        first = date.fromisoformat(start)
    except ValueError as error:
        raise MissionError(f"--start {start}: {error}. Write a day as YYYY-MM-DD, for example 2026-04-01.") from error
    generate(directory, events, tenants, first, span, seed, file_format, faults)
    click.echo(f"truth: {directory / 'truth.json'}\nNext: export MISSION_HOME={directory.resolve()}")


@click.command()
@click.option("--port", default=3000, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True)
def ui(port: int, host: str) -> None:
    """Open Dagster's UI on this home. Example: mission ui --port 3000"""
    import os

    from mc_pipelines.home import CHECKOUT
    from mc_pipelines.orchestra import instance

    home = Home.find()
    with instance(home):
        os.environ |= {"DAGSTER_HOME": str(home.dagster), "MISSION_HOME": str(home.root)}
        click.echo(f"http://{host}:{port}")
        os.execv(
            sys.executable, [sys.executable, "-m", "dagster", "dev", "-w", str(CHECKOUT / "workspace.yaml"), "-p", str(port), "-h", host]
        )


COMMANDS = (lint, try_, quarantine, init, sql, simulate, ui)
