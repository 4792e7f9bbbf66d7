"""The index: what the chain's final blocks say about jobs and assets, in tables that can be asked quickly.

Only final blocks are indexed. The tables hold nothing that the events do not say. Should a final block change after all
(a deep reorganisation, or a node that lied), they are taken back to the newest cursor that is still in the chain; where
none of the last ones is, they are emptied and read again from the deployment block.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from msgspec import structs

from sealmarket.chain.events import (
    AllowListReplaced,
    AssetRevoked,
    ChainEvent,
    ChallengeAnswered,
    JobChallenged,
    JobDecided,
    JobEnded,
    JobFailed,
    JobMatched,
    JobQuoted,
    JobSettled,
    JobStopped,
    ReleasePosted,
    SharesReportedMissing,
    SuspensionLifted,
    TermsTightened,
    UnreadableLog,
    VersionPublished,
    VersionSuspended,
)
from sealmarket.chain.follow import Cursor, EventRange, Follower, Rewound
from sealmarket.chain.interface import ChainReader
from sealmarket.chain.ledger_events import OrderCancelled, RequestCancelled, UnspentReturned
from sealmarket.chain.model import Block
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.transitions import ENDS, Status
from sealmarket.protocol.wire import InterruptionView, JobEvent, JobView
from sealmarket_backend import event_rows, interruptions, undo
from sealmarket_backend.database.dialects import Row
from sealmarket_backend.errors import NotFound
from sealmarket_backend.interruptions import InterruptingEvent
from sealmarket_backend.job_rows import JobRows
from sealmarket_backend.status_text import waiting_for
from sealmarket_backend.tables import Connection, Database, readable
from sealmarket_enclave.protocol.codec import Address, Bytes32, canonical_json, decode, from_builtins, to_builtins
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import BlockNumber
from sealmarket_enclave.protocol.terms import Seal, Terms

log = logging.getLogger(__name__)
StepEvent = JobQuoted | JobDecided | JobSettled | JobChallenged | ChallengeAnswered | JobFailed | JobEnded
AssetEvent = VersionPublished | TermsTightened | AllowListReplaced | AssetRevoked | VersionSuspended | SuspensionLifted
_FORGET = (
    "DELETE FROM cursor",
    "DELETE FROM assets",
    "DELETE FROM jobs",
    "DELETE FROM events",
    "DELETE FROM interruptions",
    "DELETE FROM unreadable",
    "UPDATE requests SET state = 'open', job_id = NULL WHERE state IN ('matched', 'cancelled')",
    "UPDATE compute_orders SET state = 'open' WHERE state = 'cancelled'",
)
"""What is known from events alone."""
_PUBLISHED = """
INSERT INTO assets (asset_id, version, owner, seal, terms, terms_version, sequence)
VALUES (?, ?, ?, ?, ?, 1, (SELECT COALESCE(MAX(sequence), 0) + 1 FROM assets))
ON CONFLICT (asset_id, version) DO UPDATE SET owner = excluded.owner, seal = excluded.seal, terms = excluded.terms,
    terms_version = 1, revoked = 0, suspended = 0
