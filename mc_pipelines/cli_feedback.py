"""Feedback forms at the command line, checked before they are landed. Each command imports what it needs when it runs."""

import json
import sys
from pathlib import Path

import click

from mc_pipelines.cli_sign import A_PATH
from mc_pipelines.errors import FAILED


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
    from mc_pipelines.marketplace.feedback import check_form
    from mc_pipelines.marketplace.located import read_bounded

    found = check_form(read_bounded(file))
    if as_json:
        click.echo(json.dumps([vars(each) for each in found], ensure_ascii=False))
    else:
        for each in found:
            click.echo(each.text(file))
        click.echo(f"{len(found)} problem(s)" if found else f"{file}: no problems")
    sys.exit(FAILED if found else 0)


COMMANDS = (feedback,)
