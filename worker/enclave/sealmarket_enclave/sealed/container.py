"""The sealed container: chunks under AES-256-GCM, bound to asset, version and position by one content root.

Rules (docs/spec/container.md):

1. The key of one sealing is HKDF-SHA-256 of the 32-byte data key under a fresh random salt, so that no nonce
   is ever used twice under one key; the nonce of a chunk is its index.
2. Associated data of a chunk: domain, asset id, asset version, index, last flag, header digest. A chunk
   moved, dropped, repeated, or taken from another sealing does not open.
3. The content root covers every ciphertext byte and the header. Any party can check it without the key, and a
   reader returns no plaintext of a chunk whose leaf is not in a root that it has checked.
4. In a padded container the stream is ``u64(length) || data || zeros`` up to a multiple of the bucket: the
   true length is encrypted, and the header tells only the bucket.

Memory is bounded by a few chunks and 32 bytes a chunk, whatever the container's length. Chunks are encrypted and
hashed side by side (:mod:`sealmarket_enclave.sealed.pipeline`), with the bytes and the errors of one after the other.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.sealed.errors import (
    ChunkAltered,
    InvalidHeader,
    RootMismatch,
    SourceLengthChanged,
    TrailingBytes,
    Truncated,
    WrongAsset,
)
from sealmarket_enclave.sealed.header import DEFAULT_CHUNK_SIZE, HEADER_BYTES, TAG_BYTES, Header, chunks_for
from sealmarket_enclave.sealed.merkle import RootBuilder, header_digest, leaf_digest
from sealmarket_enclave.sealed.pipeline import in_order, threads_for

KEY_DOMAIN = b"sealmarket/container-key/1"
CHUNK_DOMAIN = b"sealmarket/container-chunk/1"
KEY_BYTES = 32
_LENGTH_BYTES = 8
R = TypeVar("R")


class Source(Protocol):
    """What bytes are read from: an open file, a pipe, a BytesIO."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill ``buffer`` from its start; return how many bytes, 0 at the end."""


class Sink(Protocol):
    """What bytes are written to."""

    def write(self, data: memoryview, /) -> int | None:
        """Write ``data``; return how many bytes of it were taken."""


