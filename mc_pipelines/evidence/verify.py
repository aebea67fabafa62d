"""Judge a bundle that may come from anywhere: whole, as it was signed, and signed by keys that count.

Every refusal and its reason belong here. Nothing is unpacked, run or written, and no path outside the bundle is opened: links, special
files, odd names, too many, too deep and too large ones are refused before anything is read. Limits are those of MAX_*.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.bundle import MAX_DEPTH, PROVENANCE, TAG_FILES, TRUSTED, name_fault, payload_digest, tag_files
from mc_pipelines.evidence.canonical import canonical, parse, sha256
from mc_pipelines.evidence.dsse import STATEMENT_TYPE, envelope_payload, verify_envelope
from mc_pipelines.evidence.position import judge_place
from mc_pipelines.evidence.proofs import leaf_faults
from mc_pipelines.evidence.signing import DEVELOPMENT, TrustedKeys, known_keys
from mc_pipelines.evidence.statement import inequalities, read_statement
from mc_pipelines.home import Home

if TYPE_CHECKING:
    from mc_pipelines.evidence.journal import Journal

MAX_FILES = 100_000
MAX_FILE_BYTES = 2 << 30
MAX_BUNDLE_BYTES = 8 << 30
MAX_TAG_BYTES = 32 << 20
MAX_REASONS = 50
_TAGS = (*TAG_FILES, "tagmanifest-sha256.txt")
_LINE = re.compile(rb"([0-9a-f]{64})  ([^\r\n]+)")


@dataclass(frozen=True)
class Verdict:
    """`ok` holds exactly where there is no reason against. Warnings do not refuse; `checked` says what was looked at, in JSON's types."""

    ok: bool
    reasons: list[str]
    checked: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    predicate: Mapping[str, Any] = field(default_factory=dict)


class _RefusedError(Exception):
    """Reading on would not be safe, or would tell nothing more."""


@dataclass
class _Survey:
    """What lies in the folder: sha256 of each payload file, bytes of each tag file."""

    digests: dict[str, str] = field(default_factory=dict)
    tags: dict[str, bytes] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    size: int = 0


def verify(
    bundle: Path,
    trusted: Path | TrustedKeys | None,
    threshold: int = 1,
    *,
    role: str | None = None,
    journal: "Journal | None" = None,
) -> Verdict:
    """Whether `bundle` is complete and unchanged, and at least `threshold` distinct trusted keys (with `role`, if given) have signed it.

    With a journal at hand the bundle's place in it is judged too (position.py): keys count up to where they were revoked.

    `trusted` is a trusted-keys file or its content. None takes this installation's own keys, and where it has none, the key that the
    bundle itself brings, with the warning that it then vouches for itself. MissionError where the trusted-keys file cannot be read.
    """
    if isinstance(trusted, Path):
        trusted = TrustedKeys.load(trusted)
    reasons: list[str] = []
    warnings: list[str] = []
    checked: dict[str, Any] = {"bundle": str(bundle), "threshold": threshold}
    predicate: Mapping[str, Any] = {}
    try:
        survey = _survey(bundle, reasons)
        checked |= {"files": len(survey.digests), "bytes": survey.size, "digest": payload_digest(survey.digests)}
        _judge_bag(bundle, survey, reasons)
        keys, source = _trust(trusted, survey, warnings)
        checked |= {"trust": source, "envelope": sha256(survey.tags[PROVENANCE])}
        predicate = _judge_envelope(survey, keys, threshold, role, reasons, warnings, checked)
        if journal is not None:
            judge_place(journal, checked, predicate, reasons, warnings)
        if not reasons and "merkle" in predicate:
            reasons += leaf_faults(predicate["merkle"], lambda path: _payload(bundle, f"data/{path}", survey))
    except _RefusedError as refusal:
        if str(refusal):
            reasons.append(str(refusal))
    if len(reasons) > MAX_REASONS:
        reasons[MAX_REASONS:] = [f"and {len(reasons) - MAX_REASONS} more reasons"]
    return Verdict(ok=not reasons, reasons=reasons, checked=checked, warnings=warnings, predicate={} if reasons else predicate)


