"""Packets of a source: its DPIA and its licence, checked, digested, signed by people, and the badges that follow.

A packet is `reference/marketplace/packets/<source>/dpia.json` or `licence.json`. Its signature lies beside it as `<file>.dsse`: a sign-off of
somebody with the role `packets`, whose statement is an in-toto Statement v1 with the file's name and sha256 as its subject. Nothing here
signs; `mission sign` does, where the person is.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from mc_pipelines.durable import replace
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.bundle import STATEMENT
from mc_pipelines.evidence.canonical import canonical, instant, sha256
from mc_pipelines.evidence.people import Person, read_people
from mc_pipelines.evidence.signoff import MAX_BYTES, SignOff, read_sign_off, request
from mc_pipelines.home import Home
from mc_pipelines.marketplace.located import Problem, located, read_bounded, shown
from mc_pipelines.marketplace.packet_rules import rule_problems
from mc_pipelines.marketplace.schemas import schema_problems

KINDS = ("dpia", "licence")
SIGN_OFF = "marketplace.packet"
PREDICATE = "tag:mc-pipelines,2026:packet/v1"
SOURCE_ID = re.compile(r"[a-z][a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Verdict:
    """Whether one packet counts at the instant asked for, and why not. `digest` is the document's, None where there is none to read."""

    kind: str
    ok: bool
    why: str
    digest: str | None = None
    person: str | None = None
    signed_at: datetime | None = None


@dataclass(frozen=True)
class Verified:
    """Both packets of a source at an instant. `expired`: the licence's last day is over, whatever else is true of it.

    `clauses` are those of a licence that counts, in their order; of one that does not, none.
    """

    source_id: str
    dpia: Verdict
    licence: Verdict
    expired: bool
    clauses: tuple[Mapping[str, Any], ...] = ()

    @property
    def badges(self) -> tuple[str, ...]:
        """dpia and licence for a packet that counts, verified for both."""
        earned = tuple(each.kind for each in (self.dpia, self.licence) if each.ok)
        return (*earned, "verified") if len(earned) == len(KINDS) else earned


def packet_file(home: Home, source_id: str, kind: str) -> Path:
    """Where a packet lies. MissionError for a source whose name could lead elsewhere."""
    if not SOURCE_ID.fullmatch(source_id):
        raise MissionError(f"{source_id[:80]!r} is no id of a source. Write lower-case letters, digits, - and _, a letter first.")
    return home.reference / "marketplace" / "packets" / source_id / f"{kind}.json"


def signature_file(path: Path) -> Path:
    return path.with_name(path.name + ".dsse")


def digest(document: Any) -> str:
    """sha256 (hex) of a document in canonical JSON: the same however its file is laid out."""
    return sha256(canonical(document))


def check(path: Path) -> list[Problem]:
    """Every problem of a packet, in order of lines; empty when there is none. MissionError where the file cannot be read at all."""
    return _checked(read_bounded(path))[1]


def _checked(data: bytes) -> tuple[Any, list[Problem]]:
    document = located(data)
    if document.broken:
        return None, list(document.problems)
    value = document.value
    kind = value.get("packet") if isinstance(value, dict) else None
    if kind not in KINDS:
        remedy = f'Write "packet": "{KINDS[0]}" or "packet": "{KINDS[1]}".'
        unknown = Problem(shown(("packet",)), document.line(("packet",)), "the document does not say which packet it is", remedy)
        return value, [*document.problems, unknown]
    found = {*document.problems, *schema_problems(document, str(kind)), *rule_problems(document, str(kind))}
    return value, sorted(found, key=lambda each: (each.line or 0, each.where, each.message))


def read_packet(path: Path) -> dict[str, Any]:
    """A packet without problems. MissionError with every one that it has."""
    return _sound(path)[1]


def _sound(path: Path) -> tuple[bytes, dict[str, Any]]:
    data = read_bounded(path)
    document, problems = _checked(data)
    if problems:
        raise MissionError("\n".join(each.text(path) for each in problems))
    return data, document


def _read(home: Home, source_id: str, kind: str) -> tuple[bytes, dict[str, Any]]:
    """The packet of a source as bytes and document. MissionError with every problem."""
    path = packet_file(home, source_id, kind)
    data, document = _sound(path)
    if (document["packet"], document["source_id"]) != (kind, source_id):
        said = f"the {document['packet']} of {document['source_id']}"
        raise MissionError(f"{path}: this is {said}, not the {kind} of {source_id}. Move it to where it belongs.")
    return data, document


