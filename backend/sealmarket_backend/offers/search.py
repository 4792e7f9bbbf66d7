"""Finds, among lanes of offers, the one that makes a job cheapest, the oldest among equals, within a bound of work.

The lanes are walked together, a block at a time, the one first whose next offer could be the best. A walk ends when no
block is left that could hold a better one than the best so far.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from sealmarket_backend.offers.clauses import GUARDS, Row, Wanted
from sealmarket_backend.offers.lane import Block, Lane


class OutOfWork(Exception):
    """A search looked at as much as it may: it goes on another time."""


@dataclass(slots=True)
class Work:
    """What one search has looked at, and may: offers and bounds, each counts one."""

    most: int
    done: int = 0
    in_vain: Counter[Lane] = field(default_factory=Counter)
    """Offers of each lane that missed a limit."""

    def spend(self, looks: int) -> None:
        """Count looks. Raises :class:`OutOfWork`."""
        self.done += looks
        if self.done > self.most:
            raise OutOfWork


@dataclass(slots=True)
class Best:
    """The best offer so far. Its rank is what the job pays, then its sequence."""

    wanted: Wanted
    row: Row | None = None
    rank: tuple[float, int] = (float("inf"), 0)

    def look(self, rows: Sequence[Row], least_unit: int) -> tuple[int, int]:
        """Hold offers in price-time order against the best; returns at how many it looked, and how many missed a
        limit."""
        wanted = self.wanted
        most_price, most_unit, units, now, limits = (
            wanted.max_price,
            wanted.max_unit,
            wanted.units,
            wanted.now,
            wanted.limits,
        )
        looked, missed, least = 0, 0, least_unit * units
        for row in rows:
            looked += 1
            price, sequence, unit, expiry, reach, _, _, _ = row
            if price > most_price or (price + least, sequence) >= self.rank:
                break
            if unit > most_unit or expiry <= now or (reach - limits) & GUARDS != GUARDS:
                missed += 1
            elif (rank := (price + unit * units, sequence)) < self.rank and wanted.allows(row):
                self.row, self.rank = row, rank
        return looked, missed


def search(lanes: Iterable[Lane], best: Best, work: Work) -> None:
    """Improve on the best so far. Raises :class:`OutOfWork`."""
    wanted, ahead = best.wanted, []
    for number, lane in enumerate(lanes):
        work.spend(1)
        if lane.bounds is not None and wanted.reached(lane.bounds):
            walk = _blocks(lane, best, work)
            if (block := next(walk, None)) is not None:
                ahead.append((_least_rank(block, lane, wanted), number, block, lane, walk))
    heapify(ahead)
    while ahead:
        rank, number, block, lane, walk = heappop(ahead)
        if rank >= best.rank:
            return
        looked, missed = best.look(block.rows, block.bounds.unit)
        work.in_vain[lane] += missed
        work.spend(looked)
        if (block := next(walk, None)) is not None:
            heappush(ahead, (_least_rank(block, lane, wanted), number, block, lane, walk))


def _blocks(lane: Lane, best: Best, work: Work) -> Iterator[Block]:
    """The blocks that may hold a better offer, in order."""
    wanted = best.wanted
    for run in lane.runs:
        work.spend(1)
        if not wanted.reached(run.bounds):
            continue
        for block in run.blocks:
            work.spend(1)
            price, sequence = block.rows[0][:2]
            if price > wanted.max_price:
                return
            rank = (price + block.bounds.unit * wanted.units, sequence)
            if rank < best.rank and wanted.reached(block.bounds):
                yield block


def _least_rank(block: Block, lane: Lane, wanted: Wanted) -> tuple[int, int]:
    """No offer of this block and of those behind it ranks before this."""
    price, sequence = block.rows[0][:2]
    return price + (lane.bounds.unit if lane.bounds else 0) * wanted.units, sequence
