"""Uploads of containers that were torn off and go on.

Rules:

1. An upload is known by the content root and a token of 32 random bytes, which its uploader drew. Who does not know
   the token can neither add to it, end it, nor learn of it; two uploads of one root do not meet, and the first that is
   whole and right gives the name.
2. A part is added only where the bytes so far end. What came before a connection tore is kept.
3. What is there counts for the quota of the peer that began, as long as it is there. An upload under way takes one of
   the places at once; a paused one takes none, and is one of few of its peer: a further one takes the place of that
   peer's oldest. No peer displaces what another has paused.
4. A paused upload that nothing came for in :attr:`StoreLimits.paused_seconds` goes, and all go when the program starts.
5. What was finished is held against its root as any other container; where it is another, all of it goes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sealmarket_backend.blobs import Blobs, Incoming, Kind
from sealmarket_backend.errors import NotFound, OtherOffset, Rejected, TooMany
from sealmarket_backend.ledger import Upload
from sealmarket_enclave.protocol.codec import Bytes32

_BUSY_SECONDS = 5
_Name = tuple[Bytes32, Bytes32]


@dataclass(slots=True)
class _Paused:
    """One upload. ``busy``: a request works on it. ``size`` in bytes; ``touched`` in the clock's seconds."""

    path: Path
    upload: Upload
    touched: float
    size: int = 0
    busy: bool = False


class Uploads:
    """The uploads of one store that come in parts. ``clock`` gives seconds."""

    def __init__(self, blobs: Blobs, clock: Callable[[], float] = time.monotonic) -> None:
        self._blobs, self._ledger, self._limits, self._clock = blobs, blobs.ledger, blobs.ledger.limits, clock
        self._lock = threading.Lock()
        self._known: dict[_Name, _Paused] = {}

    def offset(self, root: Bytes32, token: Bytes32) -> int:
        """How many bytes are there. Raises :class:`NotFound`, and :class:`TooMany` while more are coming."""
        with self._lock:
            return self._rested((root, token)).size

    @contextmanager
    def part(self, root: Bytes32, token: Bytes32, offset: int, peer: str) -> Iterator[Incoming]:
        """Take further bytes; ``offset`` 0 of an upload that is not known begins it. What came stays, errors or not.

        Raises:
            NotFound, OtherOffset, TooMany: nothing was taken.
            TooLarge, StoreFull: on writing.
        """
        with self._ledger.place(peer):
            name = root, token
            one = self._claimed(name, offset, peer)
            try:
                with one.path.open("r+b") as file:
                    file.seek(offset)
                    yield Incoming(Kind.CONTAINERS, file, one.path, one.upload)
            finally:
                self._rest(name, one)

    def finish(self, root: Bytes32, token: Bytes32, peer: str) -> None:
        """Give a whole container its name.

        Raises:
            NotFound, TooMany: there is none, or more of it is coming.
            Rejected: it is not the container of this root; nothing of it stays.
        """
        name = root, token
        with self._ledger.place(peer):
            with self._lock:
                one = self._rested(name)
                one.busy = True
            try:
                with one.path.open("r+b") as file:
                    self._blobs.keep(Incoming(Kind.CONTAINERS, file, one.path, one.upload), root)
            except Rejected:
                self._forget(name, one)
                raise
            except BaseException:
                self._rest(name, one)
                raise
            self._forget(name, one)

    def expire(self) -> None:
        """Throw away what was paused too long."""
        with self._lock:
            end = self._clock() - self._limits.paused_seconds
            for name, one in list(self._known.items()):
                if not one.busy and one.touched <= end:
                    self._drop(name)

    def _claimed(self, name: _Name, offset: int, peer: str) -> _Paused:
        self.expire()
        with self._lock:
            if name not in self._known and not offset:
                upload = self._ledger.open(peer)
                self._known[name] = _Paused(self._blobs.new_file(), upload, self._clock())
            one = self._rested(name)
            if one.size != offset:
                raise OtherOffset(f"the upload has {one.size} bytes", remedy=f"go on at byte {one.size}")
            one.busy = True
            return one

    def _rested(self, name: _Name) -> _Paused:
        one = self._known.get(name)
        if one is None:
            raise NotFound("there is no such upload", remedy="begin it anew")
        if one.busy:
            raise TooMany("more of this upload is coming at this moment", _BUSY_SECONDS)
        return one

    def _rest(self, name: _Name, one: _Paused) -> None:
        """A request is over: what it brought is kept, where there is room among the paused."""
        with self._lock:
            if not one.path.exists():  # it has its name, and the disk failed behind that
                self._drop(name)
                return
            one.busy, one.touched, one.size = False, self._clock(), one.path.stat().st_size
            mine = [(other.touched, key) for key, other in self._known.items() if self._is_of(other, one.upload.peer)]
            for _touched, key in sorted(mine)[: -self._limits.paused_per_peer]:
                self._drop(key)
            if len(self._known) > self._limits.paused and name in self._known:
                self._drop(name)

    @staticmethod
    def _is_of(one: _Paused, peer: str) -> bool:
        return not one.busy and one.upload.peer == peer

    def _forget(self, name: _Name, one: _Paused) -> None:
        with self._lock:
            if self._known.get(name) is one:
                self._drop(name)

    def _drop(self, name: _Name) -> None:
        """With the lock held."""
        one = self._known.pop(name)
        one.path.unlink(missing_ok=True)
        self._ledger.release(one.upload)