def statement(kind: str, source_id: str, data: bytes, document: Mapping[str, Any]) -> dict[str, Any]:
    """The in-toto Statement v1 about a packet's file."""
    return {
        "_type": STATEMENT,
        "subject": [{"name": f"{kind}.json", "digest": {"sha256": sha256(data)}}],
        "predicateType": PREDICATE,
        "predicate": {"packet": kind, "source_id": source_id, "version": document["version"], "document": digest(document)},
    }


def packet_request(home: Home, source_id: str, kind: str, requested_by: str) -> bytes:
    """What somebody with the role `packets` signs. MissionError with every problem of a packet that has some."""
    data, document = _read(home, source_id, kind)
    return request(SIGN_OFF, requested_by, statement(kind, source_id, data, document))


def take(home: Home, signed: bytes, where: str) -> Path:
    """Lay a signed request beside the packet that it is about. MissionError where it is not about a packet as it stands here."""
    sign_off = read_sign_off(signed, read_people(home), where)
    predicate = sign_off.statement.get("predicate")
    kind, source_id = (predicate.get("packet"), predicate.get("source_id")) if isinstance(predicate, dict) else (None, None)
    if kind not in KINDS or not isinstance(source_id, str):
        raise MissionError(f"{where}: signed is a {sign_off.kind}, no packet. Sign what `mission packet sign SOURCE --request` writes.")
    _about(sign_off, str(kind), source_id, *_read(home, source_id, str(kind)))
    path = signature_file(packet_file(home, source_id, str(kind)))
    replace(path, signed)
    return path


def _about(sign_off: SignOff, kind: str, source_id: str, data: bytes, document: Mapping[str, Any]) -> None:
    """MissionError where a sign-off is not about exactly this packet."""
    if sign_off.kind != SIGN_OFF:
        raise MissionError(f"signed is a {sign_off.kind}, not a {SIGN_OFF}")
    if sign_off.statement != statement(kind, source_id, data, document):
        raise MissionError(f"{kind} of {source_id}: the signature is about other bytes; what stands here was never signed")


def verify(home: Home, source_id: str, as_of: datetime) -> Verified:
    """Both packets of a source at `as_of` (naive is UTC): well-formed, signed until then by somebody who might, in force, not refused.

    Never raises for what the files hold. MissionError for a source's impossible name or an unreadable people.yaml.
    """
    moment = as_of.replace(tzinfo=UTC) if as_of.tzinfo is None else as_of.astimezone(UTC)
    people = read_people(home)
    found: dict[str, Verdict] = {}
    expired, clauses = False, ()
    for kind in KINDS:
        path = packet_file(home, source_id, kind)
        try:
            data, document = _read(home, source_id, kind)
        except MissionError as error:
            found[kind] = Verdict(kind, False, _said(error, path))
            continue
        expired |= kind == "licence" and _over(document["expires"], moment)
        found[kind] = _judged(home, people, source_id, kind, data, document, moment)
        clauses = tuple(document["clauses"]) if kind == "licence" and found[kind].ok else clauses
    return Verified(source_id, found["dpia"], found["licence"], expired, clauses)


def _judged(
    home: Home, people: Sequence[Person], source_id: str, kind: str, data: bytes, document: Mapping[str, Any], moment: datetime
) -> Verdict:
    path = signature_file(packet_file(home, source_id, kind))
    digested = digest(document)
    try:
        sign_off = read_sign_off(read_bounded(path, MAX_BYTES), people, str(path))
        _about(sign_off, kind, source_id, data, document)
    except MissionError as error:
        return Verdict(kind, False, f"not signed: {_said(error, path)}", digested)
    why = (
        f"signed at {instant(sign_off.signed_at)}, after the instant asked for"
        if sign_off.signed_at > moment
        else _against(document, moment)
    )
    return Verdict(kind, not why, why, digested, sign_off.person.person, sign_off.signed_at)


def _said(error: MissionError, path: Path) -> str:
    """An error with the names of files alone: a verdict says the same wherever the home lies."""
    return str(error).replace(f"{path.parent}/", "")


def _against(document: Mapping[str, Any], moment: datetime) -> str:
    """What a signed packet itself says against it, empty for nothing."""
    if document["packet"] == "licence":
        return f"expired: its last day was {document['expires']}" if _over(document["expires"], moment) else ""
    if document["dpo_opinion"]["verdict"] == "unfavourable":
        return f"the opinion of {document['dpo_opinion']['name']} is unfavourable"
    day = document["validation"]["date"]
    return f"validated on {day}, after the instant asked for" if date.fromisoformat(day) > moment.date() else ""


def _over(last: str, moment: datetime) -> bool:
    """Whether a day, in UTC, is over at an instant."""
    return moment.date() > date.fromisoformat(last)
