"""Keccak Merkle trees as OpenZeppelin's ``MerkleProof`` checks them: sorted pairs, leaves already double hashed.

Used for allow-lists and sets of counterparts: any number of entries stand behind one slot on chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32
from sealmarket_enclave.protocol.hashing import keccak, words
from sealmarket_enclave.protocol.numbers import Tee


def account_leaf(account: Address) -> Bytes32:
    """The leaf of one account in a set of counterparts."""
    return keccak(keccak(words(account)))


def root(leaves: Iterable[Bytes32]) -> Bytes32:
    """The root of a set of leaves, independent of their order. The empty set has the zero root."""
    level = sorted(set(leaves))
    if not level:
        return ZERO_HASH
    while len(level) > 1:
        level = _above(level)
    return level[0]


def proof(leaves: Iterable[Bytes32], leaf: Bytes32) -> tuple[Bytes32, ...]:
    """The siblings that lead from a leaf to the root.

    Raises:
        KeyError: the leaf is not in the set.
    """
    level = sorted(set(leaves))
    if leaf not in level:
        raise KeyError(f"{leaf} is not among the {len(level)} leaves")
    path = []
    index = level.index(leaf)
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        level = _above(level)
        index //= 2
    return tuple(path)


def verify(root_hash: Bytes32, leaf: Bytes32, path: Sequence[Bytes32]) -> bool:
    """Whether the path leads from the leaf to the root."""
    for sibling in path:
        leaf = _pair(leaf, sibling)
    return leaf == root_hash


def _above(level: Sequence[Bytes32]) -> list[Bytes32]:
    pairs = [_pair(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    return pairs if len(level) % 2 == 0 else [*pairs, level[-1]]


def _pair(left: Bytes32, right: Bytes32) -> Bytes32:
    return keccak(min(left, right) + max(left, right))


_LEAF_DOMAIN = keccak(b"sealmarket/allowed/1")


def allowed_leaf(tee: Tee, measurement: Bytes32, workload_digest: Bytes32) -> Bytes32:
    """One entry of an allow-list: this enclave with this workload. Double hashed, as OpenZeppelin's trees expect."""
    return keccak(keccak(words(_LEAF_DOMAIN, tee, measurement, workload_digest)))
