"""Ed25519 keys: which one signs on this machine, and whose signatures count.

The envelope around what is signed is dsse.py's, the journal position up to which a key counts position.py's.
"""

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mc_pipelines.disk import writing
from mc_pipelines.durable import create
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.canonical import canonical, instant, parse, parse_instant
from mc_pipelines.evidence.dsse import SignatureError, envelope_payload, sign, verify_envelope

TRUSTED_TYPE = "application/vnd.mc-pipelines.trusted-keys+json"
DEVELOPMENT = "development"  # the role of a key that nobody vouches for
DEVELOPMENT_PUBLIC = "development.pub.pem"


@dataclass(frozen=True)
class TrustedKey:
    """A public key, what it may sign (no roles: anything), and from when (inclusive) until when (exclusive); None is unbounded."""

    public: Ed25519PublicKey
    roles: frozenset[str] = frozenset()
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    @property
    def keyid(self) -> str:
        return keyid(self.public)

    def reason_against(self, signed_at: datetime, role: str | None) -> str | None:
        """Why this key may not have signed then and for that role; None where it may."""
        if self.valid_from is not None and signed_at < self.valid_from:
            return f"key {self.keyid[:16]} is valid from {instant(self.valid_from)}, signed at {instant(signed_at)}"
        if self.valid_until is not None and signed_at >= self.valid_until:
            return f"key {self.keyid[:16]} was valid before {instant(self.valid_until)}, signed at {instant(signed_at)}"
        if role is not None and self.roles and role not in self.roles:
            return f"key {self.keyid[:16]} has no role {role!r}, only {', '.join(sorted(self.roles))}"
        return None


@dataclass(frozen=True)
class TrustedKeys:
    """The keys whose signatures count. One public key may stand here more than once, with other roles or dates; it still counts once."""

    keys: tuple[TrustedKey, ...]

    @classmethod
    def load(cls, path: Path, root: "TrustedKeys | None" = None) -> "TrustedKeys":
        """Read a trusted-keys file, plain or as a DSSE envelope, which must then be signed by `root`. MissionError names the fault."""
        try:
            return cls.read(parse(path.read_bytes(), limit=1 << 20), root)
        except (OSError, ValueError, SignatureError) as error:
            raise MissionError(f"{path}: {error}; it should be a trusted-keys file as docs/evidence.md shows it") from error

    @classmethod
    def read(cls, document: Any, root: "TrustedKeys | None" = None) -> "TrustedKeys":
        """The keys of a parsed document. A signed one needs a valid signature of `root`; where no root is given only its form is read."""
        if isinstance(document, dict) and "payloadType" in document:
            payload = envelope_payload(document, TRUSTED_TYPE)
            inner = parse(payload, limit=1 << 20)
            if root is not None:
                signed_at = inner.get("signedAt") if isinstance(inner, dict) else None
                verify_envelope(document, root, 1, parse_instant(str(signed_at)), payload_type=TRUSTED_TYPE)
            document = inner
        elif root is not None:
            raise ValueError("the file is not signed, but a root to verify it with was given")
        if not isinstance(document, dict) or not isinstance(document.get("keys"), list) or not document["keys"]:
            raise ValueError("no list 'keys' with at least one key")
        return cls(tuple(_trusted_key(entry, number) for number, entry in enumerate(document["keys"], 1)))

    def document(self) -> dict[str, Any]:
        """The JSON form that `read` takes."""
        return {
            "keys": [
                {
                    "public": public_pem(key.public),
                    "roles": sorted(key.roles),
                    "valid_from": key.valid_from and instant(key.valid_from),
                    "valid_until": key.valid_until and instant(key.valid_until),
                }
                for key in self.keys
            ]
        }

    def signed(self, signers: "Sequence[Signer]", signed_at: datetime) -> dict[str, Any]:
        """The same as an envelope, signed by the keys that vouch for these."""
        return sign(canonical(self.document() | {"signedAt": instant(signed_at)}), TRUSTED_TYPE, signers)


def _trusted_key(entry: Any, number: int) -> TrustedKey:
    allowed = {"public", "roles", "valid_from", "valid_until"}
    if not isinstance(entry, dict) or not {"public"} <= set(entry) <= allowed:
        raise ValueError(f"key {number}: expected an object with 'public' and at most {', '.join(sorted(allowed))}")
    roles = entry.get("roles") or []
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise ValueError(f"key {number}: 'roles' is a list of names, not {roles!r}")
    dates = [parse_instant(str(entry[name])) if entry.get(name) is not None else None for name in ("valid_from", "valid_until")]
    if dates[0] and dates[1] and dates[0] >= dates[1]:
        raise ValueError(f"key {number}: valid_from {entry['valid_from']} is not before valid_until {entry['valid_until']}")
    return TrustedKey(read_public(str(entry["public"]).encode(), f"key {number}"), frozenset(roles), dates[0], dates[1])


