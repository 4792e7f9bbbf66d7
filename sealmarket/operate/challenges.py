"""Put the oracle nodes' answers to a challenge on chain: any account may, and the quorum's fees come out of the bond.

Nodes have no account on chain. What they sign is served to every caller; enough equal answers are one transaction.
"""

from __future__ import annotations

from collections.abc import Callable

from sealmarket.chain.calls import Call
from sealmarket.chain.contracts import SettledResult
from sealmarket.chain.events import JobChallenged, JobMatched, JobSettled
from sealmarket.operate.poster import Poster, PostingChain, ask, committee_of
from sealmarket.protocol.book import Committee, Member
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import ChallengeStatus, SignedChallengeAnswer
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.signing import SignatureRefused, recover

AskChallenge = Callable[[Member, JobId], ChallengeStatus | None]
"""What a node says of a challenge; None where it does not answer."""


class ChallengePoster(Poster):
    """Posts what nodes answered."""

    def __init__(self, chain: PostingChain, send: Callable[[Call], object], ask: AskChallenge) -> None:
        super().__init__(chain, send)
        self._ask = ask

    def challenged(self, first: int, last: int) -> dict[JobId, int]:
        """The jobs whose result was challenged from block ``first`` to ``last``, and until when nodes may answer.

        Raises:
            ChainError: the chain cannot be read.
        """
        found = (event for event in self._chain.events(first, last) if isinstance(event, JobChallenged))
        return {event.job_id: event.deadline for event in found}

    def post(self, job_id: JobId) -> bool:
        """Answer a challenge once enough nodes say the same. Returns whether it was answered now.

        Raises:
            ChainError: the chain cannot be read. What was not posted can be tried again.
        """
        known = self._known(job_id)
        if known is None:
            return False
        spec, result, challenger = known
        view = self._chain.at(self._chain.head())
        if view.job(spec.request_hash).status is not Status.CHALLENGED:
            return False
        committee = committee_of(self._chain.book, spec.epoch, job_id)
        if committee is None:
            return False
        removed = view.removed_members(spec.epoch)
        answers = self._answers(job_id, result.result_hash, committee, removed)
        for available, needed in ((True, committee.threshold), (False, committee.refusal_threshold)):
            equal = [given for given in answers if given.answer.available is available]
            if len(equal) >= needed:
                call = self._market.answer_challenge(
                    spec, result, challenger, available, equal, committee, removed=removed
                )
                return self._sent(call, f"the answer to the challenge of job {job_id}")
        return False

    def _known(self, job_id: JobId) -> tuple[JobSpec, SettledResult, Address] | None:
        spec, result, challenger = None, None, None
        for event in self._chain.about_job(job_id, self._chain.head()):
            if isinstance(event, JobMatched):
                spec = event.spec
            if isinstance(event, JobSettled):
                result = SettledResult(event.result_hash, event.receipt_hash, event.units)
            if isinstance(event, JobChallenged):
                challenger = event.challenger
        return (spec, result, challenger) if spec and result and challenger else None

    def _answers(
        self, job_id: JobId, result_hash: Bytes32, committee: Committee, removed: frozenset[int]
    ) -> list[SignedChallengeAnswer]:
        found = []
        for place, member in enumerate(committee.members):
            status = self._ask(member, job_id) if place not in removed else None
            answer = status.answer if status is not None else None
            if answer is not None and self._is_of(answer, job_id, result_hash, place, member):
                found.append(answer)
        return found

    def _is_of(
        self, given: SignedChallengeAnswer, job_id: JobId, result_hash: Bytes32, place: int, member: Member
    ) -> bool:
        if (given.answer.job_id, given.answer.result_hash, given.index) != (job_id, result_hash, place):
            return False
        book = self._chain.book
        try:
            return recover(given.answer.digest(book.chain_id, book.market), given.signature) == member.signer
        except SignatureRefused:
            return False


def ask_challenge(member: Member, job_id: JobId) -> ChallengeStatus | None:
    """What a node says of a challenge, over HTTP and unchecked."""
    return ask(member, f"/v1/jobs/{job_id}/challenge", ChallengeStatus, "challenge")
