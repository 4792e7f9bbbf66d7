"""Logs to typed events. Fields that a log does not repeat are completed by :mod:`sealmarket.chain.logs`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields as fields_of
from functools import cache, partial
from typing import Any, cast, get_type_hints

from sealmarket.chain import abi
from sealmarket.chain.errors import AbiMismatch, NodeDistrusted
from sealmarket.chain.events import (
    EVENTS,
    ChainEvent,
    JobDecided,
    JobEnded,
    JobMatched,
    JobSettled,
    UnreadableLog,
)
from sealmarket.chain.model import Event, EventRef, Fault, Payout, places
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32, Shape, Uint, Wei
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import JobId

UNKNOWN_EPOCH = 0
"""In a decision's core until the chain reader fills it in from the job: the event does not repeat it."""


def event(book: AddressBook, contract: str, topics: Sequence[Bytes32], raw: bytes, at: EventRef) -> ChainEvent | None:
    """One log as an event, :class:`UnreadableLog` when it is not what its topic says; None for an unknown topic.

    Raises:
        NodeDistrusted: a job whose specification does not hash to its id.
    """
    entry = abi.load(contract).events.get(topics[0]) if topics else None
    if entry is None:
        return None
    try:
        return _read(book, entry, topics, raw, at)
    except (AbiMismatch, MalformedDocument, ValueError) as error:
        return UnreadableLog(at, contract, entry.name, _subject(entry, topics), str(error)[:500])


def _read(book: AddressBook, entry: abi.Entry, topics: Sequence[Bytes32], raw: bytes, at: EventRef) -> ChainEvent:
    fields = abi.decode_log(entry, topics, raw)
    reader = _READERS.get(entry.name)
    return reader(book, fields, at) if reader else cast(ChainEvent, _plainly(entry.name, fields, at))


def _plainly(name: str, fields: abi.Fields, at: EventRef) -> Event:
    """An event whose type has the fields of the ABI, each as its annotation says. Raises :class:`AbiMismatch`."""
    kind, readers = _fields_of(name)
    given = {RENAMED.get(name, name): value for name, value in fields.items()}
    if given.keys() != readers.keys():
        raise AbiMismatch(name, f"its fields are {', '.join(given)}, expected {', '.join(readers)}")
    return kind(at, **{name: read(given[name]) if read else given[name] for name, read in readers.items()})


RENAMED = {"from": "sender", "sealed_": "sealed", "payable_": "payable"}
"""Names of the ABI, in snake case, that a type spells otherwise."""


@cache
def _fields_of(name: str) -> tuple[type[Event], dict[str, Callable[[Any], Any] | None]]:
    kind = EVENTS[name]
    hints = get_type_hints(kind)
    return kind, {field.name: _reader_of(hints[field.name]) for field in fields_of(kind) if field.name != "at"}


def _reader_of(hint: Any) -> Callable[[Any], Any] | None:
    """What makes a decoded value one of this type; None where it is one."""
    if hint == tuple[int, ...]:
        return places
    if isinstance(hint, type) and issubclass(hint, Uint):
        return hint
    if isinstance(hint, type) and issubclass(hint, Shape):
        return partial(abi.to_shape, hint)
    return None


def _subject(entry: abi.Entry, topics: Sequence[Bytes32]) -> Bytes32 | None:
    first = next((part.name for part in entry.inputs if part.indexed), "")
    return topics[1] if first in ("jobId", "assetId") and len(topics) > 1 else None


def _matched(book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    spec = abi.to_shape(JobSpec, f["spec"])
    computed = spec.job_id(book.chain_id, book.market)
    if computed != f["job_id"]:
        raise NodeDistrusted("job specification", f"one that hashes to {f['job_id']}", computed)
    return JobMatched(at, computed, spec, Wei(f["fees_held"]), f["compute_order"])


def _decided(_book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    job_id = JobId(f["job_id"])
    core = abi.to_shape(Decision, f["core"], job_id=job_id, epoch=UNKNOWN_EPOCH, detail=ZERO_HASH)
    outcome = Outcome(core.outcome)
    return JobDecided(at, job_id, core, places(f["signers"]), outcome, f["deadline"], Wei(f["fees_returned"]))


def _settled(_book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    # The market accepts only a final settlement, so one that it accepted is final.
    return JobSettled(
        at,
        JobId(f["job_id"]),
        f["result_hash"],
        f["receipt_hash"],
        f["units"],
        True,
        Wei(f["refunded"]),
        Wei(f["payable_"]),
    )


def _ended(_book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    p = f["payout"]
    payout = Payout(
        refunded=Wei(p["refunded"]),
        paid=Wei(p["paid"]),
        stake_returned=Wei(p["stake_returned"]),
        burned=Wei(p["burned"]),
        owners_total=Wei(p["owners_total"]),
        owners_paid=frozenset(places(p["owners_paid"])),
    )
    return JobEnded(at, JobId(f["job_id"]), Status(f["status"]), Fault(f["fault"]), f["evidence_hash"], payout)


_READERS: dict[str, Callable[[AddressBook, abi.Fields, EventRef], ChainEvent]] = {
    "JobMatched": _matched,
    "JobDecided": _decided,
    "JobSettled": _settled,
    "JobEnded": _ended,
}
"""Events of which a type says more, or less, than the log."""
