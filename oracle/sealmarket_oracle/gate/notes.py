"""Findings about evidence as they are published: what names one machine is left out."""

from __future__ import annotations

from sealmarket.attestation.core.findings import Finding
from sealmarket.attestation.core.reasons import Reason
from sealmarket.protocol.wire import FindingNote

_IDENTIFYING = {
    Reason.PLATFORM_NOT_ALLOWED,
    Reason.SNP_CHIP_MISMATCH,
    Reason.CERTIFICATE_REVOKED,
    Reason.CCA_KEY_UNKNOWN,
    Reason.NITRO_PCR,
    Reason.PLATFORM_DUPLICATE,
    Reason.NVIDIA_DEVICE,
    Reason.NVIDIA_TOPOLOGY,
    Reason.DEVICE_BINDING,
}
"""Findings whose ``found`` may name one machine: decisions are public, so it is left out."""


def note_of(finding: Finding, subject: str) -> FindingNote:
    """A finding as a decision's detail has it."""
    reason = finding.reason
    return FindingNote(
        reason=reason.value,
        code=reason.code,
        subject=subject,
        expected=finding.expected[:1000],
        found="(left out: it may name one machine)" if reason in _IDENTIFYING else finding.found[:1000],
        remedy=finding.remedy,
    )
