"""Nitro documents inside agents' files: dstack's, which is SCALE-encoded.

``u8`` version 0, ``u8`` kind 2 (Nitro), the document as bytes, then what dstack adds: a list of runtime events (name,
payload), 64 bytes of report data, a text of configuration. SCALE writes a length in 1, 2 or 4 bytes, by the lowest two
bits. What dstack adds is not proven by the document: it must be well-formed, and is left out.
"""

from __future__ import annotations

from sealmarket.attestation.core.errors import NotEvidence

_VERSION, _NITRO = 0, 2
_HEADS = (b"\xd2\x84\x44\xa1\x01\x38\x22", b"\x84\x44\xa1\x01\x38\x22")
"""A COSE_Sign1 whose protected header says ES384, with its tag and without."""
_MAXIMUM_EVENTS = 4096
_REPORT_DATA = 64


def starts_document(data: bytes, at: int = 0) -> bool:
    """Whether a Nitro document starts here."""
    return data.startswith(_HEADS, at)


def document_in_dstack(data: bytes) -> bytes | None:
    """The document in dstack's file; None where this is no such file.

    Raises:
        NotEvidence: dstack's file of a Nitro document that is not well-formed to its last byte.
    """
    if data[:2] != bytes([_VERSION, _NITRO]):
        return None
    try:
        length, at = _compact(data, 2)
    except NotEvidence:
        return None
    if not starts_document(data, at):
        return None
    document, at = _take(data, at, length)
    events, at = _compact(data, at)
    if events > _MAXIMUM_EVENTS:
        raise NotEvidence(f"a dstack file has at most {_MAXIMUM_EVENTS} events, found {events}")
    for _ in range(2 * events):
        length, at = _compact(data, at)
        _, at = _take(data, at, length)
    _, at = _take(data, at, _REPORT_DATA)
    length, at = _compact(data, at)
    _, at = _take(data, at, length)
    if at != len(data):
        raise NotEvidence(f"a dstack file of {at} bytes, found {len(data)}")
    return document


def _compact(data: bytes, at: int) -> tuple[int, int]:
    """A SCALE length and the place behind it."""
    size = 1 << (data[at] & 3) if at < len(data) else 1
    if size > 4 or at + size > len(data):
        raise NotEvidence(f"a dstack file has a length at byte {at}, found {data[at : at + size].hex() or 'its end'}")
    return int.from_bytes(data[at : at + size], "little") >> 2, at + size


def _take(data: bytes, at: int, length: int) -> tuple[bytes, int]:
    if at + length > len(data):
        raise NotEvidence(f"a dstack file has {length} bytes at byte {at}, found {len(data) - at}")
    return data[at : at + length], at + length
