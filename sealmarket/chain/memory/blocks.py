"""The blocks of the twin: mined by hand, taken back, replaced, forgotten, withheld. Knows no rule of the market."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sealmarket.chain.errors import BlockGone, ChainUnavailable, NodeDistrusted
from sealmarket.chain.events import ChainEvent
from sealmarket.chain.memory.state import State
from sealmarket.chain.model import Block, EventRef
from sealmarket.protocol.book import AddressBook
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import BlockNumber

BLOCK_SECONDS = 1
GENESIS_TIMESTAMP = 1_700_000_000


class MemoryBlocks:
    """Blocks, each with its state and its events. ``finality_lag`` of them stand between the head and what is final."""

    def __init__(self, book: AddressBook, *, finality_lag: int = 1, timestamp: int = GENESIS_TIMESTAMP) -> None:
        self.book = book
        self.finality_lag = finality_lag
        genesis = Block(BlockNumber(0), keccak(b"twin 0"), timestamp, ZERO_HASH)
        self._blocks: list[Block] = [genesis]
        self._states: list[State] = [State()]
        self._events: list[list[ChainEvent]] = [[]]
        self._dropped = 0
        """How many of the oldest blocks were forgotten (:meth:`drop_history`)."""
        self._silent = False
        self._forks = 0
        self.behind = 0
        """How many of the newest blocks the endpoint that is asked does not show."""

    # --- what readers see of it -------------------------------------------------------------------------------

    def head(self) -> Block:
        """The newest block, as the endpoint shows it that is asked."""
        self._answer()
        return self._blocks[max(0, len(self._blocks) - 1 - self.behind)]

    def final(self) -> Block:
        """The newest block that counts."""
        self._answer()
        return self._blocks[max(0, len(self._blocks) - 1 - self.finality_lag)]

    def block(self, number: int) -> Block:
        """The block at a number."""
        self._answer()
        if (found := self._find(number)) is None:
            raise NodeDistrusted(f"block {hex(number)}", "a block", "none")
        return found

    def block_by_hash(self, block_hash: Bytes32) -> Block:
        """The block of a hash."""
        self._answer()
        for block in self._blocks:
            if block.hash == block_hash:
                return block
        raise NodeDistrusted(f"block {block_hash}", "a block", "none")

    def contains(self, block: Block) -> bool:
        """Whether a block that was read earlier is still part of the chain."""
        self._answer()
        return self._find(block.number) == block

    def require(self, block: Block) -> None:
        """Raise :class:`BlockGone` unless the block is part of the chain."""
        if not self.contains(block):
            found = self._find(block.number)
            raise BlockGone(block.number, block.hash, found.hash if found is not None else "none")

    def _find(self, number: int) -> Block | None:
        index = number - self._dropped
        return self._blocks[index] if 0 <= index < len(self._blocks) else None

    # --- what a test does with blocks -------------------------------------------------------------------------

    def mine(self, blocks: int = 1, *, seconds: int = BLOCK_SECONDS) -> Block:
        """Mine empty blocks, each ``seconds`` after the one before."""
        for _ in range(blocks):
            self._mine(lambda _state, _at: [], seconds=seconds)
        return self._blocks[-1]

    def finalise(self) -> Block:
        """Mine until what is now the head is final; returns that block."""
        head = self._blocks[-1]
        self.mine(self.finality_lag)
        return head

    def reorganise(self, depth: int) -> Block:
        """Take the last ``depth`` blocks back, with everything in them; returns the new head."""
        del self._blocks[-depth:], self._states[-depth:], self._events[-depth:]
        self._forks += 1
        return self._blocks[-1]

    def rewrite(self, depth: int) -> Block:
        """Put as many empty blocks in the place of the last ``depth``; returns the new head."""
        self.reorganise(depth)
        return self.mine(depth)

    def drop_history(self) -> None:
        """Forget all before the final block, and the jobs that have ended: a long measurement needs none of it."""
        gone = self.final().number - self._dropped
        del self._blocks[:gone], self._states[:gone], self._events[:gone]
        self._dropped += gone
        self._states[-1].forget_ended()

    def fall_silent(self, silent: bool = True) -> None:
        """From now on raise :class:`ChainUnavailable` on every read, or answer again."""
        self._silent = silent

    # --- inside -----------------------------------------------------------------------------------------------

    def _mine(self, change: Callable[[State, EventRef], list[ChainEvent]], *, seconds: int = BLOCK_SECONDS) -> EventRef:
        parent = self._blocks[-1]
        number = BlockNumber(parent.number + 1)
        name = keccak(b"twin %d %d " % (number, self._forks) + parent.hash)
        at = EventRef(number, 0, name, keccak(b"transaction" + name))
        state = self._states[-1].copied()
        events = [replace(event, at=replace(at, log_index=index)) for index, event in enumerate(change(state, at))]
        self._blocks.append(Block(number, name, parent.timestamp + seconds, parent.hash))
        self._states.append(state)
        self._events.append(events)
        return at

    def _answer(self) -> None:
        if self._silent:
            raise ChainUnavailable("memory", "the twin was made to fall silent")
