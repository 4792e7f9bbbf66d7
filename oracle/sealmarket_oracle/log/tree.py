"""The Merkle tree of RFC 9162, section 2.1, over SHA-256: roots, proofs of inclusion and of consistency. Pure.

    MTH({}) = SHA-256()    MTH({d}) = SHA-256(0x00 || d)    MTH(D[n]) = SHA-256(0x01 || MTH(D[0:k]) || MTH(D[k:n]))

where k is the largest power of two below n. A leaf is hashed under another prefix than a node, so neither passes for
the other. Everything here takes and gives leaf *hashes*; an entry becomes one by :func:`leaf_hash`.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from sealmarket_enclave.protocol.codec import Bytes32

LONGEST_PROOF = 64
"""Hashes in a proof of a tree of up to 2^64 leaves."""
MOST_MILESTONES = 1024
EMPTY_ROOT = Bytes32(hashlib.sha256().digest())


def leaf_hash(entry: bytes) -> Bytes32:
    """The hash of one entry."""
    return Bytes32(hashlib.sha256(b"\x00" + entry).digest())


def node_hash(left: Bytes32, right: Bytes32) -> Bytes32:
    """The hash of an inner node."""
    return Bytes32(hashlib.sha256(b"\x01" + left + right).digest())


@dataclass(frozen=True, slots=True)
class Frontier:
    """The roots of the perfect subtrees of a tree, left to right: all that another leaf and the root need."""

    size: int = 0
    peaks: tuple[Bytes32, ...] = ()

    def append(self, *leaves: Bytes32) -> Frontier:
        """The tree with more leaves."""
        peaks, size = list(self.peaks), self.size
        for leaf in leaves:
            peaks.append(leaf)
            place, size = size, size + 1
            while place & 1:
                right = peaks.pop()
                peaks.append(node_hash(peaks.pop(), right))
                place >>= 1
        return Frontier(size, tuple(peaks))

    @property
    def root(self) -> Bytes32:
        """The root of the whole tree."""
        return _root_over(self.peaks)


class Milestones:
    """Some earlier trees of one log, so that another one takes few leaves. Threads may share it.

    They are ``spacing`` leaves apart. Where there would be more than :data:`MOST_MILESTONES`, every second one goes.
    """

    def __init__(self, spacing: int = 1024) -> None:
        self._spacing = spacing
        self._lock = threading.Lock()
        self._passed: dict[int, Frontier] = {}

    def before(self, size: int) -> Frontier:
        """The greatest tree with at most so many leaves."""
        with self._lock:
            return self._passed.get(max((one for one in self._passed if one <= size), default=0), Frontier())

    def pass_by(self, tree: Frontier) -> None:
        """Keep a tree of what is on disk, if it is a milestone."""
        if tree.size % self._spacing:
            return
        with self._lock:
            self._passed[tree.size] = tree
            if len(self._passed) > MOST_MILESTONES:
                self._spacing *= 2
                self._passed = {size: one for size, one in self._passed.items() if size % self._spacing == 0}


@lru_cache(maxsize=256)
def _root_over(peaks: tuple[Bytes32, ...]) -> Bytes32:
    """Of one tree it is asked again by each peer, the mark and the next decision."""
    if not peaks:
        return EMPTY_ROOT
    *lower, found = peaks
    for peak in reversed(lower):
        found = node_hash(peak, found)
    return found


def root_of(leaves: Sequence[Bytes32]) -> Bytes32:
    """The root over leaf hashes."""
    return Frontier().append(*leaves).root


def inclusion_proof(leaves: Sequence[Bytes32], index: int) -> tuple[Bytes32, ...]:
    """The path of one leaf (RFC 9162, 2.1.3.1), nearest sibling first. Raises ``IndexError`` beyond the tree."""
    if not 0 <= index < len(leaves):
        raise IndexError(index)
    path: list[Bytes32] = []
    begin, end = 0, len(leaves)
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            path.append(root_of(leaves[middle:end]))
            end = middle
        else:
            path.append(root_of(leaves[begin:middle]))
            begin = middle
    return tuple(reversed(path))


def is_included(leaf: Bytes32, index: int, size: int, proof: Sequence[Bytes32], root: Bytes32) -> bool:
    """Whether a path proves that a leaf is at an index of the tree of this size and root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size or len(proof) > LONGEST_PROOF:
        return False
    place, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(sibling, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def consistency_proof(leaves: Sequence[Bytes32], old: int) -> tuple[Bytes32, ...]:
    """That the tree over the first ``old`` leaves is a beginning of the whole (RFC 9162, 2.1.4.1).

    Raises:
        IndexError: there is no such beginning.
    """
    if not 0 <= old <= len(leaves):
        raise IndexError(old)
    return () if old in (0, len(leaves)) else tuple(_subproof(leaves, old, whole=True))


def _subproof(leaves: Sequence[Bytes32], old: int, *, whole: bool) -> list[Bytes32]:
    if old == len(leaves):
        return [] if whole else [root_of(leaves)]
    middle = _split(len(leaves))
    if old <= middle:
        return [*_subproof(leaves[:middle], old, whole=whole), root_of(leaves[middle:])]
    return [*_subproof(leaves[middle:], old - middle, whole=False), root_of(leaves[:middle])]


def is_consistent(old: int, new: int, proof: Sequence[Bytes32], old_root: Bytes32, new_root: Bytes32) -> bool:
    """Whether a proof shows that one tree is a beginning of another (RFC 9162, 2.1.4.2)."""
    if not 0 <= old <= new or len(proof) > LONGEST_PROOF:
        return False
    if old in (0, new):
        return not proof and old_root == (EMPTY_ROOT if old == 0 else new_root)
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


def _split(size: int) -> int:
    """The largest power of two below a size of two or more."""
    return 1 << (size - 1).bit_length() - 1
