"""Orders are accepted with a signature that holds, and not otherwise; accepted ones survive a restart."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace as replace_shape

from sealmarket.chain.memory import MemoryChain
from sealmarket.protocol.timing import longest_hold
from sealmarket_backend import book as book_module
from sealmarket_backend.book import OrderBook
from sealmarket_backend.ended import EndedEpochs
from sealmarket_backend.errors import Rejected
from sealmarket_backend.index import Index
from sealmarket_backend.tables import Connection, Database
from sealmarket_enclave.protocol.codec import Address, Bytes32, Uint, Wei
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import MAX_ASSETS
from sealmarket_enclave.protocol.numbers import AssetId
from tests.backend.orders import (
    ASSET,
    BOOK,
    CONSUMER,
    NOW,
    OWNER,
    RULES,
    STRANGER,
    account,
    asset_order,
    compute,
    indexed,
    keys_only,
    offer_state,
    posted_request,
    request,
    signature,
    signed_request,
    state_of,
)

STRANGERS_TOKEN = Address(b"\x77" * 20)
OTHER = AssetId(keccak(b"another asset"))
SHORTEST = longest_hold(RULES.timing.windows)
"""Seconds that the shortest job of the market may last."""


def orders(database: Database) -> OrderBook:
    return OrderBook(database, keys_only(), RULES)


def test_a_request_signed_by_somebody_else_is_rejected(database: Database) -> None:
    with pytest.raises(Rejected, match="expected a signature by"):
        orders(database).add_request(posted_request(key=STRANGER), NOW)


def test_a_request_signed_for_another_market_is_rejected(database: Database) -> None:
    made = request()
    elsewhere = signature(made, CONSUMER, replace_shape(BOOK, market=Address(b"\x0d" * 20)))
    with pytest.raises(Rejected):
        orders(database).add_request(
            replace_shape(posted_request(), request=replace_shape(signed_request(), signature=elsewhere)), NOW
        )


def test_a_sponsor_who_did_not_sign_pays_for_nothing(database: Database) -> None:
    with pytest.raises(Rejected):
        orders(database).add_request(posted_request(payer=account(OWNER)), NOW)


def test_an_expired_order_is_rejected(database: Database) -> None:
    with pytest.raises(Rejected, match="expired"):
        orders(database).add_compute_order(compute(expiry=NOW), NOW)


@pytest.mark.parametrize("count", [0, MAX_ASSETS + 1])
def test_a_request_with_too_few_or_too_many_assets_is_rejected(database: Database, count: int) -> None:
    assets = signed_request().request.assets[:1] * count
    with pytest.raises(Rejected, match=f"the number of assets is {count}, expected at (least 1|most {MAX_ASSETS})"):
        orders(database).add_request(posted_request(assets=assets), NOW)


@pytest.mark.parametrize(
    ("limit", "changes"),
    [
        ("quoteWindow is 4, expected at least 5", {"quote_window": 4}),
        ("settleWindow is 104, expected at least 105", {"settle_window": 104}),
        ("token is", {"token": STRANGERS_TOKEN}),
    ],
)
def test_a_request_outside_the_deployments_bounds_is_rejected_with_the_limit(
    limit: str, changes: dict[str, Any], database: Database
) -> None:
    with pytest.raises(Rejected, match=limit):
        orders(database).add_request(posted_request(**changes), NOW)


@pytest.mark.parametrize(
    ("limit", "changes"),
    [
        ("penalty is 6 wei, expected at least 7 wei", {"penalty": Wei(6)}),
        ("maxStake is 9 wei, expected at least 10 wei", {"max_stake": Wei(9)}),
        ("volume is 0, expected at least 1", {"volume": 0}),
    ],
)
def test_a_compute_order_outside_the_deployments_bounds_is_rejected_with_the_limit(
    limit: str, changes: dict[str, Any], database: Database
) -> None:
    with pytest.raises(Rejected, match=limit):
        orders(database).add_compute_order(compute(**changes), NOW)


def test_an_asset_order_above_the_standing_price_is_rejected(database: Database) -> None:
    with pytest.raises(Rejected, match="price is 81, expected at most the standing price, 80"):
        orders(database).add_asset_order(asset_order(price=Wei(81)), indexed(), NOW)


def test_an_asset_order_by_another_than_the_owner_is_rejected(database: Database) -> None:
    with pytest.raises(Rejected):
        orders(database).add_asset_order(asset_order(key=STRANGER), indexed(), NOW)


def test_an_offer_over_a_version_whose_committee_has_ended_is_rejected(database: Database) -> None:
    book = OrderBook(database, keys_only(), replace(RULES, ends_of={1: NOW + SHORTEST - 1}.__getitem__))
    with pytest.raises(Rejected, match="committee of epoch 1, which holds the shares, ends at"):
        book.add_asset_order(asset_order(), indexed(), NOW)
    lasting = OrderBook(database, keys_only(), replace(RULES, ends_of={1: NOW + SHORTEST}.__getitem__))
    lasting.add_asset_order(asset_order(), indexed(), NOW)


def test_offers_over_a_committee_leave_the_book_with_it_and_say_so(database: Database) -> None:
    ends: dict[int, int] = {}
    rules = replace(RULES, ends_of=lambda epoch: ends.get(epoch, 0))
    book, chain = OrderBook(database, keys_only(), rules), MemoryChain(BOOK)
    index, ended = Index(database, chain, start=0), EndedEpochs(database, rules)
    for other, seal in ((ASSET, indexed().seal), (OTHER, replace_shape(indexed().seal, epoch=2))):
        chain.publish(other, account(OWNER), seal, indexed().terms)
    chain.finalise()
    index.advance()
    ending = book.add_asset_order(asset_order(), indexed(), NOW)
    going_on = book.add_asset_order(asset_order(asset_id=OTHER), index.asset(OTHER, 1), NOW)
    ended.close(NOW)
    ends[1] = NOW + SHORTEST
    ended.close(NOW)
    assert offer_state(book, ending).state == "open"
    ended.close(NOW + 1)
    found = offer_state(book, ending)
    assert found.state == "expired"
    assert found.reason.startswith("the committee of epoch 1, which holds the shares, ends at")
    assert offer_state(book, going_on).state == "open"
    EndedEpochs(database, rules).close(NOW + 1)
    assert offer_state(book, going_on).state == "open"


def test_an_account_cannot_fill_the_book(monkeypatch: pytest.MonkeyPatch, database: Database) -> None:
    monkeypatch.setattr(book_module, "MAX_OPEN_ORDERS_PER_ACCOUNT", 2)
    book = orders(database)
    for salt in (1, 2):
        book.add_request(posted_request(expiry=NOW + salt), NOW)
    with pytest.raises(Rejected, match="open orders already"):
        book.add_request(posted_request(expiry=NOW + 3), NOW)
    assert len(book.open_requests()) == 2


def test_an_account_with_too_many_orders_has_no_others_order_written_twice(
    monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    monkeypatch.setattr(book_module, "MAX_OPEN_ORDERS_PER_ACCOUNT", 1)
    book = orders(database)
    book.add_request(posted_request(), NOW)
    seen: list[object] = []
    write = book.together.write

    def watched(make: Callable[[Connection], object]) -> object:
        seen.append(write(make))  # a change that raises has all changes of its transaction made again
        return seen[-1]

    monkeypatch.setattr(book.together, "write", watched)
    with pytest.raises(Rejected, match="open orders already"):
        book.add_request(posted_request(expiry=NOW + 1), NOW)
    assert isinstance(seen[0], Rejected)
    assert book.add_request(posted_request(), NOW) == posted_request().request.request.struct_hash()


def test_a_request_that_is_kept_is_accepted_again_after_its_end_and_no_other(database: Database) -> None:
    book = orders(database)
    key = book.add_request(posted_request(), NOW)
    noted: list[Bytes32] = []
    assert book.add_request(posted_request(), NOW + 5000, note=lambda _at, one: noted.append(one)) == key
    assert noted == [key]
    with pytest.raises(Rejected, match="expired"):
        book.add_request(posted_request(expiry=NOW + 1), NOW + 5000)


def test_where_many_orders_stand_is_answered_at_once_and_unknown_ones_are_left_out(database: Database) -> None:
    book = orders(database)
    keys = [book.add_request(posted_request(salt=Uint(salt)), NOW) for salt in range(70)]
    unknown = Bytes32(b"\x77" * 32)
    assert set(book.request_states([*keys, unknown])) == set(keys)
    offer, asset = book.add_compute_order(compute(), NOW), book.add_asset_order(asset_order(), indexed(), NOW)
    found = book.order_states([offer, unknown, asset])
    assert {key: one.state for key, one in found.items()} == {offer: "open", asset: "open"}
    assert book.order_states([]) == {}


def test_an_unknown_request_is_not_found(database: Database) -> None:
    assert orders(database).request_states([request().struct_hash()]) == {}


def test_what_expired_leaves_the_book_and_says_so(database: Database) -> None:
    book = orders(database)
    key = book.add_request(posted_request(), NOW)
    book.add_compute_order(compute(), NOW)
    book.add_asset_order(asset_order(), indexed(), NOW)
    book.close_expired(NOW + 999)
    assert len(book.open_requests()) == len(book.open_compute_orders()) == len(book.open_asset_orders(ASSET, 1)) == 1
    book.close_expired(NOW + 1000)
    assert not any((book.open_requests(), book.open_compute_orders(), book.open_asset_orders(ASSET, 1)))
    state = state_of(book, key)
    assert (state.state, state.explanation) == (
        "expired",
        ("the request expired before it was matched: sign a new one",),
    )


def test_an_account_whose_orders_expired_may_post_again(monkeypatch: pytest.MonkeyPatch, database: Database) -> None:
    monkeypatch.setattr(book_module, "MAX_OPEN_ORDERS_PER_ACCOUNT", 1)
    book = orders(database)
    book.add_compute_order(compute(), NOW)
    book.close_expired(NOW + 1000)
    book.add_compute_order(compute(expiry=NOW + 2000), NOW + 1000)
    assert len(book.open_compute_orders()) == 1


def test_an_accepted_order_is_there_after_a_restart(place: Path | str) -> None:
    with Database(place) as first:
        key = orders(first).add_request(posted_request(), NOW)
        with Database(place) as second:  # the first is still open: as after a crash
            again = orders(second)
            assert state_of(again, key).state == "open"
            assert again.open_requests() == [signed_request()]


def test_posting_an_order_twice_is_the_same_as_once(database: Database) -> None:
    book = orders(database)
    assert book.add_request(posted_request(), NOW) == book.add_request(posted_request(), NOW)
    assert len(book.open_requests()) == 1


def test_an_open_request_says_why_it_waits(database: Database) -> None:
    book = orders(database)
    key = book.add_request(posted_request(), NOW)
    book.explain(key, ("no provider offers compute yet: wait for one",))
    assert state_of(book, key).explanation == ("no provider offers compute yet: wait for one",)
