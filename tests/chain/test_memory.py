"""The twin tells readers what the real chain would."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from sealmarket.chain import BlockGone, ChainReader, ChainUnavailable, Fault, Reverted
from sealmarket.chain.events import JobDecided, JobEnded, JobMatched, TermsTightened
from sealmarket.chain.memory import MemoryChain
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, MicroEpsilon, Uint, Wei
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import AssetId, Grade, JobId
from sealmarket_enclave.protocol.terms import Seal, Terms
from tests.chain.node import BOOK
from tests.chain.test_chain import SPEC

ASSET = AssetId(keccak(b"asset"))
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
