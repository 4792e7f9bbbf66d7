"""A quorum is enough signatures over one common core; accepting and refusing can never both have one."""

from hypothesis import given
from hypothesis import strategies as st

from sealmarket.protocol.codec import Address, Bytes32, HexBytes, Uint
from sealmarket.protocol.job import Decision
from sealmarket.protocol.numbers import JobId, Outcome
from sealmarket.protocol.wire import DecisionDetail, SignedDecision
from sealmarket_backend.keeper import quorum
from tests.backend.orders import COMMITTEE


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
