"""The bytes of an NVIDIA measurement report as a device writes them: SPDM 1.1, opaque fields, FWID extension.

The layout is that of :mod:`sealmarket.attestation.nvidia.report`, written from the side of the device. Values are what
a test or a virtual device asks for, right or wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from sealmarket_devices.der import integer, octets, oid, sequence, tagged

REQUEST_START, RESPONSE_START = b"\x11\xe0\x01\xff", b"\x11\x60\x00\x00"
BLOCK_START = b"\x01\x33\x00\x01\x30\x00"
COMPOSITE_DEVICE_ID, DICE_TCB_INFO, SHA384_OID = "2.23.133.5.4.1", "2.23.133.5.4.1.1", "2.16.840.1.101.3.4.2.2"
DRIVER, VBIOS, NVDEC, CHIP_SKU, PROJECT, PROJECT_SKU, FWID = 3, 6, 11, 15, 17, 18, 20
PROTECTED_PCIE, SWITCH_PDI, CHIP_INFO, FEATURE_FLAG = 21, 22, 35, 36
ON, OFF = b"\xaa", b"\x55"
_P384_BYTES = 48
_FWIDS = 6


def gpu_fields(driver: str, vbios: str, fwid: bytes | None, feature: int, chip: str = "") -> dict[int, bytes]:
    """The opaque fields of a GPU: ``vbios`` as ``96.00.9F.00.01``, ``feature`` 0 (spt), 1 (mpt) or 2 (ppcie)."""
    parts = bytes.fromhex(vbios.replace(".", ""))
    fields = {
        VBIOS: parts[3::-1] + parts[4:5] + bytes(3),
        CHIP_SKU: b"882\0",
        PROJECT: b"1010\0",
        PROJECT_SKU: b"0200\0",
        DRIVER: driver.encode() + b"\0",
        NVDEC: OFF,
        PROTECTED_PCIE: ON if feature == 2 else OFF,
        FEATURE_FLAG: feature.to_bytes(2, "little"),
    }
    if fwid is not None:
        fields[FWID] = fwid
    if chip:
        fields[CHIP_INFO] = chip.encode() + b"\0"
    return fields


def switch_fields(vbios: str, pdi: bytes) -> dict[int, bytes]:
    """The opaque fields of a switch with its identity of 8 bytes."""
    return {VBIOS: vbios.encode(), SWITCH_PDI: pdi}


@dataclass(frozen=True, slots=True, kw_only=True)
class NvidiaFields:
    """One report before it is signed; ``opaque`` is a list, so that a field may stand twice."""

    nonce: bytes
    measurements: Sequence[bytes]
    opaque: Sequence[tuple[int, bytes]]
    device_nonce: bytes = field(default=b"\xd0" * 32)
    request_start: bytes = REQUEST_START
    response_start: bytes = RESPONSE_START
    slot: int = 0

    def pack(self) -> bytes:
        """Request and response without the signature: what is signed."""
        record = b"".join(
            bytes([number]) + BLOCK_START + value for number, value in enumerate(self.measurements, start=1)
        )
        opaque = b"".join(
            kind.to_bytes(2, "little") + len(value).to_bytes(2, "little") + value for kind, value in self.opaque
        )
        return b"".join(
            (
                self.request_start,
                self.nonce,
                bytes([self.slot]),
                self.response_start,
                bytes([len(self.measurements)]),
                len(record).to_bytes(3, "little"),
                record,
                self.device_nonce,
                len(opaque).to_bytes(2, "little"),
                opaque,
            )
        )


def sign(key: ec.EllipticCurvePrivateKey, signed: bytes) -> bytes:
    """``r || s``, 48 bytes each, big-endian."""
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(SHA384())))
    return r.to_bytes(_P384_BYTES) + s.to_bytes(_P384_BYTES)


def fwid_extension(*fwids: bytes, kind: str = COMPOSITE_DEVICE_ID) -> x509.UnrecognizedExtension:
    """The firmware's hash in a leaf, as Hopper (one) or Blackwell (several) carries it."""
    coded = [sequence(oid(SHA384_OID), octets(fwid)) for fwid in fwids]
    if kind == COMPOSITE_DEVICE_ID:
        content = sequence(integer(1), sequence(), *coded)
    else:
        content = sequence(tagged(_FWIDS, *coded))
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(kind), content)
