"""What stands behind an order is looked at again when the chain says something about it; dead orders say why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.chain.errors import ChainUnavailable
from sealmarket.chain.events import EVENTS, ChainEvent
from sealmarket.chain.memory import MemoryChain
from sealmarket.chain.model import Account, Block, EventRef
from sealmarket.protocol.wire import SignedComputeOrder
from sealmarket_backend.book import OrderBook
from sealmarket_backend.errors import Rejected, StorageFailed
from sealmarket_backend.honesty import NOT_FINAL, Honesty
from sealmarket_backend.index import Index
from sealmarket_backend.standing import asset_standing, compute_standing
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, Uint, Wei
from sealmarket_enclave.protocol.numbers import BlockNumber
from tests.backend.full import full_disk
from tests.backend.orders import (
    ASSET,
    BOOK,
    CONSUMER,
    OWNER,
    PROVIDER,
    RULES,
    account,
    asset_order,
    compute,
    indexed,
    keys_only,
    offer_state,
)

LATER = 1 << 40
STAKED = Account(Wei(0), Wei(10**18))
AT = EventRef(block_number=BlockNumber(1), block_hash=ZERO_HASH, transaction=ZERO_HASH, log_index=0)
NEVER_AGAIN = 2**256 - 1


class Market:
    """A backend's book, index and honesty over a chain in memory."""

    def __init__(self, database: Database) -> None:
        self.chain = MemoryChain(BOOK)
        self.chain.publish(ASSET, account(OWNER), indexed().seal, indexed().terms)
        self.stakes(STAKED)
        self.chain.finalise()
        self.database = database
        self.orders = OrderBook(database, keys_only(), RULES)
        self.honesty = Honesty(self.chain, self.orders)
        self.index = Index(database, self.chain, start=0, listener=self.honesty)
        self.index.advance()
        self.settle()

    def stakes(self, stands: Account) -> None:
        self.chain.set_account(ZERO_ADDRESS, account(PROVIDER), stands)

    def settle(self) -> None:
        while self.honesty.look(self.index):
            pass

    def hears(self, name: str, **fields: object) -> None:
        self.chain.finalise()
        self.hears_of_the_head(name, **fields)

    def hears_of_the_head(self, name: str, **fields: object) -> None:
        self.honesty.hear([cast(ChainEvent, EVENTS[name](AT, **fields))])
        self.settle()

    def open(self) -> list[SignedComputeOrder]:
        """What can be matched, by the table; and by the core, which has the same."""
        found = self.orders.open_compute_orders()
        assert [bytes(one.order.struct_hash()) for one in found] == [row[-1] for row, _ in self.orders.offers.rows()]
        return found


@pytest.fixture
def market(database: Database) -> Market:
    return Market(database)


def test_an_offer_whose_stake_is_withdrawn_cannot_be_matched_until_it_is_back(market: Market) -> None:
    signed = compute(expiry=LATER)
    key = market.orders.add_compute_order(signed, 0)
    market.stakes(Account(Wei(0), Wei(0)))
    assert market.open() == [signed]  # nothing was heard yet
    market.hears("Unstaked", token=ZERO_ADDRESS, holder=account(PROVIDER), amount=1)
    assert market.open() == []
    state = offer_state(market.orders, key)
    assert (state.state, state.reason) == (
        "open",
        "its provider has 0 coin staked outside of running jobs, expected the penalty, 10 wei",
    )
    market.stakes(STAKED)
    market.hears("Staked", token=ZERO_ADDRESS, holder=account(PROVIDER), amount=1)
    assert market.open() == [signed]
    assert offer_state(market.orders, key).reason == ""


def test_an_offer_of_an_earlier_generation_leaves_for_good(market: Market) -> None:
    key = market.orders.add_compute_order(compute(expiry=LATER), 0)
    market.stakes(Account(Wei(0), Wei(10**18), generation=1))
    market.hears("AllOrdersCancelled", token=ZERO_ADDRESS, signer=account(PROVIDER), generation=1)
    assert market.open() == []
    state = offer_state(market.orders, key)
    assert (state.state, state.reason) == ("cancelled", "its signer cancelled all orders of generation 0 and is at 1")