"""
MOST_JOBS = 200
"""On one page of jobs."""
HISTORY = (
    "JobMatched",
    "JobQuoted",
    "JobDecided",
    "JobStopped",
    "SharesReportedMissing",
    "ReleasePosted",
    "JobSettled",
    "JobChallenged",
    "ChallengeAnswered",
    "JobFailed",
    "JobEnded",
)
"""The events of a job that its view names."""
_WAITING = ", ".join(str(int(status)) for status in Status if status not in {*ENDS, Status.NONE})
_WITHIN_A_STAGE = {"JobStopped", "SharesReportedMissing", "ReleasePosted", "ChallengeAnswered"}


@dataclass(frozen=True, slots=True)
class IndexedAsset:
    """One version of an asset as the index knows it."""

    asset_id: Bytes32
    version: int
    owner: Address
    seal: Seal
    terms: Terms
    terms_version: int
    revoked: bool
    suspended: bool = False

    @property
    def epoch(self) -> int:
        """Of the committee to which its shares were dealt."""
        return self.seal.epoch

    def as_json(self) -> dict[str, Any]:
        """For the API."""
        return {
            "assetId": str(self.asset_id),
            "version": self.version,
            "owner": str(self.owner),
            "seal": to_builtins(self.seal),
            "terms": to_builtins(self.terms),
            "termsVersion": self.terms_version,
            "revoked": self.revoked,
            "suspended": self.suspended,
        }


class Listener(Protocol):
    """Hears what the index stored. It raises nothing: what it hears is on disk already."""

    def hear(self, events: Sequence[ChainEvent]) -> None:
        """Events of final blocks, in order."""

    def hear_rewind(self) -> None:
        """What was final changed: orders may be open again, or open no more."""


class Index:
    """Follows one market's final blocks: an :class:`~sealmarket.chain.follow.EventReader`."""

    def __init__(
        self,
        database: Database,
        chain: ChainReader,
        *,
        start: int,
        listener: Listener | None = None,
        tell: Callable[[Connection], None] = lambda _connection: None,
    ) -> None:
        """``listener`` hears what was stored, after it was stored; ``tell`` says so in the transaction."""
        self._tell = tell
        self._database = database
        self._listener = listener
        self._start = start
        self._follower = Follower(chain, self, start=start)
        self._reading = threading.Lock()

    def advance(self) -> Block:
        """Read every final block that was not read yet; returns the newest. One thread reads at a time.

        Raises:
            ChainError: the node does not answer, or contradicts itself; what was read before stays.
        """
        with self._reading:
            return self._follower.advance()

    def catch_up(self, patience: float) -> None:
        """As :meth:`advance`, unless another thread reads for longer than ``patience`` seconds."""
        if self._reading.acquire(timeout=patience):
            try:
                self._follower.advance()
            finally:
                self._reading.release()

    def cursor(self) -> Cursor | None:
        """The last final block that was read."""
        row = self._database.row("SELECT block, hash FROM cursor WHERE length(hash) = 32")
        return Cursor(row["block"], Bytes32(row["hash"])) if row else None

    def store(self, read: EventRange) -> None:
        """Apply a range's events, and move the cursor with them."""
        with self._database.lead() as connection, undo.recorded(connection, read.end):
            event_rows.add(connection, read)
            jobs = JobRows(connection)
            for event in read.events:
                _apply(connection, jobs, event, read.blocks)
            jobs.write()
            connection.execute(
                "INSERT INTO cursor (id, block, hash) VALUES (1, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET block = excluded.block, hash = excluded.hash",
                (read.end.number, read.end.hash),
            )
            if read.events:
                self._tell(connection)
        if self._listener is not None:
            self._listener.hear(read.events)

    def earlier(self) -> list[Cursor]:
        """Cursors that the index can be taken back to, newest first."""
        return undo.cursors(self._database.rows("SELECT block, hash FROM cursors ORDER BY block DESC"))

    def rewind(self, rewound: Rewound) -> None:
        """Take back what came after a block, and let the chain say again which orders are matched or cancelled."""
        cursor, to_block = rewound.cursor, rewound.to_block
        where = f"block {cursor.number} was final as {cursor.hash} and is {rewound.found}"
        log.error("%s: reading again from block %d", where, to_block + 1)
        with self._database.lead() as connection:
            if undo.back_to(connection, to_block):
                connection.execute(
                    "UPDATE cursor SET (block, hash) = (SELECT block, hash FROM cursors ORDER BY block DESC LIMIT 1)"
                )
            else:
                for statement in _FORGET:
                    connection.execute(statement)
                undo.forget(connection)
        if self._listener is not None:
            self._listener.hear_rewind()

    def job(self, job_id: Bytes32) -> JobView:
        """One job. Raises :class:`NotFound`."""
        row = self._database.row("SELECT * FROM jobs WHERE job_id = ?", job_id)
        if row is None:
            raise NotFound(f"no job {job_id}", remedy="its match may not be final yet: ask again in a few blocks")
        return self._view(row)

    def jobs(
        self,
        *,
        provider: Address | None = None,
        consumer: Address | None = None,
        status: Status | None = None,
        limit: int = MOST_JOBS,
    ) -> list[JobView]:
        """Jobs that fit all that is given, newest first, at most ``limit``."""
        wanted: list[tuple[str, object]] = [
            ("provider", provider),
            ("consumer", consumer),
            ("status", status and int(status)),
        ]
        given = [(column, value) for column, value in wanted if value is not None]
        where = " AND ".join(f"{column} = ?" for column, _ in given) or "1 = 1"
        query = f"SELECT * FROM jobs WHERE {where} ORDER BY sequence DESC LIMIT ?"  # noqa: S608 - columns are ours
        return list(readable(self._database.rows(query, *(value for _, value in given), limit), self._view))

    def unfinished(self, after: int = 0, limit: int = MOST_JOBS) -> list[tuple[int, JobView | None]]:
        """Jobs that wait for a party's action, behind a place, oldest first; None for one that does not read."""
        rows = self._database.rows(
            f"SELECT * FROM jobs WHERE status IN ({_WAITING}) AND sequence > ? ORDER BY sequence LIMIT ?",  # noqa: S608
            after,
            limit,
        )
        return [(row["sequence"], next(iter(readable([row], self._view)), None)) for row in rows]

    def asset(self, asset_id: Bytes32, version: int) -> IndexedAsset:
        """One version of an asset. Raises :class:`NotFound`."""
        row = self._database.row("SELECT * FROM assets WHERE asset_id = ? AND version = ?", asset_id, version)
        if row is None:
            raise NotFound(f"no version {version} of asset {asset_id}", remedy="its publication may not be final yet")
        return asset_of(row)

    def assets(self) -> list[IndexedAsset]:
        """Every version of every asset, newest first."""
        rows = self._database.rows("SELECT * FROM assets ORDER BY sequence DESC LIMIT 1000")
        return list(readable(rows, asset_of))

    def unspent(self, now: int, after: int, limit: int) -> list[tuple[int, interruptions.Unspent]]:
        """What providers set aside for nodes and may have to be given back, by the places of their jobs."""
        return interruptions.unspent(self._database, now, after, limit)

    def job_id_of(self, request_hash: Bytes32) -> Bytes32 | None:
        """The job that consumed a request, if one did."""
        row = self._database.row("SELECT job_id FROM jobs WHERE request_hash = ?", request_hash)
        return Bytes32(row["job_id"]) if row else None

    def owner_of(self, asset_id: Bytes32) -> Address | None:
        """An asset's owner; None where no version of it is published."""
        row = self._database.row("SELECT owner FROM assets WHERE asset_id = ?", asset_id)
        return Address(row["owner"]) if row else None

    def provider_of(self, job_id: Bytes32) -> Address | None:
        """A job's provider; None where there is no such job."""
        row = self._database.row("SELECT provider FROM jobs WHERE job_id = ?", job_id)
        return Address(row["provider"]) if row else None

    def position(self) -> int:
        """The number of the last final block that was read."""
        cursor = self.cursor()
        return cursor.number if cursor else self._start - 1

    def _view(self, row: Row) -> JobView:
        job_id = Bytes32(row["job_id"])
        spec = decode(JobSpec, row["spec"])
        facts = json.loads(row["facts"])
        status = Status(row["status"])
        history = tuple(map(_told, event_rows.history(self._database, job_id, HISTORY)))
        interruption = interruptions.view(self._database, job_id)
        shape: dict[str, Any] = {
            "jobId": str(job_id),
            "requestHash": str(spec.request_hash),
            "status": status.name.lower(),
            "deadline": deadline(spec, status, history, interruption),
            "spec": to_builtins(spec),
            "waitingFor": waiting_for(status, interruption),
            "history": [to_builtins(event) for event in history],
            "interruption": to_builtins(interruption),
            **facts,
        }
        return from_builtins(JobView, shape)


