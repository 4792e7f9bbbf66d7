"""A finding: one rule that evidence does not meet."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sealmarket.attestation.core.reasons import Reason


class Severity(Enum):
    """Whether a finding refuses the evidence, or is reported and refuses nothing."""

    REFUSAL = "refusal"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that is not met: which, what it expects, what was found, what to do."""

    reason: Reason
    expected: str
    found: str
    remedy: str = ""
    severity: Severity = Severity.REFUSAL

    def __post_init__(self) -> None:
        if not self.remedy:
            object.__setattr__(self, "remedy", self.reason.remedy)

    def as_json(self) -> dict[str, str]:
        """``{"reason", "expected", "found", "remedy"}``."""
        return {
            "reason": self.reason.value,
            "expected": self.expected,
            "found": self.found,
            "remedy": self.remedy,
        }
