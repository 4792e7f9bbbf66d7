"""Streams of changes as server-sent events, which a reader takes up again by the id of the last one.

1. An event's id is the database's epoch and the change's number. Where there is no event, the id comes alone, at the
   beginning and each ten seconds: a reader that is cut off before the first one misses nothing. A stream without
   ``Last-Event-ID`` begins now; with one it goes on behind it; where that is no longer kept, or of another database, it
   says ``reset`` and begins now.
2. At most :data:`MOST_STREAMS` at once, and :data:`MOST_OF_PEER` of one peer.
3. A reader who falls :data:`MOST_BEHIND` changes further behind than it began gets an event ``end`` with the reason.
   One who takes nothing at all is cut off as any other reader of an answer.
4. A stream ends after :data:`LONGEST_SECONDS`, and when the server stops: its reader comes again.

The database is read once for all streams.
"""

from __future__ import annotations

import asyncio
import logging
import time
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
from fastapi.concurrency import run_in_threadpool

from sealmarket_backend.changes import Change, Changes
from sealmarket_backend.errors import StorageFailed, TooMany
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.errors import MalformedDocument

log = logging.getLogger(__name__)
MOST_STREAMS = 128
MOST_OF_PEER = 8
MOST_BEHIND = 2_000
BATCH = 200
KEEP_ALIVE_SECONDS = 10.0
LONGEST_SECONDS = 3600.0
POLL_SECONDS = 0.2
_AGAIN_SECONDS = 5
_FULL = "there are too many streams, of this peer or in all"
LONGEST_ID = 40


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which changes a stream has: topics, and one subject or all."""

    topics: frozenset[str]
    subject: Bytes32 | None = None

    def has(self, change: Change) -> bool:
        """Whether a change is one of them."""
        return change.topic in self.topics and self.subject in (None, change.subject)


class Streams:
    """The streams of one backend; for one event loop. ``clock`` gives seconds."""

    def __init__(self, changes: Changes, clock: Callable[[], float] = time.monotonic) -> None:
        self._changes, self._clock = changes, clock
        self._peers: Counter[str] = Counter()
        self._recent: deque[Change] = deque(maxlen=MOST_BEHIND)
        self._newest = 0
        self._moved = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._ending = False

    def end(self) -> None:
        """End every stream soon: the server stops."""
        self._ending = True

    @property
    def count(self) -> int:
        """How many there are."""
        return self._peers.total()

    async def begin(self, wanted: Wanted, last_id: str | None, peer: str) -> AsyncIterator[bytes]:
        """A stream that goes on behind ``last_id``.

        Raises:
            MalformedDocument: the id is none.
            TooMany: there are too many streams, or too many of this peer.
        """
        number = _number_in(last_id, self._changes.epoch) if last_id else None
        if self._is_full(peer):
            raise TooMany(_FULL, _AGAIN_SECONDS)
        newest = await run_in_threadpool(self._changes.newest)
        known = number is not None and number >= 0 and await run_in_threadpool(self._changes.reaches, number)
        reset = last_id is not None and not known
        start = number if known and number is not None else newest
        return self._stream(wanted, start, newest - start, peer, reset=reset)

    async def _stream(self, wanted: Wanted, position: int, lag: int, peer: str, *, reset: bool) -> AsyncIterator[bytes]:
        if self._is_full(peer):  # others began while this one was looked up
            yield self._event(position, "end", {"reason": _FULL})
            return
        with self._place(peer):
            end = self._clock() + LONGEST_SECONDS
            if reset:
                yield self._event(position, "reset", {"reason": "what came since is not kept: read the lists again"})
            else:
                yield self._mark("open", position)
            while True:
                moved = self._moved
                found = await self._behind(position)
                if text := b"".join(self._of(change) for change in found if wanted.has(change)):
                    yield text
                position = found[-1].id if found else position
                if reason := self._reason_to_end(position, lag, end):
                    yield self._event(position, "end", {"reason": reason})
                    return
                if not found and not await _moves(moved):
                    yield self._mark("still here", position)

    def _is_full(self, peer: str) -> bool:
        return self._peers[peer] >= MOST_OF_PEER or self.count >= MOST_STREAMS

    def _reason_to_end(self, position: int, lag: int, end: float) -> str:
        if self._newest - position > MOST_BEHIND + max(lag, 0):
            return "too slow: come again with Last-Event-ID, and read faster"
        if self._ending:
            return "the server stops: come again with Last-Event-ID"
        return "long enough: come again with Last-Event-ID" if self._clock() > end else ""

    @contextmanager
    def _place(self, peer: str) -> Iterator[None]:
        self._peers[peer] += 1
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.get_running_loop().create_task(self._watch())
        try:
            yield
        finally:
            self._peers[peer] -= 1
            if not self._peers[peer]:
                del self._peers[peer]

    async def _watch(self) -> None:
        """Read the database for all streams, as long as there is one; one that is away is asked again."""
        self._recent.clear()
        with _logged():
            self._newest = await run_in_threadpool(self._changes.newest)
        self._wake()
        while self.count:
            found: list[Change] = []
            with _logged():
                found = await run_in_threadpool(self._changes.after, self._newest, BATCH)
            self._recent.extend(found)
            if found:
                self._newest = found[-1].id
            if found or self._ending:
                self._wake()
            if len(found) < BATCH:
                await asyncio.sleep(POLL_SECONDS)

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def _behind(self, position: int) -> list[Change]:
        if self._newest <= position:
            return []
        if self._recent and self._recent[0].id <= position + 1:
            begin = bisect_right(self._recent, position, key=_number_of)  # a change that was taken back leaves a gap
            return [self._recent[place] for place in range(begin, min(begin + BATCH, len(self._recent)))]
        return await run_in_threadpool(self._changes.after, position, BATCH)

    def _of(self, change: Change) -> bytes:
        return self._event(change.id, change.topic, {"subject": str(change.subject), "state": change.state})

    def _mark(self, comment: str, number: int) -> bytes:
        """No event, and the id behind which a reader that is cut off now goes on."""
        return f": {comment}\nid: {self._changes.epoch}-{number}\n\n".encode()

    def _event(self, number: int, name: str, data: dict[str, str]) -> bytes:
        head = f"id: {self._changes.epoch}-{number}\nevent: {name}\ndata: "
        return head.encode() + msgspec.json.encode(data) + b"\n\n"


@contextmanager
def _logged() -> Iterator[None]:
    try:
        yield
    except StorageFailed as error:
        log.warning("streams wait for the database: %s", error.detail)


def _number_of(change: Change) -> int:
    return change.id


async def _moves(moved: asyncio.Event) -> bool:
    try:
        await asyncio.wait_for(moved.wait(), KEEP_ALIVE_SECONDS)
    except TimeoutError:
        return False
    return True


def _number_in(last_id: str, epoch: str) -> int:
    """The number in an id; -1 in one of another database."""
    named, _, number = last_id.partition("-")
    if len(last_id) > LONGEST_ID or not (named and number.isascii() and number.isdigit()):
        raise MalformedDocument(
            f"Last-Event-ID is the id of an event, found {last_id[:LONGEST_ID]!r}", remedy="begin without one"
        )
    return int(number) if named == epoch else -1
