"""How long jobs took from match to settlement, by the times of their blocks: the newest that are alike.

A job counts once a final block settles it: those that failed, were refused or never ended say nothing of how long a
result takes. All of it is on chain; that no job is left out is the backend's statement, and a provider can have jobs of
its own settle, at their price.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_low

from sealmarket.protocol.market import TimesTaken, TimeTaken
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.numbers import Tee

NEWEST = 200
"""Jobs that one answer rests on, at most."""


def times_taken(database: Database, workload: Bytes32, tee: Tee, provider: Address | None) -> TimesTaken:
    """Of the jobs of a workload, of a provider, and of both together, on one kind of TEE."""

    def newest(where: str, *values: object) -> TimeTaken | None:
        rows = database.rows(
            f"SELECT settled_at - matched_at AS seconds FROM jobs WHERE {where} AND tee = ? AND settled_at > 0"  # noqa: S608
            " ORDER BY sequence DESC LIMIT ?",
            *values,
            int(tee),
            NEWEST,
        )
        return summary([row["seconds"] for row in rows])

    found = TimesTaken(workload=newest("workload = ?", workload))
    if provider is None:
        return found
    return TimesTaken(
        workload=found.workload,
        provider=newest("provider = ?", provider),
        both=newest("workload = ? AND provider = ?", workload, provider),
    )


def summary(seconds: Sequence[int]) -> TimeTaken | None:
    """The middle, and what nine of ten took at most (the nearest rank); None of none."""
    if not seconds:
        return None
    ordered = sorted(max(0, one) for one in seconds)
    ninth = ordered[-(-9 * len(ordered) // 10) - 1]
    return TimeTaken(jobs=len(ordered), median=median_low(ordered), ninetieth=ninth)
