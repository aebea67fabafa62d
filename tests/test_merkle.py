"""Against the reference vectors of github.com/google/certificate-transparency, cpp/merkletree/merkle_tree_test.cc."""

import hashlib

import pytest

from mc_pipelines.evidence.merkle import Tree, leaf_hash, root_of, verify_inclusion

LEAVES = [
    bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# (index, size) -> audit path, from the same file
PATHS = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_the_reference_roots(size: int) -> None:
    assert Tree.of(LEAVES[:size]).root.hex() == ROOTS[size - 1]


@pytest.mark.parametrize(("index", "size"), PATHS)
def test_paths_are_the_reference_paths(index: int, size: int) -> None:
    assert [node.hex() for node in Tree.of(LEAVES[:size]).proof(index)] == PATHS[index, size]


def test_every_record_is_proven_and_no_other() -> None:
    for size in range(1, 34):
        records = [b"record %d" % number for number in range(size)]
        tree = Tree.of(records)
        for index, record in enumerate(records):
            proof = tree.proof(index)
            assert verify_inclusion(leaf_hash(record), index, size, proof, tree.root)
            assert not verify_inclusion(leaf_hash(b"other"), index, size, proof, tree.root)
            assert not verify_inclusion(leaf_hash(record), index, size, [*proof, bytes(32)], tree.root)
            assert not verify_inclusion(leaf_hash(record), index, size, proof, bytes(32))
            if proof:
                assert not verify_inclusion(leaf_hash(record), index, size, proof[:-1], tree.root)
                assert not verify_inclusion(leaf_hash(record), (index + 1) % size, size, proof, tree.root)


def test_levels_stored_as_leaf_hashes_give_the_same_tree() -> None:
    tree = Tree.of(LEAVES)
    assert Tree.over(tree.levels[0]) == tree
    assert tree.size == 8


def test_what_is_no_proof_is_refused() -> None:
    tree = Tree.of(LEAVES)
    leaf = leaf_hash(LEAVES[0])
    with pytest.raises(ValueError, match="no record"):
        Tree.of([])
    with pytest.raises(ValueError, match="leaf 0 is not a sha256"):
        Tree.over([b"short"])
    with pytest.raises(ValueError, match=r"proof\[0\] is not"):
        verify_inclusion(leaf, 0, 8, [b"x" * 31], tree.root)
    with pytest.raises(ValueError, match="root is not"):
        verify_inclusion(leaf, 0, 8, [], b"")
    with pytest.raises(ValueError, match="tree of 0"):
        verify_inclusion(leaf, 0, 0, [], tree.root)
    with pytest.raises(ValueError, match="record 8 cannot"):
        verify_inclusion(leaf, 8, 8, [], tree.root)
    with pytest.raises(IndexError, match="record 8 is not in a tree of 8"):
        tree.proof(8)


def split_root(leaves: list[bytes]) -> bytes:
    """RFC 9162 section 2.1.1 word for word: split at the largest power of two smaller than the number of records."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hashlib.sha256(b"\x01" + split_root(leaves[:half]) + split_root(leaves[half:])).digest()


def test_the_root_in_small_memory_is_the_root_by_the_definition() -> None:
    assert root_of([]) == (0, None)
    for size in range(1, 70):
        leaves = [leaf_hash(b"%d" % number) for number in range(size)]
        assert root_of(iter(leaves)) == (size, split_root(leaves))
        assert Tree.over(leaves).root == split_root(leaves)
    with pytest.raises(ValueError, match="leaf 0 is not"):
        root_of([b"short"])
