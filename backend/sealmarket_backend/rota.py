"""Whose request has its turn: peers take turns, whatever each has posted, and one turn of the keeper has a bound.

A look at a request costs calls of the chain. Any stranger can post requests that no match will take, in the names of as
many accounts as it likes; it has few addresses. So a request waits for others of its own sender, and for one of each
other sender. A look that takes long ends the turn, and its sender rests.

However many requests are open, a turn reads two pages of them: what is new, and the next part of a round through all,
which finds what opened again and forgets what is open no more.

Gas of what all accounts share is given to peers in the order in which they came for it (:class:`Line`).
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from sealmarket_enclave.protocol.codec import Bytes32

SECONDS = 0.25
"""After so long, a turn looks at no further request."""
LEAST = 4
"""However slow the chain is, a turn looks at so many."""
LONG_SECONDS, RESTS = 0.5, 10
"""A look that takes longer (a large set of counterparts is hashed) lets its peer rest for so many times as long."""
PAGE = 2048
"""Open requests that are read at once: some hundredths of a second."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An open request, its place among all requests, and the peer that posted it."""

    sequence: int
    request_hash: Bytes32
    peer: str


Page = Callable[[int, int], Sequence[Waiting]]
"""``(after, limit)``: open requests behind a place, oldest first; places begin at 1."""


@dataclass(slots=True)
class _Queue:
    """What one peer posted: what was never looked at, then the longest not looked at, each with the number of its last
    look."""

    new: dict[Bytes32, Waiting] = field(default_factory=dict)
    seen: dict[Bytes32, tuple[int, Waiting]] = field(default_factory=dict)

    def next(self, looks: int) -> Waiting | None:
        """The one whose turn it is; None where each was looked at after so many looks."""
        if self.new:
            return next(iter(self.new.values()))
        last, one = next(iter(self.seen.values()), (looks + 1, None))
        return one if last <= looks else None

    def put(self, one: Waiting) -> None:
        if one.request_hash not in self.seen:
            self.new[one.request_hash] = one

    def looked_at(self, one: Waiting, look: int) -> None:
        self.drop(one)
        self.seen[one.request_hash] = look, one

    def drop(self, one: Waiting) -> None:
        self.new.pop(one.request_hash, None)
        self.seen.pop(one.request_hash, None)


