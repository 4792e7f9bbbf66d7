"""Answers to a challenge on chain: enough equal ones of members that stand, under their own signatures, and once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from sealmarket.chain.calls import Call
from sealmarket.chain.errors import Reverted
from sealmarket.operate.challenges import ChallengePoster
from sealmarket.protocol.book import Member
from sealmarket.protocol.decisions import ChallengeAnswer
from sealmarket.protocol.wire import ChallengeStatus, SignedChallengeAnswer
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes, Wei
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import Settlement
from sealmarket_enclave.protocol.numbers import JobId
from tests.oracle.world import CHAIN_ID, CONSUMER, MARKET, World

RESULT = keccak(b"result")


class Answers:
    """A challenged job, and what each of the three nodes says of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.match(world.publish())
        self.said: list[ChallengeStatus | None] = [None, None, None]
        self.sent: list[Call] = []
        self.refuse = False

    def challenge(self) -> None:
        word = Settlement(
            job_id=self.world.job_id, result_hash=RESULT, receipt_hash=keccak(b"receipt"), units=0, last=True
        )
        self.world.chain.settle(word)
        self.world.chain.challenge(self.world.job_id, CONSUMER, Wei(6))

    def say(self, *words: bool | None, result: Bytes32 = RESULT) -> None:
        self.said = [None if word is None else self._status(place, word, result) for place, word in enumerate(words)]

    def _status(self, place: int, available: bool, result: Bytes32) -> ChallengeStatus:
        answer = ChallengeAnswer(job_id=self.world.job_id, result_hash=result, available=available)
        signature = self.world.keys[place].signer.sign_statement(answer, CHAIN_ID, MARKET)
        signed = SignedChallengeAnswer(answer=answer, index=place, signature=HexBytes(signature))
        return ChallengeStatus(job_id=self.world.job_id, state="answered", reason="", answer=signed)

    def post(self) -> bool:
        return ChallengePoster(self.world.chain, self._send, self._ask).post(self.world.job_id)

    def _send(self, call: Call) -> None:
        if self.refuse:
            raise Reverted("TooLate", {}, "it is too late", "be quicker")
        self.sent.append(call)

    def _ask(self, member: Member, _job_id: JobId) -> ChallengeStatus | None:
        return self.said[self.world.committee.members.index(member)]


@pytest.fixture
def answers(world: World) -> Answers:
    return Answers(world)


def test_a_job_that_nobody_challenged_is_not_answered(answers: Answers) -> None:
    answers.say(True, True, True)
    assert (answers.post(), answers.sent) == (False, [])


TOO_FEW: list[Sequence[bool | None]] = [(True, None, None), (False, None, None), (True, False, None), (None,) * 3]


@pytest.mark.parametrize("words", TOO_FEW)
def test_too_few_equal_answers_are_not_posted(answers: Answers, words: Sequence[bool | None]) -> None:
    answers.challenge()
    answers.say(*words)
    assert (answers.post(), answers.sent) == (False, [])


def test_answers_about_another_result_in_another_name_or_without_a_signature_do_not_count(answers: Answers) -> None:
    answers.challenge()
    answers.say(True, True, True, result=keccak(b"another"))
    assert not answers.post()
    answers.say(True, None, None)
    own = answers.said[0]
    assert own is not None
    assert own.answer is not None
    answers.said[1] = replace(own, answer=replace(own.answer, index=1))
    answers.said[2] = replace(own, answer=replace(own.answer, index=2, signature=HexBytes(b"\x01" * 65)))
    assert (answers.post(), answers.sent) == (False, [])


def test_a_removed_member_does_not_count(answers: Answers) -> None:
    answers.challenge()
    answers.say(True, True, None)
    answers.world.chain.set_committee(1, bytes_of(answers), frozenset({1}))
    assert not answers.post()


def bytes_of(answers: Answers) -> Bytes32:
    return answers.world.chain.at(answers.world.chain.head()).committee_hash(1)


@pytest.mark.parametrize(("words", "available"), [((True, None, True), True), ((False, True, False), False)])
def test_enough_equal_answers_are_one_call(answers: Answers, words: Sequence[bool | None], available: bool) -> None:
    answers.challenge()
    answers.say(*words)
    assert answers.post()
    (call,) = answers.sent
    assert (call.function, call.arguments[4]) == ("answerChallenge", available)


def test_what_the_market_refuses_is_tried_again_later(answers: Answers) -> None:
    answers.challenge()
    answers.say(True, True, True)
    answers.refuse = True
    assert not answers.post()
    answers.refuse = False
    assert answers.post()


def test_a_challenge_of_an_epoch_that_the_address_book_lacks_ends_no_poster(
    answers: Answers, caplog: pytest.LogCaptureFixture
) -> None:
    """Those of other epochs are still answered: one that nobody answers pays the provider."""
    answers.challenge()
    answers.say(True, True, True)
    chain = answers.world.chain
    chain.book = replace(chain.book, committees=())
    assert (answers.post(), answers.sent) == (False, [])
    assert "has no epoch 1: update it" in caplog.text
