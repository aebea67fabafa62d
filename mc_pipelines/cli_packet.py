"""Packets at the command line: checked, previewed, put up for signature, and laid down signed. Each command imports what it needs when it runs."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mc_pipelines.cli_sign import A_PATH, key_option, request_option, signed_or_kept
from mc_pipelines.errors import FAILED, MissionError
from mc_pipelines.home import Home

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mc_pipelines.marketplace.located import Problem


@click.group()
def packet() -> None:
    """Check, preview and sign the DPIA and licence packets of sources. Example: mission packet check dpia.json"""


@packet.command()
@click.argument("file", type=A_PATH)
@click.option("--json", "as_json", is_flag=True, help="Print the problems as JSON.")
def check(file: Path, as_json: bool) -> None:
    """List every problem of a packet with its place. Example: mission packet check dpia.json

    Ends with 1 where there are problems.
    """
    from mc_pipelines.marketplace.packets import check as problems_of

    tell_problems(file, problems_of(file), as_json)


def tell_problems(file: Path, found: "Sequence[Problem]", as_json: bool) -> None:
    """Print the problems of a document that a partner wrote, and end with 1 where there are some."""
    if as_json:
        click.echo(json.dumps([vars(each) for each in found], ensure_ascii=False))
    else:
        for each in found:
            click.echo(each.text(file))
        click.echo(f"{len(found)} problem(s)" if found else f"{file}: no problems")
    sys.exit(FAILED if found else 0)


@packet.command()
@click.argument("old", type=A_PATH)
@click.argument("new", type=A_PATH)
@click.argument("items", type=A_PATH)
@click.option("--json", "as_json", is_flag=True, help="Print the changes as JSON.")
def preview(old: Path, new: Path, items: Path, as_json: bool) -> None:
    """Show which ITEMS the clauses of NEW treat otherwise than those of OLD. Example: mission packet preview licence.json new.json items.json

    ITEMS is a JSON list of {"item_id": "…", "tags": ["…"]}.
    """
    from mc_pipelines.marketplace.clauses import clause_preview, read_items

    changes = clause_preview(_licence(old), _licence(new), read_items(items))
    if as_json:
        click.echo(json.dumps([vars(each) for each in changes], ensure_ascii=False))
        return
    for each in changes:
        before, after = (
            f"{kind} ({clause or 'no clause'})" for kind, clause in ((each.before, each.before_clause), (each.after, each.after_clause))
        )
        click.echo(f"{'stricter' if each.stricter else 'looser  '}  {each.item_id}: {before} -> {after}")
    stricter = sum(each.stricter for each in changes)
    click.echo(f"{stricter} item(s) stricter, {len(changes) - stricter} looser")


def _licence(path: Path) -> dict[str, Any]:
    from mc_pipelines.marketplace.packets import read_packet

    document = read_packet(path)
    if document["packet"] != "licence":
        raise MissionError(f"{path}: this is a {document['packet']}, no licence. Name a licence packet.")
    return document


@packet.command("sign")
@click.argument("source")
@click.option("--signed", type=A_PATH, help="A request that somebody has signed with `mission sign`.")
@key_option
@request_option
def sign_packets(source: str, signed: Path | None, key: Path | None, only_request: bool) -> None:
    """Sign both packets of SOURCE with your own SSH key, or write the requests. Example: mission packet sign tide-tables --request"""
    from mc_pipelines.disk import read_bounded
    from mc_pipelines.journaling import requester
    from mc_pipelines.marketplace.packets import KINDS, packet_request, take

    home = Home.find()
    if signed is not None:
        click.echo(f"signed  {take(home, read_bounded(signed, 4 << 20), str(signed), source)}")
        return
    for kind, data in [(kind, packet_request(home, source, kind, requester())) for kind in KINDS]:
        made = signed_or_kept(home, f"packet-{source}-{kind}", data, key, only_request)
        if made is not None:
            click.echo(f"signed  {take(home, made.read_bytes(), str(made))}")


COMMANDS = (packet,)
