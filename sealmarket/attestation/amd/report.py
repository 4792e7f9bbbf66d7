"""An SEV-SNP attestation report: its bytes and nothing else (SEV-SNP firmware ABI 1.58, table 23).

:func:`read_report` refuses what the ABI leaves no room for: another length, a version that is not known,
reserved bytes that are set, a signature that is not spelled as the firmware spells it. Both ``s`` and
``n - s`` verify, and genuine firmware emits either: what names a report is therefore the digest of what was
signed.

Integers are little-endian, the signature's as well (Intel's are big-endian).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from sealmarket.attestation.amd.measurement import SnpMeasurement
from sealmarket.attestation.core.errors import refuse
from sealmarket.attestation.core.model import Bytes8
from sealmarket.attestation.core.reasons import Reason
from sealmarket_enclave.protocol.codec import Bytes32, Bytes48

REPORT_SIZE = 0x4A0
SIGNED_SIZE = 0x2A0
VERSIONS = (2, 3, 4, 5)

VCEK, VLEK = 0, 1
_KEY_NAMES = {VCEK: "vcek", VLEK: "vlek"}

P384_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
_ECDSA_P384_SHA384 = 1
_HALF = 72
_NO_MIGRATION_AGENT = b"\xff" * 32

_LAYOUT = struct.Struct("<IIQ 16s16s II 8s QI 4x 64s48s32s 48s48s 32s32s 8s 3s21x 64s 8s 3sx 3sx 8s QQ")
"""Table 23 up to the mitigation vectors; what it skips is reserved and must be zero."""

# What must be zero in every version, then what is zero before a version gave it a meaning.
_RESERVED = ((0x04C, 0x050), (0x18B, 0x1A0), (0x1EB, 0x1EC), (0x1EF, 0x1F0), (0x208, 0x2A0))
_ZERO_BEFORE = ((3, 0x188, 0x18B), (5, 0x1F8, 0x208))
_ZERO = {
    version: (*_RESERVED, *((start, end) for since, start, end in _ZERO_BEFORE if version < since))
    for version in VERSIONS
}


@dataclass(frozen=True, slots=True)
class SnpTcbVersion:
    """Firmware levels of a platform, each 0 to 255. ``fmc`` exists since Turin."""

    bootloader: int
    tee: int
    snp: int
    microcode: int
    fmc: int = 0

    @classmethod
    @lru_cache(maxsize=1024)
    def read(cls, raw: bytes, *, turin: bool) -> SnpTcbVersion:
        """The TCB_VERSION of a generation (ABI 2.2): Turin put FMC first and moved the others by one."""
        if turin:
            return cls(fmc=raw[0], bootloader=raw[1], tee=raw[2], snp=raw[3], microcode=raw[7])
        return cls(bootloader=raw[0], tee=raw[1], snp=raw[6], microcode=raw[7])

    def as_tuple(self) -> tuple[int, int, int, int, int]:
        """All parts, for a key that is quick to hash."""
        return self.bootloader, self.tee, self.snp, self.microcode, self.fmc

    def reaches(self, floor: SnpTcbVersion) -> bool:
        """Whether no part is below the floor's."""
        return (
            self.fmc >= floor.fmc
            and self.bootloader >= floor.bootloader
            and self.tee >= floor.tee
            and self.snp >= floor.snp
            and self.microcode >= floor.microcode
        )

    @staticmethod
    def parts() -> tuple[str, ...]:
        """The names of the levels."""
        return ("fmc", "bootloader", "tee", "snp", "microcode")

    def __str__(self) -> str:
        return " ".join(f"{part}={getattr(self, part)}" for part in self.parts())

    def as_json(self) -> dict[str, int]:
        """By name."""
        return {part: getattr(self, part) for part in self.parts()}


