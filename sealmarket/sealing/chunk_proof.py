"""One chunk of a sealed container, shown to be in it without the others (docs/spec/container.md, "Proof of a chunk").

Rules:

1. A proof holds the container's header, the chunk's index, and the siblings from its leaf to the top of the tree.
2. The header gives the number of leaves, and that the shape of the tree: a proof has exactly as many siblings as
   the shape asks for, on the sides that it asks for.
3. The content root that is computed from header, chunk and siblings is compared with the one that the checker has
   from elsewhere (the chain, an asset card). That of the proof itself proves nothing.

    SealmarketError
    └── ChunkProofRefused
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from sealmarket_enclave.protocol.codec import Bytes32, HexBytes, Shape
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.sealed.header import HEADER_BYTES, MAX_CHUNK_SIZE, MAX_CHUNKS, TAG_BYTES, Header
from sealmarket_enclave.sealed.merkle import RootBuilder, header_digest, leaf_digest, node_digest, root_digest

MAXIMUM_PROOF = 16 << 10
"""Bytes of a proof's JSON: a header, and 20 siblings."""
MAXIMUM_CHUNK = MAX_CHUNK_SIZE + TAG_BYTES
"""Bytes of a chunk's ciphertext with its tag."""
_LEAF = Bytes32.length
_MOST_SIBLINGS = (MAX_CHUNKS - 1).bit_length()


class ChunkProofRefused(SealmarketError):
    """A proof does not show that a chunk is in a container."""

    def __init__(self, what: str, got: object, expected: object) -> None:
        super().__init__(
            f"the proof's {what} is {got}, expected {expected}",
            remedy="take the content root from the chain, and ask who holds the container for the chunk and its proof",
        )
        self.what, self.got, self.expected = what, got, expected


class HeaderBytes(HexBytes):
    """A container's header as it stands in front of it."""

    length = HEADER_BYTES


class ChunkProof(Shape, frozen=True, kw_only=True):
    """That a chunk is in a container: ``siblings`` lead from its leaf to the top, the lowest first."""

    version: Literal["sealmarket/chunk-proof/1"] = "sealmarket/chunk-proof/1"
    header: HeaderBytes
    index: Annotated[int, Meta(ge=0, lt=MAX_CHUNKS)]
    siblings: Annotated[tuple[Bytes32, ...], Meta(max_length=_MOST_SIBLINGS)]


def prove_chunk(header: bytes, leaves: bytes, index: int) -> ChunkProof:
    """The proof of one chunk, of a container whose leaves (32 bytes each) are known and checked.

    Raises:
        ChunkProofRefused: there is no chunk of this index.
    """
    start, stop = 0, len(leaves) // _LEAF
    if not 0 <= index < stop:
        raise ChunkProofRefused("index", index, f"0 to {stop - 1}")
    siblings = []
    while stop - start > 1:
        middle = start + _left_leaves(stop - start)
        if index < middle:
            siblings.append(_top(leaves, middle, stop))
            stop = middle
        else:
            siblings.append(_top(leaves, start, middle))
            start = middle
    return ChunkProof(header=HeaderBytes(header), index=index, siblings=tuple(reversed(siblings)))


def check_chunk(proof: ChunkProof, chunk: bytes | memoryview, content_root: bytes) -> Header:
    """Hold a chunk (ciphertext and tag) against a content root. Returns the header of its container.

    Raises:
        ChunkProofRefused: index, number of siblings, length of the chunk, or the root that comes of them.
        ContainerError: the header is none.
    """
    header = Header.decode(proof.header)
    if proof.index >= header.chunk_count:
        raise ChunkProofRefused("index", proof.index, f"0 to {header.chunk_count - 1}")
    if len(chunk) != (size := header.plain_size(proof.index) + TAG_BYTES):
        raise ChunkProofRefused("chunk's length", len(chunk), size)
    sides = list(_sides(proof.index, header.chunk_count))
    if len(proof.siblings) != len(sides):
        raise ChunkProofRefused("number of siblings", len(proof.siblings), len(sides))
    top = leaf_digest(proof.index, chunk)
    for sibling, is_left in zip(proof.siblings, reversed(sides), strict=True):
        top = node_digest(sibling, top) if is_left else node_digest(top, sibling)
    found = root_digest(header_digest(proof.header), header.chunk_count, top)
    if found != content_root:
        raise ChunkProofRefused("content root", found, Bytes32(content_root))
    return header


def _sides(index: int, count: int) -> Iterator[bool]:
    """From the top down: whether the sibling stands on the left of the path to a leaf."""
    while count > 1:
        left = _left_leaves(count)
        yield index >= left
        index, count = (index - left, count - left) if index >= left else (index, left)


def _left_leaves(count: int) -> int:
    """The leaves of the left subtree: the largest power of two below ``count``."""
    return 1 << (count - 1).bit_length() - 1


def _top(leaves: bytes, start: int, stop: int) -> Bytes32:
    """The top of the tree over some leaves that lie beside each other."""
    tree = RootBuilder()
    for at in range(start * _LEAF, stop * _LEAF, _LEAF):
        tree.add(leaves[at : at + _LEAF])
    return tree.top
