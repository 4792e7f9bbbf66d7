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
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.chain.contracts import members_hash
from sealmarket.chain.errors import ChainUnavailable, NodeDistrusted
from sealmarket.chain.follow import Follower
from sealmarket.chain.interface import ChainReader, ViewReader
from sealmarket.chain.model import Block
from sealmarket.protocol import decisions
from sealmarket.protocol.book import Committee
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import EvidencePackage, FindingNote, NodeInfo, NodeStatus, SignedDecision, SignedStop
from sealmarket.service.errors import ServiceError
from sealmarket.store.interface import NodeStore
from sealmarket_enclave.protocol.codec import HexBytes, Shape, decode
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import Grade, JobId
from sealmarket_enclave.protocol.release import Release
from sealmarket_oracle.documents import DocumentCache, open_evidence, open_package, posted_evidence, with_promise
from sealmarket_oracle.errors import NotOnCommittee, StaleChain
from sealmarket_oracle.follower import JournalReader
from sealmarket_oracle.gate.decide import decide
from sealmarket_oracle.gate.inputs import (
    AppraisalInput,
    AssetFacts,
    Defer,
    EvidenceShown,
    EvidenceUnavailable,
    MarketRef,
)
from sealmarket_oracle.handed import HandedEvidence
from sealmarket_oracle.journal import JobRecord, Journal, OwnDecision
from sealmarket_oracle.keys import NodeKeys
from sealmarket_oracle.release import (
    Allow,
    AtHead,
    MarketTiming,
    Stop,
    judge,
    seal_release,
    stop_of,
    time_to_release,
    unanimous,
)
from sealmarket_oracle.renewals import Renewals

_log = logging.getLogger("sealmarket.oracle")
_FIRST_PAUSE, _LONGEST_PAUSE, _LASTING_PAUSE = 0.1, 1.0, 30.0
_UNKEPT = 1000


