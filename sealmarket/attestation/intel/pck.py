"""PCK leaves: the certificates that each platform has for itself, read and proven in one pass.

Root, CAs and signers serve many platforms and are proven once (:mod:`.pki`); a leaf is new with every platform. So it
is read once, out of its DER, and the rules of :func:`.pki.check_link` are held against the bytes that were read:

1. It is a certificate of version 3 in DER, with a positive serial number and a validity that ends behind its start.
2. It is signed with ECDSA and SHA-256, says so outside and inside of what is signed (RFC 5280, 4.1.1.2), is issued by
   its CA's name, byte for byte, and its signature verifies under the CA's key.
3. Its common name is that of a PCK certificate; it is no authority; no critical extension is unknown.
4. Its key is on P-256, and its SGX extension is of Intel's profile.

Leaves differ in serial number, validity, key and its identifier, and the SGX extension. All else is the same in many:
``cryptography`` reads the first leaf with these bytes in whole, and what it showed is remembered under them.
"""

from __future__ import annotations

from binascii import a2b_base64
from functools import lru_cache
from typing import Annotated, NamedTuple

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from sealmarket.attestation.core.cache import ProvenCache
from sealmarket.attestation.core.certificates import load_certificate
from sealmarket.attestation.core.errors import CollateralError, refuse
from sealmarket.attestation.core.pki import Window, common_name, seconds
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.unreadable import NOT_X509
from sealmarket.attestation.intel.pki import ECDSA_SHA256, KNOWN_CRITICAL, raw_key

NAME = "PCK leaf"
_ARC = bytes.fromhex("2a864886f84d010d01")
"""1.2.840.113741.1.13.1 (Intel SGX PCK certificate and CRL profile, 1.3.5)."""
_SGX = b"\x06\x09" + _ARC + b"\x04"
"""How the content of an SGX extension starts that is not critical: its OID, then the tag of its value."""
_LONG, _LONG_HEADER = b"\x30\x82", 4
"""How a sequence of 256 bytes or more starts, and the size of its header."""
_KEY_IDENTIFIER = bytes.fromhex("301d0603551d0e04160414")
"""How a key identifier of 20 bytes starts that is not critical. Its lengths leave no room for anything else."""
_FLAGS = {1: "dynamic_platform", 2: "cached_keys", 3: "smt"}
BEGIN, END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
_ECDSA_WITH_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
"""The AlgorithmIdentifier: the OID alone (RFC 5758, 3.2)."""
_P256 = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
"""id-ecPublicKey with the named curve (RFC 5480, 2.1.1)."""
_UNCOMPRESSED, _V3 = b"\x04", 2


class PckExtension(msgspec.Struct, frozen=True, kw_only=True):
    """What a PCK certificate says of its platform. ``flags`` are those of OID .7 that are set."""

    ppid: bytes
    component_svns: bytes
    pce_svn: int
    pce_id: bytes
    fmspc: bytes
    sgx_type: int
    platform_instance: bytes | None
    flags: frozenset[str]


@asn1.sequence
class _Certificate:
    """RFC 5280, 4.1."""

    signed: asn1.TLV
    algorithm: asn1.TLV
    signature: asn1.BitString


@asn1.sequence
class _Validity:
    start: asn1.UTCTime | asn1.GeneralizedTime
    end: asn1.UTCTime | asn1.GeneralizedTime


@asn1.sequence
class _Key:
    """SubjectPublicKeyInfo."""

    algorithm: asn1.TLV
    point: asn1.BitString


@asn1.sequence
class _Signed:
    """TBSCertificate of version 3, without unique identifiers, which Intel does not issue."""

    version: Annotated[int, asn1.Explicit(0)]
    serial: int
    algorithm: asn1.TLV
    issuer: asn1.TLV
    validity: _Validity
    subject: asn1.TLV
    key: _Key
    extensions: Annotated[list[asn1.TLV], asn1.Explicit(3)]


class Leaf(NamedTuple):
    """A leaf as it was sent. ``sgx`` is the content of its SGX extension, if it has one.

    ``signed``, ``signature`` and ``issuer`` are what :func:`check_issued` proves."""

    signed: bytes
    signature: bytes
    issuer: bytes
    serial: int
    name: str
    window: Window
    key: EllipticCurvePublicKey
    sgx: bytes | None


