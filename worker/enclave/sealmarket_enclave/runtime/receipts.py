"""What the enclave says at the end, under its attested key: receipt, settlement or failure."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import Failure, Settlement, SharesMissing
from sealmarket_enclave.protocol.numbers import FailureCause
from sealmarket_enclave.protocol.receipt import (
    ReceiptInput,
    ReceiptOutcome,
    ReceiptPredicate,
    Statement,
    Subject,
    envelope,
    signing_hash,
)
from sealmarket_enclave.runtime.channel import Finished, MissingSigned
from sealmarket_enclave.runtime.errors import InputFailed
from sealmarket_enclave.runtime.job import BoundJob, LoadedJob
from sealmarket_enclave.runtime.keys import EnclaveKeys
from sealmarket_enclave.sealed.errors import InvalidHpkeKey
from sealmarket_enclave.sealed.hpke import PublicKey
from sealmarket_enclave.sealed.notices import Notice, seal_notice
from sealmarket_enclave.sealed.result import ResultEnvelope

SECONDS_PER_UNIT = 60
"""One unit of usage is a started minute of the workload: coarse, since a time tells too."""

RESULT_SUBJECT = "result"
JOB_SUBJECT = "job"
KECCAK = "keccak256"
CONTENT_ROOT = "sealmarketContentRoot"
_OUTCOMES: dict[FailureCause, ReceiptOutcome] = {
    FailureCause.INPUT: "input_failed",
    FailureCause.WORKLOAD: "workload_failed",
    FailureCause.WORKLOAD_TIME: "workload_timed_out",
    FailureCause.VALIDATOR: "validator_timed_out",
    FailureCause.READER: "reader_timed_out",
}


def units_up(seconds: float, max_units: int) -> int:
    """Started minutes, never more than the consumer agreed to pay for."""
    return min(max_units, int(seconds // SECONDS_PER_UNIT) + 1)


@dataclass(frozen=True, slots=True)
class ReceiptSigner:
    """Signs how one job ended: the receipt, and the settlement or failure that contracts read."""

    job: BoundJob
    keys: EnclaveKeys
    evidence_hash: Bytes32
    platform: str
    began: float
    """When the evidence was asked for, by the enclave's clock in seconds."""

    def settle(self, result: ResultEnvelope, units: int, sandbox: Sequence[str]) -> Finished:
        """The signed settlement for a sealed result. ``sandbox`` names the layers that were in force."""
        digests = {KECCAK: result.hash.hex(), CONTENT_ROOT: result.content_root.hex()}
        receipt = self._receipt(Subject(name=RESULT_SUBJECT, digest=digests), "completed", units, sandbox)
        settlement = Settlement(
            job_id=self.job.job_id, result_hash=result.hash, receipt_hash=keccak(receipt), units=units, last=True
        )
        signature = self.keys.sign(settlement.digest(self.job.chain_id, self.job.market))
        return Finished(
            settlement=settlement.canonical(),
            failure=None,
            signature=signature,
            receipt=receipt,
            result=result.canonical(),
        )

    def fail(
        self, cause: FailureCause, asset_index: int, units: int, sandbox: Sequence[str], **of_input: Any
    ) -> Finished:
        """The signed failure after acceptance. ``asset_index`` is 0 for the workload's.

        ``of_input``: fields of the receipt's predicate that only a failed input has.
        """
        subject = Subject(name=JOB_SUBJECT, digest={KECCAK: self.job.job_id.hex()})
        receipt = self._receipt(subject, _OUTCOMES[cause], units, sandbox, **of_input)
        failure = Failure(
            job_id=self.job.job_id,
            cause=cause,
            asset_index=asset_index,
            units=units,
            receipt_hash=keccak(receipt),
        )
        signature = self.keys.sign(failure.digest(self.job.chain_id, self.job.market))
        return Finished(settlement=None, failure=failure.canonical(), signature=signature, receipt=receipt, result=None)

    def fail_input(self, job: LoadedJob, error: InputFailed) -> Finished:
        """The signed failure of an input; what its reader found is sealed to the owner and the first result key."""
        notice = Notice(
            job_id=self.job.job_id,
            asset_index=error.index,
            code=error.fault,
            column=error.column,
            rows=error.rows,
        )
        keys = [job.result_keys[0]]
        with contextlib.suppress(InvalidHpkeKey):  # the owner's own doing, and no reason to tell the consumer less
            if (key := job.assets[error.index].policy.notice_key) is not None:
                keys.append(PublicKey(key))
        sealed = seal_notice(notice, keys, chain_id=self.job.chain_id, market=self.job.market)
        return self.fail(FailureCause.INPUT, error.index, 0, (), input_fault=str(error.fault), notices=sealed)

    def report_missing(self, excluded: int) -> MissingSigned:
        """The signed statement that no key is joined. Bit i of ``excluded``: node i sent false shares."""
        missing = SharesMissing(job_id=self.job.job_id, evidence_hash=self.evidence_hash, excluded=excluded)
        signature = self.keys.sign(missing.digest(self.job.chain_id, self.job.market))
        return MissingSigned(missing=missing.canonical(), signature=signature)

    def _receipt(
        self,
        subject: Subject,
        outcome: ReceiptOutcome,
        units: int,
        sandbox: Sequence[str],
        **of_input: Any,
    ) -> bytes:
        job = self.job
        predicate = ReceiptPredicate(
            chain_id=job.chain_id,
            market=job.market,
            job_id=job.job_id,
            evidence_hash=self.evidence_hash,
            enclave_key_hash=self.keys.key_hash,
            workload_digest=job.spec.workload_digest,
            parameters_digest=job.spec.parameters_digest,
            terms_digest=job.terms_digest,
            inputs=tuple(
                ReceiptInput(
                    asset_id=use.asset_id,
                    asset_version=use.version,
                    content_root=seal.content_root,
                    policy_hash=seal.policy_hash,
                )
                for use, seal in zip(job.spec.assets, job.seals, strict=True)
            ),
            outcome=outcome,
            privacy="exact",
            units=units,
            sandbox=tuple(sandbox),
            platform=self.platform,
            **of_input,
        )
        statement = Statement(subject=(subject,), predicate=predicate)
        signature = self.keys.sign(signing_hash(statement))
        return envelope(statement, self.keys.signer, signature).canonical()