def _apply(connection: Connection, jobs: JobRows, event: ChainEvent, blocks: Mapping[BlockNumber, Block]) -> None:
    match event:
        case UnreadableLog():
            _leave_alone(connection, event)
        case OrderCancelled() | RequestCancelled():
            _apply_to_orders(connection, event)
        case UnspentReturned():
            interruptions.apply_return(connection, event)
        case JobMatched():
            jobs.matched(event)
        case JobStopped() | SharesReportedMissing() | ReleasePosted():
            _interrupted(connection, jobs, event)
        case _ if isinstance(event, StepEvent):
            _step(connection, jobs, event, *_stage_and_facts(event), blocks[event.at.block_number].timestamp)
        case _ if isinstance(event, AssetEvent):
            _apply_to_assets(connection, event)
        case _:
            return


def _stage_and_facts(event: StepEvent) -> tuple[Status | None, dict[str, Any]]:
    """Where an event leaves its job (None: where it is), and what it adds to the job's view."""
    match event:
        case JobQuoted():
            return Status.QUOTED, {"evidenceHash": str(event.evidence_hash)}
        case JobDecided():
            status = Status.ACCEPTED if event.outcome == Outcome.ACCEPTED else Status.REFUSED
            return status, {"decision": to_builtins(event.core), "reasons": str(event.core.reasons)}
        case JobSettled():
            facts = {"resultHash": str(event.result_hash), "receipt": str(event.receipt_hash), "units": event.units}
            return Status.SETTLED, facts
        case JobChallenged():
            return Status.CHALLENGED, {"challenger": str(event.challenger)}
        case ChallengeAnswered():
            return None, {"available": event.available}
        case JobFailed():
            return Status.FAILED, {"receipt": str(event.receipt_hash)}
        case JobEnded():
            return event.status, {}


def _step(
    connection: Connection,
    jobs: JobRows,
    event: StepEvent | InterruptingEvent,
    status: Status | None,
    facts: dict[str, Any],
    at: int = 0,
) -> None:
    if not jobs.step(event.job_id, status, facts, at) and not _is_unreadable(connection, event.job_id):
        raise NotFound(f"an event of job {event.job_id}, which was never matched", remedy="index from deployment")


