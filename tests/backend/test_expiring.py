"""An account is warned of what of its own ends soon or holds no more, of nothing else, and of a bounded number."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from sealmarket.chain.events import EpochAnnounced
from sealmarket.chain.memory import MemoryChain
from sealmarket.protocol.market import MOST_WARNINGS, WARNS_AHEAD_SECONDS, Expiry
from sealmarket_backend.blobs import Blobs, Kind
from sealmarket_backend.book import OrderBook
from sealmarket_backend.expiring import Expiring
from sealmarket_backend.index import Index
from sealmarket_backend.ledger import Ledger, StoreLimits
from sealmarket_backend.standing import Standing
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Uint
from sealmarket_enclave.protocol.hashing import keccak
from tests.backend.orders import (
    ASSET,
    BOOK,
    CONSUMER,
    OWNER,
    PROVIDER,
    RULES,
    STRANGER,
    account,
    asset_order,
    compute,
    indexed,
    keys_only,
    posted_request,
)

NOW = 1_000_000
SOON, LATE = NOW + WARNS_AHEAD_SECONDS, NOW + WARNS_AHEAD_SECONDS + 1
PROMISE = b"a promise"


class Market:
    """A book, an index and a store, and what is said of what ends in them."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database, self.chain = database, MemoryChain(BOOK)
        self.index = Index(database, self.chain, start=0)
        self.orders = OrderBook(database, keys_only(), RULES)
        self.blobs = Blobs(folder / "blobs", Ledger(database, StoreLimits(), folder))
        self.ends: dict[int, int] = {}
        self.expiring = Expiring(database, self.blobs, lambda epoch: self.ends.get(epoch, 0))

    def publish(self, expiry: int) -> None:
        """One version of the owner's asset."""
        terms = replace(indexed().terms, expiry=expiry)
        self.chain.publish(ASSET, account(OWNER), indexed().seal, terms)
        self.read()

    def announce(self, epoch: int, active_at: int) -> None:
        """A committee that follows."""
        self.chain._mine(lambda _, at: [EpochAnnounced(at, epoch, (), (), 2, active_at)])
        self.read()

    def read(self) -> None:
        """Up to now."""
        self.chain.finalise()
        self.index.advance()

    def said(self, key: object) -> list[tuple[str, int]]:
        """Kind and time of each warning of an account."""
        found = self.expiring.of(account(key), NOW)  # type: ignore[arg-type]
        assert all(one.text and one.remedy for one in found)
        return [(one.kind, one.until) for one in found]


@pytest.fixture
def market(database: Database, tmp_path: Path) -> Market:
    return Market(database, tmp_path)


def test_what_ends_later_or_has_ended_is_no_warning(market: Market) -> None:
    for salt, expiry in enumerate((LATE, NOW)):
        market.orders.add_request(posted_request(expiry=expiry, salt=Uint(salt)), 0)
        market.orders.add_compute_order(compute(expiry=expiry, salt=Uint(salt)), 0)
    market.publish(LATE)
    assert [market.said(key) for key in (CONSUMER, PROVIDER, OWNER)] == [[], [], []]


def test_nobody_is_warned_of_what_is_anothers(market: Market) -> None:
    market.orders.add_request(posted_request(expiry=SOON), 0)
    market.orders.add_compute_order(compute(expiry=SOON), 0)
    market.publish(SOON)
    market.orders.add_asset_order(asset_order(expiry=SOON), indexed(), 0)
    assert market.said(STRANGER) == []


def test_each_party_is_warned_of_its_own_requests_offers_and_terms(market: Market) -> None:
    market.orders.add_request(posted_request(expiry=SOON), 0)
    market.orders.add_compute_order(compute(expiry=NOW + 1), 0)
    market.publish(SOON)
    market.orders.add_asset_order(asset_order(expiry=NOW + 2), indexed(), 0)
    assert market.said(CONSUMER) == [("request", SOON)]
    assert market.said(PROVIDER) == [("compute_offer", NOW + 1)]
    assert market.said(OWNER) == [("asset_offer", NOW + 2), ("terms", SOON)]
    counted = market.expiring.count(NOW)
    assert counted == dict.fromkeys(("request", "compute_offer", "asset_offer", "terms"), 1) | {
        "epoch": 0,
        "resting": 0,
    }
    market.chain.revoke(ASSET)
    market.read()
    assert market.said(OWNER) == [("asset_offer", NOW + 2)]


@pytest.mark.parametrize(("kind", "ending"), [("terms", True), ("epoch", False)])
def test_an_owner_is_told_the_command_that_encrypts_nothing_anew(kind: str, ending: bool, market: Market) -> None:
    market.publish(SOON if kind == "terms" else LATE)
    if kind == "epoch":
        market.announce(indexed().seal.epoch + 1, SOON)
    (found,) = market.expiring.of(account(OWNER), NOW)
    assert (found.kind, "sealmarket owner rewrap FOLDER --out NEXT" in found.remedy) == (kind, True)
    assert ("--expiry" in found.remedy) is ending


