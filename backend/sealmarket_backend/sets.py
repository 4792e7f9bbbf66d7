"""Sets of counterparts and of documents: who is in one, proven from the list that another account put into the store.

Nothing depends on it but matching by this backend: the contract checks each proof, and a party that has the list can
submit a match around us.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice

from sealmarket.protocol.fitting import Proof, lone_member
from sealmarket.protocol.merkle import Tree
from sealmarket.protocol.wire import LeafList
from sealmarket_backend.blobs import Blobs, Kind
from sealmarket_enclave.protocol.codec import Bytes32, decode

_TREES_KEPT = 16
ASKED_EACH = 64
"""Sets that one request is held against in one turn, besides those whose answer is known: lists are long."""
_ANSWERS_KEPT = 65_536


class LoneSets:
    """Sets of one store that has no lists: they admit everyone, or one."""

    def prove(self, root: Bytes32, leaf: Bytes32) -> Proof | None:
        """The proof that a leaf is in a set; None where it is not, or where the store has no list of the set."""
        return lone_member(root, leaf)

    def members(self, _root: Bytes32) -> frozenset[bytes] | None:
        """The leaves of a set; None where the store has no list of it."""
        return None

    def admitting(self, roots: Sequence[bytes], leaf: Bytes32) -> list[bytes]:
        """Those of some sets that have a leaf, as far as it is known."""
        return [root for root in roots if self.prove(Bytes32(root), leaf) is not None]


class Sets(LoneSets):
    """The sets of one store."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._tree = lru_cache(maxsize=_TREES_KEPT)(self._read)
        self._admits: OrderedDict[tuple[bytes, bytes], bool] = OrderedDict()
        self._turn = 0

    def prove(self, root: Bytes32, leaf: Bytes32) -> Proof | None:
        """As :meth:`LoneSets.prove`."""
        alone = lone_member(root, leaf)
        if alone is not None or not self._blobs.has(Kind.LISTS, root):
            return alone
        tree = self._tree(root)
        return tree.proof(leaf) if leaf in tree else None

    def members(self, root: Bytes32) -> frozenset[bytes] | None:
        """As :meth:`LoneSets.members`."""
        return frozenset(self._tree(root).leaves) if self._blobs.has(Kind.LISTS, root) else None

    def admitting(self, roots: Sequence[bytes], leaf: Bytes32) -> list[bytes]:
        """As :meth:`LoneSets.admitting`. Lists are in the store for good, so answers are remembered; of sets without
        one, another part is asked each time."""
        unknown = [root for root in roots if (root, bytes(leaf)) not in self._admits]
        start = self._turn % len(unknown) if unknown else 0
        self._turn += ASKED_EACH
        for root in islice((*unknown[start:], *unknown[:start]), ASKED_EACH):
            if lone_member(Bytes32(root), leaf) is not None or self._blobs.has(Kind.LISTS, Bytes32(root)):
                self._admits[root, bytes(leaf)] = self.prove(Bytes32(root), leaf) is not None
        while len(self._admits) > _ANSWERS_KEPT:
            self._admits.popitem(last=False)
        return [root for root in roots if self._admits.get((root, bytes(leaf)))]

    def _read(self, root: Bytes32) -> Tree:
        return Tree(decode(LeafList, self._blobs.path(Kind.LISTS, root).read_bytes()).leaves)
