"""Commands of `mission` for the close after its attempts: status, approve, lock. Each imports what it needs when it runs.

No command and no option unlocks, and none signs for somebody else.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mc_pipelines.cli_sign import A_PATH, key_option, request_option, signed_or_kept
from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home

if TYPE_CHECKING:
    from mc_pipelines.closing.states import Close

MOST_SHOWN = 20


def close_now(home: Home, month: str) -> "Close":
    """The close of a month as its journal tells it, waivers judged by this machine's clock."""
    return close_at(home, month, datetime.now(UTC))


def close_at(home: Home, month: str, at: datetime | None = None) -> "Close":
    from mc_pipelines.closing.states import fold
    from mc_pipelines.evidence.position import journal_at_hand
    from mc_pipelines.windows import month_key

    journal = journal_at_hand(home)
    return fold(journal.entries() if journal else [], month_key(month)[:7], at)


@click.command()
@click.argument("month")
@click.option("--json", "as_json", is_flag=True, help="Print every tenant's state as JSON.")
def status(month: str, as_json: bool) -> None:
    """Say where the close of MONTH stands: who is held and by what, who approved, what is locked. Example: mission status 2026-04"""
    from mc_pipelines.closing.waivers import line_of

    home = Home.find()
    close = close_now(home, month)
    if not close.editions:
        _say_before(home, month, as_json)
        return
    shown = status_document(close)
    if as_json:
        click.echo(json.dumps(shown, ensure_ascii=False))
        return
    newest = shown["edition"]
    click.echo(
        f"{month} edition {newest['number']}: {newest['verdict']}, digest {newest['digest'][:12]}, asked for by {newest['requested_by']}"
    )
    for name, count in shown["counts"].items():
        click.echo(f"{name:<10}  {count}")
    if newest["everybody"]:
        click.echo(f"all tenants are held by {', '.join(newest['everybody'])}")
    held = [each for each in shown["tenants"] if each["state"] == "candidate" and not newest["everybody"]]
    for each in held[:MOST_SHOWN]:
        click.echo(f"held: {each['tenant']} by {', '.join(each['blockers'])}")
    if len(held) > MOST_SHOWN:
        click.echo(f"and {len(held) - MOST_SHOWN} more; --json lists all")
    for each in shown["waivers"]:
        click.echo(line_of(each))
    for each in shown["approvals"]:
        click.echo(f"approved by {each['person']}: {each['tenants']} tenant(s), entry {each['entry']}")
    for each in shown["locks"]:
        click.echo(
            f"locked by {each['requested_by']} at {each['at']}: {each['tenants']} tenant(s) of edition {each['edition']}, entry {each['entry']}"
        )
    for each in shown["notes"]:
        click.echo(f"finance note by {each['person']} on edition {', '.join(map(str, each['editions']))}, entry {each['entry']}")
    for each in shown["publications"]:
        click.echo(f"published by {each['requested_by']} at {each['at']}: {each['invoices']} invoice(s), entry {each['entry']}")
    if shown["issued"] is not None:
        click.echo(
            f"issued: {shown['issued']['issued']} of {shown['issued']['published']} invoice(s), {shown['issued']['differences']} difference(s)"
        )


def _say_before(home: Home, month: str, as_json: bool) -> None:
    """A month without an edition: whose is still open, and whose is over."""
    from mc_pipelines.closing.before import standing_before

    shown = standing_before(home, month)
    if as_json:
        click.echo(json.dumps(shown, ensure_ascii=False))
        return
    click.echo(f"{month}: no edition yet; landed until {shown['landed_until'] or 'no day'}. Attempt its close: mission close {month}")
    for name, count in shown["counts"].items():
        click.echo(f"{name:<10}  {count}")


