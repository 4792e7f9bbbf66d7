"""Logs that no endpoint can make up, change or keep back while enough of them agree.

1. As many endpoints as must agree are asked for the logs of a range; each shows the range's last block first. One of
   them is honest, so together they name every block that has such logs.
2. Of each block that one of them names, the hash is the one on which enough agree, and the logs are those of its
   receipts (:mod:`sealmarket.chain.receipts`), by any endpoint. What the others said of that block counts for nothing.
3. An endpoint that names a log that a block has not is left out and named; so is one whose receipts are not the
   block's. It costs one block's receipts until then, however many logs it made up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from sealmarket.chain.errors import BlockGone, NodeDistrusted
from sealmarket.chain.model import Block
from sealmarket.chain.proof import proven_block_header
from sealmarket.chain.quorum import EndpointQuorum
from sealmarket.chain.receipts import proven_logs
from sealmarket.chain.rpc import Rpc, data, quantity
from sealmarket_enclave.protocol.codec import Address, Bytes32

_KEPT_BLOCKS = 64
"""Blocks whose logs are kept: decisions are read together with their jobs' matches."""
_KEPT_BYTES, _OF_A_LOG = 16 << 20, 1024
"""Of all that is kept, by what logs say; each counts for so many bytes beside that. One block can have megabytes."""
_CONTENT = ("address", "data", "topics", "logIndex")
Log = dict[str, Any]
T = TypeVar("T")


class ProvenLogs:
    """Logs of a market's contracts, read through a quorum of endpoints. Threads may share it."""

    def __init__(self, rpc: Rpc, quorum: EndpointQuorum, contracts: Collection[Address]) -> None:
        self._rpc, self._quorum = rpc, quorum
        self._contracts = frozenset(contract.checksum.lower() for contract in contracts)
        self._kept: dict[Bytes32, list[Log]] = {}
        self._turn = threading.Lock()

    def logs(self, query: Mapping[str, Any], first: int, last: int) -> list[Log]:
        """The logs that ``eth_getLogs`` should answer to a query over blocks ``first`` to ``last``, both included.

        Raises:
            TooFewAgree, EndpointsDisagree: fewer endpoints than must agree answer, or show one block.
            ChainError: no endpoint proves what a block holds; or what an endpoint says to so wide a range.
        """
        end = self._quorum.block(last)
        found: dict[int, list[Log]] = {}
        for endpoint, shown in self._quorum.each(lambda: self._answer(query, first, end), "logs"):
            for number, logs in shown.items():
                if number not in found:
                    found[number] = [log for log in self._block_logs(number) if _fits(log, query)]
                if made_up := _made_up(logs, found[number]):
                    what = f"{made_up} logs of block {number}"
                    self._quorum.leave_out(endpoint, what, "what the block's receipts hold", "logs that are not there")
                    break
        return [log for number in sorted(found) for log in found[number]]

    def at_one(self, read: Callable[[], T]) -> T:
        """What ``read`` returns at one endpoint; at the next where that one fails, refuses it or contradicts it.

        Raises:
            ChainError: of the first endpoint, where none answers.
        """
        return self._quorum.proven(read, "headers of blocks without logs")

    def _answer(self, query: Mapping[str, Any], first: int, end: Block) -> Mapping[int, list[Log]]:
        """What the endpoint that is asked tells, by block."""
        shown = self._rpc.call("eth_getBlockByNumber", hex(end.number), False)
        found = data(shown.get("hash"), "block hash") if isinstance(shown, dict) else b""
        if found != end.hash:
            raise BlockGone(end.number, end.hash, "another, or none")
        logs = self._rpc.call("eth_getLogs", {**query, "fromBlock": hex(first), "toBlock": hex(end.number)})
        if not isinstance(logs, list) or not all(isinstance(log, dict) for log in logs):
            raise NodeDistrusted("logs", "a list of logs", type(logs).__name__)
        by_block: dict[int, list[Log]] = {}
        for log in logs:
            by_block.setdefault(quantity(log.get("blockNumber"), "log's block"), []).append(log)
        if any(not first <= number <= end.number for number in by_block):
            raise NodeDistrusted("logs", f"blocks {first} to {end.number}", "logs of other blocks")
        return by_block

    def _block_logs(self, number: int) -> list[Log]:
        """All logs of the market's contracts in one block."""
        block = self._quorum.block(number)
        with self._turn:
            kept = self._kept.get(block.hash)
        if kept is None:
            kept = self._quorum.proven(lambda: self._read(block), f"logs of block {number}")
            with self._turn:
                self._kept[block.hash] = kept
                while len(self._kept) > _KEPT_BLOCKS or sum(map(_size, self._kept.values())) > _KEPT_BYTES:
                    del self._kept[next(iter(self._kept))]
        return kept

    def _read(self, block: Block) -> list[Log]:
        logs = proven_logs(self._rpc, proven_block_header(self._rpc, block))
        return [log for log in logs if log["address"].lower() in self._contracts]


def _fits(log: Log, query: Mapping[str, Any]) -> bool:
    """Whether a log is what a query of addresses and topics asks for."""
    addresses = query["address"]
    wanted = [addresses] if isinstance(addresses, str) else addresses
    if log["address"].lower() not in {one.lower() for one in wanted}:
        return False
    topics = query.get("topics", [])
    found = [topic.lower() for topic in log["topics"]]
    return len(found) >= len(topics) and all(
        topic is None or topic.lower() == shown for topic, shown in zip(topics, found, strict=False)
    )


def _size(logs: Iterable[Log]) -> int:
    return sum(len(log["data"]) + _OF_A_LOG for log in logs)


def _made_up(logs: Iterable[Log], proven: Iterable[Log]) -> int:
    """How many of the logs that an endpoint tells are not among the proven ones."""
    known = {_content(log) for log in proven}
    return sum(_content(log) not in known for log in logs)


def _content(log: Log) -> str:
    return repr([log.get(name) for name in _CONTENT]).lower()
