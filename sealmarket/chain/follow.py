"""Follows the market's events at final blocks, for the oracle node, the backend's index and the worker alike.

1. The follower reads up to the newest final block, in ranges of at most ``MAX_RANGE`` blocks; after a failure in half
   as many, so that it gets on at a node that fails now and then, however far behind it is.
2. Its user stores a range's events and the range's last block (the cursor) in one transaction. A crash then neither
   loses nor repeats an event.
3. Before it reads on, the follower compares the cursor's hash with the chain. A block that was final and has another
   hash means that the node lies, or that the chain was rewritten below what counts as final: the user learns it as
   :class:`Rewound` and forgets what it read after the newest of its cursors that is still in the chain, or stops.
4. A node whose newest final block comes before the cursor is behind, and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sealmarket.chain.errors import BlockGone, ChainError, NodeDistrusted
from sealmarket.chain.events import ChainEvent
from sealmarket.chain.interface import ChainReader
from sealmarket.chain.logs import MAX_RANGE
from sealmarket.chain.model import Block
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import BlockNumber

NEWEST = 64
"""Blocks that are read in a range of their own when there is more to read, so that a rewind repeats few."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last block whose events were read."""

    number: int
    hash: Bytes32


@dataclass(frozen=True, slots=True)
class EventRange:
    """The events of consecutive blocks, in the chain's order. ``end`` is the cursor to store with them."""

    events: tuple[ChainEvent, ...]
    end: Cursor
    blocks: Mapping[BlockNumber, Block]

    def block_of(self, event: ChainEvent) -> Block:
        """The block that holds one of these events."""
        return self.blocks[event.at.block_number]


@dataclass(frozen=True, slots=True)
class Rewound:
    """The cursor's block is ``found`` now. Everything after ``to_block`` is read again."""

    cursor: Cursor
    found: Bytes32
    to_block: int


class EventReader(Protocol):
    """The user of a follower, with its storage."""

    def cursor(self) -> Cursor | None:
        """The end of the range that was stored last; None before the first."""

    def store(self, read: EventRange) -> None:
        """Store what is of use among a range's events, and its cursor, in one transaction."""

    def earlier(self) -> Sequence[Cursor]:
        """Ends of ranges that were stored earlier, newest first, as far back as the user can rewind."""

    def rewind(self, rewound: Rewound) -> None:
        """Forget everything that was read after ``to_block``, the cursor too; or raise, to read no further."""


class Follower:
    """Reads for one user. ``start`` is the first block that matters: by default where the contracts were deployed."""

    def __init__(self, chain: ChainReader, reader: EventReader, *, start: int | None = None) -> None:
        self._chain, self._reader = chain, reader
        self._start = chain.book.deployed_at if start is None else start
        self._step = MAX_RANGE

    def advance(self) -> Block:
        """Read everything up to the newest final block; returns that block.

        Raises:
            ChainUnavailable, NodeDistrusted: nothing was skipped; call it again later.
            Exception: what the user raises from ``rewind``.
        """
        final = self._chain.final()
        first = self._next(final)
        while first <= final.number:
            last = self._last(first, final.number)
            try:
                read = self._read(first, last, final)
            except ChainError:
                self._step = max(1, (last - first + 1) // 2)
                raise
            self._reader.store(read)
            self._step = min(MAX_RANGE, self._step * 2)
            first = last + 1
        return final

    def _last(self, first: int, final: int) -> int:
        last = min(first + self._step - 1, final)
        return final - NEWEST if first <= final - NEWEST < last else last

    def _next(self, final: Block) -> int:
        cursor = self._reader.cursor()
        if cursor is None:
            return self._start
        if final.number < cursor.number:
            raise NodeDistrusted("final block", f"{cursor.number} or later", final.number)
        found = final.hash if final.number == cursor.number else self._chain.block(cursor.number).hash
        if found == cursor.hash:
            return cursor.number + 1
        rewound = Rewound(cursor, found, self._kept(cursor))
        self._reader.rewind(rewound)
        return rewound.to_block + 1

    def _kept(self, cursor: Cursor) -> int:
        """The newest block that the user can rewind to and that is still in the chain."""
        earlier = (one for one in self._reader.earlier() if one.number < cursor.number)
        kept = (one.number for one in earlier if self._chain.block(one.number).hash == one.hash)
        return next(kept, self._start - 1)

    def _read(self, first: int, last: int, final: Block) -> EventRange:
        events = tuple(self._chain.events(first, last))
        blocks = {number: self._chain.block(number) for number in {event.at.block_number for event in events}}
        for event in events:
            if (found := blocks[event.at.block_number].hash) != event.at.block_hash:
                raise BlockGone(event.at.block_number, event.at.block_hash, found)
        end = final if last == final.number else self._chain.block(last)
        return EventRange(events, Cursor(end.number, end.hash), blocks)
