"""One node: follows the chain, decides, releases or stops, and says what it did.

A *tick* looks once at the chain and attends to every open job. What goes wrong for one job is told, and leaves the
others alone; a chain that does not answer defers everything, decides nothing, and is tried again. The journal holds
what must not be forgotten, so a tick may end at any instruction.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sealmarket.attestation.collateral.roots import Roots
from sealmarket.chain.contracts import members_hash
from sealmarket.chain.errors import ChainUnavailable, NodeDistrusted
from sealmarket.chain.interface import ChainReader, ViewReader
from sealmarket.chain.model import Block
from sealmarket.protocol.book import Committee
from sealmarket.protocol.decisions import Outcome, Stop
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import EvidencePackage, FindingNote, NodeInfo, NodeStatus, SignedDecision, SignedStop
from sealmarket_enclave.protocol.codec import HexBytes, Shape, decode
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import Grade, JobId
from sealmarket_enclave.protocol.release import Release
from sealmarket_oracle.documents import PapersDesk, open_evidence
from sealmarket_oracle.errors import NotOnCommittee, StaleChain, StoreUnavailable
from sealmarket_oracle.follower import Follower
from sealmarket_oracle.gate.decide import decide
from sealmarket_oracle.gate.inputs import AssetFacts, Case, Deferral, NotShown, Place, Shown
from sealmarket_oracle.journal import JobRecord, Journal, OwnDecision
from sealmarket_oracle.keys import NodeKeys
from sealmarket_oracle.release import AtHead, May, MayNot, MustStop, judge, seal_release, stop_of, time_to_release
from sealmarket_oracle.store import Store

_log = logging.getLogger("sealmarket.oracle")
_FIRST_PAUSE, _LONGEST_PAUSE, _LASTING_PAUSE = 0.1, 1.0, 30.0
_UNKEPT = 1000


class StopRecord(Shape, frozen=True, kw_only=True):
    """A promise never to release, as it is written down: what will be signed, and why."""

    stop: Stop
    findings: tuple[FindingNote, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a node was configured to hold against evidence and chain."""

    roots: Roots
    grade_floor: Grade
    max_head_age_seconds: int


@dataclass(slots=True)
class _Pause:
    """Why a job waits, and until when it is left alone (monotonic seconds), unless the chain tells more of it."""

    reason: str
    record: JobRecord
    until: float
    seconds: float


