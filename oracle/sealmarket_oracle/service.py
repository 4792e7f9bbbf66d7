"""One node: follows the chain, decides, releases or stops, and reports what it did.

A *tick* reads the chain once and processes every open job. An error in one job is logged and leaves the other jobs
alone. When the chain does not answer, nothing is decided and a later tick tries again. Decisions and promises are in
the journal before they take effect, so a tick may end at any instruction.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

from msgspec.structs import replace

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.chain.errors import ChainUnavailable, NodeDistrusted
from sealmarket.chain.follow import Follower
from sealmarket.chain.interface import ChainReader, ProvableView
from sealmarket.chain.model import Block
from sealmarket.protocol.book import Committee
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import (
    ChallengeStatus,
    NodeInfo,
    NodeStatus,
    SignedChallengeAnswer,
)
from sealmarket.service.errors import ServiceError
from sealmarket.store.interface import NodeStore
from sealmarket_enclave.protocol.codec import HexBytes
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.numbers import Grade, JobId
from sealmarket_oracle.answers import Answers
from sealmarket_oracle.cases import Cases, CasesAt
from sealmarket_oracle.chain_record import JobRecord
from sealmarket_oracle.challenges import ChallengeAnswers
from sealmarket_oracle.collateral import CollateralKeeper
from sealmarket_oracle.deciding import Deciding
from sealmarket_oracle.documents import DocumentCache
from sealmarket_oracle.ear import Ears
from sealmarket_oracle.epochs import EpochEnd
from sealmarket_oracle.errors import JournalTaken, JournalUnwritable
from sealmarket_oracle.follower import JournalReader
from sealmarket_oracle.gate.inputs import (
    AppraisalInput,
    Defer,
    MarketRef,
)
from sealmarket_oracle.handed import HandedEvidence
from sealmarket_oracle.head_clock import HeadClock
from sealmarket_oracle.journal import Journal
from sealmarket_oracle.keys import NodeKeys
from sealmarket_oracle.log.entries import EntryKind, NewEntry
from sealmarket_oracle.recalls import Recalls
from sealmarket_oracle.release import MarketTiming, time_to_release
from sealmarket_oracle.releasing import MOST_AT_ONCE, Candidate, Heads, Releasing
from sealmarket_oracle.renewals import Renewals
from sealmarket_oracle.results import KeptResults
from sealmarket_oracle.waiting import NO_EVIDENCE, NO_QUORUM, Waiting
from sealmarket_oracle.witnesses import (
    CONFIRMATIONS_FOR_DECISION,
    Start,
    Witnesses,
    confirmations_for_promise,
)

T = TypeVar("T")
Step = Callable[[], Defer | T | None]
_log = logging.getLogger("sealmarket.oracle")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePolicy:
    """What the operator configured: trust anchors, the lowest grade, and the oldest view of the chain in seconds."""

    roots: TrustAnchors
    grade_floor: Grade
    max_head_age_seconds: int


class Node:
    """A key oracle node. One thread calls :meth:`tick`; any calls :meth:`status`, :meth:`info`, ``handed`` and
    ``renewals``."""

    def __init__(
        self,
        chain: ChainReader,
        journal: Journal,
        store: NodeStore,
        keys: NodeKeys,
        policy: NodePolicy,
        witnesses: Witnesses,
        *,
        results: KeptResults | None = None,
        collateral: CollateralKeeper | None = None,
        recalls: Recalls | None = None,
        ears: Ears | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.market = MarketRef(chain_id=chain.book.chain_id, address=chain.book.market, registry=chain.book.registry)
        self._chain, self._journal, self._witnesses = chain, journal, witnesses
        self._keys, self._grade_floor = keys, policy.grade_floor
        self._start: Start | None = None
        self._committees = {committee.epoch: committee for committee in chain.book.committees}
        self.answers = Answers(chain.book, journal, keys.signer, witnesses, self._held)
        place = _place_in(self._committees.get(journal.identity.epoch), keys)
        self._follower = Follower(chain, JournalReader(journal, place))
        documents = DocumentCache(store)
        self._releasing = Releasing(
            chain, journal, documents, keys, self.market, lambda case: self._timing(case.at), self._held
        )
        self.handed = HandedEvidence(journal, self.market)
        self.results, self.collateral, self.recalls, self.ears = results, collateral, recalls, ears
        self._challenges = ChallengeAnswers(journal, results) if results is not None else None
        self._present = HeadClock(policy.max_head_age_seconds, clock)
        self.renewals = Renewals(chain, journal, self.market, keys, self._present, self._held)
        self._waiting = Waiting(journal, monotonic)
        self._cases = Cases(journal, self._committees, keys, self.market, policy.grade_floor)
        self._deciding = Deciding(
            chain,
            journal,
            store,
            keys,
            self.market,
            policy.roots,
            documents=documents,
            handed=self.handed,
            collateral=collateral,
            recalls=recalls,
        )
        self._newest_head = 0
        self.epoch_end = EpochEnd(journal.identity.epoch, monotonic)
        self._known_timing: MarketTiming | None = None

    # --- the loop ---------------------------------------------------------------------------------------------

    def tick(self) -> Block:
        """Read the chain once and do everything that is due. Returns the final block that was read.

        Raises:
            ChainError, StaleChain, JournalError: what was not done yet is done by a later tick.
        """
        self._witnesses.require_sound()
        if self.recalls is not None:
            self.recalls.look_at_holds()
        final = self._follower.advance()
        self._journal.settle()
        head = self._head(final)
        if self._start is None:
            self._begin(head, final)
        state = self._chain.trusted(final)
        if self.recalls is not None:
            self.recalls.look(state)
        records = self._journal.open_jobs()
        due = [record for record in records if self._waiting.is_due(record)]
        if asked := [record.spec for record in due if self._reads_state(record)]:
            state.prepare(asked)
        self._attend_all(due, self._cases.at(state), final)
        if self._challenges is not None:
            self._challenges.tick(state)
        still_open = {record.job_id for record in records}
        self._waiting.keep_only(still_open)
        self.handed.keep_only(still_open)
        self._deciding.keep_details()
        self.epoch_end.look(self._chain, final)
        return final

    def _held(self, job_id: JobId) -> str | None:
        """Why the operator holds the machine of a job back, or None."""
        return self.recalls.held_job(job_id) if self.recalls is not None else None

    def _begin(self, head: Block, final: Block) -> None:
        """Note when this process began: what it may sign depends on it (:mod:`witnesses`)."""
        self._journal.append(NewEntry(EntryKind.START, block=(final.number, final.hash)))
        self._start = Start(head.number, int(self._present.now()))

    def _unproven(self, what: str, at: tuple[int, int], confirmations: int) -> Defer | None:
        """Why nothing is signed about what an earlier process may have signed about."""
        since_start = self._start is not None and self._start.before(*at)
        if since_start or self._witnesses.confirmed >= confirmations:
            return None
        return Defer(
            f"the job was {what} before this node started, and {self._witnesses.confirmed} of {confirmations} peers"
            " have confirmed the tail of its journal"
        )

    def _head(self, final: Block) -> Block:
        """The newest block. It must be recent, and no older than any seen before, or a revocation could go unseen."""
        head = self._chain.head()
        self._present.require_recent(head.timestamp)
        self._require_newest(head.number, final)
        self._present.saw(head)
        self._newest_head = head.number
        return head

    def _require_newest(self, number: int, final: Block) -> None:
        newest = max(self._newest_head, final.number)
        if number < newest:
            raise NodeDistrusted("newest block", f"{newest} or later", number)

    def _timing(self, final: Block) -> MarketTiming:
        """The market's constants, read once at a final block."""
        if self._known_timing is None:
            view = self._chain.trusted(final)
            self._known_timing = MarketTiming(view.finality(), view.transfer_allowance())
        return self._known_timing

    def _reads_state(self, record: JobRecord) -> bool:
        return record.evidence_hash is not None and not record.promised

    def _attend_all(self, due: Sequence[JobRecord], cases: CasesAt, final: Block) -> None:
        """Jobs that a quorum decided on first, some at once; then the others, whose appraisal may take long."""
        decided = [record for record in due if record.quorum is not None]
        for first in range(0, len(decided), MOST_AT_ONCE):
            some = decided[first : first + MOST_AT_ONCE]
            candidates = [self._attend(record, final, partial(self._step, record, cases)) for record in some]
            self._release([one for one in candidates if one is not None], final)
        for record in due:
            if record.quorum is None:
                self._attend(record, final, partial(self._step, record, cases))

    def _attend(self, record: JobRecord, final: Block, step: Step[T]) -> T | None:
        """Take one step of one job; what the step gives, unless the job waits or has nothing left to do."""
        try:
            found = step()
        except (ChainUnavailable, OSError, JournalUnwritable, JournalTaken):
            raise  # not about this job: the chain is away, or the journal takes no writes
        except SealmarketError as error:
            found = Defer(str(error))
        except Exception as error:  # noqa: BLE001 - an error in one job must not stop the node for all others
            reason = f"unexpected {type(error).__name__}, nothing was done"
            _log.error("job %s: %s at %s", record.job_id, reason, _raised_at(error))
            found = Defer(reason)
        if isinstance(found, Defer):
            self._waiting.defer(record, found, final)
            return None
        if found is None:
            self._waiting.end(record.job_id)
        return found

    def _step(self, record: JobRecord, cases: CasesAt) -> Candidate | Defer | None:
        """Decide. Returns what may be released, what the job waits for, or None when nothing is left to do."""
        if record.evidence_hash is None:
            return Defer(NO_EVIDENCE, lasting=True)
        if record.promised:
            return None
        case = cases.of(record)
        own = self._journal.own_decision(record.job_id, case.evidence_hash, record.spec.epoch)
        waits = None
        if own is None:
            waits = self._decide_or_wait(record, case)
            own = self._journal.own_decision(record.job_id, case.evidence_hash, record.spec.epoch)
        if record.quorum is None or record.accepted is None:
            return waits or Defer(NO_QUORUM)
        needed = confirmations_for_promise(case.committee)
        if (unproven := self._unproven("accepted", record.accepted, needed)) is not None:
            return unproven
        return self._releasing.candidate(record, case, own)

    # --- deciding ---------------------------------------------------------------------------------------------

    def _decide_or_wait(self, record: JobRecord, case: AppraisalInput) -> Defer | None:
        quoted = (case.quoted.number, case.quoted.timestamp)
        if (unproven := self._unproven("quoted", quoted, CONFIRMATIONS_FOR_DECISION)) is not None:
            return unproven
        try:
            return self._decide(case)
        except ServiceError as error:
            # A promise to stop needs no document, and a store that is away must not keep a job from its end.
            if record.quorum is None:
                raise
            return Defer(error.message)

    def _decide(self, case: AppraisalInput) -> Defer | None:
        appraised = self._deciding.appraise(case)
        if isinstance(appraised, Defer):
            return appraised
        if appraised.decided.decision.outcome is Outcome.ACCEPTED and case.slot.status is Status.QUOTED:
            head = self._head(case.at)
            if (wait := time_to_release(case.spec, case.at, head, self._timing(case.at))) is not None:
                return wait
        self._deciding.keep(appraised)
        return None

    # --- releasing --------------------------------------------------------------------------------------------

    def _release(self, candidates: Sequence[Candidate], final: Block) -> None:
        """Promise what the heads allow, together. An error that concerns one job leaves the others alone."""
        if not candidates:
            return
        try:
            heads = self._releasing.heads(candidates)  # now, not at the tick's beginning
            self._present.require_recent(min(head.block.timestamp for head in heads))
            self._require_newest(max(head.block.number for head in heads), final)
        except ChainUnavailable:
            raise
        except SealmarketError as error:
            if len(candidates) > 1:
                for one in candidates:
                    self._release([one], final)
                return
            wait = Defer(str(error))
            self._attend(candidates[0].record, final, lambda: wait)
            return
        self._promise(candidates, heads, final)

    def _promise(self, candidates: Sequence[Candidate], heads: Heads, final: Block) -> None:
        judged = [
            self._attend(one.record, final, partial(self._releasing.judge, one, place, heads))
            for place, one in enumerate(candidates)
        ]
        prepared = [
            self._attend(one.candidate.record, final, partial(self._releasing.prepare, one))
            for one in judged
            if one is not None
        ]
        if promises := [one for one in prepared if one is not None]:
            self._releasing.keep(promises)
            for promise in promises:
                self._waiting.end(promise.candidate.record.job_id)

    @property
    def alarms(self) -> tuple[str, ...]:
        """What is wrong with the chain's endpoints now, each with the endpoint's name and the value."""
        return tuple(str(alarm) for alarm in self._chain.alarms)

    @property
    def alarms_by_place(self) -> tuple[int, ...]:
        """How many alarms stand: first those about this machine's clock, then for each endpoint in its order."""
        standing = [alarm.endpoint for alarm in self._chain.alarms]
        by_endpoint = [standing.count(endpoint) for endpoint in self._chain.endpoints]
        return (len(standing) - sum(by_endpoint), *by_endpoint)

    @property
    def proofs(self) -> Literal["required", "none"]:
        """Whether state at a block counts by proof alone."""
        return "required" if self._chain.trust.proofs else "none"

    @property
    def newest_head(self) -> int:
        """The number of the newest block that was seen."""
        return self._newest_head

    def at_final(self) -> ProvableView:
        """The state at the newest final block, as this node trusts it. Raises :class:`ChainError`."""
        return self._chain.trusted(self._chain.final())

    def waits_for(self, job_id: JobId) -> str:
        """What a job waits for; empty where nothing is left to do."""
        return self._waiting.reason(job_id)

    def info(self) -> NodeInfo:
        """Who this node is, and the lowest grade that it accepts."""
        return NodeInfo(
            signer=self._keys.signer.address,
            hpke_public_key=HexBytes(self._keys.hpke.public.raw),
            chain_id=self.market.chain_id,
            market=self.market.address,
            grade_floor=self._grade_floor,
        )

    def status(self, job_id: JobId) -> NodeStatus:
        """What this node decided and did about one job, from the journal alone, without a read of the chain."""
        return self.answers.status(job_id, self.waits_for(job_id))

    def challenge(self, job_id: JobId) -> ChallengeStatus:
        """What this node answers to a challenge, from the journal alone."""
        if self._challenges is None:
            return ChallengeStatus(job_id=job_id, state="none", reason="this node answers no challenges")
        status, answer, epoch = self._challenges.status(job_id)
        if answer is None:
            return status
        place, signature = self.answers.index_in(epoch), self.answers.signed(answer)
        return replace(status, answer=SignedChallengeAnswer(answer=answer, index=place, signature=signature))


def _place_in(committee: Committee | None, keys: NodeKeys) -> int | None:
    members = committee.members if committee is not None else ()
    return next((index for index, member in enumerate(members) if member.signer == keys.signer.address), None)


def _raised_at(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.name}:{frame.lineno}"
