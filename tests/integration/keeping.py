"""A keeper over a real chain, while the test plays nodes and provider, so that jobs run from request to settlement."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sealmarket.chain import Chain, ChainError, Sender, Sending
from sealmarket.chain.erc1271 import contract_accepts
from sealmarket.chain.rpc import Rpc
from sealmarket.client.rules import rules_of
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import NodeStatus, PostedRequest, PostedResult, SignedComputeOrder, SignedDecision
from sealmarket_backend.book import OrderBook
from sealmarket_backend.index import Index
from sealmarket_backend.keeper import Keeper
from sealmarket_backend.signatures import Signatures
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes, canonical_json, decode
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.signing import address_of
from tests.integration.market import EnclaveKeys, Market, development_account

EVIDENCE, RESULT, RECEIPT = keccak(b"evidence"), keccak(b"result"), keccak(b"receipt")
FOLLOWED = ("assets", "jobs", "events", "interruptions", "unreadable")


class Miner:
    """Mines a block every so often on a chain that makes none by itself; a test can stop the clock."""

    def __init__(self, url: str, seconds: float = 0.1) -> None:
        self._rpc = Rpc(url)
        self._seconds, self._end, self._turn = seconds, threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._mine, daemon=True)
        self._thread.start()

    def paused(self) -> threading.Lock:
        """No block is mined while this is held."""
        return self._turn

    def close(self) -> None:
        """Mine no more."""
        self._end.set()
        self._thread.join()
        self._rpc.close()

    def _mine(self) -> None:
        while not self._end.wait(self._seconds):
            with self._turn:
                self._rpc.call("anvil_mine", "0x1")


class Keeping:
    """A keeper that reads and sends at ``rpc``, with an index and an order book of its own."""

    def __init__(self, market: Market, rpc: str, folder: Path) -> None:
        self.market = market
        self.chain = Chain(market.book, rpc, pause=lambda _seconds: None)
        self.database = Database(None)
        self.index = Index(self.database, self.chain, start=market.book.deployed_at)
        rules = rules_of(market.chain)
        signatures = Signatures(market.book, partial(contract_accepts, self.chain))
        self.orders = OrderBook(self.database, signatures, rules)
        sending = Sending(folder / "outbox")
        self._keys = EnclaveKeys()
        self._known: dict[JobId, list[SignedDecision]] = {}
        self.troubles: list[ChainError] = []
        self.sender = Sender(self.chain, development_account(5), development=True, sending=sending)
        self.keeper = Keeper(
            self.chain,
            self.sender,
            self.database,
            self.orders,
            self.index,
            self,  # type: ignore[arg-type]
            rules=rules,
            lacking=lambda _request: (),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.chain.close()
        self.database.close()

    def ask(self, sealed: Any) -> Bytes32:
        """One request and the provider's offer come into the book."""
        self.market.request(sealed)
        posted = self.market.backend.posted
        now = self.market.chain.head().timestamp
        self.orders.add_compute_order(decode(SignedComputeOrder, posted["compute-orders"][-1]), now)
        return self.orders.add_request(decode(PostedRequest, posted["requests"][-1]), now)

    # --- the nodes --------------------------------------------------------------------------------------------

    def statuses(self, _members: object, job_id: JobId) -> Sequence[NodeStatus]:
        """What two nodes say of a job: it is accepted."""
        signed = self._known.get(job_id)
        if signed is None:
            spec = self.index.job(job_id).spec
            signed = self._known[job_id] = self.market.signed(self.market.decision(spec, self._keys, EVIDENCE))
        return [NodeStatus(job_id=job_id, state="decided", reason="", decision=one) for one in signed]

    # --- the provider -----------------------------------------------------------------------------------------

    def provide(self) -> None:
        """Quote what is matched, and post the result of what is accepted."""
        for view in (one for _, one in self.index.unfinished() if one is not None):
            slot = self.market.chain.at(self.market.chain.head()).job(view.request_hash)
            if slot.status is Status.MATCHED:
                self._quote(view.spec)
            elif slot.status is Status.ACCEPTED:
                self._post(view.job_id, view.spec)

    def _quote(self, spec: JobSpec) -> None:
        try:
            self.market.provider_sender.send(self.market.chain.market.quote(spec, EVIDENCE))
        except ChainError:
            return  # another look decides

    def _post(self, job_id: JobId, spec: JobSpec) -> None:
        settlement, signature = self.market.settlement(spec, self._keys, RESULT, RECEIPT)
        posted = PostedResult(
            job_id=job_id,
            enclave_signer=address_of(self._keys.signer.public_key),
            settlement=settlement,
            signature=HexBytes(signature),
            receipt=RECEIPT,
        )
        with self.database.write() as connection:
            connection.execute(
                "INSERT INTO results (job_id, body) VALUES (?, ?)"
                " ON CONFLICT (job_id) DO UPDATE SET body = excluded.body",
                (job_id, canonical_json(posted)),
            )

    # --- turns ------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """One turn of the keeper, as its loop takes it, and one of the provider."""
        try:
            self.keeper.turn()
        except ChainError as error:
            self.troubles.append(error)
        self.provide()

    def is_idle(self, request: Bytes32) -> bool:
        """Take a turn; whether a job is settled and nothing that was sent is without its end."""
        return self.reaches(request, Status.SETTLED) and not self.keeper._outgoing.under_way

    def reaches(self, request: Bytes32, status: Status) -> bool:
        """Take a turn; whether the job of a request has come so far, at the head."""
        self.turn()
        return self.market.chain.at(self.market.chain.head()).job(request).status >= status

    def told(self) -> dict[str, list[tuple[object, ...]]]:
        """What the index says of the chain, without the order in which it learnt that."""
        return told(self.database)


def told(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """The rows of the index's tables."""
    return {table: sorted(map(tuple, database.rows(f"SELECT * FROM {table}")), key=repr) for table in FOLLOWED}


def rebuilt(market: Market, until_block: int) -> tuple[int, dict[str, list[tuple[object, ...]]]]:
    """What an index says that reads the whole chain anew, and up to which block."""
    with Database(None) as database:
        index = Index(database, market.chain, start=market.book.deployed_at)
        while index.position() < until_block:
            index.advance()
        return index.position(), told(database)
