"""Gate, steps 5 to 9 and 11: is the evidence disclosed, about this job, authentic, and acceptable to every owner?

Pure. Every check uses the time of the block in which the provider posted the evidence's hash, so that honest nodes
reach the same result at any time and with any clock.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.errors import CollateralError, EvidenceRefused
from sealmarket.attestation.core.findings import Finding
from sealmarket.attestation.core.model import AppraisalResult, AuthenticReport
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.policy.composite import Machine, appraise_machine, endorsing, prove
from sealmarket.attestation.policy.owners import OwnersPolicy, digest_of, reduced_list
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.attestation.policy.verify import Expected, appraise, authenticate, demands_devices
from sealmarket.attestation.raw import parse_machine, parse_raw
from sealmarket.attestation.seen import seen_of
from sealmarket.protocol.advisories import PlatformSeen
from sealmarket.protocol.merkle import allowed_leaf
from sealmarket.protocol.reasons import JobReason, job_reason
from sealmarket.protocol.wire import EvidencePackage, FindingNote
from sealmarket_enclave.protocol.codec import Bytes64
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import report_data
from sealmarket_enclave.sealed.errors import InvalidHpkeKey
from sealmarket_oracle.gate.advisory_rules import recalled
from sealmarket_oracle.gate.capability_rules import broken_machine, broken_promises, read_promise, request_beyond
from sealmarket_oracle.gate.chain_rules import grade_against, note
from sealmarket_oracle.gate.collateral_rules import Basis, basis_of, excused
from sealmarket_oracle.gate.inputs import (
    AppraisalInput,
    AssetFacts,
    EvidenceShown,
    EvidenceUnavailable,
    FaultRow,
    JobDocuments,
    Violation,
)
from sealmarket_oracle.gate.notes import note_of
from sealmarket_oracle.gate.public_keys import public_key

NAMED_BLOCK_MAX_AGE = 3600
"""Seconds between the block that evidence names and the block in which its hash was posted."""

_EVERY_JOBS = frozenset({Reason.TEE_MISMATCH, Reason.DEBUG, Reason.REPORT_DATA_MISMATCH})
"""Findings of an appraisal that no owner's rule can change: the platform's fault, whatever it promised."""


@dataclass(frozen=True, slots=True)
class Appraised:
    """The outcome for the evidence: the authentic report, if it is one, violations, findings that never refuse, by
    which collateral it was judged, and the machines that it proves."""

    report: AuthenticReport | None
    violations: tuple[Violation, ...]
    warnings: tuple[FindingNote, ...] = ()
    basis: Basis | None = None
    machines: tuple[PlatformSeen, ...] = ()


def appraise_evidence(
    case: AppraisalInput,
    shown: EvidenceShown | EvidenceUnavailable,
    policies: tuple[OwnersPolicy | None, ...],
    documents: JobDocuments,
    roots: TrustAnchors,
) -> Appraised:
    """Steps 5 to 9 and 11, in order. Steps that need an authentic report are skipped without one.

    5. The evidence is disclosed: it opens with this node's key, and hashes to what is on chain.
    6. It names a block of this chain, from the match on, before the quote and recent to it; its key is a key.
    7. It is authentic: a chain of signatures up to a root that this node trusts.
    8. It was made for exactly this job, these keys and that block: all 64 bytes of report data.
    9. It keeps the provider's promise, and its grade reaches what node, chain and policies demand; it is acceptable to
       each owner's rules. Collateral of after the match charges no party.
    11. The pair of enclave and workload is on each owner's list on chain.
    """
    if isinstance(shown, EvidenceUnavailable):
        finding = note(JobReason.EVIDENCE_WITHHELD, "evidence", f"evidence with hash {case.evidence_hash}", shown.why)
        return Appraised(None, (Violation(FaultRow.WITHHELD, finding, waits=True),))
    package = shown.package
    promise, violations = read_promise(case, documents)
    violations += [Violation(FaultRow.PLATFORM, found) for found in _about_block(case, shown)]
    violations += _about_key(package)
    violations += _unshown_auditors(shown, policies)
    basis, report, refusal = _authenticated(shown, case, roots)
    warnings: list[FindingNote] = []
    machines: tuple[PlatformSeen, ...] = ()
    if report is None:
        violations.append(refusal)
    else:
        violations += _about_job(case, package, report)
        violations += broken_promises(case, promise, report)
        violations += _about_grade(case, report, policies)
        demands = [policy.rules for policy in policies if policy is not None]
        demands += [promise.rules] if promise is not None else []
        machine = _machine(case, package, basis, demands, roots)
        violations += broken_machine(case, promise, machine)
        machines = tuple(seen_of(one) for one in (report, *(machine.reports if machine is not None else ())))
        violations += recalled(machines, shown.recalls)
        # A request chooses what it accepts of promises. Without one no party could know what the owners demand.
        whose = FaultRow.REQUEST if promise is not None else FaultRow.NO_PARTY
        for asset, policy in zip(case.assets, policies, strict=True):
            if policy is not None:
                found, warned = _acceptable(case, shown, asset, policy, machine or report, whose)
                violations += found
                warnings += warned
                violations += _pair_violations(case, asset, policy, report, documents)
    violations += request_beyond(case, promise, shown)
    violations = list(excused(case, basis, violations))
    violations += _owners_rules(case, violations)
    return Appraised(report, tuple(dict.fromkeys(violations)), tuple(dict.fromkeys(warnings)), basis, machines)


def _unshown_auditors(shown: EvidenceShown, policies: Iterable[OwnersPolicy | None]) -> Iterator[Violation]:
    """The evidence is sealed to each auditor whom an owner names, unless the host had not got that owner's policy."""
    for policy in policies:
        if policy is None or digest_of(policy) in shown.package.missing:
            continue
        for name in (keccak(raw) for raw in policy.document.evidence_readers if _is_key(raw)):
            if name not in shown.readers:
                expected, found = f"a package sealed to the auditor's key {name}", "one for other readers"
                finding = note(JobReason.EVIDENCE_WITHHELD, str(policy.document.asset_id), expected, found)
                yield Violation(FaultRow.WITHHELD, finding, waits=True)


