"""The Merkle tree of the audit log, against RFC 9162's definitions and against everything that is no proof."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_oracle.log.tree import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    leaf_hash,
    root_of,
)

LEAVES = [leaf_hash(bytes([n])) for n in range(40)]
SIZES = st.integers(1, len(LEAVES))


def _mth(leaves: list[Bytes32]) -> Bytes32:
    """MTH of RFC 9162, 2.1.1, as it is written there."""
    if len(leaves) < 2:
        return leaves[0] if leaves else Bytes32(hashlib.sha256().digest())
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return Bytes32(hashlib.sha256(b"\x01" + _mth(leaves[:k]) + _mth(leaves[k:])).digest())


@given(SIZES, st.data())
def test_no_other_leaf_index_size_or_path_proves_inclusion(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaves, root = LEAVES[:size], root_of(LEAVES[:size])
    proof = inclusion_proof(leaves, index)
    other = data.draw(st.sampled_from([n for n in range(len(LEAVES)) if n != index]))
    assert not is_included(LEAVES[other], index, size, proof, root)
    assert not is_included(LEAVES[index], other, size, proof, root)
    assert not is_included(LEAVES[index], index, size, (*proof, LEAVES[0]), root)
    assert not is_included(LEAVES[index], index, size, proof[:-1], root) or not proof
    for place in range(len(proof)):
        forged = (*proof[:place], leaf_hash(b"forged"), *proof[place + 1 :])
        assert not is_included(LEAVES[index], index, size, forged, root)


@given(SIZES, SIZES, st.data())
def test_no_tree_is_shown_to_grow_out_of_another_beginning(one: int, two: int, data: st.DataObject) -> None:
    old, new = min(one, two), max(one, two)
    changed = data.draw(st.integers(0, old - 1))
    altered = [*LEAVES[:changed], leaf_hash(b"altered"), *LEAVES[changed + 1 :]]
    for leaves in (LEAVES, altered):
        proof = consistency_proof(leaves[:new], old)
        assert not is_consistent(old, new, proof, root_of(LEAVES[:old]), root_of(altered[:new]))
        assert not is_consistent(old, new, proof, root_of(altered[:old]), root_of(LEAVES[:new]))
        assert not is_consistent(old, new, (*proof, LEAVES[0]), root_of(leaves[:old]), root_of(leaves[:new]))


@pytest.mark.parametrize(("old", "new"), [(2, 1), (-1, 1), (1, 0)])
def test_a_beginning_that_is_longer_than_the_tree_is_none(old: int, new: int) -> None:
    assert not is_consistent(old, new, (), EMPTY_ROOT, EMPTY_ROOT)
    with pytest.raises(IndexError):
        consistency_proof(LEAVES[:1], 2)


def test_a_leaf_does_not_pass_for_a_node_nor_a_node_for_a_leaf() -> None:
    node = root_of(LEAVES[:2])
    assert leaf_hash(LEAVES[0] + LEAVES[1]) != node
    assert not is_included(node, 0, 2, (), node)


def test_roots_are_those_of_the_rfcs_definition() -> None:
    frontier = Frontier()
    assert frontier.root == EMPTY_ROOT == _mth([])
    for size, leaf in enumerate(LEAVES, 1):
        frontier = frontier.append(leaf)
        assert (frontier.size, frontier.root) == (size, _mth(LEAVES[:size]))


def test_roots_and_proofs_are_those_of_the_known_answers_of_certificate_transparency() -> None:
    """The tree of eight entries that the reference implementation of RFC 6962 is tested with."""
    entries = [
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    ]  # fmt: skip
    leaves = [leaf_hash(bytes.fromhex(entry)) for entry in entries]
    assert root_of(leaves[:1]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert root_of(leaves).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


@given(SIZES, st.data())
def test_every_leaf_is_proven_and_every_beginning(size: int, data: st.DataObject) -> None:
    leaves, root = LEAVES[:size], root_of(LEAVES[:size])
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    assert is_included(leaves[index], index, size, inclusion_proof(leaves, index), root)
    assert is_consistent(old, size, consistency_proof(leaves, old), root_of(leaves[:old]), root)
