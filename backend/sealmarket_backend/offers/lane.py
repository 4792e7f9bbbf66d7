"""Offers in price-time order, in blocks that know what the best of them reaches.

A walk over a lane passes over a block, or a run of blocks, whose bounds miss a clause, without a look at its offers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

from sealmarket_backend.offers.clauses import Bounds, Row

MOST_ROWS, MOST_BLOCKS = 64, 64
"""In a block, and in a run of blocks."""
_NARROWED_AFTER = 16
"""Offers that leave a block before its bounds are taken anew. Until then they are wider than they need to be."""


class Block:
    """Offers of which the first is the cheapest, the oldest among equals."""

    __slots__ = ("bounds", "left", "rows")

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self.bounds = Bounds.of(rows)
        self.left = 0


class Run:
    """Blocks in order."""

    __slots__ = ("blocks", "bounds")

    def __init__(self, blocks: list[Block]) -> None:
        self.blocks = blocks
        self.bounds = _joined(blocks)


class Lane:
    """Offers in order. A walk and a change exclude each other: its caller sees to that."""

    __slots__ = ("bounds", "first", "runs", "size")

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.bounds: Bounds | None = None
        self.first: Row | None = None
        """The cheapest offer, the oldest among equals."""
        self.size = 0

    def __iter__(self) -> Iterator[Row]:
        for run in self.runs:
            for block in run.blocks:
                yield from block.rows

    def put(self, row: Row) -> None:
        """Add an offer."""
        self.size += 1
        if self.bounds is None or self.first is None:
            self.runs, self.first = [Run([Block([row])])], row
            self.bounds = self.runs[0].bounds
            return
        self.first = min(self.first, row)
        self.bounds = self.bounds.with_row(row)
        at, run = self._run_of(row)
        place, block = _block_of(run, row)
        run.bounds = run.bounds.with_row(row)
        if len(block.rows) < MOST_ROWS:
            insort(block.rows, row)
            block.bounds = block.bounds.with_row(row)
            return
        run.blocks[place : place + 1] = _halves(block, row)
        if len(run.blocks) > MOST_BLOCKS:
            last = at == len(self.runs) - 1 and place >= len(run.blocks) - 2
            middle = len(run.blocks) - 1 if last else len(run.blocks) // 2
            self.runs[at : at + 1] = [Run(run.blocks[:middle]), Run(run.blocks[middle:])]

    def take(self, row: Row) -> bool:
        """Remove an offer; False where it is not here."""
        if not self.runs:
            return False
        at, run = self._run_of(row)
        place, block = _block_of(run, row)
        found = bisect_left(block.rows, row)
        if found == len(block.rows) or block.rows[found] != row:
            return False
        del block.rows[found]
        self.size -= 1
        block.left += 1
        if block.rows and block.left < _NARROWED_AFTER:
            self._set_first()
            return True
        if not block.rows:
            del run.blocks[place]
        else:
            block.bounds, block.left = Bounds.of(block.rows), 0
        self._narrow(at, run)
        self._set_first()
        return True

    def take_first(self) -> list[Row]:
        """Remove the offers of the first block, and return them."""
        run = self.runs[0]
        rows = run.blocks.pop(0).rows
        self.size -= len(rows)
        if not run.blocks:
            del self.runs[0]
        if not self.runs:
            self.bounds = None
        self._set_first()
        return rows

    def _set_first(self) -> None:
        self.first = first_of_run(self.runs[0]) if self.runs else None

    def _narrow(self, at: int, run: Run) -> None:
        if run.blocks:
            before = run.bounds
            run.bounds = _joined(run.blocks)
            if before == run.bounds:
                return
        else:
            del self.runs[at]
        self.bounds = _joined(self.runs) if self.runs else None

    def _run_of(self, row: Row) -> tuple[int, Run]:
        at = max(0, bisect_right(self.runs, row, key=first_of_run) - 1)
        return at, self.runs[at]


def _block_of(run: Run, row: Row) -> tuple[int, Block]:
    at = max(0, bisect_right(run.blocks, row, key=first_of_block) - 1)
    return at, run.blocks[at]


def _halves(block: Block, row: Row) -> list[Block]:
    """A full block and one offer more, as two. Loaded in order, blocks stay full: what comes last begins a new one."""
    if row > block.rows[-1]:
        return [block, Block([row])]
    insort(block.rows, row)
    middle = len(block.rows) // 2
    return [Block(block.rows[:middle]), Block(block.rows[middle:])]


def _joined(parts: list[Block] | list[Run]) -> Bounds:
    bounds = parts[0].bounds
    for part in parts[1:]:
        bounds = bounds.joined(part.bounds)
    return bounds


def first_of_run(run: Run) -> Row:
    """The cheapest offer of a run, the oldest among equals."""
    return run.blocks[0].rows[0]


def first_of_block(block: Block) -> Row:
    """The cheapest offer of a block, the oldest among equals."""
    return block.rows[0]
