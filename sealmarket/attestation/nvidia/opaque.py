"""The opaque data of a report: NVIDIA's fields, each ``type (2) || length (2) || value``, little-endian.

The signature covers all of it. Fields of types that are not known here are kept for display: newer drivers add some,
and nothing is decided by them. A field that decides something has one length, and stands once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sealmarket.attestation.core.errors import refuse
from sealmarket.attestation.core.reasons import Reason

Mode = Literal["spt", "mpt", "ppcie"]
MODES: tuple[Mode, ...] = ("spt", "mpt", "ppcie")
"""One GPU for one tenant; several GPUs with encrypted links; several with switches that are trusted (FEATURE_FLAG)."""

_DRIVER, _VBIOS, _NVDEC, _CHIP_SKU, _PROJECT, _PROJECT_SKU = 3, 6, 11, 15, 17, 18
_FWID, _PROTECTED_PCIE, _PDI, _CHIP, _FEATURE = 20, 21, 22, 35, 36
_SIZES = {
    _VBIOS: (8, 14),
    _NVDEC: (1,),
    _FWID: (48,),
    _PROTECTED_PCIE: (1,),
    _PDI: (8, 144),
    _FEATURE: (2,),
}
_ON, _OFF = b"\xaa", b"\x55"
_PDI_SIZE, _LONGEST_TEXT = 8, 32
_TEXT = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opaque:
    """The fields that verification uses, and all others as bytes by type.

    ``driver`` is empty and ``mode`` None on a switch. ``switches`` are a GPU's links, ``pdi`` a switch's own identity,
    each 8 bytes as the report writes them (a GPU writes a switch's in reverse). ``project`` is project, project SKU and
    chip SKU, which name a VBIOS beside its version.
    """

    driver: str
    vbios: str
    project: tuple[str, str, str]
    chip: str
    fwid: bytes | None
    nvdec_on: bool
    mode: Mode | None
    switches: tuple[bytes, ...]
    pdi: bytes | None
    others: Mapping[int, bytes]

    @property
    def is_switch(self) -> bool:
        """Whether this is a report of a switch: it has an identity of its own and no driver."""
        return self.pdi is not None

    def claims(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {
            "kind": "switch" if self.is_switch else "gpu",
            "driver": self.driver,
            "vbios": self.vbios,
            "project": list(self.project),
            "chip": self.chip,
            "fwid": self.fwid.hex() if self.fwid else None,
            "nvdec": self.nvdec_on,
            "mode": self.mode,
            "switch_identities": [pdi.hex() for pdi in self.switches],
            "switch_identity": self.pdi.hex() if self.pdi else None,
            "opaque_fields": {str(kind): value.hex() for kind, value in sorted(self.others.items())},
        }


def read_opaque(raw: bytes) -> Opaque:
    """Read the opaque data.

    Raises:
        EvidenceRefused: fields that do not fill it, a field twice, of another length, or that contradict each other.
    """
    fields = _read_fields(raw)
    vbios = fields.get(_VBIOS)
    if vbios is None:
        refuse(Reason.MALFORMED, f"the VBIOS version, field {_VBIOS}", "none")
    pdi = fields.get(_PDI, b"")
    of_switch = len(pdi) == _PDI_SIZE
    if of_switch == (_DRIVER in fields) or of_switch != (len(vbios) == 14):
        found = f"fields {sorted(fields)}, VBIOS of {len(vbios)} bytes"
        refuse(Reason.MALFORMED, "the fields of a GPU with its driver, or of a switch with its identity", found)
    return Opaque(
        driver=_text(fields, _DRIVER),
        vbios=_text(fields, _VBIOS) if of_switch else _gpu_vbios(vbios),
        project=(_text(fields, _PROJECT), _text(fields, _PROJECT_SKU), _text(fields, _CHIP_SKU)),
        chip=_text(fields, _CHIP),
        fwid=fields.get(_FWID),
        nvdec_on=_flag(fields, _NVDEC),
        mode=None if of_switch else _mode(fields),
        switches=() if of_switch else tuple(pdi[i : i + _PDI_SIZE] for i in range(0, len(pdi), _PDI_SIZE)),
        pdi=pdi if of_switch else None,
        others={kind: value for kind, value in fields.items() if kind not in _KNOWN},
    )


_KNOWN = frozenset((_DRIVER, _VBIOS, _NVDEC, _CHIP_SKU, _PROJECT, _PROJECT_SKU, _FWID, _PDI, _CHIP, _FEATURE))


def _read_fields(raw: bytes) -> dict[int, bytes]:
    fields: dict[int, bytes] = {}
    at = 0
    while at < len(raw):
        kind, size = int.from_bytes(raw[at : at + 2], "little"), int.from_bytes(raw[at + 2 : at + 4], "little")
        value = raw[at + 4 : at + 4 + size]
        if len(raw) < at + 4 + size:
            refuse(Reason.MALFORMED, f"an opaque field of {size} bytes at byte {at}", f"{len(raw) - at} bytes")
        if kind in fields:
            refuse(Reason.MALFORMED, "each opaque field once", f"field {kind} twice")
        if size not in _SIZES.get(kind, (size,)):
            refuse(Reason.MALFORMED, f"opaque field {kind} of {_SIZES[kind]} bytes", size)
        fields[kind] = value
        at += 4 + size
    return fields


def _text(fields: Mapping[int, bytes], kind: int) -> str:
    """Text without the zeros behind it; empty where the field is absent."""
    value = fields.get(kind, b"").rstrip(b"\0")
    if len(value) > _LONGEST_TEXT or not _TEXT.issuperset(value):
        refuse(Reason.MALFORMED, f"at most {_LONGEST_TEXT} letters and digits in field {kind}", value.hex()[:128])
    return value.decode("ascii")


def _gpu_vbios(raw: bytes) -> str:
    """``96.00.9F.00.01``: a word and a byte, both little-endian, and zeros behind them."""
    if any(raw[5:]):
        refuse(Reason.MALFORMED, "a VBIOS version of five bytes and three zeros", raw.hex())
    return ".".join(f"{byte:02X}" for byte in (*raw[3::-1], raw[4]))


def _flag(fields: Mapping[int, bytes], kind: int) -> bool:
    value = fields.get(kind, _OFF)
    if value not in (_ON, _OFF):
        refuse(Reason.MALFORMED, f"{_ON.hex()} (on) or {_OFF.hex()} (off) in field {kind}", value.hex())
    return value == _ON


def _mode(fields: Mapping[int, bytes]) -> Mode:
    """By FEATURE_FLAG; older drivers only say whether it is protected PCIe. Where both are there they agree."""
    protected = _flag(fields, _PROTECTED_PCIE)
    if _FEATURE not in fields:
        return "ppcie" if protected else "spt"
    number = int.from_bytes(fields[_FEATURE], "little")
    if number >= len(MODES):
        refuse(Reason.UNSUPPORTED_FORMAT, f"a mode of {', '.join(MODES)}", number)
    if _PROTECTED_PCIE in fields and protected != (MODES[number] == "ppcie"):
        found = f"mode {MODES[number]}, protected PCIe {'on' if protected else 'off'}"
        refuse(Reason.MALFORMED, "one mode in both of its fields", found)
    return MODES[number]
