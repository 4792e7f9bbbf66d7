"""One market on one chain, read through one node that is not trusted more than it has to be.

1. The node's chain id is held against the address book before anything else is believed.
2. Every read of a :class:`View` is pinned to one block hash (EIP-1898). Where a node does not know that form, the
   read goes by number, and the block at that number is compared before and after.
3. Final is what the address book's rule says: the ``finalized`` tag, or an explicit depth.
4. Logs are taken only from these contracts, from blocks that are in the chain, in order, and never removed ones; a
   job's specification is hashed again and must give the job's id. A log that does not read is an
   :class:`~sealmarket.chain.events.UnreadableLog` among the others: it concerns its own asset or job.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from msgspec import structs

from sealmarket.chain import abi, decoding
from sealmarket.chain.contracts import CommitteeContract, MarketContract, RegistryContract
from sealmarket.chain.errors import (
    AnswerTooLong,
    BlockGone,
    ChainUnavailable,
    NodeDistrusted,
    RpcRefused,
    WrongChain,
)
from sealmarket.chain.events import (
    AssetPublished,
    ChainEvent,
    JobDecided,
    JobEnded,
    JobMatched,
    TermsChanged,
    UnreadableLog,
)
from sealmarket.chain.model import Block, EventRef, Fault
from sealmarket.chain.reverts import revert_of
from sealmarket.chain.rpc import Rpc, data, quantity
from sealmarket.chain.view import View
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.decisions import Outcome
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.numbers import BlockNumber
from sealmarket_enclave.protocol.terms import Terms

EVENT_SPAN = 2_000
"""Blocks per log query: what public nodes commonly allow."""


class Chain:
    """Reads one market. Threads may share it."""

    def __init__(self, book: AddressBook, rpc_url: str) -> None:
        self.book = book
        self.rpc = Rpc(rpc_url)
        self.market = MarketContract(book.market, book.chain_id)
        self.registry = RegistryContract(book.registry)
        self.committee_contract = CommitteeContract(book.committee)
        self._lock = threading.Lock()
        self._checked = False
        self._by_hash = True

    @property
    def chain_id(self) -> int:
        """The chain id of the address book, which the node has confirmed. Raises :class:`WrongChain`."""
        with self._lock:
            if not self._checked:
                found = quantity(self.rpc.call("eth_chainId"), "chain id")
                if found != self.book.chain_id:
                    raise WrongChain(self.book.chain_id, found)
                self._checked = True
        return self.book.chain_id

    # --- blocks -----------------------------------------------------------------------------------------------

    def head(self) -> Block:
        """The newest block."""
        return self._block("latest")

    def final(self) -> Block:
        """The newest block that counts, by the address book's rule."""
        rule = self.book.finality
        if rule.kind == "finalized":
            return self._block("finalized")
        return self.block(BlockNumber(max(0, self.head().number - rule.depth)))

    def block(self, number: int) -> Block:
        """The block at a number."""
        found = self._block(hex(number))
        if found.number != number:
            raise NodeDistrusted(f"block {number}", number, found.number)
        return found

    def block_by_hash(self, block_hash: Bytes32) -> Block:
        """The block of a hash; raises :class:`NodeDistrusted` when the node does not know it."""
        _ = self.chain_id
        found = _read_block(self.rpc.call("eth_getBlockByHash", str(block_hash), False), str(block_hash))
        if found.hash != block_hash:
            raise NodeDistrusted("block hash", block_hash, found.hash)
        return found

    def contains(self, block: Block) -> bool:
        """Whether a block that was read earlier is still part of the chain."""
        try:
            return self.block(block.number).hash == block.hash
        except NodeDistrusted:
            return False

    def _block(self, tag: str) -> Block:
        _ = self.chain_id
        return _read_block(self.rpc.call("eth_getBlockByNumber", tag, False), tag)

    # --- state ------------------------------------------------------------------------------------------------

    def at(self, block: Block) -> View:
        """The state at one block: every read of it is pinned to that block's hash."""
        return View(self, block)

    def read(self, to: Address, payload: bytes, block: Block) -> bytes:
        """``eth_call`` pinned to a block.

        Raises:
            Reverted: the contract's own refusal, in words.
            BlockGone: the block is not part of the chain any more.
            NodeDistrusted: an answer without content: no contract there.
        """
        _ = self.chain_id
        asked = {"to": to.checksum, "data": "0x" + payload.hex()}
        answer = data(self._pinned("eth_call", (asked,), block), "answer")
        if not answer:
            raise NodeDistrusted(f"answer of {to.checksum}", "a value of the contract", "nothing at all")
        return answer

    def balance(self, holder: Address, block: Block) -> int:
        """What an account holds of the native coin outside the market, in wei."""
        return quantity(self._pinned("eth_getBalance", (holder.checksum,), block), "balance")

    def code(self, address: Address, block: Block) -> bytes:
        """The code at an address; empty where there is no contract."""
        return data(self._pinned("eth_getCode", (address.checksum,), block), "code")

    def has_code(self, address: Address) -> bool:
        """Whether there is a contract at an address, at the newest block."""
        return bool(self.code(address, self.head()))

    def _pinned(self, method: str, params: tuple[object, ...], block: Block) -> Any:
        if self._by_hash:
            try:
                return self.rpc.call(method, *params, {"blockHash": str(block.hash), "requireCanonical": True})
            except RpcRefused as error:
                if reverted := revert_of(error):
                    raise reverted from error
                # Not a revert: the form is unknown to this node, or the block is gone. The comparison tells.
        self._require(block)
        try:
            answer = self.rpc.call(method, *params, hex(block.number))
        except RpcRefused as error:
            # No revert, so no word about the contract: a node that has just restarted lacks older states, for one.
            unreadable = ChainUnavailable(self.rpc.url, f"it cannot read at block {block.number}: {error.detail}")
            raise revert_of(error) or unreadable from error
        self._require(block)
        self._by_hash = False
        return answer

    def _require(self, block: Block) -> None:
        found = self.block(block.number)
        if found.hash != block.hash:
            raise BlockGone(block.number, block.hash, found.hash)

    # --- events -----------------------------------------------------------------------------------------------

    def events(self, first: int, last: int) -> list[ChainEvent]:
        """What the contracts told from block ``first`` to ``last``, both included, in the chain's order.

        Raises:
            NodeDistrusted: logs that cannot be of this market, out of range, removed, or contradicting the blocks.
        """
        found: list[ChainEvent] = []
        for start in range(first, last + 1, EVENT_SPAN):
            found.extend(self._events(start, min(last, start + EVENT_SPAN - 1)))
        return found

    def _events(self, first: int, last: int) -> list[ChainEvent]:
        _ = self.chain_id
        ours = [entry.checksum for entry in (self.book.registry, self.book.committee, self.book.market)]
        logs = self._logs_of({"address": ours}, first, last)
        refs = [_reference(log) for log in logs]
        if any(not first <= ref.block_number <= last for ref in refs):
            raise NodeDistrusted("logs", f"blocks {first} to {last}", "logs of other blocks")
        if len(set(refs)) != len(refs):
            raise NodeDistrusted("logs", "each log once", "repeated logs")
        hashes = {ref.block_number: self.block(ref.block_number).hash for ref in refs}
        for ref in refs:
            if hashes[ref.block_number] != ref.block_hash:
                raise BlockGone(ref.block_number, hashes[ref.block_number], ref.block_hash)
        return self._completed([event for _, event in sorted(self._decoded(logs), key=lambda pair: pair[0])])

    def about_job(self, job_id: Bytes32, last: Block, first: int | None = None) -> list[ChainEvent]:
        """Everything that was told about one job up to a block; the first is its :class:`JobMatched`."""
        return self._told(self.book.market, [None, str(job_id)], first, last)

    def about_asset(self, asset_id: Bytes32, last: Block) -> list[ChainEvent]:
        """Everything that was told about one asset up to a block."""
        return self._told(self.book.registry, [None, str(asset_id)], None, last)

    def matches_of(self, consumer: Address, first: int, last: Block) -> list[JobMatched]:
        """The jobs of one consumer that were matched from block ``first`` on."""
        topic = _topic("Market", "JobMatched")
        found = self._told(self.book.market, [topic, None, "0x" + consumer.rjust(32, b"\0").hex()], first, last)
        return [event for event in found if isinstance(event, JobMatched)]

    def _told(self, address: Address, topics: list[str | None], first: int | None, last: Block) -> list[ChainEvent]:
        start = self.book.deployed_at if first is None else first
        self._require(last)
        try:
            logs = self._logs(address, topics, start, last.number)
        except RpcRefused:
            # Nodes bound the span of a query: ask for less at a time.
            logs = []
            for begin in range(start, last.number + 1, EVENT_SPAN):
                logs += self._logs(address, topics, begin, min(last.number, begin + EVENT_SPAN - 1))
        self._require(last)
        found = sorted(self._decoded(logs), key=lambda pair: pair[0])
        if any(not start <= ref.block_number <= last.number for ref, _ in found):
            raise NodeDistrusted("logs", f"blocks {start} to {last.number}", "logs of other blocks")
        return self._completed([event for _, event in found])

    def _logs(self, address: Address, topics: list[str | None], first: int, last: int) -> list[Any]:
        return self._logs_of({"address": address.checksum, "topics": topics}, first, last)

    def _logs_of(self, query: dict[str, object], first: int, last: int) -> list[Any]:
        try:
            logs = self.rpc.call("eth_getLogs", {**query, "fromBlock": hex(first), "toBlock": hex(last)})
        except AnswerTooLong:
            # Anybody may fill blocks with logs: ask for half as many blocks, down to one.
            if first >= last:
                raise
            middle = (first + last) // 2
            return self._logs_of(query, first, middle) + self._logs_of(query, middle + 1, last)
        if not isinstance(logs, list):
            raise NodeDistrusted("logs", "a list", type(logs).__name__)
        return logs

    def decode_logs(self, logs: Iterable[Any], block: Block) -> Iterator[ChainEvent]:
        """The typed events among the logs of one receipt; logs of other contracts (tokens) are left out."""
        ours = {self.book.registry, self.book.committee, self.book.market}
        mine = [log for log in logs if _address(log) in ours]
        if any(_reference(log).block_hash != block.hash for log in mine):
            raise BlockGone(block.number, block.hash, "another in the receipt")
        told = [event for _, event in sorted(self._decoded(mine), key=lambda pair: pair[0])]
        return iter(self._completed(told))

    def _completed(self, told: list[ChainEvent]) -> list[ChainEvent]:
        """Fill in what an event leaves to others: a decision's epoch and effect, the terms under a new allow-list."""
        return [self._complete(event, told[place + 1 :]) for place, event in enumerate(told)]

    def _complete(self, event: ChainEvent, later: list[ChainEvent]) -> ChainEvent:
        if isinstance(event, JobDecided):
            epoch = self._epoch_of(event.job_id, event.at)
            if epoch is None:
                return UnreadableLog(event.at, "Market", "JobDecided", event.job_id, "the job's match does not read")
            core = structs.replace(event.core, epoch=epoch)
            ends = (other for other in later if isinstance(other, JobEnded) and other.job_id == event.job_id)
            turned = any(end.at.transaction == event.at.transaction and end.row is Fault.TERMS_REFUSED for end in ends)
            return replace(event, core=core, outcome=Outcome.TERMS_REFUSED if turned else event.outcome)
        if changed := decoding.allow_root_of(event):
            asset_id, version, terms_version, root = changed
            before = self._terms_before(asset_id, version, event.at)
            if before is None:
                why = "the asset's terms do not read"
                return UnreadableLog(event.at, "AssetRegistry", "AllowListReplaced", asset_id, why)
            terms = structs.replace(before, allow_root=root)
            return TermsChanged(event.at, asset_id, version, terms_version, terms)
        return event

    def _epoch_of(self, job_id: Bytes32, at: EventRef) -> int | None:
        """The committee epoch of a job; None when its match does not read."""
        for event in self._about("Market", "JobMatched", job_id, at):
            if isinstance(event, JobMatched):
                return event.spec.epoch
            if isinstance(event, UnreadableLog):
                return None
        raise NodeDistrusted("logs", f"the match of job {job_id} before its decision", "none")

    def _terms_before(self, asset_id: Bytes32, version: int, at: EventRef) -> Terms | None:
        """The terms of a version up to an event; None when a log of them does not read."""
        terms: Terms | None = None
        for event in self._about("AssetRegistry", None, asset_id, at):
            if isinstance(event, UnreadableLog):
                return None
            changed = decoding.allow_root_of(event)
            if isinstance(event, AssetPublished | TermsChanged) and event.version == version:
                terms = event.terms
            elif terms is not None and changed and changed[1] == version:
                terms = structs.replace(terms, allow_root=changed[3])
        if terms is None:
            raise NodeDistrusted("logs", f"the publication of asset {asset_id} before its change", "none")
        return terms

    def _about(self, contract: str, name: str | None, subject: Bytes32, before: EventRef) -> list[ChainEvent]:
        """The events of one contract about one job or asset, up to an event."""
        address = self.book.market if contract == "Market" else self.book.registry
        topics = [_topic(contract, name) if name else None, str(subject)]
        logs = self._logs(address, topics, self.book.deployed_at, before.block_number)
        found = sorted(self._decoded(logs), key=lambda pair: pair[0])
        return [event for ref, event in found if ref < before]

    def _decoded(self, logs: Iterable[Any]) -> Iterator[tuple[EventRef, ChainEvent]]:
        names = {
            self.book.registry: "AssetRegistry",
            self.book.committee: "OracleCommittee",
            self.book.market: "Market",
        }
        for log in logs:
            contract = names.get(_address(log))
            if contract is None:
                raise NodeDistrusted("logs", "logs of this market's contracts", f"one of {_address(log).checksum}")
            ref = _reference(log)
            topics = [Bytes32(data(topic, "topic")) for topic in log.get("topics", [])]
            raw = data(log.get("data"), "log data")
            event = decoding.event(self.book, contract, topics, raw, ref)
            if event is not None:
                yield ref, event

    def close(self) -> None:
        """Give the connections back."""
        self.rpc.close()


