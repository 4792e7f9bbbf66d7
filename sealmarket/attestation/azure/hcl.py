"""The paravisor's report: its bytes and nothing else (Azure, "Guest attestation design", attestation report format).

A 32-byte header, 1,184 bytes of hardware report, a header of 20 bytes, then the runtime data in JSON, which the
hardware report's data commits to by SHA-256. Zeros fill the file to 2,600 bytes.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from sealmarket.attestation.core.errors import NotEvidence

MAGIC = b"HCLA"
SNP, TDX = 2, 4
"""Kinds of hardware report: an SNP report, or a TDREPORT, which only its own machine can check."""
_HEADER = struct.Struct("<4sIIII12x")
_RUNTIME = struct.Struct("<IIIII")
_HARDWARE = 1184
_RUNTIME_AT = _HEADER.size + _HARDWARE
_DATA_AT = _RUNTIME_AT + _RUNTIME.size
_SHA256 = 1
_MAXIMUM = 1 << 16


class HclReport(NamedTuple):
    """The kind of hardware report, its bytes, and the runtime data."""

    kind: int
    hardware: bytes
    runtime: bytes


def read_hcl(data: bytes) -> HclReport:
    """Read a paravisor's report.

    Raises:
        NotEvidence: not the layout, to the last byte that is not zero.
    """
    if not _DATA_AT <= len(data) <= _MAXIMUM:
        raise NotEvidence(f"an HCL report has {_DATA_AT} to {_MAXIMUM} bytes, found {len(data)}")
    magic, version, size, _, status = _HEADER.unpack_from(data)
    length, runtime_version, kind, hashed, runtime_length = _RUNTIME.unpack_from(data, _RUNTIME_AT)
    if magic != MAGIC or version not in (1, 2) or status != 0 or runtime_version != 1:
        raise NotEvidence(f"an HCL report of version 1 or 2, status 0, found version {version}, status {status}")
    if kind not in (SNP, TDX):
        raise NotEvidence(f"an HCL report holds type {SNP} (SNP) or {TDX} (TDX), found {kind}")
    if hashed != _SHA256:
        raise NotEvidence(f"an HCL report's runtime data is named by SHA-256 ({_SHA256}), found {hashed}")
    end = _DATA_AT + runtime_length
    if end > len(data):
        raise NotEvidence(f"the HCL report's runtime data has {runtime_length} bytes, found {len(data) - _DATA_AT}")
    if size != end or length != _RUNTIME.size + runtime_length:
        raise NotEvidence(
            f"an HCL report of {end} bytes with {runtime_length} of runtime data, it says {size}, {length}"
        )
    if data[end:].strip(b"\0"):
        raise NotEvidence(f"nothing but zeros behind the HCL report's {end} bytes")
    return HclReport(kind, data[_HEADER.size : _RUNTIME_AT], data[_DATA_AT:end])
