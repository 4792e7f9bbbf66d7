"""What newer collateral will do to platforms that run today: who falls out, by which rule, and when.

Intel publishes a TCB recovery weeks before old collateral runs out. A platform that is accepted under the
collateral in use and refused under the newer one can be served at the longest until the old one expires.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sealmarket.attestation.collateral.documents import IntelCollateral
from sealmarket.attestation.collateral.roots import Roots
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.model import Tcb, Verdict
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.verify import UNCHECKED, Expected, verify
from sealmarket.attestation.policy.rules import EvidenceRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A platform that runs today: a name, its last evidence, and the collateral in use."""

    name: str
    evidence: Evidence
    collateral: IntelCollateral


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
    newer: IntelCollateral,
    roots: Roots,
    now: datetime,
    rules: EvidenceRules | None = None,
) -> tuple[Outlook, ...]:
    """Hold each platform against the collateral in use and against the newer one.

    ``now`` must lie in the validity of both: the question is the platform's level, not the clock.
    """
    expected = Expected(report_data=UNCHECKED, collected_at=now)
    outlooks = []
    for platform in running:
        before, after = (
            verify(platform.evidence, Endorsements(collateral=c), roots, now, expected, rules)
            for c in (platform.collateral, newer)
        )
        outlooks.append(_outlook(platform.name, before, after))
    return tuple(outlooks)


def _outlook(name: str, before: Verdict, after: Verdict) -> Outlook:
    return Outlook(
        name=name,
        before=before.tcb,
        after=after.tcb,
        falls_out=before.accepted and not after.accepted,
        reasons=after.reasons,
        last_day=before.tcb.expires if before.tcb and before.accepted and not after.accepted else None,
    )