def test_a_provider_is_warned_of_an_offer_with_which_nothing_is_matched(market: Market) -> None:
    key = market.orders.add_compute_order(compute(expiry=LATE), 0)
    market.orders.stand("compute_orders", {key: Standing(reason="its provider has no stake", used=0)})
    (found,) = market.expiring.of(account(PROVIDER), NOW)
    assert (found.kind, found.subject, found.until) == ("resting", key, 0)
    assert "its provider has no stake" in found.text


def test_a_provider_is_warned_of_a_promise_that_the_store_lacks(market: Market) -> None:
    market.orders.add_compute_order(compute(expiry=LATE, capability_hash=ZERO_HASH), 0)
    assert market.said(PROVIDER) == []
    for salt in (1, 2):
        market.orders.add_compute_order(compute(expiry=LATE, capability_hash=keccak(PROMISE), salt=Uint(salt)), 0)
    assert market.said(PROVIDER) == [("promise", 0)]
    market.blobs.put(Kind.DOCUMENTS, keccak(PROMISE), PROMISE)
    assert market.said(PROVIDER) == []


def test_an_owner_is_warned_once_another_committee_is_announced(market: Market) -> None:
    market.publish(LATE)
    market.announce(indexed().seal.epoch, 5)
    assert market.said(OWNER) == []
    market.announce(indexed().seal.epoch + 1, SOON)
    assert market.said(OWNER) == [("epoch", SOON)]
    assert market.expiring.count(NOW)["epoch"] == 1


def test_a_provider_is_told_of_its_platforms_among_the_rest(market: Market) -> None:
    class Foretelling:
        def of(self, provider: Address, until: int) -> list[Expiry]:
            assert until == NOW + WARNS_AHEAD_SECONDS
            ends = Expiry(kind="platform", subject=keccak(b"a job"), until=NOW + 3, text="it ends", remedy="renew it")
            return [ends] if provider == account(PROVIDER) else []

        def count(self, until: int) -> int:
            return int(until == NOW + WARNS_AHEAD_SECONDS)

    market.expiring = Expiring(market.database, market.blobs, lambda _epoch: 0, Foretelling())  # type: ignore[arg-type]
    assert (market.said(PROVIDER), market.said(STRANGER)) == ([("platform", NOW + 3)], [])
    assert market.expiring.count(NOW)["platform"] == 1


def test_nothing_is_said_of_a_version_that_another_one_superseded_until_that_is_revoked(market: Market) -> None:
    market.publish(SOON)
    market.orders.add_asset_order(asset_order(expiry=SOON), indexed(), 0)
    market.announce(indexed().seal.epoch + 1, SOON)
    assert market.said(OWNER) == [("asset_offer", SOON), ("terms", SOON), ("epoch", SOON)]
    seal = replace(indexed().seal, epoch=indexed().seal.epoch + 1)
    market.chain.publish(ASSET, account(OWNER), seal, replace(indexed().terms, expiry=LATE), version=2)
    market.read()
    assert market.said(OWNER) == []
    assert market.expiring.count(NOW)["terms"] == market.expiring.count(NOW)["epoch"] == 0
    market.chain.revoke(ASSET, 2)
    market.read()
    assert [kind for kind, _ in market.said(OWNER)] == ["asset_offer", "terms", "epoch"]


def test_an_owner_is_warned_of_the_end_of_its_committee_with_the_command_that_moves_the_shares(market: Market) -> None:
    market.publish(LATE)
    market.announce(indexed().seal.epoch + 1, SOON)
    market.ends = {indexed().seal.epoch: NOW + 5, indexed().seal.epoch + 1: NOW + 1}
    (found,) = market.expiring.of(account(OWNER), NOW)
    assert (found.kind, found.until) == ("epoch", NOW + 5)
    assert "ends" in found.text
    assert "sealmarket owner rewrap FOLDER --out NEXT" in found.remedy
    assert market.expiring.count(NOW)["epoch"] == 1


def test_warnings_are_bounded_and_the_soonest_come_first(market: Market) -> None:
    for salt in range(MOST_WARNINGS + 5):
        market.orders.add_compute_order(compute(expiry=SOON - salt, salt=Uint(salt)), 0)
    found: tuple[Expiry, ...] = market.expiring.of(account(PROVIDER), NOW)
    assert len(found) == MOST_WARNINGS
    untils = [one.until for one in found]
    assert (untils, untils[0]) == (sorted(untils), SOON - MOST_WARNINGS - 4)