def status_document(close: "Close") -> dict[str, Any]:
    """The state of a month's close in JSON's types."""
    from mc_pipelines.closing.states import STATES, in_order
    from mc_pipelines.evidence.canonical import instant

    newest = close.newest
    tenants = sorted({*newest.holds.tenants, *close.locks})
    rows = [{"tenant": each, "state": close.state(each), "blockers": list(close.blockers(each))} for each in tenants]
    return {
        "period": close.period,
        "edition": {
            "number": newest.number,
            "digest": newest.digest,
            "bundle": newest.bundle,
            "verdict": newest.verdict,
            "requested_by": newest.requested_by,
            "everybody": list(newest.holds.everybody),
        },
        "counts": {name: sum(row["state"] == name for row in rows) for name in STATES},
        "waivers": close.waivers_shown(),
        "approvals": [{"person": each.person, "tenants": len(each.tenants), "entry": each.entry.number} for each in close.standing],
        "locks": [
            {"edition": lock.edition, "tenants": len(lock.tenants), "requested_by": lock.entry.body["requested_by"]}
            | {"at": instant(lock.entry.signed_at), "entry": lock.entry.number}
            for lock in in_order(close.locks.values())
        ],
        "notes": [
            {"person": each.person, "editions": [own["edition"] for own in each.entry.body["editions"]], "entry": each.entry.number}
            for each in close.notes
        ],
        "publications": [
            {name: entry.body[name] for name in ("invoices", "bundle", "requested_by")}
            | {"tenants": len(entry.body["tenants"]), "at": instant(entry.signed_at), "entry": number}
            for number, entry in sorted({each.entry.number: each.entry for each in close.publications.values()}.items())
        ],
        "issued": {name: close.issued[-1].body[name] for name in ("published", "issued", "differences", "sha256")}
        if close.issued
        else None,
        "tenants": rows,
    }


@click.command()
@click.argument("month")
@click.option("--all-green", is_flag=True, help="All tenants that nothing holds.")
@click.option("--tenant", "tenants", multiple=True, metavar="T", help="A tenant; repeated.")
@click.option("--without", multiple=True, metavar="T=REASON", help="A tenant to leave out, and why; repeated.")
@click.option("--note", default="", help="What you want to have said.")
@click.option("--signed", type=A_PATH, help="An approval that somebody has signed with `mission sign`.")
@key_option
@request_option
def approve(
    month: str,
    all_green: bool,
    tenants: tuple[str, ...],
    without: tuple[str, ...],
    note: str,
    signed: Path | None,
    key: Path | None,
    only_request: bool,
) -> None:
    """Approve tenants of MONTH's newest edition with your own SSH key. Example: mission approve 2026-04 --all-green

    Two different people are needed, none of whom asked for the edition. An approval is bound to the edition's digest: a new one voids it.
    """
    from mc_pipelines.closing.acts import approval_request
    from mc_pipelines.closing.acts import approve as take

    home = Home.find()
    if signed is None:
        if all_green == bool(tenants):
            raise MissionError("name tenants with --tenant, or all that nothing holds with --all-green; one of the two")
        left = dict(_left_out(each) for each in without)
        from mc_pipelines.journaling import requester

        data = approval_request(close_now(home, month), list(tenants) or None, left, requester(), note)
        signed = signed_or_kept(home, f"approval-{month}", data, key, only_request)
        if signed is None:
            return
    from mc_pipelines.evidence.people import read_people
    from mc_pipelines.journaling import journal_of

    entry = take(journal_of(home), read_people(home), signed.read_bytes(), str(signed))
    body = entry.body
    click.echo(
        f"entry {entry.number}: {body['person']} approved {len(body['tenants'])} tenant(s) of {body['period']} edition {body['edition']}"
    )
    for tenant, why in body["without"].items():
        click.echo(f"without {tenant}: {why}")
    _show_board(home, body["period"])


def _show_board(home: Home, month: str) -> None:
    from mc_pipelines.showing import show_board

    show_board(home, month)


def _left_out(text: str) -> tuple[str, str]:
    tenant, equals, reason = text.partition("=")
    if not equals:
        raise MissionError(f"--without {text}: no reason. Write TENANT=REASON.")
    return tenant, reason


@click.command()
@click.argument("month")
@click.option("--tenant", "tenants", multiple=True, metavar="T", help="A tenant; repeated (default: all that two people approved).")
def lock(month: str, tenants: tuple[str, ...]) -> None:
    """Fix the close of MONTH's approved tenants, for ever. Example: mission lock 2026-04

    What is locked is what the edition's bundle holds; the bundle is verified first. Nothing unlocks: what comes later is billed later.
    """
    from mc_pipelines.close import lock as fix
    from mc_pipelines.journaling import requester

    home = Home.find()
    entry = fix(home, month, list(tenants) or None, requester())
    body = entry.body
    click.echo(
        f"entry {entry.number}: {len(body['tenants'])} tenant(s) of {body['period']} edition {body['edition']} locked by {body['requested_by']}"
    )
    click.echo(f"bundle {body['bundle']}")
    _show_board(home, body["period"])


COMMANDS = (status, approve, lock)
