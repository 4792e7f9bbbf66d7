"""Keccak Merkle trees as OpenZeppelin's ``MerkleProof`` checks them: sorted pairs, leaves already double hashed.

Used for allow-lists and sets of counterparts: any number of entries stand behind one slot on chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32
from sealmarket_enclave.protocol.hashing import keccak, words
from sealmarket_enclave.protocol.numbers import Tee


@lru_cache(maxsize=4096)
def account_leaf(account: Address) -> Bytes32:
    """The leaf of one account in a set of counterparts."""
    return keccak(keccak(words(account)))


@lru_cache(maxsize=4096)
def capability_leaf(capability_hash: Bytes32) -> Bytes32:
    """The leaf of one capability document in a request's set of accepted ones."""
    return keccak(keccak(words(capability_hash)))


class Tree:
    """The tree over a set of leaves, independent of their order: hashed once, for any number of proofs."""

    def __init__(self, leaves: Iterable[Bytes32]) -> None:
        level = sorted(set(leaves))
        self._places = {leaf: place for place, leaf in enumerate(level)}
        self._levels = [level]
        while len(level) > 1:
            level = _above(level)
            self._levels.append(level)

    def __contains__(self, leaf: object) -> bool:
        return leaf in self._places

    @property
    def leaves(self) -> tuple[Bytes32, ...]:
        """The leaves, each once, in order."""
        return tuple(self._places)

    @property
    def root(self) -> Bytes32:
        """The root; the empty set has the zero root."""
        top = self._levels[-1]
        return top[0] if top else ZERO_HASH

    def proof(self, leaf: Bytes32) -> tuple[Bytes32, ...]:
        """The siblings that lead from a leaf to the root.

        Raises:
            KeyError: the leaf is not in the set.
        """
        place = self._places.get(leaf)
        if place is None:
            raise KeyError(f"{leaf} is not among the {len(self._places)} leaves")
        path = []
        for level in self._levels[:-1]:
            if (sibling := place ^ 1) < len(level):
                path.append(level[sibling])
            place //= 2
        return tuple(path)


def root(leaves: Iterable[Bytes32]) -> Bytes32:
    """The root of a set of leaves. The empty set has the zero root."""
    return Tree(leaves).root


def proof(leaves: Iterable[Bytes32], leaf: Bytes32) -> tuple[Bytes32, ...]:
    """One proof; for several, make one :class:`Tree`. Raises :class:`KeyError` for a leaf that is not in the set."""
    return Tree(leaves).proof(leaf)


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
