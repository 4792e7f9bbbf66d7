"""The Merkle tree over a container's ciphertext: BLAKE3, with leaves, nodes and the root kept apart.

Rules (docs/spec/container.md, "Content root"):

1. ``leaf(i) = BLAKE3-derive-key(LEAF, u64(i) || ciphertext chunk i)``.
2. ``node(l, r) = BLAKE3-derive-key(NODE, l || r)``; the left subtree holds the largest power of two of leaves
   that leaves at least one for the right (the shape of RFC 6962), so a tree of n leaves has one shape.
3. ``root = BLAKE3-derive-key(ROOT, header digest || u64(n) || top)``, which binds the header to the content.

BLAKE3's key-derivation mode separates the domains inside the hash, so no ciphertext can pass for a node.
"""

from __future__ import annotations

from blake3 import blake3

from sealmarket_enclave.protocol.codec import Bytes32

LEAF_DOMAIN = "sealmarket/container-leaf/1"
NODE_DOMAIN = "sealmarket/container-node/1"
ROOT_DOMAIN = "sealmarket/container-root/1"
HEADER_DOMAIN = "sealmarket/container-header/1"


def header_digest(header: bytes) -> Bytes32:
    """The digest of the encoded header (docs/spec/container.md, "Header")."""
    return Bytes32(blake3(header, derive_key_context=HEADER_DOMAIN).digest())


def leaf_digest(index: int, chunk: bytes | bytearray | memoryview) -> bytes:
    """The leaf of one ciphertext chunk, tag included (rule 1)."""
    hasher = blake3(index.to_bytes(8, "big"), derive_key_context=LEAF_DOMAIN)
    hasher.update(chunk)
    return hasher.digest()


class RootBuilder:
    """Takes leaves in order and keeps only one digest per level (rule 2)."""

    def __init__(self) -> None:
        self._peaks: list[tuple[int, bytes]] = []
        self.count = 0

    def add(self, leaf: bytes) -> None:
        """Append the next leaf digest."""
        level, digest = 0, leaf
        while self._peaks and self._peaks[-1][0] == level:
            digest = node_digest(self._peaks.pop()[1], digest)
            level += 1
        self._peaks.append((level, digest))
        self.count += 1

    @property
    def top(self) -> Bytes32:
        """The top of the tree over the leaves so far. There is at least one leaf."""
        digests = [digest for _, digest in self._peaks]
        top = digests.pop()
        while digests:
            top = node_digest(digests.pop(), top)
        return Bytes32(top)

    def root(self, header: bytes) -> Bytes32:
        """The content root of the leaves so far under this header digest (rule 3)."""
        return root_digest(header, self.count, self.top)


def root_digest(header: bytes, count: int, top: bytes) -> Bytes32:
    """The content root over a header digest, the number of leaves, and the top of their tree (rule 3)."""
    payload = header + count.to_bytes(8, "big") + top
    return Bytes32(blake3(payload, derive_key_context=ROOT_DOMAIN).digest())


def node_digest(left: bytes, right: bytes) -> bytes:
    """An inner node (rule 2)."""
    return blake3(left + right, derive_key_context=NODE_DOMAIN).digest()
