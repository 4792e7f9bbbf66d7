"""Gate, step 9: what a vendor signed after the match is the fault of no party. Pure.

A vendor rates a platform anew at any time, and the host shows what the vendor signs. Where a rating or a revocation
fails evidence, and the document that holds it was signed after the match, the job ends in the row of changed terms. A
host can choose newer documents to get there, and gains no more than by naming something as missing: nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from sealmarket.attestation.core.errors import CollateralError, EvidenceRefused
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.tee import Issued
from sealmarket.attestation.raw import parse_endorsements
from sealmarket.attestation.registry import module_of
from sealmarket.protocol.reasons import JobReason
from sealmarket.protocol.wire import EvidencePackage
from sealmarket_oracle.gate.chain_rules import note
from sealmarket_oracle.gate.inputs import AppraisalInput, FaultRow, Violation

_LEVELS = frozenset(
    reason.code
    for reason in (
        Reason.TCB_STATUS_TOO_LOW,
        Reason.ADVISORY_NOT_ALLOWED,
        Reason.TCB_NO_LEVEL,
        Reason.TCB_REVOKED,
    )
)
_REVOCATIONS = frozenset({Reason.CERTIFICATE_REVOKED.code})


def excused(case: AppraisalInput, package: EvidencePackage, violations: Iterable[Violation]) -> Iterator[Violation]:
    """The same violations. Those that rest on newer collateral are in the row that charges no party."""
    found = list(violations)
    codes = {violation.note.code for violation in found}
    newer = _newer(case, package) if codes & (_LEVELS | _REVOCATIONS) else {}
    for violation in found:
        moment = newer.get(violation.note.code)
        if moment is None:
            yield violation
            continue
        yield Violation(FaultRow.NO_PARTY, violation.note)
        expected, signed = f"collateral of the match, {case.spec.matched_at}", f"signed at {int(moment.timestamp())}"
        yield Violation(FaultRow.NO_PARTY, note(JobReason.COLLATERAL_NEWER, "evidence", expected, signed))


def _newer(case: AppraisalInput, package: EvidencePackage) -> dict[int, datetime]:
    """When it was signed, by the numbers of the reasons that rest on collateral which is newer than the match."""
    matched, issued = datetime.fromtimestamp(case.spec.matched_at, UTC), _issued(case, package)
    groups = ((_LEVELS, issued.levels), (_REVOCATIONS, issued.revocations))
    return {code: moment for codes, moment in groups if moment is not None and moment > matched for code in codes}


def _issued(case: AppraisalInput, package: EvidencePackage) -> Issued:
    tee = case.spec.tee
    try:
        return module_of(tee).issued(parse_endorsements(tee, package.collateral))
    except (CollateralError, EvidenceRefused):
        return Issued(None, None)
