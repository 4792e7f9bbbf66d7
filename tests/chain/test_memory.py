"""The twin tells readers what the real chain would."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from sealmarket.chain import BlockGone, ChainReader, ChainUnavailable, Fault, Reverted
from sealmarket.chain.events import JobDecided, JobEnded, JobMatched, TermsTightened
from sealmarket.chain.memory import MemoryChain
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, MicroEpsilon, Uint, Wei
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import SharesMissing
from sealmarket_enclave.protocol.numbers import AssetId, Grade, JobId
from sealmarket_enclave.protocol.terms import Seal, Terms
from tests.chain.node import BOOK
from tests.chain.test_chain import SPEC

ASSET = AssetId(keccak(b"asset"))
OWNER = Address(b"\x0a" * 20)
SEAL = Seal(content_root=ZERO_HASH, content_version=1, share_root=ZERO_HASH, policy_hash=ZERO_HASH, epoch=1)
TERMS = Terms(
    token=ZERO_ADDRESS,
    price=Wei(1),
    expiry=2_000_000_000,
    max_uses=5,
    purposes=1,
    min_grade=Grade.SIMULATED,
    budget=MicroEpsilon(0),
    per_job_cap=MicroEpsilon(0),
    allow_root=keccak(b"root"),
    consumer_root=ZERO_HASH,
    max_hold=30 * 86_400,
    timeout_share=100,
)


@pytest.fixture
def twin() -> MemoryChain:
    return MemoryChain(BOOK, finality_lag=2)


def decision(job_id: JobId, outcome: Outcome) -> Decision:
    return Decision(
        job_id=job_id,
        evidence_hash=ZERO_HASH,
        enclave_signer=ZERO_ADDRESS,
        enclave_key_hash=ZERO_HASH,
        terms_digest=ZERO_HASH,
        epoch=1,
        outcome=outcome,
        grade=1,
        reasons=Uint(0),
        expiry=0,
        detail=keccak(b"detail"),
    )


def test_the_twin_reads_as_a_chain_does(twin: MemoryChain) -> None:
    reader: ChainReader = twin
    assert reader.head().number == 0


def test_silence_is_unavailable(twin: MemoryChain) -> None:
    twin.fall_silent()
    with pytest.raises(ChainUnavailable):
        twin.head()
    twin.fall_silent(False)
    twin.head()


def test_a_view_of_a_block_that_is_gone_is_refused(twin: MemoryChain) -> None:
    view = twin.at(twin.mine(3))
    twin.reorganise(2)
    with pytest.raises(BlockGone):
        view.job(ZERO_HASH)


def test_an_unknown_asset_is_refused(twin: MemoryChain) -> None:
    with pytest.raises(Reverted, match="never published"):
        twin.at(twin.head()).asset(ASSET, 1)


def test_what_is_new_is_not_final_yet(twin: MemoryChain) -> None:
    job_id = twin.match(SPEC)
    assert twin.at(twin.final()).job(SPEC.request_hash).status is Status.NONE
    block = twin.finalise()
    assert twin.at(twin.final()).job(SPEC.request_hash).status is Status.MATCHED
    (told,) = twin.events(1, block.number)
    assert isinstance(told, JobMatched)
    assert told.job_id == job_id


def test_terms_change_from_their_block_on(twin: MemoryChain) -> None:
    twin.publish(ASSET, ZERO_ADDRESS, SEAL, TERMS)
    before = twin.head()
    twin.tighten(ASSET, 1, replace(TERMS, max_uses=4))
    assert twin.at(before).asset(ASSET, 1).terms_version == 1
    assert twin.at(twin.head()).asset(ASSET, 1).terms.max_uses == 4
    assert isinstance(twin.events(2, 2)[0], TermsTightened)
    twin.revoke(ASSET)
    assert twin.at(twin.head()).asset(ASSET, 1).revoked


def accepted(twin: MemoryChain) -> JobId:
    job_id = twin.match(SPEC)
    twin.quote(job_id, keccak(b"evidence"))
    twin.decide(decision(job_id, Outcome.ACCEPTED))
    return job_id


def test_only_new_roots_and_purposes_move_the_version_under_which_a_job_may_stand(twin: MemoryChain) -> None:
    twin.publish(ASSET, OWNER, SEAL, TERMS)
    twin.tighten(ASSET, 1, replace(TERMS, max_uses=1))
    assert twin.at(twin.head()).asset(ASSET, 1).strict_version == 1
    twin.tighten(ASSET, 1, replace(TERMS, max_uses=1, allow_root=keccak(b"list")))
    assert twin.at(twin.head()).asset(ASSET, 1).strict_version == 3


def test_a_suspended_version_is_so_until_its_owner_lifts_it(twin: MemoryChain) -> None:
    twin.publish(ASSET, OWNER, SEAL, TERMS)
    twin.suspend(ASSET, 1, JobId(keccak(b"job")))
    assert twin.at(twin.head()).asset(ASSET, 1).suspended
    twin.lift_suspension(ASSET, 1)
    assert not twin.at(twin.head()).asset(ASSET, 1).suspended


def test_a_stopped_job_stays_accepted_and_is_marked(twin: MemoryChain) -> None:
    twin.stop(accepted(twin), keccak(b"evidence"), Uint(1))
    view = twin.at(twin.head())
    assert view.job(SPEC.request_hash).status is Status.ACCEPTED
    assert view.interruption(SPEC.request_hash).stopped


def test_a_report_of_missing_shares_moves_the_deadlines_once(twin: MemoryChain) -> None:
    job_id = accepted(twin)
    twin.report_missing(SharesMissing(job_id=job_id, evidence_hash=keccak(b"evidence"), excluded=0), Wei(3))
    view = twin.at(twin.head())
    first, deadline = view.interruption(SPEC.request_hash), view.job(SPEC.request_hash).deadline
    assert first.shares_deadline == twin.head().timestamp + SPEC.decide_window
    assert deadline == first.shares_deadline + SPEC.settle_window
    twin.report_missing(SharesMissing(job_id=job_id, evidence_hash=keccak(b"evidence"), excluded=5))
    view = twin.at(twin.head())
    second = view.interruption(SPEC.request_hash)
    assert (second.excluded, second.shares_deadline) == (frozenset({0, 2}), first.shares_deadline)
    assert (view.job(SPEC.request_hash).deadline, second.unspent) == (deadline, Wei(3))


def test_an_acceptance_under_changed_terms_ends_as_a_refusal(twin: MemoryChain) -> None:
    job_id = twin.match(SPEC)
    twin.quote(job_id, keccak(b"evidence"))
    at = twin.decide(decision(job_id, Outcome.ACCEPTED), outcome=Outcome.TERMS_REFUSED)
    decided, ended = twin.events(at.block_number, at.block_number)
    assert isinstance(decided, JobDecided)
    assert isinstance(ended, JobEnded)
    assert decided.core.detail == ZERO_HASH
    assert (decided.outcome, ended.fault) == (Outcome.TERMS_REFUSED, Fault.TERMS_REFUSED)
    assert twin.at(twin.head()).job(SPEC.request_hash).status is Status.REFUSED


def test_history_that_is_dropped_takes_no_open_job_and_nothing_from_the_final_block_on(twin: MemoryChain) -> None:
    ended = twin.match(SPEC)
    twin.end(ended, Status.EXPIRED)
    job_id = twin.match(replace(SPEC, request_hash=keccak(b"another")))
    final = twin.finalise()
    old = twin.block(1)
    twin.drop_history()
    assert not twin.contains(old)
    assert twin.events(0, final.number - 1) == []
    with pytest.raises(BlockGone):
        twin.at(old)
    assert (twin.final(), twin.block(final.number)) == (final, final)
    view = twin.at(twin.head())
    assert view.job(keccak(b"another")).status is Status.MATCHED
    assert view.job(SPEC.request_hash).status is Status.NONE
    twin.quote(job_id, keccak(b"evidence"))
    twin.drop_history()
    assert twin.at(twin.head()).job(keccak(b"another")).status is Status.QUOTED
