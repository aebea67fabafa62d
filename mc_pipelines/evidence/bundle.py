"""A bundle: one folder with a deliverable's files and the signed statement of how they came to be, as a BagIt bag (RFC 8493).

Layout and building belong here; judging one that came from elsewhere is verify.py's, naming one as valid is the journal's.
The tag files are written here rather than by bagit.make_bag, which moves files about, stamps the day and changes the process's
working directory; every byte of a bundle follows from its payload and its envelope. bagit judges the result (verify.py, tests).
"""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mc_pipelines.disk import writing
from mc_pipelines.durable import sync_folder, write
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.canonical import canonical, instant, sha256
from mc_pipelines.evidence.dsse import sign_statement
from mc_pipelines.evidence.signing import Signer

PREDICATE_TYPE = "tag:mc-pipelines,2026:evidence/v1"
STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "provenance.intoto.jsonl"
TRUSTED = "trusted-keys.json"
BAGIT_TXT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
TAG_FILES = ("bag-info.txt", "bagit.txt", "manifest-sha256.txt", PROVENANCE, TRUSTED)
MAX_DEPTH = 8
# Names that mean the same on every system, and need no escaping in a manifest: no blanks, no leading dot or tilde, no %.
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=@+-]{0,199}")
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


@dataclass(frozen=True)
class Bundle:
    """A complete bundle on disk. `digest` is the payload's, `envelope` the sha256 of the provenance file; `made` is false if it stood."""

    path: Path
    digest: str
    envelope: str
    made: bool


def name_fault(name: str) -> str | None:
    """Why a relative path cannot stand in a bundle; None where it can."""
    segments = name.split("/")
    if len(segments) > MAX_DEPTH:
        return f"deeper than {MAX_DEPTH} folders"
    for segment in segments:
        if not _SEGMENT.fullmatch(segment) or segment.endswith(".") or _DEVICE.fullmatch(segment):
            return f"{segment[:80]!r} is no portable file name (letters, digits, . _ = @ + -, not first a dot)"
    return None


def manifest(digests: Mapping[str, str]) -> bytes:
    """Manifest lines `<sha256>  <path>` in the order of their paths. For a payload, its sha256 is the digest of the bundle."""
    return "".join(f"{digests[path]}  {path}\n" for path in sorted(digests)).encode()


def payload_digest(digests: Mapping[str, str]) -> str:
    """sha256 (hex) over the sorted paths (with data/) and sha256s of a payload: `sha256sum manifest-sha256.txt`."""
    return sha256(manifest(digests))


def payload_file(bundle: Path, digest: str, path: str, absent: bytes | None = None) -> bytes:
    """A file under data/ of the bundle whose payload has this digest; `absent`, if given, where the payload never had it.

    MissionError where manifest or file is not what was signed.
    """
    name, listed = f"data/{path}", bundle / "manifest-sha256.txt"
    try:
        manifested = listed.read_bytes()
        if absent is not None and sha256(manifested) == digest and f"  {name}\n".encode() not in manifested:
            return absent
        found = (bundle / name).read_bytes()
    except OSError as error:
        raise MissionError(f"{error.filename}: {error.strerror}; restore the bundle from a copy") from error
    if sha256(manifested) != digest or f"{sha256(found)}  {name}\n".encode() not in manifested:
        raise MissionError(f"{bundle / name}: not the file that was signed; restore the bundle from a copy")
    return found


def payload_files(bundle: Path, digest: str) -> dict[str, bytes]:
    """Every file under data/ of the bundle whose payload has this digest, by its path there. MissionError as `payload_file`."""
    listed = bundle / "manifest-sha256.txt"
    try:
        manifested = listed.read_bytes()
        if sha256(manifested) != digest:
            raise MissionError(f"{listed}: not the file that was signed; restore the bundle from a copy")
        lines = [line.split("  ", 1) for line in manifested.decode().splitlines()]
        found = {name: (bundle / name).read_bytes() for _, name in lines}
    except OSError as error:
        raise MissionError(f"{error.filename}: {error.strerror}; restore the bundle from a copy") from error
    for expected, name in lines:
        if sha256(found[name]) != expected:
            raise MissionError(f"{bundle / name}: not the file that was signed; restore the bundle from a copy")
    return {name.removeprefix("data/"): data for name, data in found.items()}


def bag_info(size: int, count: int) -> bytes:
    """bag-info.txt: what follows from the payload and nothing else. `size` in bytes."""
    return f"Bag-Software-Agent: mc-pipelines\nPayload-Oxum: {size}.{count}\n".encode()


