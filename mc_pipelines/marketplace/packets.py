"""Packets of a source: its DPIA and its licence, checked, digested, signed by people, and kept.

A packet is `reference/marketplace/packets/<source>/dpia.json` or `licence.json`. Its signature lies beside it as `<file>.dsse`: a sign-off of
somebody with the role `packets`, whose statement is an in-toto Statement v1 with the file's name and sha256 as its subject. Every pair that
was signed is kept in `signed/` too, so that a renewal leaves what counted before. Nothing here signs; `mission sign` does, where the person is.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from mc_pipelines.disk import read_bounded
from mc_pipelines.durable import create, replace
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.bundle import STATEMENT
from mc_pipelines.evidence.canonical import canonical, instant, parse, sha256
from mc_pipelines.evidence.people import Person, read_people
from mc_pipelines.evidence.signoff import MAX_BYTES, SignOff, read_sign_off, request
from mc_pipelines.home import Home
from mc_pipelines.marketplace.located import Problem, located, shown
from mc_pipelines.marketplace.packet_rules import rule_problems
from mc_pipelines.marketplace.schemas import properties, schema_problems

KINDS = ("dpia", "licence")
SIGN_OFF = "marketplace.packet"
PREDICATE = "tag:mc-pipelines,2026:packet/v1"
KEPT = "signed"
"""Folder of the pairs that were signed, beside those that stand."""
SOURCE_ID = re.compile(r"[a-z][a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Pair:
    """A packet and its signature as they lie in a home; `file` is the packet's, below the folder of its source.

    `against` says why they count at no instant, empty where they do from `signed_at` on. Only then are the signature and who signed known;
    `document` and its `digest` are None where the packet has problems.
    """

    kind: str
    file: str
    against: str
    document: bytes | None = None
    digest: str | None = None
    signature: bytes | None = None
    person: str | None = None
    signed_at: datetime | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether one packet counts at the instant asked for, and why not. `pair` is the one that speaks for it, None where none does."""

    kind: str
    ok: bool
    why: str
    pair: Pair | None = None

    @property
    def document(self) -> Mapping[str, Any]:
        """The packet that counts; empty where none does."""
        return parse(self.pair.document) if self.ok and self.pair and self.pair.document else {}


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
    return _checked(path, read_bounded(path))[1]


def _kind_of(path: Path, value: Any) -> str | None:
    """Which packet a document is: as it says, else as its file is called, else the one that more of its keys belong to; None where nothing tells."""
    said = value.get("packet") if isinstance(value, dict) else None
    if said in KINDS:
        return str(said)
    named = next((kind for kind in KINDS if re.match(rf"{kind}\b", path.name)), None)
    if named or not isinstance(value, dict):
        return named
    own = {kind: len(value.keys() & properties(kind)) for kind in KINDS}
    return max(KINDS, key=lambda kind: own[kind]) if len(set(own.values())) > 1 else None


def _checked(path: Path, data: bytes) -> tuple[Any, list[Problem]]:
    document = located(data)
    if document.broken:
        return None, list(document.problems)
    value = document.value
    kind = _kind_of(path, value)
    if kind is None:
        remedy = f'Write "packet": "{KINDS[0]}" or "packet": "{KINDS[1]}".'
        unknown = Problem(shown(("packet",)), document.line(("packet",)), "the document does not say which packet it is", remedy)
        return value, [*document.problems, unknown]
    found = {*document.problems, *schema_problems(document, kind), *rule_problems(document, kind)}
    return value, sorted(found, key=lambda each: (each.line or 0, each.where, each.message))


def read_packet(path: Path) -> dict[str, Any]:
    """A packet without problems. MissionError with every one that it has."""
    return _sound(path)[1]


def _sound(path: Path) -> tuple[bytes, dict[str, Any]]:
    data = read_bounded(path)
    document, problems = _checked(path, data)
    if problems:
        raise MissionError("\n".join(each.text(path) for each in problems))
    return data, document


def _read(home: Home, source_id: str, kind: str) -> tuple[bytes, dict[str, Any]]:
    """The packet of a source as bytes and document. MissionError with every problem."""
    return _sound_of(packet_file(home, source_id, kind), source_id, kind)


def _sound_of(path: Path, source_id: str, kind: str) -> tuple[bytes, dict[str, Any]]:
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


def take(home: Home, signed: bytes, where: str, source: str | None = None) -> Path:
    """Lay a signed request beside the packet that it is about, and keep both.

    MissionError where it is not about a packet as it stands here, or about another source than the one named.
    """
    sign_off = read_sign_off(signed, read_people(home), where)
    predicate = sign_off.statement.get("predicate")
    kind, source_id = (predicate.get("packet"), predicate.get("source_id")) if isinstance(predicate, dict) else (None, None)
    if kind not in KINDS or not isinstance(source_id, str):
        raise MissionError(f"{where}: signed is a {sign_off.kind}, no packet. Sign what `mission packet sign SOURCE --request` writes.")
    if source not in (None, source_id):
        raise MissionError(f"{where}: signed is the {kind} of {source_id}, not of {source}. Name the source that it is of.")
    data, document = _read(home, source_id, str(kind))
    _about(sign_off, str(kind), source_id, data, document)
    if fault := _too_early(sign_off, document):
        raise MissionError(f"{where}: {fault}. Validate it first, then sign what was validated.")
    path = packet_file(home, source_id, str(kind))
    kept = path.parent / KEPT / f"{kind}-{sign_off.digest[:12]}.json"
    kept.parent.mkdir(exist_ok=True)
    create(kept, data)
    create(signature_file(kept), signed)
    replace(signature_file(path), signed)
    return signature_file(path)