def _interrupted(connection: Connection, jobs: JobRows, event: InterruptingEvent) -> None:
    """The job stays accepted: a settlement still counts."""
    facts = {"reasons": str(event.reasons)} if isinstance(event, JobStopped) else {}
    _step(connection, jobs, event, None, facts)
    jobs.write()
    interruptions.apply(connection, event)


def _leave_alone(connection: Connection, event: UnreadableLog) -> None:
    """Record a job or asset with a log that cannot be decoded: its later events are left alone too."""
    why = f"{event.name} in block {event.at.block_number} does not read: {event.reason}"
    log.warning("%s is left alone: %s", event.subject or "one log", why)
    if event.subject is not None:
        connection.execute(
            "INSERT INTO unreadable (subject, reason) VALUES (?, ?) ON CONFLICT DO NOTHING", (event.subject, why)
        )


def _is_unreadable(connection: Connection, subject: Bytes32) -> bool:
    return connection.execute("SELECT 1 FROM unreadable WHERE subject = ?", (subject,)).fetchone() is not None


def _apply_to_assets(connection: Connection, event: AssetEvent) -> None:
    match event:
        case VersionPublished():
            connection.execute(
                _PUBLISHED,
                (
                    event.asset_id,
                    event.version,
                    event.owner,
                    canonical_json(event.seal),
                    canonical_json(event.terms),
                ),
            )
        case TermsTightened():
            connection.execute(
                "UPDATE assets SET terms = ?, terms_version = ? WHERE asset_id = ? AND version = ?",
                (canonical_json(event.terms), event.terms_version, event.asset_id, event.version),
            )
        case AllowListReplaced():
            _replace_allow_list(connection, event)
        case VersionSuspended() | SuspensionLifted():
            connection.execute(
                "UPDATE assets SET suspended = ? WHERE asset_id = ? AND version = ?",
                (isinstance(event, VersionSuspended), event.asset_id, event.version),
            )
        case AssetRevoked():
            connection.execute(
                "UPDATE assets SET revoked = 1 WHERE asset_id = ? AND (version = ? OR ? = 0)",
                (event.asset_id, event.version, event.version),
            )


def _replace_allow_list(connection: Connection, event: AllowListReplaced) -> None:
    """The event says the new root alone; the other terms are those that the index has."""
    key = (event.asset_id, event.version)
    row = connection.execute("SELECT terms FROM assets WHERE asset_id = ? AND version = ?", key).fetchone()
    if row is None or _is_unreadable(connection, event.asset_id):
        return
    terms = structs.replace(decode(Terms, row["terms"]), allow_root=event.allow_root)
    connection.execute(
        "UPDATE assets SET terms = ?, terms_version = ? WHERE asset_id = ? AND version = ?",
        (canonical_json(terms), event.terms_version, *key),
    )


def _apply_to_orders(connection: Connection, event: OrderCancelled | RequestCancelled) -> None:
    match event:
        case OrderCancelled():
            connection.execute(
                # Anyone may cancel any hash, but only for themselves.
                "UPDATE compute_orders SET state = 'cancelled' WHERE order_hash = ? AND account = ? AND state = 'open'",
                (event.order_hash, event.signer),
            )
        case RequestCancelled():
            connection.execute(
                "UPDATE requests SET state = 'cancelled' WHERE request_hash = ? AND state = 'open'",
                (event.request_hash,),
            )


def deadline(
    spec: JobSpec, status: Status, history: tuple[JobEvent, ...], interruption: InterruptionView | None = None
) -> int:
    """When the stage that a job is in ends (seconds), or 0 once it has ended. The contract's own slot decides."""
    if status is Status.ACCEPTED and interruption and interruption.settle_deadline:
        return interruption.settle_deadline
    windows = {
        Status.MATCHED: spec.quote_window,
        Status.QUOTED: spec.decide_window,
        Status.ACCEPTED: spec.settle_window,
        Status.SETTLED: spec.challenge_window,
        Status.CHALLENGED: spec.decide_window,
    }
    entered = [event.timestamp for event in history if event.name not in _WITHIN_A_STAGE]
    if status not in windows or not entered:
        return 0
    return entered[-1] + windows[status]


def _told(row: Row) -> JobEvent:
    return JobEvent(
        name=row["name"],
        block_number=row["block"],
        transaction=Bytes32(row["transaction_hash"]),
        timestamp=row["block_time"],
    )


def asset_of(row: Row) -> IndexedAsset:
    """The version in a row of ``assets``. Raises :class:`MalformedDocument`."""
    return IndexedAsset(
        Bytes32(row["asset_id"]),
        row["version"],
        Address(row["owner"]),
        decode(Seal, row["seal"]),
        decode(Terms, row["terms"]),
        row["terms_version"],
        bool(row["revoked"]),
        bool(row["suspended"]),
    )
