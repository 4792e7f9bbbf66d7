"""Containers: every way to alter one is refused, and what is left opens to what was sealed."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.sealed import container, merkle
from sealmarket_enclave.sealed.container import ContainerReader, Sealed, seal
from sealmarket_enclave.sealed.errors import (
    ChunkAltered,
    ContainerError,
    InvalidHeader,
    NotAContainer,
    RootMismatch,
    SourceLengthChanged,
    TrailingBytes,
    Truncated,
    UnsupportedVersion,
    WrongAsset,
)
from sealmarket_enclave.sealed.header import HEADER_BYTES, MIN_CHUNK_SIZE, TAG_BYTES, Header

KEY = bytes(range(32))
ASSET = Bytes32(b"\x11" * 32)
SIZE = MIN_CHUNK_SIZE
VECTORS = Path(__file__).resolve().parents[3] / "docs/spec/vectors/container.json"


def pattern(length: int) -> bytes:
    """Recognisable plaintext of any length."""
    return (b"0123456789abcdef" * (length // 16 + 1))[:length]


def sealed(data: bytes, pad_to: int | None = None, version: int = 1) -> tuple[bytes, Sealed]:
    sink = io.BytesIO()
    made = seal(io.BytesIO(data), sink, KEY, asset_id=ASSET, asset_version=version, chunk_size=SIZE, pad_to=pad_to)
    return sink.getvalue(), made


def open_all(raw: bytes, root: bytes, key: bytes = KEY) -> bytes:
    return b"".join(bytes(view) for view in ContainerReader(io.BytesIO(raw), root).open_chunks(key))


def forged(raw: bytes) -> ContainerReader:
    """A reader of altered bytes under a root computed over them: what a forger who sets roots gets."""
    tree = merkle.RootBuilder()
    header = Header.decode(raw[:HEADER_BYTES])
    at = HEADER_BYTES
    for index in range(header.chunk_count):
        size = header.plain_size(index) + TAG_BYTES
        tree.add(merkle.leaf_digest(index, raw[at : at + size]))
        at += size
    return ContainerReader(io.BytesIO(raw), tree.root(merkle.header_digest(raw[:HEADER_BYTES])))


def chunk_at(raw: bytes, index: int) -> slice:
    start = HEADER_BYTES + index * (SIZE + TAG_BYTES)
    return slice(start, min(start + SIZE + TAG_BYTES, len(raw)))


@pytest.mark.parametrize("cut", [0, 1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + SIZE, -TAG_BYTES, -1])
def test_a_truncated_container_is_refused(cut: int) -> None:
    raw, made = sealed(pattern(2 * SIZE + 5))
    with pytest.raises(Truncated):
        ContainerReader(io.BytesIO(raw[:cut]), made.content_root).verify()


def test_bytes_after_the_last_chunk_are_refused() -> None:
    raw, made = sealed(b"rows")
    with pytest.raises(TrailingBytes):
        ContainerReader(io.BytesIO(raw + b"\0"), made.content_root).verify()
    with pytest.raises(TrailingBytes):
        next(ContainerReader(io.BytesIO(raw + b"\0"), made.content_root).open_chunks(KEY))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_flipped_bit_is_refused_without_the_key(data: st.DataObject) -> None:
    raw, made = CASE
    at = data.draw(st.integers(0, len(raw) - 1))
    altered = bytearray(raw)
    altered[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ContainerError):
        ContainerReader(io.BytesIO(bytes(altered)), made.content_root).verify()


CASE = sealed(pattern(SIZE + 77))


def test_a_false_root_says_what_was_expected_and_found() -> None:
    raw, made = sealed(b"rows")
    with pytest.raises(RootMismatch) as refusal:
        ContainerReader(io.BytesIO(raw), bytes(32)).verify()
    assert refusal.value.found == made.content_root
    assert refusal.value.expected == bytes(32)
    assert refusal.value.remedy


def test_swapped_chunks_do_not_open_even_under_a_root_computed_over_them() -> None:
    raw, _ = sealed(pattern(3 * SIZE))
    swapped = bytearray(raw)
    swapped[chunk_at(raw, 0)], swapped[chunk_at(raw, 1)] = raw[chunk_at(raw, 1)], raw[chunk_at(raw, 0)]
    with pytest.raises(ChunkAltered) as refusal:
        list(forged(bytes(swapped)).open_chunks(KEY))
    assert refusal.value.index == 0


def test_a_dropped_last_chunk_does_not_open_even_with_a_header_that_says_so() -> None:
    raw, made = sealed(pattern(2 * SIZE))
    old = made.header
    shorter = Header(
        asset_id=ASSET,
        asset_version=1,
        chunk_size=SIZE,
        stream_length=SIZE,
        chunk_count=1,
        padded=False,
        salt=old.salt,
    )
    with pytest.raises(ChunkAltered):
        list(forged(shorter.encode() + raw[chunk_at(raw, 0)]).open_chunks(KEY))


@pytest.mark.parametrize("field", ["asset", "version", "salt"])
def test_a_container_relabelled_as_another_asset_version_or_sealing_does_not_open(field: str) -> None:
    raw, made = sealed(b"rows")
    old = made.header
    relabelled = Header(
        asset_id=Bytes32(b"\x22" * 32) if field == "asset" else ASSET,
        asset_version=2 if field == "version" else 1,
        chunk_size=old.chunk_size,
        stream_length=old.stream_length,
        chunk_count=old.chunk_count,
        padded=False,
        salt=Bytes32(bytes(32)) if field == "salt" else old.salt,
    )
    with pytest.raises(ChunkAltered):
        list(forged(relabelled.encode() + raw[HEADER_BYTES:]).open_chunks(KEY))


def test_a_container_of_another_asset_or_version_is_refused() -> None:
    raw, made = sealed(b"rows")
    reader = ContainerReader(io.BytesIO(raw), made.content_root)
    reader.require_asset(ASSET, 1)
    for asset, version in ((ASSET, 2), (Bytes32(bytes(32)), 1)):
        with pytest.raises(WrongAsset):
            reader.require_asset(asset, version)


def test_another_key_does_not_open() -> None:
    raw, made = sealed(b"rows")
    with pytest.raises(ChunkAltered):
        open_all(raw, made.content_root, bytes(32))


def test_a_file_swapped_between_verifying_and_opening_is_noticed_before_its_chunk_is_used() -> None:
    raw, made = sealed(pattern(2 * SIZE))
    other, _ = sealed(pattern(2 * SIZE)[::-1])
    source = io.BytesIO(raw)
    reader = ContainerReader(source, made.content_root)
    reader.verify()
    source.getbuffer()[:] = other
    with pytest.raises(ChunkAltered) as refusal:
        next(reader.open_chunks(KEY))
    assert refusal.value.index == 0


def test_no_plaintext_is_returned_under_a_false_root() -> None:
    raw, _ = sealed(b"rows")
    with pytest.raises(RootMismatch):
        next(ContainerReader(io.BytesIO(raw), bytes(32)).open_chunks(KEY))


@pytest.mark.parametrize(("offset", "replacement", "error"), [
    (0, b"PK\x03\x04", NotAContainer),
    (8, b"\x00\x02", UnsupportedVersion),
    (10, b"\x00\x02", InvalidHeader),
    (48, (SIZE - 1).to_bytes(4, "big"), InvalidHeader),
    (48, (8 << 20).to_bytes(4, "big"), InvalidHeader),
    (52, b"\xff" * 8, InvalidHeader),
    (60, (2).to_bytes(8, "big"), InvalidHeader),
    (60, bytes(8), InvalidHeader),
])  # fmt: skip
def test_a_header_out_of_range_is_refused(offset: int, replacement: bytes, error: type[Exception]) -> None:
    raw = bytearray(sealed(b"rows")[0])
    raw[offset : offset + len(replacement)] = replacement
    with pytest.raises(error):
        ContainerReader(io.BytesIO(bytes(raw)), bytes(32))


@pytest.mark.parametrize("length", [3, 5])
def test_a_source_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(SourceLengthChanged):
        seal(io.BytesIO(b"rows"), io.BytesIO(), KEY, asset_id=ASSET, asset_version=1, length=length)


def test_padding_that_is_not_zeros_is_refused() -> None:
    stream = (1).to_bytes(8, "big") + b"a" + b"\0" * 6 + b"x"
    sink = io.BytesIO()
    made = seal(io.BytesIO(stream), sink, KEY, asset_id=ASSET, asset_version=1, chunk_size=SIZE)
    padded = Header(
        asset_id=ASSET,
        asset_version=1,
        chunk_size=SIZE,
        stream_length=16,
        chunk_count=1,
        padded=True,
        salt=made.header.salt,
    )
    assert len(sink.getvalue()) == made.container_length
    strip = container._Strip(padded)
    with pytest.raises(InvalidHeader, match="zeros"):
        strip.take(memoryview(stream))


def test_two_sealings_of_the_same_data_share_no_salt_and_no_root() -> None:
    first, second = sealed(b"rows")[1], sealed(b"rows")[1]
    assert first.header.salt != second.header.salt
    assert first.content_root != second.content_root


def test_padded_containers_of_one_bucket_have_one_length() -> None:
    lengths = {len(sealed(pattern(n), pad_to=4096)[0]) for n in (0, 1, 100, 4088)}
    assert lengths == {HEADER_BYTES + 4096 + TAG_BYTES}


@pytest.mark.parametrize("pad_to", [None, 1, 4096, 3 * SIZE])
@pytest.mark.parametrize("length", [0, 1, SIZE - 8, SIZE - 1, SIZE, SIZE + 1, 3 * SIZE, 5 * SIZE + 9])
def test_what_was_sealed_opens_again(length: int, pad_to: int | None) -> None:
    data = pattern(length)
    raw, made = sealed(data, pad_to)
    assert len(raw) == made.container_length
    assert open_all(raw, made.content_root) == data


def test_a_container_is_verified_from_a_source_that_cannot_seek() -> None:
    raw, made = sealed(pattern(2 * SIZE))

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self._inner = io.BytesIO(raw)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            return self._inner.readinto(memoryview(buffer)[:1000])

    ContainerReader(Pipe(), made.content_root).verify()
    with pytest.raises(RootMismatch):
        ContainerReader(Pipe(), bytes(32)).verify()


def test_memory_does_not_grow_with_the_container(tmp_path: Path) -> None:
    length = 48 << 20
    plain, path = tmp_path / "plain", tmp_path / "sealed"
    with plain.open("wb") as file:
        file.truncate(length)
    tracemalloc.start()
    try:
        with plain.open("rb") as source, path.open("wb") as sink:
            made = seal(source, sink, KEY, asset_id=ASSET, asset_version=1)
        with path.open("rb") as raw:
            assert sum(len(view) for view in ContainerReader(raw, made.content_root).open_chunks(KEY)) == length
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


def vector_cases() -> list[dict[str, object]]:
    """The published vectors, made again from their inputs."""
    cases: list[dict[str, object]] = []
    for length, pad_to in ((0, None), (5, None), (SIZE, None), (2 * SIZE + 1, None), (5, 4096)):
        sink = io.BytesIO()
        salt = Bytes32(bytes([length % 251]) * 32)
        made = container._seal_with_salt(io.BytesIO(pattern(length)), sink, KEY, ASSET, 7, length, SIZE, pad_to, salt)
        raw = sink.getvalue()
        cases.append({
            "plaintext_length": length,
            "pad_to": pad_to,
            "data_key": "0x" + KEY.hex(),
            "salt": str(salt),
            "asset_id": str(ASSET),
            "asset_version": 7,
            "chunk_size": SIZE,
            "header": "0x" + raw[:HEADER_BYTES].hex(),
            "chunk_key": "0x" + container._chunk_key(KEY, made.header).hex(),
            "first_chunk_starts": "0x" + raw[HEADER_BYTES : HEADER_BYTES + 16].hex(),
            "last_tag": "0x" + raw[-TAG_BYTES:].hex(),
            "content_root": str(made.content_root),
        })  # fmt: skip
    return cases


def test_the_published_vectors_are_what_the_code_makes() -> None:
    assert json.loads(VECTORS.read_text())["cases"] == vector_cases()
