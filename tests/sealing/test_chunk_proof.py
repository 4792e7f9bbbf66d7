"""One chunk is shown to be in a container: nothing else passes, and every chunk of every shape does."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sealmarket.sealing.chunk_proof import (
    MAXIMUM_PROOF,
    ChunkProof,
    ChunkProofRefused,
    HeaderBytes,
    check_chunk,
    prove_chunk,
)
from sealmarket_enclave.protocol.codec import Bytes32, decode_canonical, to_builtins
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.sealed import container
from sealmarket_enclave.sealed.container import ContainerReader
from sealmarket_enclave.sealed.errors import ContainerError
from sealmarket_enclave.sealed.header import HEADER_BYTES, MAX_CHUNKS, MIN_CHUNK_SIZE, TAG_BYTES

SIZE = MIN_CHUNK_SIZE
VECTORS = Path(__file__).resolve().parents[2] / "docs/spec/vectors/chunk-proof.json"
COUNTS = (1, 2, 3, 5, 7)


@cache
def made(count: int) -> tuple[bytes, Bytes32, bytes]:
    """A container of so many chunks with its root and leaves; its salt is fixed, so that vectors can hold it."""
    length, sink = (count - 1) * SIZE + 9, io.BytesIO()
    key, asset, salt = bytes(range(32)), Bytes32(b"\x11" * 32), Bytes32(bytes([count]) * 32)
    plain = io.BytesIO((b"0123456789abcdef" * (length // 16 + 1))[:length])
    sealed = container._seal_with_salt(plain, sink, key, asset, 7, length, SIZE, None, salt)
    raw = sink.getvalue()
    return raw, sealed.content_root, ContainerReader(io.BytesIO(raw), sealed.content_root).leaves


def chunk_of(raw: bytes, index: int) -> bytes:
    start = HEADER_BYTES + index * (SIZE + TAG_BYTES)
    return raw[start : start + SIZE + TAG_BYTES]


def shown(count: int, index: int) -> tuple[ChunkProof, bytes, Bytes32]:
    raw, root, leaves = made(count)
    return prove_chunk(raw[:HEADER_BYTES], leaves, index), chunk_of(raw, index), root


def test_a_chunk_with_one_flipped_bit_is_refused_with_both_roots() -> None:
    proof, chunk, root = shown(5, 3)
    altered = bytearray(chunk)
    altered[100] ^= 1
    with pytest.raises(ChunkProofRefused, match="content root") as refusal:
        check_chunk(proof, bytes(altered), root)
    assert refusal.value.expected == root
    assert refusal.value.got != root


def test_a_chunk_under_another_root_is_refused() -> None:
    proof, chunk, _ = shown(5, 3)
    with pytest.raises(ChunkProofRefused, match="content root"):
        check_chunk(proof, chunk, made(7)[1])


@pytest.mark.parametrize("other", [0, 1, 2, 4])
def test_a_chunk_at_another_index_is_refused(other: int) -> None:
    proof, chunk, root = shown(5, 3)
    with pytest.raises(ChunkProofRefused):
        check_chunk(replace(proof, index=other), chunk, root)


@pytest.mark.parametrize("index", [5, MAX_CHUNKS - 1])
def test_an_index_behind_the_last_chunk_is_refused(index: int) -> None:
    raw, root, leaves = made(5)
    proof, chunk, _ = shown(5, 3)
    with pytest.raises(ChunkProofRefused, match="index"):
        check_chunk(replace(proof, index=index), chunk, root)
    with pytest.raises(ChunkProofRefused, match="index"):
        prove_chunk(raw[:HEADER_BYTES], leaves, index)


def test_more_fewer_or_exchanged_siblings_are_refused() -> None:
    proof, chunk, root = shown(5, 3)
    siblings = proof.siblings
    for other in (siblings[:-1], (*siblings, siblings[0]), siblings[::-1], ()):
        with pytest.raises(ChunkProofRefused):
            check_chunk(replace(proof, siblings=other), chunk, root)


def test_an_inner_node_does_not_pass_for_a_chunk() -> None:
    proof, _, root = shown(5, 3)
    with pytest.raises(ChunkProofRefused, match="length"):
        check_chunk(proof, proof.siblings[0] * 2, root)


def test_a_header_of_another_container_is_refused() -> None:
    proof, chunk, root = shown(5, 3)
    header = bytearray(proof.header)
    header[99] ^= 1  # of the salt
    with pytest.raises(ChunkProofRefused, match="content root"):
        check_chunk(replace(proof, header=HeaderBytes(bytes(header))), chunk, root)
    with pytest.raises(ContainerError):
        check_chunk(replace(proof, header=HeaderBytes(bytes(HEADER_BYTES))), chunk, root)


def test_a_proof_of_another_shape_is_refused_by_its_reader() -> None:
    proof, _, _ = shown(5, 3)
    told = to_builtins(proof)
    for change in ({"version": "sealmarket/chunk-proof/2"}, {"index": -1}, {"index": MAX_CHUNKS}, {"more": 1},
                   {"siblings": [str(Bytes32(bytes(32)))] * 21}, {"header": "0x00"}):  # fmt: skip
        with pytest.raises(MalformedDocument):
            decode_canonical(ChunkProof, json.dumps(told | change, sort_keys=True, separators=(",", ":")).encode())


@given(st.sampled_from(COUNTS), st.data())
def test_every_chunk_of_every_shape_is_proven_within_the_bound(count: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, count - 1))
    proof, chunk, root = shown(count, index)
    again = decode_canonical(ChunkProof, proof.canonical())
    assert check_chunk(again, chunk, root).chunk_count == count
    assert len(proof.canonical()) <= MAXIMUM_PROOF
    assert len(proof.siblings) <= (count - 1).bit_length()


def vector_cases() -> list[dict[str, object]]:
    """The published vectors: the containers are those of `container.json`'s key, asset and pattern."""
    return [
        {"plaintext_length": (count - 1) * SIZE + 9, "salt": str(Bytes32(bytes([count]) * 32)),
         "content_root": str(made(count)[1]), "proof": json.loads(shown(count, index)[0].canonical())}
        for count in COUNTS for index in sorted({0, count // 2, count - 1})
    ]  # fmt: skip


def test_the_published_vectors_are_what_the_code_makes() -> None:
    assert json.loads(VECTORS.read_text())["cases"] == vector_cases()
