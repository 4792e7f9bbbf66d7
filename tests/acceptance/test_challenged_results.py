"""A result that its provider withholds, from everybody or from the consumer alone, in a market of real processes."""

from __future__ import annotations

import pytest

from sealmarket.chain import Fault
from sealmarket.client.jobs import JobRecord, read_job
from sealmarket.operate.challenges import ChallengePoster, ask_challenge
from sealmarket.protocol.transitions import Status
from sealmarket.service.errors import ItemNotFound
from sealmarket_enclave.protocol.codec import decode
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.sealed.result import ResultEnvelope
from tests.acceptance.market import WINDOWS, Rehearsal, changes
from tests.patience import until


@pytest.fixture
def poster(rehearsal: Rehearsal) -> ChallengePoster:
    """Any account puts answers on chain: the market's bank."""
    return ChallengePoster(rehearsal.chain, rehearsal.market.bank.send, ask_challenge)


def _settled(rehearsal: Rehearsal) -> tuple[JobRecord, ResultEnvelope]:
    record = rehearsal.reach_status(rehearsal.job(), Status.SETTLED)
    assert record.settled is not None
    envelope = decode(ResultEnvelope, rehearsal.store.document(record.settled.result_hash))
    return record, envelope


def _lose(rehearsal: Rehearsal, envelope: ResultEnvelope) -> None:
    """The store has the ciphertext no more."""
    blobs = rehearsal.market.folder / "backend" / "blobs"
    (blobs / "containers" / envelope.content_root.hex()).unlink()


def _answered(rehearsal: Rehearsal, poster: ChallengePoster, job_id: JobId) -> None:
    """The backend's keeper puts answers on chain as well; either may be the first."""

    def over() -> bool:
        poster.post(job_id)
        return read_job(rehearsal.chain, job_id, rehearsal.chain.head()).status is not Status.CHALLENGED

    until("enough equal answers on chain", over)


def test_a_provider_that_withholds_a_result_pays_the_consumer_back(
    rehearsal: Rehearsal, poster: ChallengePoster
) -> None:
    before = rehearsal.still()
    record, envelope = _settled(rehearsal)
    _lose(rehearsal, envelope)
    with pytest.raises(ItemNotFound):
        rehearsal.consumer.open_result(record.job_id, rehearsal.result_key)
    rehearsal.consumer.challenge(record.job_id)
    rehearsal.pass_time(WINDOWS["decide_window"] // 2 + 1)
    _answered(rehearsal, poster, record.job_id)
    ended = rehearsal.reach_status(record.job_id, Status.EXPIRED)
    assert ended.fault is Fault.RESULT_WITHHELD
    moved = changes(before, rehearsal.balances())
    assert "consumer" not in moved, "the payer has everything back, with the bond and what the acceptance cost"
    assert moved["provider"] < 0


def test_a_result_that_reaches_the_nodes_alone_reaches_the_consumer_through_them(
    rehearsal: Rehearsal, poster: ChallengePoster
) -> None:
    record, envelope = _settled(rehearsal)
    rehearsal.consumer.challenge(record.job_id)
    _answered(rehearsal, poster, record.job_id)
    _lose(rehearsal, envelope)
    assert read_job(rehearsal.chain, record.job_id, rehearsal.chain.head()).status is Status.MATURED
    assert rehearsal.consumer.open_result(record.job_id, rehearsal.result_key)
