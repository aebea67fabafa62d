"""Signing at the command line: requests that are written, and signed by the person whose key it is. Each function imports what it needs when it runs.

No command signs for somebody else.
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home

if TYPE_CHECKING:
    from mc_pipelines.evidence.own_key import OwnKey

A_PATH = click.Path(path_type=Path)
key_option = click.option("--key", type=A_PATH, help="The file of your SSH Ed25519 key (default: your ssh-agent's).")
request_option = click.option(
    "--request", "only_request", is_flag=True, help="Write the request and sign nothing, for somebody to sign elsewhere."
)
MOST_SHOWN = 20


def signed_or_kept(home: Home, name: str, data: bytes, key: Path | None, only_request: bool) -> Path | None:
    """Keep a request under its digest, so that the same request is one file, and sign it beside; None where only the request is wanted."""
    from mc_pipelines.evidence.canonical import sha256
    from mc_pipelines.site.build import replace

    request = home.root / "requests" / f"{name}-{sha256(data)[:12]}.json"
    replace(request, data)
    if only_request:
        click.echo(f"request  {request}\nnext     mission sign {request}")
        return None
    return _signed(home, request, key)


@click.command()
@click.argument("request", type=A_PATH)
@key_option
def sign(request: Path, key: Path | None) -> None:
    """Sign a request with your own SSH key. Example: mission sign data/requests/approval-2026-04-0123456789ab.json

    The key is found in your ssh-agent, or in the file that --key names; its passphrase is asked for, or read from MISSION_KEY_PASSPHRASE.
    """
    path = _signed(Home.find(), request, key)
    click.echo(f"signed  {path}")


def _signed(home: Home, request: Path, key: Path | None) -> Path:
    """The signed request beside the request."""
    from mc_pipelines.evidence.people import read_people
    from mc_pipelines.evidence.signoff import read_request
    from mc_pipelines.evidence.signoff import signed as sign_request
    from mc_pipelines.site.build import replace

    found = read_request(request)
    people = read_people(home)
    own = _own_key(home, key)
    said = found["statement"]
    shown = {
        name: f"{len(value)} of them" if isinstance(value, list) and len(value) > MOST_SHOWN else value for name, value in said.items()
    }
    click.echo(f"signing {found['kind']}: {json.dumps(shown, ensure_ascii=False)}", err=True)
    path = request.with_suffix(".signed.json")
    replace(path, sign_request(found, own, people))
    return path


def _own_key(home: Home, key: Path | None) -> "OwnKey":
    """The key of the file, else the one of the agent's that a declared person has. MissionError where there is none, or several."""
    from mc_pipelines.evidence.own_key import from_file, in_agent
    from mc_pipelines.evidence.people import by_key, read_people

    if key is not None:
        return from_file(key, _passphrase)
    people = read_people(home)
    found = [each for each in in_agent() if by_key(people, each.public_key())]
    if len(found) != 1:
        what = "no key of anybody in reference/people.yaml" if not found else "keys of several people"
        raise MissionError(f"your ssh-agent holds {what}. Name yours: --key ~/.ssh/id_ed25519")
    return found[0]


def _passphrase() -> str:
    given = os.environ.get("MISSION_KEY_PASSPHRASE")
    return given if given is not None else str(click.prompt("Passphrase of your key", hide_input=True, err=True))


COMMANDS = (sign,)