def _topic(contract: str, name: str) -> str:
    return next(str(topic) for topic, entry in abi.load(contract).events.items() if entry.name == name)


def _read_block(value: Any, tag: str) -> Block:
    if not isinstance(value, dict):
        raise NodeDistrusted(f"block {tag}", "a block", "none")
    return Block(
        number=BlockNumber(quantity(value.get("number"), "block number")),
        hash=Bytes32(data(value.get("hash"), "block hash")),
        timestamp=quantity(value.get("timestamp"), "timestamp"),
        parent=Bytes32(data(value.get("parentHash"), "parent hash")),
    )


def _address(log: Any) -> Address:
    if not isinstance(log, dict):
        raise NodeDistrusted("log", "an object", type(log).__name__)
    return Address(data(log.get("address"), "log address"))


def _reference(log: Any) -> EventRef:
    if not isinstance(log, dict) or log.get("removed") not in (None, False):
        raise NodeDistrusted("log", "one that is in the chain", "a removed one")
    return EventRef(
        block_number=BlockNumber(quantity(log.get("blockNumber"), "log's block")),
        log_index=quantity(log.get("logIndex"), "log index"),
        block_hash=Bytes32(data(log.get("blockHash"), "log's block hash")),
        transaction=Bytes32(data(log.get("transactionHash"), "log's transaction")),
    )