def _about(sign_off: SignOff, kind: str, source_id: str, data: bytes, document: Mapping[str, Any]) -> None:
    """MissionError where a sign-off is not about exactly this packet."""
    if sign_off.kind != SIGN_OFF:
        raise MissionError(f"signed is a {sign_off.kind}, not a {SIGN_OFF}")
    if sign_off.statement != statement(kind, source_id, data, document):
        raise MissionError(f"{kind} of {source_id}: the signature is about other bytes; what stands here was never signed")


def _too_early(sign_off: SignOff, document: Mapping[str, Any]) -> str:
    """That an assessment was signed before the day (UTC) on which it was validated, empty where it was not: nobody can know what is to come."""
    signed, validated = sign_off.signed_at.astimezone(UTC).date(), document.get("validation", {}).get("date")
    return f"signed on {signed}, before it was validated on {validated}" if validated and signed < date.fromisoformat(validated) else ""


def pairs(home: Home, source_id: str) -> tuple[Pair, ...]:
    """What lies in a home of a source's packets: of each kind the one that stands, then those that were kept, in order of their names.

    Never raises for what the files hold. MissionError for a source's impossible name or an unreadable people.yaml.
    """
    people = read_people(home)
    found = []
    for kind in KINDS:
        path = packet_file(home, source_id, kind)
        for each in (path, *sorted((path.parent / KEPT).glob(f"{kind}-*.json"))):
            found.append(_pair(people, source_id, kind, each, each.relative_to(path.parent).as_posix()))
    return tuple(found)


def _pair(people: Sequence[Person], source_id: str, kind: str, path: Path, file: str) -> Pair:
    try:
        data, document = _sound_of(path, source_id, kind)
    except MissionError as error:
        return Pair(kind, file, _said(error, path))
    digested = digest(document)
    try:
        signature = read_bounded(signature_file(path), MAX_BYTES)
        sign_off = read_sign_off(signature, people, str(signature_file(path)))
        _about(sign_off, kind, source_id, data, document)
    except MissionError as error:
        return Pair(kind, file, f"not signed: {_said(error, path)}", data, digested)
    if fault := _too_early(sign_off, document):
        return Pair(kind, file, fault, data, digested)
    return Pair(kind, file, "", data, digested, signature, sign_off.person.person, sign_off.signed_at)


def judged(kind: str, found: Iterable[Pair], as_of: datetime) -> Verdict:
    """What a source's packet of a kind is worth at an instant (naive is UTC): the newest pair that was signed until then speaks for it."""
    moment = as_of.replace(tzinfo=UTC) if as_of.tzinfo is None else as_of.astimezone(UTC)
    own = [each for each in found if each.kind == kind]
    signed = sorted(
        ((each.signed_at, parse(each.document)["version"], each.file, each) for each in own if each.signed_at and each.document),
        key=lambda each: each[:3],
    )
    until = [pair for at, _, _, pair in signed if at <= moment]
    if until:
        why = _against(parse(until[-1].document or b""), moment)
        return Verdict(kind, not why, why, until[-1])
    if signed:
        return Verdict(kind, False, f"signed at {instant(signed[0][0])}, after the instant asked for", signed[0][-1])
    return Verdict(kind, False, own[0].against, own[0]) if own else Verdict(kind, False, "there is none")


def verify(home: Home, source_id: str, as_of: datetime) -> dict[str, Verdict]:
    """Both packets of a source at `as_of` (naive is UTC): well-formed, signed until then by somebody who might, in force, not refused.

    Never raises for what the files hold. MissionError for a source's impossible name or an unreadable people.yaml.
    """
    found = pairs(home, source_id)
    return {kind: judged(kind, found, as_of) for kind in KINDS}


def _said(error: MissionError, path: Path) -> str:
    """An error with the names of files alone: a verdict says the same wherever the home lies."""
    return str(error).replace(f"{path.parent}/", "")


def _against(document: Mapping[str, Any], moment: datetime) -> str:
    """What a signed packet itself says against it, empty for nothing."""
    if document["packet"] == "licence":
        over = moment.date() > date.fromisoformat(document["expires"])
        return f"expired: its last day was {document['expires']}" if over else ""
    opinion = document["dpo_opinion"]
    return f"the opinion of {opinion['name']} is unfavourable" if opinion["verdict"] == "unfavourable" else ""
