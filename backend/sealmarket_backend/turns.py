"""Whose job has its turn: each in the order of its place, round and round, within a bound for each turn of the keeper.

A look at a job costs calls of the chain, and for some a question to every oracle node. However many jobs there are, a
turn looks at a bounded number for a bounded time, and the next turn goes on where it ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
MOST = 256
"""Looks of one turn."""
SECONDS = 2.0
"""After so long, a turn looks at nothing further."""
LEAST = 8
"""However slow the chain is, a turn looks at so many."""
_PAGE = 64


class Turns(Generic[T]):
    """Goes round a list that is read in pages.

    ``page(after, limit)`` gives what comes behind a place, each with its own place, oldest first; places begin at 1.
    What cannot be read has a place and is None.
    """

    def __init__(
        self, page: Callable[[int, int], Sequence[tuple[int, T | None]]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._page, self._clock = page, clock
        self._place = 0

    def due(self, most: int = MOST) -> Iterator[T]:
        """What to look at in this turn, each at most once; the clock is read between them."""
        began, looks = self._clock(), 0
        first, rounds = self._place, 0
        while rounds < 2:
            found = self._page(self._place, min(_PAGE, most - looks))
            if not found:
                self._place, rounds = 0, rounds + 1
                continue
            for place, one in found:
                if rounds and place > first:
                    return
                self._place = place
                if one is None:
                    continue
                yield one
                looks += 1
                if looks >= most or (looks >= LEAST and self._clock() >= began + SECONDS):
                    return
