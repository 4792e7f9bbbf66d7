"""Whose request has its turn: peers take turns, whatever each has posted, and one turn of the keeper has a bound.

A look at a request costs calls of the chain. Any stranger can post requests that no match will take, in the names of as
many accounts as it likes; it has few addresses. So a request waits for others of its own sender, and for one of each
other sender. A look that takes long ends the turn, and its sender rests.

Gas that the keeper gives to accounts without a part of their own is given to peers in the order in which they came for
it (:class:`Line`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from sealmarket_enclave.protocol.codec import Bytes32

SECONDS = 0.25
"""After so long, a turn looks at no further request."""
LEAST = 4
"""However slow the chain is, a turn looks at so many."""
LONG_SECONDS, RESTS = 0.5, 10
"""A look that takes longer (a large set of counterparts is hashed) lets its peer rest for so many times as long."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An open request and the peer that posted it."""

    request_hash: Bytes32
    peer: str


class Rota:
    """Remembers when each request, and each peer, had its turn last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looks = 0
        self._requests: dict[Bytes32, int] = {}
        self._peers: dict[str, int] = {}
        self._resting: dict[str, float] = {}

    def due(self, waiting: Sequence[Waiting]) -> Iterator[Bytes32]:
        """The requests to look at in this turn, in order; the clock is read between them."""
        began = now = self._clock()
        self._forget(waiting, now)
        for number, one in enumerate(self._in_order([one for one in waiting if one.peer not in self._resting])):
            if number >= LEAST and now >= began + SECONDS:
                return
            self._looks += 1
            self._requests[one.request_hash] = self._peers[one.peer] = self._looks
            yield one.request_hash
            took, now = self._clock() - now, self._clock()
            if took > LONG_SECONDS:
                self._resting[one.peer] = now + RESTS * took
                return

    def _in_order(self, waiting: Sequence[Waiting]) -> Iterator[Waiting]:
        """One request of each peer after the other; of each peer, and of the peers, the longest not looked at first."""
        queues: dict[str, deque[Waiting]] = {}
        for one in sorted(waiting, key=lambda one: self._requests.get(one.request_hash, 0)):
            queues.setdefault(one.peer, deque()).append(one)
        peers = deque(sorted(queues, key=lambda peer: self._peers.get(peer, 0)))
        while peers:
            queue = queues[peers[0]]
            yield queue.popleft()
            peers.rotate(-1)
            if not queue:
                peers.pop()

    def _forget(self, waiting: Sequence[Waiting], now: float) -> None:
        """What is open no more, and who has rested."""
        self._resting = {peer: until for peer, until in self._resting.items() if until > now}
        self._requests = {one.request_hash: self._requests.get(one.request_hash, 0) for one in waiting}
        self._peers = {one.peer: self._peers.get(one.peer, 0) for one in waiting}


class Line:
    """Peers that wait for what is given to one after the other, however many of them ask and however often."""

    def __init__(self) -> None:
        self._places: dict[str, None] = {}
        self._empty = self._asked = False
        """In this turn of the keeper: whether there is no more to give, and whether the first peer has asked."""

    def begin(self, waiting: Collection[str]) -> None:
        """A turn begins. Who has nothing in the book leaves, and so does the first where it asked and took nothing."""
        if self._asked and not self._empty:
            self.leave(next(iter(self._places)))
        self._places = {peer: None for peer in self._places if peer in waiting}
        self._empty = self._asked = False

    def is_next(self, peer: str) -> bool:
        """Whether a peer may ask now; otherwise it has a place from now on."""
        first = next(iter(self._places), None)
        if self._empty or first not in (None, peer):
            self._places.setdefault(peer)
            return False
        self._asked = first is not None
        return True

    def wait(self, peer: str) -> None:
        """There is nothing to give for the rest of this turn: the peer that asked is the first in the next one."""
        self._places = {peer: None, **self._places}
        self._empty = True

    def leave(self, peer: str) -> None:
        """It took something."""
        self._places.pop(peer, None)
        self._asked = False
