"""The launch digest of an SEV-SNP guest, computed from what QEMU is given (SEV-SNP firmware ABI 1.58, 8.17.2).

An owner who allows a measurement can compute it from the firmware, kernel, initial disk and command line. The digest is
a chain over pages, in this order:

1. the firmware's pages, which end at 4 GiB;
2. the sections that the firmware's own metadata names: zero pages, secrets, CPUID, kernel hashes;
3. one VMSA page for each virtual CPU, with the registers that QEMU sets.

Held against ``sev-snp-measure`` by a differential test. Only QEMU's initial registers are known here.

    SealmarketError
    └── LaunchNotMeasurable      firmware without the metadata that a measured launch needs
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256, sha384
from uuid import UUID

from sealmarket_enclave.protocol.codec import Bytes48
from sealmarket_enclave.protocol.errors import SealmarketError

PAGE = 4096
_FOUR_GIB = 1 << 32
_VMSA_ADDRESS = 0xFFFFFFFFF000
_PAGE_INFO = 0x70
_NORMAL, _VMSA, _ZERO, _SECRETS, _CPUID = 1, 2, 3, 5, 6
_MAXIMUM_SECTION = 1 << 28

# Sections of the firmware's metadata (edk2, OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm).
_SEC_MEM, _SEC_SECRETS, _SEC_CPUID, _SEC_SVSM_CAA, _SEC_KERNEL_HASHES = 1, 2, 3, 4, 0x10

_FOOTER = UUID("96b582de-1fb2-45f7-baea-a366c55a082d")
_HASH_TABLE_ADDRESS = UUID("7255371f-3a3b-4b04-927b-1da6efa8d454")
_RESET_BLOCK = UUID("00f771de-1a7e-4fcb-890e-68c77e2fb44e")
_SEV_METADATA = UUID("dc886566-984a-4798-a75e-5585a7bf67cc")
_HASH_TABLE = UUID("9438d606-4f22-4cc9-b479-a793d411fd21")
_HASH_ENTRIES = (
    UUID("97d02dd8-bd20-4c94-aa78-e7714d36ab2a"),
    UUID("44baf731-3a2f-4bd7-9af1-41e29169781d"),
    UUID("4de79437-abd2-427f-b835-d5b172d2045b"),
)
"""Of the command line, the initial disk and the kernel, in this order."""

CPU_SIGNATURES = {"EPYC-Milan": 0x00A00F11, "EPYC-Genoa": 0x00A10F10, "EPYC-Turin": 0x00B00F00}
"""CPUID Fn0000_0001_EAX of QEMU's CPU models (AMD 25481)."""


