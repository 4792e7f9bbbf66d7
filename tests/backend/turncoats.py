"""A market whose hostile accounts have each match simulated as they please, and refused in its block.

Its twin of a chain takes every match of theirs when it is asked, and in a block none of them. So what a keeper loses to
accounts that move their coin away in the same block, and to wallets that change their mind, is seen without a chain.
Each job ends at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from itertools import count
from types import SimpleNamespace
from typing import Any

import coincurve

from sealmarket.chain import ChainError, abi
from sealmarket.chain.calls import Call
from sealmarket.chain.ledger_events import BatchEntryFailed
from sealmarket.chain.memory import MemoryChain
from sealmarket.chain.model import Account
from sealmarket.chain.reverts import decode_revert, known_errors
from sealmarket.client.escrow import escrow_of, hold_of
from sealmarket.client.nodes import Nodes
from sealmarket.protocol.orders import Request
from sealmarket.protocol.transitions import Status
from sealmarket_backend.book import OrderBook
from sealmarket_backend.index import Index
from sealmarket_backend.keeper import Keeper
from sealmarket_backend.spending import DAY_SECONDS, GWEI, KeeperSettings, Spending
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Bytes32, HexBytes, Uint, Wei
from sealmarket_enclave.protocol.hashing import keccak
from tests import samples
from tests.backend.orders import (
    ASSET,
    BOOK,
    OWNER,
    PROVIDER,
    RULES,
    account,
    compute,
    indexed,
    keys_only,
    posted_request,
)

LATER = 1 << 40
MATCH_GAS, REFUSED_GAS = 190_000, 90_000
"""What a match of two assets takes, and one that is refused once its signatures were checked."""
MIDNIGHT = 20_000 * DAY_SECONDS
RICH = Account(Wei(10**18), Wei(10**18))


def key(number: int) -> coincurve.PrivateKey:
    """The key of one of many accounts."""
    return coincurve.PrivateKey((1_000 + number).to_bytes(32, "big"))


class Turncoats:
    """The keeper of a market, its clock, and what its blocks did. One gas costs one gwei."""

    def __init__(self, database: Database, settings: KeeperSettings, hostile: Collection[Address] = ()) -> None:
        self.now, self.hostile = float(MIDNIGHT), set(hostile)
        self.database, self.chain = database, MemoryChain(BOOK, timestamp=MIDNIGHT)
        self.chain.publish(ASSET, account(OWNER), indexed().seal, indexed(expiry=LATER, max_uses=10**6).terms)
        self.book = OrderBook(database, keys_only(), RULES)
        self.index = Index(database, self.chain, start=0)
        self.spending = Spending(database, settings, self, lambda: self.now)
        parts: Any = self.chain, self, database, self.book, self.index, Nodes()
        self.keeper = Keeper(
            *parts,
            rules=RULES,
            lacking=lambda _request: (),
            spending=self.spending,
            monotonic=lambda: self.now,
        )
        self.drained: set[Address] = set()
        """Providers the last of whose stake a stranger's match takes in each block, before the keeper's."""
        self._calls: dict[bytes, Any] = {}
        self._sent: dict[Bytes32, Call] = {}
        self._numbers = count()
        self.refused_by: Counter[Address] = Counter()
        self.cost = 0
        """Wei, of all transactions that a block has."""
        self.matched_at: dict[Bytes32, float] = {}
        self.prices: dict[Bytes32, int] = {}
        self.is_away = False
        """Whether no transaction can be handed in."""

    # --- parties ------------------------------------------------------------------------------------------------

    def offer(self, provider: coincurve.PrivateKey = PROVIDER, price: int = 40) -> None:
        """A provider with a stake offers any number of jobs."""
        self.chain.set_account(ZERO_ADDRESS, account(provider), RICH)
        made = compute(provider, provider=account(provider), price=Wei(price), volume=10**6, expiry=LATER)
        self.book.add_compute_order(made, int(self.now))

    def ask(
        self, consumer: coincurve.PrivateKey, salt: int, peer: str, *, has: Account = RICH, most: int = 50
    ) -> Bytes32:
        """A consumer posts a request from an address, at a compute price of at most so much."""
        name = account(consumer)
        self.chain.set_account(ZERO_ADDRESS, name, has)
        wanted = {"consumer": name, "payer": name, "salt": Uint(salt), "max_compute_price": Wei(most)}
        made = posted_request(consumer, expiry=LATER, **wanted)
        return self.book.add_request(made, int(self.now), peer)

    def settled(self, consumer: Address, provider: Address, jobs: int) -> None:
        """Jobs of two parties that were settled an hour ago."""
        settled_jobs(self.database, consumer, provider, jobs, int(self.now) - 3600)

    # --- time ---------------------------------------------------------------------------------------------------

    def turn(self, seconds: float = 12.0) -> None:
        """A block, and a turn of the keeper."""
        self.now += seconds
        self.chain.mine()
        self.keeper.turn()

    # --- the sender ---------------------------------------------------------------------------------------------

    def price(self) -> int:
        """What one gas costs."""
        return GWEI

    def gas_of(self, call: Call) -> int:
        """Simulated alone, each match holds whose payer has the coin, and each of a hostile party."""
        deal: Any = call.arguments[0]
        self._calls[call.data] = deal
        if error := self._refusal(deal, pretending=True):
            raise decode_revert(error)
        return MATCH_GAS

    def submit(self, call: Call) -> Bytes32:
        """Handed in; the next look finds it in a block."""
        if self.is_away:
            raise ChainError("the node does not answer")
        name = Bytes32(next(self._numbers).to_bytes(32, "big"))
        self._sent[name] = call
        return name

    def look(self, transaction: Bytes32) -> Any:
        """What a block did with it: each entry of a batch by itself."""
        call = self._sent.pop(transaction)
        errors = [self._execute(deal) for deal in self._deals(call)]
        cost = GWEI * sum(REFUSED_GAS if error else MATCH_GAS for error in errors)
        self.cost += cost
        if call.function != "batch" and errors[0]:
            refused = decode_revert(errors[0])
            refused.cost = cost
            raise refused
        at: Any = None
        failed = [BatchEntryFailed(at, Uint(n), HexBytes(error)) for n, error in enumerate(errors) if error]
        return SimpleNamespace(events=failed, cost=cost)

    def _deals(self, call: Call) -> list[Any]:
        if call.function != "batch":
            return [call.arguments[0]]
        entries: Any = call.arguments[0]
        return [self._calls[bytes(data)] for data in entries]

    def _execute(self, deal: Any) -> bytes:
        """A match in its block; returns what it reverts with."""
        if error := self._refusal(deal):
            return error
        request, order = deal["request"], deal["compute"]
        payer = self.chain.at(self.chain.head()).account(ZERO_ADDRESS, request.payer)
        self.chain.set_account(
            ZERO_ADDRESS, request.payer, Account(Wei(payer.free - self._needed(request)), payer.staked)
        )
        job = self.chain.match(samples.job_of(request, order, [samples.asset_use(asset_id=ASSET)]))
        self.chain.end(job, Status.CANCELLED)
        self.matched_at[request.struct_hash()] = self.now
        self.prices[request.struct_hash()] = int(order.price)
        return b""

    def _refusal(self, deal: Any, *, pretending: bool = False) -> bytes:
        request, order = deal["request"], deal["compute"]
        needed = self._needed(request)
        if order.provider in self.drained and not pretending:
            return insufficient("Stake", order.provider, needed)
        for party in self.hostile & {request.payer, order.provider}:
            if not pretending:
                self.refused_by[party] += 1
                return insufficient_balance(party, needed)
        if self.chain.at(self.chain.head()).account(ZERO_ADDRESS, request.payer).free < needed:
            self.refused_by[request.payer] += not pretending
            return insufficient_balance(request.payer, needed)
        return b""

    def _needed(self, request: Request) -> int:
        view = self.chain.at(self.chain.head())
        return escrow_of(request, RULES, 1, hold_of(request, RULES, view)).total


def insufficient_balance(holder: Address, needed: int) -> bytes:
    """What the ledger reverts with where an account moved its coin away."""
    return insufficient("Balance", holder, needed)


def insufficient(what: str, holder: Address, needed: int) -> bytes:
    """The ledger's error for a balance, or a stake, that is gone."""
    entry = next(one for one in known_errors().values() if one.name == f"Insufficient{what}")
    values = (ZERO_ADDRESS, holder, 0, needed)
    return entry.selector + abi.encode(entry.inputs, values, entry.signature)


def settled_jobs(database: Database, consumer: Address, provider: Address, jobs: int, at: int) -> None:
    """Rows of the index of jobs that were settled at a time."""
    with database.write() as connection:
        last = connection.execute("SELECT COALESCE(MAX(sequence), 0) AS last FROM jobs", ()).fetchone()["last"]
        for number in range(last + 1, last + jobs + 1):
            name = keccak(number.to_bytes(32, "big"))
            connection.execute(
                "INSERT INTO jobs (job_id, request_hash, provider, consumer, status, spec, facts, settled_at, sequence)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (name, name, provider, consumer, int(Status.MATURED), b"{}", b"{}", at, number),
            )
