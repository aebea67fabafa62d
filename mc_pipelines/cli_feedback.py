"""Feedback forms at the command line, checked before they are landed. Each command imports what it needs when it runs."""

from pathlib import Path

import click

from mc_pipelines.cli_packet import tell_problems
from mc_pipelines.cli_sign import A_PATH


@click.group()
def feedback() -> None:
    """Check the feedback forms of partners. Example: mission feedback check form.json"""


@feedback.command()
@click.argument("file", type=A_PATH)
@click.option("--json", "as_json", is_flag=True, help="Print the problems as JSON.")
def check(file: Path, as_json: bool) -> None:
    """List every problem of a filled-in form with its place. Example: mission feedback check form.json

    Ends with 1 where there are problems.
    """
    from mc_pipelines.disk import read_bounded
    from mc_pipelines.marketplace.feedback import check_form

    tell_problems(file, check_form(read_bounded(file)), as_json)


COMMANDS = (feedback,)
