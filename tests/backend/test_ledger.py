"""Nobody fills the store for others, and what nothing names leaves it."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from sealmarket.chain.memory import MemoryChain
from sealmarket_backend.blobs import Blobs, Kind
from sealmarket_backend.book import OrderBook
from sealmarket_backend.errors import Rejected, StoreFull, TooMany
from sealmarket_backend.index import Index
from sealmarket_backend.ledger import BLOCK, Ledger, StoreLimits
from sealmarket_backend.sweep import sweep
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import result_key_names
from sealmarket_enclave.protocol.terms import Seal
from tests.backend.orders import ASSET, BOOK, NOW, OWNER, RULES, account, indexed, keys_only, posted_request

ALICE, MALLORY = "192.0.2.1", "203.0.113.9"


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Store:
    """A store over one folder, with limits and a clock."""

    def __init__(self, folder: Path, database: Database, **limits: int) -> None:
        self.database, self.clock = database, Clock()
        self.ledger = Ledger(database, StoreLimits(**limits), folder, self.clock)
        self.blobs = Blobs(folder, self.ledger)

    def put(self, raw: bytes, peer: str = ALICE, name: Bytes32 | None = None) -> Bytes32:
        name = name or keccak(raw)
        with self.blobs.incoming(Kind.DOCUMENTS, peer) as incoming:
            incoming.write(raw)
            self.blobs.keep(incoming, name)
        return name

    def has(self, name: Bytes32) -> bool:
        return self.blobs.has(Kind.DOCUMENTS, name)

    @property
    def used(self) -> int:
        return self.ledger.health()["bytesUsed"]


def test_a_peer_beyond_its_quota_is_refused_and_others_still_store(tmp_path: Path, database: Database) -> None:
    store = Store(tmp_path, database, peer_bytes=2 * BLOCK + 100)
    store.put(b"x" * 60, MALLORY)
    with pytest.raises(StoreFull, match=rf"203\.0\.113\.9 has put \d+ bytes here, and may put {2 * BLOCK + 100}"):
        store.put(b"y" * 60, MALLORY)
    store.put(b"z" * 60, ALICE)


def test_many_empty_blobs_are_not_free(tmp_path: Path, database: Database) -> None:
    store = Store(tmp_path, database, peer_bytes=BLOCK - 1)
    with pytest.raises(StoreFull):
        store.put(b"", MALLORY)


def test_a_full_store_refuses_and_says_so(tmp_path: Path, database: Database) -> None:
    store = Store(tmp_path, database, total_bytes=3 * BLOCK + 10)
    store.put(b"x" * BLOCK, MALLORY)
    with pytest.raises(StoreFull, match="the store is full"):
        store.put(b"x" * 11)
    with pytest.raises(StoreFull, match="bytes are left, for peers that hold less"):
        store.put(b"x" * 10)
    assert store.ledger.health() == {"bytesUsed": 2 * BLOCK, "bytesFree": BLOCK + 10}


def test_few_peers_do_not_fill_the_store_for_one_that_holds_nothing(tmp_path: Path, database: Database) -> None:
    store = Store(tmp_path, database, total_bytes=160 * BLOCK)
    for stranger in range(5):
        with suppress(StoreFull):
            for number in range(160):
                store.put(b"%d" % (160 * stranger + number), f"10.0.0.{stranger}")
    assert store.used > 140 * BLOCK, "room is left that nobody may use"
    assert store.put(b"mine", ALICE)


def test_uploads_never_fill_the_disk(tmp_path: Path, database: Database) -> None:
    store = Store(tmp_path, database, spare_bytes=1 << 60)
    with pytest.raises(StoreFull, match="the store is full"):
        store.put(b"")


def test_uploads_at_once_are_counted_for_each_peer_and_in_all(tmp_path: Path, database: Database) -> None:
    store = Store(tmp_path, database, uploads=3, uploads_per_peer=2)
    with ExitStack() as held:
        for peer in (MALLORY, MALLORY):
            held.enter_context(store.blobs.incoming(Kind.CONTAINERS, peer))
        with pytest.raises(TooMany, match="2 uploads under way"):
            store.put(b"", MALLORY)
        held.enter_context(store.blobs.incoming(Kind.CONTAINERS, ALICE))
        with pytest.raises(TooMany, match="too many uploads are under way"):
            store.put(b"", "198.51.100.1")
    assert store.put(b"", MALLORY)


def test_what_is_refused_or_there_already_costs_no_quota(tmp_path: Path, database: Database) -> None:
    store = Store(tmp_path, database)
    with pytest.raises(Rejected):
        store.put(b"x" * 50, MALLORY, keccak(b"another"))
    assert store.used == 0
    for peer in (ALICE, MALLORY):
        store.put(b"x" * 50, peer)
    assert store.used == BLOCK + 50


def test_the_quota_outlives_a_restart_and_files_from_before_it_count(tmp_path: Path, database: Database) -> None:
    Store(tmp_path, database).put(b"x" * 50)
    (tmp_path / Kind.DOCUMENTS / ("ab" * 32)).write_bytes(b"y" * 7)
    assert Store(tmp_path, database).used == Store(tmp_path, database).used == 2 * BLOCK + 57


def test_what_nothing_names_leaves_after_a_while_and_gives_its_quota_back(tmp_path: Path, database: Database) -> None:
    store = Store(tmp_path, database, unreferenced_seconds=100)
    old, again = store.put(b"old"), store.put(b"put again")
    store.clock.now += 60
    store.put(b"put again")
    assert sweep(database, store.blobs) == 0
    store.clock.now += 50
    assert sweep(database, store.blobs) == 1
    assert (store.has(old), store.has(again), store.used) == (False, True, BLOCK + 9)


def test_what_an_asset_an_order_or_a_named_document_names_stays(tmp_path: Path, database: Database) -> None:
    store = Store(tmp_path, database, unreferenced_seconds=100)
    card = store.put(b"a data card")
    policy = store.put(f'{{"card":"{card}"}}'.encode())
    key, keys = store.put(b"a result key"), store.put(result_key_names([b"a result key"]))
    detail, stray = store.put(b"a detail"), store.put(b"stray")
    chain = MemoryChain(BOOK)
    seal = Seal(content_root=keccak(b"c"), content_version=1, share_root=keccak(b"s"), policy_hash=policy, epoch=1)
    chain.publish(ASSET, account(OWNER), seal, indexed().terms)
    chain.finalise()
    Index(database, chain, start=0).advance()
    OrderBook(database, keys_only(), RULES).add_request(posted_request(result_keys_hash=keys), NOW)
    with database.write() as connection:
        connection.execute("INSERT INTO kept (name) VALUES (?)", (detail,))
    store.clock.now += 200
    sweep(database, store.blobs)
    assert [store.has(one) for one in (card, policy, keys, key, detail, stray)] == [*[True] * 5, False]
