"""Reads the logs of one market's contracts, in ranges, and turns them into events.

1. A query covers at most ``MAX_RANGE`` blocks, or more where few logs are expected; fewer where the node refuses, for
   whatever reason (:mod:`sealmarket.chain.spans`).
2. Logs are taken only from these contracts, from the blocks that were asked for, each once, and never removed ones.
3. A decision says less than its readers need, and is completed by the epoch of its job's match: one query for each
   decision whose match is not among the same logs. No other event costs more than its own log, however many others its
   asset or job has.
4. Where the reader demands proofs, logs are those of receipts (:mod:`sealmarket.chain.proven_logs`). Otherwise all
   answers about a range come from one node, which has shown the range's last block before and shows it afterwards.
   Newest blocks without logs are held against their headers (:mod:`sealmarket.chain.absence`).
5. A log that cannot be decoded, or whose completion rests on such a log, is an
   :class:`~sealmarket.chain.events.UnreadableLog` in its place: it concerns its own job or asset alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeGuard

from msgspec import structs

from sealmarket.chain import abi, decoding
from sealmarket.chain.absence import Absence, Header, Wanted
from sealmarket.chain.errors import BlockGone, NodeDistrusted
from sealmarket.chain.events import (
    ChainEvent,
    JobDecided,
    JobEnded,
    JobMatched,
    UnreadableLog,
)
from sealmarket.chain.model import Block, EventRef, Fault
from sealmarket.chain.proven_logs import ProvenLogs
from sealmarket.chain.rpc import Rpc, data, quantity, word
from sealmarket.chain.spans import Span
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.decisions import Outcome
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.numbers import BlockNumber, JobId

MAX_RANGE = 2_000
"""Blocks per query: what public nodes commonly allow."""
RECENT = 2_048
"""Blocks below the newest, among which replicas of one node may differ."""
MOST_HEADERS = 1_000
"""Headers of blocks without logs that are read for one range of blocks."""
_EVERYTHING = 1 << 40


def contracts_of(book: AddressBook) -> dict[Address, str]:
    """The contracts of a market whose logs are read, each by the name of its ABI."""
    found = {book.registry: "AssetRegistry", book.committee: "OracleCommittee", book.market: "Market"}
    return found if book.sessions is None else found | {book.sessions: "Sessions"}


class LogReader:
    """Logs of one market. ``header`` reads the header at a number, None for the newest.

    ``proven`` gives the logs of a range by proof; without it, what one endpoint answers counts.
    """

    def __init__(
        self, book: AddressBook, rpc: Rpc, header: Callable[[int | None], Header], proven: ProvenLogs | None = None
    ) -> None:
        self._book, self._rpc, self._header, self._proven = book, rpc, header, proven
        self._names = contracts_of(book)
        self._absence = Absence(rpc, header)
        self._span, self._few_span = Span(MAX_RANGE), Span(_EVERYTHING)

    def events(self, first: int, last: int) -> list[ChainEvent]:
        """All events of the contracts from block ``first`` to ``last``, both included, in order.

        Raises:
            NodeDistrusted: logs that cannot be of this market, out of range, removed, kept back, or contradicting the
                blocks; or the node does not have the range's last block.
        """
        if first > last:
            return []
        if self._proven is not None:
            return self._events_proven(self._proven, first, last)
        return self._rpc.on_one(lambda: self._bound(first, last))

    def about(self, address: Address, topics: list[str | None], first: int, last: int) -> list[ChainEvent]:
        """The events of one contract with these topics, from block ``first`` to ``last``, both included, in order.

        Raises:
            LogsMissing: the node tells of none, and one of the newest blocks has some.
        """
        logs = self._few_logs(address, topics, first, last)
        if any(not first <= _reference(log).block_number <= last for log in logs):
            raise NodeDistrusted("logs", f"blocks {first} to {last}", "logs of other blocks")
        if not logs:
            fixed = tuple(None if topic is None else (Bytes32.parse(topic),) for topic in topics)
            self._absence.require([Wanted(address, fixed)], self._recent(first, last))
        return self._events(logs)

    def of_receipt(self, logs: Iterable[Any], block: Block) -> list[ChainEvent]:
        """The events among the logs of one receipt; logs of other contracts (tokens) are left out."""
        ours = [log for log in logs if _address(log) in self._names]
        if any(_reference(log).block_hash != block.hash for log in ours):
            raise BlockGone(block.number, block.hash, "another in the receipt")
        return self._events(ours)

    # --- queries ----------------------------------------------------------------------------------------------

    def _events_proven(self, proven: ProvenLogs, first: int, last: int) -> list[ChainEvent]:
        found = [log for _, _, logs in self._parts(first, last) for log in logs]
        proven.at_one(lambda: self._require_silent(found, first, last))
        return self._events(found)

    def _bound(self, first: int, last: int) -> list[ChainEvent]:
        end = self._header(last).block
        found: list[Any] = []
        for begin, stop, logs in self._parts(first, last):
            self._require_consistent(logs, begin, stop)
            found += logs
        self._require_silent(found, first, last)
        events = self._events(found)
        if (now := self._header(last).block).hash != end.hash:
            raise BlockGone(last, end.hash, now.hash)
        return events

    def _parts(self, first: int, last: int) -> Iterator[tuple[int, int, list[Any]]]:
        query: dict[str, object] = {"address": [contract.checksum for contract in self._names]}
        return self._span.read(lambda *part: self._logs(query, *part), first, last)

    def _require_silent(self, found: list[Any], first: int, last: int) -> None:
        with_logs = {_reference(log).block_number for log in found}
        self._absence.require(self._all_events(), [n for n in self._recent(first, last) if n not in with_logs])

    def _all_events(self) -> list[Wanted]:
        return [Wanted(address, (abi.load(name).events.keys(),)) for address, name in self._names.items()]

    def _recent(self, first: int, last: int) -> range:
        newest = self._header(None).block.number
        return range(max(first, last - MOST_HEADERS + 1, newest - RECENT), last + 1)

    def _few_logs(self, address: Address, topics: list[str | None], first: int, last: int) -> list[Any]:
        query: dict[str, object] = {"address": address.checksum, "topics": topics}
        parts = self._few_span.read(lambda *part: self._logs(query, *part), first, last)
        return [log for _, _, logs in parts for log in logs]

    def _logs(self, query: dict[str, object], first: int, last: int) -> list[Any]:
        if self._proven is not None:
            return list[Any](self._proven.logs(query, first, last))
        logs = self._rpc.call("eth_getLogs", {**query, "fromBlock": hex(first), "toBlock": hex(last)})
        if not isinstance(logs, list):
            raise NodeDistrusted("logs", "a list", type(logs).__name__)
        return logs

    def _require_consistent(self, logs: list[Any], first: int, last: int) -> None:
        refs = [_reference(log) for log in logs]
        if any(not first <= ref.block_number <= last for ref in refs):
            raise NodeDistrusted("logs", f"blocks {first} to {last}", "logs of other blocks")
        if len(set(refs)) != len(refs):
            raise NodeDistrusted("logs", "each log once", "repeated logs")
        hashes = {number: self._header(number).block.hash for number in {ref.block_number for ref in refs}}
        for ref in refs:
            if hashes[ref.block_number] != ref.block_hash:
                raise BlockGone(ref.block_number, hashes[ref.block_number], ref.block_hash)

    # --- decoding ---------------------------------------------------------------------------------------------

    def _events(self, logs: Iterable[Any]) -> list[ChainEvent]:
        found = [event for _, event in self._in_order(logs)]
        turned = {(end.job_id, end.at.transaction) for end in found if _turns(end)}
        matched = {event.job_id: event for event in found if isinstance(event, JobMatched)}
        return [self._complete(event, turned, matched) if isinstance(event, JobDecided) else event for event in found]

    def _in_order(self, logs: Iterable[Any]) -> list[tuple[EventRef, ChainEvent]]:
        return sorted(self._decoded(logs), key=lambda pair: pair[0])

    def _decoded(self, logs: Iterable[Any]) -> Iterator[tuple[EventRef, ChainEvent]]:
        for log in logs:
            contract = self._names.get(_address(log))
            if contract is None:
                raise NodeDistrusted("logs", "logs of this market's contracts", f"one of {_address(log).checksum}")
            ref = _reference(log)
            topics, raw = _topics(log), data(log.get("data"), "log data")
            event = decoding.event(self._book, contract, topics, raw, ref)
            if event is not None:
                yield ref, event

    # --- completing -------------------------------------------------------------------------------------------

    def _complete(
        self,
        event: JobDecided,
        turned: Collection[tuple[Bytes32, Bytes32]],
        matched: Mapping[JobId, JobMatched],
    ) -> ChainEvent:
        """``turned``: jobs that end because of their terms, and the transactions in which they do. ``matched``: jobs
        whose match is known."""
        match = matched.get(event.job_id)
        if match is not None and match.at < event.at:
            epoch: int | None = match.spec.epoch
        else:
            epoch = self._epoch_of(event.job_id, event.at)
        if epoch is None:
            return UnreadableLog(event.at, "Market", "JobDecided", event.job_id, "the job's match cannot be decoded")
        core = structs.replace(event.core, epoch=epoch)
        is_turned = (event.job_id, event.at.transaction) in turned
        return replace(event, core=core, outcome=Outcome.TERMS_REFUSED if is_turned else event.outcome)

    def _epoch_of(self, job_id: Bytes32, at: EventRef) -> int | None:
        """The committee epoch of a job; None when its match cannot be decoded."""
        for event in self._before(self._book.market, [topic_of("Market", "JobMatched"), str(job_id)], at):
            if isinstance(event, JobMatched):
                return event.spec.epoch
            if isinstance(event, UnreadableLog):
                return None
        raise NodeDistrusted("logs", f"the match of job {job_id} before its decision", "none")

    def _before(self, address: Address, topics: list[str | None], at: EventRef) -> list[ChainEvent]:
        """The events of one contract with these topics that come before another event; not completed."""
        logs = self._few_logs(address, topics, self._book.deployed_at, at.block_number)
        return [event for ref, event in self._in_order(logs) if ref < at]


def _turns(event: ChainEvent) -> TypeGuard[JobEnded]:
    return isinstance(event, JobEnded) and event.fault is Fault.TERMS_REFUSED


def topic_of(contract: str, name: str) -> str:
    """The first topic of a contract's event."""
    return next(str(topic) for topic, entry in abi.load(contract).events.items() if entry.name == name)


def _address(log: Any) -> Address:
    if not isinstance(log, dict):
        raise NodeDistrusted("log", "an object", type(log).__name__)
    found = data(log.get("address"), "log address")
    if len(found) != Address.length:
        raise NodeDistrusted("log address", f"{Address.length} bytes", f"{len(found)} bytes")
    return Address(found)


def _topics(log: dict[str, Any]) -> list[Bytes32]:
    found = log.get("topics", [])
    if not isinstance(found, list):
        raise NodeDistrusted("log topics", "a list", type(found).__name__)
    return [word(topic, "topic") for topic in found]


def _reference(log: Any) -> EventRef:
    if not isinstance(log, dict) or log.get("removed") not in (None, False):
        raise NodeDistrusted("log", "one that is in the chain", "a removed one")
    return EventRef(
        block_number=BlockNumber(quantity(log.get("blockNumber"), "log's block")),
        log_index=quantity(log.get("logIndex"), "log index"),
        block_hash=word(log.get("blockHash"), "log's block hash"),
        transaction=word(log.get("transactionHash"), "log's transaction"),
    )
