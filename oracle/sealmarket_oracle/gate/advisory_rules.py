"""Gate, step 9: machines that an issuer whom the operator chose has called back. Pure.

A statement counts for jobs that were matched after its hash was anchored on chain, and at the moment that it names or
later. Both are times of blocks: an anchor of before a match lies under every block in which the match is final. So all
nodes that apply a statement agree on the jobs that it counts for, whatever their clocks say and whenever they look. It
is no party's fault: neither the provider nor the consumer signed anything of the issuer's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sealmarket.protocol.advisories import Advisory, PlatformSeen, names_one
from sealmarket.protocol.reasons import JobReason
from sealmarket_oracle.gate.chain_rules import note
from sealmarket_oracle.gate.inputs import FaultRow, Violation


def recalled(seen: Iterable[PlatformSeen], in_force: Iterable[Advisory]) -> Iterator[Violation]:
    """One finding for each statement that names a machine of the job. It does not say which machine that is."""
    machines = tuple(seen)
    for advisory in in_force:
        if names_one(machines, advisory):
            expected = f"a platform that advisory {advisory.name()} leaves alone"
            found = f"one that it names: {advisory.title}"
            finding = note(JobReason.PLATFORM_RECALLED, "evidence", expected, found)
            yield Violation(FaultRow.NO_PARTY, finding, advisory=advisory.name())
