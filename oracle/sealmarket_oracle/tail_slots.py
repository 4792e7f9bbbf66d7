"""The tails of peers, in a file of fixed slots beside a journal that is a SQLite file.

A peer shows its tail after each promise, and is answered once that is on disk. A slot is written in place, which takes
one flush of a block that is there already; a transaction writes pages besides, and takes turns with the node's own.

Each signer has two slots of 512 bytes: ``signer (20) || length (2) || tail as JSON, filled up || SHA-256``, which is of
the journal's identity and all before it. They are written in turn, so a torn write leaves the tail before, which no
answer has gone beyond; a disk that tears a sector with both slots leaves neither, and the node does not start. The file
grows by a signer's two slots when that signer is first written, and by nothing else: only members of committees have
slots. Where it is removed or replaced while the node runs, the next write makes it anew, with all that is held.
"""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sealmarket.private_files import MODE
from sealmarket_enclave.protocol.codec import Address, Bytes32, decode
from sealmarket_oracle.errors import JournalUnwritable, TailsDamaged
from sealmarket_oracle.log.entries import SignedTail

_SLOT, _CHECK, _HEAD = 512, 32, 22
_PAIR = 2 * _SLOT
_ROOM = _SLOT - _HEAD - _CHECK


@dataclass
class _Pair:
    """Two slots of one signer."""

    place: int
    """Where they begin, in bytes."""
    tail: SignedTail | None = None
    next: int = 0
    """The slot that is not in force."""


@dataclass
class _Turns:
    lock: threading.RLock = field(default_factory=threading.RLock)
    of: dict[Address, threading.Lock] = field(default_factory=dict)


class TailSlots:
    """The file of one journal. Threads may share it; those of different signers flush at the same time."""

    def __init__(self, path: Path, owner: Bytes32) -> None:
        """``owner``: the digest of the journal's identity.

        Raises:
            TailsDamaged: a signer's tails are unreadable, or the file is another journal's, or none of this kind.
        """
        self._path, self.owner = path, owner
        self._turns = _Turns()
        self._descriptor: int | None = None
        self._pairs = self._read()

    @contextmanager
    def turn(self, signer: Address) -> Iterator[None]:
        """While no other thread keeps a tail of this signer."""
        with self._turns.lock:
            mine = self._turns.of.setdefault(signer, threading.Lock())
        with mine:
            yield

    def held(self, signer: Address) -> SignedTail | None:
        """The greatest tail of a signer that is on disk here."""
        pair = self._pairs.get(signer)
        return pair.tail if pair is not None else None

    def keep(self, signer: Address, tail: SignedTail) -> None:
        """Hold a tail, inside of the signer's turn: on disk when this returns.

        Raises:
            JournalUnwritable: the tail before is held.
        """
        raw = _slot_of(self.owner, signer, tail)
        try:
            pair = self._pairs.get(signer) or self._grown(signer)
            if pair.tail is None:  # both, so that a slot of zeros means a first write that nothing was answered after
                self._write(pair, 1 - pair.next, raw)
            self._write(pair, pair.next, raw)
        except OSError as error:
            raise JournalUnwritable(
                f"{self._path} takes no writes: {error}", "make room in the state folder"
            ) from error
        pair.tail, pair.next = tail, 1 - pair.next

    def _write(self, pair: _Pair, slot: int, raw: bytes) -> None:
        written = self._descriptor
        while written is None or not self._is_kept(written, raw, pair.place + slot * _SLOT):
            written = self._opened()

    def _is_kept(self, opened: int, raw: bytes, place: int) -> bool:
        """Write and flush. Returns whether that is in the file which has the name now."""
        os.pwrite(opened, raw, place)
        os.fdatasync(opened)
        return self._is_in_place(opened)

    def _grown(self, signer: Address) -> _Pair:
        """Room for two more slots, after those that are there."""
        with self._turns.lock:
            opened = self._opened()
            place = -(-os.fstat(opened).st_size // _PAIR) * _PAIR
            os.posix_fallocate(opened, place, _PAIR)
            os.fsync(opened)
            self._pairs[signer] = pair = _Pair(place)
        return pair

    def _opened(self) -> int:
        """The file, which stays open; made anew where it was removed or replaced."""
        found = self._descriptor
        if found is not None and self._is_in_place(found):
            return found
        with self._turns.lock:
            if self._descriptor != found and self._descriptor is not None:
                return self._descriptor  # another thread was first
            opened = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
            weakref.finalize(self, os.close, opened)
            if found is not None or os.fstat(opened).st_size < self._end():
                self._write_all(opened)
            _flush_folder(self._path.parent)
            self._descriptor = opened
        return opened

    def _end(self) -> int:
        return max((pair.place + _PAIR for pair in self._pairs.values()), default=0)

    def _is_in_place(self, opened: int) -> bool:
        try:
            return os.path.samestat(os.fstat(opened), self._path.lstat())
        except FileNotFoundError:
            return False

    def _write_all(self, opened: int) -> None:
        """Everything that is held, in the places that memory has for it: the file is not the one that was read."""
        for signer, pair in self._pairs.items():
            raw = bytes(_SLOT) if pair.tail is None else _slot_of(self.owner, signer, pair.tail)
            os.pwrite(opened, raw + raw, pair.place)
        os.fsync(opened)

    def _read(self) -> dict[Address, _Pair]:
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        pairs: dict[Address, _Pair] = {}
        for place in range(0, len(raw), _PAIR):
            slots = [raw[at : at + _SLOT] for at in (place, place + _SLOT)]
            found = [_read_slot(self.owner, slot) for slot in slots]
            if found == [None, None] and all(slot.strip(b"\x00") for slot in slots):
                raise TailsDamaged(self._path, place)
            sizes = [-1 if one is None else one[1].tail.size for one in found]
            newest = 0 if sizes[0] >= sizes[1] else 1
            if (one := found[newest]) is not None:
                pairs[one[0]] = _Pair(place, one[1], 1 - newest)
        return pairs


def _slot_of(owner: Bytes32, signer: Address, tail: SignedTail) -> bytes:
    raw = tail.canonical()
    if len(raw) > _ROOM:
        raise AssertionError(f"a tail of {len(raw)} bytes, of at most {_ROOM}: its signature was recovered")
    body = bytes(signer) + len(raw).to_bytes(2, "big") + raw.ljust(_ROOM, b"\x00")
    return body + hashlib.sha256(owner + body).digest()


def _read_slot(owner: Bytes32, slot: bytes) -> tuple[Address, SignedTail] | None:
    body, check = slot[:-_CHECK], slot[-_CHECK:]
    if len(slot) != _SLOT or hashlib.sha256(owner + body).digest() != check:
        return None
    length = int.from_bytes(body[20:_HEAD], "big")
    return Address(body[:20]), decode(SignedTail, body[_HEAD : _HEAD + length])


def _flush_folder(folder: Path) -> None:
    """Let a name that was just made in a folder survive a power cut."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