class LaunchNotMeasurable(SealmarketError):
    """A launch digest cannot be computed from this firmware."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """What QEMU is given. Without ``kernel`` the firmware boots from a disk, which the digest does not cover.

    ``features`` is SEV_FEATURES of the VMSA (1: SNP active). ``cpu`` is one of :data:`CPU_SIGNATURES`.
    """

    firmware: bytes
    cpus: int
    cpu: str
    kernel: bytes | None = None
    initial_disk: bytes = b""
    command_line: str = ""
    features: int = 1


def launch_digest(guest: Guest) -> Bytes48:
    """The launch digest that the guest's report will carry.

    Raises:
        LaunchNotMeasurable: the firmware is not made for SNP, or takes no kernel hashes though there is a kernel.
    """
    if not 1 <= guest.cpus <= 4096 or guest.cpu not in CPU_SIGNATURES:
        raise LaunchNotMeasurable(
            f"expected 1 to 4096 CPUs of {', '.join(CPU_SIGNATURES)}, found {guest.cpus} of {guest.cpu!r}"
        )
    firmware = _Firmware(guest.firmware)
    if guest.kernel is not None and not firmware.has(_SEC_KERNEL_HASHES):
        raise LaunchNotMeasurable(
            "there is a kernel, but the firmware takes no kernel hashes", remedy="build the AmdSev package of OVMF"
        )
    digest = _Digest()
    digest.pages(_NORMAL, firmware.address, guest.firmware)
    for section in firmware.sections:
        _measure_section(digest, section, firmware, guest)
    for cpu in range(guest.cpus):
        entry = _BOOT_ENTRY if cpu == 0 else firmware.reset_entry
        digest.page(_VMSA, _VMSA_ADDRESS, sha384(_save_area(entry, guest)).digest())
    return Bytes48(digest.value)


class _Digest:
    """The chain: SHA-384 over PAGE_INFO (ABI 8.17.2, table 67), which begins with the digest so far."""

    def __init__(self) -> None:
        self.value = bytes(48)

    def page(self, kind: int, address: int, contents: bytes = bytes(48)) -> None:
        info = self.value + contents + struct.pack("<HBBBBBBQ", _PAGE_INFO, kind, 0, 0, 0, 0, 0, address)
        self.value = sha384(info).digest()

    def pages(self, kind: int, address: int, data: bytes) -> None:
        for offset in range(0, len(data), PAGE):
            self.page(kind, address + offset, sha384(data[offset : offset + PAGE]).digest())

    def zeros(self, address: int, size: int) -> None:
        for offset in range(0, size, PAGE):
            self.page(_ZERO, address + offset)


@dataclass(frozen=True, slots=True)
class _Section:
    address: int
    size: int
    kind: int


def _measure_section(digest: _Digest, section: _Section, firmware: _Firmware, guest: Guest) -> None:
    if section.kind == _SEC_SECRETS:
        digest.page(_SECRETS, section.address)
    elif section.kind == _SEC_CPUID:
        digest.page(_CPUID, section.address)
    elif section.kind == _SEC_KERNEL_HASHES and guest.kernel is not None:
        digest.pages(_NORMAL, section.address, _hash_page(guest, firmware.hash_table_offset))
    else:
        digest.zeros(section.address, section.size)


class _Firmware:
    """An OVMF image: where it lies, its table of GUIDed entries, and the sections that it wants measured."""

    def __init__(self, data: bytes) -> None:
        if not data or len(data) % PAGE or len(data) > _MAXIMUM_SECTION:
            raise LaunchNotMeasurable(f"firmware has whole pages of {PAGE} bytes, found {len(data)} bytes")
        self.address = _FOUR_GIB - len(data)
        self._table = dict(_entries(data))
        self.sections = list(self._read_sections(data))

    @property
    def reset_entry(self) -> int:
        """Where all CPUs but the first start."""
        return self._word(_RESET_BLOCK, "a reset block for further CPUs")

    @property
    def hash_table_offset(self) -> int:
        """Where in its page the table of kernel hashes lies."""
        return self._word(_HASH_TABLE_ADDRESS, "a place for kernel hashes") % PAGE

    def has(self, kind: int) -> bool:
        """Whether a section of this kind is there."""
        return any(section.kind == kind for section in self.sections)

    def _word(self, name: UUID, what: str) -> int:
        raw = self._table.get(name, b"")[:4]
        if len(raw) != 4:
            raise LaunchNotMeasurable(f"the firmware has no {what}", remedy="use firmware built for SEV-SNP")
        return int.from_bytes(raw, "little")

    def _read_sections(self, data: bytes) -> Iterator[_Section]:
        start = len(data) - self._word(_SEV_METADATA, "SEV metadata")
        header = data[max(start, 0) : max(start, 0) + 16]
        if start < 0 or len(header) != 16 or header[:4] != b"ASEV" or header[8:12] != b"\1\0\0\0":
            raise LaunchNotMeasurable("the firmware's SEV metadata is not of version 1")
        (count,) = struct.unpack_from("<I", header, 12)
        if start + 16 + 12 * count > len(data):
            raise LaunchNotMeasurable(f"the firmware's SEV metadata names {count} sections, more than fit")
        for i in range(count):
            section = _Section(*struct.unpack_from("<III", data, start + 16 + 12 * i))
            known = section.kind in (_SEC_MEM, _SEC_SECRETS, _SEC_CPUID, _SEC_SVSM_CAA, _SEC_KERNEL_HASHES)
            if not known or section.size % PAGE or section.size > _MAXIMUM_SECTION:
                raise LaunchNotMeasurable(f"a section of the firmware is not known or not whole pages: {section}")
            yield section


def _entries(data: bytes) -> Iterator[tuple[UUID, bytes]]:
    """The table below the reset vector, from its end: each entry is data, size u16, GUID."""
    footer = len(data) - 32 - 18
    size, name = struct.unpack_from("<H16s", data, footer)
    if UUID(bytes_le=name) != _FOOTER or not 18 <= size <= footer + 18:
        raise LaunchNotMeasurable("the firmware has no table of entries", remedy="use OVMF built for SEV-SNP")
    rest = data[footer + 18 - size : footer]
    while len(rest) >= 18:
        size, name = struct.unpack_from("<H16s", rest, len(rest) - 18)
        if not 18 <= size <= len(rest):
            raise LaunchNotMeasurable(f"an entry of the firmware's table has {size} bytes")
        yield UUID(bytes_le=name), rest[len(rest) - size : len(rest) - 18]
        rest = rest[: len(rest) - size]


def _hash_page(guest: Guest, offset: int) -> bytes:
    """The page in which QEMU passes the firmware the hashes of what it will load."""
    hashed = (guest.command_line.encode() + b"\0", guest.initial_disk, guest.kernel or b"")
    entries = b"".join(
        name.bytes_le + struct.pack("<H", 50) + sha256(value).digest()
        for name, value in zip(_HASH_ENTRIES, hashed, strict=True)
    )
    table = _HASH_TABLE.bytes_le + struct.pack("<H", 18 + len(entries)) + entries
    page = (bytes(offset) + table).ljust(PAGE, b"\0")
    if len(page) != PAGE:
        raise LaunchNotMeasurable(f"the firmware's place for kernel hashes, {offset:#x}, leaves no room")
    return page


_BOOT_ENTRY = 0xFFFFFFF0


def _save_area(entry: int, guest: Guest) -> bytes:
    """The VMSA of a CPU that starts at ``entry`` (AMD APM vol. 2, table B-4), as QEMU and KVM set it."""
    page = bytearray(PAGE)
    segments = (
        (0x000, 0, 0x93, 0xFFFF, 0),  # ES
        (0x010, 0xF000, 0x9B, 0xFFFF, entry & 0xFFFF0000),  # CS
        (0x020, 0, 0x93, 0xFFFF, 0),  # SS
        (0x030, 0, 0x93, 0xFFFF, 0),  # DS
        (0x040, 0, 0x93, 0xFFFF, 0),  # FS
        (0x050, 0, 0x93, 0xFFFF, 0),  # GS
        (0x060, 0, 0, 0xFFFF, 0),  # GDTR
        (0x070, 0, 0x82, 0xFFFF, 0),  # LDTR
        (0x080, 0, 0, 0xFFFF, 0),  # IDTR
        (0x090, 0, 0x8B, 0xFFFF, 0),  # TR
    )
    for offset, *segment in segments:
        struct.pack_into("<HHIQ", page, offset, *segment)
    registers = (
        (0x0D0, 0x1000),  # EFER.SVME
        (0x148, 0x40),  # CR4.MCE
        (0x158, 0x10),  # CR0
        (0x160, 0x400),  # DR7
        (0x168, 0xFFFF0FF0),  # DR6
        (0x170, 0x2),  # RFLAGS
        (0x178, entry & 0xFFFF),  # RIP
        (0x268, 0x7040600070406),  # PAT
        (0x310, CPU_SIGNATURES[guest.cpu]),  # RDX
        (0x3B0, guest.features),  # SEV_FEATURES
        (0x3E8, 0x1),  # XCR0
    )
    for offset, value in registers:
        struct.pack_into("<Q", page, offset, value)
    struct.pack_into("<I", page, 0x408, 0x1F80)  # MXCSR
    struct.pack_into("<H", page, 0x410, 0x37F)  # x87 FCW
    return bytes(page)
