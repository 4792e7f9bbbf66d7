"""Questions of many requests that one thread answers: those that come while it asks the tables go to them together.

A request that waits costs no thread, and no statement of its own where others ask at the same time. Equal questions
are asked once. Each answer was read after its request came, so a client that knows of a change sees it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeAlias, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")
Answer: TypeAlias = "asyncio.Future[A | None]"
log = logging.getLogger(__name__)


class Gathered(Generic[Q, A]):
    """Asks for the coroutines of one event loop. ``ask`` answers different questions, at most ``most`` at once, in a
    thread of its own; what it raises, each who asked gets. A question that it leaves out has no answer."""

    def __init__(self, ask: Callable[[list[Q]], Mapping[Q, A]], most: int, name: str) -> None:
        self._ask, self._most = ask, most
        self._waiting: dict[Q, list[Answer[A]]] = {}
        self._asking = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def get(self, question: Q) -> A | None:
        """The answer to a question, None where there is none. Raises what asking raises."""
        loop = asyncio.get_running_loop()
        answer: Answer[A] = loop.create_future()
        self._waiting.setdefault(question, []).append(answer)
        if not self._asking:
            self._begin(loop)
        return await answer

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ask what waits, as much as may go together."""
        asked = {question: self._waiting.pop(question) for question in list(islice(self._waiting, self._most))}
        self._asking = True
        done = self._thread.submit(self._ask, list(asked))
        done.add_done_callback(lambda found: _tell(loop, self._over, loop, asked, found))

    def _over(
        self, loop: asyncio.AbstractEventLoop, asked: Mapping[Q, list[Answer[A]]], found: Future[Mapping[Q, A]]
    ) -> None:
        self._asking = False
        if self._waiting:
            self._begin(loop)
        error = found.exception()
        for question, answers in asked.items():
            for answer in answers:
                if answer.done():
                    continue  # its client has left
                if error is None:
                    answer.set_result(found.result().get(question))
                else:
                    answer.set_exception(error)


def _tell(loop: asyncio.AbstractEventLoop, hear: Callable[..., None], *values: object) -> None:
    try:
        loop.call_soon_threadsafe(hear, *values)
    except RuntimeError:
        log.debug("the server has ended; no client waits for an answer")
