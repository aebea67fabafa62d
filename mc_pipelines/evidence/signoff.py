"""What a person signs: a statement of a kind, about things named by their digests, in an envelope of its own.

A request is the statement before anybody signed it; a job may write one and never signs it. What a kind of statement means, and whether it
comes in time, is decided by whoever takes it into the journal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.canonical import canonical, instant, parse, parse_instant, sha256
from mc_pipelines.evidence.dsse import envelope_payload, sign, verify_envelope
from mc_pipelines.evidence.own_key import OwnKey
from mc_pipelines.evidence.people import Person, by_key, keys_of
from mc_pipelines.evidence.signing import Signer, TrustedKeys, keyid

SIGN_OFF_TYPE = "application/vnd.mc-pipelines.sign-off+json"
MAX_BYTES = 4 << 20
REQUEST = {"kind", "requested_by", "statement"}
ROLE_OF = {
    "marketplace.packet": "packets",
    "metering.close.approval": "approver",
    "metering.finance_note": "finance",
    "metering.waiver": "approver",
}
"""By kind of statement the role that its signer needs."""


@dataclass(frozen=True)
class SignOff:
    """A verified statement: who signed it and when (by their clock), and the digest of the envelope."""

    kind: str
    person: Person
    requested_by: str
    statement: Mapping[str, Any]
    signed_at: datetime
    digest: str


def request(kind: str, requested_by: str, statement: Mapping[str, Any]) -> bytes:
    """A request as bytes: canonical JSON, so that the same request is the same file."""
    return canonical({"kind": kind, "requested_by": requested_by, "statement": statement}) + b"\n"


def read_request(path: Path) -> dict[str, Any]:
    """A request from its file. MissionError for anything else."""
    try:
        found = parse(path.read_bytes(), limit=MAX_BYTES)
        if not isinstance(found, dict) or set(found) != REQUEST or not isinstance(found["statement"], dict) or found["kind"] not in ROLE_OF:
            raise ValueError(f"a request has exactly {', '.join(sorted(REQUEST))}, its kind is one of {', '.join(sorted(ROLE_OF))}")
    except (OSError, ValueError) as error:
        raise MissionError(f"{path}: no request to sign: {error}") from error
    return found


def signed(found: Mapping[str, Any], key: OwnKey, people: Sequence[Person], at: datetime | None = None) -> bytes:
    """A request as the person whose key this is signs it. MissionError where nobody declared has this key, or lacks the role."""
    person = by_key(people, key.public_key())
    if person is None:
        raise MissionError(
            f"key {keyid(key.public_key())[:16]} is nobody's in reference/people.yaml. Add its public half there, with a role."
        )
    moment = at or datetime.now(UTC)
    if reason := person.trusted.reason_against(moment, ROLE_OF[found["kind"]]):
        raise MissionError(f"{person.person} cannot sign a {found['kind']}: {reason}. See reference/people.yaml.")
    payload = canonical({**found, "person": person.person, "signedAt": instant(moment)})
    signer = Signer(key, False, TrustedKeys(()))  # type: ignore[arg-type]  # an agent's key signs as a private key does
    return canonical(sign(payload, SIGN_OFF_TYPE, [signer])) + b"\n"


def read_sign_off(data: bytes, people: Sequence[Person], where: str) -> SignOff:
    """The statement in an envelope, verified: by a declared person, with the role that its kind needs, at the time that it says.

    MissionError that begins with `where` for anything else.
    """
    try:
        envelope = parse(data, limit=MAX_BYTES)
        payload = parse(envelope_payload(envelope, SIGN_OFF_TYPE), limit=MAX_BYTES)
        if not isinstance(payload, dict) or set(payload) != {*REQUEST, "person", "signedAt"} or not isinstance(payload["statement"], dict):
            raise ValueError(f"a sign-off has exactly {', '.join(sorted({*REQUEST, 'person', 'signedAt'}))}")
        if payload["kind"] not in ROLE_OF:
            raise ValueError(f"{payload['kind']!r} is no kind of sign-off; known are {', '.join(sorted(ROLE_OF))}")
        person = next((each for each in people if each.person == payload["person"]), None)
        if person is None:
            raise ValueError(f"{payload['person']!r} is not in reference/people.yaml")
        at = parse_instant(str(payload["signedAt"]))
        verify_envelope(envelope, keys_of([person]), 1, at, role=ROLE_OF[payload["kind"]], payload_type=SIGN_OFF_TYPE)
        if len(envelope["signatures"]) != 1:
            raise ValueError("a sign-off has exactly one signature")
    except (ValueError, MissionError) as error:
        raise MissionError(f"{where}: {error}") from error
    return SignOff(payload["kind"], person, str(payload["requested_by"]), payload["statement"], at, sha256(canonical(envelope)))
