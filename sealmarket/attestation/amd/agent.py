"""The bytes of a report that an agent took apart into JSON (``AttestationReport`` of the Rust crate ``sev``).

Two layouts exist: with reserved fields and a version in three fields (up to 4), and without reserved fields, with
optional ones of later versions (from 6). Whatever a field leaves unsaid is zero. What is put together wrongly is
refused later, by the signature over the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sealmarket.attestation.amd.extended import MAXIMUM_ENTRIES
from sealmarket.attestation.amd.report import REPORT_SIZE
from sealmarket.attestation.core.encoding import sized
from sealmarket.attestation.core.errors import NotEvidence
from sealmarket.attestation.core.evidence import Evidence, certificates_in
from sealmarket_enclave.protocol.numbers import Tee

_NUMBERS = {
    "version": (0x000, 4),
    "guest_svn": (0x004, 4),
    "policy": (0x008, 8),
    "vmpl": (0x030, 4),
    "sig_algo": (0x034, 4),
    "plat_info": (0x040, 8),
    "key_info": (0x048, 4),
    "_author_key_en": (0x048, 4),
    "_reserved_0": (0x04C, 4),
    "cpuid_fam_id": (0x188, 1),
    "cpuid_mod_id": (0x189, 1),
    "cpuid_step": (0x18A, 1),
    "current_build": (0x1E8, 1),
    "current_minor": (0x1E9, 1),
    "current_major": (0x1EA, 1),
    "_reserved_2": (0x1EB, 1),
    "committed_build": (0x1EC, 1),
    "committed_minor": (0x1ED, 1),
    "committed_major": (0x1EE, 1),
    "_reserved_3": (0x1EF, 1),
    "launch_mit_vector": (0x1F8, 8),
    "current_mit_vector": (0x200, 8),
}
_BYTES = {
    "family_id": (0x010, 16),
    "image_id": (0x020, 16),
    "report_data": (0x050, 64),
    "measurement": (0x090, 48),
    "host_data": (0x0C0, 32),
    "id_key_digest": (0x0E0, 48),
    "author_key_digest": (0x110, 48),
    "report_id": (0x140, 32),
    "report_id_ma": (0x160, 32),
    "_reserved_1": (0x188, 24),
    "chip_id": (0x1A0, 64),
    "_reserved_4": (0x1F8, 168),
}
_TCBS = {"current_tcb": 0x038, "reported_tcb": 0x180, "committed_tcb": 0x1E0, "launch_tcb": 0x1F0}
_VERSIONS = {"current": 0x1E8, "committed": 0x1EC}
_SIGNATURE_AT = 0x2A0
_NO_CERTIFICATES = ("CRL", "Empty")
_FIELDS = {*_NUMBERS, *_BYTES, *_TCBS, *_VERSIONS, "signature"}
_REQUIRED = {
    "version",
    "policy",
    "report_data",
    "measurement",
    "current_tcb",
    "reported_tcb",
    "committed_tcb",
    "launch_tcb",
    "chip_id",
    "signature",
}


def read_document(document: Mapping[str, Any]) -> Evidence | None:
    """Trustee's ``{"attestation_report", "cert_chain"}``; None for another document.

    Raises:
        NotEvidence: a field is missing, not known, or out of its range.
    """
    if "attestation_report" not in document:
        return None
    chain = document.get("cert_chain") or []
    if not isinstance(chain, list) or len(chain) > MAXIMUM_ENTRIES or not all(map(_is_entry, chain)):
        raise NotEvidence(f"cert_chain is a list of at most {MAXIMUM_ENTRIES} objects with cert_type and data")
    entries = [entry for entry in chain if entry.get("cert_type") not in _NO_CERTIFICATES]
    found = [certificate for entry in entries for certificate in certificates_in(entry["data"], "cert_chain")]
    raw = report_of(document["attestation_report"])
    return Evidence(tee=Tee.SNP, raw=raw, certificates=tuple(found), source="trustee")


def _is_entry(value: object) -> bool:
    return isinstance(value, dict) and "data" in value


def report_of(document: object) -> bytes:
    """The bytes of a report that an agent took apart.

    Raises:
        NotEvidence: a field is missing, not known, or out of its range.
    """
    fields = _object(document, "attestation_report", _REQUIRED, _FIELDS)
    raw = bytearray(REPORT_SIZE)
    for name, value in fields.items():
        if value is not None:
            _put(raw, name, value)
    return bytes(raw)


def _put(raw: bytearray, name: str, value: object) -> None:
    if name in _NUMBERS:
        at, size = _NUMBERS[name]
        found = _number(value, size, name)
    elif name in _BYTES:
        at, size = _BYTES[name]
        found = sized(value, size, name)
    elif name in _TCBS:
        at, found = _TCBS[name], _tcb(value, name)
    elif name in _VERSIONS:
        at, found = _VERSIONS[name], _version(value, name)
    else:
        at, found = _SIGNATURE_AT, _signature(value)
    raw[at : at + len(found)] = found


def _object(value: object, name: str, required: set[str], known: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise NotEvidence(f"{name} is an object")
    if wrong := sorted((required - set(value)) | (set(value) - known)):
        raise NotEvidence(f"{name} is not of a shape that is known: {', '.join(wrong)[:200]} missing or not known")
    return value


def _number(value: object, size: int, name: str) -> bytes:
    if type(value) is not int or not 0 <= value < 1 << 8 * size:
        raise NotEvidence(f"{name} is a number below 2^{8 * size}")
    return value.to_bytes(size, "little")


def _tcb(value: object, name: str) -> bytes:
    """Eight bytes (ABI 2.2). Turin puts FMC first; earlier generations have none."""
    parts = {"bootloader", "tee", "snp", "microcode"}
    fields = _object(value, name, parts, {*parts, "fmc", "_reserved"})
    levels = {part: _number(fields[part], 1, f"{name}.{part}") for part in parts}
    head, tail = levels["bootloader"] + levels["tee"], levels["snp"] + levels["microcode"]
    if fields.get("fmc") is not None:
        fmc = _number(fields["fmc"], 1, f"{name}.fmc")
        return fmc + head + levels["snp"] + bytes(3) + levels["microcode"]
    return head + sized(fields.get("_reserved", [0] * 4), 4, f"{name}._reserved") + tail


def _version(value: object, name: str) -> bytes:
    parts = ("build", "minor", "major")
    fields = _object(value, name, set(parts), set(parts))
    return b"".join(_number(fields[part], 1, f"{name}.{part}") for part in parts)


def _signature(value: object) -> bytes:
    fields = _object(value, "signature", {"r", "s"}, {"r", "s", "_reserved"})
    rest = sized(fields["_reserved"], 368, "signature._reserved") if "_reserved" in fields else b""
    return sized(fields["r"], 72, "signature.r") + sized(fields["s"], 72, "signature.s") + rest
