"""The gate: may this enclave receive shares? Pure. Time, trust anchors, documents and chain state are arguments.

The steps, and the module that holds the rules of each (docs/spec/oracle.md, "The gate"):

 1. seals and epoch are the job's                             chain_rules
 2. the terms of every owner still stand                      chain_rules
 3. each policy agrees with seal, job, committee and chain    document_rules
 4. this node's share opens, before a party is charged;       document_rules
    the store has the container,                              material_rules
    the data card, and every step that the owner names        step_rules
 5. the evidence is disclosed, and is what is hashed on chain evidence_rules
 6. it names a recent block of this chain                     evidence_rules
 7. it is authentic                                           evidence_rules
 8. it is about this job and these keys                       evidence_rules
 9. it keeps the provider's promise                           capability_rules
    it is acceptable to node, chain and every owner           evidence_rules
    by the newer collateral of host and node                  collateral_rules
    and no enabled issuer called its machine back             advisory_rules
    what the vendor signed after the match charges no party   collateral_rules
10. purpose and workload are allowed by every owner, and the  material_rules
    workload needs no more than request and promise give,     capability_rules
    and of its inputs no more than their cards promise        needs_rules
    the terms of a service are shown, and every owner's       serving_rules
11. the pair of enclave and workload is listed on chain       evidence_rules
12. workload, parameters and result keys are available, and
    the owners' output rules can hold together                material_rules
13. the host lacked nothing when it quoted                    material_rules

The rules of 3, 4 and 12 that enclaves and verifiers share stand in :mod:`sealmarket_enclave.protocol.agreement`.

The detail names every violation. One row of the fault table decides, the first that has a violation:

    terms (2) > input (1, 3, 4) > evidence withheld (5) > platform (6-9) > request (9-12) > collateral (9) > late (13)

Rows that charge no party come first, so that no party pays for a job that could not have run. The platform comes before
the request, or a consumer would pay for a provider without a working enclave; and before what came late, where no party
is charged, or such a provider could avoid its penalty. Only the reasons of the deciding row are signed,
since all honest nodes see those alike. A node waits for what the store lacks until half of the window has passed, where
it could change the row; afterwards it counts as withheld.
"""

from __future__ import annotations

from msgspec import UNSET

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.model import AuthenticReport
from sealmarket.attestation.policy.owners import OwnersPolicy
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.reasons import reason_bits
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import DecisionDetail
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, Bytes32
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import terms_digest
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_oracle.gate.chain_rules import chain_violations
from sealmarket_oracle.gate.document_rules import read_policy, share_violations
from sealmarket_oracle.gate.evidence_rules import Appraised, appraise_evidence
from sealmarket_oracle.gate.inputs import (
    AppraisalInput,
    Decided,
    Defer,
    EvidenceShown,
    EvidenceUnavailable,
    FaultRow,
    JobDocuments,
    Violation,
)
from sealmarket_oracle.gate.material_rules import content_violations, late_violations, request_violations
from sealmarket_oracle.gate.needs_rules import needs_violations
from sealmarket_oracle.gate.serving_rules import serving_violations
from sealmarket_oracle.gate.step_rules import step_violations

_OUTCOMES = {
    FaultRow.TERMS: Outcome.TERMS_REFUSED,
    FaultRow.INPUT: Outcome.INPUT_REFUSED,
    FaultRow.WITHHELD: Outcome.EVIDENCE_WITHHELD,
    FaultRow.PLATFORM: Outcome.PLATFORM_REFUSED,
    FaultRow.REQUEST: Outcome.REQUEST_REFUSED,
    FaultRow.NO_PARTY: Outcome.TERMS_REFUSED,
    FaultRow.LATE: Outcome.INPUT_REFUSED,
}


def decide(
    case: AppraisalInput,
    documents: JobDocuments,
    shown: EvidenceShown | EvidenceUnavailable,
    private: PrivateKey,
    roots: TrustAnchors,
) -> Decided | Defer:
    """Appraise one job and its evidence at one final block. Nothing is signed or written here.

    ``private`` is the node's HPKE key: step 4 opens the node's own share with it and forgets what it saw.
    """
    if (reason := _not_now(case)) is not None:
        return Defer(reason, lasting=True)
    violations = list(chain_violations(case.assets, case.spec.epoch, case.at.timestamp))
    policies: list[OwnersPolicy | None] = []
    for asset in case.assets:
        policy, found = read_policy(asset, documents, case.committee, case.spec.consumer)
        policies.append(policy)
        violations += found
        violations += share_violations(case, asset, documents, private)
        violations += content_violations(asset, documents)
        violations += step_violations(asset, policy.document if policy is not None else None, documents, case.spec.kind)
    appraised = appraise_evidence(case, shown, tuple(policies), documents, roots)
    violations += appraised.violations
    violations += request_violations(case, documents, policies)
    violations += needs_violations(case, shown, documents, policies)
    violations += serving_violations(case, shown, policies)
    violations += late_violations(shown)
    deciding = _deciding(case, violations)
    if isinstance(deciding, Defer):
        return deciding
    return _decided(case, shown, appraised, violations, deciding)


