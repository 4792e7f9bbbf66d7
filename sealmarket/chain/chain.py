"""One market on one chain, read through nodes that are not trusted more than they have to be.

1. A node's chain id is compared with the address book before any other answer is used (:mod:`sealmarket.chain.rpc`).
2. Every read of a :class:`View` is pinned to one block hash (EIP-1898). Where a node does not know that form, the
   read goes by number, and the block at that number is compared before and after.
3. Final is what the address book's rule says: the ``finalized`` tag, or an explicit depth of at least one block; with
   several endpoints, what they agree on (:mod:`sealmarket.chain.agreement`), or k of n of them where the reader says
   how many (:mod:`sealmarket.chain.quorum`).
4. Values that must agree are read at a final block. Some nodes answer reads at the head's hash from the block that they
   are mining, so what is read at the head counts one value at a time, or as a veto.
5. :meth:`Chain.proven` shows state by storage proofs under a block's hash, whatever the node says. With k of n and
   proofs, events are proven as well (:mod:`sealmarket.chain.proven_logs`).
6. A job's specification is hashed again and must give the job's id (:mod:`sealmarket.chain.decoding`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from sealmarket.chain.absence import Header, bloom_of
from sealmarket.chain.agreement import Agreement, patience_of
from sealmarket.chain.alarms import Alarm
from sealmarket.chain.contracts import CommitteeContract, MarketContract, RegistryContract
from sealmarket.chain.errors import (
    BlockGone,
    ChainUnavailable,
    EndpointsRefused,
    NodeDistrusted,
    NoProofs,
    NoSessions,
    Reverted,
    RpcRefused,
)
from sealmarket.chain.events import ChainEvent, JobMatched, VersionPublished
from sealmarket.chain.interface import ProvableView, SessionsReader
from sealmarket.chain.logs import LogReader, contracts_of, topic_of
from sealmarket.chain.model import Block
from sealmarket.chain.proof import ProofRefused
from sealmarket.chain.proven import ProvenView
from sealmarket.chain.proven_code import ProvenCodes
from sealmarket.chain.proven_logs import ProvenLogs
from sealmarket.chain.proven_sessions import ProvenSessions
from sealmarket.chain.quorum import AtEndpoint, ChainTrust, EndpointQuorum
from sealmarket.chain.reverts import revert_of
from sealmarket.chain.rpc import Rpc, data, quantity, word
from sealmarket.chain.session_events import ServiceOpened
from sealmarket.chain.sessions import SessionsView
from sealmarket.chain.view import View
from sealmarket.protocol.book import AddressBook
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.numbers import BlockNumber

T = TypeVar("T")
_KEPT_VIEWS = 8
"""Proven views that are kept: one final block and the heads of a few endpoints."""


LEDGER_EVENTS = ("Deposited", "Withdrawn", "Staked", "UnstakeBegun", "Unstaked")
"""The events of the ledger that name a holder."""


class Chain:
    """Reads one market. Threads may share it.

    Args:
        rpc: the chain's nodes, as :func:`~sealmarket.chain.endpoints.endpoints_of` takes them.
        trust: how many of them must agree, and what is proven; without it, all that keep up must, and proofs are made
            where :meth:`proven` is asked.

    Raises:
        EndpointsRefused: ``rpc`` names no nodes, or fewer than must agree.
    """

    def __init__(
        self,
        book: AddressBook,
        rpc: str,
        *,
        trust: ChainTrust | None = None,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.book = book
        self.rpc = Rpc(rpc, chain_id=book.chain_id, pause=pause)
        self.market = MarketContract(book.market, book.chain_id)
        self.registry = RegistryContract(book.registry)
        self.committee_contract = CommitteeContract(book.committee)
        self._agreement = Agreement(self.rpc, self._block, patience_of(book.timing), clock)
        self.trust = trust or ChainTrust()
        self._quorum = self._quorum_of(trust, clock) if trust is not None else None
        self._codes = ProvenCodes(self)
        self._proven: deque[ProvenView] = deque(maxlen=_KEPT_VIEWS)
        self._logs = LogReader(book, self.rpc, self._header, self._proven_logs())
        self._by_hash = True
        self._newest_final = 0

    def _quorum_of(self, trust: ChainTrust, clock: Callable[[], float]) -> EndpointQuorum:
        count = self.rpc.count
        if trust.needed(count) > count:
            raise EndpointsRefused(f"{count} endpoints, of which {trust.agree} must agree")
        return EndpointQuorum(
            self.rpc,
            self._ruled,
            self._block,
            needed=trust.needed(count),
            ahead=trust.ahead,
            patience=patience_of(self.book.timing),
            clock=clock,
        )

    def _proven_logs(self) -> ProvenLogs | None:
        if self._quorum is None or not self.trust.proofs:
            return None
        return ProvenLogs(self.rpc, self._quorum, contracts_of(self.book))

    @property
    def chain_id(self) -> int:
        """The chain id of the address book, which the node has confirmed. Raises :class:`WrongChain`."""
        self.rpc.confirm()
        return self.book.chain_id

    # --- blocks -----------------------------------------------------------------------------------------------

    def head(self) -> Block:
        """The newest block; an endpoint that stands still while another moves is left for the next."""
        return self._quorum.head() if self._quorum is not None else self.rpc.on_one(self._head)

    def _head(self) -> Block:
        found = self._block("latest")
        self._agreement.require_moving(found)
        return found

    def final(self) -> Block:
        """The newest block that counts, by the address book's rule.

        Raises:
            EndpointsDisagree, TooFewAgree: the endpoints show no block on which enough of them agree.
        """
        return self._quorum.final() if self._quorum is not None else self.rpc.on_one(self._final)

    def _ruled(self) -> Block:
        """The newest block that is final by the address book's rule, at the endpoint that is asked."""
        rule = self.book.finality
        if rule.kind == "finalized":
            return self._block("finalized")
        newest = self._head() if self._quorum is None else self._block("latest")
        return self._at_one(BlockNumber(max(0, newest.number - max(1, rule.depth))))

    def _final(self) -> Block:
        found = self._ruled()
        if self.rpc.several and found.number < self._newest_final:
            raise NodeDistrusted("final block", f"{self._newest_final} or later", found.number)
        agreed = self._agreement.agreed(found)
        self._newest_final = max(self._newest_final, agreed.number)
        return agreed

    def heads(self, read: Callable[[ProvableView], T]) -> Sequence[AtEndpoint[T]]:
        """What ``read`` returns of the state at the newest block of each endpoint that has a say.

        Raises:
            TooFewAgree: fewer endpoints than must agree show it.
        """
        if self._quorum is not None:
            return self._quorum.heads(lambda block: read(self.trusted(block)))
        head = self.head()
        return [AtEndpoint(self.rpc.asked, head, read(self.trusted(head)))]

    def doubt(self, endpoint: str, block: Block) -> None:
        """Say that an endpoint's newest block alone speaks for another answer: once final, it was real or a lie."""
        if self._quorum is not None:
            self._quorum.doubt(endpoint, block)

    @property
    def agreeing(self) -> int:
        """How many endpoints agree on what is read; 0 where one is asked at a time."""
        return self.trust.needed(self.rpc.count) if self._quorum is not None else 0

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """What is wrong with the endpoints now."""
        return self._quorum.alarms.standing() if self._quorum is not None else ()

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The endpoints as they may be printed and as alarms name them, in the order of the configuration."""
        return self.rpc.names

    def block(self, number: int) -> Block:
        """The block at a number; with a quorum the one on which enough endpoints agree, so it must be final.

        Raises:
            EndpointsDisagree, TooFewAgree: they do not.
        """
        return self._quorum.block(number) if self._quorum is not None else self._at_one(number)

    def _at_one(self, number: int) -> Block:
        return self.rpc.on_one(lambda: self._numbered(number))

    def _numbered(self, number: int) -> Block:
        found = self._block(hex(number))
        if found.number != number:
            raise NodeDistrusted(f"block {number}", number, found.number)
        return found

    def block_by_hash(self, block_hash: Bytes32) -> Block:
        """The block of a hash; raises :class:`NodeDistrusted` when the node does not know it."""
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
        return _read_block(self.rpc.call("eth_getBlockByNumber", tag, False), tag)

    def _header(self, number: int | None) -> Header:
        tag = "latest" if number is None else hex(number)
        answer = self.rpc.call("eth_getBlockByNumber", tag, False)
        block = _read_block(answer, tag)
        if number is not None and block.number != number:
            raise NodeDistrusted(f"block {number}", number, block.number)
        return Header(block, bloom_of(answer.get("logsBloom")))

    # --- state ------------------------------------------------------------------------------------------------

    def sessions_at(self, block: Block) -> SessionsView:
        """What sessions have recorded at one block.

        Raises:
            NoSessions: the market has none.
        """
        if self.book.sessions is None:
            raise NoSessions(self.book.market)
        return SessionsView(self, block, self.book.sessions)

    def trusted_sessions(self, block: Block) -> SessionsReader:
        """As :meth:`sessions_at`, as far as this reader trusts endpoints: proven, unless ``trust`` says otherwise."""
        called = self.sessions_at(block)
        return ProvenSessions(self.proven(block), called.address) if self.trust.proofs else called

    def at(self, block: Block) -> View:
        """The state at one block: every read of it is pinned to that block's hash."""
        return View(self, block)

    def proven(self, block: Block) -> ProvenView:
        """The state at one block, by storage proofs under its hash. What was read once is kept for a few blocks."""
        known = next((view for view in tuple(self._proven) if view.block == block), None)
        if known is None:
            known = ProvenView(self, block, self._codes)
            self._proven.append(known)
        return known

    def trusted(self, block: Block) -> ProvableView:
        """The state at one block as far as this reader trusts endpoints: proven, unless ``trust`` says otherwise."""
        return self.proven(block) if self.trust.proofs else self.at(block)

    def prove(self, read: Callable[[], T], block: Block) -> T:
        """What ``read`` proves at a block, by one endpoint; by the next where that one has no proof, or a false one.

        Raises:
            NoProofs: the endpoints do not show that block's state.
            BlockGone: the endpoint no longer has the block.
            ProofRefused: its proof does not hold.
        """
        return self.rpc.on_one(lambda: self._prove_on_one(read, block))

    def _prove_on_one(self, read: Callable[[], T], block: Block) -> T:
        try:
            return self._checked_proof(read, block)
        except (RpcRefused, Reverted) as error:  # whatever it refuses, and in whose words: the next one is asked
            raise NoProofs(self.rpc.asked, block.number, error.message) from error

    def _checked_proof(self, read: Callable[[], T], block: Block) -> T:
        try:
            return read()
        except ProofRefused as error:
            self._require(block)  # the proof may be of another block that has taken its place
            if self._quorum is not None:
                self._quorum.leave_out(self.rpc.asked, error.what, error.expected, error.found)
            raise

    def read(self, to: Address, payload: bytes, block: Block) -> bytes:
        """``eth_call`` pinned to a block.

        Raises:
            Reverted: the contract's own refusal, in words.
            BlockGone: the block is not part of the chain any more.
            NodeDistrusted: an answer without content: no contract there.
        """
        asked = {"to": to.checksum, "data": "0x" + payload.hex()}
        answer = data(self._pinned("eth_call", (asked,), block), "answer")
        if not answer:
            raise NodeDistrusted(f"answer of {to.checksum}", "a value of the contract", "nothing at all")
        return answer

    def run(self, code: bytes, block: Block, *, gas: int) -> bytes:
        """What instructions of ours return, run by ``eth_call`` at a block without being on the chain."""
        asked = {"data": "0x" + code.hex(), "gas": hex(gas)}
        return data(self._pinned("eth_call", (asked,), block), "answer")

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
        return self.rpc.on_one(lambda: self._pinned_on_one(method, params, block))

    def _pinned_on_one(self, method: str, params: tuple[object, ...], block: Block) -> Any:
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
            # Not a revert, so it says nothing about the contract: a node that has just restarted lacks older states.
            unreadable = ChainUnavailable(self.rpc.url, f"it cannot read at block {block.number}: {error.detail}")
            raise revert_of(error) or unreadable from error
        self._require(block)
        self._by_hash = False
        return answer

    def _require(self, block: Block) -> None:
        found = self._at_one(block.number)
        if found.hash != block.hash:
            raise BlockGone(block.number, block.hash, found.hash)

    # --- events -----------------------------------------------------------------------------------------------

    def events(self, first: int, last: int) -> list[ChainEvent]:
        """The events of the contracts from block ``first`` to ``last``, both included, in the chain's order.

        Raises:
            NodeDistrusted: logs that cannot be of this market, out of range, removed, or contradicting the blocks.
        """
        return self._logs.events(first, last)

    def about_job(self, job_id: Bytes32, last: Block, first: int | None = None) -> list[ChainEvent]:
        """All events of one job up to a block; the first is its :class:`JobMatched`."""
        return self._about(self.book.market, [None, str(job_id)], first, last)

    def service_opened(self, job_id: Bytes32, last: Block) -> ServiceOpened | None:
        """How a service was opened, with its terms; None for one that was not, up to a block.

        Raises:
            NoSessions: the market has none.
        """
        if self.book.sessions is None:
            raise NoSessions(self.book.market)
        topics: list[str | None] = [topic_of("Sessions", "ServiceOpened"), str(job_id)]
        found = self._about(self.book.sessions, topics, None, last)
        return next((event for event in found if isinstance(event, ServiceOpened)), None)

    def about_asset(self, asset_id: Bytes32, last: Block) -> list[ChainEvent]:
        """All events of one asset up to a block."""
        return self._about(self.book.registry, [None, str(asset_id)], None, last)

    def matches_of(self, consumer: Address, first: int, last: Block) -> list[JobMatched]:
        """The jobs of one consumer that were matched from block ``first`` on."""
        topics = [topic_of("Market", "JobMatched"), None, _account_topic(consumer)]
        found = self._about(self.book.market, topics, first, last)
        return [event for event in found if isinstance(event, JobMatched)]

    def matches(self, first: int, last: Block) -> list[JobMatched]:
        """All jobs that were matched from block ``first`` on."""
        found = self._about(self.book.market, [topic_of("Market", "JobMatched")], first, last)
        return [event for event in found if isinstance(event, JobMatched)]

    def published_by(self, owner: Address, last: Block) -> list[VersionPublished]:
        """The versions that one owner has published up to a block."""
        topics = [topic_of("AssetRegistry", "VersionPublished"), None, _account_topic(owner)]
        found = self._about(self.book.registry, topics, None, last)
        return [event for event in found if isinstance(event, VersionPublished)]

    def jobs_of(self, provider: Address, first: int, last: Block) -> list[JobMatched]:
        """The jobs of one provider that were matched from block ``first`` on."""
        topics = [topic_of("Market", "JobMatched"), None, None, _account_topic(provider)]
        found = self._about(self.book.market, topics, first, last)
        return [event for event in found if isinstance(event, JobMatched)]

    def ledger_of(self, holder: Address, token: Address, last: Block) -> list[ChainEvent]:
        """What an account put into the ledger, took out, staked and unstaked in a token, in the chain's order."""
        accounts = [_account_topic(token), _account_topic(holder)]
        found: list[ChainEvent] = []
        for name in LEDGER_EVENTS:
            found += self._about(self.book.market, [topic_of("Market", name), *accounts], None, last)
        return sorted(found, key=lambda event: event.at)

    def _about(self, address: Address, topics: list[str | None], first: int | None, last: Block) -> list[ChainEvent]:
        return self.rpc.on_one(lambda: self._about_on_one(address, topics, first, last))

    def _about_on_one(
        self, address: Address, topics: list[str | None], first: int | None, last: Block
    ) -> list[ChainEvent]:
        self._require(last)
        found = self._logs.about(address, topics, self.book.deployed_at if first is None else first, last.number)
        self._require(last)
        return found

    def decode_logs(self, logs: Iterable[Any], block: Block) -> list[ChainEvent]:
        """The events among the logs of one receipt; logs of other contracts (tokens) are left out."""
        return self._logs.of_receipt(logs, block)

    def close(self) -> None:
        """Close the connections."""
        self.rpc.close()


def _account_topic(account: Address) -> str:
    return "0x" + account.rjust(32, b"\0").hex()


def _read_block(value: Any, tag: str) -> Block:
    if not isinstance(value, dict):
        raise NodeDistrusted(f"block {tag}", "a block", "none")
    return Block(
        number=BlockNumber(quantity(value.get("number"), "block number")),
        hash=word(value.get("hash"), "block hash"),
        timestamp=quantity(value.get("timestamp"), "timestamp"),
        parent=word(value.get("parentHash"), "parent hash"),
    )
