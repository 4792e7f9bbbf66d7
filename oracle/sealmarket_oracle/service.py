"""One node: follows the chain, decides, releases or stops, and reports what it did.

A *tick* reads the chain once and processes every open job. An error in one job is logged and leaves the other jobs
alone. When the chain does not answer, nothing is decided and a later tick tries again. Decisions and promises are in
the journal before they take effect, so a tick may end at any instruction.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from msgspec.structs import replace

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.chain.contracts import members_hash
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
from sealmarket_enclave.protocol.codec import ZERO_HASH, HexBytes
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import Grade, JobId
from sealmarket_oracle.answers import Answers
from sealmarket_oracle.challenges import ChallengeAnswers
from sealmarket_oracle.collateral import CollateralKeeper, own_for
from sealmarket_oracle.documents import DocumentCache, open_evidence, stored_evidence, with_promise
from sealmarket_oracle.ear import Ears
from sealmarket_oracle.epochs import EpochEnd
from sealmarket_oracle.errors import JournalTaken, JournalUnwritable, NotOnCommittee
from sealmarket_oracle.follower import JournalReader
from sealmarket_oracle.gate.chain_rules import slot_against
from sealmarket_oracle.gate.decide import decide
from sealmarket_oracle.gate.inputs import (
    AppraisalInput,
    AssetFacts,
    Defer,
    EvidenceOpened,
    EvidenceShown,
    EvidenceUnavailable,
    MarketRef,
)
from sealmarket_oracle.handed import HandedEvidence
from sealmarket_oracle.head_clock import HeadClock
from sealmarket_oracle.journal import JobRecord, Journal
from sealmarket_oracle.keys import NodeKeys
from sealmarket_oracle.log.entries import EntryKind
from sealmarket_oracle.recalls import Recalls
from sealmarket_oracle.release import MarketTiming, time_to_release
from sealmarket_oracle.releasing import MOST_AT_ONCE, Candidate, Heads, Prepared, Releasing
from sealmarket_oracle.renewals import Renewals
from sealmarket_oracle.results import KeptResults
from sealmarket_oracle.witnesses import (
    CONFIRMATIONS_FOR_DECISION,
    Start,
    Witnesses,
    confirmations_for_promise,
)

T = TypeVar("T")
Step = Callable[[JobRecord, Block], Defer | T | None]
_log = logging.getLogger("sealmarket.oracle")
_FIRST_PAUSE, _LONGEST_PAUSE, _LASTING_PAUSE = 0.1, 1.0, 30.0
_UNKEPT = 1000
_NO_EVIDENCE = "no evidence hash is on chain at a final block"
_NO_QUORUM = "waiting for a quorum's decision on chain"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePolicy:
    """What the operator configured: trust anchors, the lowest grade, and the oldest view of the chain in seconds."""

    roots: TrustAnchors
    grade_floor: Grade
    max_head_age_seconds: int


@dataclass(slots=True)
class _Pause:
    """Why a job waits, and until when it is skipped (monotonic seconds), unless the chain changes its record."""

    reason: str
    record: JobRecord
    until: float
    seconds: float


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
        book = chain.book
        self.market = MarketRef(chain_id=book.chain_id, address=book.market, registry=book.registry)
        self._chain, self._journal, self._store, self._keys, self._policy = chain, journal, store, keys, policy
        self._witnesses = witnesses
        self._start: Start | None = None
        self._committees = {committee.epoch: committee for committee in book.committees}
        self.answers = Answers(chain.book, journal, keys.signer, witnesses)
        self._follower = Follower(
            chain, JournalReader(journal, _place_in(self._committees.get(journal.identity.epoch), keys))
        )
        self._documents = DocumentCache(store)
        self._releasing = Releasing(
            chain, journal, self._documents, keys, self.market, lambda case: self._timing(case.at)
        )
        self.handed = HandedEvidence(journal, self.market)
        self.results, self.collateral, self.recalls, self.ears = results, collateral, recalls, ears
        self._challenges = ChallengeAnswers(journal, results) if results is not None else None
        self._present = HeadClock(policy.max_head_age_seconds, clock)
        self.renewals = Renewals(chain, journal, self.market, keys, self._present)
        self._monotonic = monotonic
        self._pauses: dict[JobId, _Pause] = {}
        self._newest_head = 0
        self.epoch_end = EpochEnd(journal.identity.epoch, monotonic)
        self._known_timing: MarketTiming | None = None
        self._unkept: deque[bytes] = deque(maxlen=_UNKEPT)

    # --- the loop ---------------------------------------------------------------------------------------------

    def tick(self) -> Block:
        """Read the chain once and do everything that is due. Returns the final block that was read.

        Raises:
            ChainError, StaleChain, JournalError: what was not done yet is done by a later tick.
        """
        self._witnesses.require_sound()
        final = self._follower.advance()
        self._journal.settle()
        head = self._head(final)
        if self._start is None:
            self._begin(head, final)
        if self.recalls is not None:
            self.recalls.look((final.number, final.hash))
        records = self._journal.open_jobs()
        due = [record for record in records if self._due(record)]
        if asked := [record.spec for record in due if self._reads_state(record)]:
            self._chain.trusted(final).prepare(asked)
        self._attend_all(due, final)
        if self._challenges is not None:
            self._challenges.tick(self._chain.trusted(final))
        still_open = {record.job_id for record in records}
        for ended in self._pauses.keys() - still_open:
            del self._pauses[ended]
        self.handed.keep_only(still_open)
        self._keep_details()
        self.epoch_end.look(self._chain, final)
        return final

    def _begin(self, head: Block, final: Block) -> None:
        """Note when this process began: what it may sign depends on it (:mod:`witnesses`)."""
        self._journal.append(EntryKind.START, JobId(ZERO_HASH), block=(final.number, final.hash))
        self._start = Start(head.number, int(self._present.now()))
        self._witnesses.announce()

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

    def _due(self, record: JobRecord) -> bool:
        pause = self._pauses.get(record.job_id)
        return pause is None or pause.record != record or self._monotonic() >= pause.until

    def _reads_state(self, record: JobRecord) -> bool:
        return record.evidence_hash is not None and self._journal.promised(record.job_id) is None

    def _attend_all(self, due: Sequence[JobRecord], final: Block) -> None:
        """Jobs that a quorum decided on first, some at once; then the others, whose appraisal may take long."""
        decided = [record for record in due if record.quorum is not None]
        for first in range(0, len(decided), MOST_AT_ONCE):
            some = [self._attend(record, final, self._step) for record in decided[first : first + MOST_AT_ONCE]]
            self._release([one for one in some if one is not None], final)
        for record in due:
            if record.quorum is None:
                self._attend(record, final, self._step)

    def _attend(self, record: JobRecord, final: Block, step: Step[T]) -> T | None:
        """Take one step of one job; what the step gives, unless the job waits or has nothing left to do."""
        try:
            found = step(record, final)
        except (ChainUnavailable, OSError, JournalUnwritable, JournalTaken):
            raise  # not about this job: the chain is away, or the journal takes no writes
        except SealmarketError as error:
            found = Defer(str(error))
        except Exception as error:  # noqa: BLE001 - an error in one job must not stop the node for all others
            reason = f"unexpected {type(error).__name__}, nothing was done"
            _log.error("job %s: %s at %s", record.job_id, reason, _raised_at(error))
            found = Defer(reason)
        if isinstance(found, Defer):
            self._keep_deferral(record, found.reason, final)
            self._pause(record, found.reason, _LASTING_PAUSE if found.lasting else _LONGEST_PAUSE)
            return None
        if found is None:
            self._pauses.pop(record.job_id, None)
        return found

    def _keep_deferral(self, record: JobRecord, reason: str, final: Block) -> None:
        before = self._pauses.get(record.job_id)
        if reason not in (_NO_EVIDENCE, _NO_QUORUM) and (before is None or before.reason != reason):
            self._journal.defer(record.job_id, reason, keccak(reason.encode()), (final.number, final.hash))

    def _pause(self, record: JobRecord, reason: str, longest: float) -> None:
        before = self._pauses.get(record.job_id)
        if before is None or before.reason != reason:
            _log.info("job %s: %s", record.job_id, reason)
        again = before is not None and before.record == record
        seconds = min(longest, before.seconds * 1.5) if before is not None and again else _FIRST_PAUSE
        self._pauses[record.job_id] = _Pause(reason, record, self._monotonic() + seconds, seconds)

    def _step(self, record: JobRecord, final: Block) -> Candidate | Defer | None:
        """Decide. Returns what may be released, what the job waits for, or None when nothing is left to do."""
        if record.evidence_hash is None:
            return Defer(_NO_EVIDENCE, lasting=True)
        if self._journal.promised(record.job_id) is not None:
            return None
        case = self._case(record, self._chain.trusted(final))
        own = self._journal.own_decision(record.job_id, case.evidence_hash, record.spec.epoch)
        waits = None
        if own is None:
            waits = self._decide_or_wait(record, case)
            own = self._journal.own_decision(record.job_id, case.evidence_hash, record.spec.epoch)
        if record.quorum is None or record.accepted is None:
            return waits or Defer(_NO_QUORUM)
        needed = confirmations_for_promise(case.committee)
        return self._unproven("accepted", record.accepted, needed) or Candidate(record, case, own)

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
        documents = self._documents.fetch(self.market, case.committee, case.index, case.assets)
        documents = self._documents.with_materials(documents, case.spec, case.assets)
        opened = self._evidence(case)
        documents = with_promise(documents, case.spec, opened)
        shown = opened if isinstance(opened, EvidenceUnavailable) else self._shown(opened, case)
        if isinstance(shown, Defer):
            return shown
        decided = decide(case, documents, shown, self._keys.hpke, self._policy.roots)
        if isinstance(decided, Defer):
            return decided
        if decided.decision.outcome is Outcome.ACCEPTED and case.slot.status is Status.QUOTED:
            head = self._head(case.at)
            if (wait := time_to_release(case.spec, case.at, head, self._timing(case.at))) is not None:
                return wait
        enclave_key = shown.package.enclave_key if isinstance(shown, EvidenceShown) else b""
        if self.recalls is not None:
            self.recalls.saw(case.job_id, decided.machines)
        own = self._journal.decide(decided, enclave_key)
        self._witnesses.announce()
        self._unkept.append(own.detail.canonical())
        outcome, grade = decided.decision.outcome, decided.decision.grade
        reasons = ", ".join(finding.reason for finding in decided.detail.findings) or "no finding"
        kind = "SIMULATED evidence" if grade == Grade.SIMULATED else "evidence"
        _log.info("job %s: decided %s on %s: %s", case.job_id, outcome.name.lower(), kind, reasons)
        return None

    def _evidence(self, case: AppraisalInput) -> EvidenceOpened | EvidenceUnavailable:
        """What the provider handed in, or else what the store has."""
        handed = self.handed.find(case.job_id)
        if handed is not None and isinstance(found := open_evidence(case, handed, self._keys.hpke), EvidenceOpened):
            return found
        return open_evidence(case, stored_evidence(self._store, case.job_id, case.evidence_hash), self._keys.hpke)

    def _shown(self, opened: EvidenceOpened, case: AppraisalInput) -> EvidenceShown | Defer:
        held = own_for(self.collateral, opened.package, case, self._policy.roots)
        if isinstance(held, Defer):
            return held
        # Only blocks that could pass are asked for: the number comes from the evidence, which is not trusted.
        number = opened.package.block_number
        could_pass = case.matched.number <= number <= case.quoted.number
        named = self._chain.block(number) if could_pass else None
        recalls = self.recalls.in_force(case.spec.matched_at) if self.recalls is not None else ()
        return EvidenceShown(
            package=opened.package,
            content=opened.content,
            readers=opened.readers,
            named=named,
            own=held,
            recalls=recalls,
        )

    def _case(self, record: JobRecord, view: ProvableView) -> AppraisalInput:
        spec = record.spec
        if record.evidence_hash is None or record.quoted is None:
            raise AssertionError("a case takes a quote")
        committee, index = self._seat(spec.epoch, view)
        slot = view.job(spec.request_hash)
        events = (record.evidence_hash, record.quoted.timestamp, record.quorum)
        if contradiction := slot_against(spec, record.job_id, slot, *events):
            raise NodeDistrusted("job's slot", *contradiction)
        return AppraisalInput(
            market=self.market,
            job_id=record.job_id,
            spec=spec,
            at=view.block,
            slot=slot,
            matched=record.matched,
            quoted=record.quoted,
            decide_by=record.decide_by,
            evidence_hash=record.evidence_hash,
            assets=self._assets(spec, view),
            committee=committee,
            index=index,
            grade_floor=self._policy.grade_floor,
        )

    def _seat(self, epoch: int, view: ProvableView) -> tuple[Committee, int]:
        if epoch != self._journal.identity.epoch:
            raise NotOnCommittee(epoch, f"this node's keys are for epoch {self._journal.identity.epoch}")
        committee = self._committees.get(epoch)
        if committee is None:
            raise NotOnCommittee(epoch, "the address book does not have it")
        on_chain, ours = view.committee_hash(epoch), members_hash(committee, view.removed_members(epoch))
        if on_chain != ours:
            raise NotOnCommittee(epoch, f"the book's hashes to {ours}, the chain's is {on_chain}")
        for index, member in enumerate(committee.members):
            if member.signer == self._keys.signer.address:
                if member.hpke_public_key != self._keys.hpke.public.raw:
                    raise NotOnCommittee(epoch, "it names another HPKE key for this node")
                return committee, index
        raise NotOnCommittee(epoch, f"{self._keys.signer.address} is not a member")

    def _assets(self, spec: JobSpec, view: ProvableView) -> tuple[AssetFacts, ...]:
        facts = []
        for use in spec.assets:
            seal = self._journal.seal(use.asset_id, use.version)
            if seal is None:
                raise NodeDistrusted(f"history of asset {use.asset_id}", f"version {use.version} published", "nothing")
            facts.append(AssetFacts(use=use, seal=seal, state=view.asset(use.asset_id, use.version)))
        return tuple(facts)

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
            self._attend(candidates[0].record, final, lambda _record, _final: wait)
            return
        self._promise(candidates, heads, final)

    def _promise(self, candidates: Sequence[Candidate], heads: Heads, final: Block) -> None:
        prepared = []
        for place, one in enumerate(candidates):
            prepared.append(self._attend(one.record, final, self._prepared(one, place, heads)))
        if promises := [one for one in prepared if one is not None]:
            self._releasing.keep(promises)
            self._witnesses.announce()
            for promise in promises:
                self._pauses.pop(promise.candidate.record.job_id, None)

    def _prepared(self, candidate: Candidate, place: int, heads: Heads) -> Step[Prepared]:
        return lambda _record, _final: self._releasing.prepare(candidate, place, heads)

    def _keep_details(self) -> None:
        """Put decisions' details where a reader of the chain finds them by hash; they are in our answers as well."""
        while self._unkept:
            try:
                self._store.put_document(self._unkept[0])
            except SealmarketError as error:
                _log.debug("a decision's detail waits for the store: %s", error)
                return
            self._unkept.popleft()

    @property
    def alarms(self) -> tuple[str, ...]:
        """What is wrong with the chain's endpoints now, each with the endpoint's name and the value."""
        return tuple(str(alarm) for alarm in self._chain.alarms)

    @property
    def proofs(self) -> Literal["required", "none"]:
        """Whether state at a block counts by proof alone."""
        return "required" if self._chain.trust.proofs else "none"

    @property
    def newest_head(self) -> int:
        """The number of the newest block that was seen."""
        return self._newest_head

    def waits_for(self, job_id: JobId) -> str:
        """What a job waits for; empty where nothing is left to do."""
        pause = self._pauses.get(job_id)
        return pause.reason if pause is not None else ""

    def info(self) -> NodeInfo:
        """Who this node is, and the lowest grade that it accepts."""
        return NodeInfo(
            signer=self._keys.signer.address,
            hpke_public_key=HexBytes(self._keys.hpke.public.raw),
            chain_id=self.market.chain_id,
            market=self.market.address,
            grade_floor=self._policy.grade_floor,
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
