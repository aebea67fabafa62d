"""The Ombuds export on the command line. Each command imports what it needs when it runs."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home

if TYPE_CHECKING:
    from mc_pipelines.marketplace.ombuds_marts import Subject


@click.command()
@click.argument("sprint")
@click.option("--source", help="The source whose trail it is.")
@click.option("--tenant", help="The tenant whose trail it is.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder that the signed bundle is put into.")
def ombuds(sprint: str, source: str | None, tenant: str | None, out: Path) -> None:
    """Export one source's or tenant's whole trail, redacted and signed. Example: mission ombuds 35 --source tide-tables --out exports"""
    from mc_pipelines.journaling import requester
    from mc_pipelines.marketplace.ombuds_export import export_trail

    if (source is None) == (tenant is None):
        raise MissionError("name one of --source and --tenant")
    subject: Subject = "source" if source is not None else "tenant"
    made = export_trail(Home.find(), sprint, subject, str(source or tenant), out, requester())
    click.echo(f"records  {made.records}\nbundle   {made.path}\nentry    {made.entry}\nverify   mission verify {made.path}")


COMMANDS = (ombuds,)