@pytest.mark.parametrize(
    ("used", "state", "reason"),
    [(3, "filled", "all of its 3 jobs were matched"), (NEVER_AGAIN, "cancelled", "its signer cancelled it")],
)
def test_an_offer_that_is_used_up_leaves_for_good(used: int, state: str, reason: str, market: Market) -> None:
    key = market.orders.add_compute_order(compute(expiry=LATER, volume=3), 0)
    for jobs in (1, 2):
        market.chain.set_order_used(account(PROVIDER), key, jobs)
        market.hears("OrderUsed", signer=account(PROVIDER), order_hash=key)
        assert market.orders.offers.left(key) == 3 - jobs
    market.chain.set_order_used(account(PROVIDER), key, used)
    market.hears("OrderUsed", signer=account(PROVIDER), order_hash=key)
    assert market.open() == []
    found = offer_state(market.orders, key)
    assert (found.state, found.reason) == (state, reason)


def test_an_owners_offer_leaves_with_its_version_its_generation_or_its_volume(market: Market) -> None:
    keys = [market.orders.add_asset_order(asset_order(expiry=LATER, salt=Uint(n)), indexed(), 0) for n in range(2)]
    market.chain.set_order_used(account(OWNER), keys[0], NEVER_AGAIN)
    market.hears("OrderCancelled", signer=account(OWNER), order_hash=keys[0])
    assert [offer_state(market.orders, key).state for key in keys] == ["cancelled", "open"]
    market.chain.revoke(ASSET, 1)
    market.chain.finalise()
    market.index.advance()
    market.settle()
    assert offer_state(market.orders, keys[1]).reason == "its owner revoked the version"


def test_after_a_restart_an_owner_that_offers_no_compute_is_looked_at_too(market: Market) -> None:
    key = market.orders.add_asset_order(asset_order(expiry=LATER), indexed(), 0)
    market.settle()
    market.chain.set_account(ZERO_ADDRESS, account(OWNER), Account(Wei(0), Wei(0), generation=1))
    market.chain.finalise()
    market.settle()
    assert offer_state(market.orders, key).state == "open"  # nothing was heard
    market.honesty.begin()
    market.settle()
    assert offer_state(market.orders, key).state == "cancelled"


def test_a_stranger_who_cancels_anothers_order_cancels_nothing(market: Market) -> None:
    key = market.orders.add_compute_order(compute(expiry=LATER), 0)
    market.chain.set_order_used(account(CONSUMER), key, NEVER_AGAIN)
    market.hears("OrderCancelled", signer=account(CONSUMER), order_hash=key)
    assert len(market.open()) == 1


