"""What a VCEK or VLEK says in its AMD extensions (AMD 57230, 3.1; 58369 for VLEK), without any proof."""

from __future__ import annotations

from dataclasses import dataclass

from asn1crypto import core
from cryptography import x509

from sealmarket.attestation.amd.report import SnpTcbVersion
from sealmarket.attestation.core.errors import refuse
from sealmarket.attestation.core.reasons import Reason

PRODUCTS = ("Milan", "Genoa", "Turin")
_AMD = "1.3.6.1.4.1.3704.1."
_STRUCT_VERSION, _PRODUCT_NAME, _HWID, _CSP = _AMD + "1", _AMD + "2", _AMD + "4", _AMD + "5"
_SPLS = {"bootloader": "3.1", "tee": "3.2", "snp": "3.3", "microcode": "3.8", "fmc": "3.9"}
_HWID_SIZES = {"Milan": 64, "Genoa": 64, "Turin": 8}


@dataclass(frozen=True, slots=True)
class Leaf:
    """The AMD extensions of a VCEK or VLEK: levels, and the chip or the provider that it is for."""

    kind: str
    product: str
    tcb: SnpTcbVersion
    hwid: bytes | None
    csp: str | None


def read_leaf(kind: str, leaf: x509.Certificate) -> Leaf:
    """The AMD extensions of a VCEK or VLEK (57230, 3.1).

    Raises:
        EvidenceRefused: one is absent, unreadable, or of another size than the product's.
    """
    values = _extensions(leaf)
    name = _text(values, _PRODUCT_NAME, "productName")
    product = name.split("-")[0]
    if product not in PRODUCTS:
        refuse(Reason.SNP_PRODUCT_MISMATCH, "a leaf for " + ", ".join(PRODUCTS), name)
    turin = product == "Turin"
    if (struct_version := _number(values, _STRUCT_VERSION, "structVersion")) != int(turin):
        refuse(Reason.ENDORSEMENT_MALFORMED, f"structVersion {int(turin)} for {product}", struct_version)
    levels = {
        part: _number(values, _AMD + suffix, f"{part} SPL") for part, suffix in _SPLS.items() if turin or part != "fmc"
    }
    tcb = SnpTcbVersion(**levels)
    if kind == "vlek":
        if _HWID in values:
            refuse(Reason.SNP_SIGNING_KEY, "a VLEK, which names no chip", "a leaf with a hwID")
        return Leaf(kind, product, tcb, None, _text(values, _CSP, "cspID"))
    if _CSP in values:
        refuse(Reason.SNP_SIGNING_KEY, "a VCEK, which names no provider", "a leaf with a cspID")
    return Leaf(kind, product, tcb, _read_hwid(values, _HWID_SIZES[product]), None)


def chip_of(certificate: x509.Certificate) -> bytes:
    """The chip that a VCEK says it is for, 8 or 64 bytes; empty for every other certificate."""
    try:
        extension = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(_HWID)).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return b""
    raw = extension.value if isinstance(extension, x509.UnrecognizedExtension) else b""
    size = len(raw) - 2
    chip = raw[2:] if size in _HWID_SIZES.values() and raw[:2] == bytes([4, size]) else raw
    return chip if len(chip) in _HWID_SIZES.values() else b""


def _extensions(leaf: x509.Certificate) -> dict[str, bytes]:
    try:
        extensions = list(leaf.extensions)
    except (x509.DuplicateExtension, ValueError) as error:
        return refuse(Reason.ENDORSEMENT_MALFORMED, "readable extensions in the leaf", error)
    values: dict[str, bytes] = {}
    for extension in extensions:
        if isinstance(extension.value, x509.UnrecognizedExtension):
            values[extension.oid.dotted_string] = extension.value.value
        if extension.critical and not isinstance(extension.value, x509.BasicConstraints | x509.KeyUsage):
            refuse(Reason.CHAIN_INVALID, "known critical extensions in the leaf", extension.oid.dotted_string)
    return values


def _number(values: dict[str, bytes], oid: str, name: str) -> int:
    raw = values.get(oid, b"")
    try:
        value = core.Integer.load(raw, strict=True).native
    except (ValueError, TypeError) as error:
        return refuse(Reason.ENDORSEMENT_MALFORMED, f"{name} in the leaf", error)
    if not isinstance(value, int) or not 0 <= value <= 255:
        return refuse(Reason.ENDORSEMENT_MALFORMED, f"{name} in the leaf, 0 to 255", value)
    return value


def _text(values: dict[str, bytes], oid: str, name: str) -> str:
    raw = values.get(oid, b"")
    try:
        return str(core.IA5String.load(raw, strict=True).native)
    except (ValueError, TypeError) as error:
        return refuse(Reason.ENDORSEMENT_MALFORMED, f"{name} in the leaf", error)


def _read_hwid(values: dict[str, bytes], size: int) -> bytes:
    """AMD writes the bytes as they are, and lately wrapped in an OCTET STRING."""
    raw = values.get(_HWID, b"")
    if len(raw) == size + 2 and raw[:2] == bytes([4, size]):
        raw = raw[2:]
    if len(raw) != size:
        refuse(Reason.ENDORSEMENT_MALFORMED, f"a hwID of {size} bytes in the leaf", len(raw))
    return raw
