"""The gate: may this enclave have our shares? Pure; clock, roots, papers and the view of the chain are arguments.

Steps, each in the module that its rules fill (docs/spec/oracle.md, "The gate"):

 1. seals and epoch are the job's                             rules_chain
 2. no owner revoked, tightened or let expire                 rules_chain
 3. each policy is the one that the shares are bound to       rules_papers
 4. our own share opens, before anybody is charged;           rules_papers
    the container is in the store                             rules_materials
 5. the evidence is shown, and is what was hashed on chain    rules_evidence
 6. it names a recent block of this chain                     rules_evidence
 7. it is authentic                                           rules_evidence
 8. it is about this job and these keys                       rules_evidence
 9. it is acceptable to node, request, chain and every owner  rules_evidence
10. purpose and workload are allowed by every owner           rules_materials
11. workload, parameters and result key can be had, and the
    owners' output rules can be met together                  rules_materials
12. the host lacked nothing when it quoted                    rules_materials
13. the pair of enclave and workload is still listed on chain rules_evidence

Everything that is wrong is named in the detail. One row of the fault table decides, the first that has a finding:

    terms (2) > input (1, 3, 4) > evidence withheld (5) > platform (6-9) > request (10, 11) > pair (13) > late (12)

Rows in which nobody is charged come first, so that nobody pays for a job that could not have been. The platform comes
before the request, or a provider without a working enclave could earn the fee of a refused request; and before what
came late, where nobody is charged, or it could talk itself out of its penalty. Only the reasons of the row that decides
are signed: they are what all honest nodes see alike. What the store lacks is awaited for half of the window, where it
could change the row; afterwards it counts as withheld.
"""

from __future__ import annotations

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.reasons import reason_bits
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import DecisionDetail
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, Bytes32
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import terms_digest
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_oracle.gate.chain_rules import chain_faults
from sealmarket_oracle.gate.document_rules import Policy, read_policy, share_faults
from sealmarket_oracle.gate.evidence_rules import Appraised, appraise_evidence
from sealmarket_oracle.gate.inputs import Case, Decided, Deferral, Fault, NotShown, Papers, Row, Shown
from sealmarket_oracle.gate.material_rules import content_faults, late_faults, request_faults

_OUTCOMES = {
    Row.TERMS: Outcome.TERMS_REFUSED,
    Row.INPUT: Outcome.INPUT_REFUSED,
    Row.WITHHELD: Outcome.EVIDENCE_WITHHELD,
    Row.PLATFORM: Outcome.PLATFORM_REFUSED,
    Row.REQUEST: Outcome.REQUEST_REFUSED,
    Row.PAIR: Outcome.TERMS_REFUSED,
    Row.LATE: Outcome.INPUT_REFUSED,
}


def decide(
    case: Case, papers: Papers, shown: Shown | NotShown, private: PrivateKey, roots: TrustAnchors
) -> Decided | Deferral:
    """Appraise one job and its evidence at one final block. Nothing is signed or written here.

    ``private`` is the node's HPKE key: step 4 opens the node's own share with it and forgets what it saw.
    """
    if (reason := _not_now(case)) is not None:
        return Deferral(reason, lasting=True)
    faults = list(chain_faults(case.assets, case.spec.epoch, case.at.timestamp))
    policies: list[Policy | None] = []
    for asset in case.assets:
        policy, found = read_policy(asset, papers, case.committee, case.spec.consumer)
        policies.append(policy)
        faults += found
        faults += share_faults(case, asset, papers, private)
        faults += content_faults(asset, papers)
    appraised = appraise_evidence(case, shown, tuple(policies), papers, roots)
    faults += appraised.faults
    faults += request_faults(case, papers, policies)
    faults += late_faults(shown)
    deciding = _deciding(case, faults)
    if isinstance(deciding, Deferral):
        return deciding
    return _decided(case, shown, appraised, faults, deciding)


def _not_now(case: Case) -> str | None:
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


def _deciding(case: Case, faults: list[Fault]) -> tuple[Fault, ...] | Deferral:
    """The faults of the row that decides; none for an acceptance. A deferral while waiting could change the row."""
    first = _first_row([fault for fault in faults if not fault.waits])
    awaited = [fault for fault in faults if fault.waits and (not first or fault.row < first[0].row)]
    if not awaited:
        return first
    if case.at.timestamp <= case.patient_until or case.slot.status is Status.ACCEPTED:
        missing = "; ".join(f"{fault.note.reason}: {fault.note.found}" for fault in awaited)
        return Deferral(f"waiting for the store until {case.patient_until}: {missing}")
    return _first_row(awaited)


def _first_row(faults: list[Fault]) -> tuple[Fault, ...]:
    row = min((fault.row for fault in faults), default=None)
    return tuple(fault for fault in faults if fault.row is row)


def _decided(
    case: Case, shown: Shown | NotShown, appraised: Appraised, faults: list[Fault], deciding: tuple[Fault, ...]
) -> Decided:
    detail = _detail(case, shown, appraised, faults)
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
        reasons=reason_bits({fault.note.code for fault in deciding}),
        expiry=expiry,
        detail=keccak(detail.canonical()),
    )
    return Decided(decision, detail)


def _enclave(shown: Shown | NotShown, appraised: Appraised) -> tuple[Address, Bytes32, int]:
    if isinstance(shown, NotShown) or appraised.report is None:
        raise AssertionError("an acceptance without an authentic report: the steps above let it through")
    package = shown.package
    return package.enclave_signer, keccak(package.enclave_key), int(appraised.report.grade)


def _detail(case: Case, shown: Shown | NotShown, appraised: Appraised, faults: list[Fault]) -> DecisionDetail:
    report = appraised.report
    collateral = keccak(shown.package.collateral.encode()) if isinstance(shown, Shown) else ZERO_HASH
    return DecisionDetail(
        block_number=case.at.number,
        block_hash=case.at.hash,
        tcb_status=report.tcb.status.value if report is not None else "",
        advisories=report.tcb.advisories if report is not None else (),
        collateral_digest=collateral,
        findings=tuple(dict.fromkeys(fault.note for fault in faults)),
        warnings=appraised.warnings,
    )
