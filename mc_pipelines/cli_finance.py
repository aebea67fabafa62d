"""Commands of `mission` for finance: note, publish, issued, tonight. Each imports what it needs when it runs. Nothing unpublishes."""

import json
import sys
from pathlib import Path

import click

from mc_pipelines.cli_sign import A_PATH, key_option, request_option, signed_or_kept
from mc_pipelines.errors import FAILED
from mc_pipelines.home import Home

MOST_SHOWN = 20


@click.command()
@click.argument("month")
@click.option("--note", "text", default="", help="What you want to have said.")
@click.option("--signed", type=A_PATH, help="A note that somebody has signed with `mission sign`.")
@key_option
@request_option
def note(month: str, text: str, signed: Path | None, key: Path | None, only_request: bool) -> None:
    """File the finance note on MONTH's locked invoices, with your own SSH key. Example: mission note 2026-04 --note "agrees with the forecast"

    It is bound to the digests of the locked editions and states what their invoices add up to; without it nothing is published.
    """
    from mc_pipelines.closing.publication import file_note, note_request
    from mc_pipelines.evidence.people import read_people
    from mc_pipelines.journaling import requester

    home = Home.find()
    if signed is None:
        signed = signed_or_kept(home, f"note-{month}", note_request(home, month, text, requester()), key, only_request)
        if signed is None:
            return
    entry = file_note(home, read_people(home), signed.read_bytes(), str(signed))
    editions = ", ".join(str(each["edition"]) for each in entry.body["editions"])
    click.echo(f"entry {entry.number}: {entry.body['person']} filed the finance note on {entry.body['period']} edition {editions}")
    for row in entry.body["figures"]:
        amounts = "  ".join(f"{name} {row[name]}" for name in ("net", "tax", "total", "payable"))
        click.echo(f"{row['currency']}  invoices {row['invoices']}  {amounts}")
    for each in entry.body["editions"]:
        if each["held"] or each["not_passed"]:
            click.echo(
                f"edition {each['edition']}: {len(each['held'])} tenant(s) held; not passed: {', '.join(each['not_passed']) or 'none'}"
            )


@click.command()
@click.argument("month")
@click.option(
    "--tenant", "tenants", multiple=True, metavar="T", help="A tenant; repeated (default: all that are locked and not published)."
)
def publish(month: str, tenants: tuple[str, ...]) -> None:
    """Hand over MONTH's locked invoices: list, ledger entries, credit notes, in a signed bundle. Example: mission publish 2026-04

    It needs accounts in reference/accounts.yaml and a finance note on each edition. Nothing unpublishes.
    """
    from mc_pipelines.closing.publication import publish as hand_over
    from mc_pipelines.journaling import requester
    from mc_pipelines.showing import show_board

    home = Home.find()
    entry = hand_over(home, month, list(tenants) or None, requester())
    body = entry.body
    click.echo(f"entry {entry.number}: {body['invoices']} invoice(s) of {body['period']} published by {body['requested_by']}")
    click.echo(f"bundle {home.evidence / body['bundle']}")
    show_board(home, body["period"])


@click.command()
@click.argument("month")
@click.argument("file", type=A_PATH)
@click.option("--json", "as_json", is_flag=True, help="Print every difference as JSON.")
def issued(month: str, file: Path, as_json: bool) -> None:
    """Compare the list of issued invoices in FILE with what was published of MONTH. Example: mission issued 2026-04 issued.csv

    The list is judged by the contract issued_invoices (columns as in the published invoices.csv) and kept. Ends with 1 on any difference.
    """
    from mc_pipelines.closing.issued import reconcile
    from mc_pipelines.journaling import requester

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


@click.command()
@click.argument("month", required=False)
@click.option("--day", default="", metavar="YYYY-MM-DD", help="As if the month ended after this day (default: the last that has landed).")
@click.option("--json", "as_json", is_flag=True, help="Print what the night says as JSON.")
def tonight(month: str | None, day: str, as_json: bool) -> None:
    """Rehearse the close of the running month (default: that of the last landed day) as if it ended now. Example: mission tonight

    How many tenants would close, what is unbilled, who stands in the way, what moved since the last one. A rehearsal is never a close:
    it cannot be approved or locked. Ends with 0 whatever it finds.
    """
    from mc_pipelines.closing.rehearsal import rehearse
    from mc_pipelines.journaling import requester
    from mc_pipelines.showing import show_tonight

    home = Home.find()
    done = rehearse(home, month or "", day, requested_by=requester())
    found = done.document
    show_tonight(home, found)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    click.echo(f"{found['period']} as if it ended after {found['day']}: {found['would_close']} of {found['tenants']} tenant(s) would close")
    for row in found["unbilled"]["totals"]:
        click.echo(f"unbilled  {row['currency']}  net {row['net']}  corrections {row['corrected']}  payable {row['payable']}")
    for row in found["blockers"]:
        click.echo(f"blocker   {row['gate']} ({row['owner']}): holds {row['tenants']} tenant(s). {row['reason']}")
    for row in (found["moved"] or {"unbilled": []})["unbilled"]:
        click.echo(f"moved     {row['currency']}  {row['difference']} since {found['moved']['since']}")
    click.echo(f"page      {home.site / 'tonight.html'}")


COMMANDS = (note, publish, issued, tonight)