def read_leaf(block: bytes) -> Leaf:
    """A leaf out of its PEM block, which starts and ends with its boundaries.

    Raises:
        EvidenceRefused: the first rule that fails, but for issuer, signature, name and SGX extension.
    """
    try:
        der = a2b_base64(b"".join(block[len(BEGIN) : -len(END)].split()), strict_mode=True)
        outer = asn1.decode_der(_Certificate, der)
        inner = outer.signed.parse(_Signed)
        if inner.version != _V3 or inner.serial < 1 or outer.signature.padding_bits():
            raise ValueError(f"version {inner.version + 1}, serial number {inner.serial}")
        window = _window(inner.validity)
        signed, signature = asn1.encode_der(outer.signed), outer.signature.as_bytes()
        sgx, shared = _split(inner)
        algorithms = asn1.encode_der(outer.algorithm), asn1.encode_der(inner.algorithm)
        if algorithms != (_ECDSA_WITH_SHA256, _ECDSA_WITH_SHA256):
            found = " outside, ".join(algorithm.hex() for algorithm in algorithms)
            refuse(Reason.CHAIN_INVALID, f"{NAME}: ECDSA with SHA-256", f"{found} inside")
        name = _names.get(shared) or _names.put(shared, _read_in_whole(der))
    except (CollateralError, IndexError, *NOT_X509) as error:
        return refuse(Reason.ENDORSEMENT_MALFORMED, "PCK chain: PEM certificates", error)
    issuer = asn1.encode_der(inner.issuer)
    return Leaf(signed, signature, issuer, inner.serial, name, window, _key(inner.key), sgx)


def _window(validity: _Validity) -> Window:
    window = Window(NAME, seconds(validity.start.as_datetime()), seconds(validity.end.as_datetime()))
    if window.start > window.end:
        raise ValueError("a validity that ends before it starts")
    return window


def _split(inner: _Signed) -> tuple[bytes | None, tuple[bytes, ...]]:
    """The SGX extension's content, None where there is none, and what many leaves share."""
    sgx: bytes | None = None
    identifier: bytes | None = None
    shared = [asn1.encode_der(inner.subject)]
    for extension in inner.extensions:
        raw = asn1.encode_der(extension)
        if sgx is None and raw.startswith(_SGX, _LONG_HEADER) and raw.startswith(_LONG):
            sgx = _value(raw[_LONG_HEADER + len(_SGX) - 1 :], 0x04)
        elif identifier is None and raw.startswith(_KEY_IDENTIFIER):
            identifier = raw
        else:
            shared.append(raw)
    return sgx, tuple(shared)


_names: ProvenCache[str] = ProvenCache(64)


def _read_in_whole(der: bytes) -> str:
    """The common name of a leaf of which all that leaves share holds.

    Raises:
        one of ``NOT_X509``: a part cannot be read, or an extension comes twice.
        EvidenceRefused: it is an authority, or has an unknown critical extension.
    """
    certificate = load_certificate(der)
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in KNOWN_CRITICAL:
            refuse(Reason.CHAIN_INVALID, f"{NAME}: known critical extensions", extension.oid.dotted_string)
        if isinstance(extension.value, x509.BasicConstraints) and extension.value.ca:
            refuse(Reason.CHAIN_INVALID, f"{NAME}: not a certificate authority", common_name(certificate))
    return common_name(certificate)


def _key(key: _Key) -> EllipticCurvePublicKey:
    algorithm, point = asn1.encode_der(key.algorithm), key.point.as_bytes()
    whole = point[:1] == _UNCOMPRESSED and not key.point.padding_bits()
    found = raw_key(point[1:]) if algorithm == _P256 and whole else None
    if found is None:
        return refuse(Reason.CHAIN_INVALID, f"{NAME}: a P-256 key", f"{algorithm.hex()} {point.hex():.200}")
    return found


def subject_of(certificate: x509.Certificate) -> bytes:
    """A CA's subject as its certificate spells it, which :func:`check_issued` compares.

    Raises:
        EvidenceRefused: no certificate of version 3.
    """
    try:
        outer = asn1.decode_der(_Certificate, certificate.public_bytes(Encoding.DER))
        return asn1.encode_der(outer.signed.parse(_Signed).subject)
    except NOT_X509 as error:
        return refuse(Reason.ENDORSEMENT_MALFORMED, "a PCK CA of version 3", error)


