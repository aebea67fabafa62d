"""An entry of the journal as it was read and verified. How it is read and added is journal.py's."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One entry as it was verified. `digest` is the sha256 (hex) of the file's exact bytes, `prev` that of the entry before it.

    `refused` says why it does not count (its key is revoked); empty where it does.
    """

    number: int
    kind: str
    body: Mapping[str, Any]
    signed_at: datetime
    prev: str
    digest: str
    keyids: tuple[str, ...]
    development: bool
    refused: str = ""
