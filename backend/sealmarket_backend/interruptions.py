"""What interrupts accepted jobs, as events tell it: promises never to release, and shares that are missing.

A job that goes well has no row here. Places of nodes are kept as bits, as the chain has them.
"""

from __future__ import annotations

from dataclasses import dataclass

from sealmarket.chain.events import JobStopped, ReleasePosted, SharesReportedMissing
from sealmarket.chain.ledger_events import UnspentReturned
from sealmarket.chain.model import places
from sealmarket.protocol.wire import InterruptionView
from sealmarket_backend.database.dialects import Row
from sealmarket_backend.tables import Connection, Database
from sealmarket_enclave.protocol.codec import Address, Bytes32

InterruptingEvent = JobStopped | SharesReportedMissing | ReleasePosted


@dataclass(frozen=True, slots=True)
class Unspent:
    """A provider's money that may wait for its return: what was set aside for nodes, of which ``posted`` are paid."""

    job_id: Bytes32
    request_hash: Bytes32
    provider: Address
    posted: tuple[int, ...]


def apply(connection: Connection, event: InterruptingEvent) -> None:
    """Record one event of a known job."""
    connection.execute(
        "INSERT INTO interruptions (job_id, request_hash) SELECT job_id, request_hash FROM jobs"
        " WHERE job_id = ? ON CONFLICT DO NOTHING",
        (event.job_id,),
    )
    match event:
        case JobStopped():
            connection.execute("UPDATE interruptions SET stopped = 1 WHERE job_id = ?", (event.job_id,))
        case SharesReportedMissing():
            connection.execute(
                "UPDATE interruptions SET excluded = ?, shares_deadline = ?, settle_deadline = ? WHERE job_id = ?",
                (_bits(event.excluded), event.shares_deadline, event.settle_deadline, event.job_id),
            )
        case ReleasePosted():
            connection.execute(
                "UPDATE interruptions SET posted = posted | ? WHERE job_id = ?", (1 << event.index, event.job_id)
            )


def apply_return(connection: Connection, event: UnspentReturned) -> None:
    """Record that a provider has back what its nodes did not take."""
    connection.execute("UPDATE interruptions SET returned = 1 WHERE request_hash = ?", (event.request_hash,))


def view(database: Database, job_id: Bytes32) -> InterruptionView | None:
    """What interrupted a job; None for nearly every one."""
    row = database.row("SELECT * FROM interruptions WHERE job_id = ?", job_id)
    if row is None:
        return None
    return InterruptionView(
        stopped=bool(row["stopped"]),
        excluded=tuple(places(row["excluded"])),
        posted=tuple(places(row["posted"])),
        shares_deadline=row["shares_deadline"],
        settle_deadline=row["settle_deadline"],
    )


def unspent(database: Database, now: int, after: int, limit: int) -> list[tuple[int, Unspent]]:
    """Jobs whose window for releases is over, and of which nothing was returned yet, by their places, oldest first."""
    rows = database.rows(
        "SELECT interruptions.*, provider, sequence FROM interruptions JOIN jobs ON jobs.job_id = interruptions.job_id"
        " WHERE shares_deadline > 0 AND shares_deadline < ? AND returned = 0 AND sequence > ?"
        " ORDER BY sequence LIMIT ?",
        now,
        after,
        limit,
    )
    return [(row["sequence"], _unspent(row)) for row in rows]


def _unspent(row: Row) -> Unspent:
    named = Bytes32(row["job_id"]), Bytes32(row["request_hash"]), Address(row["provider"])
    return Unspent(*named, tuple(places(row["posted"])))


def _bits(members: tuple[int, ...]) -> int:
    return sum(1 << member for member in members)
