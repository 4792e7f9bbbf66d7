"""A result that is not to be had: the claim, the committee's answer, and where the money goes, on a real chain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from sealmarket.chain import AbiMismatch, Fault, Reverted, Sender
from sealmarket.chain.contracts import SettledResult
from sealmarket.chain.events import ChallengeAnswered, JobChallenged, JobEnded
from sealmarket.chain.outcomes import Mined
from sealmarket.client import SealedAsset, read_job
from sealmarket.protocol.decisions import ChallengeAnswer
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import SignedChallengeAnswer
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Bytes32
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.signing import sign
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Supervisor
from tests.acceptance.money import assert_conserved
from tests.integration.market import EnclaveKeys, Market, development_account
from tests.patience import until

EVIDENCE, RESULT, RECEIPT = keccak(b"evidence"), keccak(b"result"), keccak(b"receipt")
OWNERS, COMPUTE, PENALTY = 2 * 1000, 500, 700


@dataclass(frozen=True)
class Challenged:
    """A settled job that its consumer challenged."""

    spec: JobSpec
    result: SettledResult
    bond: int
    by: Address


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    folder = tmp_path_factory.mktemp("market")
    with Supervisor(folder) as programs:
        chain = chains.anvil(programs, "--block-time", "0.25")
        market = Market(chain.url, folder, chain.finality)
        yield market
        assert_conserved(market.chain)
        market.close()


@pytest.fixture(scope="module")
def sealed(market: Market) -> SealedAsset:
    return market.ready()


@pytest.fixture(scope="module")
def consumer(market: Market) -> Sender:
    return Sender(market.chain, development_account(2), development=True)


@pytest.fixture
def settled(market: Market, sealed: SealedAsset) -> JobSpec:
    """A job that the enclave settled and nobody acknowledged."""
    spec = read_job(market.chain, market.match(market.request(sealed)), market.chain.head()).spec
    market.provider_sender.send(market.chain.market.quote(spec, EVIDENCE))
    keys = EnclaveKeys()
    decision = market.decision(spec, keys, EVIDENCE)
    market.anybody.send(market.chain.market.decide(spec, market.signed(decision), market.committee))
    word, signature = market.settlement(spec, keys, RESULT, RECEIPT)
    market.anybody.send(market.chain.market.settle(spec, market.enclave(decision), word, signature))
    return spec


@pytest.fixture
def job(market: Market, consumer: Sender, settled: JobSpec) -> Challenged:
    result = SettledResult(RESULT, RECEIPT, 0)
    mined = consumer.send(market.chain.market.challenge(settled, result))
    told = next(event for event in mined.events if isinstance(event, JobChallenged))
    return Challenged(settled, result, int(told.bond), told.challenger)


def answers(
    market: Market, job: Challenged, *words: bool | None, result: Bytes32 = RESULT
) -> list[SignedChallengeAnswer]:
    """What the nodes say, in the order of their places; None for one that says nothing."""
    said = []
    for index, available in enumerate(words):
        if available is not None:
            word = ChallengeAnswer(job_id=market.job_id(job.spec), result_hash=result, available=available)
            signature = sign(word.digest(market.book.chain_id, market.book.market), market.nodes[index])
            said.append(SignedChallengeAnswer(answer=word, index=index, signature=signature))
    return said


def answer(market: Market, job: Challenged, available: bool, said: list[SignedChallengeAnswer]) -> Mined:
    """Submit it; anybody may."""
    return market.anybody.send(
        market.chain.market.answer_challenge(job.spec, job.result, job.by, available, said, market.committee)
    )


def status(market: Market, job: Challenged) -> Status:
    return market.chain.at(market.chain.head()).job(job.spec.request_hash).status


def fortunes(market: Market) -> dict[str, int]:
    """Free balances, and the provider's stake."""
    view = market.chain.at(market.chain.head())
    found = {name: market.free(getattr(market, name)) for name in ("owner", "consumer", "provider")}
    return found | {"stake": int(view.account(ZERO_ADDRESS, market.provider.address).staked)}


def moved(market: Market, before: dict[str, int]) -> dict[str, int]:
    """What has changed since."""
    return {name: value - before[name] for name, value in fortunes(market).items() if value != before[name]}


def fee(market: Market) -> int:
    return int(market.settings.tokens[ZERO_ADDRESS])


def let_the_window_pass(market: Market) -> None:
    """Move the chain's clock past the answer's window."""
    before = market.chain.head().timestamp
    market.chain.rpc.call("evm_increaseTime", market.windows.decide + 1)
    until("a block of that time", lambda: market.chain.head().timestamp > before + market.windows.decide)


