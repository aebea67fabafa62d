"""Commands of `mission` for what leaves the house: note, publish, issued. Each imports what it needs when it runs. Nothing unpublishes."""

import json
import sys
from pathlib import Path

import click

from mc_pipelines.cli_close import A_PATH, kept_request, key_option, sign_request_file
from mc_pipelines.errors import FAILED
from mc_pipelines.home import Home

MOST_SHOWN = 20


@click.command()
@click.argument("month")
@click.option("--note", "text", default="", help="What you want to have said.")
@click.option("--signed", type=A_PATH, help="A note that somebody has signed with `mission sign`.")
@key_option
@click.option("--request", "only_request", is_flag=True, help="Write the request and sign nothing, for somebody to sign elsewhere.")
def note(month: str, text: str, signed: Path | None, key: Path | None, only_request: bool) -> None:
    """File the finance note on MONTH's locked invoices, with your own SSH key. Example: mission note 2026-04 --note "agrees with the forecast"

    It is bound to the digests of the locked editions and states what their invoices add up to; without it nothing is published.
    """
    from mc_pipelines.close import journal_of, requester
    from mc_pipelines.closing.publication import file_note, note_request
    from mc_pipelines.evidence.people import read_people

    home = Home.find()
    if signed is None:
        request = kept_request(home, f"note-{month}", note_request(home, month, text, requester()))
        if only_request:
            click.echo(f"request  {request}\nnext     mission sign {request}")
            return
        signed = sign_request_file(home, request, key)
    entry = file_note(journal_of(home), read_people(home), signed.read_bytes(), str(signed))
    editions = ", ".join(str(each["edition"]) for each in entry.body["editions"])
    click.echo(f"entry {entry.number}: {entry.body['person']} filed the finance note on {entry.body['period']} edition {editions}")
    for row in entry.body["figures"]:
        click.echo(f"{row['currency']}  invoices {row['invoices']}  net {row['net']}  total {row['total']}  payable {row['payable']}")


@click.command()
@click.argument("month")
@click.option(
    "--tenant", "tenants", multiple=True, metavar="T", help="A tenant; repeated (default: all that are locked and not published)."
)
def publish(month: str, tenants: tuple[str, ...]) -> None:
    """Hand over MONTH's locked invoices: list, ledger entries, credit notes, in a signed bundle. Example: mission publish 2026-04

    It needs accounts in reference/accounts.yaml and a finance note on each edition. Nothing unpublishes.
    """
    from mc_pipelines.close import requester
    from mc_pipelines.closing.publication import publish as hand_over

    home = Home.find()
    entry = hand_over(home, month, list(tenants) or None, requester())
    body = entry.body
    click.echo(f"entry {entry.number}: {body['invoices']} invoice(s) of {body['period']} published by {body['requested_by']}")
    click.echo(f"bundle {home.evidence / body['bundle']}")


@click.command()
@click.argument("month")
@click.argument("file", type=A_PATH)
@click.option("--json", "as_json", is_flag=True, help="Print every difference as JSON.")
def issued(month: str, file: Path, as_json: bool) -> None:
    """Compare the list of issued invoices in FILE with what was published of MONTH. Example: mission issued 2026-04 issued.csv

    The list is judged by the contract issued_invoices (columns as in the published invoices.csv) and kept. Ends with 1 on any difference.
    """
    from mc_pipelines.close import requester
    from mc_pipelines.closing.issued import reconcile

    entry, found = reconcile(Home.find(), month, file, requester())
    body = entry.body
    if as_json:
        shown = {name: body[name] for name in ("period", "sha256", "published", "issued")} | {"entry": entry.number}
        click.echo(json.dumps(shown | {"differences": [vars(each) for each in found]}, ensure_ascii=False))
    else:
        click.echo(f"entry {entry.number}: {body['published']} published, {body['issued']} issued, {len(found)} difference(s)")
        for each in found[:MOST_SHOWN]:
            values = f": {each.field} published {each.published}, issued {each.issued}" if each.field else ""
            click.echo(f"{each.what}  {each.invoice}{values}")
        if len(found) > MOST_SHOWN:
            click.echo(f"and {len(found) - MOST_SHOWN} more; --json lists all")
    sys.exit(FAILED if found else 0)


COMMANDS = (note, publish, issued)
