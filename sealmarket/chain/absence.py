"""Whether a block that a node tells no logs of has none.

A replica that is behind its neighbours answers a range of blocks with an empty list. The header of a block holds a
bloom filter of what was logged in it: where the filter has what was asked for, the block's receipts must say that it
was not logged (a filter may match by accident), or the answer is refused as a gap. Headers are asked for one by one, so
only the newest blocks are held against their filters; that is where replicas differ.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sealmarket.chain.errors import BlockGone, LogsMissing, NodeDistrusted
from sealmarket.chain.model import Block
from sealmarket.chain.receipts import receipts_of
from sealmarket.chain.rpc import Rpc, data, word
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.hashing import keccak

BLOOM_BYTES = 256


@dataclass(frozen=True, slots=True)
class Header:
    """A block with what its header says of logs: ``bloom`` as a number, 0 where the node does not tell it."""

    block: Block
    bloom: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Logs of one contract; of each topic what it may be, None for anything."""

    address: Address
    topics: tuple[Collection[Bytes32] | None, ...]

    def may_be_in(self, bloom: int) -> bool:
        """Whether the filter admits such a log."""
        fixed = [topics for topics in self.topics if topics is not None]
        return _has(bloom, self.address) and all(any(_has(bloom, topic) for topic in topics) for topics in fixed)

    def is_in(self, log: Any) -> bool:
        """Whether a log of a receipt is such a one."""
        if not isinstance(log, dict) or data(log.get("address"), "log address") != self.address:
            return False
        topics = log.get("topics", [])
        if not isinstance(topics, list):
            raise NodeDistrusted("log topics", "a list", type(topics).__name__)
        found = [data(topic, "topic") for topic in topics]
        return len(found) >= len(self.topics) and all(
            topics is None or topic in topics for topic, topics in zip(found, self.topics, strict=False)
        )


class Absence:
    """Holds silent blocks against their headers. ``header`` reads the header at a number."""

    def __init__(self, rpc: Rpc, header: Callable[[int], Header]) -> None:
        self._rpc, self._header = rpc, header

    def require(self, wanted: Collection[Wanted], silent: Iterable[int]) -> None:
        """Believe that blocks hold nothing that is wanted.

        Raises:
            LogsMissing: a block does hold such a log.
            NodeDistrusted: headers that are of no one chain, or receipts that the node does not show.
        """
        before: Block | None = None
        for number in sorted(silent):
            header = self._header(number)
            block = header.block
            if before is not None and before.number + 1 == number and block.parent != before.hash:
                raise BlockGone(before.number, block.parent, before.hash)
            if any(one.may_be_in(header.bloom) for one in wanted):
                self._require_receipts(wanted, block)
            before = block

    def _require_receipts(self, wanted: Collection[Wanted], block: Block) -> None:
        for receipt in receipts_of(self._rpc, block.hash, block.number):
            if not isinstance(receipt, dict) or not isinstance(receipt.get("logs"), list):
                raise NodeDistrusted(f"receipts of block {block.number}", "receipts with logs", "others")
            if (found := word(receipt.get("blockHash"), "receipt's block")) != block.hash:
                raise BlockGone(block.number, block.hash, found)
            if any(one.is_in(log) for one in wanted for log in receipt["logs"]):
                raise LogsMissing(block.number, "the logs that its receipts hold")


def bloom_of(value: object) -> int:
    """A header's filter as a number. Raises :class:`NodeDistrusted` for one of another size."""
    if value is None:
        return 0
    raw = data(value, "logs bloom")
    if len(raw) not in (0, BLOOM_BYTES):
        raise NodeDistrusted("logs bloom", f"{BLOOM_BYTES} bytes", len(raw))
    return int.from_bytes(raw)


def _has(bloom: int, value: bytes) -> bool:
    bits = bits_of(value)
    return bloom & bits == bits


@lru_cache(maxsize=1024)
def bits_of(value: bytes) -> int:
    """The three bits that a value sets in a filter (Ethereum yellow paper, 4.3.1)."""
    digest = keccak(value)
    return sum({1 << (int.from_bytes(digest[at : at + 2]) & 2047) for at in (0, 2, 4)})
