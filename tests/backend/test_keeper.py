"""A quorum is enough signatures over one common core; accepting and refusing can never both have one."""

from hypothesis import given
from hypothesis import strategies as st

from sealmarket.chain import Reverted
from sealmarket.chain.calls import Call
from sealmarket.chain.contracts import MarketContract
from sealmarket.chain.memory import MemoryChain
from sealmarket.protocol.codec import Address, Bytes32, HexBytes, Uint, Wei
from sealmarket.protocol.job import Decision
from sealmarket.protocol.numbers import JobId, Outcome
from sealmarket.protocol.wire import DecisionDetail, SignedDecision
from sealmarket_backend.book import OrderBook
from sealmarket_backend.database import Database
from sealmarket_backend.index import Index
from sealmarket_backend.keeper import Keeper, quorum
from sealmarket_backend.nodes import Nodes
from tests.backend.orders import ASSET, BOOK, COMMITTEE, OWNER, account, compute, indexed, signed_request


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


class RefusesCheapest:
    """A sender over a contract that finds no stake behind the offer at price 1."""

    def __init__(self) -> None:
        self.matched: list[int] = []

    def send(self, call: Call) -> None:
        price = call.arguments[0]["compute"].price  # type: ignore[index]
        if price == 1:
            raise Reverted("InsufficientStake", {}, "the stake does not cover the job", "stake more")
        self.matched.append(int(price))


def test_an_offer_without_stake_does_not_keep_a_request_from_the_next_one() -> None:
    chain, database, sender = MemoryChain(BOOK), Database(None), RefusesCheapest()
    chain.market = MarketContract(BOOK.market)  # type: ignore[attr-defined]
    chain.publish(ASSET, account(OWNER), indexed().seal, indexed().terms)
    chain.finalise()
    book = OrderBook(database, BOOK, is_contract=lambda _account: False)
    later = chain.head().timestamp + 1000
    for signed in (compute(price=Wei(1), expiry=later), compute(price=Wei(40), expiry=later)):
        book.add_compute_order(signed, 0)
    book.add_request(signed_request(expiry=later), 0)
    index = Index(database, chain, start=0)
    Keeper(chain, sender, database, book, index, Nodes()).turn()  # type: ignore[arg-type]
    assert sender.matched == [40]
