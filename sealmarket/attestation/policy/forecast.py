"""The effect of newer collateral on platforms that run today: which are refused, by which rule, and from when.

Intel publishes a TCB recovery weeks before old collateral runs out. A platform that is accepted under the
collateral in use and refused under the newer one can be served at the longest until the old one expires.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.collateral import Collateral
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.model import AppraisalResult, Tcb
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.attestation.policy.verify import UNCHECKED, Expected, verify


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A platform that runs today: a name, its last evidence, and the collateral in use."""

    name: str
    evidence: Evidence
    collateral: Collateral


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """One platform before and after. ``last_day`` is until when the collateral in use still holds."""

    name: str
    before: Tcb | None
    after: Tcb | None
    falls_out: bool
    reasons: tuple[Reason, ...]
    last_day: datetime | None


def forecast(
    running: Iterable[Running],
    newer: Collateral,
    anchors: TrustAnchors,
    now: datetime,
    rules: AppraisalPolicy | None = None,
) -> tuple[Outlook, ...]:
    """Verify each platform's evidence under the collateral in use and under the newer one.

    ``now`` must lie in the validity of both: the question is the platform's level, not the clock.
    """
    expected = Expected(report_data=UNCHECKED, collected_at=now)
    outlooks = []
    for platform in running:
        before, after = (
            verify(platform.evidence, Endorsements(collateral=c), anchors, now, expected, rules)
            for c in (platform.collateral, newer)
        )
        outlooks.append(_outlook(platform.name, before, after))
    return tuple(outlooks)


def _outlook(name: str, before: AppraisalResult, after: AppraisalResult) -> Outlook:
    return Outlook(
        name=name,
        before=before.tcb,
        after=after.tcb,
        falls_out=before.accepted and not after.accepted,
        reasons=after.reasons,
        last_day=before.tcb.expires if before.tcb and before.accepted and not after.accepted else None,
    )
