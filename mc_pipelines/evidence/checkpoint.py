"""A checkpoint: the number and digest of the newest journal entry, signed. It orders all entries up to it, and shows when some were cut off.

The one beside a journal is a small file that each append renews; keep copies elsewhere, since who writes here can go back to an older one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mc_pipelines.durable import replace
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.canonical import canonical, instant, parse, parse_instant
from mc_pipelines.evidence.dsse import envelope_payload, sign, verify_envelope

if TYPE_CHECKING:
    from mc_pipelines.evidence.entry import Entry
    from mc_pipelines.evidence.signing import Signer, TrustedKeys

CHECKPOINT_TYPE = "application/vnd.mc-pipelines.checkpoint+json"
FILE = "checkpoint.json"
GENESIS = "0" * 64  # the digest of the entry before the first
FIELDS = {"number", "digest", "signedAt", "development"}


@dataclass(frozen=True)
class Head:
    """A place in a journal: the number of an entry (0: before the first) and the sha256 (hex) of its file."""

    number: int
    digest: str

    @classmethod
    def of(cls, entries: "Sequence[Entry]") -> "Head":
        """The newest of all entries."""
        return cls(entries[-1].number, entries[-1].digest) if entries else cls(0, GENESIS)

    @classmethod
    def read(cls, document: Any) -> "Head":
        """From its JSON form; other keys are left alone. ValueError for anything else."""
        number, digest = (document.get("number"), document.get("digest")) if isinstance(document, Mapping) else (None, None)
        if type(number) is not int or number < 0 or not isinstance(digest, str) or len(digest) != len(GENESIS):
            raise ValueError("a place in a journal is an object with a number from 0 and a sha256 digest")
        return cls(number, digest)

    def document(self) -> dict[str, Any]:
        """The JSON form that `read` takes."""
        return {"number": self.number, "digest": self.digest}

    def fault(self, entries: "Sequence[Entry]") -> str | None:
        """Why the journal with these entries (all of them, from the first) is not one that had this head; None where it is."""
        if self.number > len(entries):
            return f"entry {self.number} existed, but the journal ends with entry {len(entries)}: entries were cut off"
        found = entries[self.number - 1].digest if self.number else GENESIS
        if found != self.digest:
            return f"entry {self.number} had the digest {self.digest[:16]}, the journal's has {found[:16]}: it was written anew"
        return None


def read_checkpoint(path: Path, trusted: "TrustedKeys") -> Head | None:
    """The head that a checkpoint file vouches for, None without a file. MissionError where a trusted key has not signed it."""
    try:
        envelope = parse(path.read_bytes(), limit=1 << 16)
        payload = parse(envelope_payload(envelope, CHECKPOINT_TYPE), limit=1 << 16)
        if not isinstance(payload, dict) or set(payload) != FIELDS:
            raise ValueError(f"the payload should have exactly {', '.join(sorted(FIELDS))}")
        verify_envelope(envelope, trusted, 1, parse_instant(str(payload["signedAt"])), payload_type=CHECKPOINT_TYPE)
        return Head.read(payload)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, MissionError) as error:
        raise MissionError(f"{path}: {error}; restore the checkpoint from a copy") from error


def write_checkpoint(path: Path, head: Head, signer: "Signer", signed_at: datetime) -> None:
    """Sign `head` and put it into the file in one step."""
    payload = head.document() | {"signedAt": instant(signed_at), "development": signer.development}
    replace(path, canonical(sign(canonical(payload), CHECKPOINT_TYPE, [signer])) + b"\n")