class Rota:
    """Remembers what is open, and in which order requests, and peers, had their turn last."""

    def __init__(self, page: Page, clock: Callable[[], float] = time.monotonic) -> None:
        self._page, self._clock = page, clock
        self._looks = self._swept = 0
        self._waiting: list[Waiting] = []
        """By their places."""
        self._peers: OrderedDict[str, _Queue] = OrderedDict()
        """The peer that had its turn last is the last."""
        self._served: dict[str, _Queue] = {}
        """Peers of which this turn looked at every request."""
        self._resting: dict[str, float] = {}

    def read(self) -> list[Waiting]:
        """Read what is new, and the next part of the round through all; returns what was found open no more."""
        self._begin()
        gone = self._sweep()
        newest = self._waiting[-1].sequence if self._waiting else 0
        found = self._page(newest, PAGE)
        self._waiting += found
        self._put(found)
        return gone

    def has(self, one: Waiting) -> bool:
        """Whether it is open, as far as was read."""
        queue = self._peers.get(one.peer) or self._served.get(one.peer)
        return queue is not None and (one.request_hash in queue.new or one.request_hash in queue.seen)

    def due(self, first: Waiting | None = None) -> Iterator[Waiting]:
        """The requests to look at in this turn, in order; the clock is read between them. One request of each peer
        after the other; of each peer, and of the peers, the longest not looked at first. ``first`` comes before them,
        unless its peer rests."""
        self._begin()
        began = now = self._clock()
        before = self._looks
        self._resting = {peer: until for peer, until in self._resting.items() if until > now}
        one = first if first is not None and self.has(first) and first.peer not in self._resting else None
        while (one := one or self._next(before)) is not None:
            if self._looks - before >= LEAST and now >= began + SECONDS:
                return
            self._looks += 1
            self._peers[one.peer].looked_at(one, self._looks)
            self._peers.move_to_end(one.peer)
            yield one
            took, now = self._clock() - now, self._clock()
            if took > LONG_SECONDS:
                self._resting[one.peer] = now + RESTS * took
                return
            one = None

    def _next(self, looks: int) -> Waiting | None:
        """The next request of the peer whose turn it is; None where each was looked at after so many looks."""
        while (peer := next((peer for peer in self._peers if peer not in self._resting), None)) is not None:
            if (one := self._peers[peer].next(looks)) is not None:
                return one
            self._served[peer] = self._peers.pop(peer)
        return None

    def drop(self, one: Waiting) -> None:
        """It is open no more."""
        if (queue := self._peers.get(one.peer)) is not None:
            queue.drop(one)
            if not queue.new and not queue.seen:
                del self._peers[one.peer]

    def _begin(self) -> None:
        """Peers that were served have had their last turn before all others."""
        for peer in reversed(self._served):
            self._peers[peer] = self._served[peer]
            self._peers.move_to_end(peer, last=False)
        self._served = {}

    def _sweep(self) -> list[Waiting]:
        found = self._page(self._swept, PAGE)
        ends = len(found) < PAGE
        first = bisect_right(self._waiting, self._swept, key=_place)
        behind = len(self._waiting) if ends else bisect_right(self._waiting, found[-1].sequence, key=_place)
        there = set(found)
        gone = [one for one in self._waiting[first:behind] if one not in there]
        for one in gone:
            self.drop(one)
        self._waiting[first:behind] = found
        self._put(found)
        self._swept = 0 if ends else found[-1].sequence
        return gone

    def _put(self, found: Iterable[Waiting]) -> None:
        """Who had no request before comes before all others."""
        newcomers: dict[str, _Queue] = {}
        for one in found:
            queue = self._peers.get(one.peer) or newcomers.setdefault(one.peer, _Queue())
            queue.put(one)
        for peer in reversed(newcomers):
            self._peers[peer] = newcomers[peer]
            self._peers.move_to_end(peer, last=False)


class Line:
    """Peers that wait for what is given to one after the other, however many of them ask and however often.

    A place names the request for which its peer waits, and ends with it. The first of them is looked at in each turn
    before all others, and leaves where it then takes nothing of what there is: no peer keeps the line from moving by
    not asking.
    """

    def __init__(self) -> None:
        self._places: dict[str, Waiting] = {}
        self._empty = False
        self._asked: str | None = None
        """In this turn of the keeper: whether there is no more to give, and the first peer, once it had its chance."""

    def begin(self, is_open: Callable[[Waiting], bool]) -> Waiting | None:
        """A turn begins, in which the request that is returned is looked at first. A place ends whose request is open
        no more, and the first one's where it had its chance and took nothing."""
        if self._asked is not None and not self._empty:
            self._places.pop(self._asked, None)
        self._places = {peer: one for peer, one in self._places.items() if is_open(one)}
        self._empty, self._asked = False, None
        return self._first()

    def looks_at(self, one: Waiting) -> None:
        """A request is looked at, whether it then asks or not."""
        first = self._first()
        if first is not None and first.request_hash == one.request_hash:
            self._asked = first.peer

    def is_next(self, one: Waiting) -> bool:
        """Whether its peer may ask now; otherwise it has a place from now on."""
        first = self._first()
        if self._empty or (first is not None and first.peer != one.peer):
            self._places.setdefault(one.peer, one)
            return False
        self._asked = first.peer if first is not None else None
        return True

    def wait(self, one: Waiting) -> None:
        """There is nothing to give for the rest of this turn: the peer that asked is the first in the next one."""
        self._places = {one.peer: one} | {peer: there for peer, there in self._places.items() if peer != one.peer}
        self._empty = True

    def took(self, one: Waiting) -> None:
        """Its peer took something, and waits no more."""
        self._places.pop(one.peer, None)
        if self._asked == one.peer:
            self._asked = None

    def leave(self, one: Waiting) -> None:
        """It waits for nothing here; its peer may wait for another request."""
        if (there := self._places.get(one.peer)) is not None and there.request_hash == one.request_hash:
            self.took(there)

    def _first(self) -> Waiting | None:
        return next(iter(self._places.values()), None)


def _place(one: Waiting) -> int:
    return one.sequence
