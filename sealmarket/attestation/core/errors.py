"""What can go wrong between bytes and a verdict.

SealmarketError
└── AttestationError
    ├── NotEvidence          no TEE's evidence starts like this
    ├── EvidenceRefused      evidence, but not authentic: carries the first failing step as a finding
    ├── InvalidRules         evidence rules that would let everything pass, or that contradict themselves
    ├── CollateralError      vendor collateral that cannot be read, fetched or kept
    └── EventLogMalformed    an event log that cannot be replayed
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealmarket_enclave.protocol.errors import SealmarketError

if TYPE_CHECKING:
    from sealmarket.attestation.core.model import Finding


class AttestationError(SealmarketError):
    """Evidence could not be taken as it is."""


class NotEvidence(AttestationError):
    """These bytes are not evidence of any supported TEE."""


class EvidenceRefused(AttestationError):
    """Evidence is not authentic: {reason}: expected {expected}, found {found}."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(
            f"{finding.reason.value}: expected {finding.expected}, found {finding.found}",
            remedy=finding.remedy,
        )
        self.finding = finding


class InvalidRules(AttestationError):
    """Evidence rules are not usable as written."""


class CollateralError(AttestationError):
    """Vendor collateral cannot be used."""


class EventLogMalformed(AttestationError):
    """An event log cannot be replayed."""
