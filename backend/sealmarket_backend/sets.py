"""Sets of counterparts and of documents: who is in one, proven from the list that another account put into the store.

Nothing depends on it but matching by this backend: the contract checks each proof, and a party that has the list can
submit a match around us.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TypeVar

from sealmarket.protocol.fitting import Proof, lone_member
from sealmarket.protocol.merkle import Tree
from sealmarket.protocol.wire import LeafList
from sealmarket_backend.blobs import Blobs, Kind
from sealmarket_enclave.protocol.codec import Bytes32, decode

T = TypeVar("T")
ASKED_EACH = 64
"""Sets that one request is held against in one turn, besides those whose answer is known."""
LIST_BYTES = 4 << 20
"""Of lists that are read for one request of what others chose: as many as one list may have. To hash them takes half a
second."""
_TREE_BYTES = 4 * LIST_BYTES
"""Of the lists whose trees are kept."""
_ANSWERS_KEPT, _PROOFS_KEPT = 65_536, 4096


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

    def affordable(self, orders: Iterable[T], roots_of: Callable[[T], Iterable[Bytes32]], most: int) -> list[T]:
        """Those of some orders whose lists have so many bytes together, each counted once, the first first."""
        del roots_of, most
        return list(orders)


class Sets(LoneSets):
    """The sets of one store."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._trees: OrderedDict[Bytes32, tuple[Tree, int]] = OrderedDict()
        self._proofs: OrderedDict[tuple[bytes, bytes], Proof | None] = OrderedDict()
        self._admits: OrderedDict[tuple[bytes, bytes], bool] = OrderedDict()
        self._turn = 0

    def prove(self, root: Bytes32, leaf: Bytes32) -> Proof | None:
        """As :meth:`LoneSets.prove`."""
        alone = lone_member(root, leaf)
        if alone is not None or not self._blobs.has(Kind.LISTS, root):
            return alone
        asked = bytes(root), bytes(leaf)
        if asked not in self._proofs:
            tree = self._tree(root)
            self._proofs[asked] = tree.proof(leaf) if leaf in tree else None
            if len(self._proofs) > _PROOFS_KEPT:
                self._proofs.popitem(last=False)
        return self._proofs[asked]

    def members(self, root: Bytes32) -> frozenset[bytes] | None:
        """As :meth:`LoneSets.members`."""
        return frozenset(self._tree(root).leaves) if self._blobs.has(Kind.LISTS, root) else None

    def admitting(self, roots: Sequence[bytes], leaf: Bytes32) -> list[bytes]:
        """As :meth:`LoneSets.admitting`. Lists are in the store for good, so answers are remembered; of sets without
        one, and beyond what is read each time, another part is asked each time."""
        unknown = [root for root in roots if (root, bytes(leaf)) not in self._admits]
        start = self._turn % len(unknown) if unknown else 0
        room = LIST_BYTES
        for root in islice((*unknown[start:], *unknown[:start]), ASKED_EACH):
            size = self._size(Bytes32(root))
            if size > room:
                break
            room -= size
            self._turn += 1
            if size or lone_member(Bytes32(root), leaf) is not None:
                self._admits[root, bytes(leaf)] = self.prove(Bytes32(root), leaf) is not None
        while len(self._admits) > _ANSWERS_KEPT:
            self._admits.popitem(last=False)
        return [root for root in roots if self._admits.get((root, bytes(leaf)))]

    def affordable(self, orders: Iterable[T], roots_of: Callable[[T], Iterable[Bytes32]], most: int) -> list[T]:
        """As :meth:`LoneSets.affordable`."""
        kept, counted = list[T](), set[Bytes32]()
        for order in orders:
            fresh = {root: size for root in roots_of(order) if root not in counted and (size := self._size(root))}
            if (needed := sum(fresh.values())) <= most:
                most -= needed
                counted |= fresh.keys()
                kept.append(order)
        return kept

    def _size(self, root: Bytes32) -> int:
        """Bytes of a set's list; 0 where the store has none."""
        return self._blobs.size(Kind.LISTS, root)

    def _tree(self, root: Bytes32) -> Tree:
        if root not in self._trees:
            raw = self._blobs.path(Kind.LISTS, root).read_bytes()
            self._trees[root] = Tree(decode(LeafList, raw).leaves), len(raw)
        self._trees.move_to_end(root)
        while sum(size for _, size in self._trees.values()) > _TREE_BYTES:
            self._trees.popitem(last=False)
        return self._trees[root][0]
