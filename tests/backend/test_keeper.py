"""A quorum is enough signatures over one common core; accepting and refusing can never both have one."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.chain import Reverted
from sealmarket.chain.calls import Call
from sealmarket.chain.errors import ChainUnavailable, NotMined
from sealmarket.chain.ledger_events import BatchEntryFailed
from sealmarket.chain.memory import MemoryChain
from sealmarket.chain.model import Account
from sealmarket.client.nodes import Nodes
from sealmarket.protocol import merkle
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.orders import Acknowledgement
from sealmarket.protocol.wire import DecisionDetail, SignedAcknowledgement, SignedAssetOrder, SignedDecision
from sealmarket_backend import finding as finding_module
from sealmarket_backend import matcher as matcher_module
from sealmarket_backend.book import OrderBook
from sealmarket_backend.honesty import Honesty
from sealmarket_backend.index import Index
from sealmarket_backend.keeper import Keeper, quorum
from sealmarket_backend.locked import HeldBack
from sealmarket_backend.offers import lane
from sealmarket_backend.offers.asking import Answer
from sealmarket_backend.offers.resting import Progress
from sealmarket_backend.sets import LIST_BYTES, LoneSets
from sealmarket_backend.spending import GWEI, KeeperSettings, Spending
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import (
    ZERO_ADDRESS,
    ZERO_HASH,
    Address,
    Bytes32,
    HexBytes,
    Uint,
    Wei,
    canonical_json,
)
from sealmarket_enclave.protocol.job import Settlement
from sealmarket_enclave.protocol.numbers import JobId
from tests.backend.orders import (
    ASSET,
    BOOK,
    COMMITTEE,
    CONSUMER,
    OWNER,
    PROVIDER,
    RULES,
    account,
    asset_order,
    compute,
    indexed,
    keys_only,
    posted_request,
    state_of,
)
from tests.samples import asset_use, job

LATER = 1 << 40


def decided(index: int, outcome: Outcome = Outcome.ACCEPTED, **changes: object) -> SignedDecision:
    detail = DecisionDetail(
        block_number=1,
        block_hash=Bytes32(b"\x01" * 32),
        tcb_status="UpToDate",
        advisories=(),
        collateral_digest=Bytes32(b"\x02" * 32),
        findings=(),
        warnings=(),
    )
    base: dict[str, object] = {
        "job_id": JobId(Bytes32(b"\x03" * 32)),
        "evidence_hash": Bytes32(b"\x04" * 32),
        "enclave_signer": Address(b"\x05" * 20),
        "enclave_key_hash": Bytes32(b"\x06" * 32),
        "terms_digest": Bytes32(b"\x07" * 32),
        "epoch": 1,
        "outcome": outcome,
        "grade": 1,
        "reasons": Uint(0),
        "expiry": 100,
        "detail": Bytes32(bytes([index]) * 32),
    }
    decision = Decision(**{**base, **changes})  # type: ignore[arg-type]
    return SignedDecision(decision=decision, index=index, signature=HexBytes(b"\x00"), detail=detail)


def test_one_node_of_two_is_no_quorum() -> None:
    assert quorum(COMMITTEE, [decided(0)]) is None


def test_one_node_that_signs_twice_is_no_quorum() -> None:
    assert quorum(COMMITTEE, [decided(0), decided(0, detail=Bytes32(b"\x09" * 32))]) is None


def test_nodes_that_disagree_on_the_core_are_no_quorum() -> None:
    assert quorum(COMMITTEE, [decided(0), decided(1, expiry=101)]) is None


def test_nodes_that_differ_in_their_own_detail_are_a_quorum() -> None:
    assert quorum(COMMITTEE, [decided(0), decided(2)]) == [decided(0), decided(2)]


def test_a_lying_node_does_not_hold_up_the_honest_ones() -> None:
    chosen = quorum(COMMITTEE, [decided(1, Outcome.PLATFORM_REFUSED), decided(0), decided(2)])
    assert chosen == [decided(0), decided(2)]


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(Outcome)), max_size=8))
def test_a_quorum_always_has_enough_different_nodes_of_one_mind(votes: list[tuple[int, Outcome]]) -> None:
    chosen = quorum(COMMITTEE, [decided(index, outcome) for index, outcome in votes])
    if chosen:
        assert len({one.index for one in chosen}) == len(chosen) >= 2
        assert len({one.decision.outcome for one in chosen}) == 1


class Contract:
    """A sender over a contract that refuses some prices, and remembers what it matched: (compute, assets...)."""

    def __init__(self, refused: dict[int, Reverted]) -> None:
        self.refused = refused
        self.tried: list[int] = []
        self.matched: list[tuple[int, ...]] = []
        self.mining = True

    def gas_of(self, call: Call) -> int:
        prices = self._prices(call)
        self.tried.append(prices[0])
        for price in prices:
            if price in self.refused:
                raise self.refused[price]
        return 200_000

    def price(self) -> int:
        return GWEI

    def submit(self, call: Call) -> Bytes32:
        self.matched.append(self._prices(call))
        return Bytes32(bytes([len(self.matched)]) * 32)

    def look(self, _transaction: Bytes32) -> Any:
        return SimpleNamespace(events=[], cost=0) if self.mining else None

    @staticmethod
    def _prices(call: Call) -> tuple[int, ...]:
        deal: Any = call.arguments[0]
        return tuple(map(int, (deal["compute"].price, *(offer.order.price for offer in deal["offers"]))))


NO_STAKE = Reverted("InsufficientStake", {}, "the stake does not cover the job", "stake more")


def keeper_of(
    database: Database,
    contract: Contract,
    computes: list[int],
    *offers: SignedAssetOrder,
    giving: KeeperSettings | None = None,
) -> Keeper:
    chain = MemoryChain(BOOK)
    chain.publish(ASSET, account(OWNER), indexed().seal, indexed().terms)
    for party in (CONSUMER, PROVIDER):
        chain.set_account(ZERO_ADDRESS, account(party), Account(Wei(10**18), Wei(10**18)))
    chain.finalise()
    book = OrderBook(database, keys_only(), RULES)
    for price in computes:
        book.add_compute_order(compute(price=Wei(price), expiry=LATER), 0)
    for offer in offers:
        book.add_asset_order(offer, indexed(), 0)
    book.add_request(posted_request(expiry=LATER), 0)
    index = Index(database, chain, start=0)
    parts: Any = chain, contract, database, book, index, Nodes()
    spending = Spending(database, giving, contract) if giving else None
    return Keeper(*parts, rules=RULES, lacking=lambda _request: (), sets=LoneSets(), spending=spending)


def test_an_offer_without_stake_does_not_keep_a_request_from_the_next_one(database: Database) -> None:
    contract = Contract({1: NO_STAKE})
    keeper_of(database, contract, [1, 40]).turn()
    assert contract.matched == [(40, 0)]


def test_a_match_whose_gas_nobody_gives_is_left_to_others_and_its_request_says_so(database: Database) -> None:
    contract = Contract({})
    keeper = keeper_of(database, contract, [40], giving=KeeperSettings(gas_gwei_per_day=1_599_999))
    keeper.turn()
    assert contract.matched == []
    (waiting,) = keeper._orders.open_requests()
    (why,) = state_of(keeper._orders, waiting.request.struct_hash()).explanation
    assert "keeper has spent what it gives for gas today for accounts without a part of their own" in why
    assert "send the step yourself" in why


@pytest.mark.parametrize(("price", "sent"), [(200_000 * GWEI - 1, False), (200_000 * GWEI, True)])
def test_a_match_of_the_operators_own_provider_is_sent_if_it_earns_its_gas(
    price: int, sent: bool, database: Database
) -> None:
    contract = Contract({})
    own = (account(PROVIDER).checksum,)
    keeper = keeper_of(database, contract, [], giving=KeeperSettings(gas_gwei_per_day=1, own_accounts=own))
    keeper._orders.add_compute_order(compute(price=Wei(price), expiry=LATER), 0)
    keeper._orders.add_request(posted_request(expiry=LATER, max_compute_price=Wei(price), salt=Uint(9)), 0)
    keeper.turn()
    assert contract.matched == ([(price, 0)] if sent else [])


def test_one_bad_entry_of_each_kind_ends_no_turn(database: Database) -> None:
    contract = Contract({})
    keeper = keeper_of(database, contract, [40])
    with database.write() as connection:
        for table, key in (("requests", "request_hash"), ("compute_orders", "order_hash")):
            connection.execute(
                f"INSERT INTO {table} ({key}, body, account, sequence, expiry, salt) VALUES (?, ?, ?, 0, ?, '')",
                (bytes(32), b'{"damaged', bytes(20), LATER),
            )
        connection.execute(
            "INSERT INTO jobs (job_id, request_hash, provider, consumer, status, spec, facts, sequence)"
            " VALUES (?, ?, ?, ?, 1, ?, ?, 1)",
            (bytes(32), bytes(32), bytes(20), bytes(20), b"[]", b"{}"),
        )
    keeper.turn()
    assert contract.matched == [(40, 0)]


def test_a_step_that_fails_as_nothing_foresaw_ends_no_turn(monkeypatch: pytest.MonkeyPatch, database: Database) -> None:
    contract = Contract({})
    keeper = keeper_of(database, contract, [40])
    keeper._orders.add_request(posted_request(expiry=LATER, salt=Uint(1)), 0)
    ask, failures = contract.gas_of, [RuntimeError("nothing foresaw this")]
    monkeypatch.setattr(contract, "gas_of", lambda call: ask(call) if not failures else raise_(failures.pop()))
    keeper.turn()
    assert contract.matched == [(40, 0)]


def raise_(error: Exception) -> None:
    raise error


def test_a_transaction_that_is_not_mined_holds_up_no_other_request(database: Database) -> None:
    contract = Contract({})
    contract.mining = False
    keeper = keeper_of(database, contract, [40])
    keeper.turn()
    keeper._orders.add_request(posted_request(expiry=LATER, salt=Uint(1)), 0)
    for _ in range(3):
        keeper.turn()
    assert contract.matched == [(40, 0)] * 2  # one for each request, and none again while it may still be mined
    contract.mining = True
    keeper._outgoing.look()
    assert not keeper._outgoing.under_way


def test_many_offers_without_stake_only_take_more_turns(monkeypatch: pytest.MonkeyPatch, database: Database) -> None:
    monkeypatch.setattr(matcher_module, "MOST_OFFERS_TRIED", 2)
    contract = Contract(dict.fromkeys((1, 2, 3, 4, 5), NO_STAKE))
    keeper = keeper_of(database, contract, [1, 2, 3, 4, 5, 40])
    for _ in range(3):
        keeper.turn()
    assert contract.tried == [1, 2, 3, 4, 5, 40]
    assert contract.matched == [(40, 0)]


def explanation(keeper: Keeper) -> tuple[str, ...]:
    [waiting] = keeper._orders.waiting(0, 2)
    return state_of(keeper._orders, waiting.request_hash).explanation


def test_an_explanation_names_each_clause_that_the_nearest_offers_miss_and_of_no_others(database: Database) -> None:
    keeper = keeper_of(database, Contract({}), [])
    keeper.turn()
    assert explanation(keeper) == ("no provider offers compute yet: wait for one",)
    far = {"max_run_seconds": 1, "max_read_seconds": 1, "max_validate_seconds": 1}
    missed: list[dict[str, Any]] = [{"price": Wei(51)}, {"min_quote_window": 201, "unit_price": Wei(6)}, far, far]
    for salt, changes in enumerate(missed):
        keeper._orders.add_compute_order(compute(expiry=LATER, salt=Uint(salt), **changes), 0)
    keeper.turn()
    told = explanation(keeper)
    assert len(told) == 6
    assert told[0].endswith("compute price is 51 wei, expected at most 50 wei")
    dear = compute(expiry=LATER, salt=Uint(0), price=Wei(51)).order
    assert told[0].startswith(f"offer {dear.struct_hash()} of {dear.provider.checksum}, ")
    assert [line.split(":")[0] for line in told[3:]] == [told[3].split(":")[0]] * 3
    assert told[1].endswith("unit price is 6 wei, expected at most 5 wei")
    assert told[2].endswith("quoteWindow (minQuoteWindow) is 200, expected at least 201")
    assert "runSeconds (maxRunSeconds) is 60, expected at most 1" in told[3]


def test_a_search_that_no_turn_ends_says_so_and_ends_in_a_later_one(
    monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    monkeypatch.setattr(finding_module, "STEPS", 1)
    contract = Contract({})
    keeper = keeper_of(database, contract, [])
    keeper._orders.offers.looks = 1
    for salt in range(200):
        missed: dict[str, Any] = {"max_run_seconds": 1} if salt % 2 else {"max_read_seconds": 1}
        keeper._orders.add_compute_order(compute(expiry=LATER, salt=Uint(salt), price=Wei(1), **missed), 0)
    keeper._orders.add_compute_order(compute(expiry=LATER, salt=Uint(999)), 0)
    keeper.turn()
    assert explanation(keeper) == (finding_module.SEARCHED_ON,)
    turns = 1
    while not contract.matched:
        keeper.turn()
        turns += 1
    assert contract.matched == [(40, 0)]
    assert turns <= 200 // lane.MOST_ROWS + 3


def test_a_search_goes_on_for_what_owners_take_still_and_begins_for_what_they_take_anew(
    monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    begins: list[list[bool]] = []

    def unfinished(_offers: object, asked: list[object], so_far: tuple[object, ...]) -> Answer:
        begins.append([start is None for start in so_far or [None] * len(asked)])
        return Answer(None, (Progress((1, 1)),) * len(asked))

    monkeypatch.setattr(finding_module, "answer", unfinished)
    monkeypatch.setattr(finding_module, "STEPS", 1)
    keeper = keeper_of(database, Contract({}), [40])
    keeper.turn()
    keeper.turn()
    one_provider = merkle.account_leaf(account(PROVIDER))
    keeper._orders.add_asset_order(asset_order(expiry=LATER, price=Wei(1), providers=one_provider), indexed(), 0)
    keeper.turn()
    keeper.turn()
    assert begins == [[True], [False], [False, True], [False, False]]


def test_two_requests_of_one_turn_do_not_get_the_last_job_of_one_offer(database: Database) -> None:
    contract = Contract({})
    keeper = keeper_of(database, contract, [])
    keeper._orders.add_request(posted_request(expiry=LATER, salt=Uint(1)), 0)
    keeper._orders.add_compute_order(compute(expiry=LATER, price=Wei(1), volume=1), 0)
    keeper._orders.add_compute_order(compute(expiry=LATER, price=Wei(2), volume=1), 0)
    keeper._index.advance()
    keeper._matcher.match_some(0, keeper._guarded)
    assert sorted(contract.tried) == [1, 2]


def refused_in_its_block(contract: Contract) -> None:
    failed = BatchEntryFailed(cast(Any, None), Uint(0), HexBytes(b"a wallet changed its mind"))
    contract.look = lambda _transaction: SimpleNamespace(events=[failed], cost=0)  # type: ignore[method-assign]


def in_no_block(contract: Contract) -> None:
    contract.look = lambda _transaction: raise_(NotMined("0x", 0.0))  # type: ignore[method-assign]


def not_sent(contract: Contract) -> None:
    contract.submit = lambda _call: raise_(ChainUnavailable("http://node", "it is down"))  # type: ignore[method-assign, assignment, return-value]


@pytest.mark.parametrize("ends", [refused_in_its_block, in_no_block, not_sent], ids=lambda one: one.__name__)
def test_a_match_that_comes_to_nothing_takes_no_job_from_its_offer(
    ends: Callable[[Contract], None], database: Database
) -> None:
    contract = Contract({})
    keeper = keeper_of(database, contract, [])
    signed = compute(expiry=LATER, volume=1)
    keeper._orders.add_compute_order(signed, 0)
    honesty = Honesty(keeper._chain, keeper._orders)
    keeper._matcher._suspect = honesty.suspect
    cast(MemoryChain, keeper._chain).set_account(ZERO_ADDRESS, account(PROVIDER), Account(Wei(0), Wei(10**18)))
    honesty.look(keeper._index)
    ends(contract)
    keeper.turn()
    keeper._outgoing.look()
    honesty.look(keeper._index)
    assert keeper._orders.offers.left(signed.order.struct_hash()) == 1
    keeper.turn()
    assert explanation(keeper) == ((finding_module.TRIED,) if ends is refused_in_its_block else ())


def test_an_account_and_an_order_with_which_no_match_held_are_looked_at_again(database: Database) -> None:
    keeper, suspects = keeper_of(database, Contract({1: NO_STAKE}), [1]), list[object]()
    keeper._matcher._suspect = suspects.append
    keeper.turn()
    assert suspects == [account(PROVIDER), compute(price=Wei(1), expiry=LATER).order.struct_hash()]


def test_an_offer_gets_its_stake_and_is_tried_again(database: Database) -> None:
    contract = Contract({1: NO_STAKE})
    keeper = keeper_of(database, contract, [1])
    keeper.turn()
    contract.refused.clear()
    keeper.turn()
    assert contract.matched == [(1, 0)]


@pytest.mark.parametrize(
    "why",
    [
        lambda offer: Reverted("OrderFilled", {"order_hash": offer.order.struct_hash()}, "used up", "sign another"),
        lambda _offer: Reverted("WrongGeneration", {"signer": account(OWNER)}, "cancelled", "sign another"),
    ],
    ids=["used up", "cancelled with all others"],
)
def test_an_owners_dead_offer_leaves_the_standing_terms_and_is_looked_at_again(
    why: Callable[[SignedAssetOrder], Reverted], database: Database
) -> None:
    offer = asset_order(expiry=LATER)
    contract = Contract({int(offer.order.price): why(offer)})
    keeper, suspects = keeper_of(database, contract, [40], offer), list[object]()
    keeper._matcher._suspect = suspects.append
    keeper.turn()
    assert contract.matched == [(40, 0)]
    assert suspects == [offer.order.struct_hash()]


def test_of_an_owners_offers_the_cheapest_are_asked_for_where_their_lists_are_too_long_for_all(
    monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    offers = [asset_order(expiry=LATER, price=Wei(price), salt=Uint(price)) for price in (60, 10, 30)]
    keeper = keeper_of(database, contract := Contract({}), [40], *offers)
    seen: list[tuple[int, int]] = []

    def affordable(orders: list[SignedAssetOrder], roots_of: Callable[[Any], Any], most: int) -> list[SignedAssetOrder]:
        assert [tuple(roots_of(one)) for one in orders] == [(ZERO_HASH, ZERO_HASH)] * 3
        seen.extend((int(one.order.price), most) for one in orders)
        return orders[1:]

    monkeypatch.setattr(keeper._matcher._sets, "affordable", affordable)
    keeper.turn()
    assert seen[:3] == [(price, LIST_BYTES) for price in (10, 30, 60)]
    assert contract.matched == [(40, 30)]


class Wallet:
    """A sender over a contract that takes no acknowledgement of the consumer's wallet."""

    def gas_of(self, call: Call) -> int:
        if call.arguments[-1]:
            raise Reverted("BadSignature", {}, "the wallet does not accept it", "ask the consumer")
        return 100_000


