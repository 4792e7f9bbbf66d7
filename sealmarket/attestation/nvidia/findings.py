"""NVIDIA GPU and NVSwitch reports: acceptable? Everything that the policy refuses, at once.

1. An OCSP answer is there about every certificate, of the device and of its manifests, unless the policy makes their
   absence a warning.
2. A GPU is in a mode and of an architecture that are allowed.
3. A GPU's report names its firmware, unless the policy allows reports that do not.
4. The manifests of its driver and its VBIOS are there, unless the policy makes their absence a warning, and do not both
   claim one measurement.
5. Every active measurement of the manifests is in the report, is not zero where they want another value, and has one of
   their values. One is passed over: index 35 of the manifest while the video decoder NVDEC0 is off.

The nonce, the device and the measurement tuple are appraised for every TEE alike. Whether a CPU TEE commits to the
device, and whether all switches are there, is appraised over composite evidence
(:mod:`sealmarket.attestation.policy.composite`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from sealmarket.attestation.core.findings import Finding, Severity
from sealmarket.attestation.core.model import AuthenticReport
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.nvidia.authenticate import NvidiaBody
from sealmarket.attestation.nvidia.rules import NvidiaRules

_NVDEC0_INDEX = 36


def findings(report: AuthenticReport, rules: NvidiaRules) -> Iterator[Finding]:
    """What the rules refuse about a GPU or switch."""
    body = report.body
    assert isinstance(body, NvidiaBody)
    yield from _revocation(body, rules)
    if not body.device.is_switch:
        yield from _gpu(body, rules)
    yield from _manifests(body, rules)
    yield from _measurements(body)


def _severity(rule: str) -> Severity:
    return Severity.REFUSAL if rule == "required" else Severity.WARNING


def _revocation(body: NvidiaBody, rules: NvidiaRules) -> Iterator[Finding]:
    if body.unanswered:
        wanted = f"an OCSP answer about each of {', '.join(body.unanswered)}"
        yield Finding(Reason.NVIDIA_OCSP_MISSING, wanted, "none", severity=_severity(rules.ocsp))


def _gpu(body: NvidiaBody, rules: NvidiaRules) -> Iterator[Finding]:
    opaque = body.report.opaque
    if opaque.mode not in rules.modes:
        yield Finding(Reason.NVIDIA_MODE, f"mode {' or '.join(rules.modes) or 'none'}", str(opaque.mode))
    if body.device.generation not in rules.architectures:
        wanted = " or ".join(rules.architectures) or "none"
        yield Finding(Reason.GENERATION_NOT_ALLOWED, wanted, body.device.generation)
    if opaque.fwid is None and rules.fwid == "required":
        yield Finding(Reason.NVIDIA_FWID_MISSING, "a report that names its firmware", "none")


def _manifests(body: NvidiaBody, rules: NvidiaRules) -> Iterator[Finding]:
    opaque, held = body.report.opaque, {proven.manifest.version for proven in body.manifests}
    for kind, version in (("driver", opaque.driver), ("VBIOS", opaque.vbios)):
        if not version or version in held:
            continue
        reason = Reason.NVIDIA_RIM_VERSION if body.offered else Reason.NVIDIA_RIM_MISSING
        wanted = f"the manifest of {kind} {version} for {body.device.name}"
        yield Finding(reason, wanted, ", ".join(body.offered) or "none", severity=_severity(rules.manifests))
    for one, other in combinations(body.manifests, 2):
        if both := one.manifest.values.keys() & other.manifest.values.keys():
            wanted = f"each measurement in one of {one.manifest.name} and {other.manifest.name}"
            yield Finding(Reason.NVIDIA_RIM_CONFLICT, wanted, f"index {min(both)} in both")


def _measurements(body: NvidiaBody) -> Iterator[Finding]:
    found = body.report.measurements
    for proven in body.manifests:
        for index, allowed in sorted(proven.manifest.values.items()):
            if index == _NVDEC0_INDEX and not body.report.opaque.nvdec_on:
                continue
            value = found[index - 1] if index <= len(found) else b""
            if value in allowed:
                continue
            wanted = f"measurement {index} of {proven.manifest.name}, {' or '.join(one.hex() for one in allowed)}"
            if any(value):
                yield Finding(Reason.NVIDIA_MEASUREMENT, wanted, value.hex())
            else:
                yield Finding(Reason.NVIDIA_MEASUREMENT_MISSING, wanted, value.hex() or "none")