def _is_key(raw: bytes) -> bool:
    try:
        public_key(raw)
    except InvalidHpkeKey:
        return False
    return True


def _owners_rules(case: AppraisalInput, violations: Iterable[Violation]) -> list[Violation]:
    """One finding for each owner whose evidence rules are missed by evidence that may keep the provider's promise."""
    missed = {
        violation.note.subject
        for violation in violations
        if violation.row is FaultRow.REQUEST and job_reason(violation.note.code) is None
    }
    owners = [subject for asset in case.assets if (subject := str(asset.use.asset_id)) in missed]
    expected, found = "evidence that the owner's rules accept", "evidence that they refuse"
    notes = (note(JobReason.OWNER_RULES_UNMET, subject, expected, found) for subject in owners)
    return [Violation(FaultRow.REQUEST, finding) for finding in notes]


def _about_block(case: AppraisalInput, shown: EvidenceShown) -> Iterator[FindingNote]:
    named, claimed = shown.named, shown.package.block_hash
    expected = f"a block of this chain from {case.matched.number} to {case.quoted.number}"
    if named is None or named.hash != claimed or named.number != shown.package.block_number:
        yield note(JobReason.BLOCK_NOT_RECENT, "evidence", expected, f"block {shown.package.block_number} {claimed}")
    elif not case.matched.number <= named.number <= case.quoted.number:
        yield note(JobReason.BLOCK_NOT_RECENT, "evidence", expected, f"block {named.number}")
    elif case.quoted.timestamp - named.timestamp > NAMED_BLOCK_MAX_AGE:
        age = case.quoted.timestamp - named.timestamp
        yield note(JobReason.BLOCK_NOT_RECENT, "evidence", f"at most {NAMED_BLOCK_MAX_AGE} s old", f"{age} s")


def _about_key(package: EvidencePackage) -> Iterator[Violation]:
    try:
        public_key(package.enclave_key)
    except InvalidHpkeKey as error:
        yield _platform(Finding(Reason.MALFORMED, "an HPKE public key of the enclave", error.message))


def _authenticated(
    shown: EvidenceShown, case: AppraisalInput, roots: TrustAnchors
) -> tuple[Basis | None, AuthenticReport | None, Violation]:
    now, package = datetime.fromtimestamp(case.quoted.timestamp, UTC), shown.package
    never, basis = Finding(Reason.MALFORMED, "evidence", "none"), None
    try:
        promised = case.spec.tee
        if package.tee != promised:
            return None, None, _platform(Finding(Reason.TEE_MISMATCH, promised.slug, package.tee.slug))
        evidence = parse_raw(promised, package.quote)
        basis = basis_of(package, shown.own, now, roots)
        return basis, authenticate(evidence, basis.endorsements, roots, now), _platform(never)
    except CollateralError as error:
        return basis, None, _platform(Finding(Reason.ENDORSEMENT_MALFORMED, "the vendor's collateral", error.message))
    except EvidenceRefused as error:
        return basis, None, _platform(error.finding)


def _machine(
    case: AppraisalInput,
    package: EvidencePackage,
    basis: Basis | None,
    demands: Iterable[AppraisalPolicy],
    roots: TrustAnchors,
) -> Machine | None:
    """The CPU with the devices of the package, where any rules demand some; None where none do or none are there.

    Devices that cannot be read count as absent: rules that demand them then refuse the CPU alone.
    """
    bound = package.devices
    if bound is None or basis is None or not any(map(demands_devices, demands)):
        return None
    try:
        cpu = parse_raw(package.tee, package.quote)
        evidence = parse_machine(cpu, bound.binding, ((one.tee, one.report, one.chain) for one in bound.devices))
    except (CollateralError, EvidenceRefused):
        return None
    endorse = endorsing(package.tee, basis.endorsements, bound.documents)
    return prove(evidence, endorse, roots, datetime.fromtimestamp(case.quoted.timestamp, UTC))


