"""Arm CCA tokens: acceptable? Everything that the policy refuses, at once.

1. The platform's lifecycle is secured (0x3000 to 0x30ff), whatever the policy says.
2. The implementation is one that the rules name, where they name any.
3. The platform's firmware is what reference values say that a trusted key signed or that the rules list by their
   digest. Without any, the rules say whether that refuses or warns; a difference always refuses.
4. So for a realm's reference values, where there are any that count.

Debug and the measurement are appraised for every TEE alike.

Checks considered and rejected: minimum versions of firmware (versions are texts without an order), the platform's
configuration by itself (it is part of the reference values).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sealmarket.attestation.arm.authenticate import CcaBody, Reference
from sealmarket.attestation.arm.rules import CcaRules
from sealmarket.attestation.arm.token import SECURED
from sealmarket.attestation.core.findings import Finding, Severity
from sealmarket.attestation.core.model import AuthenticReport
from sealmarket.attestation.core.reasons import Reason


def findings(report: AuthenticReport, rules: CcaRules) -> Iterator[Finding]:
    """What the rules refuse about a CCA token."""
    body = report.body
    assert isinstance(body, CcaBody)
    platform = body.token.platform
    if platform.lifecycle not in SECURED:
        yield Finding(Reason.CCA_LIFECYCLE, "a secured platform, 0x3000 to 0x30ff", f"{platform.lifecycle:#06x}")
    if rules.implementations and platform.implementation not in rules.implementations:
        wanted = " or ".join(one.hex() for one in rules.implementations)
        yield Finding(Reason.CCA_IMPLEMENTATION, f"implementation {wanted}", platform.implementation.hex())
    counted = _counted(body.platform_references, report, rules)
    if not counted:
        severity = Severity.REFUSAL if rules.reference_values == "required" else Severity.WARNING
        expected = "reference values of this implementation, signed by a trusted key or listed by the rules"
        found = f"{len(body.platform_references)} documents, none of them so"
        yield Finding(Reason.CCA_REFERENCE_VALUES, expected, found, severity=severity)
    yield from _differences(counted)
    yield from _differences(_counted(body.realm_references, report, rules))


def _counted(references: Sequence[Reference], report: AuthenticReport, rules: CcaRules) -> list[Reference]:
    """Those of a signer whose grade is the evidence's own or better, and those that the rules list."""
    return [
        one
        for one in references
        if one.digest in rules.documents or (one.grade is not None and one.grade >= report.grade)
    ]


def _differences(counted: Sequence[Reference]) -> Iterator[Finding]:
    """One document that matches suffices: documents are alternatives."""
    if counted and all(one.difference is not None for one in counted):
        wanted = " or ".join(one.digest.hex() for one in counted)
        yield Finding(Reason.CCA_REFERENCE_VALUES, f"as document {wanted} says", str(counted[0].difference))
