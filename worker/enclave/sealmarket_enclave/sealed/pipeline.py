"""Several chunks at once, in order: the primitives under a chunk leave other threads running while they compute.

One thread reads and writes; ``threads`` others encrypt or hash. Memory is one slot more than there are threads.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

MOST_THREADS = 4
S = TypeVar("S")
R = TypeVar("R")


def threads_for(wanted: int | None, chunks: int) -> int:
    """How many threads compute: as wanted, else as many as this process may use, and no more than there is work for."""
    usable = len(os.sched_getaffinity(0)) if wanted is None else wanted
    return max(1, min(usable, MOST_THREADS, chunks))


def in_order(
    count: int, slots: Sequence[S], fill: Callable[[int, S], None], work: Callable[[int, S], R]
) -> Iterator[tuple[S, R]]:
    """Yield each slot with what ``work`` made of it, by index; a slot is filled again once its turn is over.

    ``fill`` runs in the caller's thread, one index after the other, and ``work`` beside it where there are two slots or
    more. What either raises for an index is raised after all earlier ones were yielded, as without threads.
    """
    if len(slots) == 1:
        for index in range(count):
            fill(index, slots[0])
            yield slots[0], work(index, slots[0])
        return
    under_way: deque[tuple[S, Future[R]]] = deque()
    with ThreadPoolExecutor(len(slots) - 1) as pool:
        for index in range(count):
            if len(under_way) == len(slots):
                yield _next(under_way)
            slot = slots[index % len(slots)]
            try:
                fill(index, slot)
            except BaseException:
                yield from _rest(under_way)
                raise
            under_way.append((slot, pool.submit(work, index, slot)))
        yield from _rest(under_way)


def _next(under_way: deque[tuple[S, Future[R]]]) -> tuple[S, R]:
    slot, made = under_way.popleft()
    return slot, made.result()


def _rest(under_way: deque[tuple[S, Future[R]]]) -> Iterator[tuple[S, R]]:
    while under_way:
        yield _next(under_way)
