"""One row for each event of the contracts, typed: whatever the chain emitted is read back as the value that it was.

``subject`` is the job, asset, request or order that an event is about, ``account`` and ``counterpart`` are whom it
names first; None where it names none. ``body`` is JSON of the other fields by the type's own names: bytes as hex,
amounts as decimal strings, structures as on the wire. Rows are never changed: a reorganisation deletes them by block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, cast

import msgspec

from sealmarket.chain.events import EVENTS, ChainEvent, JobMatched, UnreadableLog
from sealmarket.chain.follow import EventRange
from sealmarket.chain.model import Event, EventRef
from sealmarket_backend.database.dialects import Row
from sealmarket_backend.tables import Connection, Database
from sealmarket_enclave.protocol.codec import Address, Bytes32, from_builtins, to_builtins
from sealmarket_enclave.protocol.numbers import BlockNumber

MOST = 200
"""Events on one page."""
NAMES: dict[type[Event], str] = {kind: name for name, kind in EVENTS.items()}
_INSERT = (
    "INSERT INTO events (block, log_index, block_hash, transaction_hash, block_time, name, subject, account,"
    " counterpart, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_SUBJECTS = ("job_id", "asset_id", "request_hash", "order_hash")
_ACCOUNTS = ("holder", "provider", "signer", "owner", "account", "challenger", "by", "sender", "to")
_Getter = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event, and the time of its block in seconds."""

    event: ChainEvent
    time: int

    @property
    def name(self) -> str:
        """As the ABI names it."""
        return NAMES[type(self.event)]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a type of events has what the columns hold."""

    name: str
    subject: _Getter
    account: _Getter
    counterpart: _Getter
    body: tuple[str, ...]


def add(connection: Connection, read: EventRange) -> None:
    """Write a row for each event of a range; a log that does not read has none."""
    connection.executemany(_INSERT, _rows(read))


def _rows(read: EventRange) -> Iterator[tuple[object, ...]]:
    for event in read.events:
        if isinstance(event, UnreadableLog):
            continue
        layout, at = _LAYOUTS[type(event)], event.at
        yield (
            at.block_number,
            at.log_index,
            at.block_hash,
            at.transaction,
            read.blocks[at.block_number].timestamp,
            layout.name,
            layout.subject(event),
            layout.account(event),
            layout.counterpart(event),
            _ENCODER.encode({name: getattr(event, name) for name in layout.body}),
        )


_ENCODER = msgspec.json.Encoder(enc_hook=to_builtins, order="deterministic")


def _layout(kind: type[Event]) -> _Layout:
    names = [field.name for field in fields(kind) if field.name != "at"]
    subject = next((name for name in _SUBJECTS if name in names), None)
    accounts = [name for name in _ACCOUNTS if name in names]
    if kind is JobMatched:
        accounts = ["spec.provider", "spec.consumer"]
    first, second, *_ = [*accounts, None, None]
    return _Layout(NAMES[kind], _getter(subject), _getter(first), _getter(second), tuple(names))


def _getter(name: str | None) -> _Getter:
    return attrgetter(name) if name else lambda _event: None


_LAYOUTS: dict[type[Event], _Layout] = {kind: _layout(kind) for kind in NAMES}


def event_of(row: Row) -> EventRow:
    """The event in a row of ``events``. Raises :class:`MalformedDocument`."""
    at = EventRef(
        block_number=BlockNumber(row["block"]),
        log_index=row["log_index"],
        block_hash=Bytes32(row["block_hash"]),
        transaction=Bytes32(row["transaction_hash"]),
    )
    given = msgspec.json.decode(row["body"])
    event = from_builtins(EVENTS[row["name"]], {"at": to_builtins(at), **given})
    return EventRow(cast(ChainEvent, event), row["block_time"])


def every(database: Database) -> Iterator[EventRow]:
    """All events in the chain's order, some at a time."""
    return map(event_of, database.each("SELECT * FROM events ORDER BY block, log_index"))


def page(
    database: Database,
    *,
    subject: Bytes32 | None = None,
    account: Address | None = None,
    name: str | None = None,
    after: tuple[int, int] = (-1, -1),
    limit: int = MOST,
) -> list[EventRow]:
    """Events that fit all that is given, behind a place (block and index of the log), oldest first."""
    where, values = ["(block, log_index) > (?, ?)"], list[object](after)
    for clause, given in (("subject = ?", subject), ("name = ?", name)):
        if given is not None:
            where.append(clause)
            values.append(given)
    if account is not None:
        where.append("(account = ? OR counterpart = ?)")
        values += [account, account]
    query = f"SELECT * FROM events WHERE {' AND '.join(where)} ORDER BY block, log_index LIMIT ?"  # noqa: S608 - ours
    return [event_of(row) for row in database.rows(query, *values, min(limit, MOST))]


def history(database: Database, job_id: Bytes32, names: Iterable[str]) -> list[Row]:
    """Name, block, transaction and time of a job's events of these names, oldest first."""
    wanted = sorted(names)
    query = (
        "SELECT name, block, transaction_hash, block_time FROM events WHERE subject = ?"  # noqa: S608 - marks only
        f" AND name IN ({', '.join('?' * len(wanted))}) ORDER BY block, log_index"
    )
    return database.rows(query, job_id, *wanted)
