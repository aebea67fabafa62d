"""Who signs the demo's explanations and packets: a person named development, whose key is made on first use and lies with the home's other keys.

Nobody vouches for that key. A home that declares people of its own keeps them, and signs its explanations itself.
"""

from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from mc_pipelines.closing.explanations import digest_of, explain, explanation_request, signatures
from mc_pipelines.durable import create
from mc_pipelines.evidence.canonical import parse
from mc_pipelines.evidence.own_key import from_file
from mc_pipelines.evidence.people import by_key, people_file, read_people
from mc_pipelines.evidence.signoff import signed
from mc_pipelines.home import Home
from mc_pipelines.journaling import journal_of
from mc_pipelines.marketplace.declared import Source, read_sources
from mc_pipelines.marketplace.packets import KINDS, packet_file, packet_request, read_packet, signature_file, take
from mc_pipelines.reference import read

if TYPE_CHECKING:
    from pathlib import Path

PERSON = "development"
MADE = "# Made by the demo. The private half lies in keys/; nobody vouches for it.\n"
SIGNS_AT = time(9, tzinfo=UTC)


def sign_explanations(home: Home, month: str) -> str:
    """Sign what the home explains of the month, unless that is done; returns what was done in a line."""
    declared = [each for each in read(home, "explained") if each.period == month]
    journal = journal_of(home)
    standing = signatures(journal.entries())
    people = {standing[digest].person for each in declared if (digest := digest_of(each)) in standing}
    if all(digest_of(each) in standing for each in declared):
        return f"{len(declared)} explanations, signed by {', '.join(sorted(people)) or 'nobody'}"
    path = home.keys / f"{PERSON}-person.key"
    _declare(home, path)
    own = from_file(path, str) if path.exists() else None
    if own is None or by_key(read_people(home), own.public_key()) is None:
        return f"explanations await a signature of somebody in {people_file(home)}: mission waive {month} --explained"
    request = parse(explanation_request(declared, standing, month, "demo"))
    explain(journal, read_people(home), signed(request, own, read_people(home)), "demo")
    return f"explanations signed with the development key {path}, for which nobody vouches"


def sign_packets(home: Home) -> str:
    """Sign every packet of the home's sources that nobody signed yet, dated as of its validation; returns what was done in a line.

    The sample's packets are invented with their dates. The days are theirs: what is signed after a sprint counts in none that is over.
    """
    path = home.keys / f"{PERSON}-person.key"
    _declare(home, path)
    waiting = [
        (source, kind)
        for source in read_sources(home)
        for kind in KINDS
        if (file := packet_file(home, source.source_id, kind)).exists() and not signature_file(file).exists()
    ]
    if not waiting:
        return "packets are signed"
    people = read_people(home)
    own = from_file(path, str) if path.exists() else None
    if own is None or by_key(people, own.public_key()) is None:
        return f"{len(waiting)} packets await a signature of somebody in {people_file(home)}: mission packet sign SOURCE"
    for source, kind in waiting:
        at = datetime.combine(_validated(home, source), SIGNS_AT)
        take(home, signed(parse(packet_request(home, source.source_id, kind, "demo")), own, people, at), "demo")
    days = sorted({_validated(home, source) for source, _ in waiting})
    return (
        f"{len(waiting)} packets signed with the development key {path}, for which nobody vouches, "
        f"each dated as of the day of its validation ({days[0]} to {days[-1]})"
    )


def _validated(home: Home, source: Source) -> date:
    """The day on which a source's assessment was validated; of one that has none, the day from which it is offered."""
    path = packet_file(home, source.source_id, "dpia")
    return date.fromisoformat(read_packet(path)["validation"]["date"]) if path.exists() else source.offered


def _declare(home: Home, path: "Path") -> None:
    """Make the key, and declare its public half where the home declares nobody but a demo before, whose key is gone."""
    if people_file(home).exists():
        if path.exists() or not people_file(home).read_text(encoding="utf-8").startswith(MADE):
            return
        people_file(home).unlink()
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        create(path, made, mode=0o600)
    public = from_file(path, str).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    text = f'{MADE}people:\n  - {{person: {PERSON}, name: Development key of this home, roles: [approver, packets], key: "{public}"}}\n'
    create(people_file(home), text.encode())
