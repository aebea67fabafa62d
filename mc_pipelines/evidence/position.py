"""A bundle's place in a journal: which entry names it, whether its keys counted there, and that the journal is still the one it saw."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.canonical import canonical, parse, parse_instant, sha256
from mc_pipelines.evidence.checkpoint import Head
from mc_pipelines.evidence.dsse import envelope_payload, verify_envelope
from mc_pipelines.evidence.entry import Entry
from mc_pipelines.evidence.journal import ENTRY_TYPE, Journal
from mc_pipelines.evidence.proofs import MAX_PROOF_BYTES, PROOF, included
from mc_pipelines.evidence.revocation import limits
from mc_pipelines.evidence.signing import TrustedKeys, known_keys

if TYPE_CHECKING:
    from mc_pipelines.home import Home


def journal_at_hand(home: "Home", folder: Path | None = None, trusted: TrustedKeys | None = None) -> Journal | None:
    """The journal in `folder` (default: the home's own; None where it has none), read with the trusted and the home's keys."""
    path = folder or home.journal
    if not path.is_dir():
        if folder is not None:
            raise MissionError(f"{folder}: no such folder; a journal is a folder with 00000001.json")
        return None
    keys = [key for known in (trusted, known_keys(home.keys)) if known is not None for key in known.keys]
    if not keys:
        raise MissionError(f"{path}: no keys to read this journal with; restore {home.keys}, or name trusted keys with --trusted")
    return Journal(path, trusted=TrustedKeys(tuple(keys)))


def judge_place(journal: Journal, checked: dict[str, Any], predicate: Mapping[str, Any], reasons: list[str], warnings: list[str]) -> None:
    """Add to `reasons` what speaks against a bundle's place. `checked` brings its envelope, key ids and threshold.

    A bundle by a key that never signed in this journal may belong to another one: then there is a warning only.
    """
    try:
        chain = journal.chain()
        known = limits(chain)
    except (MissionError, ValueError) as error:
        reasons.append(f"journal: {error}")
        return
    naming = [entry for entry in chain if entry.body.get("envelope") == checked["envelope"]]
    named = next((entry for entry in naming if not entry.refused), None)
    ours = bool({keyid for entry in chain for keyid in entry.keyids} & set(checked["keyids"]))
    against = {
        keyid: known[keyid].reason_against(keyid, named.number if named else len(chain) + 1)
        for keyid in checked["keyids"]
        if keyid in known
    }
    counted = [keyid for keyid in checked["keyids"] if not against.get(keyid)]
    if len(counted) < checked["threshold"]:
        reasons += [reason for reason in against.values() if reason]
    checked |= {"journal": str(journal.path), "entry": named.number if named else None}
    if named is None:
        text = f"no entry of {journal.path} names this bundle" + (f" and counts: {naming[0].refused}" if naming else "")
        if ours:
            reasons.append(f"{text}; a bundle counts once an entry does")
        else:
            warnings.append(f"{text}; its key never signed there, so it may belong to another journal (name it with --journal)")
    elif "checkpoint" in predicate:
        reasons += _order(predicate["checkpoint"], named, chain)


def _order(found: Any, named: Entry, chain: list[Entry]) -> list[str]:
    """The head that the bundle saw when it was signed is in this journal, and before the entry that names it."""
    try:
        head = Head.read(found)
    except ValueError as error:
        return [f"the predicate's checkpoint: {error}"]
    fault = head.fault(chain) or (
        f"it names entry {head.number}, which is not before {named.number}" if head.number >= named.number else None
    )
    return [f"the predicate's checkpoint: {fault}"] if fault else []


def verify_proof(path: Path, trusted: TrustedKeys, journal: Journal | None) -> tuple[dict[str, Any], list[str], list[str]]:
    """What a proof file shows (row, table, entry, bundle), the reasons against it, and warnings. MissionError where it cannot be read."""
    reasons: list[str] = []
    warnings: list[str] = []
    try:
        if path.stat().st_size > MAX_PROOF_BYTES:
            raise ValueError(f"larger than the {MAX_PROOF_BYTES} bytes allowed")
        proof = parse(path.read_bytes(), limit=MAX_PROOF_BYTES)
    except (OSError, ValueError) as error:
        raise MissionError(f"{path}: {error}; it should be a file that `mission prove` wrote") from error
    shown: dict[str, Any] = {"proof": str(path)}
    try:
        if not isinstance(proof, dict) or set(proof) != PROOF:
            raise ValueError(f"a proof has exactly {', '.join(sorted(PROOF))}")
        payload = parse(envelope_payload(proof["entry"], ENTRY_TYPE), limit=MAX_PROOF_BYTES)
        if not isinstance(payload, dict) or not isinstance(payload.get("body"), dict):
            raise ValueError("the journal entry has no body")
        keys = verify_envelope(proof["entry"], trusted, 1, parse_instant(str(payload.get("signedAt"))), payload_type=ENTRY_TYPE)
        reasons += [fault] if (fault := included(proof, payload["body"])) else []
        shown |= {key: proof[key] for key in ("table", "row", "index")} | {
            "entry": payload["number"],
            "bundle": payload["body"].get("bundle"),
        }
        _entry_place(proof["entry"], payload, {key.keyid for key in keys}, journal, reasons, warnings)
    except (ValueError, KeyError, MissionError) as error:
        reasons.append(str(error))
    return shown, reasons, warnings


def _entry_place(
    envelope: Any, payload: Mapping[str, Any], keyids: set[str], journal: Journal | None, reasons: list[str], warnings: list[str]
) -> None:
    """The entry that a proof carries stands in the journal and counts; without a journal only its signature was looked at."""
    digest = sha256(canonical(envelope) + b"\n")
    chain = journal.chain() if journal is not None else []
    found = next((entry for entry in chain if entry.digest == digest), None)
    if found is not None:
        reasons += [found.refused] if found.refused else []
    elif any(keyids & set(entry.keyids) for entry in chain):
        reasons.append(f"entry {payload.get('number')} does not stand in the journal as the proof has it")
    else:
        warnings.append("no journal at hand has this entry: the signature was verified, not its place; ask for the journal's checkpoint")