class StopRecord(Shape, frozen=True, kw_only=True):
    """A promise never to release, as it is written down: what will be signed, and why."""

    stop: decisions.Stop
    findings: tuple[FindingNote, ...]


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
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        book = chain.book
        self.market = MarketRef(chain_id=book.chain_id, address=book.market, registry=book.registry)
        self._chain, self._journal, self._store, self._keys, self._policy = chain, journal, store, keys, policy
        self._committees = {committee.epoch: committee for committee in book.committees}
        self._follower = Follower(chain, JournalReader(journal))
        self._documents = DocumentCache(store)
        self.handed = HandedEvidence(journal, self.market)
        self.renewals = Renewals(
            chain, journal, self.market, keys, max_head_age_seconds=policy.max_head_age_seconds, clock=clock
        )
        self._clock, self._monotonic = clock, monotonic
        self._pauses: dict[JobId, _Pause] = {}
        self._newest_head = 0
        self._known_timing: MarketTiming | None = None
        self._unkept: deque[bytes] = deque(maxlen=_UNKEPT)

    # --- the loop ---------------------------------------------------------------------------------------------

    def tick(self) -> Block:
        """Read the chain once and do everything that is due. Returns the final block that was read.

        Raises:
            ChainError, StaleChain, JournalError: what was not done yet is done by a later tick.
        """
        final = self._follower.advance()
        self._head(final)
        records = self._journal.open_jobs()
        for record in records:
            if self._due(record):
                self._attend(record, final)
        still_open = {record.job_id for record in records}
        for ended in self._pauses.keys() - still_open:
            del self._pauses[ended]
        self.handed.keep_only(still_open)
        self._keep_details()
        return final

    def _head(self, final: Block) -> Block:
        """The newest block. It must be recent, and no older than any seen before, or a revocation could go unseen."""
        head = self._chain.head()
        age = int(self._clock()) - head.timestamp
        if age > self._policy.max_head_age_seconds:
            raise StaleChain(age, self._policy.max_head_age_seconds)
        newest = max(self._newest_head, final.number)
        if head.number < newest:
            raise NodeDistrusted("newest block", f"{newest} or later", head.number)
        self._newest_head = head.number
        return head

    def _timing(self, final: Block) -> MarketTiming:
        """The market's constants, read once at a final block."""
        if self._known_timing is None:
            view = self._chain.at(final)
            self._known_timing = MarketTiming(view.finality(), view.transfer_allowance())
        return self._known_timing

    def _due(self, record: JobRecord) -> bool:
        pause = self._pauses.get(record.job_id)
        return pause is None or pause.record != record or self._monotonic() >= pause.until

    def _attend(self, record: JobRecord, final: Block) -> None:
        try:
            wait = self._step(record, final)
        except ChainUnavailable:
            raise
        except SealmarketError as error:
            wait = Defer(str(error))
        except Exception as error:  # noqa: BLE001 - an error in one job must not stop the node for all others
            reason = f"unexpected {type(error).__name__}, nothing was done"
            _log.error("job %s: %s at %s", record.job_id, reason, _raised_at(error))
            wait = Defer(reason)
        if wait is None:
            self._pauses.pop(record.job_id, None)
        else:
            self._pause(record, wait.reason, _LASTING_PAUSE if wait.lasting else _LONGEST_PAUSE)

    def _pause(self, record: JobRecord, reason: str, longest: float) -> None:
        before = self._pauses.get(record.job_id)
        if before is None or before.reason != reason:
            _log.info("job %s: %s", record.job_id, reason)
        again = before is not None and before.record == record
        seconds = min(longest, before.seconds * 1.5) if before is not None and again else _FIRST_PAUSE
        self._pauses[record.job_id] = _Pause(reason, record, self._monotonic() + seconds, seconds)

    def _step(self, record: JobRecord, final: Block) -> Defer | None:
        """Decide and release as far as possible. Returns what the job waits for, or None when nothing is left to do."""
        if record.evidence_hash is None:
            return Defer("no evidence hash is on chain at a final block", lasting=True)
        if self._journal.promised(record.job_id) is not None:
            return None
        case = self._case(record, self._chain.at(final))
        own = self._journal.own_decision(record.job_id, case.evidence_hash, record.spec.epoch)
        waits = None
        if own is None:
            waits = self._decide_or_wait(record, case)
            own = self._journal.own_decision(record.job_id, case.evidence_hash, record.spec.epoch)
        if record.quorum is not None:
            return self._release(record, case, own)
        return waits or Defer("waiting for a quorum's decision on chain")

    # --- deciding ---------------------------------------------------------------------------------------------

    def _decide_or_wait(self, record: JobRecord, case: AppraisalInput) -> Defer | None:
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
        package = self._evidence(case)
        documents = with_promise(documents, case.spec, package)
        shown = (
            package
            if isinstance(package, EvidenceUnavailable)
            else EvidenceShown(package=package, named=self._named(package, case))
        )
        decided = decide(case, documents, shown, self._keys.hpke, self._policy.roots)
        if isinstance(decided, Defer):
            return decided
        if decided.decision.outcome is Outcome.ACCEPTED and case.slot.status is Status.QUOTED:
            head = self._head(case.at)
            if (wait := time_to_release(case.spec, case.at, head, self._timing(case.at))) is not None:
                return wait
        enclave_key = package.enclave_key if isinstance(package, EvidencePackage) else b""
        self._journal.decide(decided, enclave_key)
        self._unkept.append(decided.detail.canonical())
        outcome, grade = decided.decision.outcome, decided.decision.grade
        reasons = ", ".join(finding.reason for finding in decided.detail.findings) or "no finding"
        kind = "SIMULATED evidence" if grade == Grade.SIMULATED else "evidence"
        _log.info("job %s: decided %s on %s: %s", case.job_id, outcome.name.lower(), kind, reasons)
        return None

    def _evidence(self, case: AppraisalInput) -> EvidencePackage | EvidenceUnavailable:
        """What the provider handed in, or else what the store has."""
        handed = self.handed.find(case.job_id)
        if handed is not None and isinstance(found := open_package(case, handed, self._keys.hpke), EvidencePackage):
            return found
        return open_evidence(case, posted_evidence(self._store, case.job_id), self._keys.hpke)

    def _named(self, package: EvidencePackage, case: AppraisalInput) -> Block | None:
        # Only blocks that could pass are asked for: the number comes from the evidence, which is not trusted.
        if not case.matched.number <= package.block_number <= case.quoted.number:
            return None
        return self._chain.block(package.block_number)

    def _case(self, record: JobRecord, view: ViewReader) -> AppraisalInput:
        spec = record.spec
        if record.evidence_hash is None or record.quoted is None:
            raise AssertionError("a case takes a quote")
        committee, index = self._seat(spec.epoch, view)
        return AppraisalInput(
            market=self.market,
            job_id=record.job_id,
            spec=spec,
            at=view.block,
            slot=view.job(spec.request_hash),
            matched=record.matched,
            quoted=record.quoted,
            decide_by=record.decide_by,
            evidence_hash=record.evidence_hash,
            assets=self._assets(spec, view),
            committee=committee,
            index=index,
            grade_floor=self._policy.grade_floor,
        )

    def _seat(self, epoch: int, view: ViewReader) -> tuple[Committee, int]:
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

    def _assets(self, spec: JobSpec, view: ViewReader) -> tuple[AssetFacts, ...]:
        facts = []
        for use in spec.assets:
            seal = self._journal.seal(use.asset_id, use.version)
            if seal is None:
                raise NodeDistrusted(f"history of asset {use.asset_id}", f"version {use.version} published", "nothing")
            facts.append(AssetFacts(use=use, seal=seal, state=view.asset(use.asset_id, use.version)))
        return tuple(facts)

    # --- releasing --------------------------------------------------------------------------------------------

    def _release(self, record: JobRecord, case: AppraisalInput, own: OwnDecision | None) -> Defer | None:
        quorum = record.quorum
        if quorum is None:
            raise AssertionError("a release takes a quorum")
        own_head = self._at_head(record.spec, self._head(case.at))  # read now, not at the tick's beginning
        decision = own.decision if own else None
        heads = [own_head, *self._chain.elsewhere(lambda: self._at_head(record.spec, self._chain.head()))]
        timing = self._timing(case.at)
        verdict = unanimous([judge(record.spec, decision, quorum, case.slot, head, timing) for head in heads])
        match verdict:
            case Allow():
                if own is None:
                    raise AssertionError("no release without an own decision")
                self._promise_release(record, case, own)
                return None
            case Stop(findings):
                self._promise_stop(record, case, findings)
                return None
            case Defer():
                return verdict

    def _at_head(self, spec: JobSpec, head: Block) -> AtHead:
        view = self._chain.at(head)
        states = tuple(view.asset(use.asset_id, use.version) for use in spec.assets)
        return AtHead(block=head, slot=view.job(spec.request_hash), states=states)

    def _promise_release(self, record: JobRecord, case: AppraisalInput, own: OwnDecision) -> None:
        documents = self._documents.fetch(self.market, case.committee, case.index, case.assets)
        release = seal_release(case, own.decision, own.enclave_key, documents, self._keys)
        self._journal.promise(record.job_id, "release", release.canonical())
        _log.info("job %s: released %d shares, sealed to the enclave", record.job_id, len(release.shares))

    def _promise_stop(self, record: JobRecord, case: AppraisalInput, findings: tuple[FindingNote, ...]) -> None:
        body = StopRecord(stop=stop_of(case, findings), findings=findings)
        self._journal.promise(record.job_id, "stop", body.canonical())
        reasons = ", ".join(finding.reason for finding in findings)
        _log.info("job %s: promised never to release: %s", record.job_id, reasons)

    def _keep_details(self) -> None:
        """Put decisions' details where a reader of the chain finds them by hash; they are in our answers as well."""
        while self._unkept:
            try:
                self._store.put_document(self._unkept[0])
            except SealmarketError as error:
                _log.debug("a decision's detail waits for the store: %s", error)
                return
            self._unkept.popleft()

    # --- answers ----------------------------------------------------------------------------------------------

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
        record = self._journal.job(job_id)
        if record is None:
            reason = self._journal.unreadable(job_id) or "no final block has this job"
            return NodeStatus(job_id=job_id, state="unknown", reason=reason[:4096])
        pause = self._pauses.get(job_id)
        reason = pause.reason if pause is not None else ""
        decision = self._signed_decision(record)
        promised = self._journal.promised(job_id)
        if promised is None:
            reason = "the job has ended" if record.ended else reason
            state: Literal["decided", "waiting"] = "decided" if decision else "waiting"
            return NodeStatus(job_id=job_id, state=state, reason=reason[:4096], decision=decision)
        kind, body = promised
        if kind == "release":
            release = decode(Release, body)
            return NodeStatus(job_id=job_id, state="released", reason="", decision=decision, release=release)
        stop = self._signed_stop(decode(StopRecord, body))
        return NodeStatus(job_id=job_id, state="stopped", reason="", decision=decision, stop=stop)

    def _signed_decision(self, record: JobRecord) -> SignedDecision | None:
        if record.evidence_hash is None:
            return None
        own = self._journal.own_decision(record.job_id, record.evidence_hash, record.spec.epoch)
        if own is None:
            return None
        digest = own.decision.digest(self.market.chain_id, self.market.address)
        return SignedDecision(
            decision=own.decision,
            index=self._index_in(record.spec.epoch),
            signature=self._keys.signer.sign(digest),
            detail=own.detail,
        )

    def _signed_stop(self, record: StopRecord) -> SignedStop:
        digest = record.stop.digest(self.market.chain_id, self.market.address)
        return SignedStop(
            stop=record.stop,
            index=self._index_in(record.stop.epoch),
            signature=self._keys.signer.sign(digest),
            findings=record.findings,
        )

    def _index_in(self, epoch: int) -> int:
        members = self._committees[epoch].members
        return next(index for index, member in enumerate(members) if member.signer == self._keys.signer.address)


def _raised_at(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.name}:{frame.lineno}"
