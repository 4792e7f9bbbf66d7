"""The clear header of a sealed container: 100 bytes, big-endian (docs/spec/container.md, "Header").

| offset | bytes | field |
|---|---|---|
| 0 | 8 | magic ``SEALMKT\\0`` |
| 8 | 2 | version, 1 |
| 10 | 2 | flags: bit 0 = padded, all others 0 |
| 12 | 32 | asset id (the job id, for a result) |
| 44 | 4 | asset version (0 for a result) |
| 48 | 4 | chunk size in bytes, 65,536 to 4,194,304 |
| 52 | 8 | length of the plaintext stream in bytes |
| 60 | 8 | number of chunks, 1 to 1,048,576 |
| 68 | 32 | salt |

The header repeats nothing that could disagree: the number of chunks must be what the length and chunk size
give.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.sealed.errors import InvalidHeader, NotAContainer, UnsupportedVersion

MAGIC = b"SEALMKT\x00"
VERSION = 1
FLAG_PADDED = 1
TAG_BYTES = 16
MIN_CHUNK_SIZE = 64 << 10
MAX_CHUNK_SIZE = 4 << 20
DEFAULT_CHUNK_SIZE = 1 << 20
MAX_CHUNKS = 1 << 20
_LAYOUT = struct.Struct(">8sHH32sIIQQ32s")
HEADER_BYTES = _LAYOUT.size


def chunks_for(stream_length: int, chunk_size: int) -> int:
    """How many chunks a plaintext stream takes. Empty data takes one empty chunk, so that it is authenticated."""
    return max(1, -(-stream_length // chunk_size))


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The decoded header. Every instance is consistent; lengths are in bytes."""

    asset_id: Bytes32
    asset_version: int
    chunk_size: int
    stream_length: int
    chunk_count: int
    padded: bool
    salt: Bytes32

    def __post_init__(self) -> None:
        size = self.chunk_size
        if not MIN_CHUNK_SIZE <= size <= MAX_CHUNK_SIZE or size % 4096:
            expected = f"a multiple of 4096 from {MIN_CHUNK_SIZE} to {MAX_CHUNK_SIZE}"
            raise InvalidHeader("chunk size", size, expected)
        if not 0 <= self.asset_version < 1 << 32:
            raise InvalidHeader("asset version", self.asset_version, "0 to 4294967295")
        if not 0 <= self.stream_length <= MAX_CHUNKS * size:
            raise InvalidHeader("length", self.stream_length, f"0 to {MAX_CHUNKS * size}")
        if self.chunk_count != chunks_for(self.stream_length, size):
            raise InvalidHeader("chunk count", self.chunk_count, chunks_for(self.stream_length, size))

    @property
    def container_length(self) -> int:
        """The length of the whole container file."""
        return HEADER_BYTES + self.stream_length + self.chunk_count * TAG_BYTES

    def plain_size(self, index: int) -> int:
        """How many plaintext bytes chunk ``index`` holds."""
        if index + 1 < self.chunk_count:
            return self.chunk_size
        return self.stream_length - index * self.chunk_size

    def encode(self) -> bytes:
        """The 100 bytes of the header."""
        return _LAYOUT.pack(
            MAGIC,
            VERSION,
            FLAG_PADDED if self.padded else 0,
            self.asset_id,
            self.asset_version,
            self.chunk_size,
            self.stream_length,
            self.chunk_count,
            self.salt,
        )

    @classmethod
    def decode(cls, raw: bytes) -> Header:
        """Read 100 bytes.

        Raises:
            NotAContainer: another magic.
            UnsupportedVersion: another version.
            InvalidHeader: an unknown flag, or fields out of range or inconsistent.
        """
        magic, version, flags, asset, asset_version, size, length, count, salt = _LAYOUT.unpack(raw)
        if magic != MAGIC:
            raise NotAContainer(magic, MAGIC)
        if version != VERSION:
            raise UnsupportedVersion(version, VERSION)
        if flags & ~FLAG_PADDED:
            raise InvalidHeader("flags", flags, "0 or 1")
        return cls(
            asset_id=Bytes32(asset),
            asset_version=asset_version,
            chunk_size=size,
            stream_length=length,
            chunk_count=count,
            padded=bool(flags & FLAG_PADDED),
            salt=Bytes32(salt),
        )