def _not_now(case: AppraisalInput) -> str | None:
    """A decision takes a quote that is final on chain, an open window, and a case about one evidence hash."""
    if case.slot.status not in (Status.QUOTED, Status.ACCEPTED):
        return f"the job is {case.slot.status.name.lower()}, nothing is left to decide"
    if case.evidence_hash == ZERO_HASH or case.quoted.number > case.at.number:
        return "no evidence hash is on chain at a final block"
    if not case.assets:
        return "the job names no asset, so no policy allows it"
    if case.slot.status is Status.QUOTED and case.at.timestamp > case.slot.deadline:
        return "the time for deciding has passed"
    return None


def _deciding(case: AppraisalInput, violations: list[Violation]) -> tuple[Violation, ...] | Defer:
    """The violations of the row that decides; none for an acceptance. A deferral while waiting could change the row."""
    first = _first_row([violation for violation in violations if not violation.waits])
    awaited = [violation for violation in violations if violation.waits and (not first or violation.row < first[0].row)]
    if not awaited:
        return first
    if case.at.timestamp <= case.patient_until or case.slot.status is Status.ACCEPTED:
        missing = "; ".join(f"{violation.note.reason}: {violation.note.found}" for violation in awaited)
        return Defer(f"waiting for the store until {case.patient_until}: {missing}")
    return _first_row(awaited)


def _first_row(violations: list[Violation]) -> tuple[Violation, ...]:
    row = min((violation.row for violation in violations), default=None)
    return tuple(violation for violation in violations if violation.row is row)


def _decided(
    case: AppraisalInput,
    shown: EvidenceShown | EvidenceUnavailable,
    appraised: Appraised,
    violations: list[Violation],
    deciding: tuple[Violation, ...],
) -> Decided:
    detail = _detail(case, shown, appraised, violations)
    signer, key_hash, grade, expiry = ZERO_ADDRESS, ZERO_HASH, 0, case.decide_by
    outcome = _OUTCOMES[deciding[0].row] if deciding else Outcome.ACCEPTED
    if not deciding:
        signer, key_hash, grade = _enclave(shown, appraised)
        expiry = min(case.decide_by, *(asset.state.terms.expiry for asset in case.assets))
    decision = Decision(
        job_id=case.job_id,
        evidence_hash=case.evidence_hash,
        enclave_signer=signer,
        enclave_key_hash=key_hash,
        terms_digest=terms_digest([a.use for a in case.assets], [a.seal for a in case.assets]),
        epoch=case.spec.epoch,
        outcome=outcome,
        grade=grade,
        reasons=reason_bits({violation.note.code for violation in deciding}),
        expiry=expiry,
        detail=keccak(detail.canonical()),
    )
    return Decided(decision, detail, appraised.machines, *_lasting(appraised.report))


def _lasting(report: AuthenticReport | None) -> tuple[Bytes32 | None, int]:
    """The platform that a report names, and when the collateral ends by which it was judged."""
    if report is None:
        return None, 0
    ends = report.tcb.expires
    return report.platform.digest(report.tee), int(ends.timestamp()) if ends is not None else 0


def _enclave(shown: EvidenceShown | EvidenceUnavailable, appraised: Appraised) -> tuple[Address, Bytes32, int]:
    if isinstance(shown, EvidenceUnavailable) or appraised.report is None:
        raise AssertionError("an acceptance without an authentic report: the steps above let it through")
    package = shown.package
    return package.enclave_signer, keccak(package.enclave_key), int(appraised.report.grade)


def _detail(
    case: AppraisalInput,
    shown: EvidenceShown | EvidenceUnavailable,
    appraised: Appraised,
    violations: list[Violation],
) -> DecisionDetail:
    report, basis = appraised.report, appraised.basis
    recalled_by = tuple(violation.advisory for violation in violations if violation.advisory is not None)
    return DecisionDetail(
        block_number=case.at.number,
        block_hash=case.at.hash,
        tcb_status=report.tcb.status.value if report is not None else "",
        advisories=report.tcb.advisories if report is not None else (),
        collateral_digest=basis.digest if basis is not None else ZERO_HASH,
        collateral=basis.source if basis is not None else "none",
        findings=tuple(dict.fromkeys(violation.note for violation in violations)),
        warnings=appraised.warnings,
        evidence_content=shown.content if isinstance(shown, EvidenceShown) else UNSET,
        recalled_by=recalled_by or UNSET,
    )