def check_issued(leaf: Leaf, issuer: bytes, key: EllipticCurvePublicKey) -> None:
    """Hold a leaf against its CA: the CA's subject and its key. Raises ``EvidenceRefused`` (rule 2)."""
    if leaf.issuer != issuer:
        refuse(Reason.CHAIN_INVALID, f"{NAME} issued by its CA", f"by {leaf.issuer.hex()}")
    try:
        key.verify(leaf.signature, leaf.signed, ECDSA_SHA256)
    except InvalidSignature:
        refuse(Reason.CHAIN_INVALID, f"{NAME} signed by its CA", "a signature that does not verify")


def _tlv(data: bytes, offset: int) -> tuple[int, bytes, int]:
    """One DER element: tag, content, and where the next starts. Raises ``ValueError`` or ``IndexError``."""
    tag, length, start = data[offset], data[offset + 1], offset + 2
    if length & 0x80:
        size = length & 0x7F
        length = int.from_bytes(data[start : start + size])
        start += size
        if size not in (1, 2) or length < 0x80:
            raise ValueError(f"a DER length of {size} bytes at {offset}")
    end = start + length
    if end > len(data):
        raise ValueError(f"a DER element of {length} bytes at {offset} runs past {len(data)}")
    return tag, data[start:end], end


def _entries(data: bytes, arc: bytes) -> dict[int, bytes]:
    """A sequence of (OID, value) below one arc, as last arc -> the value's element."""
    oid = bytes((0x06, len(arc) + 1)) + arc
    last = len(oid)
    found: dict[int, bytes] = {}
    offset = 0
    size = len(data)
    while offset < size:
        tag, length = data[offset], data[offset + 1]
        if length & 0x80 or offset + 2 + length > size:
            _, pair, offset = _tlv(data, offset)
        else:
            start, offset = offset + 2, offset + 2 + length
            pair = data[start:offset]
        if tag != 0x30 or not pair.startswith(oid) or pair[last] in found:
            raise ValueError(f"expected one entry below {arc.hex()}, found {pair[: last + 1].hex()}")
        found[pair[last]] = pair[last + 1 :]
    return found


def _value(element: bytes, tag: int, size: int | None = None) -> bytes:
    found, content, end = element[0], element[2:], element[1] + 2
    if element[1] & 0x80:
        found, content, end = _tlv(element, 0)
    if found != tag or end != len(element) or (size is not None and len(content) != size):
        raise ValueError(f"expected a DER value of tag {tag:#x} and {size} bytes, found {element.hex()}")
    return content


@lru_cache(maxsize=256)
def _svns(element: bytes) -> tuple[bytes, int]:
    """The 16 component SVNs and the PCESVN. Platforms of one level share these bytes, so reading is remembered."""
    tcb = _entries(_value(element, 0x30), _ARC + b"\x02")
    svns = [int.from_bytes(_value(tcb[i], 0x02)) for i in range(1, 18)]
    return bytes(svns[:16]), svns[16]


@lru_cache(maxsize=256)
def _flags(element: bytes) -> frozenset[str]:
    """The configuration flags that are set."""
    flags = _entries(_value(element, 0x30), _ARC + b"\x07")
    return frozenset(name for i, name in _FLAGS.items() if i in flags and _value(flags[i], 0x01) != b"\x00")


def read_extension(raw: bytes | None) -> PckExtension:
    """The SGX extension of a leaf, None where it has none.

    Raises:
        EvidenceRefused: absent, or not of the profile.
    """
    try:
        if raw is None:
            raise ValueError("no extension 1.2.840.113741.1.13.1")
        top = _entries(_value(raw, 0x30), _ARC)
        component_svns, pce_svn = _svns(top[2])
        return PckExtension(
            ppid=_value(top[1], 0x04, 16),
            component_svns=component_svns,
            pce_svn=pce_svn,
            pce_id=_value(top[3], 0x04, 2),
            fmspc=_value(top[4], 0x04, 6),
            sgx_type=int.from_bytes(_value(top[5], 0x0A)),
            platform_instance=_value(top[6], 0x04, 16) if 6 in top else None,
            flags=_flags(top[7]) if 7 in top else frozenset(),
        )
    except (ValueError, KeyError, IndexError) as error:
        return refuse(Reason.PCK_EXTENSION, "the SGX extension of Intel's PCK profile", repr(error))
