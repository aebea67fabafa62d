"""Merkle trees after RFC 6962 section 2.1: one record of many is proven with a small file.

Hashes and proofs belong here; which records a tree holds, and who signed its root, do not.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

HASH_BYTES = 32


def leaf_hash(record: bytes) -> bytes:
    """sha256(0x00 || record): the prefix keeps a leaf from passing for a node."""
    return hashlib.sha256(b"\x00" + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """sha256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True)
class Tree:
    """Every level, from the leaf hashes up to the one root. A last node without a partner rises unchanged, which gives RFC 6962's split."""

    levels: tuple[tuple[bytes, ...], ...]

    @classmethod
    def of(cls, records: Iterable[bytes]) -> "Tree":
        """The tree over record bytes in their given order. ValueError where there is none."""
        return cls.over([leaf_hash(record) for record in records])

    @classmethod
    def over(cls, leaves: Sequence[bytes]) -> "Tree":
        """The tree over leaf hashes, as a bundle stores them. ValueError where there is none, or one is not 32 bytes long."""
        if not leaves:
            raise ValueError("a tree over no record proves nothing; give at least one")
        for position, leaf in enumerate(leaves):
            _check(leaf, f"leaf {position}")
        levels = [tuple(leaves)]
        while len(levels[-1]) > 1:
            below = levels[-1]
            pairs = [node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)]
            levels.append((*pairs, below[-1]) if len(below) % 2 else tuple(pairs))
        return cls(tuple(levels))

    @property
    def size(self) -> int:
        return len(self.levels[0])

    @property
    def root(self) -> bytes:
        return self.levels[-1][0]

    def proof(self, index: int) -> list[bytes]:
        """The audit path of record `index` (0-based), from its sibling upwards. IndexError outside the tree."""
        if not 0 <= index < self.size:
            raise IndexError(f"record {index} is not in a tree of {self.size}")
        path = []
        for level in self.levels[:-1]:
            sibling = index ^ 1
            if sibling < len(level):
                path.append(level[sibling])
            index //= 2
        return path


def root_of(leaves: Iterable[bytes]) -> tuple[int, bytes | None]:
    """How many leaf hashes there are, and their root, in memory that grows with the logarithm of their number; None without any."""
    size, peaks = 0, list[tuple[int, bytes]]()
    for leaf in leaves:
        _check(leaf, f"leaf {size}")
        size, width, node = size + 1, 1, leaf
        while peaks and peaks[-1][0] == width:
            node = node_hash(peaks.pop()[1], node)
            width *= 2
        peaks.append((width, node))
    root = peaks.pop()[1] if peaks else None
    while peaks and root is not None:
        root = node_hash(peaks.pop()[1], root)
    return size, root


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `leaf` (a leaf hash) is record `index` of the `size` records under `root` (RFC 9162 section 2.1.3.2).

    ValueError for a hash that is not 32 bytes, for size 0 and for an index outside the tree: those are no proofs at all.
    """
    for name, value in (("leaf", leaf), ("root", root), *((f"proof[{at}]", value) for at, value in enumerate(proof))):
        _check(value, name)
    if size < 1 or not 0 <= index < size:
        raise ValueError(f"record {index} cannot be in a tree of {size}")
    node, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if node % 2 or node == last:
            found = node_hash(sibling, found)
            while node % 2 == 0 and node != 0:
                node, last = node // 2, last // 2
        else:
            found = node_hash(found, sibling)
        node, last = node // 2, last // 2
    return last == 0 and found == root


def _check(value: bytes, name: str) -> None:
    if not isinstance(value, bytes) or len(value) != HASH_BYTES:
        raise ValueError(f"{name} is not a sha256 of {HASH_BYTES} bytes")
