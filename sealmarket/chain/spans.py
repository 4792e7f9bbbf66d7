"""How many blocks one query of logs covers: fewer where a node refuses, more again while it agrees.

Nodes bound a query by its blocks, its logs or its time, and say so in as many ways as there are nodes. Whatever a node
says to a range, half of it is asked for next, down to one block.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from sealmarket.chain.errors import AnswerTooLong, NodeRefused, RateLimited, RpcRefused, TooSlow

T = TypeVar("T")
PATIENCE_SECONDS = 60.0
"""How long a node may refuse before the query is given up; the next one goes on with fewer blocks."""
AGREED = 16
"""Queries that a node agrees to before twice as many blocks are tried."""
NARROWING = (RpcRefused, AnswerTooLong, RateLimited, TooSlow, NodeRefused)


class Span:
    """Blocks of one query, between 1 and ``most``."""

    def __init__(self, most: int) -> None:
        self._most = self._blocks = most
        self._agreed = 0

    def read(self, ask: Callable[[int, int], T], first: int, last: int) -> Iterator[tuple[int, int, T]]:
        """What ``ask`` answers for each part of a range, with the part's first and last block.

        Raises:
            ChainError: as ``ask`` refuses one single block, or every range for ``PATIENCE_SECONDS``.
        """
        begin, most, patience = first, self._blocks, time.monotonic() + PATIENCE_SECONDS
        while begin <= last:
            end = min(last, begin + self._blocks - 1)
            try:
                found = ask(begin, end)
            except NARROWING:
                if begin == end:
                    self._blocks = most  # the number of blocks was not what is wrong
                    raise
                self._narrow(end - begin + 1)
                if time.monotonic() > patience:
                    raise
                continue
            patience = time.monotonic() + PATIENCE_SECONDS
            self._widen()
            yield begin, end, found
            begin = end + 1

    def _narrow(self, asked: int) -> None:
        self._blocks, self._agreed = max(1, asked // 2), 0

    def _widen(self) -> None:
        self._agreed += 1
        if self._agreed >= AGREED:
            self._blocks, self._agreed = min(self._most, self._blocks * 2), 0
