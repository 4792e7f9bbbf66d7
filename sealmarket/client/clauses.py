"""One thing that would refuse a request: its code, whose rule it is, what was found and expected, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from sealmarket.protocol.fitting import Unmet
from sealmarket.protocol.reasons import JobReason


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause of some party that the request does not keep. ``code`` is for programs."""

    code: str
    whose: str
    what: str
    found: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.whose}: {self.what} is {self.found}, expected {self.expected}"


def of_limit(unmet: Unmet) -> Clause:
    """A limit that the market itself checks at the match."""
    remedy = "name other limits, or choose another asset; `sealmarket chain book` shows the market's own"
    return Clause("limit", unmet.whose, unmet.limit, unmet.offered, unmet.required, remedy)


def of_reason(reason: JobReason, whose: str, what: str, found: object, expected: object) -> Clause:
    """A rule for which the oracle nodes would refuse the job."""
    return Clause(reason.value, whose, what, str(found), str(expected), reason.remedy)
