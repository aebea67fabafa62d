"""Revoked keys: a journal entry names the last entry up to which a key counts, and trust follows the place, never the signed time.

A stolen key can sign any time it likes, but not into the middle of a chain. What a key signed up to that place still counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mc_pipelines.evidence.checkpoint import Head

if TYPE_CHECKING:
    from mc_pipelines.evidence.entry import Entry

REVOKED = "key.revoked"


@dataclass(frozen=True)
class Limit:
    """Up to which entry (inclusive; 0: none) a revoked key counts, and which entry says so."""

    last: int
    entry: int

    def reason_against(self, keyid: str, number: int) -> str | None:
        """Why what that key signed at that place does not count; None where it does."""
        if number <= self.last:
            return None
        return f"key {keyid[:16]} is revoked by entry {self.entry}, its last valid entry is {self.last}, this is at {number}"


def limits(entries: "Sequence[Entry]") -> dict[str, Limit]:
    """The limit of every revoked key, from all entries in order; the earliest place stands where a key is revoked twice.

    A revocation signed by a key beyond its own limit, or by the key that it revokes, is void. ValueError for one that names no place.
    """
    found: dict[str, Limit] = {}
    for entry in entries:
        if entry.kind != REVOKED or _against(found, entry) or entry.body.get("keyid") in entry.keyids:
            continue
        try:
            head = Head.read(entry.body.get("last_valid"))
        except ValueError as error:
            raise ValueError(f"entry {entry.number} revokes a key and names no last valid entry: {error}") from error
        fault = head.fault(entries[: entry.number - 1])
        if fault:
            raise ValueError(f"entry {entry.number} revokes a key: {fault}")
        keyid = str(entry.body.get("keyid"))
        if keyid not in found or head.number < found[keyid].last:
            found[keyid] = Limit(head.number, entry.number)
    return found


def _against(known: Mapping[str, Limit], entry: "Entry") -> str:
    reasons = [known[keyid].reason_against(keyid, entry.number) for keyid in entry.keyids if keyid in known]
    return "; ".join(reason for reason in reasons if reason)


def judged(entries: "Sequence[Entry]") -> "list[Entry]":
    """All entries, each with the reason why it does not count, if there is one."""
    known = limits(entries)
    own = {
        entry.number: "a key cannot revoke itself" for entry in entries if entry.kind == REVOKED and entry.body.get("keyid") in entry.keyids
    }
    return [replace(entry, refused=_against(known, entry) or own.get(entry.number, "")) for entry in entries]
