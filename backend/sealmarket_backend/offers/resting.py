"""The compute offers that rest in the book: put, filled, taken, found. In memory, changed in place.

Within one :meth:`RestingOffers.change` every step notes how it is taken back: where the block ends by an exception, as
when the database does not take the same change, the book is as it was before.

How much a search looks at is bounded (:data:`LOOKS`), whatever others have put here. One that ends by that bound goes
on another time from where it was, so that it sees every offer once. What it looked at in vain is sorted meanwhile, so
that those after it need not look. Where the best offer of such a search leaves, it begins again: one that it passed
over may be the best now.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from heapq import merge, nsmallest
from itertools import chain, islice

from sealmarket_backend.offers.clauses import CAPABILITY, HASH, PROVIDER, REACH, Key, Limits, Row, Wanted
from sealmarket_backend.offers.search import FROM_THE_FIRST, Best, Place, Work, search
from sealmarket_backend.offers.shelf import Shelf

LOOKS = 256
"""Offers and bounds that one search looks at, before it goes on another time."""
SORTED_AFTER = 32
"""Looks in vain at one lane's offers, after which it is sorted by the limits that they missed."""
MOST_NAMED = 32
"""Providers or documents that a request names, up to which each is looked up alone."""
MOST_LOST = 3
"""Offers of one provider that leave while they are a search's best, after which it passes over that provider."""
_LEAST_SHARED = 4096


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a search is: the place where it stopped, and the best offer before that; ``done`` at the end.

    ``lost``: of each best offer that left meanwhile, its provider's leaf.
    """

    place: Place = FROM_THE_FIRST
    best: Row | None = None
    lost: tuple[bytes, ...] = ()
    done: bool = False

    def passed_over(self) -> frozenset[bytes]:
        """Providers that had the search begin again as often as it does that for one of them."""
        return frozenset(leaf for leaf, count in Counter(self.lost).items() if count >= MOST_LOST)


_FIRST = Progress()


@dataclass(frozen=True, slots=True)
class Found:
    """The offer that a request gets, or None, and how far its search is."""

    row: Row | None
    progress: Progress
    looks: int = 0

    @property
    def unfinished(self) -> Progress | None:
        """Where the search goes on; nothing is found yet."""
        return None if self.progress.done else self.progress


@dataclass(slots=True)
class _Group:
    """Offers of one key that serve one set of consumers; all of them, by document, and by provider."""

    all: Shelf = field(default_factory=Shelf)
    by_capability: dict[bytes, Shelf] = field(default_factory=dict)
    by_provider: dict[bytes, Shelf] = field(default_factory=dict)
    large: dict[bytes, Shelf] = field(default_factory=dict)
    """Of those by document, the ones with so many offers that they are sorted."""


class RestingOffers:
    """Offers of which each can be matched ``left`` times more. Threads may share it: one call runs at a time."""

    def __init__(self, looks: int = LOOKS) -> None:
        self.looks = looks
        """How much one search looks at."""
        self._groups: dict[Key, dict[bytes, _Group]] = {}
        self._open: dict[bytes, tuple[Row, _Group, Key, bytes, int]] = {}
        self._limits: dict[Limits, Limits] = {}
        self._leaves: dict[bytes, bytes] = {}
        self._asked: dict[Shelf, Shelf] = {}
        """What requests missed, in the order in which it is sorted; with each shelf the one that it follows."""
        self._followers: dict[Shelf, Shelf] = {}
        """What no request missed, and is sorted after that."""
        self._undo: list[Callable[[], None]] | None = None
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, order_hash: object) -> bool:
        return order_hash in self._open

    def left(self, order_hash: bytes) -> int:
        """How many jobs more an offer takes; 0 where it does not rest here."""
        return self._open[order_hash][4] if order_hash in self._open else 0

    def rows(self) -> list[tuple[Row, int]]:
        """All offers, oldest first, and how often each may be matched."""
        with self._lock:
            return sorted(((one[0], one[4]) for one in self._open.values()), key=lambda one: one[0][1])

    def roots(self, key: Key) -> Iterable[bytes]:
        """The sets of consumers that offers of a key serve."""
        return tuple(self._groups.get(key, ()))

    @contextmanager
    def change(self) -> Iterator[None]:
        """Changes that hold together: all of them, or, where the block raises, none."""
        with self._lock:
            if self._undo is not None:
                raise RuntimeError("a change of the book is under way: make one after the other")
            undo: list[Callable[[], None]] = []
            self._undo = undo
            try:
                yield
            except BaseException:
                self._undo = None
                for step in reversed(undo):
                    step()
                raise
            finally:
                self._undo = None

    def put(self, key: Key, root: bytes, row: Row, left: int) -> None:
        """Let an offer rest here; ``root`` is its set of consumers. One that rests here already stays as it is."""
        with self._lock:
            if row[HASH] in self._open or left <= 0:
                return
            row = self._shared(row)
            group = self._groups.setdefault(key, {}).setdefault(root, _Group())
            group.all.put(row)
            group.by_provider.setdefault(row[PROVIDER], Shelf()).put(row)
            shelf = group.by_capability.setdefault(row[CAPABILITY], Shelf())
            shelf.put(row)
            if shelf.is_large and row[CAPABILITY] not in group.large:
                group.large[row[CAPABILITY]] = shelf
                if group.all.is_divided:
                    self._followers[shelf] = group.all
            self._open[row[HASH]] = row, group, key, root, left
            self._note(lambda: self._drop(row[HASH]))

    def refill(self, offers: Iterable[tuple[Key, bytes, Row, int]]) -> None:
        """Let these offers rest here and no others: key, set of consumers, row, and how often each may be matched.
        Where their reading fails, all stays as it was."""
        with self._lock:
            before = self._groups, self._open, self._asked, self._followers
            self._groups, self._open, self._asked, self._followers = {}, {}, {}, {}
            try:
                for one in offers:
                    self.put(*one)
            except BaseException:
                self._groups, self._open, self._asked, self._followers = before
                raise

    def take(self, order_hash: bytes) -> bool:
        """Remove an offer; False where it does not rest here."""
        with self._lock:
            if order_hash not in self._open:
                return False
            row, _, key, root, left = self._open[order_hash]
            self._drop(order_hash)
            self._note(lambda: self.put(key, root, row, left))
            return True

    def set_left(self, order_hash: bytes, left: int) -> None:
        """An offer takes so many jobs more; with none left it leaves."""
        with self._lock:
            if order_hash not in self._open:
                return
            if left <= 0:
                self.take(order_hash)
                return
            row, group, key, root, before = self._open[order_hash]
            self._open[order_hash] = row, group, key, root, left
            self._note(lambda: self.set_left(order_hash, before))

    def find(self, wanted: Wanted, progress: Progress | None = None) -> Found:
        """The offer that a request gets: the cheapest that fits, the oldest among equals. With the progress of a
        search that is done, the same again while that offer rests and fits."""
        with self._lock:
            progress = self._still(wanted, progress or _FIRST)
            if progress.lost:
                wanted = replace(wanted, passed_over=progress.passed_over())
            best, work = Best(wanted), Work(self.looks)
            if progress.best is not None:
                best.look([progress.best])
            stopped = None if progress.done else self._search(best, work, progress.place)
            if stopped is not None:
                return Found(None, Progress(stopped, best.row, progress.lost), work.done)
            if best.row is None and wanted.passed_over:
                return Found(None, Progress(), work.done)  # rather one of theirs than none
            return Found(best.row, Progress(progress.place, best.row, progress.lost, done=True), work.done)

    def _still(self, wanted: Wanted, progress: Progress) -> Progress:
        """How far a search is; from the first where its best offer left, or does not fit any more."""
        if progress.best is None or (progress.best[HASH] in self._open and wanted.fits(progress.best)):
            return progress
        return Progress(lost=(*progress.lost, progress.best[PROVIDER]))

    def _search(self, best: Best, work: Work, start: Place) -> Place | None:
        wanted = best.wanted
        shelves = [shelf for group in self._groups_of(wanted) for shelf in _shelves_of(group, wanted)]
        lanes = chain.from_iterable(shelf.lanes_for(wanted) for shelf in shelves)
        stopped = search(lanes, best, work, start)
        self._sort_later(wanted, work)
        return stopped

    def sort(self, most: int) -> int:
        """Move about so many offers to where searches that missed them need not look; returns how many were moved, and
        how many lanes were looked at for it: 0 where nothing is left to do. Call it when there is time."""
        done = 0
        with self._lock:
            while (queue := self._asked or self._followers) and done < most:
                shelf, model = next(iter(queue.items()))
                done += shelf.sort(most - done)
                if done < most:
                    done += len(shelf.lanes)
                    if not shelf.sort_like(model):
                        del queue[shelf]
        return done

    def nearest(self, key: Key, most: int) -> list[Row]:
        """Offers to show to one who found none: the cheapest of a key, else of any."""
        with self._lock:
            alike = list(self._groups.get(key, {}).values())
            groups = alike or [group for roots in self._groups.values() for group in roots.values()]
            lanes = [islice(lane, most) for group in groups[:most] for lane in group.all.lanes]
            return nsmallest(most, merge(*lanes))

    def _groups_of(self, wanted: Wanted) -> list[_Group]:
        roots = self._groups.get(wanted.key, {})
        return [roots[root] for root in wanted.consumer_roots if root in roots]

    def _sort_later(self, wanted: Wanted, work: Work) -> None:
        missed = [lane for lane, count in work.in_vain.items() if count >= SORTED_AFTER]
        for group in self._groups_of(wanted) if missed else ():
            for shelf in _shelves_of(group, wanted):
                if sum(shelf.sort_by(wanted, lane) for lane in missed):
                    self._asked[shelf] = self._followers.pop(shelf, group.all)
                    if shelf is group.all:
                        self._followers |= dict.fromkeys(group.large.values(), shelf)

    def _drop(self, order_hash: bytes) -> None:
        row, group, key, root, _ = self._open.pop(order_hash)
        group.all.take(row)
        shelf = group.by_capability[row[CAPABILITY]]
        shelf.take(row)
        if not shelf.is_large:
            group.large.pop(row[CAPABILITY], None)
        if not shelf.size:
            del group.by_capability[row[CAPABILITY]]
        shelf = group.by_provider[row[PROVIDER]]
        shelf.take(row)
        if not shelf.size:
            del group.by_provider[row[PROVIDER]]
        if not group.all.size:
            del self._groups[key][root]

    def _shared(self, row: Row) -> Row:
        """The same, of which equal parts are kept once: a provider repeats its limits, its leaf and its documents."""
        for kept in (self._limits, self._leaves):
            if len(kept) > 2 * len(self._open) + _LEAST_SHARED:
                kept.clear()  # most of it belongs to offers that left
        limits = self._limits.setdefault(row[REACH], row[REACH])
        provider, document = (self._leaves.setdefault(leaf, leaf) for leaf in (row[PROVIDER], row[CAPABILITY]))
        return (*row[:4], limits, provider, document, row[HASH])

    def _note(self, step: Callable[[], None]) -> None:
        if self._undo is not None:
            self._undo.append(step)


def _shelves_of(group: _Group, wanted: Wanted) -> list[Shelf]:
    """The smallest division that the request allows."""
    for named, shelves in ((wanted.providers, group.by_provider), (wanted.capabilities, group.by_capability)):
        if named is not None and len(named) <= MOST_NAMED:
            return [shelves[leaf] for leaf in named if leaf in shelves]
    return [group.all]
