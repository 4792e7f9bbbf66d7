"""Gate, steps 1 and 2: rules about chain state alone. Pure. Every node finds the same at the same block."""

from __future__ import annotations

from collections.abc import Iterator

from sealmarket.chain.bargain import commitment
from sealmarket.chain.model import AssetState, JobSlot
from sealmarket.protocol.decisions import Decision, grade_name
from sealmarket.protocol.reasons import JobReason
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import FindingNote
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.hashing import Word, keccak, words
from sealmarket_enclave.protocol.job import AssetUse, JobSpec
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle.gate.inputs import AssetFacts, FaultRow, Violation


def note(reason: JobReason, subject: object, expected: object, found: object) -> FindingNote:
    """One finding for people, with the number and the remedy of its reason."""
    return FindingNote(
        reason=reason.value,
        code=reason.code,
        subject=str(subject),
        expected=str(expected),
        found=str(found),
        remedy=reason.remedy,
    )


def slot_against(
    spec: JobSpec, job_id: JobId, slot: JobSlot, evidence_hash: Bytes32, quoted_at: int, quorum: Decision | None
) -> tuple[str, str] | None:
    """How a slot contradicts the events of its job, as expected and found; None where it does not.

    The slot commits to the whole specification and to what the stage added: the evidence hash once quoted, the
    accepted enclave once accepted. While it is quoted, its deadline is the quote's time and the decide window: the time
    by which evidence is judged. So a proven slot proves those events.
    """
    if slot.status is Status.QUOTED:
        if slot.deadline != quoted_at + spec.decide_window:
            return f"the deadline {quoted_at + spec.decide_window} of a quote at {quoted_at}", str(slot.deadline)
        stage: Word = evidence_hash
    elif slot.status is Status.ACCEPTED and quorum is not None:
        stage = keccak(words(quorum.evidence_hash, quorum.enclave_signer, quorum.enclave_key_hash))
    else:
        return None
    expected = commitment(spec, job_id, stage)
    return None if expected == slot.commitment else (f"a commitment 0x{expected.hex()}", f"0x{slot.commitment.hex()}")


def terms_against(use: AssetUse, state: AssetState, timestamp: int) -> Iterator[FindingNote]:
    """Findings against the use of an asset in its owner's terms at one block: the rule of the registry's ``stand``.

    2a revoked; 2b a root or a purpose replaced since the match; 2c expired. A new price, fewer uses, a smaller budget
    and a suspended version concern later matches only. The release asks again at the head.
    """
    subject = use.asset_id
    if state.revoked:
        yield note(JobReason.ASSET_REVOKED, subject, "an asset that is offered", f"version {use.version} revoked")
    if state.strict_version > use.terms_version:
        expected, found = (
            f"what terms version {use.terms_version} allows",
            f"replaced in version {state.strict_version}",
        )
        yield note(JobReason.TERMS_TIGHTENED, subject, expected, found)
    if state.terms.expiry < timestamp:
        found = f"expired at {state.terms.expiry}, block time {timestamp}"
        yield note(JobReason.ASSET_EXPIRED, subject, "terms that have not expired", found)


def grade_against(use: AssetUse, state: AssetState, grade: int) -> Iterator[FindingNote]:
    """2d. The finding against evidence of a grade that an owner's terms do not take any more. Grades as on chain."""
    if state.terms.min_grade > grade:
        found = f"evidence of grade {grade_name(grade)}"
        yield note(JobReason.TERMS_TIGHTENED, use.asset_id, f"grade {state.terms.min_grade.slug} or higher", found)


def chain_violations(assets: tuple[AssetFacts, ...], epoch: int, timestamp: int) -> Iterator[Violation]:
    """Steps 1 and 2 for every asset of a job.

    1. The published seal is the one that the job names, for the committee epoch of the job.
    2. The terms in force allow it: :func:`terms_against`.
    """
    for asset in assets:
        subject = asset.use.asset_id
        named = asset.use.seal_hash
        if asset.seal.hash() != named or asset.state.seal_hash != named:
            found = f"published {asset.seal.hash()}, registry {asset.state.seal_hash}"
            yield Violation(FaultRow.INPUT, note(JobReason.SHARE_MISDEALT, subject, f"seal {named}", found))
        if asset.seal.epoch != epoch:
            found = f"shares dealt to epoch {asset.seal.epoch}"
            yield Violation(FaultRow.INPUT, note(JobReason.EPOCH_MISMATCH, subject, f"epoch {epoch}", found))
        for finding in terms_against(asset.use, asset.state, timestamp):
            yield Violation(FaultRow.TERMS, finding)
