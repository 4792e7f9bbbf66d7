"""A measurement report of an NVIDIA device: SPDM 1.1 GET_MEASUREMENTS and its answer (DMTF DSP0274 1.1.0, 10.11).

    request   37 bytes: version, code E0, param1 (1, signed), param2 (FF, all), nonce (32, the verifier's), slot
    response  version, code 60, two bytes of zero, count (1), length (3), blocks, nonce (32, the device's own),
              length (2), opaque data (:mod:`sealmarket.attestation.nvidia.opaque`), signature (96)
    block     index (1, from 1), specification (1), size (2), value type (1), value size (2), value (48)

The signature is ECDSA P-384 with SHA-384 over everything before it, ``r || s`` big-endian; other integers are
little-endian. :func:`read_report` refuses what these devices never write: a block out of its place, a field twice, a
byte behind the signature. Both ``s`` and ``n - s`` verify: what names a report is the digest of what was signed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sealmarket.attestation.core.errors import refuse
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.nvidia.opaque import Opaque, read_opaque

REQUEST_SIZE, NONCE_SIZE, MEASUREMENT_SIZE, SIGNATURE_SIZE = 37, 32, 48, 96
P384_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
REQUEST_START = b"\x11\xe0\x01\xff"
RESPONSE_START = b"\x11\x60\x00\x00"

_NONCE = slice(4, 36)
_BLOCK_SIZE = 4 + 3 + MEASUREMENT_SIZE
_BLOCK_START = b"\x01\x33\x00\x01\x30\x00"
"""DMTF's specification, 51 bytes of value, of type 1 (mutable firmware) with 48 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NvidiaReport:
    """The fields of a report. ``measurements[i]`` has the SPDM index ``i + 1``; ``signed`` is what is signed."""

    nonce: bytes
    measurements: tuple[bytes, ...]
    opaque: Opaque
    signed: bytes
    r: int
    s: int

    def claims(self) -> Mapping[str, Any]:
        """The fields as JSON values."""
        return {
            "nonce": self.nonce.hex(),
            "measurements": [value.hex() for value in self.measurements],
            **self.opaque.claims(),
        }


def read_report(raw: bytes) -> NvidiaReport:
    """Read a report.

    Raises:
        EvidenceRefused: not the layout above, to the last byte.
    """
    if raw[:4] != REQUEST_START or raw[36:REQUEST_SIZE] not in (b"\0", b""):
        found = raw[:4].hex() + raw[36:REQUEST_SIZE].hex()
        refuse(Reason.UNSUPPORTED_FORMAT, "an SPDM 1.1 request of all measurements, signed, of slot 0", found)
    if raw[REQUEST_SIZE : REQUEST_SIZE + 4] != RESPONSE_START[: max(len(raw) - REQUEST_SIZE, 0)]:
        found = raw[REQUEST_SIZE : REQUEST_SIZE + 4].hex()
        refuse(Reason.UNSUPPORTED_FORMAT, f"an SPDM 1.1 answer {RESPONSE_START.hex()}", found)
    at = REQUEST_SIZE + 4
    header, at = _take(raw, at, 4, "count and length of the measurements")
    record, at = _take(raw, at, int.from_bytes(header[1:], "little"), "measurements")
    _, at = _take(raw, at, NONCE_SIZE, "the device's nonce")
    length, at = _take(raw, at, 2, "length of the opaque data")
    opaque, at = _take(raw, at, int.from_bytes(length, "little"), "opaque data")
    signature, end = _take(raw, at, SIGNATURE_SIZE, "signature")
    if len(raw) != end:
        refuse(Reason.TRAILING_BYTES, f"{end} bytes, as the report's own lengths say", len(raw))
    r, s = _read_signature(signature)
    return NvidiaReport(
        nonce=raw[_NONCE],
        measurements=_read_blocks(record, header[0]),
        opaque=read_opaque(opaque),
        signed=raw[:at],
        r=r,
        s=s,
    )


def _take(raw: bytes, at: int, size: int, name: str) -> tuple[bytes, int]:
    if len(raw) < at + size:
        refuse(Reason.TRUNCATED, f"{size} bytes of {name} at byte {at}", max(len(raw) - at, 0))
    return raw[at : at + size], at + size


def _read_blocks(record: bytes, count: int) -> tuple[bytes, ...]:
    if count == 0 or len(record) != count * _BLOCK_SIZE:
        wanted = f"1 to 255 blocks of {_BLOCK_SIZE} bytes, as many as the report counts"
        refuse(Reason.MALFORMED, wanted, f"{len(record)} bytes for {count} blocks")
    values = []
    for number in range(count):
        block = record[number * _BLOCK_SIZE : (number + 1) * _BLOCK_SIZE]
        if block[0] != number + 1:
            refuse(Reason.MALFORMED, f"the measurement with index {number + 1}, each once and in order", block[0])
        if block[1:7] != _BLOCK_START:
            refuse(Reason.MALFORMED, f"a measurement that starts with {_BLOCK_START.hex()}", block[1:7].hex())
        values.append(block[7:])
    return tuple(values)


def _read_signature(raw: bytes) -> tuple[int, int]:
    values = []
    for name, half in (("r", raw[:48]), ("s", raw[48:])):
        value = int.from_bytes(half, "big")
        if not 0 < value < P384_ORDER:
            refuse(Reason.NON_CANONICAL, f"{name} big-endian, between 1 and the order of P-384", half.hex())
        values.append(value)
    return values[0], values[1]


def versions_of(report: NvidiaReport) -> tuple[str, ...]:
    """What needs a manifest: driver and VBIOS; a switch has no driver."""
    return tuple(version for version in (report.opaque.driver, report.opaque.vbios) if version)