class Memory(io.RawIOBase):
    """A source or sink over memory that is there already: chunks are worked on where they lie, without a copy."""

    def __init__(self, room: bytes | bytearray | memoryview) -> None:
        super().__init__()
        self._room, self._at = memoryview(room), 0

    def readable(self) -> bool:
        """It is."""
        return True

    @property
    def left(self) -> int:
        """How many bytes are left."""
        return len(self._room) - self._at

    def next(self, size: int) -> memoryview:
        """The next ``size`` bytes, or as many as there are."""
        found = self._room[self._at : self._at + size]
        self._at += len(found)
        return found

    def readinto(self, buffer: Any, /) -> int:
        """As of a file."""
        found = self.next(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def write(self, data: Any, /) -> int:
        """As of a file. Raises ValueError where there is less room."""
        self.next(len(data))[:] = data
        return len(data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """What a sealing made. Lengths are in bytes; nothing here is secret."""

    content_root: Bytes32
    header: Header
    container_length: int


def seal(
    source: Source,
    sink: Sink,
    key: bytes,
    *,
    asset_id: Bytes32,
    asset_version: int,
    length: int | None = None,
    chunk_size: int = DEFAULT_CHUNK_SIZE,
    pad_to: int | None = None,
    threads: int | None = None,
) -> Sealed:
    """Encrypt ``source`` into a container.

    Args:
        source: read from its current position to its end; ``length`` may be omitted when it can seek.
        key: the 32-byte data key.
        pad_to: hide the length: the stream is padded to a multiple of this many bytes (rule 4).
        threads: that encrypt and hash; None takes the processors that this process may use.

    Raises:
        SourceLengthChanged: the source is shorter or longer than ``length``; what was written must be thrown
            away.
        InvalidHeader: a chunk size, version or length out of range.
    """
    known = _remaining(source) if length is None else length
    salt = Bytes32(secrets.token_bytes(32))
    return _seal_with_salt(source, sink, key, asset_id, asset_version, known, chunk_size, pad_to, salt, threads)


def _seal_with_salt(
    source: Source,
    sink: Sink,
    key: bytes,
    asset_id: Bytes32,
    asset_version: int,
    length: int,
    chunk_size: int,
    pad_to: int | None,
    salt: Bytes32,
    threads: int | None = None,
) -> Sealed:
    """As :func:`seal`, with a given salt: for test vectors only, since a repeated salt repeats nonces."""
    stream_length = length if pad_to is None else _padded_length(length, pad_to)
    header = Header(
        asset_id=asset_id,
        asset_version=asset_version,
        chunk_size=chunk_size,
        stream_length=stream_length,
        chunk_count=chunks_for(stream_length, chunk_size),
        padded=pad_to is not None,
        salt=salt,
    )
    stream = source if pad_to is None else _Padded(source, length, stream_length)
    encoded = header.encode()
    _write(sink, memoryview(encoded))
    sealer, tree = _Sealer(stream, sink, key, header, header_digest(encoded)), RootBuilder()
    slots = [_Slot(chunk_size) for _ in range(_slots_for(threads, header))]
    for slot, leaf in in_order(header.chunk_count, slots, sealer.fill, sealer.seal):
        tree.add(leaf)
        if not isinstance(sink, Memory):
            _write(sink, slot.chunk)
    if _fill(source, memoryview(bytearray(1))):
        raise SourceLengthChanged(sealer.done + 1, stream_length)
    root = tree.root(header_digest(encoded))
    return Sealed(content_root=root, header=header, container_length=header.container_length)


class _Slot:
    """Room for one chunk: its plaintext, and its ciphertext with the tag. ``resize`` names its bytes in either."""

    def __init__(self, chunk_size: int) -> None:
        self._plain, self._sealed = memoryview(bytearray(chunk_size)), memoryview(bytearray(chunk_size + TAG_BYTES))
        self.resize(chunk_size)

    def resize(self, size: int) -> None:
        self.plain, self.chunk = self._plain[:size], self._sealed[: size + TAG_BYTES]

    def fill_plain(self, source: Source) -> int:
        """Read its plaintext; how many bytes there were."""
        if isinstance(source, Memory):
            self.plain = source.next(len(self.plain))
            return len(self.plain)
        return _fill(source, self.plain)

    def fill_chunk(self, source: Source) -> int:
        """Read its ciphertext; how many bytes there were."""
        if isinstance(source, Memory):
            self.chunk = source.next(len(self.chunk))
            return len(self.chunk)
        return _fill(source, self.chunk)


class _Sealer:
    """Reads the stream and encrypts chunks of it."""

    def __init__(self, stream: Source, sink: Sink, key: bytes, header: Header, digest: bytes) -> None:
        self._stream, self._cipher, self._header = stream, AESGCM(_chunk_key(key, header)), header
        self._room = sink if isinstance(sink, Memory) else None
        self._prefix, self._digest = _aad_prefix(header), digest
        self.done = 0

    def fill(self, index: int, slot: _Slot) -> None:
        size = self._header.plain_size(index)
        slot.resize(size)
        if self._room is not None:
            slot.chunk = self._room.next(size + TAG_BYTES)
        got = slot.fill_plain(self._stream)
        self.done += got
        if got < size:
            raise SourceLengthChanged(self.done, self._header.stream_length)

    def seal(self, index: int, slot: _Slot) -> bytes:
        aad = _aad(self._prefix, index, index + 1 == self._header.chunk_count, self._digest)
        self._cipher.encrypt_into(_nonce(index), slot.plain, aad, slot.chunk)
        return leaf_digest(index, slot.chunk)


class ContainerReader:
    """Reads one container. The header is read and checked at once; call :meth:`verify` before
    :meth:`open_chunks`, or :meth:`open_into` alone. ``threads`` as for :func:`seal`.

    Raises:
        Truncated, NotAContainer, UnsupportedVersion, InvalidHeader: on construction, for the header.
    """

    def __init__(
        self, source: io.BufferedIOBase | io.RawIOBase, expected_root: bytes, *, threads: int | None = None
    ) -> None:
        self._source, self._threads = source, threads
        self._start = source.tell() + HEADER_BYTES if source.seekable() else None
        self.expected_root = Bytes32(expected_root)
        raw = bytearray(HEADER_BYTES)
        got = _fill(source, memoryview(raw))
        if got < HEADER_BYTES:
            raise Truncated("the header", got, HEADER_BYTES)
        self.header = Header.decode(bytes(raw))
        self._digest = header_digest(bytes(raw))
        self._leaves: bytes | None = None

    def require_asset(self, asset_id: bytes, asset_version: int) -> None:
        """Raise :class:`WrongAsset` unless the header names this asset and version."""
        if (self.header.asset_id, self.header.asset_version) != (asset_id, asset_version):
            raise WrongAsset(self.header.asset_id, self.header.asset_version, asset_id, asset_version)

    def verify(self) -> None:
        """Check the whole ciphertext against the expected root, without the key. The source must seek.

        Raises:
            Truncated, TrailingBytes: the container has another length than its header says.
            RootMismatch: some byte of header or ciphertext is not what the root covers.
        """
        found, leaves = self.hashed()
        self._require_root(found)
        self._leaves = leaves

    def hashed(self) -> tuple[Bytes32, bytes]:
        """The content root and leaves that these bytes give, whatever root is expected. Raises as :meth:`verify`."""
        leaves, tree = bytearray(), RootBuilder()
        for _slot, leaf in self._chunks(lambda index, slot: leaf_digest(index, slot.chunk)):
            leaves += leaf
            tree.add(leaf)
        self._require_end()
        return tree.root(self._digest), bytes(leaves)

    @property
    def leaves(self) -> bytes:
        """The leaf digests, 32 bytes a chunk, in order. Raises as :meth:`verify` where that was not done."""
        if self._leaves is None:
            self.verify()
        assert self._leaves is not None
        return self._leaves

    def open_chunks(self, key: bytes) -> Iterator[memoryview]:
        """Yield the plaintext in order; each view is valid until the next. Verifies first where that was not done.

        Each chunk is read once more and held against the leaf that :meth:`verify` saw, so a host that swaps
        the file in between is noticed before a byte of the chunk is used.

        Raises:
            ChunkAltered: a chunk changed since, or does not open under this key.
        """
        leaves, opener, strip = self.leaves, _Opener(key, self.header, self._digest), _Strip(self.header)

        def checked(index: int, slot: _Slot) -> None:
            if leaf_digest(index, slot.chunk) != leaves[32 * index : 32 * index + 32]:
                raise ChunkAltered(index)
            opener.open(index, slot)

        for slot, _none in self._chunks(checked):
            yield strip.take(slot.plain)
        strip.finish()

    def open_into(self, key: bytes, sink: Sink) -> None:
        """Write the plaintext to ``sink`` in one pass over a source that need not seek, and check the root behind it.

        Where it raises, what was written has not been held against the root: the caller throws it away, and hands
        nothing of it on before this returns.

        Raises:
            ChunkAltered: a chunk does not open under this key.
            Truncated, TrailingBytes, RootMismatch: as :meth:`verify`.
        """
        opener, strip, tree = _Opener(key, self.header, self._digest), _Strip(self.header), RootBuilder()

        def opened(index: int, slot: _Slot) -> bytes:
            opener.open(index, slot)
            return leaf_digest(index, slot.chunk)

        room = sink if isinstance(sink, Memory) and not self.header.padded else None
        for slot, leaf in self._chunks(opened, room):
            tree.add(leaf)
            data = strip.take(slot.plain)
            if room is None:
                _write(sink, data)
        strip.finish()
        self._require_end()
        self._require_root(tree.root(self._digest))

    def _chunks(self, work: Callable[[int, _Slot], R], room: Memory | None = None) -> Iterator[tuple[_Slot, R]]:
        """``room``: where each chunk's plaintext goes instead of its slot."""
        if self._start is not None:
            self._source.seek(self._start)
        slots = [_Slot(self.header.chunk_size) for _ in range(_slots_for(self._threads, self.header))]

        def read(index: int, slot: _Slot) -> None:
            slot.resize(size := self.header.plain_size(index))
            if (got := slot.fill_chunk(self._source)) < size + TAG_BYTES:
                raise Truncated(f"chunk {index}", got, size + TAG_BYTES)
            if room is not None:
                slot.plain = room.next(size)

        return in_order(self.header.chunk_count, slots, read, work)

    def _require_end(self) -> None:
        if _fill(self._source, memoryview(bytearray(1))):
            raise TrailingBytes(self.header.container_length)

    def _require_root(self, found: Bytes32) -> None:
        if found != self.expected_root:
            raise RootMismatch(self.expected_root, found)


class _Opener:
    """Decrypts chunks, each within its slot."""

    def __init__(self, key: bytes, header: Header, digest: bytes) -> None:
        self._cipher = AESGCM(_chunk_key(key, header))
        self._prefix, self._digest, self._last = _aad_prefix(header), digest, header.chunk_count - 1

    def open(self, index: int, slot: _Slot) -> None:
        aad = _aad(self._prefix, index, index == self._last, self._digest)
        try:
            self._cipher.decrypt_into(_nonce(index), slot.chunk, aad, slot.plain)
        except InvalidTag:
            raise ChunkAltered(index) from None


class _Padded:
    """A source with its length in front and zeros behind (rule 4)."""

    def __init__(self, source: Source, length: int, stream_length: int) -> None:
        self._source, self._left = source, length
        self._front = length.to_bytes(_LENGTH_BYTES, "big")
        self._zeros = stream_length - length - _LENGTH_BYTES

    def readinto(self, buffer: memoryview) -> int:
        if self._front:
            size = min(len(buffer), len(self._front))
            buffer[:size], self._front = self._front[:size], self._front[size:]
            return size
        if self._left:
            got = self._source.readinto(buffer[: self._left]) or 0
            self._left -= got
            return got
        size = min(len(buffer), self._zeros)
        buffer[:size] = bytes(size)
        self._zeros -= size
        return size


class _Strip:
    """Takes the padding off again, and refuses padding that is not zeros or a length that does not fit."""

    def __init__(self, header: Header) -> None:
        self._padded, self._room = header.padded, header.stream_length - _LENGTH_BYTES
        self._left = -1 if header.padded else header.stream_length

    def take(self, plain: memoryview) -> memoryview:
        if not self._padded:
            return plain
        if self._left < 0:
            self._left = int.from_bytes(plain[:_LENGTH_BYTES], "big")
            if self._room < 0 or self._left > self._room:
                raise InvalidHeader("padded length", self._left, f"at most {self._room}")
            plain = plain[_LENGTH_BYTES:]
        data, rest = plain[: self._left], plain[self._left :]
        self._left -= len(data)
        if bytes(rest).count(0) != len(rest):
            raise InvalidHeader("padding", "other bytes", "zeros")
        return data

    def finish(self) -> None:
        if self._padded and self._left:
            raise InvalidHeader("padded length", f"{self._left} more than the stream holds", "at most the stream")


def _slots_for(threads: int | None, header: Header) -> int:
    """One where one thread does all of it, else one more than there are threads."""
    found = threads_for(threads, header.chunk_count)
    return found if found == 1 else found + 1


def _chunk_key(key: bytes, header: Header) -> bytes:
    if len(key) != KEY_BYTES:
        raise ValueError(f"a data key takes {KEY_BYTES} bytes, found {len(key)}")
    info = KEY_DOMAIN + header.asset_id + header.asset_version.to_bytes(4, "big")
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=header.salt, info=info).derive(key)


def _aad_prefix(header: Header) -> bytes:
    return CHUNK_DOMAIN + header.asset_id + header.asset_version.to_bytes(4, "big")


def _aad(prefix: bytes, index: int, last: bool, digest: bytes) -> bytes:
    return prefix + index.to_bytes(8, "big") + (b"\x01" if last else b"\x00") + digest


def _nonce(index: int) -> bytes:
    return index.to_bytes(12, "big")


def _padded_length(length: int, pad_to: int) -> int:
    if pad_to < 1:
        raise InvalidHeader("padding bucket", pad_to, "at least 1")
    return -(-(length + _LENGTH_BYTES) // pad_to) * pad_to


def _remaining(source: Source) -> int:
    if isinstance(source, Memory):
        return source.left
    if not isinstance(source, io.IOBase) or not source.seekable():
        raise ValueError("a source that cannot seek needs a `length`")
    here = source.tell()
    end = source.seek(0, io.SEEK_END)
    source.seek(here)
    return end - here


def _fill(source: Source, view: memoryview) -> int:
    done = 0
    while done < len(view):
        got = source.readinto(view[done:])
        if not got:
            break
        done += got
    return done


def _write(sink: Sink, view: memoryview) -> None:
    while len(view):
        written = sink.write(view)
        view = view[len(view) if written is None else written :]
