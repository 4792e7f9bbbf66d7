"""Gate, step 9: machines that an issuer whom the operator chose has called back. Pure.

A statement counts for jobs that were matched at the moment that it names or later, and not before it stood in this
node's public log for :data:`NOTICE`. It is no party's fault: neither the provider nor the consumer signed anything of
the issuer's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sealmarket.attestation.core.model import AuthenticReport
from sealmarket.attestation.registry import module_of
from sealmarket.protocol.advisories import PlatformSeen, touched
from sealmarket.protocol.reasons import JobReason
from sealmarket_oracle.gate.chain_rules import note
from sealmarket_oracle.gate.inputs import FaultRow, InForce, Violation

NOTICE = 24 * 3600
"""Seconds between the moment at which a node logs a statement and the first job that it counts for."""


def in_force(held: Iterable[InForce], matched_at: int) -> tuple[InForce, ...]:
    """The statements that count for a job that was matched at this time."""
    return tuple(one for one in held if matched_at >= one.since)


def seen_of(report: AuthenticReport) -> PlatformSeen:
    """What a proven report shows of its machine."""
    date = report.tcb.level_date
    return PlatformSeen(
        tee=report.tee.slug,
        generation=report.platform.generation or "",
        platform=report.platform.digest(report.tee),
        level_date=date.date().isoformat() if date is not None else "",
        levels=module_of(report.tee).levels(report),
    )


def recalled(seen: Iterable[PlatformSeen], held: Iterable[InForce]) -> Iterator[Violation]:
    """One finding for each statement that names a machine of the job. It does not say which machine that is."""
    machines = tuple(seen)
    for one in held:
        if any(touched(machine, one.advisory) is not None for machine in machines):
            expected = f"a platform that advisory {one.advisory.name()} leaves alone"
            found = f"one that it names: {one.advisory.title}"
            yield Violation(FaultRow.NO_PARTY, note(JobReason.PLATFORM_RECALLED, "evidence", expected, found))