@dataclass(frozen=True)
class Signer:
    """A private key ready to sign. `known` are the keys this installation trusts, its own included."""

    private: Ed25519PrivateKey
    development: bool
    known: TrustedKeys

    @property
    def public(self) -> Ed25519PublicKey:
        return self.private.public_key()

    @property
    def keyid(self) -> str:
        return keyid(self.public)

    def trusted(self) -> TrustedKeys:
        """This key alone, as a trusted-keys list."""
        return TrustedKeys((TrustedKey(self.public, frozenset({DEVELOPMENT} if self.development else ())),))


def keyid(public: Ed25519PublicKey) -> str:
    """sha256 (hex) of the DER SubjectPublicKeyInfo: `openssl pkey -pubin -outform DER | sha256sum`."""
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def public_pem(public: Ed25519PublicKey) -> str:
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def read_public(pem: bytes, name: str) -> Ed25519PublicKey:
    """The key in a PEM (SubjectPublicKeyInfo). ValueError that begins with `name` for anything else."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{name}: no public key in PEM ({error})") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"{name}: {type(key).__name__} is no Ed25519 key")
    return key


def signer(keys_dir: Path) -> Signer:
    """The key that signs on this machine: MISSION_SIGNING_KEY (the path of a file, or the PEM itself), else a development key.

    A key file must have mode 0600. The development key is made once, on first use, in `keys_dir` (itself made with mode 0700). The public
    half of whatever signs is left there as a `.pub.pem`, so that evidence still verifies after another key has taken over.
    """
    with writing(keys_dir):
        keys_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    given = os.environ.get("MISSION_SIGNING_KEY", "")
    if given.lstrip().startswith("-----BEGIN"):
        private = _private(given.encode(), "MISSION_SIGNING_KEY")
    elif given:
        path = Path(given).expanduser()
        private = _private(read_secret(path), str(path))
    else:
        path = keys_dir / "development.pem"
        if not path.exists():
            _make_development_key(path)
        private = _private(read_secret(path), str(path))
    pem = public_pem(private.public_key()).encode()
    marked = keys_dir / DEVELOPMENT_PUBLIC
    if not given:
        create(marked, pem)
    development = marked.exists() and marked.read_bytes() == pem
    if not development:
        create(keys_dir / f"{keyid(private.public_key())[:16]}.pub.pem", pem)
    return Signer(private, development, known_keys(keys_dir) or TrustedKeys(()))


def known_keys(keys_dir: Path) -> TrustedKeys | None:
    """What this installation trusts: `trusted-keys.json` where somebody has written one, else every `*.pub.pem` beside it; None without."""
    declared = keys_dir / "trusted-keys.json"
    if declared.exists():
        return TrustedKeys.load(declared)
    try:
        found = [(path.name, read_public(path.read_bytes(), str(path))) for path in sorted(keys_dir.glob("*.pub.pem"))]
    except ValueError as error:
        raise MissionError(f"{error}; remove it, or put the public key back") from error
    keys = tuple(TrustedKey(public, frozenset({DEVELOPMENT} if name == DEVELOPMENT_PUBLIC else ())) for name, public in found)
    return TrustedKeys(keys) if keys else None


def _private(pem: bytes, name: str) -> Ed25519PrivateKey:
    load = serialization.load_ssh_private_key if b"OPENSSH" in pem[:64] else serialization.load_pem_private_key
    try:
        key = load(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MissionError(
            f"{name}: no readable private key without passphrase; make one with `openssl genpkey -algorithm ed25519`"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise MissionError(f"{name}: {type(key).__name__} is no Ed25519 key; make one with `openssl genpkey -algorithm ed25519`")
    return key


def read_secret(path: Path, remedy: str = "MISSION_SIGNING_KEY names the file of a private key, or holds its PEM") -> bytes:
    """The bytes of a file that nobody else may read. MissionError where its mode is not 0600; `remedy` says what else might be wrong."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or stat.S_IMODE(found.st_mode) != 0o600:
                mode = stat.S_IMODE(found.st_mode)
                raise MissionError(f"{path}: a private key must be a file of mode 0600, this has {mode:04o}; run `chmod 600 {path}`")
            return file.read(1 << 16)
    except OSError as error:
        raise MissionError(f"{path}: {error.strerror}; {remedy}") from error


def _make_development_key(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    create(path, pem, mode=0o600)
