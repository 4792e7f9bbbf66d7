"""Event logs that explain a TD's runtime registers, replayed: CCEL (UEFI 2.10, 38.4; TCG EFI platform) and
dstack.

A log proves nothing by itself. Replayed from zero with SHA-384, it must give each register exactly; then,
and only then, its digests are what was measured. The event texts beside the digests stay unproven.

CCEL: one TCG_PCR_EVENT that names the algorithms, then TCG_PCR_EVENT2 records, up to an index of all ones,
zeros or the end. Index 1 to 4 is RTMR 0 to 3, index 0 is MRTD and is not extended; EV_NO_ACTION extends
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha384

import msgspec

from sealmarket.attestation.core.errors import EventLogMalformed
from sealmarket.attestation.core.unreadable import NOT_JSON
from sealmarket_enclave.protocol.codec import parse_json, prepared

EV_NO_ACTION = 3
_SHA384 = 0x000C
_SPEC_ID = b"Spec ID Event03\0"
MAXIMUM_BYTES = 1 << 20
"""One log. The longest genuine ones have 256 KiB."""
MAXIMUM_RECORDS = 16384


@dataclass(frozen=True, slots=True)
class Event:
    """One measurement: register 0 to 3, the event type, and the SHA-384 digest that extended it."""

    register: int
    kind: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class RegisterMismatch:
    """A register that the log does not explain."""

    register: int
    replayed: bytes
    quoted: bytes


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self.data, self.offset = data, 0

    def take(self, size: int) -> bytes:
        if self.offset + size > len(self.data):
            raise EventLogMalformed(f"the log ends inside {size} bytes at offset {self.offset}")
        self.offset += size
        return self.data[self.offset - size : self.offset]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")


def read_event_log(data: bytes) -> tuple[Event, ...]:
    """The events of a CCEL or of dstack's JSON.

    Raises:
        EventLogMalformed: not of either layout, without SHA-384, too long, or of too many records.
    """
    if len(data) > MAXIMUM_BYTES:
        raise EventLogMalformed(f"a log has at most {MAXIMUM_BYTES} bytes, found {len(data)}")
    reader = _read_dstack if data.lstrip()[:1] == b"[" else _read_ccel
    return tuple(reader(data))


def _require_few(records: int) -> None:
    if records > MAXIMUM_RECORDS:
        raise EventLogMalformed(f"a log has at most {MAXIMUM_RECORDS} records, found {records} or more")


def _read_ccel(data: bytes) -> Iterator[Event]:
    cursor = _Cursor(data)
    sizes = _algorithms(cursor)
    zeros_from = len(data.rstrip(b"\0"))
    records = 0
    while cursor.offset + 4 <= len(data):
        index = cursor.number(4)
        if index == 0xFFFFFFFF or (index == 0 and cursor.offset >= zeros_from):
            return
        records += 1
        _require_few(records)
        kind, count = cursor.number(4), cursor.number(4)
        if count > len(sizes):
            raise EventLogMalformed(f"an event has {count} digests, the log names {len(sizes)} algorithms")
        digests = {}
        for _ in range(count):
            algorithm = cursor.number(2)
            if algorithm not in sizes or algorithm in digests:
                raise EventLogMalformed(f"algorithm {algorithm:#x} is not among {sorted(sizes)}, or comes twice")
            digests[algorithm] = cursor.take(sizes[algorithm])
        cursor.take(cursor.number(4))
        if index > 4:
            raise EventLogMalformed(f"measurement register index {index}, expected 0 to 4")
        if index > 0 and kind != EV_NO_ACTION:
            if _SHA384 not in digests:
                raise EventLogMalformed("an event has no SHA-384 digest")
            yield Event(index - 1, kind, digests[_SHA384])


def _algorithms(cursor: _Cursor) -> dict[int, int]:
    """The header record: index, type, a SHA-1 digest, then the Spec ID event."""
    cursor.take(28)
    header = _Cursor(cursor.take(cursor.number(4)))
    if header.take(16) != _SPEC_ID:
        raise EventLogMalformed("the log does not start with a Spec ID event")
    header.take(8)
    count = header.number(4)
    if not 1 <= count <= 8:
        raise EventLogMalformed(f"the log names {count} algorithms")
    sizes = {header.number(2): header.number(2) for _ in range(count)}
    if sizes.get(_SHA384) != 48:
        raise EventLogMalformed("the log has no SHA-384 digests")
    return sizes


class _DstackEvent(msgspec.Struct, frozen=True):
    imr: int
    event_type: int
    digest: str


def _read_dstack(data: bytes) -> Iterator[Event]:
    _require_few(data.count(b"{"))
    try:
        events = parse_json(data, prepared(list[_DstackEvent]))
        digests = [bytes.fromhex(event.digest) for event in events]
    except (*NOT_JSON, ValueError) as error:
        raise EventLogMalformed(f"not a dstack event log: {error}") from error
    for event, digest in zip(events, digests, strict=True):
        if not 0 <= event.imr <= 3 or len(digest) != 48:
            raise EventLogMalformed(f"register {event.imr} with a digest of {len(digest)} bytes")
        yield Event(event.imr, event.event_type, digest)


def replay(events: Sequence[Event]) -> tuple[bytes, bytes, bytes, bytes]:
    """The four registers after all events: SHA-384(old || digest), from zero."""
    registers = [bytes(48)] * 4
    for event in events:
        registers[event.register] = sha384(registers[event.register] + event.digest).digest()
    return registers[0], registers[1], registers[2], registers[3]


def replay_against(log: bytes, registers: Sequence[bytes]) -> tuple[RegisterMismatch, ...]:
    """Each register that the log does not explain. Raises :class:`EventLogMalformed`."""
    replayed = replay(read_event_log(log))
    return tuple(
        RegisterMismatch(i, found, bytes(quoted))
        for i, (found, quoted) in enumerate(zip(replayed, registers, strict=True))
        if found != quoted
    )
