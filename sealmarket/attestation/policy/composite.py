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

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256, sha512

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.errors import EvidenceRefused
from sealmarket.attestation.core.evidence import CompositeEvidence, Endorsements, Evidence
from sealmarket.attestation.core.findings import Finding
from sealmarket.attestation.core.model import AppraisalResult, AuthenticReport, CompositeResult
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.tee import Anchors
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.attestation.policy.verify import Expected, appraise, authenticate, beside, decide, duplicates
from sealmarket_enclave.protocol.numbers import Tee

NONCE_DOMAIN = b"sealmarket/device-nonce/v1\0"
BINDING_DOMAIN = b"sealmarket/device-binding/v1\0"

Endorse = Callable[[Evidence], Endorsements]
"""The endorsements of one part."""
Proven = AuthenticReport | Finding
Decide = Callable[[AuthenticReport, Expected], AppraisalResult]


def endorsing(tee: Tee, of_cpu: Endorsements, documents: Iterable[bytes]) -> Endorse:
    """The CPU's endorsements for its evidence and its binding quote, these documents for every device."""
    of_devices = Endorsements(documents=tuple(bytes(raw) for raw in documents))
    return lambda part: of_cpu if part.tee is tee else of_devices


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


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine of which each part is authentic, or has the finding that stopped it."""

    evidence: CompositeEvidence
    cpu: Proven | None
    binding: Proven | None
    devices: tuple[Proven, ...]

    @property
    def reports(self) -> tuple[AuthenticReport, ...]:
        """The authentic reports of its devices."""
        return tuple(device for device in self.devices if isinstance(device, AuthenticReport))


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
    machine = prove(evidence, endorse, anchors, now)
    return _judge(machine, expected, rules, lambda report, own: decide(report, anchors, now, own, rules))


def prove(evidence: CompositeEvidence, endorse: Endorse, anchors: Anchors, now: datetime) -> Machine:
    """Step 1: prove each part. What is not authentic is reported by :func:`appraise_machine`."""

    def proven(part: Evidence | None) -> Proven | None:
        return None if part is None else _prove(part, endorse, anchors, now)

    devices = tuple(_prove(device, endorse, anchors, now) for device in evidence.devices)
    return Machine(evidence, proven(evidence.cpu), proven(evidence.binding), devices)


def appraise_machine(machine: Machine, rules: AppraisalPolicy, now: datetime, expected: Expected) -> CompositeResult:
    """Steps 2 to 5 under a policy, for callers that appraise one machine under several.

    Raises:
        InvalidRules: the policy is not usable as written.
    """
    return _judge(machine, expected, rules, lambda report, own: appraise(report, rules, now, own))


def machine_findings(machine: Machine, rules: AppraisalPolicy | None) -> Iterator[Finding]:
    """What concerns the machine as a whole: a device twice, a device too few, no binding. Without a policy, rules for
    inspection hold."""
    yield from duplicates(machine.reports)
    yield from beside(machine.reports, rules)
    if machine.cpu is not None:
        yield from _binding_findings(machine)


def _judge(machine: Machine, expected: Expected, rules: AppraisalPolicy | None, decided: Decide) -> CompositeResult:
    evidence, cpu = machine.evidence, machine.cpu
    parts: dict[str, AppraisalResult] = {}
    common = list(machine_findings(machine, rules))
    bound = False
    if evidence.cpu is not None and cpu is not None:
        # 2, 3. The CPU, and that it commits to these devices.
        expected = replace(expected, devices=machine.reports)
        label = evidence.cpu.tee.slug
        parts[label] = _decide(evidence.cpu, cpu, expected, decided)
        if evidence.binding is not None and machine.binding is not None and isinstance(cpu, AuthenticReport):
            own = replace(expected, report_data=_binding_of(cpu, machine.reports))
            parts[f"{label}-binding"] = _decide(evidence.binding, machine.binding, own, decided)
        bound = not common and all(part.accepted for part in parts.values())
        if isinstance(cpu, AuthenticReport):
            expected = replace(expected, report_data=device_nonce(cpu.report_data).ljust(64, b"\0"))
    # 4. The devices.
    for number, (raw, device) in enumerate(zip(evidence.devices, machine.devices, strict=True)):
        own = replace(expected, tee=raw.tee, bound=bound)
        parts[f"{raw.tee.slug}-{number}"] = _decide(raw, device, own, decided)
    # 5. The machine as a whole.
    return CompositeResult(parts={label: _with(part, common) for label, part in parts.items()})


def _prove(evidence: Evidence, endorse: Endorse, anchors: Anchors, now: datetime) -> Proven:
    try:
        return authenticate(evidence, endorse(evidence), anchors, now)
    except EvidenceRefused as refusal:
        return refusal.finding


def _decide(evidence: Evidence, proven: Proven, expected: Expected, decided: Decide) -> AppraisalResult:
    if isinstance(proven, AuthenticReport):
        return decided(proven, expected)
    return AppraisalResult(tee=evidence.tee, report=None, findings=(proven,))


def _binding_of(cpu: AuthenticReport, reports: Sequence[AuthenticReport]) -> bytes:
    return binding_report_data(cpu.report_data, [device_name(report) for report in reports])


def _binding_findings(machine: Machine) -> Iterator[Finding]:
    cpu, binding, reports = machine.cpu, machine.binding, machine.reports
    if not machine.devices:
        yield Finding(Reason.DEVICE_BINDING, "devices beside the CPU", "none")
    if not isinstance(cpu, AuthenticReport) or not isinstance(binding, AuthenticReport):
        found = "none" if binding is None else "one of them is not authentic"
        yield Finding(Reason.DEVICE_BINDING, "a CPU TEE's evidence and its binding quote", found)
        return
    wanted = _binding_of(cpu, reports)
    if binding.report_data != wanted or len(reports) != len(machine.devices):
        yield Finding(Reason.DEVICE_BINDING, f"a binding quote over {wanted.hex()}", binding.report_data.hex())
    if binding.measurement != cpu.measurement or binding.grade is not cpu.grade:
        found = f"{binding.measurement.digest()} under {binding.grade.slug}"
        wanted_tuple = f"a binding quote of {cpu.measurement.digest()} under {cpu.grade.slug}"
        yield Finding(Reason.DEVICE_BINDING, wanted_tuple, found)
    if cpu.platform.identity is None or binding.platform.identity != cpu.platform.identity:
        identity = (binding.platform.identity or b"").hex() or "a masked identity"
        yield Finding(Reason.DEVICE_BINDING, "a binding quote of the same machine", identity)
    if binding.paravisor != cpu.paravisor:
        yield Finding(Reason.DEVICE_BINDING, "a binding quote of the same guest behind a paravisor", "another guest")


def _with(part: AppraisalResult, common: Sequence[Finding]) -> AppraisalResult:
    return replace(part, findings=tuple(dict.fromkeys((*part.findings, *common))))
