"""The matching core: what it finds is what a look at every offer would find, after any changes and in any division."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sealmarket.protocol import merkle
from sealmarket.protocol.fitting import Proof
from sealmarket.protocol.matching import OnSale, cheapest, consider
from sealmarket.protocol.orders import ComputeOrder, Request
from sealmarket.protocol.wire import SignedAssetOrder, SignedComputeOrder
from sealmarket_backend.offers import lane, resting, shelf
from sealmarket_backend.offers.asking import Question, answer, leaves_of, questions
from sealmarket_backend.offers.clauses import GUARDS, LIMITS, PROVIDER, REACH, Wanted, key_of, most_of, row_of
from sealmarket_backend.offers.resting import Progress, RestingOffers
from sealmarket_backend.offers.shelf import Node, Split
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, HexBytes, Uint, Wei
from sealmarket_enclave.protocol.numbers import Grade, Tee
from tests import samples
from tests.backend.orders import ASSET, NOW, RULES, asset_order, indexed, request
from tests.steps import counted

NONE = HexBytes(b"\x00" * 65)
KEY = (ASSET, 1)
PROVIDERS = tuple(Address(bytes([n]) * 20) for n in range(0x40, 0x46))
CONSUMERS = tuple(Address(bytes([n]) * 20) for n in range(0x50, 0x53))
DOCUMENTS = (ZERO_HASH, *(Bytes32(bytes([n]) * 32) for n in (0x61, 0x62, 0x63)))


def leaf_of(account: Address) -> Bytes32:
    return merkle.account_leaf(account)


LISTS = {
    tree.root: tree
    for tree in (
        merkle.Tree(map(leaf_of, PROVIDERS[:3])),
        merkle.Tree(map(leaf_of, CONSUMERS[:2])),
        merkle.Tree(map(merkle.capability_leaf, DOCUMENTS[1:3])),
    )
}
SOME_PROVIDERS, SOME_CONSUMERS, SOME_DOCUMENTS = LISTS
UNKNOWN_LIST = Bytes32(b"\x99" * 32)


def prove(root: Bytes32, leaf: Bytes32) -> Proof | None:
    """As the store proves it, of lists that are in it."""
    if root in (ZERO_HASH, leaf):
        return ()
    tree = LISTS.get(root)
    return tree.proof(leaf) if tree is not None and leaf in tree else None


def members(root: Bytes32) -> frozenset[bytes] | None:
    tree = LISTS.get(root)
    accounts = [*map(leaf_of, (*PROVIDERS, *CONSUMERS)), *map(merkle.capability_leaf, DOCUMENTS)]
    return None if tree is None else frozenset(bytes(leaf) for leaf in accounts if leaf in tree)


def offer(price: int = 40, salt: int = 0, **changes: Any) -> ComputeOrder:
    return samples.compute_order(**({"provider": PROVIDERS[0], "price": Wei(price), "salt": Uint(salt)} | changes))


def put(book: RestingOffers, order: ComputeOrder, sequence: int, left: int = 1) -> bytes:
    key = order.struct_hash()
    book.put(key_of(order), bytes(order.consumers), row_of(order, key, sequence), left)
    return key


def asked(wanted: Request, on_sale: OnSale, book: RestingOffers, now: int = NOW, **changes: Any) -> list[Any]:
    leaf = merkle.account_leaf(wanted.consumer)
    roots = [root for root in book.roots(key_of(wanted)) if prove(Bytes32(root), leaf) is not None]
    return questions(wanted, on_sale, RULES, now, prove=prove, members=members, consumer_roots=roots, **changes)


def on_sale(*offers: SignedAssetOrder, **terms: Any) -> OnSale:
    return OnSale({KEY: indexed(**terms)}, {KEY: list(offers)})


def found(book: RestingOffers, wanted: Request, sale: OnSale, now: int = NOW) -> bytes | None:
    """The hash of the offer that a request gets, however many turns that takes."""
    so_far: Any = ()
    for _ in range(1000):
        got = answer(book, asked(wanted, sale, book, now), so_far)
        if not got.unfinished:
            return got.row[-1] if got.row else None
        so_far = got.unfinished
    raise AssertionError("a search did not end")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)


def shrink(patch: pytest.MonkeyPatch) -> None:
    """Bounds so low that a few offers reach them."""
    for module, name, value in (
        (lane, "MOST_ROWS", 3),
        (lane, "MOST_BLOCKS", 2),
        (lane, "_NARROWED_AFTER", 2),
        (shelf, "LEAST_SORTED", 2),
        (resting, "SORTED_AFTER", 1),
        (resting, "MOST_NAMED", 1),
    ):
        patch.setattr(module, name, value)


# --- refusals --------------------------------------------------------------------------------------------------


MISSES: dict[str, dict[str, Any]] = {
    "the price": {"price": Wei(51)},
    "the price of a unit": {"unit_price": Wei(6)},
    "the penalty": {"penalty": Wei(6)},
    "the grade": {"grade": Grade.SIMULATED},
    "the quote window": {"min_quote_window": 201},
    "the settle window": {"min_settle_window": 201},
    "the longest hold": {"max_hold": 1399},
    "the run seconds": {"max_run_seconds": 59},
    "the read seconds": {"max_read_seconds": 29},
    "the validate seconds": {"max_validate_seconds": 9},
    "the decoded bytes": {"max_decoded_bytes": (1 << 30) - 1},
    "the fee of a time-out": {"timeout_fee": Wei(71)},
    "the stake": {"max_stake": Wei(89)},
    "the expiry": {"expiry": NOW},
    "the TEE": {"tee": Tee.SNP},
    "the token": {"token": Address(b"\x77" * 20)},
    "the consumers": {"consumers": leaf_of(CONSUMERS[2])},
    "a list of consumers that the store lacks": {"consumers": UNKNOWN_LIST},
    "the provider": {"provider": PROVIDERS[1]},
    "the document": {"capability_hash": DOCUMENTS[1]},
}
REQUEST: dict[str, Any] = {
    "consumer": CONSUMERS[0],
    "min_grade": Grade.HARDWARE,
    "providers": leaf_of(PROVIDERS[0]),
    "capabilities": merkle.capability_leaf(DOCUMENTS[0]),
}


@pytest.mark.parametrize("missed", MISSES.values(), ids=MISSES)
def test_an_offer_that_misses_one_clause_is_not_found(missed: dict[str, Any]) -> None:
    book, wanted = RestingOffers(), request(**REQUEST)
    put(book, offer(**({"grade": Grade.HARDWARE} | missed)), 1)
    assert found(book, wanted, on_sale()) is None
    fits = put(book, offer(grade=Grade.HARDWARE, price=50), 2)
    assert found(book, wanted, on_sale()) == fits


def test_every_clause_has_an_offer_that_misses_it_alone() -> None:
    assert len(MISSES) >= len(LIMITS) + 9


def test_an_offer_whose_volume_is_used_up_is_not_found() -> None:
    book = RestingOffers()
    key = put(book, offer(), 1, left=2)
    book.set_left(key, 1)
    assert found(book, request(), on_sale()) == key
    book.set_left(key, 0)
    assert found(book, request(), on_sale()) is None


def test_a_provider_that_an_owner_charges_less_is_found_only_where_its_job_is_cheaper() -> None:
    book = RestingOffers()
    dear = put(book, offer(price=45, provider=PROVIDERS[1]), 1)
    cheap = put(book, offer(price=40), 2)
    special = [asset_order(price=Wei(price), providers=leaf_of(PROVIDERS[1])) for price in (76, 74)]
    assert found(book, request(), on_sale(special[0])) == cheap
    assert found(book, request(), on_sale(*special)) == dear


def test_among_equals_the_oldest_is_found() -> None:
    book = RestingOffers()
    keys = [put(book, offer(salt=number, provider=PROVIDERS[number % 6]), 10 - number) for number in range(10)]
    assert found(book, request(), on_sale()) == keys[-1]


# --- work ------------------------------------------------------------------------------------------------------


def near_misses(count: int, **fields: Any) -> Iterator[ComputeOrder]:
    """Offers of which each misses one limit of the sample request, by turns."""
    single = [missed for name, missed in MISSES.items() if name.startswith("the ") and "expiry" not in name][1:13]
    changes = [one for one in single if "grade" not in one]
    for number in range(count):
        provider: dict[str, Any] = {"provider": PROVIDERS[number % 6]}
        yield offer(salt=number, **(provider | changes[number % len(changes)] | fields))


def test_a_search_looks_at_no_more_than_it_may_whatever_rests_in_the_book(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resting, "SORTED_AFTER", 1 << 30)
    book, wanted = RestingOffers(looks=100), request()
    for sequence, order in enumerate(near_misses(2000)):
        put(book, order, sequence)
    [question] = asked(wanted, on_sale(), book)
    got = book.find(question.wanted)
    assert got.row is None
    assert got.unfinished is not None
    assert got.looks <= 100 + lane.MOST_ROWS


@pytest.mark.parametrize("looks", [0, 10, 50])
def test_a_search_that_goes_on_comes_further_each_time_and_sees_every_offer(
    looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resting, "SORTED_AFTER", 1 << 30)
    book, wanted = RestingOffers(looks), request()
    for sequence, order in enumerate(near_misses(600)):
        put(book, order, sequence)
    fits = put(book, offer(price=50, salt=1000, provider=PROVIDERS[5]), 1000)
    [question] = asked(wanted, on_sale(), book)
    progress, seen = None, []
    while (got := book.find(question.wanted, progress)).unfinished is not None:
        progress = got.unfinished
        seen.append(progress.place)
    assert got.row is not None
    assert got.row[-1] == fits
    assert seen == sorted(set(seen))


def test_a_search_whose_best_offer_left_meanwhile_begins_again_rather_than_find_none() -> None:
    book = RestingOffers()
    there = put(book, offer(price=40), 1)
    gone = offer(price=30, salt=1)
    [question] = asked(request(), on_sale(), book)
    at_the_end = Progress((10**6, 0), row_of(gone, gone.struct_hash(), 2))
    got = book.find(question.wanted, at_the_end)
    assert got.row is not None
    assert got.row[-1] == there


UNITS = 10
BAIT: dict[str, Any] = {"price": 12, "unit_price": Wei(1)}


def paused_behind_bait(**bait: Any) -> tuple[RestingOffers, Any, Progress, bytes]:
    """A search that holds the bait, which costs 22, behind an offer that costs 30 and before one that costs 44."""
    book = RestingOffers(looks=0)
    cheap = put(book, offer(price=10, unit_price=Wei(2), provider=PROVIDERS[1]), 1)
    lure = put(book, offer(**BAIT, **bait), 2)
    for sequence in range(3, 600):
        missed: dict[str, Any] = {"max_run_seconds": 50} if sequence % 2 else {"max_read_seconds": 20}
        put(book, offer(price=13, salt=sequence, unit_price=Wei(0), **missed), sequence)
    put(book, offer(price=14, unit_price=Wei(3)), 1000)
    [question] = asked(request(max_units=UNITS), on_sale(), book)
    got = book.find(question.wanted)
    assert got.unfinished is not None
    assert got.unfinished.best is not None
    assert got.unfinished.best[-1] == lure
    return book, question.wanted, got.unfinished, cheap


def ended(book: RestingOffers, wanted: Wanted, progress: Progress | None) -> bytes | None:
    """The hash of the offer that a search finds from there."""
    while (got := book.find(wanted, progress)).unfinished is not None:
        progress = got.unfinished
    return got.row[-1] if got.row else None


def test_a_provider_that_cancels_the_best_offer_during_a_search_wins_nothing_with_a_dearer_one() -> None:
    book, wanted, paused, cheap = paused_behind_bait()
    assert paused.best is not None
    assert book.take(paused.best[-1])
    assert ended(book, wanted, paused) == cheap


def test_an_offer_that_expires_during_a_search_wins_nothing_for_a_dearer_one() -> None:
    book, wanted, paused, cheap = paused_behind_bait(expiry=NOW + 1)
    assert ended(book, replace(wanted, now=NOW + 1), paused) == cheap


def test_a_provider_that_cancels_its_best_offer_whenever_a_search_holds_it_does_not_keep_it_from_its_end() -> None:
    book, wanted, progress, cheap = paused_behind_bait()
    for salt in range(1, 10):
        if progress.best is not None and progress.best[PROVIDER] == bytes(leaf_of(PROVIDERS[0])):
            assert book.take(progress.best[-1])
        put(book, offer(salt=1000 + salt, **BAIT), 1000 + salt)
        progress = book.find(wanted, progress).progress
    assert len(progress.lost) == resting.MOST_LOST
    assert ended(book, wanted, progress) == cheap


def test_a_provider_that_cancelled_often_is_asked_again_where_no_other_has_an_offer() -> None:
    book = RestingOffers()
    there = put(book, offer(), 1)
    [question] = asked(request(), on_sale(), book)
    often = Progress(lost=(bytes(leaf_of(PROVIDERS[0])),) * resting.MOST_LOST)
    assert ended(book, question.wanted, often) == there


def test_questions_of_one_request_take_as_many_turns_together_as_the_longest_of_them_alone(small: None) -> None:
    book = RestingOffers(looks=10)
    for sequence in range(600):
        put(book, offer(price=sequence % 50, salt=sequence, unit_price=Wei(0)), sequence)
    [question] = asked(request(), on_sale(), book)
    without_offers = replace(question.wanted, providers=frozenset(map(bytes, (SOME_PROVIDERS, UNKNOWN_LIST))))
    several = [Question(replace(without_offers, max_price=most), 0) for most in (49, 41, 29)]
    alone = [turns_of(book, [one]) for one in several]
    assert len(set(alone)) == len(several)
    assert turns_of(book, several) == max(alone)


def turns_of(book: RestingOffers, several: list[Question]) -> int:
    so_far: Any = ()
    for turn in range(1, 1000):
        so_far = answer(book, several, so_far).unfinished
        if not so_far:
            return turn
    raise AssertionError("a search did not end")


def test_an_answer_that_leaves_while_other_questions_go_on_is_sought_again() -> None:
    book, wanted, paused, cheap = paused_behind_bait()
    progress = book.find(replace(wanted, max_price=12)).progress
    assert progress.done
    assert progress.best == paused.best
    assert progress.best is not None
    assert book.take(progress.best[-1])
    assert ended(book, replace(wanted, max_price=12), progress) == cheap


def test_what_a_request_missed_in_vain_is_not_looked_at_by_the_next_one() -> None:
    book, wanted = RestingOffers(looks=10_000), request()
    for sequence, order in enumerate(near_misses(4000)):
        put(book, order, sequence)
    [question] = asked(wanted, on_sale(), book)
    first = book.find(question.wanted)
    sort_all(book)
    again = book.find(question.wanted)
    assert (first.row, again.row) == (None, None)
    assert again.looks * 20 < first.looks


def sort_all(book: RestingOffers) -> None:
    while book.sort(1000):
        pass


@pytest.mark.parametrize("documents_come_first", [True, False])
def test_the_offers_of_a_document_are_sorted_by_what_requests_for_any_document_missed(
    documents_come_first: bool,
) -> None:
    """So that the first request that names a document looks at few of them."""
    book, document = RestingOffers(looks=10_000), DOCUMENTS[1]
    for sequence, order in enumerate(
        near_misses(1000, capability_hash=document if documents_come_first else ZERO_HASH)
    ):
        put(book, order, sequence)
    [for_any] = asked(request(), on_sale(), book)
    looks = book.find(for_any.wanted).looks
    sort_all(book)
    if not documents_come_first:
        for sequence, order in enumerate(near_misses(1000, capability_hash=document), 1000):
            put(book, order, sequence)
        sort_all(book)
    [named] = asked(request(capabilities=merkle.capability_leaf(document)), on_sale(), book)
    assert book.find(named.wanted).looks * 20 < looks


def test_what_a_request_for_one_provider_missed_in_vain_is_not_looked_at_by_the_next_one() -> None:
    book = RestingOffers()
    for sequence, order in enumerate(near_misses(200, provider=PROVIDERS[0])):
        put(book, order, sequence)
    [question] = asked(request(providers=leaf_of(PROVIDERS[0])), on_sale(), book)
    first = book.find(question.wanted).looks
    sort_all(book)
    assert book.find(question.wanted).looks * 5 < first


def test_sorting_looks_at_no_more_than_it_may_however_many_documents_have_offers(small: None) -> None:
    book = RestingOffers()
    documents = [Bytes32(number.to_bytes(32)) for number in range(1, 50)]
    for sequence, document in enumerate(documents * 5):
        missed: dict[str, Any] = {"max_run_seconds": 50} if sequence % 2 else {"max_read_seconds": 20}
        put(book, offer(salt=sequence, capability_hash=document, **missed), sequence)
    sort_all(book)
    [question] = asked(request(), on_sale(), book)
    book.find(question.wanted)
    while book._asked:
        book.sort(1)
    before = len(book._followers)
    assert before == len(documents)
    assert book.sort(10) <= 10 + shelf.MOST_LANES
    assert before - len(book._followers) <= 10


def test_what_a_request_waits_for_is_sorted_before_what_none_missed() -> None:
    book, documents = RestingOffers(), [Bytes32(number.to_bytes(32)) for number in range(1, 9)]
    for number, document in enumerate(documents):
        for sequence, order in enumerate(near_misses(100, capability_hash=document), 100 * number):
            put(book, order, sequence)
    [for_any] = asked(request(), on_sale(), book)
    book.find(for_any.wanted)
    while book._asked:
        book.sort(1)
    [for_the_last] = asked(request(capabilities=merkle.capability_leaf(documents[-1])), on_sale(), book)
    missed = book.find(for_the_last.wanted).looks
    book.sort(100)
    assert book.find(for_the_last.wanted).looks * 5 < missed


def test_a_lane_whose_offers_are_dearer_than_the_best_is_not_opened() -> None:
    book = RestingOffers(looks=10_000)
    for sequence, order in enumerate(near_misses(1000, price=Wei(40))):
        put(book, order, sequence)
    [question] = asked(request(), on_sale(), book)
    book.find(question.wanted)
    sort_all(book)
    [loose] = asked(
        request(min_penalty=Wei(0), timeout_limit=Wei(10**6), run_seconds=1, read_seconds=1), on_sale(), book
    )
    several = book.find(loose.wanted).looks
    cheapest_of_all = put(book, offer(price=1, salt=5000), 5000)
    got = book.find(loose.wanted)
    assert got.row is not None
    assert got.row[-1] == cheapest_of_all
    assert got.looks < several


def test_each_further_lane_costs_a_search_one_comparison() -> None:
    book = RestingOffers(looks=10_000)
    for sequence in range(1500):
        seconds = sequence % 30
        limits = {"max_run_seconds": 100 + seconds, "max_read_seconds": 130 - seconds}
        put(book, offer(salt=sequence, **limits), sequence)
    [fits_nowhere] = asked(request(min_penalty=Wei(1000)), on_sale(), book)
    [group] = [group for roots in book._groups.values() for group in roots.values()]
    costs = {}
    for seconds in sorted(range(30), key=lambda number: number * 7 % 30):
        [near_misses_all] = asked(request(run_seconds=101 + seconds, read_seconds=130 - seconds), on_sale(), book)
        assert book.find(near_misses_all.wanted).row is None
        sort_all(book)
        steps, got = counted(book.find, fits_nowhere.wanted)
        assert (got.row, got.unfinished, got.looks) == (None, None, 0)
        costs[len(group.all.lanes)] = steps
    [fewest, *_, most] = costs
    assert most >= 10 * fewest
    assert costs[most] - costs[fewest] <= 20 * (most - fewest)


def test_the_lanes_of_a_shelf_are_bounded_however_many_requests_miss(small: None) -> None:
    book = RestingOffers()
    for sequence, order in enumerate(near_misses(300)):
        put(book, order, sequence)
    for seconds in range(40):
        [question] = asked(request(run_seconds=60 + seconds), on_sale(), book)
        book.find(question.wanted)
        book.sort(10_000)
    [group] = [group for roots in book._groups.values() for group in roots.values()]
    assert len(list(group.all.lanes)) <= shelf.MOST_LANES
    assert sum(one.size for one in group.all.lanes) == 300


# --- against a look at every offer ------------------------------------------------------------------------------

small_wei = st.integers(0, 6).map(lambda n: Wei(10 * n))
windows = st.sampled_from([100, 200, 300])
offers = st.fixed_dictionaries(
    {
        "provider": st.sampled_from(PROVIDERS),
        "tee": st.sampled_from([Tee.TDX, Tee.TDX, Tee.SNP]),
        "grade": st.sampled_from(Grade),
        "price": small_wei,
        "unit_price": st.integers(0, 6).map(Wei),
        "penalty": st.sampled_from([Wei(7), Wei(20)]),
        "max_stake": st.sampled_from([Wei(80), Wei(100), Wei(10**6)]),
        "timeout_fee": st.sampled_from([Wei(0), Wei(80)]),
        "min_quote_window": windows,
        "max_run_seconds": st.sampled_from([50, 60, 70]),
        "capability_hash": st.sampled_from(DOCUMENTS),
        "consumers": st.sampled_from([ZERO_HASH, ZERO_HASH, SOME_CONSUMERS, leaf_of(CONSUMERS[2]), UNKNOWN_LIST]),
        "expiry": st.integers(NOW + 1, NOW + 20),
    }
)
requests = st.fixed_dictionaries(
    {
        "consumer": st.sampled_from(CONSUMERS),
        "tee": st.sampled_from([Tee.TDX, Tee.TDX, Tee.SNP]),
        "min_grade": st.sampled_from([Grade.SIMULATED, Grade.HARDWARE]),
        "providers": st.sampled_from([ZERO_HASH, ZERO_HASH, SOME_PROVIDERS, leaf_of(PROVIDERS[0]), UNKNOWN_LIST]),
        "capabilities": st.sampled_from([ZERO_HASH, SOME_DOCUMENTS, merkle.capability_leaf(DOCUMENTS[3])]),
        "max_compute_price": st.sampled_from([Wei(30), Wei(60)]),
        "max_unit_price": st.sampled_from([Wei(2), Wei(6)]),
        "max_units": st.sampled_from([0, 1, 10]),
        "min_penalty": st.sampled_from([Wei(0), Wei(15)]),
        "timeout_limit": st.sampled_from([Wei(80), Wei(150), Wei(300)]),
        "quote_window": windows,
        "run_seconds": st.sampled_from([50, 60, 70]),
    }
)
owners_offers = st.fixed_dictionaries(
    {
        "price": st.integers(0, 80).map(Wei),
        "consumers": st.sampled_from([ZERO_HASH, SOME_CONSUMERS]),
        "providers": st.sampled_from([ZERO_HASH, SOME_PROVIDERS, leaf_of(PROVIDERS[5]), UNKNOWN_LIST]),
        "expiry": st.integers(NOW + 1, NOW + 20),
    }
)


class Undone(Exception):
    """The database did not take it."""


class BookMachine(RuleBasedStateMachine):
    """The core beside a list of orders that is looked at from the first to the last."""

    @initialize()
    def begin(self) -> None:
        self.patch = pytest.MonkeyPatch()
        shrink(self.patch)
        self.book = RestingOffers()
        self.orders: dict[bytes, tuple[int, ComputeOrder, int]] = {}
        self.sale, self.now, self.sequence = on_sale(), NOW, 0

    def teardown(self) -> None:
        if hasattr(self, "patch"):
            self.patch.undo()

    @rule(made=st.lists(offers, min_size=1, max_size=12), left=st.integers(1, 3))
    def put(self, made: list[dict[str, Any]], left: int) -> None:
        for changes in made:
            self.sequence += 1
            order = offer(salt=self.sequence, **changes)
            self.orders[put(self.book, order, self.sequence, left)] = (self.sequence, order, left)

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(list(self.orders)))
        assert self.book.take(key)
        del self.orders[key]

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def fill(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(list(self.orders)))
        sequence, order, left = self.orders[key]
        self.book.set_left(key, left - 1)
        if left == 1:
            del self.orders[key]
        else:
            self.orders[key] = (sequence, order, left - 1)

    @rule(seconds=st.integers(1, 5), leave=st.booleans())
    def expire(self, seconds: int, leave: bool) -> None:
        self.now += seconds
        for key in [key for key, (_, order, _) in self.orders.items() if order.expiry <= self.now]:
            if leave:
                self.book.take(key)
                del self.orders[key]

    @rule(sold=st.lists(owners_offers, max_size=3), price=st.sampled_from([40, 80]), share=st.sampled_from([0, 100]))
    def change_terms(self, sold: list[dict[str, Any]], price: int, share: int) -> None:
        signed = [SignedAssetOrder(order=asset_order(**one).order, signature=NONE) for one in sold]
        self.sale = on_sale(*signed, price=Wei(price), timeout_share=share)

    @rule(made=st.lists(offers, max_size=4), data=st.data())
    def fail_to_write(self, made: list[dict[str, Any]], data: st.DataObject) -> None:
        before = self.book.rows()
        keys = data.draw(st.lists(st.sampled_from([*self.orders, bytes(32)]), max_size=4))
        left = data.draw(st.integers(-1, 3))
        with pytest.raises(Undone):
            self._change_and_fail(made, keys, left)
        assert self.book.rows() == before

    def _change_and_fail(self, made: list[dict[str, Any]], keys: list[bytes], left: int) -> None:
        with self.book.change():
            for number, changes in enumerate(made):
                put(self.book, offer(salt=10_000 + number, **changes), 10_000 + number, 2)
            for key in keys:
                if left < 0:
                    self.book.take(key)
                self.book.set_left(key, left)
            raise Undone

    @rule(most=st.integers(1, 40))
    def sort(self, most: int) -> None:
        self.book.sort(most)

    @rule(wanted=requests, looks=st.sampled_from([1, 5, 20, 1000]))
    def find(self, wanted: dict[str, Any], looks: int) -> None:
        self.book.looks = looks
        asks = request(**wanted)
        open_now = [
            SignedComputeOrder(order=order, signature=NONE)
            for _, order, _ in sorted(self.orders.values(), key=lambda o: o[0])
        ]
        best = cheapest(consider(asks, open_now, self.sale, RULES, self.now, prove))
        assert found(self.book, asks, self.sale, self.now) == (best.compute.order.struct_hash() if best else None)

    @invariant()
    def holds_what_was_put(self) -> None:
        if hasattr(self, "book"):
            held = {row[-1]: left for row, left in self.book.rows()}
            assert held == {key: left for key, (_, _, left) in self.orders.items()}

    @precondition(lambda self: hasattr(self, "book"))
    @invariant()
    def every_lane_knows_its_cheapest_offer_and_what_the_best_reaches(self) -> None:
        groups = [group for roots in self.book._groups.values() for group in roots.values()] if self.orders else []
        for group in groups:
            for one in (group.all, *group.by_capability.values(), *group.by_provider.values()):
                assert sum(each.size for each in one.lanes) == one.size
                assert {each for each in one.lanes if each.size} == {
                    each for each in lanes_below(one.root) if each.size
                }
                for each, limits in one.lanes.items():
                    assert each.first == min(each, default=None)
                    assert all(most_of(limits, row[REACH]) == limits for row in each)


def lanes_below(node: Node) -> Iterator[lane.Lane]:
    """The lanes into which offers are put, and those from which they are sorted."""
    if not isinstance(node, Split):
        yield node
        return
    yield node.rest
    for part in node.parts.values():
        yield from lanes_below(part)


TestBook = BookMachine.TestCase


def test_the_leaves_of_a_set_are_its_list_and_itself() -> None:
    assert leaves_of(ZERO_HASH, members) is None
    assert leaves_of(UNKNOWN_LIST, members) == frozenset((bytes(UNKNOWN_LIST),))
    listed = frozenset(map(bytes, (SOME_PROVIDERS, *map(leaf_of, PROVIDERS[:3]))))
    assert leaves_of(SOME_PROVIDERS, members) == listed


def test_one_change_within_another_is_refused() -> None:
    book = RestingOffers()
    with pytest.raises(RuntimeError, match="under way"), book.change(), book.change():
        pass


def test_a_wanted_offer_is_a_plain_value() -> None:
    [question] = asked(request(), on_sale(), RestingOffers())
    assert isinstance(question.wanted, Wanted)
    assert question.wanted.limits & GUARDS == 0
