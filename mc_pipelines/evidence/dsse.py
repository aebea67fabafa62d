"""DSSE envelopes: which bytes are signed, and which trusted keys have signed them.

Whose key is trusted, and from when until when, is signing.py's. What a signed statement says belongs to bundle.py and journal.py.
https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.canonical import canonical

if TYPE_CHECKING:
    from mc_pipelines.evidence.signing import Signer, TrustedKey, TrustedKeys

STATEMENT_TYPE = "application/vnd.in-toto+json"
MAX_SIGNATURES = 16


class SignatureError(MissionError):
    """An envelope that is malformed, or that too few trusted keys have signed."""


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, payload_type: str, signers: "Sequence[Signer]") -> dict[str, Any]:
    """A DSSE envelope over `payload`, one signature a signer, in the order of their key ids."""
    if not signers:
        raise ValueError("an envelope needs at least one signer")
    message = pae(payload_type, payload)
    ordered = sorted({one.keyid: one for one in signers}.items())
    signatures = [{"keyid": name, "sig": base64.b64encode(one.private.sign(message)).decode()} for name, one in ordered]
    return {"payload": base64.b64encode(payload).decode(), "payloadType": payload_type, "signatures": signatures}


def sign_statement(statement: Mapping[str, Any], signers: "Sequence[Signer]") -> dict[str, Any]:
    """A DSSE envelope over an in-toto Statement, written in canonical JSON."""
    return sign(canonical(statement), STATEMENT_TYPE, signers)


def _decode(text: Any, name: str) -> bytes:
    """Standard base64 in its one spelling: a second spelling of the same bytes could change a file without changing what it says."""
    if isinstance(text, str) and text.isascii():
        try:
            data = base64.b64decode(text, validate=True)
        except binascii.Error:
            data = b""
        if base64.b64encode(data).decode() == text:
            return data
    raise SignatureError(f"envelope: {name} is not standard base64")


def envelope_payload(envelope: Any, payload_type: str) -> bytes:
    """The payload of a well-formed envelope of that type; nothing is said about its signatures. SignatureError where it is malformed."""
    if not isinstance(envelope, Mapping) or set(envelope) != {"payload", "payloadType", "signatures"}:
        raise SignatureError("envelope: expected exactly payload, payloadType and signatures")
    if envelope["payloadType"] != payload_type:
        raise SignatureError(f"envelope: payloadType is {str(envelope['payloadType'])[:100]!r}, expected {payload_type!r}")
    signatures = envelope["signatures"]
    if not isinstance(signatures, list) or not 1 <= len(signatures) <= MAX_SIGNATURES:
        raise SignatureError(f"envelope: expected 1 to {MAX_SIGNATURES} signatures")
    for number, signature in enumerate(signatures, 1):
        if not isinstance(signature, Mapping) or set(signature) != {"keyid", "sig"} or not isinstance(signature["keyid"], str):
            raise SignatureError(f"envelope: signature {number} should have exactly keyid and sig")
    return _decode(envelope["payload"], "payload")


def verify_envelope(
    envelope: Any,
    trusted: "TrustedKeys",
    threshold: int,
    signed_at: datetime,
    *,
    role: str | None = None,
    payload_type: str = STATEMENT_TYPE,
) -> "tuple[TrustedKey, ...]":
    """The trusted keys, each public key once, that have signed the envelope and were allowed to at `signed_at` (aware).

    A signature must name its key by the id that follows from the public key: then one key under two ids is one, and no byte of an
    envelope is free to change.
    SignatureError, with every reason, where fewer than `threshold` of them did.
    """
    if threshold < 1:
        raise ValueError(f"a threshold of {threshold} would accept what nobody signed")
    message = pae(payload_type, envelope_payload(envelope, payload_type))
    accepted: dict[str, TrustedKey] = {}
    reasons = []
    for signature in envelope["signatures"]:
        name, data = signature["keyid"], _decode(signature["sig"], "sig")
        named = [key for key in trusted.keys if key.keyid == name]
        makers = [key for key in named if _verifies(key.public, data, message)]
        if not makers:
            reasons.append(f"signature of key {name[:16]!r} " + ("does not verify" if named else "is by no trusted key"))
        against = [key.reason_against(signed_at, role) for key in makers]
        if makers and None in against:
            maker = makers[against.index(None)]
            accepted[maker.keyid] = maker
        else:
            reasons += [reason for reason in against if reason]
    if len(accepted) < threshold:
        detail = "; ".join(reasons) or "no other signature"
        raise SignatureError(f"envelope: {len(accepted)} of {threshold} needed trusted keys have signed: {detail}")
    return tuple(accepted[name] for name in sorted(accepted))


def _verifies(public: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        public.verify(signature, message)
    except InvalidSignature:
        return False
    return True
