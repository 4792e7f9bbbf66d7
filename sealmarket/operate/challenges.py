"""Put the oracle nodes' answers to a challenge on chain: any account may, and the quorum's fees come out of the bond.

Nodes have no account on chain. What they sign is served to every caller; enough equal answers are one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sealmarket.chain.calls import Call
from sealmarket.chain.contracts import MarketContract, SettledResult
from sealmarket.chain.events import JobChallenged, JobMatched, JobSettled
from sealmarket.operate.poster import Poster, PostingChain, ask, committee_of
from sealmarket.protocol.book import AddressBook, Committee, Member
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
        reported = [
            self._ask(member, job_id) if place not in removed else None
            for place, member in enumerate(committee.members)
        ]
        call = answer_call(self._chain.book, spec, result, challenger, committee, removed, reported)
        return call is not None and self._sent(call, f"the answer to the challenge of job {job_id}")

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


def answer_call(
    book: AddressBook,
    spec: JobSpec,
    result: SettledResult,
    challenger: Address,
    committee: Committee,
    removed: frozenset[int],
    reported: Sequence[ChallengeStatus | None],
) -> Call | None:
    """The call that answers a challenge; None while too few members say the same.

    ``reported``: what each member says, in the committee's order and unchecked.
    """
    job_id = spec.job_id(book.chain_id, book.market)
    answers = [
        status.answer
        for place, (member, status) in enumerate(zip(committee.members, reported, strict=False))
        if status is not None
        and status.answer is not None
        and place not in removed
        and _holds(status.answer, book, job_id, result.result_hash, place, member)
    ]
    for available, needed in ((True, committee.threshold), (False, committee.refusal_threshold)):
        equal = [given for given in answers if given.answer.available is available]
        if len(equal) >= needed:
            market = MarketContract(book.market, book.chain_id)
            return market.answer_challenge(spec, result, challenger, available, equal, committee, removed=removed)
    return None


def _holds(
    given: SignedChallengeAnswer, book: AddressBook, job_id: Bytes32, result_hash: Bytes32, place: int, member: Member
) -> bool:
    if (given.answer.job_id, given.answer.result_hash, given.index) != (job_id, result_hash, place):
        return False
    try:
        return recover(given.answer.digest(book.chain_id, book.market), given.signature) == member.signer
    except SignatureRefused:
        return False


def ask_challenge(member: Member, job_id: JobId) -> ChallengeStatus | None:
    """What a node says of a challenge, over HTTP and unchecked."""
    return ask(member, f"/v1/jobs/{job_id}/challenge", ChallengeStatus, "challenge")
