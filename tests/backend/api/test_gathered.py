"""Questions that come while others are answered are asked together, each is answered, and none with what was before."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from sealmarket_backend.api.gathered import Gathered
from sealmarket_backend.errors import StorageFailed
from tests.patience import PATIENCE


class Asked:
    """Doubles even numbers, one batch each time it is let go on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go_on = threading.Semaphore(0)

    def __call__(self, questions: list[int]) -> dict[int, int]:
        self.batches.append(questions)
        assert self.go_on.acquire(timeout=PATIENCE)
        return {one: 2 * one for one in questions if one % 2 == 0}


async def soon(holds: Callable[[], bool]) -> None:
    """Wait in the loop until something holds."""
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0.001)


def test_what_asking_raises_each_who_asked_gets_and_the_next_question_is_asked() -> None:
    def ask(questions: list[int]) -> dict[int, int]:
        if 1 in questions:
            raise StorageFailed("away")
        return dict.fromkeys(questions, 0)

    async def check() -> None:
        gathered = Gathered(ask, 8, "test")
        found = await asyncio.gather(*(gathered.get(1) for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in found] == [StorageFailed] * 3
        assert await gathered.get(2) == 0

    asyncio.run(check())


def test_questions_that_came_meanwhile_go_together_equal_ones_once_and_at_most_so_many() -> None:
    async def check() -> None:
        ask = Asked()
        gathered = Gathered(ask, 3, "test")
        first = asyncio.ensure_future(gathered.get(0))
        await soon(lambda: bool(ask.batches))
        others = [asyncio.ensure_future(gathered.get(one)) for one in (2, 4, 2, 5, 6)]
        await asyncio.sleep(0)
        ask.go_on.release(3)
        assert await asyncio.gather(first, *others) == [0, 4, 8, 4, None, 12]
        assert ask.batches == [[0], [2, 4, 5], [6]]

    asyncio.run(check())


def test_an_answer_was_read_after_its_question_came() -> None:
    async def check() -> None:
        ask = Asked()
        gathered = Gathered(ask, 3, "test")
        first = asyncio.ensure_future(gathered.get(2))
        await soon(lambda: bool(ask.batches))
        again = asyncio.ensure_future(gathered.get(2))  # what is being read may be older than what its client knows
        await asyncio.sleep(0)
        ask.go_on.release(2)
        assert [await first, await again] == [4, 4]
        assert ask.batches == [[2], [2]]

    asyncio.run(check())


def test_a_client_that_leaves_takes_the_answer_from_no_other() -> None:
    async def check() -> None:
        ask = Asked()
        gathered = Gathered(ask, 3, "test")
        gone, stays = (asyncio.ensure_future(gathered.get(2)) for _ in range(2))
        await soon(lambda: bool(ask.batches))
        gone.cancel()
        ask.go_on.release(2)
        assert await stays == 4
        with pytest.raises(asyncio.CancelledError):
            await gone

    asyncio.run(check())