def _survey(bundle: Path, reasons: list[str]) -> _Survey:
    """Look at every name, then read every file. Raises where anything is unsafe, before the first byte is read."""
    if not bundle.is_dir():
        raise _RefusedError(f"{bundle}: no such folder; a bundle is a folder with bagit.txt and data/")
    survey = _Survey()
    names: list[str] = []
    for name, found in _names(bundle):
        fault = None if stat.S_ISDIR(found.st_mode) and name == "data" else name_fault(name.removeprefix("data/"))
        limit = MAX_FILE_BYTES if name.startswith("data/") else MAX_TAG_BYTES
        if stat.S_ISLNK(found.st_mode):
            reasons.append(f"{name!r}: a symbolic link; a bundle holds plain files only")
        elif fault:
            reasons.append(f"{name[:200]!r}: {fault}")
        elif stat.S_ISDIR(found.st_mode):
            survey.folders.add(name)
        elif not stat.S_ISREG(found.st_mode):
            reasons.append(f"{name!r}: a special file; a bundle holds plain files only")
        elif found.st_size > limit:
            reasons.append(f"{name!r}: {found.st_size} bytes, more than the {limit} allowed")
        else:
            names.append(name)
            survey.size += found.st_size if name.startswith("data/") else 0
        if survey.size > MAX_BUNDLE_BYTES:
            raise _RefusedError(f"more than {MAX_BUNDLE_BYTES} bytes of payload")
    strangers = sorted(name for name in names if not name.startswith("data/") and name not in _TAGS)
    reasons += [f"{name!r}: in neither manifest; a bundle holds nothing unsigned" for name in strangers]
    reasons += [f"{name}: missing" for name in _TAGS if name not in names]
    if reasons:
        raise _RefusedError
    for name in names:
        if name.startswith("data/"):
            survey.digests[name] = _digest(bundle / name)
        else:
            survey.tags[name] = _read(bundle / name)
    return survey