def _about_job(case: AppraisalInput, package: EvidencePackage, report: AuthenticReport) -> Iterator[Violation]:
    expected = expected_report_data(case, package)
    if not hmac.compare_digest(report.report_data, expected):
        subject, found = "evidence", f"report data 0x{report.report_data.hex()}"
        yield Violation(
            FaultRow.PLATFORM, note(JobReason.EVIDENCE_NOT_FOR_JOB, subject, f"report data {expected}", found)
        )


def expected_report_data(case: AppraisalInput, package: EvidencePackage) -> Bytes64:
    """The 64 bytes that evidence for this job, these keys and this block must carry."""
    return report_data(case.job_id, package.enclave_signer, keccak(package.enclave_key), package.block_hash)


def _about_grade(
    case: AppraisalInput, report: AuthenticReport, policies: tuple[OwnersPolicy | None, ...]
) -> Iterator[Violation]:
    found = report.grade
    demands = {"this node": case.grade_floor}
    for asset, policy in zip(case.assets, policies, strict=True):
        if found >= case.spec.min_grade:
            yield from (Violation(FaultRow.TERMS, note) for note in grade_against(asset.use, asset.state, found))
        if policy is not None:
            demands[str(asset.use.asset_id)] = policy.document.terms.min_grade
    for who, least in demands.items():
        if found < least:
            finding = Finding(Reason.GRADE_TOO_LOW, f"{least.slug} evidence", f"{found.slug} evidence")
            yield Violation(FaultRow.REQUEST, note_of(finding, who))


def _acceptable(
    case: AppraisalInput,
    shown: EvidenceShown,
    asset: AssetFacts,
    policy: OwnersPolicy,
    found: AuthenticReport | Machine,
    whose: FaultRow,
) -> tuple[list[Violation], list[FindingNote]]:
    # Without a block of this chain its age is unknown, and the evidence is refused for that already (step 6).
    made_by = datetime.fromtimestamp(shown.named.timestamp, UTC) if shown.named is not None else None
    expected = Expected(
        report_data=expected_report_data(case, shown.package),
        tee=case.spec.tee,
        collected_at=made_by,
    )
    now = datetime.fromtimestamp(case.quoted.timestamp, UTC)
    cpu, beside = _appraised(found, policy, now, expected)
    subject = str(asset.use.asset_id)
    rows = [(finding, _row_of(finding, whose)) for finding in cpu.findings]
    # What is wrong with a device is the platform's fault where the provider promised it, and is reported there.
    rows += [(finding, whose) for part in beside for finding in part.findings if finding not in cpu.findings]
    violations = [Violation(row, note_of(finding, subject)) for finding, row in rows]
    return violations, [note_of(finding, subject) for part in (cpu, *beside) for finding in part.warnings]


def _appraised(
    found: AuthenticReport | Machine, policy: OwnersPolicy, now: datetime, expected: Expected
) -> tuple[AppraisalResult, Sequence[AppraisalResult]]:
    """The result on the CPU, and where the policy demands devices those on the binding quote and each device."""
    if isinstance(found, Machine) and demands_devices(policy.rules):
        cpu, *beside = appraise_machine(found, policy.rules, now, expected).parts.values()
        return cpu, beside
    report = found.cpu if isinstance(found, Machine) else found
    assert isinstance(report, AuthenticReport)
    return appraise(report, policy.rules, now, expected), ()


def _row_of(finding: Finding, whose: FaultRow) -> FaultRow:
    """The row of what an owner's rules find. No promise names an age, and a provider must not choose a row by it."""
    if finding.reason in _EVERY_JOBS:
        return FaultRow.PLATFORM
    return FaultRow.NO_PARTY if finding.reason is Reason.EVIDENCE_STALE else whose


def _pair_violations(
    case: AppraisalInput, asset: AssetFacts, policy: OwnersPolicy, report: AuthenticReport, documents: JobDocuments
) -> Iterator[Violation]:
    workload = case.spec.workload_digest
    if report.measurement not in policy.rules.measurements or workload not in policy.document.workloads:
        return  # the policy does not allow the pair: steps 9 and 10 refuse it
    leaf, allow_root = allowed_leaf(case.spec.tee, report.measurement.digest(), workload), asset.state.terms.allow_root
    listed = reduced_list(policy, allow_root) or documents.lists.get(allow_root)
    if allow_root == leaf or (listed is not None and leaf in listed):
        return
    found = f"not under {allow_root}" if listed is not None else f"no list to show it under {allow_root}"
    finding = note(JobReason.PAIR_NOT_ON_CHAIN, asset.use.asset_id, f"the pair {leaf}", found)
    yield Violation(FaultRow.REQUEST, finding, waits=listed is None)


def _platform(finding: Finding, subject: str = "evidence") -> Violation:
    return Violation(FaultRow.PLATFORM, note_of(finding, subject))
