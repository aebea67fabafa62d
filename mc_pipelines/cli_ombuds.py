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
    from datetime import date, datetime

    from mc_pipelines.attempts import pinned
    from mc_pipelines.engine import connect
    from mc_pipelines.evidence.signing import signer
    from mc_pipelines.marketplace.ombuds_marts import signed, trail
    from mc_pipelines.report import month_views
    from mc_pipelines.runner import Workshop
    from mc_pipelines.windows import sprint_named

    if (source is None) == (tenant is None):
        raise MissionError("name one of --source and --tenant")
    home = Home.find()
    window, shop, con = sprint_named(home, sprint), Workshop.open(home), connect()
    pins = pinned(shop, "marketplace")
    month_views(shop, con, window.key, sorted(pins), pins)
    subject: Subject = "source" if source is not None else "tenant"
    named, as_of = str(source or tenant), datetime.fromisoformat(window.as_of).replace(tzinfo=None)
    made = trail(con, home, subject, named, date.fromisoformat(window.key), as_of)
    bundle = signed(out, f"ombuds-{subject}-{named}", made, as_of, signer(home.keys))
    click.echo(f"records  {sum(made.counts.values())}\nbundle   {bundle.path}\nverify   mission verify {bundle.path}")


COMMANDS = (ombuds,)