def settle_acknowledged(keeper: Keeper, database: Database) -> None:
    """The keeper settles a job whose consumer has acknowledged the result."""
    job_id = JobId(Bytes32(b"\x03" * 32))
    result = Bytes32(b"\x08" * 32)
    given = SignedAcknowledgement(
        acknowledgement=Acknowledgement(job_id=job_id, result_hash=result), signature=HexBytes(b"\x01" * 65)
    )
    with database.write() as connection:
        connection.execute(
            "INSERT INTO acknowledgements (job_id, body) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (job_id, canonical_json(given)),
        )
    view: Any = SimpleNamespace(
        job_id=job_id,
        request_hash=Bytes32(b"\x05" * 32),
        spec=job(asset_use()),
        evidence_hash=Bytes32(b"\x04" * 32),
        decision=None,
    )
    settlement = Settlement(job_id=job_id, result_hash=result, receipt_hash=result, units=0, last=True)
    keeper._settle(view, settlement, b"\x02" * 65)


def test_a_wallet_that_takes_its_acknowledgement_back_does_not_keep_a_result_from_counting(database: Database) -> None:
    keeper = keeper_of(database, Wallet(), [])  # type: ignore[arg-type]
    settle_acknowledged(keeper, database)
    [entry] = keeper._outgoing.entries
    assert entry.call.arguments[-1] == b""


def test_a_wallet_that_refuses_an_acknowledgement_in_a_block_alone_costs_one_transaction(database: Database) -> None:
    keeper = keeper_of(database, contract := Contract({}), [])
    contract.gas_of = lambda _call: 100_000  # type: ignore[method-assign, assignment]
    contract.submit = lambda _call: Bytes32(bytes(32))  # type: ignore[method-assign, assignment]
    refused_in_its_block(contract)
    step = partial(settle_acknowledged, keeper, database)
    step()
    assert keeper._outgoing.entries[0].call.arguments[-1] != b""
    keeper._outgoing.send()
    keeper._outgoing.look()
    step()
    assert keeper._outgoing.entries[0].call.arguments[-1] == b""
    keeper._outgoing.send()
    keeper._outgoing.look()
    with pytest.raises(HeldBack, match="is tried again in 60 s"):
        step()