class Node:
    """A key oracle node. :meth:`tick` is called by one thread; :meth:`status` and :meth:`info` by any."""

    def __init__(
        self,
        chain: ChainReader,
        journal: Journal,
        store: Store,
        keys: NodeKeys,
        terms: Terms,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        book = chain.book
        self.place = Place(chain_id=book.chain_id, market=book.market, registry=book.registry)
        self._chain, self._journal, self._store, self._keys, self._terms = chain, journal, store, keys, terms
        self._committees = {committee.epoch: committee for committee in book.committees}
        self._follower = Follower(chain, journal)
        self._papers = PapersDesk(store)
        self._clock, self._monotonic = clock, monotonic
        self._pauses: dict[JobId, _Pause] = {}
        self._newest_head = 0
        self._unkept: deque[bytes] = deque(maxlen=_UNKEPT)

    # --- the loop ---------------------------------------------------------------------------------------------

    def tick(self) -> Block:
        """Look at the chain once and do everything that is due. Returns the final block that was looked at.

        Raises:
            ChainError, StaleChain, JournalError: what was not done yet is done by a later tick.
        """
        final = self._follower.advance()
        self._head(final)
        records = self._journal.open_jobs()
        for record in records:
            if self._due(record):
                self._attend(record, final)
        for ended in self._pauses.keys() - {record.job_id for record in records}:
            del self._pauses[ended]
        self._keep_details()
        return final

    def _head(self, final: Block) -> Block:
        """The newest block, which must be new, and no older than any that was seen: else a revocation goes unseen."""
        head = self._chain.head()
        age = int(self._clock()) - head.timestamp
        if age > self._terms.max_head_age_seconds:
            raise StaleChain(age, self._terms.max_head_age_seconds)
        newest = max(self._newest_head, final.number)
        if head.number < newest:
            raise NodeDistrusted("newest block", f"{newest} or later", head.number)
        self._newest_head = head.number
        return head

    def _due(self, record: JobRecord) -> bool:
        pause = self._pauses.get(record.job_id)
        return pause is None or pause.record != record or self._monotonic() >= pause.until

    def _attend(self, record: JobRecord, final: Block) -> None:
        try:
            wait = self._step(record, final)
        except ChainUnavailable:
            raise
        except SealmarketError as error:
            wait = MayNot(str(error))
        except Exception as error:  # noqa: BLE001 - what one job holds must not silence the node for all others
            reason = f"unexpected {type(error).__name__}, nothing was done"
            _log.error("job %s: %s at %s", record.job_id, reason, _place_of(error))
            wait = MayNot(reason)
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

    def _step(self, record: JobRecord, final: Block) -> MayNot | None:
        """Decide and release as far as it goes; what is waited for, or None when nothing is left to do."""
        if record.evidence_hash is None:
            return MayNot("no evidence hash is on chain at a final block", lasting=True)
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
        return waits or MayNot("waiting for a quorum's decision on chain")

    # --- deciding ---------------------------------------------------------------------------------------------

    def _decide_or_wait(self, record: JobRecord, case: Case) -> MayNot | None:
        try:
            return self._decide(case)
        except StoreUnavailable as error:
            # A promise to stop takes no paper, and a store that is away must not keep a job from its end.
            if record.quorum is None:
                raise
            return MayNot(error.message)

    def _decide(self, case: Case) -> MayNot | None:
        papers = self._papers.gather(self.place, case.committee, case.index, case.assets)
        papers = self._papers.with_materials(papers, case.spec, case.assets)
        package = open_evidence(case, self._store.evidence(case.job_id), self._keys.hpke)
        shown = package if isinstance(package, NotShown) else Shown(package=package, named=self._named(package, case))
        decided = decide(case, papers, shown, self._keys.hpke, self._terms.roots)
        if isinstance(decided, Deferral):
            return MayNot(decided.reason, decided.lasting)
        if decided.decision.outcome is Outcome.ACCEPTED and case.slot.status is Status.QUOTED:
            head = self._head(case.at)
            if (wait := time_to_release(case.spec, case.at, head)) is not None:
                return wait
        enclave_key = package.enclave_key if isinstance(package, EvidencePackage) else b""
        self._journal.decide(decided, enclave_key)
        self._unkept.append(decided.detail.canonical())
        outcome, grade = decided.decision.outcome, decided.decision.grade
        words = ", ".join(finding.reason for finding in decided.detail.findings) or "nothing to object"
        said = "SIMULATED evidence" if grade == Grade.SIMULATED else "evidence"
        _log.info("job %s: decided %s on %s: %s", case.job_id, outcome.name.lower(), said, words)
        return None

    def _named(self, package: EvidencePackage, case: Case) -> Block | None:
        # Only blocks that could pass are asked for: the number comes from whoever wrote the evidence.
        if not case.matched.number <= package.block_number <= case.quoted.number:
            return None
        return self._chain.block(package.block_number)

    def _case(self, record: JobRecord, view: ViewReader) -> Case:
        spec = record.spec
        if record.evidence_hash is None or record.quoted is None:
            raise AssertionError("a case takes a quote")
        committee, index = self._seat(spec.epoch, view)
        return Case(
            place=self.place,
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
            grade_floor=self._terms.grade_floor,
        )

    def _seat(self, epoch: int, view: ViewReader) -> tuple[Committee, int]:
        committee = self._committees.get(epoch)
        if committee is None:
            raise NotOnCommittee(epoch, "the address book does not have it")
        on_chain = view.committee_hash(epoch)
        if on_chain != members_hash(committee):
            raise NotOnCommittee(epoch, f"the book's hashes to {members_hash(committee)}, the chain's is {on_chain}")
        for index, member in enumerate(committee.members, 1):
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

    def _release(self, record: JobRecord, case: Case, own: OwnDecision | None) -> MayNot | None:
        quorum = record.quorum
        if quorum is None:
            raise AssertionError("a release takes a quorum")
        head = self._head(case.at)  # read now, not at the tick's beginning
        view = self._chain.at(head)
        states = tuple(view.asset(use.asset_id, use.version) for use in record.spec.assets)
        at_head = AtHead(block=head, slot=view.job(record.spec.request_hash), states=states)
        verdict = judge(record.spec, own.decision if own else None, quorum, case.slot, at_head)
        match verdict:
            case May():
                if own is None:
                    raise AssertionError("no release without an own decision")
                papers = self._papers.gather(self.place, case.committee, case.index, case.assets)
                release = seal_release(case, own.decision, own.enclave_key, papers, self._keys)
                self._journal.promise(record.job_id, "release", release.canonical())
                _log.info("job %s: released %d shares, sealed to the enclave", record.job_id, len(release.shares))
                return None
            case MustStop(findings):
                body = StopRecord(stop=stop_of(case, findings), findings=findings)
                self._journal.promise(record.job_id, "stop", body.canonical())
                words = ", ".join(finding.reason for finding in findings)
                _log.info("job %s: promised never to release: %s", record.job_id, words)
                return None
            case MayNot():
                return verdict

    def _keep_details(self) -> None:
        """Put decisions' details where a reader of the chain finds them by hash; they are in our answers as well."""
        while self._unkept:
            try:
                self._store.keep(self._unkept[0])
            except SealmarketError as error:
                _log.debug("a decision's detail waits for the store: %s", error)
                return
            self._unkept.popleft()

    # --- what others may ask ----------------------------------------------------------------------------------

    def info(self) -> NodeInfo:
        """Who this node is, and the lowest grade that it accepts."""
        return NodeInfo(
            signer=self._keys.signer.address,
            hpke_public_key=HexBytes(self._keys.hpke.public.raw),
            chain_id=self.place.chain_id,
            market=self.place.market,
            grade_floor=self._terms.grade_floor,
        )

    def status(self, job_id: JobId) -> NodeStatus:
        """What this node decided and did about one job, from the journal alone: asking costs no chain read."""
        record = self._journal.job(job_id)
        if record is None:
            reason = self._journal.unreadable(job_id) or "no final block tells of this job"
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
        digest = own.decision.digest(self.place.chain_id, self.place.market)
        return SignedDecision(
            decision=own.decision,
            index=self._place_in(record.spec.epoch),
            signature=self._keys.signer.sign(digest),
            detail=own.detail,
        )

    def _signed_stop(self, record: StopRecord) -> SignedStop:
        digest = record.stop.digest(self.place.chain_id, self.place.market)
        return SignedStop(
            stop=record.stop,
            index=self._place_in(record.stop.epoch),
            signature=self._keys.signer.sign(digest),
            findings=record.findings,
        )

    def _place_in(self, epoch: int) -> int:
        members = self._committees[epoch].members
        return next(place for place, member in enumerate(members) if member.signer == self._keys.signer.address)


def _place_of(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.name}:{frame.lineno}"
