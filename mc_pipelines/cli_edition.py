"""Publishing a window's documents on the command line: the model card, the feedback report. Each command imports what it needs.

Invoices are published by `mission publish`, which stands in cli_finance.py.
"""

import json

import click

from mc_pipelines.cli_attempt import say
from mc_pipelines.home import Home


@click.command()
@click.argument("deliverable")
@click.argument("window")
@click.option("--document", "documents", multiple=True, metavar="NAME", help="Which one; repeated (default: all of the deliverable).")
@click.option("--json", "as_json", is_flag=True, help="Print the editions as JSON.")
def edition(deliverable: str, window: str, documents: tuple[str, ...], as_json: bool) -> None:
    """Publish, signed, what DELIVERABLE shows others of WINDOW: a model card, a report. Example: mission edition predictive 35"""
    from mc_pipelines.editions import publish_all
    from mc_pipelines.journaling import requester
    from mc_pipelines.showing import show_editions, show_scoreboard

    home = Home.find()
    entries = publish_all(home, deliverable, window, documents, requester(), say)
    pages = show_editions(home, deliverable)
    show_scoreboard(home)
    if as_json:
        said = ("document", "edition", "digest", "bundle")
        click.echo(json.dumps([{"entry": entry.number, **{name: entry.body[name] for name in said}} for entry in entries]))
        return
    for entry in entries:
        click.echo(
            f"edition  {entry.body['edition']} of {entry.body['document']}, entry {entry.number}: {home.evidence / entry.body['bundle']}"
        )
    for page in pages:
        click.echo(f"page     {page}")


COMMANDS = (edition,)
