"""Sets of any size behind one word."""

from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.protocol import merkle
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32

LEAVES = st.sets(st.binary(min_size=20, max_size=20), min_size=1, max_size=33).map(
    lambda accounts: [merkle.account_leaf(Address(account)) for account in accounts]
)


def test_a_leaf_outside_the_set_has_no_proof() -> None:
    leaves = [merkle.account_leaf(Address(bytes([n]) * 20)) for n in range(5)]
    with pytest.raises(KeyError):
        merkle.proof(leaves, merkle.account_leaf(Address(b"\xff" * 20)))


def test_an_inner_node_is_no_leaf() -> None:
    leaves = [merkle.account_leaf(Address(bytes([n]) * 20)) for n in range(4)]
    path = merkle.proof(leaves, leaves[0])
    inner = merkle.root([leaves[0], Bytes32(path[0])])
    assert inner not in leaves
    assert merkle.verify(merkle.root(leaves), inner, path[1:])  # so leaves are hashed twice, and 64 bytes never are one
    assert merkle.account_leaf(Address(b"\x00" * 20)) != inner


def test_the_empty_set_has_the_zero_root() -> None:
    assert merkle.root([]) == ZERO_HASH


@given(LEAVES)
def test_every_member_proves_itself_in_any_order(leaves: list[Bytes32]) -> None:
    root = merkle.root(leaves)
    assert merkle.root(reversed(leaves)) == root
    for leaf in leaves:
        assert merkle.verify(root, leaf, merkle.proof(leaves, leaf))


@given(LEAVES, st.binary(min_size=20, max_size=20))
def test_nobody_else_proves_anything(leaves: list[Bytes32], stranger: bytes) -> None:
    leaf = merkle.account_leaf(Address(stranger))
    if leaf not in leaves:
        assert not any(merkle.verify(merkle.root(leaves), leaf, merkle.proof(leaves, other)) for other in leaves)


def test_all_proofs_of_a_tree_hash_each_pair_once(monkeypatch: pytest.MonkeyPatch) -> None:
    leaves = [merkle.account_leaf(Address(bytes([n >> 8, n & 255]) * 10)) for n in range(1 << 10)]
    counted = Mock(side_effect=merkle._pair)
    monkeypatch.setattr(merkle, "_pair", counted)
    tree = merkle.Tree(leaves)
    proofs = [tree.proof(leaf) for leaf in leaves]
    assert counted.call_count == len(leaves) - 1
    assert all(len(proof) == 10 for proof in proofs)
    assert merkle.verify(tree.root, leaves[7], proofs[7])
