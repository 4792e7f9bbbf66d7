"""Gate, steps 9 and 10: does the evidence keep what the provider promised, and does the request stay within it?

Pure. The promise is the TEE and the grade of the job, and the capability document that the provider's order names, if
it names one (:mod:`sealmarket.protocol.capability`). Evidence that breaks the promise is the platform's fault. A
request that needs more than the promise is the request's. ``platform_classes`` and ``ciphertext_bytes`` are not judged
here: no evidence shows the first, and no document that a node reads the second.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from sealmarket.attestation.core.findings import Finding, Severity
from sealmarket.attestation.core.model import AuthenticReport
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.policy.composite import Machine, machine_findings
from sealmarket.attestation.policy.promises import Promise, promise_or_reason
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.attestation.policy.verify import beside, demands_devices, section
from sealmarket.attestation.registry import module_of
from sealmarket.protocol.capability import Capability, shortfalls
from sealmarket.protocol.reasons import JobReason
from sealmarket.protocol.wire import FindingNote
from sealmarket_enclave.protocol.codec import ZERO_HASH, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak, sha256
from sealmarket_enclave.workload.bundle import ENVIRONMENT, DigestManifest
from sealmarket_oracle.gate.chain_rules import note
from sealmarket_oracle.gate.inputs import (
    AppraisalInput,
    EvidenceShown,
    EvidenceUnavailable,
    FaultRow,
    JobDocuments,
    Violation,
)
from sealmarket_oracle.gate.notes import note_of

SUBJECT = "capability document"


def read_promise(case: AppraisalInput, documents: JobDocuments) -> tuple[Promise | None, list[Violation]]:
    """The provider's promise, None without one, and its violations: the provider must publish what its order names."""
    named, raw = case.spec.capability_hash, documents.capability
    if named == ZERO_HASH:
        return None, []
    if raw is None:
        finding = note(JobReason.CAPABILITY_MISSING, SUBJECT, f"document {named}", "nothing in the store")
        return None, [Violation(FaultRow.PLATFORM, finding, waits=True)]
    if (found := keccak(raw)) != named:
        return None, [_platform(JobReason.CAPABILITY_INVALID, f"hash {named}", found)]
    promise = promise_or_reason(raw)
    if isinstance(promise, str):
        return None, [_platform(JobReason.CAPABILITY_INVALID, "a capability document of version 1", promise[:1000])]
    return promise, []


def broken_promises(case: AppraisalInput, promise: Promise | None, report: AuthenticReport) -> Iterator[Violation]:
    """What authentic evidence breaks: the grade of the job, and what the document promises."""
    least = case.spec.min_grade
    if report.grade < least:
        finding = Finding(Reason.GRADE_TOO_LOW, f"{least.slug} evidence", f"{report.grade.slug} evidence")
        yield Violation(FaultRow.PLATFORM, note_of(finding, "evidence"))
    if promise is None:
        return
    document, rules = promise.document, promise.rules
    if document.tee != case.spec.tee:
        yield _platform(JobReason.CAPABILITY_BROKEN, f"a promise of {case.spec.tee.slug}", document.tee.slug)
    if report.measurement not in rules.measurements:
        expected = f"one of {len(rules.measurements)} promised measurements"
        yield _platform(JobReason.CAPABILITY_BROKEN, expected, report.measurement.digest())
    if document.min_tcb is not None:
        yield from _tcb_violations(case, rules, report)


def broken_machine(case: AppraisalInput, promise: Promise | None, machine: Machine | None) -> Iterator[Violation]:
    """What the devices beside the CPU break of a promise of devices, whether they are there or not."""
    if promise is None or not demands_devices(promise.rules):
        return
    rules = promise.rules
    whole = machine_findings(machine, rules) if machine is not None else beside((), rules)
    yield from (Violation(FaultRow.PLATFORM, note_of(finding, SUBJECT)) for finding in whole)
    for device in machine.devices if machine is not None else ():
        if not isinstance(device, AuthenticReport):
            yield Violation(FaultRow.PLATFORM, note_of(device, SUBJECT))
            continue
        if device.measurement not in rules.measurements:
            expected = f"one of {len(rules.measurements)} promised measurements"
            yield _platform(JobReason.CAPABILITY_BROKEN, expected, device.measurement.digest())
        yield from _tcb_violations(case, rules, device)


def _tcb_violations(case: AppraisalInput, rules: AppraisalPolicy, report: AuthenticReport) -> Iterator[Violation]:
    module, now = module_of(report.tee), datetime.fromtimestamp(case.quoted.timestamp, UTC)
    for finding in module.findings(report, section(rules, module), rules.measurements, now):
        if finding.severity is Severity.REFUSAL:
            yield Violation(FaultRow.PLATFORM, note_of(finding, SUBJECT))


def request_beyond(
    case: AppraisalInput, promise: Promise | None, shown: EvidenceShown | EvidenceUnavailable
) -> Iterator[Violation]:
    """What the workload's own limits need beyond the request's run seconds and beyond the promise."""
    manifest = shown_manifest(case, shown)
    if manifest is None:
        return
    limits = manifest.limits
    if limits.wall_seconds > case.spec.run_seconds:
        expected, found = f"{limits.wall_seconds} run seconds or more", case.spec.run_seconds
        yield Violation(FaultRow.REQUEST, note(JobReason.RUN_SECONDS_TOO_FEW, "workload", expected, found))
    if promise is not None:
        for finding in _beyond(promise.document, manifest):
            yield Violation(FaultRow.REQUEST, finding)


def _beyond(promise: Capability, manifest: DigestManifest) -> Iterator[FindingNote]:
    environment = next((str(file.sha256) for file in manifest.files if file.path == ENVIRONMENT), "none")
    for shortfall in shortfalls(promise, manifest.limits, environment):
        yield note(JobReason.BEYOND_CAPABILITY, "workload", shortfall.promised, shortfall.needed)


def shown_manifest(case: AppraisalInput, shown: EvidenceShown | EvidenceUnavailable) -> DigestManifest | None:
    """The manifest of the job's workload, from the evidence package; None where the host does not show it."""
    if isinstance(shown, EvidenceUnavailable) or sha256(shown.package.manifest) != case.spec.workload_digest:
        return None
    try:
        return decode_canonical(DigestManifest, shown.package.manifest)
    except MalformedDocument:
        return None  # no enclave runs such a workload


def _platform(reason: JobReason, expected: object, found: object) -> Violation:
    return Violation(FaultRow.PLATFORM, note(reason, SUBJECT, expected, found))
