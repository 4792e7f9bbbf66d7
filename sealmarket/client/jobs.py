"""One job as the chain tells it, read at one block; and its reasons in words."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sealmarket.attestation.core.reasons import Reason
from sealmarket.chain import Block, Chain, Enclave, Fault, JobSlot, Payout
from sealmarket.chain.contracts import SettledResult
from sealmarket.chain.events import (
    ChainEvent,
    JobDecided,
    JobEnded,
    JobFailed,
    JobMatched,
    JobQuoted,
    JobSettled,
    JobStopped,
)
from sealmarket.client.errors import JobNotFound
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.reasons import job_reason, reason_codes
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import Bytes32, Uint
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """What the chain says of one job at one block. Every hash in it was held against the specification."""

    job_id: JobId
    spec: JobSpec
    at: Block
    slot: JobSlot
    matched: JobMatched
    quoted: JobQuoted | None = None
    decided: JobDecided | None = None
    stopped: JobStopped | None = None
    settled: JobSettled | None = None
    failed: JobFailed | None = None
    ended: JobEnded | None = None
    history: tuple[ChainEvent, ...] = ()

    @property
    def status(self) -> Status:
        """Where the job stands."""
        return self.slot.status

    @property
    def evidence_hash(self) -> Bytes32 | None:
        """What the provider posted."""
        return self.quoted.evidence_hash if self.quoted else None

    @property
    def decision(self) -> Decision | None:
        """The common core that a quorum signed."""
        return self.decided.core if self.decided else None

    @property
    def enclave(self) -> Enclave | None:
        """The accepted enclave, as later stages have to name it."""
        if self.decided is None or self.decided.outcome is not Outcome.ACCEPTED:
            return None
        core = self.decided.core
        return Enclave(core.evidence_hash, core.enclave_signer, core.enclave_key_hash)

    @property
    def settled_result(self) -> SettledResult | None:
        """What the enclave signed at the end, as the market takes it; None before the job settles."""
        if self.settled is None:
            return None
        return SettledResult(self.settled.result_hash, self.settled.receipt_hash, self.settled.units)

    @property
    def reasons(self) -> Uint:
        """The reasons of a refusal or a stop; none of a success."""
        if self.stopped:
            return self.stopped.reasons
        return self.decided.core.reasons if self.decided else Uint(0)

    @property
    def fault(self) -> Fault:
        """The row of the fault table by which the job ended; none while it runs or when it went well."""
        return self.ended.fault if self.ended else Fault.NONE

    @property
    def payout(self) -> Payout | None:
        """Who got what at the end."""
        return self.ended.payout if self.ended else None


def read_job(chain: Chain, job_id: JobId, at: Block | None = None) -> JobRecord:
    """One job at a block, the newest final one by default.

    Raises:
        JobNotFound: no such job up to that block.
        ChainError: the node does not answer, or contradicts itself.
    """
    block = at or chain.final()
    history = chain.about_job(job_id, block)
    matched = next((event for event in history if isinstance(event, JobMatched)), None)
    if matched is None:
        raise JobNotFound(job_id)
    slot = chain.at(block).job(matched.spec.request_hash)
    record = JobRecord(job_id=job_id, spec=matched.spec, at=block, slot=slot, matched=matched, history=tuple(history))
    for event in history:
        record = _with(record, event)
    return record


def _with(record: JobRecord, event: ChainEvent) -> JobRecord:
    match event:
        case JobQuoted():
            return replace(record, quoted=event)
        case JobDecided():
            return replace(record, decided=event)
        case JobStopped():
            return replace(record, stopped=event)
        case JobSettled():
            return replace(record, settled=event)
        case JobFailed():
            return replace(record, failed=event)
        case JobEnded():
            return replace(record, ended=event)
        case _:
            return record


@dataclass(frozen=True, slots=True)
class ReasonInWords:
    """One reason of a refusal."""

    code: int
    word: str
    remedy: str


def reasons_in_words(bits: int) -> tuple[ReasonInWords, ...]:
    """What a set of reasons on chain says."""
    return tuple(_reason(code) for code in reason_codes(bits))


_EVIDENCE = {reason.code: reason for reason in Reason}


def _reason(code: int) -> ReasonInWords:
    known = job_reason(code) or _EVIDENCE.get(code)
    if known is None:
        return ReasonInWords(code, f"reason {code}", "update this library: it does not know this reason yet")
    return ReasonInWords(code, str(known.value), known.remedy)
