"""What a proven report shows of its machine, as statements about platforms are held against it."""

from __future__ import annotations

from sealmarket.attestation.core.model import AuthenticReport
from sealmarket.attestation.registry import module_of
from sealmarket.protocol.advisories import PlatformSeen


def seen_of(report: AuthenticReport) -> PlatformSeen:
    """The machine of a report."""
    date = report.tcb.level_date
    return PlatformSeen(
        tee=report.tee.slug,
        generation=report.platform.generation or "",
        platform=report.platform.digest(report.tee),
        level_date=date.date().isoformat() if date is not None else "",
        levels=module_of(report.tee).levels(report),
    )
