"""The mark beside a journal: how far the journal reached, in a file of its own, so that an older copy is noticed.

A fixed file of two slots of 72 bytes, ``size (8) || root (32) || SHA-256 of both (32)``. A slot is written in place and
flushed after the journal's transaction, into the slot that is not in force; a torn write leaves the other. It takes no
new room on the disk, so a full disk does not stop it.
"""

from __future__ import annotations

import hashlib
import os
import weakref
from dataclasses import dataclass
from pathlib import Path

from sealmarket.private_files import MODE
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_oracle.errors import JournalLost

_SLOT = 72


@dataclass(frozen=True, slots=True)
class Tail:
    """A size of the log and the root over that many entries."""

    size: int
    root: Bytes32


class TailMark:
    """The mark of one journal. One thread writes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = 0
        self._descriptor: int | None = None

    def read(self) -> Tail | None:
        """The furthest tail that is marked; None where there is no mark yet."""
        try:
            raw = self._path.read_bytes()[: 2 * _SLOT]
        except FileNotFoundError:
            return None
        found = [_read(raw[place : place + _SLOT]) for place in (0, _SLOT)]
        sizes = [-1 if tail is None else tail.size for tail in found]
        self._next = 0 if sizes[0] <= sizes[1] else 1
        best = found[1 - self._next]
        if best is None and raw.strip(b"\x00"):
            raise JournalLost(f"{self._path} is damaged", "a mark of how far the journal reached")
        return best

    def require(self) -> Tail:
        """The tail that is marked."""
        found = self.read()
        if found is None:
            raise JournalLost(f"{self._path} is absent", "a mark of how far the journal reached")
        return found

    def keep(self, tail: Tail) -> None:
        """Mark a tail; on disk when this returns. Raises ``OSError``."""
        body = tail.size.to_bytes(8, "big") + tail.root
        descriptor = self._opened()
        os.pwrite(descriptor, body + hashlib.sha256(body).digest(), self._next * _SLOT)
        os.fdatasync(descriptor)
        self._next = 1 - self._next

    def _opened(self) -> int:
        """The file, which stays open; made anew where it was removed."""
        if self._descriptor is not None and os.fstat(self._descriptor).st_nlink:
            return self._descriptor
        opened = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
        weakref.finalize(self, os.close, opened)
        if os.fstat(opened).st_size < 2 * _SLOT:
            os.posix_fallocate(opened, 0, 2 * _SLOT)
        self._descriptor = opened
        return opened


def _read(slot: bytes) -> Tail | None:
    body, check = slot[:40], slot[40:]
    if len(slot) != _SLOT or hashlib.sha256(body).digest() != check:
        return None
    return Tail(int.from_bytes(body[:8], "big"), Bytes32(body[8:]))
