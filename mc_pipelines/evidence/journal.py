"""What must happen exactly once, or be remembered for ever: numbered, hash-chained, signed files that are only ever added to.

Reading, checking and adding entries belong here. What a kind of entry means, and which transition is allowed, is the caller's fold;
only that of a revoked key is known here (revocation.py), because entries beyond its limit do not count.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mc_pipelines.disk import writing
from mc_pipelines.durable import create
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.canonical import canonical, instant, parse, parse_instant, sha256
from mc_pipelines.evidence.checkpoint import FILE, GENESIS, Head, read_checkpoint, write_checkpoint
from mc_pipelines.evidence.dsse import envelope_payload, sign, verify_envelope
from mc_pipelines.evidence.entry import Entry
from mc_pipelines.evidence.revocation import REVOKED, judged, limits
from mc_pipelines.evidence.signing import Signer, TrustedKeys
from mc_pipelines.faults import reach

ENTRY_TYPE = "application/vnd.mc-pipelines.journal-entry+json"
FIELDS = {"number", "prev", "kind", "signedAt", "development", "body"}
MAX_BYTES = 16 << 20
_NAME = re.compile(r"\d{8}\.json")


class JournalError(MissionError):
    """The journal on disk is not what was written: the message names the file and what is wrong with it."""


class Journal:
    """The journal in folder `path`. `signer` signs what is added; `trusted` says whose entries count (default: what the signer knows)."""

    def __init__(self, path: Path, signer: Signer | None = None, trusted: TrustedKeys | None = None) -> None:
        if trusted is None:
            if signer is None:
                raise ValueError("a journal is read with trusted keys, or with a signer that knows some")
            trusted = signer.known
        self.path = path
        self.checkpoint = path.with_name(FILE)
        self.signer = signer
        self.trusted = trusted

    def chain(self) -> list[Entry]:
        """Every entry from the first on, chain, signatures and checkpoint verified, also those that no longer count.

        JournalError at the first that is not as it was written, or where the checkpoint knows of entries that are gone.
        """
        return self._judged(self._read_to_checkpoint())

    def entries(self) -> list[Entry]:
        """The entries that count, in order: the chain without what a revoked key signed beyond its last valid entry."""
        return [entry for entry in self.chain() if not entry.refused]

    def append(
        self,
        kind: str,
        body: Mapping[str, Any] | Callable[[list[Entry]], Mapping[str, Any]],
        validate: Callable[[list[Entry]], Entry | None],
        signed_at: datetime | None = None,
    ) -> Entry:
        """Add the next entry, once `validate` has seen all before it, and return it as it lies on disk.

        `validate` raises where the transition is not allowed, returns an entry where the same thing is already done (that one is then
        returned and nothing is added), else None. A `body` that depends on the entries is given as a function of them. Both see those
        that count. Where another process was first, both are asked again with its entry included. `signed_at` (UTC) defaults to the
        clock at signing. MissionError where the signer's key is revoked.
        """
        signer = self.signer
        if signer is None:
            raise ValueError("this journal was opened for reading; give it a signer")
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        found = self._read_to_checkpoint()
        while True:
            counted = [entry for entry in self._judged(found) if not entry.refused]
            if signer.keyid in limits(found):
                raise MissionError(f"key {signer.keyid[:16]} is revoked in {self.path}; set MISSION_SIGNING_KEY to the key that follows it")
            done = validate(list(counted))
            if done is not None:
                return done
            before = Head.of(found)
            mine = self._create(before, kind, body(list(counted)) if callable(body) else body, signer, signed_at or datetime.now(UTC))
            found = self._read(found)
            if mine:
                reach("journal.entry_written")
                self._seal(found[before.number], signer)
                return found[before.number]

    def _create(self, before: Head, kind: str, body: Mapping[str, Any], signer: Signer, signed_at: datetime) -> bool:
        """Sign and write the entry after `before`; False where another process was first."""
        number = before.number + 1
        payload = {
            "number": number,
            "prev": before.digest,
            "kind": kind,
            "signedAt": instant(signed_at),
            "development": signer.development,
            "body": body,
        }
        data = canonical(sign(canonical(payload), ENTRY_TYPE, [signer])) + b"\n"
        path = self.file(number)
        if len(data) > MAX_BYTES:
            raise MissionError(f"{path}: an entry of {len(data)} bytes is larger than {MAX_BYTES}; put the content in a bundle and name it")
        self._entry(path, data, number, before.digest)  # never write what could not be read back
        return create(path, data)

    def _seal(self, entry: Entry, signer: Signer) -> None:
        """Renew the checkpoint, unless another process has gone further meanwhile."""
        standing = read_checkpoint(self.checkpoint, self.trusted)
        if standing is None or standing.number < entry.number:
            write_checkpoint(self.checkpoint, Head.of([entry]), signer, entry.signed_at)

    def _judged(self, found: list[Entry]) -> list[Entry]:
        try:
            return judged(found)
        except ValueError as error:
            raise JournalError(f"{self.path}: {error}; restore the journal from a copy") from error

    def _read_to_checkpoint(self) -> list[Entry]:
        # The checkpoint first: an entry added meanwhile would else seem to be missing.
        try:
            head = read_checkpoint(self.checkpoint, self.trusted)
        except MissionError as error:
            raise JournalError(str(error)) from error
        found = self._read([])
        fault = head.fault(found) if head is not None else None
        if fault:
            raise JournalError(f"{self.path}: {self.checkpoint.name} says that {fault}; restore the journal from a copy")
        return found

    def file(self, number: int) -> Path:
        """Where entry `number` lies."""
        return self.path / f"{number:08d}.json"

    def _read(self, found: list[Entry]) -> list[Entry]:
        """`found` and all entries after it. Read one after the other: a listing may miss a file that appears meanwhile."""
        names = [path.name for path in self.path.iterdir() if not path.name.startswith(".")] if self.path.exists() else []
        for name in names:
            if not _NAME.fullmatch(name):
                raise JournalError(
                    f"{self.path / name}: no journal entry; entries are named 00000001.json and so on; move the file elsewhere"
                )
        found = list(found)
        while True:
            path = self.file(len(found) + 1)
            try:
                if path.is_symlink() or path.stat().st_size > MAX_BYTES:
                    raise JournalError(f"{path}: a link, or larger than {MAX_BYTES} bytes; no entry is; restore it from a copy")
                data = path.read_bytes()
            except FileNotFoundError:
                break
            found.append(self._entry(path, data, len(found) + 1, found[-1].digest if found else GENESIS))
        last = max(names, default="")
        if last > f"{len(found):08d}.json":
            raise JournalError(f"{path}: missing, though {last} is there; restore it from a copy")
        return found

    def _entry(self, path: Path, data: bytes, number: int, prev: str) -> Entry:
        """The verified entry in `data`."""
        try:
            envelope = parse(data, limit=MAX_BYTES)
            if canonical(envelope) + b"\n" != data:
                raise ValueError("the envelope is not in canonical JSON, so bytes were changed")
            payload = parse(envelope_payload(envelope, ENTRY_TYPE), limit=MAX_BYTES)
            if not isinstance(payload, dict) or set(payload) != FIELDS or not isinstance(payload["body"], dict):
                raise ValueError(f"the payload should have exactly {', '.join(sorted(FIELDS))}, body an object")
            if len(envelope["signatures"]) != 1:
                raise ValueError("an entry has exactly one signature")
            signed_at = parse_instant(str(payload["signedAt"]))
            keys = verify_envelope(envelope, self.trusted, 1, signed_at, payload_type=ENTRY_TYPE)
            if payload["number"] != number:
                raise ValueError(f"it says that it is number {payload['number']}")
            if payload["prev"] != prev:
                raise ValueError(f"it follows {str(payload['prev'])[:16]}, but the entry before it has the digest {prev[:16]}")
        except (ValueError, MissionError) as error:
            raise JournalError(f"{path}: {error}; if nothing on this disk was changed, its key is missing from the trusted keys") from error
        return Entry(
            number=number,
            kind=str(payload["kind"]),
            body=payload["body"],
            signed_at=signed_at,
            prev=prev,
            digest=sha256(data),
            keyids=tuple(key.keyid for key in keys),
            development=payload["development"] is True,
        )


def revoke(journal: Journal, keyid: str, last_valid: int, reason: str) -> Entry:
    """Write down that `keyid` counts up to entry `last_valid` (0: nowhere). The same again returns what stands.

    MissionError where there is no such entry, no such key, or the signer is the key itself.
    """
    if journal.signer is not None and journal.signer.keyid == keyid:
        raise MissionError(f"key {keyid[:16]} signs here and cannot revoke itself; set MISSION_SIGNING_KEY to the key that follows it")
    if keyid not in {key.keyid for key in journal.trusted.keys}:
        raise MissionError(f"key {keyid[:16]} is none that this journal knows; `mission keys` lists them")
    chain = journal.chain()
    if not 0 <= last_valid <= len(chain):
        raise MissionError(f"entry {last_valid} does not exist; the journal has entries 1 to {len(chain)}, and 0 means none")
    place = Head.of(chain[:last_valid]).document()
    return journal.append(
        REVOKED,
        {"keyid": keyid, "last_valid": place, "reason": reason},
        lambda entries: next(
            (each for each in entries if each.kind == REVOKED and (each.body["keyid"], each.body["last_valid"]) == (keyid, place)), None
        ),
    )