def test_a_stranger_cannot_challenge(market: Market, settled: JobSpec) -> None:
    with pytest.raises(Reverted) as refused:
        market.anybody.send(market.chain.market.challenge(settled, SettledResult(RESULT, RECEIPT, 0)))
    assert refused.value.name == "NotRequestParty"


def test_one_node_answers_nothing(market: Market, job: Challenged) -> None:
    for available in (True, False):
        with pytest.raises(Reverted) as refused:
            answer(market, job, available, answers(market, job, available))
        assert refused.value.name == "WrongSignatureCount"


def test_nodes_that_disagree_answer_nothing(market: Market, job: Challenged) -> None:
    with pytest.raises(Reverted) as refused:
        answer(market, job, True, answers(market, job, True, False))
    assert refused.value.name == "WrongSignatureCount"


def test_an_answer_signed_for_the_other_word_is_refused(market: Market, job: Challenged) -> None:
    call = market.chain.market.answer_challenge(
        job.spec, job.result, job.by, False, answers(market, job, False, False), market.committee
    )
    turned = type(call)(call.contract, call.to, call.function, (*call.arguments[:4], True, *call.arguments[5:]))
    with pytest.raises(Reverted) as refused:
        market.anybody.send(turned)
    assert refused.value.name == "WrongNode"


def test_an_answer_about_another_result_is_not_sent(market: Market, job: Challenged) -> None:
    with pytest.raises(AbiMismatch, match="the answer of member 0 is about"):
        answer(market, job, True, answers(market, job, True, True, result=keccak(b"other")))
    assert status(market, job) is Status.CHALLENGED


def test_the_bond_returns_to_its_challenger_and_to_nobody_else(market: Market, job: Challenged) -> None:
    thief = Challenged(job.spec, job.result, job.bond, market.anybody.address)
    with pytest.raises(Reverted) as refused:
        answer(market, thief, False, answers(market, job, False, False))
    assert refused.value.name == "WrongCommitment"


def test_a_challenge_is_not_closed_while_the_committee_may_answer(market: Market, job: Challenged) -> None:
    with pytest.raises(Reverted) as refused:
        market.anybody.send(market.chain.market.close_challenge(job.spec, job.result, job.by))
    assert refused.value.name == "TooEarly"


def test_a_late_answer_is_refused(market: Market, job: Challenged) -> None:
    let_the_window_pass(market)
    with pytest.raises(Reverted) as refused:
        answer(market, job, False, answers(market, job, False, False))
    assert refused.value.name == "TooLate"


def test_an_available_result_pays_the_provider_with_the_bond_less_fees(market: Market, job: Challenged) -> None:
    before = fortunes(market)
    mined = answer(market, job, True, answers(market, job, None, True, True))
    told = next(event for event in mined.events if isinstance(event, ChallengeAnswered))
    assert (told.available, told.signers, told.fees, told.bond_returned) == (True, (1, 2), 2 * fee(market), 0)
    assert status(market, job) is Status.MATURED
    earned = COMPUTE + job.bond - 2 * fee(market)
    assert moved(market, before) == {"provider": earned, "stake": OWNERS + PENALTY}
    assert_conserved(market.chain)


def test_a_result_that_is_not_to_be_had_refunds_the_payer_out_of_the_stake(market: Market, job: Challenged) -> None:
    before, conserved = fortunes(market), assert_conserved(market.chain)
    mined = answer(market, job, False, answers(market, job, False, True, False))
    ended = next(event for event in mined.events if isinstance(event, JobEnded))
    assert (ended.status, ended.fault) == (Status.EXPIRED, Fault.RESULT_WITHHELD)
    # The penalty pays the answer, then what the payer lost for the acceptance; the owners keep their prices.
    answered = accepting = 2 * fee(market)
    assert moved(market, before) == {"consumer": OWNERS + COMPUTE + job.bond + accepting}
    after = assert_conserved(market.chain)
    burned = PENALTY - answered - accepting
    assert (after.burned - conserved.burned, after.fees - conserved.fees) == (burned, answered)


def test_an_unanswered_challenge_is_closed_with_the_provider_paid_and_the_bond_back(
    market: Market, job: Challenged
) -> None:
    before = fortunes(market)
    let_the_window_pass(market)
    market.anybody.send(market.chain.market.close_challenge(job.spec, job.result, job.by))
    assert status(market, job) is Status.MATURED
    assert moved(market, before) == {"consumer": job.bond, "provider": COMPUTE, "stake": OWNERS + PENALTY}
    assert_conserved(market.chain)
