"""Fields that a contract classes as personal: hashed with a key in accepted rows, withheld from what the quarantine shows of a refused one.

The hash is HMAC-SHA-256 (RFC 2104) in hex. SQL names the key by variables, so that no query holds it. Which fields may be personal is
decided in `contracts.py`.
"""

import json
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mc_pipelines.contracts import Contract, Field, literal
from mc_pipelines.disk import writing
from mc_pipelines.durable import create
from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home

if TYPE_CHECKING:
    import duckdb

WITHHELD = "[withheld: personal]"
UNREADABLE = f"{WITHHELD} the row could not be read, so nobody can tell where in it personal fields stand"
BLOCK, BYTES = 64, 32
"""Bytes of a block of SHA-256, and of the key."""
REMEDY = "MISSION_PERSONAL_KEY names a file of mode 0600 with 64 hex digits, or holds them; make them with `openssl rand -hex 32`"


def key(home: Home, make: bool = True) -> bytes:
    """The 32 bytes that MISSION_PERSONAL_KEY gives, else those of `keys/personal.key`, made on first use.

    Without `make` nothing is written: where there is no key yet, it is one for this call alone.
    """
    given = os.environ.get("MISSION_PERSONAL_KEY", "").strip()
    path = Path(given).expanduser() if given else home.keys / "personal.key"
    if _is_key(given):
        return bytes.fromhex(given)
    if not given and not path.exists():
        if not make:
            return secrets.token_bytes(BYTES)
        with writing(home.keys):
            home.keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        create(path, f"{secrets.token_hex(BYTES)}\n".encode(), mode=0o600)
    from mc_pipelines.evidence.signing import read_secret

    found = read_secret(path, REMEDY).decode("utf-8", "replace").strip()
    if not _is_key(found):
        raise MissionError(f"{path}: no key of 64 hex digits; {REMEDY}")
    return bytes.fromhex(found)


def _is_key(text: str) -> bool:
    return re.fullmatch(rf"[0-9a-fA-F]{{{2 * BYTES}}}", text) is not None


def bind(con: "duckdb.DuckDBPyConnection", contract: Contract, home: Home, make: bool = True) -> None:
    """Give a connection the key that `hashed` reads, where the contract has personal fields."""
    if contract.personal:
        padded = key(home, make).ljust(BLOCK, b"\0")
        con.execute("SET VARIABLE personal_inner = $1", [bytes(byte ^ 0x36 for byte in padded)])
        con.execute("SET VARIABLE personal_outer = $1", [bytes(byte ^ 0x5C for byte in padded)])


def hashed(text: str) -> str:
    """SQL: the keyed hash of a text, NULL of NULL; an error on a connection that was given no key."""
    outer = "coalesce(getvariable('personal_outer'), error('no key for personal fields'))"
    return f"CASE WHEN {text} IS NOT NULL THEN sha256({outer} || unhex(sha256(getvariable('personal_inner') || encode({text})))) END"


def redacted(contract: Contract, row: str) -> str:
    """SQL: a row's JSON text with its personal fields withheld, nested and flat ones; NULL of NULL."""
    places = [keys for field in contract.personal for keys in _places(field)]
    patches = "".join(f", {_patch(row, keys)}" for keys in places)
    return f"CASE WHEN {row} IS NOT NULL THEN CAST(json_merge_patch({row}{patches}) AS VARCHAR) END" if places else row


def _places(field: Field) -> list[list[str]]:
    nested = field.path.split(".")
    return [nested] if len(nested) == 1 else [nested, [field.path]]


def _patch(row: str, keys: Sequence[str]) -> str:
    """SQL: the merge patch (RFC 7386) that withholds what stands under these keys, an empty one where nothing does."""
    path = "$." + ".".join(f'"{key}"' for key in keys)
    patch: object = WITHHELD
    for name in reversed(keys):
        patch = {name: patch}
    return f"CASE WHEN json_exists({row}, {literal(path)}) THEN {literal(json.dumps(patch))} ELSE '{{}}' END"
