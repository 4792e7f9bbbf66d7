"""Sources of sealed containers that misbehave, and a container for them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

from sealmarket.service.errors import ServiceUnavailable
from sealmarket.store.source import Part
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.sealed.container import ContainerReader, seal
from sealmarket_enclave.sealed.header import HEADER_BYTES, MIN_CHUNK_SIZE, TAG_BYTES

SIZE = MIN_CHUNK_SIZE
CHUNK = SIZE + TAG_BYTES
ASSET = Bytes32(b"\x22" * 32)


@cache
def container(chunks: int, fill: bytes = b"rows") -> tuple[bytes, Bytes32, bytes]:
    """A container, its root and its leaves."""
    sink = io.BytesIO()
    plain = (fill * (chunks * SIZE // len(fill) + 1))[: chunks * SIZE - 5]
    made = seal(io.BytesIO(plain), sink, b"\x01" * 32, asset_id=ASSET, asset_version=1, chunk_size=SIZE)
    raw = sink.getvalue()
    return raw, made.content_root, ContainerReader(io.BytesIO(raw), made.content_root).leaves


def offset(index: int) -> int:
    """Where a chunk begins."""
    return HEADER_BYTES + index * CHUNK


@dataclass
class Source:
    """Serves bytes. ``asked`` has the ranges; ``alter`` makes what is sent of a question's number and bytes."""

    raw: bytes
    listed: bytes | None = None
    ignores_ranges: bool = False
    alter: Callable[[int, int, bytes], bytes] = lambda _question, _start, raw: raw
    version: Callable[[int], str | None] = lambda _question: None
    tears: Callable[[int], int | None] = lambda _question: None
    """After how many bytes the answer to a question tears off."""
    asked: list[tuple[int, int]] = field(default_factory=list)
    sent: int = 0
    leaves_fail: int = 0
    """How many questions for the leaves are not answered."""
    name: str = "source"

    @contextmanager
    def read(self, start: int, stop: int) -> Iterator[Part]:
        question = len(self.asked)
        self.asked.append((start, stop))
        if self.ignores_ranges:
            start, stop = 0, len(self.raw)
        raw = self.alter(question, start, self.raw[start:stop])
        yield Part(start, self.version(question), self._pieces(raw, self.tears(question)))

    def _pieces(self, raw: bytes, torn: int | None) -> Iterator[bytes]:
        for at in range(0, len(raw), 10_000):
            piece = raw[at : at + 10_000][: None if torn is None else max(0, torn - at)]
            self.sent += len(piece)
            yield piece
            if torn is not None and at + 10_000 >= torn:
                raise ServiceUnavailable("source", "its URL", "the connection tore")

    def leaves(self, size: int) -> bytes | None:
        if self.leaves_fail:
            self.leaves_fail -= 1
            raise ServiceUnavailable("source", "its URL", "HTTP 503")
        return self.listed if self.listed is not None and len(self.listed) == size else None


def flipped(raw: bytes, at: int) -> bytes:
    """With one bit changed."""
    altered = bytearray(raw)
    altered[at] ^= 1
    return bytes(altered)