def tag_files(digests: Mapping[str, str], size: int, provenance: bytes, trusted: bytes) -> dict[str, bytes]:
    """All files of a bundle outside data/, by name, as they must be for this payload, envelope and key list."""
    tags = {
        "bag-info.txt": bag_info(size, len(digests)),
        "bagit.txt": BAGIT_TXT,
        "manifest-sha256.txt": manifest(digests),
        PROVENANCE: provenance,
        TRUSTED: trusted,
    }
    return tags | {"tagmanifest-sha256.txt": manifest({name: sha256(data) for name, data in tags.items()})}


def build(
    folder_parent: Path,
    name: str,
    files: Mapping[str, bytes],
    predicate: Mapping[str, Any],
    signer: Signer,
    *,
    predicate_type: str = PREDICATE_TYPE,
    signed_at: datetime | None = None,
) -> Bundle:
    """Make `folder_parent/name` whole, or leave it absent; the caller's journal entry that names it is what makes it count.

    `files` are payload bytes by relative path (without data/); `predicate` is canonical JSON's types and gets one more key, `signing`.
    Where the folder is there already and holds the same payload, it is returned as it stands; MissionError where it holds another.
    """
    payload = {f"data/{path}": data for path, data in files.items()}
    _check_names(name, payload)
    digests = {path: sha256(data) for path, data in payload.items()}
    target = folder_parent / name
    with writing(folder_parent), _alone(folder_parent):
        if target.exists():
            return _standing(target, payload, digests)
        trusted = canonical(signer.trusted().document()) + b"\n"
        signing = {
            "signedAt": instant(signed_at or datetime.now(UTC)),
            "development": signer.development,
            "keyids": [signer.keyid],
            "trustedKeys": sha256(trusted),  # so that no file of a bundle is outside the signature
        }
        statement = {
            "_type": STATEMENT,
            "subject": [{"name": path, "digest": {"sha256": digests[path]}} for path in sorted(digests)],
            "predicateType": predicate_type,
            "predicate": {**predicate, "signing": signing},
        }
        provenance = canonical(sign_statement(statement, [signer])) + b"\n"
        tags = tag_files(digests, sum(map(len, payload.values())), provenance, trusted)
        _place(target, {**payload, **tags})
    return Bundle(target, payload_digest(digests), sha256(provenance), made=True)


def _check_names(name: str, payload: Mapping[str, bytes]) -> None:
    if not payload:
        raise MissionError(f"bundle {name}: no files; a bundle shows at least one")
    for path in (name, *payload):
        fault = name_fault(path) or ("a bundle's name is one segment" if path == name and "/" in name else None)
        if fault:
            raise MissionError(f"bundle {name}: {path}: {fault}; give another name")
    folded: dict[str, str] = {}
    for path in sorted(payload):
        other = folded.setdefault(path.lower(), path)
        if other != path:
            raise MissionError(f"bundle {name}: {other} and {path} are one file where case does not count; rename one")


@contextmanager
def _alone(parent: Path) -> Iterator[None]:
    """One builder at a time in a folder. The lock is on the folder itself and ends with the process, so no lock file can be left."""
    parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _place(target: Path, files: Mapping[str, bytes]) -> None:
    """Write all files beside the target, on disk, then give the folder its name in one step."""
    for left in target.parent.glob(f".{target.name}.building-*"):  # by a builder that was killed: we alone hold the lock
        shutil.rmtree(left)
    made = Path(tempfile.mkdtemp(prefix=f".{target.name}.building-", dir=target.parent))
    try:
        folders = {made}
        for path, data in files.items():
            file = made / path
            file.parent.mkdir(parents=True, exist_ok=True)
            write(file, data)
            folders.update(parent for parent in file.parents if parent.is_relative_to(made))
        made.chmod(0o755)  # mkdtemp's 0700 would keep readers out
        for folder in sorted(folders, reverse=True):
            sync_folder(folder)
        made.rename(target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _standing(target: Path, payload: Mapping[str, bytes], digests: Mapping[str, str]) -> Bundle:
    """The bundle that is there, provided that every byte of it is what this payload and its own envelope ask for."""
    try:
        provenance, trusted = (target / PROVENANCE).read_bytes(), (target / TRUSTED).read_bytes()
    except OSError as error:
        raise MissionError(f"{target}: exists and is no bundle ({error}); move it elsewhere") from error
    expected = {**payload, **tag_files(digests, sum(map(len, payload.values())), provenance, trusted)}
    found = {path.relative_to(target).as_posix() for path in target.rglob("*") if not path.is_dir()}
    other = sorted(path for path in found | set(expected) if path not in found or (target / path).read_bytes() != expected.get(path))
    if other:
        raise MissionError(f"{target}: exists with another content ({other[0]} differs); evidence is never overwritten, give a new edition")
    return Bundle(target, payload_digest(digests), sha256(provenance), made=False)