def test_only_the_orders_that_an_event_concerns_are_looked_at(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    market.orders.add_compute_order(compute(expiry=LATER), 0)
    looked: list[Block] = []
    head = market.chain.head

    def seen() -> Block:
        looked.append(head())
        return looked[-1]

    monkeypatch.setattr(market.chain, "head", seen)
    market.hears("Staked", token=ZERO_ADDRESS, holder=account(CONSUMER), amount=1)
    market.hears("MatchingPaused", paused=True)
    assert len(looked) == 1
    assert len(market.open()) == 1


def test_a_turn_looks_at_a_bounded_number_of_accounts_and_the_rest_waits(market: Market) -> None:
    for number in range(100):
        market.honesty.suspect(Address(number.to_bytes(20)))
    assert [market.honesty.look(market.index, 30) for _ in range(5)] == [30, 30, 30, 10, 0]


def test_what_could_not_be_looked_at_is_looked_at_when_the_chain_answers(market: Market) -> None:
    market.orders.add_compute_order(compute(expiry=LATER), 0)
    market.stakes(Account(Wei(0), Wei(0)))
    market.honesty.suspect(account(PROVIDER))
    market.chain.fall_silent()
    with pytest.raises(ChainUnavailable):
        market.honesty.look(market.index)
    market.chain.fall_silent(silent=False)
    market.settle()
    assert market.open() == []


def test_what_is_heard_of_an_account_while_it_is_looked_at_has_it_looked_at_again(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = compute(expiry=LATER)
    market.orders.add_compute_order(signed, 0)
    stand, changes = market.orders.stand, [Account(Wei(0), Wei(0))]

    def meanwhile(table: str, standings: Any) -> None:
        if changes:
            market.stakes(changes.pop())
            market.honesty.suspect(account(PROVIDER))
        stand(table, standings)

    monkeypatch.setattr(market.orders, "stand", meanwhile)
    market.honesty.suspect(account(PROVIDER))
    market.settle()
    assert market.open() == []


def test_an_account_whose_look_fails_as_nothing_foresaw_keeps_no_other_from_its_own(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    market.orders.add_compute_order(compute(expiry=LATER), 0)
    market.stakes(Account(Wei(0), Wei(0)))
    look = market.orders.compute_orders_of
    stranger = Address(b"\x66" * 20)

    def fails(holder: Address) -> list[tuple[SignedComputeOrder, int]]:
        if holder == stranger:
            raise RuntimeError("nothing foresaw this")
        return look(holder)

    monkeypatch.setattr(market.orders, "compute_orders_of", fails)
    market.honesty.suspect(stranger)
    market.honesty.suspect(account(PROVIDER))
    market.settle()
    assert market.open() == []


def test_an_offer_that_was_used_up_before_it_was_posted_is_refused(database: Database) -> None:
    def used_up(_order: object) -> int:
        raise Rejected("the order was cancelled, or is used up by 100 jobs", remedy="sign one with another salt")

    book = OrderBook(database, keys_only(), RULES, used_up)
    with pytest.raises(Rejected, match="used up"):
        book.add_compute_order(compute(expiry=LATER), 0)
    assert len(book.offers) == 0


def test_a_restarted_book_offers_what_the_running_one_does(place: Path | str) -> None:
    with Database(place) as first:
        running = Market(first)
        keys = [
            running.orders.add_compute_order(compute(expiry=LATER, volume=3, salt=Uint(salt)), 0) for salt in range(4)
        ]
        running.chain.set_order_used(account(PROVIDER), keys[0], 1)
        running.chain.set_order_used(account(PROVIDER), keys[1], 3)
        running.hears("OrderUsed", signer=account(PROVIDER), order_hash=keys[0])
        running.hears("OrderUsed", signer=account(PROVIDER), order_hash=keys[1])
        running.orders.stand("compute_orders", {keys[2]: compute_standing(compute().order, Account(Wei(0), Wei(0)), 0)})
        with Database(place) as second:  # the first is still open: as after a crash
            restarted = OrderBook(second, keys_only(), RULES)
            assert restarted.offers.rows() == running.orders.offers.rows()
            assert [left for _, left in restarted.offers.rows()] == [2, 3]


def test_a_write_that_fails_leaves_the_book_as_it_was(market: Market) -> None:
    market.orders.add_compute_order(compute(expiry=LATER), 0)
    before = market.orders.offers.rows()
    for change in _changes(market):
        with full_disk(market.database, "compute_orders"), pytest.raises(StorageFailed) as failed:
            change()
        assert "disk full" in failed.value.detail
        assert market.orders.offers.rows() == before


def _changes(market: Market) -> list[Callable[[], object]]:
    standing = compute_standing(compute().order, Account(Wei(0), Wei(0)), 0)
    key = compute(expiry=LATER).order.struct_hash()
    return [
        lambda: market.orders.add_compute_order(compute(expiry=LATER, salt=Uint(9)), 0),
        lambda: market.orders.close_expired(LATER),
        lambda: market.orders.stand("compute_orders", {key: standing}),
    ]


# --- what is not final, and what was ---------------------------------------------------------------------------------


@pytest.mark.parametrize("closing", ["used", "generation"])
def test_an_order_that_a_block_closed_which_is_no_more_is_matched_again(closing: str, market: Market) -> None:
    signed = compute(expiry=LATER, volume=3)
    key = market.orders.add_compute_order(signed, 0)
    market.chain.finalise()
    market.index.advance()
    if closing == "used":
        market.chain.set_order_used(account(PROVIDER), key, 3)
        market.hears_of_the_head("OrderUsed", signer=account(PROVIDER), order_hash=key)
    else:
        market.stakes(Account(Wei(0), Wei(10**18), generation=1))
        market.hears_of_the_head("AllOrdersCancelled", token=ZERO_ADDRESS, signer=account(PROVIDER), generation=1)
    assert market.open() == []
    state = offer_state(market.orders, key)
    assert (state.state, state.reason.endswith(NOT_FINAL)) == ("open", True)
    market.chain.reorganise(1)
    market.chain.finalise()
    market.chain.finalise()
    market.index.advance()
    market.settle()
    assert market.open() == [signed]
    assert market.orders.offers.left(key) == 3


def test_an_order_that_the_newest_block_closes_leaves_once_that_is_final(market: Market) -> None:
    key = market.orders.add_compute_order(compute(expiry=LATER, volume=3), 0)
    market.chain.finalise()
    market.chain.set_order_used(account(PROVIDER), key, 3)
    market.hears_of_the_head("OrderUsed", signer=account(PROVIDER), order_hash=key)
    # What is known of its account opens it no more.
    market.hears_of_the_head("Staked", token=ZERO_ADDRESS, holder=account(PROVIDER), amount=1)
    assert (market.open(), offer_state(market.orders, key).state) == ([], "open")
    market.chain.finalise()
    market.index.advance()
    market.settle()
    assert offer_state(market.orders, key).state == "filled"


@pytest.mark.parametrize("used", [3, NEVER_AGAIN])
def test_an_order_that_left_by_a_final_block_that_changed_is_matched_again(used: int, market: Market) -> None:
    signed = compute(expiry=LATER, volume=3)
    key = market.orders.add_compute_order(signed, 0)
    offered = market.orders.add_asset_order(asset_order(expiry=LATER, volume=3), indexed(), 0)
    market.chain.finalise()
    market.index.advance()
    market.chain.set_order_used(account(PROVIDER), key, used)
    market.hears("OrderUsed", signer=account(PROVIDER), order_hash=key)
    market.index.advance()
    assert offer_state(market.orders, key).state in {"filled", "cancelled"}
    market.chain.rewrite(3)
    market.chain.finalise()
    market.index.advance()
    market.settle()
    assert offer_state(market.orders, key).state == "open"
    assert (market.open(), market.orders.offers.left(key)) == ([signed], 3)
    assert offer_state(market.orders, offered).state == "open"


def test_an_order_that_was_used_by_a_block_that_is_no_more_takes_as_many_jobs_as_before(market: Market) -> None:
    key = market.orders.add_compute_order(compute(expiry=LATER, volume=3), 0)
    market.chain.finalise()
    market.index.advance()
    market.chain.set_order_used(account(PROVIDER), key, 2)
    market.hears("OrderUsed", signer=account(PROVIDER), order_hash=key)
    market.index.advance()
    assert market.orders.offers.left(key) == 1
    market.chain.rewrite(3)
    market.chain.finalise()
    market.index.advance()
    market.settle()
    assert market.orders.offers.left(key) == 3


@given(st.integers(0, 20), st.integers(0, 3), st.sampled_from([0, 1, 5, 99, 100, 101, NEVER_AGAIN]))
def test_an_order_is_matchable_just_where_the_market_would_take_it(staked: int, generation: int, used: int) -> None:
    found = compute_standing(compute().order, Account(Wei(0), Wei(staked), generation=generation), used)
    assert found.matchable == (staked >= 10 and generation == 0 and used < 100)
    assert found.matchable == (found.state == "open" and not found.reason)
    if not found.matchable:
        assert found.reason


@pytest.mark.parametrize("revoked", [False, True])
def test_an_owners_order_stands_while_its_version_does(revoked: bool) -> None:
    found = asset_standing(asset_order().order, Account(Wei(0), Wei(0)), 0, revoked=revoked)
    assert found.matchable is not revoked