class SnpReport(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a report. ``signed`` is what the signature covers; TCB versions stay raw, 8 bytes each."""

    version: int
    guest_svn: int
    policy: int
    family_id: bytes
    image_id: bytes
    vmpl: int
    platform_info: int
    author_key: bool
    chip_key_masked: bool
    signing_key: int
    report_data: bytes
    measurement: bytes
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    report_id: bytes
    report_id_ma: bytes
    current_tcb: bytes
    reported_tcb: bytes
    committed_tcb: bytes
    launch_tcb: bytes
    cpuid: tuple[int, int, int] | None
    chip_id: bytes
    current_version: tuple[int, int, int]
    committed_version: tuple[int, int, int]
    mitigation_vectors: tuple[int, int]
    signed: bytes
    r: int
    s: int

    @property
    def tuple(self) -> SnpMeasurement:
        """The typed measurement that policies list."""
        return SnpMeasurement(
            launch_digest=Bytes48(self.measurement),
            policy=Bytes8(self.policy.to_bytes(8, "little")),
            host_data=Bytes32(self.host_data),
            vmpl=self.vmpl,
        )

    @property
    def key_name(self) -> str:
        """``vcek`` or ``vlek``."""
        return _KEY_NAMES[self.signing_key]

    def claims(self) -> Mapping[str, Any]:
        """The fields as JSON values."""
        return {
            "report_version": self.version,
            "guest_svn": self.guest_svn,
            "policy": f"{self.policy:#x}",
            "family_id": self.family_id.hex(),
            "image_id": self.image_id.hex(),
            "vmpl": self.vmpl,
            "platform_info": f"{self.platform_info:#x}",
            "signing_key": self.key_name,
            "author_key": self.author_key,
            "launch_digest": self.measurement.hex(),
            "host_data": self.host_data.hex(),
            "id_key_digest": self.id_key_digest.hex(),
            "author_key_digest": self.author_key_digest.hex(),
            "report_id": self.report_id.hex(),
            "migration_agent": self.report_id_ma != _NO_MIGRATION_AGENT,
            "cpuid": list(self.cpuid) if self.cpuid else None,
            "chip_id": self.chip_id.hex(),
            "current_firmware": ".".join(map(str, self.current_version)),
            "committed_firmware": ".".join(map(str, self.committed_version)),
            "mitigation_vectors": [f"{vector:#x}" for vector in self.mitigation_vectors],
        }


def read_report(raw: bytes) -> SnpReport:
    """Read a report.

    Raises:
        EvidenceRefused: not the layout of a known version, to the last byte.
    """
    if len(raw) < REPORT_SIZE:
        refuse(Reason.TRUNCATED, f"{REPORT_SIZE} bytes", len(raw))
    if len(raw) > REPORT_SIZE:
        refuse(Reason.TRAILING_BYTES, f"{REPORT_SIZE} bytes", len(raw))
    fields = _LAYOUT.unpack_from(raw)
    version, guest_svn, policy, family_id, image_id, vmpl, algorithm, current_tcb, platform_info, flags = fields[:10]
    report_data, measurement, host_data, id_key_digest, author_key_digest, report_id, report_id_ma = fields[10:17]
    reported_tcb, cpuid, chip_id, committed_tcb, current_version, committed_version, launch_tcb = fields[17:24]
    signing_key = flags >> 2 & 7
    _check_known(version, algorithm, vmpl)
    _check_reserved(raw, version, flags)
    _check_signing_key(signing_key)
    r, s = _read_signature(raw[SIGNED_SIZE:])
    return SnpReport(
        version=version,
        guest_svn=guest_svn,
        policy=policy,
        family_id=family_id,
        image_id=image_id,
        vmpl=vmpl,
        platform_info=platform_info,
        author_key=bool(flags & 1),
        chip_key_masked=bool(flags & 2),
        signing_key=signing_key,
        report_data=report_data,
        measurement=measurement,
        host_data=host_data,
        id_key_digest=id_key_digest,
        author_key_digest=author_key_digest,
        report_id=report_id,
        report_id_ma=report_id_ma,
        current_tcb=current_tcb,
        reported_tcb=reported_tcb,
        committed_tcb=committed_tcb,
        launch_tcb=launch_tcb,
        cpuid=(cpuid[0], cpuid[1], cpuid[2]) if version >= 3 else None,
        chip_id=chip_id,
        current_version=(current_version[2], current_version[1], current_version[0]),
        committed_version=(committed_version[2], committed_version[1], committed_version[0]),
        mitigation_vectors=(fields[24], fields[25]),
        signed=raw[:SIGNED_SIZE],
        r=r,
        s=s,
    )


def _check_known(version: int, algorithm: int, vmpl: int) -> None:
    if version not in VERSIONS:
        refuse(Reason.UNSUPPORTED_FORMAT, f"report version {VERSIONS[0]} to {VERSIONS[-1]}", version)
    if algorithm != _ECDSA_P384_SHA384:
        refuse(Reason.UNSUPPORTED_FORMAT, "signature algorithm 1, ECDSA P-384 with SHA-384", algorithm)
    if vmpl > 3:
        refuse(Reason.SNP_VMPL, "a report that a guest asked for, VMPL 0 to 3", f"{vmpl:#x}")


def _check_signing_key(key: int) -> None:
    if key not in _KEY_NAMES:
        refuse(Reason.SNP_SIGNING_KEY, "a report signed by a VCEK (0) or VLEK (1)", key)


def _check_reserved(raw: bytes, version: int, flags: int) -> None:
    for start, end in _ZERO[version]:
        if raw[start:end].strip(b"\0"):
            refuse(Reason.MALFORMED, f"zero in the reserved bytes {start:#x}..{end - 1:#x}", raw[start:end].hex())
    if flags >> 5:
        refuse(Reason.MALFORMED, "zero in the reserved flags above bit 4", f"{flags:#x}")


def _read_signature(raw: bytes) -> tuple[int, int]:
    """R and S, each 72 bytes little-endian, then nothing: a changed tail would verify as well."""
    if raw[2 * _HALF :].strip(b"\0"):
        refuse(Reason.SNP_SIGNATURE_TAIL, "zero behind R and S", raw[2 * _HALF :].rstrip(b"\0").hex()[:64])
    values = []
    for name, half in (("R", raw[:_HALF]), ("S", raw[_HALF : 2 * _HALF])):
        value = int.from_bytes(half, "little")
        if not 0 < value < P384_ORDER:
            refuse(Reason.NON_CANONICAL, f"{name} little-endian, between 1 and the order of P-384", half.hex())
        values.append(value)
    return values[0], values[1]
