"""Gate, steps 5 to 9 and 13: the evidence. Is it shown, about this job, authentic, and acceptable to every owner?

Pure. The time of every check is the time of the block in which the provider posted the evidence's hash, so that honest
nodes come to the same answer whenever they look, and whatever their own clocks say.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations, product
from typing import TypeVar

from sealmarket.attestation.collateral.documents import IntelCollateral
from sealmarket.attestation.collateral.roots import Roots
from sealmarket.attestation.core.errors import CollateralError, EvidenceRefused, NotEvidence
from sealmarket.attestation.core.evidence import Endorsements, parse
from sealmarket.attestation.core.model import AuthenticReport, Finding
from sealmarket.attestation.core.model import Tee as EvidenceTee
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.verify import Expected, appraise, authenticate
from sealmarket.protocol.merkle import allowed_leaf
from sealmarket.protocol.merkle import root as merkle_root
from sealmarket.protocol.reasons import JobReason
from sealmarket.protocol.wire import EvidencePackage, FindingNote
from sealmarket_enclave.protocol.codec import Bytes32, Bytes64
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import report_data
from sealmarket_enclave.protocol.numbers import Grade, Tee
from sealmarket_enclave.sealed.errors import InvalidHpkeKey
from sealmarket_enclave.sealed.hpke import PublicKey
from sealmarket_oracle.gate.chain_rules import note
from sealmarket_oracle.gate.document_rules import Policy
from sealmarket_oracle.gate.inputs import AssetFacts, Case, Fault, NotShown, Papers, Row, Shown

NAMED_BLOCK_MAX_AGE = 3600
"""Seconds between the block that evidence names and the block in which its hash was posted."""

MAXIMUM_REDUCTIONS = 512
T = TypeVar("T")

_IDENTIFYING = {Reason.PLATFORM_NOT_ALLOWED, Reason.SNP_CHIP_MISMATCH, Reason.CERTIFICATE_REVOKED}
"""Findings whose ``found`` may name one machine: decisions are public, so it is left out."""


@dataclass(frozen=True, slots=True)
class Appraised:
    """What the evidence came to: the authentic report, if it is one, and all that speaks against it."""

    report: AuthenticReport | None
    faults: tuple[Fault, ...]
    warnings: tuple[FindingNote, ...] = ()


def appraise_evidence(
    case: Case, shown: Shown | NotShown, policies: tuple[Policy | None, ...], papers: Papers, roots: Roots
) -> Appraised:
    """Steps 5 to 9 and 13, in order; what needs an authentic report ends where there is none.

    5. The evidence is shown: it opens with our key, and hashes to what is on chain.
    6. It names a block of this chain, from the match on, before the quote and recent to it; its key is a key.
    7. It is authentic: a chain of signatures up to a root that this node trusts.
    8. It was made for exactly this job, these keys and that block: all 64 bytes of report data.
    9. Its grade reaches what node, request, chain and policies demand, and it is acceptable to each owner's rules.
    13. The pair of enclave and workload is still on each owner's list on chain.
    """
    if isinstance(shown, NotShown):
        finding = note(JobReason.EVIDENCE_WITHHELD, "evidence", f"evidence with hash {case.evidence_hash}", shown.why)
        return Appraised(None, (Fault(Row.WITHHELD, finding, waits=True),))
    package = shown.package
    faults = [Fault(Row.PLATFORM, found) for found in _about_block(case, shown)]
    faults += _about_key(package)
    report, refusal = _authenticated(package, case, roots)
    warnings: list[FindingNote] = []
    if report is None:
        faults.append(refusal)
    else:
        faults += _about_job(case, package, report)
        faults += _about_grade(case, report, policies)
        for asset, policy in zip(case.assets, policies, strict=True):
            if policy is not None:
                found, said = _acceptable(case, shown, asset, policy, report)
                faults += found
                warnings += said
                faults += _pair_faults(case, asset, policy, report, papers)
    return Appraised(report, tuple(dict.fromkeys(faults)), tuple(dict.fromkeys(warnings)))


def _about_block(case: Case, shown: Shown) -> Iterator[FindingNote]:
    named, claimed = shown.named, shown.package.block_hash
    expected = f"a block of this chain from {case.matched.number} to {case.quoted.number}"
    if named is None or named.hash != claimed or named.number != shown.package.block_number:
        yield note(JobReason.BLOCK_NOT_RECENT, "evidence", expected, f"block {shown.package.block_number} {claimed}")
    elif not case.matched.number <= named.number <= case.quoted.number:
        yield note(JobReason.BLOCK_NOT_RECENT, "evidence", expected, f"block {named.number}")
    elif case.quoted.timestamp - named.timestamp > NAMED_BLOCK_MAX_AGE:
        age = case.quoted.timestamp - named.timestamp
        yield note(JobReason.BLOCK_NOT_RECENT, "evidence", f"at most {NAMED_BLOCK_MAX_AGE} s old", f"{age} s")


def _about_key(package: EvidencePackage) -> Iterator[Fault]:
    try:
        PublicKey(package.enclave_key)
    except InvalidHpkeKey as error:
        yield _platform(Finding(Reason.MALFORMED, "an HPKE public key of the enclave", error.message))


def _authenticated(package: EvidencePackage, case: Case, roots: Roots) -> tuple[AuthenticReport | None, Fault]:
    now = datetime.fromtimestamp(case.quoted.timestamp, UTC)
    never = Finding(Reason.MALFORMED, "evidence", "none")
    try:
        evidence = parse(package.quote)
        if evidence.source != "raw":
            finding = Finding(Reason.NON_CANONICAL, "the device's own bytes", f"an encoding of them: {evidence.source}")
            return None, _platform(finding)
        promised = EvidenceTee(case.spec.tee.name.lower())
        if package.tee != case.spec.tee or evidence.tee is not promised:
            return None, _platform(Finding(Reason.TEE_MISMATCH, promised.value, evidence.tee.value))
        return authenticate(evidence, _endorsements(evidence.tee, package.collateral), roots, now), _platform(never)
    except NotEvidence as error:
        return None, _platform(Finding(Reason.UNSUPPORTED_FORMAT, "evidence of a supported TEE", error.message))
    except CollateralError as error:
        return None, _platform(Finding(Reason.ENDORSEMENT_MALFORMED, "the vendor's collateral", error.message))
    except EvidenceRefused as error:
        return None, _platform(error.finding)


def _endorsements(tee: EvidenceTee, collateral: str) -> Endorsements:
    if not collateral:
        return Endorsements()
    if tee in (EvidenceTee.SGX, EvidenceTee.TDX):
        return Endorsements(collateral=IntelCollateral.from_json(collateral))
    if tee is EvidenceTee.SNP:
        return Endorsements.read([collateral.encode()])
    raise NotEvidence(f"{tee.value} evidence is not supported by this version")


def _about_job(case: Case, package: EvidencePackage, report: AuthenticReport) -> Iterator[Fault]:
    expected = expected_report_data(case, package)
    if not hmac.compare_digest(report.report_data, expected):
        subject, found = "evidence", f"report data 0x{report.report_data.hex()}"
        yield Fault(Row.PLATFORM, note(JobReason.EVIDENCE_NOT_FOR_JOB, subject, f"report data {expected}", found))


def expected_report_data(case: Case, package: EvidencePackage) -> Bytes64:
    """The 64 bytes that evidence for this job, these keys and this block must carry."""
    return report_data(case.job_id, package.enclave_signer, keccak(package.enclave_key), package.block_hash)


def _about_grade(case: Case, report: AuthenticReport, policies: tuple[Policy | None, ...]) -> Iterator[Fault]:
    found = Grade[report.grade.name]
    demands = {"this node": case.grade_floor, "the request": case.spec.min_grade}
    for asset, policy in zip(case.assets, policies, strict=True):
        demands[f"the terms of {asset.use.asset_id}"] = asset.state.terms.min_grade
        if policy is not None:
            demands[f"the policy of {asset.use.asset_id}"] = policy.document.terms.min_grade
    for who, least in demands.items():
        if found < least:
            expected = f"{least.name.lower()} evidence for {who}"
            yield _platform(Finding(Reason.GRADE_TOO_LOW, expected, f"{found.name} evidence"))


def _acceptable(
    case: Case, shown: Shown, asset: AssetFacts, policy: Policy, report: AuthenticReport
) -> tuple[list[Fault], list[FindingNote]]:
    # Without a block of this chain its age is unknown, and the evidence is refused for that already (step 6).
    made_by = datetime.fromtimestamp(shown.named.timestamp, UTC) if shown.named is not None else None
    expected = Expected(
        report_data=expected_report_data(case, shown.package),
        tee=EvidenceTee(case.spec.tee.name.lower()),
        collected_at=made_by,
    )
    verdict = appraise(report, policy.rules, datetime.fromtimestamp(case.quoted.timestamp, UTC), expected)
    subject = str(asset.use.asset_id)
    faults = [_platform(finding, subject) for finding in verdict.findings]
    return faults, [_note(finding, subject) for finding in verdict.warnings]


def _pair_faults(
    case: Case, asset: AssetFacts, policy: Policy, report: AuthenticReport, papers: Papers
) -> Iterator[Fault]:
    workload = case.spec.workload_digest
    if report.measurement not in policy.rules.measurements or workload not in policy.document.workloads:
        return  # the policy itself does not allow the pair, which is said elsewhere and is not the owner's doing
    leaf, allow_root = allowed_leaf(case.spec.tee, report.measurement.digest(), workload), asset.state.terms.allow_root
    listed = reduced_list(policy, allow_root) or papers.lists.get(allow_root)
    if allow_root == leaf or (listed is not None and leaf in listed):
        return
    found = f"not under {allow_root}" if listed is not None else f"no list to show it under {allow_root}"
    finding = note(JobReason.PAIR_NOT_ON_CHAIN, asset.use.asset_id, f"the pair {leaf}", found)
    yield Fault(Row.PAIR, finding, waits=listed is None)


def reduced_list(policy: Policy, allow_root: Bytes32) -> frozenset[Bytes32] | None:
    """The pairs behind a root on chain, if they are the policy's own with some enclaves or workloads left out.

    So an owner who takes an entry off the list has to publish nothing but the new root. Tried while there are at most
    ``MAXIMUM_REDUCTIONS`` ways; beyond, and for other lists, the store must have the leaves.
    """
    measurements = [(Tee[found.tee.name], found.digest()) for found in policy.rules.measurements]
    workloads = policy.document.workloads
    if (1 << len(measurements)) * (1 << len(workloads)) > MAXIMUM_REDUCTIONS:
        tries: Iterable[tuple[Sequence[tuple[Tee, Bytes32]], Sequence[Bytes32]]] = [(measurements, workloads)]
    else:
        tries = product(_subsets(measurements), _subsets(workloads))
    for some_measurements, some_workloads in tries:
        leaves = {allowed_leaf(tee, digest, w) for tee, digest in some_measurements for w in some_workloads}
        if merkle_root(leaves) == allow_root:
            return frozenset(leaves)
    return None


def _subsets(entries: Sequence[T]) -> list[tuple[T, ...]]:
    return [some for size in range(len(entries), 0, -1) for some in combinations(entries, size)]


def _platform(finding: Finding, subject: str = "evidence") -> Fault:
    return Fault(Row.PLATFORM, _note(finding, subject))


def _note(finding: Finding, subject: str) -> FindingNote:
    reason = finding.reason
    return FindingNote(
        reason=reason.value,
        code=reason.code,
        subject=subject,
        expected=finding.expected[:1000],
        found="(left out: it may name one machine)" if reason in _IDENTIFYING else finding.found[:1000],
        remedy=finding.remedy,
    )
