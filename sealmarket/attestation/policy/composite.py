"""Composite evidence: a CPU TEE and the devices beside it (GPUs, switches), as one result.

A device's report names no machine: it proves that a genuine device answered a nonce. It counts only where a CPU TEE
commits to it. With ``RD`` the 64 bytes of report data of the CPU's evidence, which commit to the keys of this session:

    nonce of every device   SHA-256("sealmarket/device-nonce/v1" || 00 || RD)
    name of a device        SHA-256 of what it signed || its platform digest, as policies list it (32 bytes each)
    binding report data     SHA-512("sealmarket/device-binding/v1" || 00 || RD || name of each device, in their order)

The platform is part of the name because a GPU's report does not name the GPU: two that sign the same bytes would be
one. All parts have fixed lengths. The binding quote is a second piece of evidence of the same TEE, with the binding
report data. The steps of :func:`verify_composite`:

1. Every part is authentic.
2. The CPU's evidence is accepted, as for a CPU alone. A device's is not: none commits to it, nor can it to 64 bytes.
3. The binding quote is accepted under the same policy, over exactly the binding report data, and is of the same
   measurement and the same machine as the CPU's; a machine without identity binds nothing.
4. Every device is accepted, over exactly the nonce.
5. No device appears twice, and the devices together are what the policy demands
   (:func:`sealmarket.attestation.policy.verify.beside`).

What this does not prove: that the device sits in this machine, and that what it computes with went to it over a channel
that ends in it. The nonce is no secret, so a host may let a device elsewhere answer it. The measured code that asks for
the binding quote decides: it commits to its own session only, takes the report over the session whose keys it goes on
to use (SPDM), and gives work to no other device. A policy trusts its measurement for that. ``docs/spec/evidence.md``,
"Composite evidence", says what that leaves open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import sha256, sha512

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.errors import EvidenceRefused
from sealmarket.attestation.core.evidence import CompositeEvidence, Endorsements, Evidence
from sealmarket.attestation.core.findings import Finding
from sealmarket.attestation.core.model import AppraisalResult, AuthenticReport, CompositeResult
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.attestation.policy.verify import Expected, authenticate, beside, decide, duplicates

NONCE_DOMAIN = b"sealmarket/device-nonce/v1\0"
BINDING_DOMAIN = b"sealmarket/device-binding/v1\0"

Endorse = Callable[[Evidence], Endorsements]
"""The endorsements of one part."""
Proven = AuthenticReport | Finding


def device_nonce(report_data: bytes) -> bytes:
    """The nonce (32 bytes) that every device answers, from the CPU's report data (64 bytes)."""
    return sha256(NONCE_DOMAIN + report_data).digest()


def device_name(report: AuthenticReport) -> bytes:
    """The 64 bytes that a binding quote commits to for one device; a device without identity has zeros in the end."""
    return report.evidence_digest + (report.platform.digest(report.tee) or bytes(32))


def binding_report_data(report_data: bytes, names: Sequence[bytes]) -> bytes:
    """The report data (64 bytes) of the binding quote.

    Args:
        report_data: the CPU's, 64 bytes.
        names: :func:`device_name` of each device, in the order of the evidence.
    """
    return sha512(BINDING_DOMAIN + report_data + b"".join(names)).digest()


def verify_composite(
    evidence: CompositeEvidence,
    endorse: Endorse,
    anchors: TrustAnchors,
    now: datetime,
    expected: Expected,
    rules: AppraisalPolicy | None = None,
) -> CompositeResult:
    """Authenticate and appraise a machine. See the module's steps.

    ``expected`` is about the CPU's evidence; where devices were sent alone, about each of them.
    """
    # 1. Authentic.
    devices = [_prove(device, endorse, anchors, now) for device in evidence.devices]
    reports = [device for device in devices if isinstance(device, AuthenticReport)]
    parts: dict[str, AppraisalResult] = {}
    common = [*duplicates(reports), *beside(reports, rules)]
    bound = False
    if evidence.cpu is not None:
        # 2, 3. The CPU, and that it commits to these devices.
        cpu = _prove(evidence.cpu, endorse, anchors, now)
        binding = _prove(evidence.binding, endorse, anchors, now) if evidence.binding else None
        common += _binding_findings(cpu, binding, reports, len(devices))
        bound = not common
        label = evidence.cpu.tee.slug
        parts[label] = _decide(evidence.cpu, cpu, anchors, now, replace(expected, devices=tuple(reports)), rules)
        if binding is not None and evidence.binding is not None and isinstance(cpu, AuthenticReport):
            wanted = binding_report_data(cpu.report_data, [device_name(report) for report in reports])
            of_binding = replace(expected, report_data=wanted, devices=tuple(reports))
            parts[f"{label}-binding"] = _decide(evidence.binding, binding, anchors, now, of_binding, rules)
            bound = bound and all(part.accepted for part in parts.values())
        if isinstance(cpu, AuthenticReport):
            expected = replace(expected, report_data=device_nonce(cpu.report_data).ljust(64, b"\0"), tee=None)
    # 4. The devices.
    for number, (raw, device) in enumerate(zip(evidence.devices, devices, strict=True)):
        own = replace(expected, tee=raw.tee, bound=bound)
        parts[f"{raw.tee.slug}-{number}"] = _decide(raw, device, anchors, now, own, rules)
    # 5. The machine as a whole.
    return CompositeResult(parts={label: _with(part, common) for label, part in parts.items()})


def _prove(evidence: Evidence, endorse: Endorse, anchors: TrustAnchors, now: datetime) -> Proven:
    try:
        return authenticate(evidence, endorse(evidence), anchors, now)
    except EvidenceRefused as refusal:
        return refusal.finding


def _decide(
    evidence: Evidence,
    proven: Proven,
    anchors: TrustAnchors,
    now: datetime,
    expected: Expected,
    rules: AppraisalPolicy | None,
) -> AppraisalResult:
    if isinstance(proven, AuthenticReport):
        return decide(proven, anchors, now, expected, rules)
    return AppraisalResult(tee=evidence.tee, report=None, findings=(proven,))


def _binding_findings(
    cpu: Proven, binding: Proven | None, reports: Sequence[AuthenticReport], devices: int
) -> Iterator[Finding]:
    if not devices:
        yield Finding(Reason.DEVICE_BINDING, "devices beside the CPU", "none")
    if not isinstance(cpu, AuthenticReport) or not isinstance(binding, AuthenticReport):
        found = "none" if binding is None else "one of them is not authentic"
        yield Finding(Reason.DEVICE_BINDING, "a CPU TEE's evidence and its binding quote", found)
        return
    wanted = binding_report_data(cpu.report_data, [device_name(report) for report in reports])
    if binding.report_data != wanted or len(reports) != devices:
        yield Finding(Reason.DEVICE_BINDING, f"a binding quote over {wanted.hex()}", binding.report_data.hex())
    if binding.measurement != cpu.measurement or binding.grade is not cpu.grade:
        found = f"{binding.measurement.digest()} under {binding.grade.slug}"
        wanted_tuple = f"a binding quote of {cpu.measurement.digest()} under {cpu.grade.slug}"
        yield Finding(Reason.DEVICE_BINDING, wanted_tuple, found)
    if cpu.platform.identity is None or binding.platform.identity != cpu.platform.identity:
        identity = (binding.platform.identity or b"").hex() or "a masked identity"
        yield Finding(Reason.DEVICE_BINDING, "a binding quote of the same machine", identity)


def _with(part: AppraisalResult, common: Sequence[Finding]) -> AppraisalResult:
    return replace(part, findings=tuple(dict.fromkeys((*part.findings, *common))))
