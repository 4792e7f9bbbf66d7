"""Receipts of answers: held against request and answer when they come, kept, and checked again offline.

A kept receipt (docs/spec/session.md, "Answer") holds the secret of its request, without which its hashes say nothing:
with it, and with the bodies that the user kept, a reader sees what was asked and answered. The file is 0600.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from msgspec import UNSET

from sealmarket.inference.errors import ReceiptRefused
from sealmarket.inference.service import ServiceFacts
from sealmarket.private_files import MODE
from sealmarket_enclave.protocol.codec import Bytes32, Shape, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import sha256
from sealmarket_enclave.protocol.numbers import Timestamp
from sealmarket_enclave.protocol.session import SessionCode, SessionReceipt, SignedReceipt, engine_hash
from sealmarket_enclave.protocol.signing import SignatureRefused, recover

FILE = "receipts.jsonl"
_MOST_LINE = 64 << 10
_RESPONSE = b"\x01"
_CUT = b"\0\n"
"""Closes a line that was cut, wherever that was: no receipt ends so."""
METER = "meter"
"""Where a receipt's engine names what counted its units; the enclave says it, and no workload can."""


class KeptReceipt(Shape, frozen=True, kw_only=True):
    """A receipt with what a reader needs to check it. ``code`` is why the answer was broken off, if it was."""

    version: Literal["sealmarket/kept-receipt/1"] = "sealmarket/kept-receipt/1"
    service: ServiceFacts
    signed: SignedReceipt
    secret: Bytes32
    kept_at: Timestamp
    code: SessionCode | None = None

    def __repr__(self) -> str:
        return f"KeptReceipt({self.name})"

    @property
    def name(self) -> Bytes32:
        """How requests and people name it: ``hashStruct`` of the receipt."""
        return self.signed.receipt.struct_hash()


def require_signed(facts: ServiceFacts, signed: SignedReceipt) -> None:
    """The accepted enclave signed this receipt of its own service.

    Raises:
        ReceiptRefused: naming the member.
    """
    receipt = signed.receipt
    try:
        signer: object = recover(receipt.digest(facts.chain_id, facts.market), signed.signature)
    except SignatureRefused as error:
        signer = error.message
    found = [
        ("signer", facts.enclave_signer, signer),
        ("job", facts.job_id, receipt.job_id),
        ("evidence", facts.evidence_hash, receipt.evidence_hash),
        ("workload", facts.workload, receipt.workload),
        ("weights", facts.weights, receipt.weights),
        ("engine", engine_hash(signed.engine), receipt.engine_hash),
        ("meter", None if facts.meter is UNSET else str(facts.meter), signed.engine.get(METER)),
    ]
    for field, expected, got in found:
        if expected != got:
            raise ReceiptRefused(field, expected, got)


def require_about(receipt: SessionReceipt, *, grant: Bytes32, number: int, request: Bytes32, response: Bytes32) -> None:
    """A receipt is about this request and this answer. Raises :class:`ReceiptRefused`."""
    found: list[tuple[str, object, object]] = [
        ("grant", grant, receipt.grant_hash),
        ("number", number, int(receipt.number)),
        ("request", request, receipt.request_hash),
        ("response", response, receipt.response_hash),
    ]
    for field, expected, got in found:
        if expected != got:
            raise ReceiptRefused(field, expected, got)


def require_cost(receipt: SessionReceipt, *, most_units: int, spent: int) -> int:
    """The units of an answer: at most what was allowed, and the grant's count rose by them. Raises
    :class:`ReceiptRefused`."""
    units = int(receipt.prompt_units) + int(receipt.output_units)
    if units > most_units:
        raise ReceiptRefused("units", f"at most {most_units}", units)
    if int(receipt.cumulative) != spent + units:
        raise ReceiptRefused("cumulative units", spent + units, int(receipt.cumulative))
    return units


class ReceiptFile:
    """The receipts of one service, a JSON document a line, on disk when :meth:`keep` returns. Threads may share it."""

    def __init__(self, folder: Path) -> None:
        self._path, self._lock = folder / FILE, threading.Lock()

    def keep(self, kept: KeptReceipt) -> None:
        """Append one; a line that a crash or a full disk cut is closed first, and is no receipt."""
        with self._lock:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, MODE)
            try:
                size = os.fstat(descriptor).st_size
                whole = not size or os.pread(descriptor, 1, size - 1) == b"\n"
                line = (b"" if whole else _CUT) + kept.canonical() + b"\n"
                if os.write(descriptor, line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)


def read_receipts(path: Path) -> Iterator[KeptReceipt]:
    """The receipts of a file, in their order. A last line without its end is what a crash cut, and is left out.

    Raises:
        MalformedDocument: another line that is no receipt.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        while line := file.readline(_MOST_LINE + 1):
            if len(line) > _MOST_LINE:
                raise MalformedDocument(f"a line of {path.name} has more than {_MOST_LINE} bytes")
            if not line.endswith(b"\n"):
                return
            try:
                yield decode_canonical(KeptReceipt, line[:-1])
            except MalformedDocument:
                if line.startswith(b'{"') and line.endswith(b"}\n"):
                    raise
                # What a crash cut, and a later append closed.


def check_kept(kept: KeptReceipt, request: bytes | None = None, response: bytes | None = None) -> None:
    """Check a kept receipt without a network: signature, service, engine, and bodies where they are given.

    Raises:
        ReceiptRefused: naming the member.
    """
    require_signed(kept.service, kept.signed)
    receipt = kept.signed.receipt
    if request is not None and (found := sha256(kept.secret + b"\0" + request)) != receipt.request_hash:
        raise ReceiptRefused("request", found, receipt.request_hash)
    if response is not None and (found := sha256(kept.secret + _RESPONSE + response)) != receipt.response_hash:
        raise ReceiptRefused("response", found, receipt.response_hash)


def units_of(receipts: Iterable[KeptReceipt]) -> int:
    """What the answers of some receipts cost together, in units."""
    return sum(int(one.signed.receipt.prompt_units) + int(one.signed.receipt.output_units) for one in receipts)
