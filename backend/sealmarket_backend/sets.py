"""Sets of counterparts and of documents: who is in one, proven from the list that another account put into the store.

Nothing depends on it but matching by this backend: the contract checks each proof, and a party that has the list can
submit a match around us.
"""

from __future__ import annotations

from functools import lru_cache

from sealmarket.protocol.fitting import Proof, lone_member
from sealmarket.protocol.merkle import Tree
from sealmarket.protocol.wire import LeafList
from sealmarket_backend.blobs import Blobs, Kind
from sealmarket_enclave.protocol.codec import Bytes32, decode

_TREES_KEPT = 16


class Sets:
    """The sets of one store."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._tree = lru_cache(maxsize=_TREES_KEPT)(self._read)

    def prove(self, root: Bytes32, leaf: Bytes32) -> Proof | None:
        """The proof that a leaf is in a set; None where it is not, or where the store has no list of the set."""
        alone = lone_member(root, leaf)
        if alone is not None or not self._blobs.has(Kind.LISTS, root):
            return alone
        tree = self._tree(root)
        return tree.proof(leaf) if leaf in tree else None

    def _read(self, root: Bytes32) -> Tree:
        return Tree(decode(LeafList, self._blobs.path(Kind.LISTS, root).read_bytes()).leaves)