def _names(bundle: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every name below the bundle with what it is, links not followed."""
    count = 0
    for root, folders, files, handle in os.fwalk(bundle, follow_symlinks=False):
        relative = Path(root).relative_to(bundle)
        if len(relative.parts) > MAX_DEPTH + 1:
            raise _RefusedError(f"{relative.as_posix()[:200]!r}: deeper than {MAX_DEPTH + 1} folders")
        for name in sorted(folders + files):
            count += 1
            if count > MAX_FILES:
                raise _RefusedError(f"more than {MAX_FILES} files and folders")
            yield (relative / name).as_posix(), os.stat(name, dir_fd=handle, follow_symlinks=False)


def _open(path: Path) -> int:
    """Open a file that was plain a moment ago; a link or pipe put there meanwhile is neither followed nor waited for."""
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _RefusedError(f"{path.name!r}: cannot be read ({error.strerror})") from error


def _digest(path: Path) -> str:
    with open(_open(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _payload(bundle: Path, name: str, survey: _Survey) -> BinaryIO | None:
    """A payload file that was surveyed, for reading; None for any other name."""
    return open(_open(bundle / name), "rb") if name in survey.digests else None


def _read(path: Path) -> bytes:
    with open(_open(path), "rb") as file:
        return file.read(MAX_TAG_BYTES + 1)


def _judge_bag(bundle: Path, survey: _Survey, reasons: list[str]) -> None:
    """Both manifests say what is there, and every tag file is what the payload and the envelope ask for; bagit has the last word."""
    if not survey.digests:
        reasons.append("data/: empty; a bundle shows at least one file")
    parents = {parent.as_posix() for name in survey.digests for parent in Path(name).parents} - {"."}
    reasons += [f"{name!r}: an empty folder, which no manifest names" for name in sorted(survey.folders - parents)]
    tags = {name: sha256(data) for name, data in survey.tags.items() if name != "tagmanifest-sha256.txt"}
    _compare("manifest-sha256.txt", survey.tags["manifest-sha256.txt"], survey.digests, reasons)
    _compare("tagmanifest-sha256.txt", survey.tags["tagmanifest-sha256.txt"], tags, reasons)
    expected = tag_files(survey.digests, survey.size, survey.tags[PROVENANCE], survey.tags[TRUSTED])
    for name in ("bagit.txt", "bag-info.txt", "manifest-sha256.txt", "tagmanifest-sha256.txt"):
        if not reasons and survey.tags[name] != expected[name]:
            reasons.append(f"{name}: not what the payload asks for (its lines are fixed, so that nothing in a bundle is unsigned)")
    if reasons:
        return
    import bagit  # here: it brings argparse and multiprocessing with it

    try:
        bagit.Bag(str(bundle)).validate(processes=1, fast=False)
    except (bagit.BagError, OSError, ValueError) as error:
        reasons.append(f"bagit: {error}")


def _compare(name: str, text: bytes, digests: Mapping[str, str], reasons: list[str]) -> None:
    """A manifest's lines against what is there."""
    if not text.endswith(b"\n"):
        reasons.append(f"{name}: does not end with a line end")
    listed: dict[str, str] = {}
    for number, line in enumerate(text.removesuffix(b"\n").split(b"\n"), 1):
        match = _LINE.fullmatch(line)
        path = match[2].decode("utf-8", "replace") if match else ""
        fault = name_fault(path.removeprefix("data/") if name.startswith("manifest") else path)
        if match is None:
            reasons.append(f"{name}, line {number}: not '<sha256 in lower case>  <path>'")
        elif fault or (name.startswith("manifest") and not path.startswith("data/")):
            reasons.append(f"{name}, line {number}: path {path[:200]!r} {fault or 'is outside data/'}")
        elif path in listed:
            reasons.append(f"{name}, line {number}: {path!r} is listed twice")
        else:
            listed[path] = match[1].decode()
    for path in sorted(listed.keys() | digests.keys()):
        if path not in digests:
            reasons.append(f"{path!r}: listed in {name}, but missing")
        elif path not in listed:
            reasons.append(f"{path!r}: not listed in {name}")
        elif listed[path] != digests[path]:
            reasons.append(f"{path!r}: sha256 is {digests[path]}, {name} says {listed[path]}")


def _trust(given: TrustedKeys | None, survey: _Survey, warnings: list[str]) -> tuple[TrustedKeys, str]:
    """Whose signatures count, and where that was taken from."""
    if given is not None:
        return given, "given"
    home = Home.find().keys
    own = known_keys(home)
    if own is not None:
        if not (home / "trusted-keys.json").exists():
            warnings.append(
                f"checked with the public keys in {home}, which this machine made itself; for proof to others name a trusted-keys file"
            )
        return own, "home"
    warnings.append(
        f"self-attested: checked with the key that the bundle itself brings ({TRUSTED}), so anybody may have made it; name trusted keys"
    )
    try:
        return TrustedKeys.read(parse(survey.tags[TRUSTED], limit=1 << 20)), "self-attested"
    except (ValueError, MissionError) as error:
        raise _RefusedError(f"{TRUSTED}: {error}") from error


def _judge_envelope(
    survey: _Survey,
    keys: TrustedKeys,
    threshold: int,
    role: str | None,
    reasons: list[str],
    warnings: list[str],
    checked: dict[str, Any],
) -> Mapping[str, Any]:
    """The signed statement is about exactly these files. Returns its predicate; what it says counts only once there is no reason."""
    data = survey.tags[PROVENANCE]
    try:
        envelope = parse(data, limit=MAX_TAG_BYTES)
        if canonical(envelope) + b"\n" != data:
            raise ValueError("not one line of canonical JSON")
        statement = parse(envelope_payload(envelope, STATEMENT_TYPE), limit=MAX_TAG_BYTES)
        predicate, signed_at = read_statement(statement)
        accepted = verify_envelope(envelope, keys, threshold, signed_at, role=role)
        if [one["keyid"] for one in envelope["signatures"]] != predicate["signing"].get("keyids"):
            raise ValueError("the predicate names other signers than the envelope has")
        if predicate["signing"].get("trustedKeys") != sha256(survey.tags[TRUSTED]):
            raise ValueError(f"the predicate names another {TRUSTED} than the one beside it")
    except (ValueError, MissionError) as error:
        raise _RefusedError(f"{PROVENANCE}: {error}") from error
    reasons += inequalities(statement, survey.digests)
    development = predicate["signing"].get("development") is not False or any(DEVELOPMENT in key.roles for key in accepted)
    if development:
        warnings.append(
            "signed by a development key, which vouches for no person and no machine; set MISSION_SIGNING_KEY for one that does"
        )
    checked |= {
        "keyids": [key.keyid for key in accepted],
        "signed_at": predicate["signing"]["signedAt"],
        "development": development,
        "predicate_type": statement["predicateType"],
        "subjects": len(statement["subject"]),
    }
    return predicate
