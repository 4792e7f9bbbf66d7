"""The bytes of AMD SEV-SNP evidence: reports, TCB versions, and the extensions of a VCEK or VLEK.

Encoding only (SEV-SNP firmware ABI 1.58, AMD 57230). Everything is little-endian, the signature as well.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from sealmarket_devices import der

AMD_OID = "1.3.6.1.4.1.3704.1."
VCEK, VLEK = 0, 1
_SPL = (("bootloader", "3.1"), ("tee", "3.2"), ("snp", "3.3"), ("microcode", "3.8"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TcbLevels:
    """Firmware levels; ``fmc`` is None before Turin."""

    bootloader: int = 10
    tee: int = 0
    snp: int = 23
    microcode: int = 84
    fmc: int | None = None

    def pack(self) -> bytes:
        """TCB_VERSION in the generation's layout."""
        if self.fmc is None:
            return bytes([self.bootloader, self.tee, 0, 0, 0, 0, self.snp, self.microcode])
        return bytes([self.fmc, self.bootloader, self.tee, self.snp, 0, 0, 0, self.microcode])


@dataclass(frozen=True, slots=True, kw_only=True)
class AmdReport:
    """An attestation report before it is signed."""

    version: int = 3
    guest_svn: int = 0
    policy: int = 0x3_0000
    family_id: bytes = bytes(16)
    image_id: bytes = bytes(16)
    vmpl: int = 0
    signature_algorithm: int = 1
    current_tcb: bytes = TcbLevels().pack()
    platform_info: int = 0x24
    flags: int = VCEK << 2
    report_data: bytes = bytes(64)
    measurement: bytes = bytes(48)
    host_data: bytes = bytes(32)
    id_key_digest: bytes = bytes(48)
    author_key_digest: bytes = bytes(48)
    report_id: bytes = bytes(32)
    report_id_ma: bytes = b"\xff" * 32
    reported_tcb: bytes = TcbLevels().pack()
    cpuid: bytes = b"\x19\x11\x01"
    chip_id: bytes = bytes(64)
    committed_tcb: bytes = TcbLevels().pack()
    firmware: bytes = b"\x28\x37\x01\x00"
    launch_tcb: bytes = TcbLevels().pack()
    mitigation_vectors: tuple[int, int] = (0, 0)

    def pack(self) -> bytes:
        """The 0x2A0 bytes that are signed."""
        return b"".join(
            (
                struct.pack("<IIQ", self.version, self.guest_svn, self.policy),
                self.family_id,
                self.image_id,
                struct.pack("<II", self.vmpl, self.signature_algorithm),
                self.current_tcb,
                struct.pack("<QII", self.platform_info, self.flags, 0),
                self.report_data,
                self.measurement,
                self.host_data,
                self.id_key_digest,
                self.author_key_digest,
                self.report_id,
                self.report_id_ma,
                self.reported_tcb,
                self.cpuid,
                bytes(21),
                self.chip_id,
                self.committed_tcb,
                self.firmware,
                self.firmware,
                self.launch_tcb,
                struct.pack("<QQ", *self.mitigation_vectors),
                bytes(0x98),
            )
        )


def sign_report(key: ec.EllipticCurvePrivateKey, signed: bytes) -> bytes:
    """The signature field, 512 bytes: R and S in 72 bytes each, little-endian, then zeros."""
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA384())))
    return (r.to_bytes(72, "little") + s.to_bytes(72, "little")).ljust(512, b"\0")


def leaf_extensions(
    product_name: str, tcb: TcbLevels, *, hwid: bytes | None = None, csp: str | None = None
) -> tuple[x509.UnrecognizedExtension, ...]:
    """The AMD extensions of a VCEK (``hwid``) or VLEK (``csp``)."""
    values = {
        "1": der.integer(0 if tcb.fmc is None else 1),
        "2": der.ia5_string(product_name),
        **{suffix: der.integer(getattr(tcb, name)) for name, suffix in _SPL},
    }
    if tcb.fmc is not None:
        values["3.9"] = der.integer(tcb.fmc)
    if hwid is not None:
        values["4"] = hwid
    if csp is not None:
        values["5"] = der.ia5_string(csp)
    return tuple(
        x509.UnrecognizedExtension(x509.ObjectIdentifier(AMD_OID + suffix), value) for suffix, value in values.items()
    )
