"""Nobody fills the tables for others: bytes count for who sends them, and what is over leaves."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from secrets import token_bytes
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket.chain.memory import MemoryChain
from sealmarket_backend.book import OrderBook
from sealmarket_backend.database.dialects import Row
from sealmarket_backend.errors import NotFound, Rejected, StoreFull
from sealmarket_backend.index import Index
from sealmarket_backend.ledger import SERVED, StoreLimits
from sealmarket_backend.quotas import COUNT_SECONDS, ROW, SHARE, Quotas
from sealmarket_backend.retention import forget
from sealmarket_backend.standing import Standing
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Bytes32, Uint
from tests.backend.orders import BOOK, NOW, RULES, asset_order, compute, indexed, keys_only, posted_request, state_of
from tests.backend.test_index import spec
from tests.patience import PATIENCE

ALICE, MALLORY = "192.0.2.1", "203.0.113.9"
DAY = 86_400


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


def quotas(database: Database, folder: Path, clock: Clock, **limits: int) -> Quotas:
    return Quotas(database, StoreLimits(**{"spare_bytes": 0, **limits}), folder, clock)


def fill(one: Quotas, peer: str, size: int) -> int:
    """Count rows until there is no room; how many there was room for."""
    held = 0
    with suppress(StoreFull):
        while True:
            one.count(peer, size)
            held += 1
    return held


def test_a_peer_beyond_its_quota_is_refused_and_another_is_not(database: Database, tmp_path: Path) -> None:
    one = quotas(database, tmp_path, Clock(), peer_table_bytes=2 * ROW)
    one.count(MALLORY, ROW)
    with pytest.raises(StoreFull, match=rf"203\.0\.113\.9 has put {2 * ROW} bytes .*, and may put {2 * ROW}"):
        one.count(MALLORY, 1)
    one.count(ALICE, ROW)


def post(one: Quotas, database: Database, peer: str, size: int, state: str = "open") -> Bytes32:
    """Count a request and write its rows, as the book does."""
    key = Bytes32(token_bytes(32))
    with one.count(peer, size), database.write() as connection:
        connection.execute(
            "INSERT INTO requests (request_hash, body, account, state, expiry, salt, sequence) VALUES"
            " (?, ?, ?, ?, ?, '0', (SELECT COALESCE(MAX(sequence), 0) + 1 FROM requests))",
            (key, b"", b"a", state, 2**53 - 1),
        )
        connection.execute("INSERT INTO senders (request_hash, peer, bytes) VALUES (?, ?, ?)", (key, peer, size))
    return key


def post_all(one: Quotas, database: Database, peer: str, size: int, most: int) -> list[Bytes32]:
    """As many requests as there is room for, and no more than that."""
    posted: list[Bytes32] = []
    with suppress(StoreFull):
        while len(posted) < most:
            posted.append(post(one, database, peer, size))
    return posted


def sent(database: Database) -> Counter[str]:
    return Counter(row["peer"] for row in database.rows("SELECT peer FROM senders JOIN requests USING (request_hash)"))


@settings(max_examples=10, deadline=None)
@given(floods=st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_however_many_addresses_write_as_much_as_they_may_one_that_wrote_nothing_still_may(
    floods: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    with Database(None) as database:
        one = quotas(database, folder, Clock(), table_bytes=3000 * ROW, peer_table_bytes=3000 * ROW)
        for stranger, times in enumerate(floods):
            post_all(one, database, f"10.0.0.{stranger}", times * ROW, 3000)
        post(one, database, ALICE, ROW)
        assert sent(database)[ALICE] == 1


def test_two_hundred_addresses_that_fill_the_tables_for_ever_keep_nobody_out(
    database: Database, tmp_path: Path
) -> None:
    clock = Clock()
    one = quotas(database, tmp_path, clock, table_bytes=600 * ROW, peer_table_bytes=600 * ROW)
    for stranger in range(200):
        assert post_all(one, database, f"10.0.{stranger}.1", 0, 600), "an address found no room"
        if stranger % 50 == 0:
            clock.now += COUNT_SECONDS
    other = quotas(database, tmp_path, clock, table_bytes=600 * ROW, peer_table_bytes=600 * ROW)
    for newcomer, again in ((ALICE, one), ("192.0.2.2", other)):
        post(again, database, newcomer, ROW // 2)
        assert sum(sent(database).values()) <= 600


def test_who_holds_less_than_a_fair_share_gives_way_to_nobody(database: Database, tmp_path: Path) -> None:
    one = quotas(database, tmp_path, Clock(), table_bytes=90 * ROW, peer_table_bytes=90 * ROW)
    mine = post(one, database, ALICE, 0)
    for stranger in range(40):
        post_all(one, database, f"10.0.{stranger}.1", 0, 90)
    kept = {bytes(row[0]) for row in database.rows("SELECT request_hash FROM requests")}
    assert mine in kept
    assert min(sent(database).values()) >= 1
    assert len(kept) <= 90


def test_what_gives_way_is_over_or_the_newest_and_never_matched(database: Database, tmp_path: Path) -> None:
    one = quotas(database, tmp_path, Clock(), table_bytes=9 * 4 * ROW, peer_table_bytes=90 * ROW)
    order = [post(one, database, MALLORY, 0, state) for state in ("matched", "open", "expired", "open")]
    for stranger in range(8):
        post_all(one, database, f"10.0.{stranger}.1", 0, 4)
    gone = list[int]()
    for newcomer in range(9, 24):
        post(one, database, f"10.0.{newcomer}.1", 0)
        kept = {bytes(row[0]) for row in database.rows("SELECT request_hash FROM requests")}
        gone += [number for number, key in enumerate(order) if key not in kept and number not in gone]
    assert gone == [2, 3, 1][: len(gone)]
    assert gone
    assert 0 not in gone


def test_each_row_counts_as_much_after_two_counts_as_when_it_was_written(database: Database, tmp_path: Path) -> None:
    clock = Clock()
    one = quotas(database, tmp_path, clock)
    book = OrderBook(database, keys_only(), RULES, count=one.count)
    for salt in range(3):
        book.add_request(posted_request(salt=Uint(salt)), NOW, MALLORY)
    [body] = database.rows("SELECT SUM(LENGTH(body)) FROM requests")
    [document] = database.rows("SELECT SUM(LENGTH(body)) FROM parameters")
    whole = body[0] + document[0] + 3 * ROW
    assert one._used(MALLORY) == whole
    for _ in range(2):
        clock.now += COUNT_SECONDS
        with one.count(ALICE, 0):
            pass
    assert one._used(MALLORY) == whole


def test_a_peer_has_so_many_open_requests_whatever_accounts_sign_them(database: Database) -> None:
    book = OrderBook(database, keys_only(), RULES, limits=StoreLimits(open_per_peer=2))
    posted = [posted_request(salt=Uint(salt)) for salt in range(3)]
    for one in posted[:2]:
        book.add_request(one, NOW, MALLORY)
    with pytest.raises(Rejected, match=rf"{MALLORY} has 2 open orders already"):
        book.add_request(posted[2], NOW, MALLORY)
    book.add_request(posted[0], NOW, MALLORY)
    book.add_request(posted[2], NOW, ALICE)


@pytest.mark.parametrize("ahead", [90 * DAY + 1, 2**53 - 1 - NOW])
def test_no_order_stays_in_the_book_for_longer_than_the_book_says(database: Database, ahead: int) -> None:
    book, late = OrderBook(database, keys_only(), RULES, limits=SERVED), NOW + ahead
    adds: tuple[Callable[[], Bytes32], ...] = (
        lambda: book.add_request(posted_request(expiry=late), NOW),
        lambda: book.add_compute_order(compute(expiry=late), NOW),
        lambda: book.add_asset_order(asset_order(expiry=late), indexed(), NOW),
    )
    for add in adds:
        with pytest.raises(Rejected, match="this book takes none that expires after"):
            add()
    book.add_request(posted_request(expiry=NOW + 90 * DAY), NOW)


def test_what_is_posted_again_or_refused_counts_for_nobody(database: Database, tmp_path: Path) -> None:
    one = quotas(database, tmp_path, Clock())
    book = OrderBook(database, keys_only(), RULES, count=one.count)
    key = book.add_request(posted_request(), NOW, MALLORY)
    used, free = one._used(MALLORY), one._free
    for _ in range(3):
        book.add_request(posted_request(), NOW, MALLORY)
        book.parameters.add(key, posted_request().parameters, MALLORY)
    with pytest.raises(Rejected), patch.object(book, "_insert", side_effect=Rejected("no", remedy="none")):
        book.add_request(posted_request(salt=Uint(1)), NOW, MALLORY)
    assert (one._used(MALLORY), one._free) == (used, free)


def test_offers_of_either_kind_count_for_who_sent_them_once_and_until_they_leave(
    database: Database, tmp_path: Path
) -> None:
    one = quotas(database, tmp_path, clock := Clock(), peer_table_bytes=10 << 20)
    book = OrderBook(database, keys_only(), RULES, count=one.count)
    of_compute, of_asset = compute(expiry=NOW + DAY), asset_order(expiry=NOW + DAY)
    for _ in range(2):
        book.add_compute_order(of_compute, NOW, peer=MALLORY)
        book.add_asset_order(of_asset, indexed(), NOW, MALLORY)
    expected = 2 * ROW + len(of_compute.canonical()) + len(of_asset.canonical())
    assert one._used(MALLORY) == expected
    clock.now += COUNT_SECONDS
    one.count(ALICE, 1)
    assert one._used(MALLORY) == expected
    for salt in range(1, 3):  # the newest of each kind stays
        book.add_compute_order(compute(expiry=NOW + 2 * DAY, salt=Uint(salt)), NOW, peer=ALICE)
        book.add_asset_order(asset_order(expiry=NOW + 2 * DAY, salt=Uint(salt)), indexed(), NOW, ALICE)
    book.close_expired(NOW + DAY)
    assert forget(database, StoreLimits(), NOW + DAY + StoreLimits().closed_seconds) == 2
    assert [row["peer"] for row in database.rows("SELECT DISTINCT peer FROM offer_senders")] == [ALICE]


def test_an_offer_that_finds_no_room_is_not_kept_and_rests_nowhere(database: Database, tmp_path: Path) -> None:
    one = quotas(database, tmp_path, Clock(), peer_table_bytes=ROW)
    book = OrderBook(database, keys_only(), RULES, count=one.count)
    with pytest.raises(StoreFull, match=f"{MALLORY} has put 0 bytes into the tables"):
        book.add_compute_order(compute(expiry=NOW + DAY), NOW, peer=MALLORY)
    with pytest.raises(StoreFull):
        book.add_asset_order(asset_order(expiry=NOW + DAY), indexed(), NOW, MALLORY)
    assert book.open_compute_orders() == []
    assert database.rows("SELECT order_hash FROM asset_orders UNION SELECT order_hash FROM offer_senders") == []


def test_an_eighth_of_what_is_free_is_the_most_that_one_peer_holds(database: Database, tmp_path: Path) -> None:
    one = quotas(database, tmp_path, Clock(), table_bytes=90 * ROW, peer_table_bytes=90 * ROW)
    assert fill(one, MALLORY, 0) == 90 // (SHARE + 1)


def test_what_another_process_wrote_counts_from_the_next_count_and_a_flood_is_never_counted_too_low(
    database: Database, tmp_path: Path
) -> None:
    clock = Clock()
    one, other = (quotas(database, tmp_path, clock, peer_table_bytes=3 * ROW) for _ in range(2))
    book = OrderBook(database, keys_only(), RULES, count=one.count)
    other.count(ALICE, 0)
    for salt in range(2):
        book.add_request(posted_request(salt=Uint(salt)), NOW, MALLORY)
    with database.write() as connection:
        connection.execute("UPDATE senders SET bytes = ?", (2 * ROW,))
    other.count(MALLORY, 0)
    clock.now += COUNT_SECONDS
    with pytest.raises(StoreFull):
        other.count(MALLORY, 0)


def test_who_comes_while_the_first_count_is_made_waits_for_it(tmp_path: Path) -> None:
    with Database(None) as database:
        one, rows = quotas(database, tmp_path, Clock()), database.rows
        counting, go_on = threading.Event(), threading.Event()

        def slow(query: str, *values: object) -> list[Row]:
            counting.set()
            assert go_on.wait(PATIENCE)
            return rows(query, *values)

        database.rows = slow  # type: ignore[method-assign]
        with ThreadPoolExecutor() as pool:
            first = pool.submit(one.count, ALICE, 1)
            assert counting.wait(PATIENCE)
            second = pool.submit(one.count, MALLORY, 1)
            go_on.set()
            first.result(PATIENCE)
            second.result(PATIENCE)


def test_a_request_that_finds_no_room_is_kept_in_no_part(database: Database, tmp_path: Path) -> None:
    one = quotas(database, tmp_path, Clock(), peer_table_bytes=ROW)
    book = OrderBook(database, keys_only(), RULES, count=one.count)
    with pytest.raises(StoreFull):
        book.add_request(posted_request(), NOW, MALLORY)
    assert [database.rows(f"SELECT * FROM {table}") for table in ("requests", "parameters", "senders")] == [[]] * 3


def test_what_is_over_leaves_after_a_week_with_its_parameters_and_the_newest_number_stays(database: Database) -> None:
    book, expiry = OrderBook(database, keys_only(), RULES), NOW + 10
    keys = [book.add_request(posted_request(expiry=expiry, salt=Uint(salt)), NOW, ALICE) for salt in range(3)]
    for salt in range(2):
        book.add_compute_order(compute(expiry=expiry, salt=Uint(salt)), NOW)
        book.add_asset_order(asset_order(expiry=expiry, salt=Uint(salt)), indexed(), NOW)
    late = expiry + StoreLimits().closed_seconds
    assert forget(database, StoreLimits(), late) == 0, "an open order left"
    book.close_expired(expiry)
    assert forget(database, StoreLimits(), late - 1) == 0
    assert forget(database, StoreLimits(), late) == 4
    assert keys[0] not in book.request_states([keys[0]])
    with pytest.raises(NotFound):
        book.parameters.of(keys[0])
    assert state_of(book, keys[2]).state == "expired"
    assert [row[0] for row in database.rows("SELECT request_hash FROM senders")] == [keys[2]]
    book.add_request(posted_request(salt=Uint(9)), NOW)
    assert [row[0] for row in database.rows("SELECT sequence FROM requests ORDER BY sequence")] == [3, 4]


def test_an_order_that_rests_or_waits_does_not_leave(database: Database) -> None:
    book = OrderBook(database, keys_only(), RULES)
    book.add_request(posted_request(), NOW)
    key = book.add_compute_order(compute(), NOW)
    book.stand("compute_orders", {key: Standing(reason="its provider has no stake", used=0)})
    assert forget(database, StoreLimits(), NOW + 10_000 * DAY) == 0


def test_a_matched_request_counts_for_no_quota_any_more_and_keeps_its_parameters(database: Database) -> None:
    book = OrderBook(database, keys_only(), RULES)
    key = book.add_request(posted_request(), NOW, ALICE)
    with database.write() as connection:
        connection.execute("UPDATE requests SET state = 'matched', job_id = ?", (bytes(32),))
    forget(database, StoreLimits(), NOW + 10_000 * DAY)
    assert database.rows("SELECT * FROM senders") == []
    assert book.parameters.of(key) == posted_request().parameters


def envelope(database: Database, job_id: Bytes32, evidence: int, stored_at: int) -> None:
    with database.write() as connection:
        connection.execute(
            "INSERT INTO envelopes (job_id, evidence_hash, body, sequence, stored_at) VALUES (?, ?, ?, 1, ?)",
            (job_id, bytes([evidence]) * 32, b"a package", stored_at),
        )


def kept(database: Database) -> list[int]:
    return sorted(row[0][0] for row in database.rows("SELECT evidence_hash FROM envelopes"))


def test_evidence_leaves_after_its_time(database: Database) -> None:
    job_id, lasts = Bytes32(b"j" * 32), StoreLimits().evidence_seconds
    envelope(database, job_id, 1, NOW)
    envelope(database, job_id, 2, NOW + 1)
    assert forget(database, StoreLimits(), NOW + lasts - 1) == 0
    assert forget(database, StoreLimits(), NOW + lasts) == 1
    assert kept(database) == [2]


def test_once_the_chain_names_a_jobs_evidence_other_packages_leave(database: Database) -> None:
    chain = MemoryChain(BOOK)
    index = Index(database, chain, start=0)
    job_id = chain.match(spec())
    chain.finalise()
    index.advance()
    for evidence in (1, 2, 3):
        envelope(database, job_id, evidence, NOW)
    assert forget(database, StoreLimits(), NOW) == 0
    chain.quote(job_id, Bytes32(b"\x02" * 32))
    chain.finalise()
    index.advance()
    assert forget(database, StoreLimits(), NOW) == 2
    assert kept(database) == [2]


def test_evidence_that_a_process_of_the_release_before_wrote_stays_as_long_as_any(database: Database) -> None:
    job_id, lasts = Bytes32(b"j" * 32), StoreLimits().evidence_seconds
    envelope(database, job_id, 1, 0)
    assert forget(database, StoreLimits(), NOW) == 0
    assert [row[0] for row in database.rows("SELECT bytes FROM envelopes")] == [len(b"a package")]
    assert forget(database, StoreLimits(), NOW + lasts - 1) == 0
    assert forget(database, StoreLimits(), NOW + lasts) == 1


def test_a_row_whose_length_a_process_of_the_release_before_did_not_say_is_measured(database: Database) -> None:
    book = OrderBook(database, keys_only(), RULES)
    book.add_request(posted_request(), NOW, MALLORY)
    said = [row[0] for row in database.rows("SELECT bytes FROM senders")]
    with database.write() as connection:
        connection.execute("UPDATE senders SET bytes = 0")
    forget(database, StoreLimits(), NOW)
    assert [row[0] for row in database.rows("SELECT bytes FROM senders")] == said


def test_a_process_of_the_release_before_still_opens_sessions(database: Database) -> None:
    with database.write() as connection:
        connection.execute("INSERT INTO sessions (digest, account, expires) VALUES (?, ?, ?)", (b"d", b"a", NOW))
    assert [row[0] for row in database.rows("SELECT peer FROM sessions")] == [""]


def test_parameters_of_a_match_around_the_backend_count_for_nobody(database: Database) -> None:
    chain = MemoryChain(BOOK)
    index = Index(database, chain, start=0)
    job_id = chain.match(spec())
    chain.finalise()
    index.advance()
    book, request_hash = OrderBook(database, keys_only(), RULES), index.job(job_id).spec.request_hash
    book.parameters.add(request_hash, posted_request().parameters, ALICE)
    forget(database, StoreLimits(), NOW)
    assert database.rows("SELECT * FROM senders") == []
    assert book.parameters.of(request_hash) == posted_request().parameters
