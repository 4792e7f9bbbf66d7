"""Evidence of a provider's own device, and the grade that an offer may name for it.

`sealmarket worker attest` makes the document: an enclave on the provider's device quotes over a job that no party
asked for. A provider that offers a grade reads it from that evidence, under the vendors' roots and no other, so that
a virtual device is never sold as hardware by mistake. It proves nothing to others: each job has evidence of its own.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.errors import AttestationError
from sealmarket.attestation.policy.verify import authenticate
from sealmarket.attestation.raw import parse_endorsements, parse_raw
from sealmarket.client.errors import ClientError
from sealmarket_enclave.protocol.codec import Bytes64, HexBytes, Shape
from sealmarket_enclave.protocol.numbers import Grade, Tee, Timestamp


class PlatformEvidence(Shape, frozen=True, kw_only=True):
    """What one enclave on the provider's device quoted. ``collateral`` is what its driver gives beside the evidence."""

    version: Literal["sealmarket/platform-evidence/1"] = "sealmarket/platform-evidence/1"
    tee: Tee
    evidence: HexBytes
    report_data: Bytes64
    collateral: Annotated[str, Meta(max_length=16 << 20)]
    collected_at: Timestamp


class PlatformNotProven(ClientError):
    """The device's evidence does not show what is to be offered."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"the device's evidence proves no hardware: {detail}",
            remedy="offer a virtual device with --simulated; for hardware follow `sealmarket worker doctor`, then make "
            "the evidence again with `sealmarket worker attest`",
        )


def require_hardware(document: PlatformEvidence, tee: Tee, now: datetime) -> Grade:
    """The grade of a device whose evidence ends in its vendor's root: hardware.

    Raises:
        PlatformNotProven: another root, another kind of TEE, a debug enclave, evidence that is not authentic.
    """
    if document.tee is not tee:
        raise PlatformNotProven(f"it is of {document.tee.slug}, expected {tee.slug}")
    try:
        evidence = parse_raw(document.tee, document.evidence)
        endorsements = parse_endorsements(document.tee, document.collateral)
        report = authenticate(evidence, endorsements, TrustAnchors.production(), now)
    except AttestationError as error:
        raise PlatformNotProven(error.message) from error
    if report.report_data != document.report_data:
        raise PlatformNotProven("it holds other report data than the document")
    if report.debug:
        raise PlatformNotProven("the enclave is in debug mode, which no owner's policy accepts")
    return report.grade
