"""Errors of evidence verification, from bytes to an appraisal result.

SealmarketError
└── AttestationError
    ├── NotEvidence          bytes that no registered TEE recognises
    ├── EvidenceRefused      evidence that is not authentic; carries the first failing step as a finding
    ├── InvalidRules         an appraisal policy that accepts everything, accepts nothing, or contradicts itself
    ├── CollateralError      vendor collateral that cannot be read, fetched or stored
    └── EventLogMalformed    an event log that cannot be replayed
"""

from __future__ import annotations

from typing import NoReturn

from sealmarket.attestation.core.findings import Finding
from sealmarket.attestation.core.reasons import Reason
from sealmarket_enclave.protocol.errors import SealmarketError


class AttestationError(SealmarketError):
    """The root of this package's errors."""


class NotEvidence(AttestationError):
    """These bytes are not evidence of any registered TEE."""


class EvidenceRefused(AttestationError):
    """Evidence is not authentic; ``finding`` is the first step that failed, and the message spells it."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(
            f"{finding.reason.value}: expected {finding.expected}, found {finding.found}",
            remedy=finding.remedy,
        )
        self.finding = finding


class InvalidRules(AttestationError):
    """An appraisal policy is not usable as written."""


class CollateralError(AttestationError):
    """Vendor collateral cannot be used."""


class EventLogMalformed(AttestationError):
    """An event log cannot be replayed."""


def refuse(reason: Reason, expected: object, found: object) -> NoReturn:
    """Stop: this finding is the first step that failed.

    Raises:
        EvidenceRefused: always.
    """
    raise EvidenceRefused(Finding(reason, str(expected), str(found)))
