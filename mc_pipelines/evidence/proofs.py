"""Rows of a close that can be proven one by one: the leaves beside the rows, and a small file that proves one row without the others.

Hashing is merkle.py's. A proof carries the journal entry that names the bundle: it is signed, and tells of no other row.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.bundle import PROVENANCE
from mc_pipelines.evidence.canonical import parse, sha256
from mc_pipelines.evidence.merkle import Tree, leaf_hash, root_of, verify_inclusion

if TYPE_CHECKING:
    from mc_pipelines.evidence.journal import Journal

PROVEN = ("metering.usage_period", "metering.invoice_lines")
"""The tables whose rows a bundle can prove one by one: what a bill is made from, and its lines."""
MAX_ROWS = 10_000_000
MAX_ROW_BYTES = 1 << 20
MAX_PROOF_BYTES = 4 << 20
PROOF = {"table", "row", "index", "path", "entry"}


def rows_file(table: str) -> str:
    """Where the canonical rows of a table stand in a bundle, under data/: one JSON array a line."""
    return f"tables/{table}.jsonl"


def leaves_file(table: str) -> str:
    """Where the leaf hashes stand: one in hex a line, in the order of the rows."""
    return f"leaves/{table}.txt"


def leaves_of(rows: bytes) -> list[bytes]:
    """The leaf hash of every row, from a file of canonical rows; a record is its line without the line end."""
    return [leaf_hash(line) for line in rows.split(b"\n")[:-1]]


def leaf_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The leaves file of every provable table among the payload files."""
    return {
        leaves_file(table): b"".join(leaf.hex().encode() + b"\n" for leaf in leaves_of(files[rows_file(table)]))
        for table in PROVEN
        if rows_file(table) in files
    }


def roots(files: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    """Size and root (hex; None without rows) of every provable table among the payload files."""
    found = {}
    for table in PROVEN:
        if rows_file(table) in files:
            size, root = root_of(leaves_of(files[rows_file(table)]))
            found[table] = {"size": size, "root": root.hex() if root else None}
    return found


def leaf_faults(claims: Any, opened: Callable[[str], BinaryIO | None]) -> list[str]:
    """Why the leaves of a bundle are not those of its rows, or not under the signed roots; empty where they are.

    `claims` is what the predicate says (any JSON), `opened` gives a payload file by its path under data/, None where there is none.
    """
    if not isinstance(claims, Mapping):
        return ["the predicate's Merkle roots are no object"]
    return [fault for table, claim in claims.items() if (fault := _fault(str(table), claim, opened))]


def _fault(table: str, claim: Any, opened: Callable[[str], BinaryIO | None]) -> str | None:
    with ExitStack() as files:
        found = []
        for name in (rows_file(table), leaves_file(table)):
            file = opened(name)
            if file is None:
                return f"data/{name}: missing, though the predicate has its Merkle root"
            found.append(files.enter_context(file))
        try:
            size, root = root_of(_compared(table, *found))
        except ValueError as error:
            return str(error)
    if claim != {"size": size, "root": root.hex() if root else None}:
        return f"data/{leaves_file(table)}: {size} leaves with root {root.hex()[:16] if root else None}, the predicate says otherwise"
    return None


def _compared(table: str, rows: BinaryIO, leaves: BinaryIO) -> Iterator[bytes]:
    """The leaf of every row, each as the leaves file has it. ValueError names the first that differs."""
    number = 0
    while line := rows.readline(MAX_ROW_BYTES):
        number += 1
        if not line.endswith(b"\n") or number > MAX_ROWS:
            raise ValueError(f"data/{rows_file(table)}:{number}: a row of more than {MAX_ROW_BYTES} bytes, or more than {MAX_ROWS} rows")
        leaf = leaf_hash(line[:-1])
        if leaves.readline(MAX_ROW_BYTES) != leaf.hex().encode() + b"\n":
            raise ValueError(f"data/{leaves_file(table)}:{number}: not the hash of that row of data/{rows_file(table)}")
        yield leaf
    if leaves.readline(1):
        raise ValueError(f"data/{leaves_file(table)}:{number + 1}: more leaves than data/{rows_file(table)} has rows")


def prove(bundle: Path, table: str, number: int, journal: "Journal") -> dict[str, Any]:
    """The proof of row `number` (1 is the first line) of a verified bundle's table. MissionError where there is no such row or entry."""
    path = bundle / "data" / rows_file(table)
    if table not in PROVEN or not path.is_file():
        raise MissionError(f"{path}: {table} has no leaves in this bundle; rows are proven of {', '.join(PROVEN)}")
    lines = path.read_bytes().split(b"\n")[:-1]
    if not 1 <= number <= len(lines):
        raise MissionError(f"{path}: there is no row {number}, the file has {len(lines)}; the first line is row 1")
    envelope = sha256((bundle / PROVENANCE).read_bytes())
    entry = next((each for each in journal.entries() if each.body.get("envelope") == envelope and "merkle" in each.body), None)
    if entry is None:
        raise MissionError(f"{bundle}: no entry of {journal.path} names this bundle with its roots; prove rows where its journal is")
    tree = Tree.over([leaf_hash(line) for line in lines])
    return {
        "table": table,
        "row": lines[number - 1].decode(),
        "index": number - 1,
        "path": [node.hex() for node in tree.proof(number - 1)],
        "entry": parse(journal.file(entry.number).read_bytes(), limit=MAX_PROOF_BYTES),
    }


def included(proof: Mapping[str, Any], body: Mapping[str, Any]) -> str | None:
    """Why the row is not under the root that the journal entry's `body` names; None where it is. ValueError where it is no proof at all."""
    claim = body["merkle"].get(proof["table"]) if isinstance(body.get("merkle"), Mapping) else None
    if not isinstance(claim, Mapping) or type(claim.get("size")) is not int or not isinstance(claim.get("root"), str):
        return f"the journal entry names no root of {str(proof['table'])[:80]!r}"
    if type(proof["index"]) is not int or not isinstance(proof["row"], str) or not isinstance(proof["path"], list):
        raise ValueError("row is a text, index a number, path a list of hashes")
    path = [bytes.fromhex(str(node)) for node in proof["path"]]
    if verify_inclusion(leaf_hash(proof["row"].encode()), proof["index"], claim["size"], path, bytes.fromhex(claim["root"])):
        return None
    return f"the row is not record {proof['index']} of the {claim['size']} under the signed root {claim['root'][:16]}"
