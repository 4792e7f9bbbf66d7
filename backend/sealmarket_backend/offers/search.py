"""Finds, among lanes of offers, the one that makes a job cheapest, the oldest among equals, within a bound of work.

The lanes are walked together in the order of price and time, a block at a time, and each only once its cheapest offer
comes. The walk of a lane ends where none of its further offers can be better than the best so far. A search that has
looked at as much as it may goes on another time from the offer where it stopped: an offer keeps its price and its place
in time whatever lane it is in.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heapreplace

from sealmarket_backend.offers.clauses import GUARDS, REACH, Row, Wanted
from sealmarket_backend.offers.lane import Block, Lane, Run, first_of_block, first_of_run

Place = tuple[int, int]
"""Price and sequence."""
FROM_THE_FIRST: Place = (-1, 0)


@dataclass(slots=True)
class Work:
    """What one search has looked at, and may: offers and bounds, each counts one."""

    most: int
    done: int = 0
    in_vain: Counter[Lane] = field(default_factory=Counter)
    """Offers of each lane that missed a limit."""


@dataclass(slots=True)
class Best:
    """The best offer so far. Its rank is what the job pays, then its sequence."""

    wanted: Wanted
    row: Row | None = None
    rank: tuple[float, int] = (float("inf"), 0)

    def look(self, rows: Sequence[Row]) -> tuple[int, int]:
        """Hold offers in price-time order against the best; returns at how many it looked, and how many missed a
        limit."""
        wanted, looked, missed = self.wanted, 0, 0
        limits, units = wanted.limits, wanted.units
        for row in rows:
            looked += 1
            if (row[REACH] - limits) & GUARDS != GUARDS:
                missed += 1
                continue
            price, sequence, unit, expiry = row[:4]
            if price > wanted.max_price or (price, sequence) >= self.rank:
                break
            if unit > wanted.max_unit or expiry <= wanted.now:
                missed += 1
            elif (rank := (price + unit * units, sequence)) < self.rank and wanted.allows(row):
                self.row, self.rank = row, rank
        return looked, missed

    def may_be_bettered(self, first: Row, unit: int) -> bool:
        """Whether this offer or one behind it may be better, if a unit costs at least so much."""
        price, sequence = first[:2]
        return price <= self.wanted.max_price and (price + unit * self.wanted.units, sequence) < self.rank


def search(lanes: Iterable[tuple[Row, Lane]], best: Best, work: Work, start: Place = FROM_THE_FIRST) -> Place | None:
    """Improve on the best so far, from a place on; returns the place to go on from, or None at the end.

    ``lanes``: each with its cheapest offer. However little it may look at, it comes further: what lies before the place
    comes first, and is passed over without a look.
    """
    ahead: list[tuple[Row, Lane | _Walk]] = [*lanes]
    heapify(ahead)
    while ahead:
        first, part = ahead[0]
        if isinstance(part, Lane):
            if not best.may_be_bettered(first, 0):
                return None  # nor may any that is ahead of it
            _open(ahead, part, best, start)
        elif not part.goes_on(best):
            heappop(ahead)
        elif work.done > work.most:
            return first[:2]
        else:
            part.step(best, work)
            heapreplace(ahead, (part.first, part))
    return None


def _open(ahead: list[tuple[Row, Lane | _Walk]], lane: Lane, best: Best, start: Place) -> None:
    """Put the walk over a lane in its place, where an offer in it may keep what is wanted."""
    if lane.bounds is not None and best.wanted.reached(lane.bounds):
        walk = _Walk(lane, start)
        heapreplace(ahead, (walk.first, walk))
    else:
        heappop(ahead)


class _Walk:
    """A walk over one lane."""

    __slots__ = ("_block", "_lane", "_row", "_run", "first")

    def __init__(self, lane: Lane, start: Place) -> None:
        self._lane = lane
        if lane.first is not None and start <= lane.first[:2]:
            self._run = self._block = self._row = 0
            self.first: Row = lane.first
            return
        self._run = max(0, bisect_right(lane.runs, start, key=_place_of_run) - 1)
        blocks = lane.runs[self._run].blocks
        self._block = max(0, bisect_right(blocks, start, key=_place_of_block) - 1)
        rows = blocks[self._block].rows
        self._row = bisect_left(rows, start)
        self.first = rows[min(self._row, len(rows) - 1)]
        if self._row == len(rows):
            self._next_block()

    def goes_on(self, best: Best) -> bool:
        """Whether an offer ahead may be better than the best."""
        bounds = self._lane.bounds
        if bounds is None or self._run >= len(self._lane.runs):
            return False
        return best.may_be_bettered(self.first, bounds.unit)

    def step(self, best: Best, work: Work) -> None:
        """Look at the next block, or pass over it, or over its whole run."""
        runs = self._lane.runs
        run = runs[self._run]
        if self._block == self._row == 0 and len(runs) > 1:
            work.done += 1
            if not (best.wanted.reached(run.bounds) and best.may_be_bettered(self.first, run.bounds.unit)):
                self._next_run()
                return
        block = run.blocks[self._block]
        work.done += 1
        if best.wanted.reached(block.bounds) and best.may_be_bettered(self.first, block.bounds.unit):
            looked, missed = best.look(block.rows[self._row :] if self._row else block.rows)
            work.done += looked
            work.in_vain[self._lane] += missed
        self._next_block()

    def _next_block(self) -> None:
        self._block, self._row = self._block + 1, 0
        blocks = self._lane.runs[self._run].blocks
        if self._block < len(blocks):
            self.first = blocks[self._block].rows[0]
        else:
            self._next_run()

    def _next_run(self) -> None:
        self._run, self._block, self._row = self._run + 1, 0, 0
        if self._run < len(self._lane.runs):
            self.first = first_of_run(self._lane.runs[self._run])


def _place_of_run(run: Run) -> Place:
    return first_of_run(run)[:2]


def _place_of_block(block: Block) -> Place:
    return first_of_block(block)[:2]
