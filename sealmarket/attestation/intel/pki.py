"""Intel's certificates, CRLs and raw signatures: each checked once, kept by fingerprint.

Chains are Root CA -> PCK Platform or Processor CA -> PCK leaf, and Root CA -> TCB signing. A certificate
serves one purpose, which its common name states: "Intel SGX TCB Signing" signs collateral and nothing else does.
Under a development root the same text is expected at the end of the name ("Sealmarket DEVELOPMENT SGX TCB
Signing").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtensionOID, ObjectIdentifier, SignatureAlgorithmOID

from sealmarket.attestation.core.certificates import (
    CERTIFICATE,
    MAXIMUM_CHAIN_BYTES,
    load_certificate,
    load_crl,
    pem_blocks,
    require_at_most,
)
from sealmarket.attestation.core.errors import CollateralError, refuse
from sealmarket.attestation.core.pki import Window, common_name, seconds
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.unreadable import NOT_X509, touch
from sealmarket_enclave.protocol.numbers import Grade

ROLE_PCK = ("SGX PCK Certificate",)
ROLE_PCK_CA = ("SGX PCK Platform CA", "SGX PCK Processor CA")
ROLE_TCB_SIGNING = ("SGX TCB Signing",)

_ECDSA_SHA256 = ECDSA(SHA256())
_KNOWN_CRITICAL = {ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE}
_MAXIMUM_CHAIN = 4


def read_chain(pem: str, name: str) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM chain, leaf first.

    Raises:
        EvidenceRefused: none, too many, or one that cannot be read.
    """
    return read_certificates(read_blocks(pem, name), name)


def read_blocks(pem: str, name: str) -> tuple[bytes, ...]:
    """The certificates of a PEM chain, leaf first, unread. Raises as :func:`read_chain`."""
    try:
        require_at_most(MAXIMUM_CHAIN_BYTES, len(pem), "bytes of a PEM chain")
        blocks = pem_blocks(pem.encode("utf-8", "surrogatepass"), maximum=_MAXIMUM_CHAIN)
    except CollateralError as error:
        return refuse(Reason.ENDORSEMENT_MALFORMED, f"{name}: PEM certificates", error)
    found = tuple(block.pem for block in blocks if block.label == CERTIFICATE)
    if not found:
        refuse(Reason.ENDORSEMENT_MALFORMED, f"{name}: 1 to {_MAXIMUM_CHAIN} certificates", 0)
    return found


def read_certificates(blocks: Iterable[bytes], name: str) -> tuple[x509.Certificate, ...]:
    """The certificates in PEM blocks. Raises as :func:`read_chain`."""
    try:
        return tuple(touch(load_certificate(block)) for block in blocks)
    except (CollateralError, *NOT_X509) as error:
        return refuse(Reason.ENDORSEMENT_MALFORMED, f"{name}: PEM certificates", error)


def key_of(certificate: x509.Certificate, name: str) -> EllipticCurvePublicKey:
    """The P-256 key of a certificate; Intel's hierarchy has no other kind."""
    try:
        key = certificate.public_key()
    except NOT_X509 as error:
        return refuse(Reason.CHAIN_INVALID, f"{name}: a P-256 key", error)
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        return refuse(Reason.CHAIN_INVALID, f"{name}: a P-256 key", type(key).__name__)
    return key


def check_role(certificate: x509.Certificate, roles: Sequence[str], grade: Grade, reason: Reason) -> None:
    """Hold a certificate's purpose: its common name says what it may sign."""
    name = common_name(certificate)
    if grade is Grade.HARDWARE:
        fits = name in {f"Intel {role}" for role in roles}
    else:
        fits = any(name.endswith(role) for role in roles)
    if not fits:
        refuse(reason, " or ".join(f'"Intel {role}"' for role in roles), f'"{name}"')


def check_link(child: x509.Certificate, issuer: x509.Certificate, name: str) -> None:
    """RFC 5280 6.1.3: names chain, the signature verifies, the issuer may sign certificates."""
    if child.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA256:
        refuse(Reason.CHAIN_INVALID, f"{name}: ECDSA with SHA-256", child.signature_algorithm_oid.dotted_string)
    key_of(issuer, f"issuer of {name}")
    try:
        child.verify_directly_issued_by(issuer)
    except (InvalidSignature, *NOT_X509) as error:
        refuse(
            Reason.CHAIN_INVALID,
            f"{name}: signed by {common_name(issuer)}",
            str(error) or "a signature that does not verify",
        )
    _check_certificate_authority(issuer, name)
    _check_critical(child, name)


def _check_certificate_authority(issuer: x509.Certificate, name: str) -> None:
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, *NOT_X509) as error:
        refuse(Reason.CHAIN_INVALID, f"{name}: an issuer with basic constraints and key usage", error)
    if not constraints.ca or not usage.key_cert_sign:
        refuse(Reason.CHAIN_INVALID, f"{name}: an issuer that may sign certificates", common_name(issuer))


def _check_critical(certificate: x509.Certificate, name: str) -> None:
    try:
        for extension in certificate.extensions:
            if extension.critical and extension.oid not in _KNOWN_CRITICAL:
                refuse(Reason.CHAIN_INVALID, f"{name}: known critical extensions", extension.oid.dotted_string)
    except NOT_X509 as error:
        refuse(Reason.CHAIN_INVALID, f"{name}: readable extensions", error)


def check_leaf_is_not_authority(leaf: x509.Certificate, name: str) -> None:
    """A leaf signs data, never certificates."""
    try:
        constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return
    if constraints.ca:
        refuse(Reason.CHAIN_INVALID, f"{name}: not a certificate authority", common_name(leaf))


@dataclass(frozen=True, slots=True)
class Crl:
    """A revocation list whose signature is proven: who is revoked, and when it holds."""

    revoked: frozenset[int]
    window: Window

    def check(self, certificate: x509.Certificate, name: str) -> None:
        """Refuse a certificate that this list revokes."""
        if certificate.serial_number in self.revoked:
            refuse(Reason.CERTIFICATE_REVOKED, f"{name} not on the {self.window.name}", common_name(certificate))


def read_crl(raw: bytes, issuer: x509.Certificate, name: str) -> Crl:
    """Read and prove a CRL (RFC 5280 6.3.3): complete, direct, of exactly this issuer and signed by it.

    Raises:
        EvidenceRefused: absent, unreadable, foreign, without a next update, or with an unknown critical
        extension.
    """
    if not raw:
        refuse(Reason.CRL_INVALID, name, "nothing")
    try:
        crl = load_crl(raw)
        critical = [e.oid.dotted_string for e in crl.extensions if e.critical]
        issued_by, start, end = crl.issuer, crl.last_update_utc, crl.next_update_utc
    except (CollateralError, *NOT_X509) as error:
        refuse(Reason.CRL_INVALID, f"{name}: a CRL", error)
    if issued_by != issuer.subject:
        refuse(Reason.CRL_INVALID, f"{name} of {issuer.subject.rfc4514_string()}", issued_by.rfc4514_string())
    if critical:
        refuse(Reason.CRL_INVALID, f"{name}: no critical extensions (delta, indirect)", critical)
    if not crl.is_signature_valid(key_of(issuer, f"issuer of {name}")):
        refuse(Reason.CRL_INVALID, f"{name} signed by {common_name(issuer)}", "a signature that does not verify")
    if end is None:
        refuse(Reason.CRL_INVALID, f"{name} with a next update", "none")
    return Crl(_revoked(crl, name), Window(name, seconds(start), seconds(end)))


def _revoked(crl: x509.CertificateRevocationList, name: str) -> frozenset[int]:
    """The serial numbers on a list, read only once its signature is proven."""
    try:
        return frozenset(entry.serial_number for entry in crl)
    except NOT_X509 as error:
        refuse(Reason.CRL_INVALID, f"{name}: entries that can be read", error)


def verify_raw(key: EllipticCurvePublicKey, signature: bytes, data: bytes) -> bool:
    """Whether a raw ``r||s`` P-256 signature over SHA-256 verifies."""
    if len(signature) != 64:
        return False
    encoded = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
    try:
        key.verify(encoded, data, _ECDSA_SHA256)
    except InvalidSignature:
        return False
    return True


def raw_key(point: bytes) -> EllipticCurvePublicKey | None:
    """A P-256 key from ``x||y``, None when it is not a point of the curve."""
    try:
        return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), b"\x04" + point)
    except ValueError:
        return None


# The SGX extension of a PCK certificate (Intel SGX PCK certificate and CRL profile, 1.3.5).
SGX_EXTENSION = ObjectIdentifier("1.2.840.113741.1.13.1")
_ARC = bytes.fromhex("2a864886f84d010d01")


@dataclass(frozen=True, slots=True, kw_only=True)
class PckExtension:
    """What a PCK certificate says of its platform. ``flags`` are those of OID .7 that are set."""

    ppid: bytes
    component_svns: bytes
    pce_svn: int
    pce_id: bytes
    fmspc: bytes
    sgx_type: int
    platform_instance: bytes | None
    flags: frozenset[str]


def _tlv(data: bytes, offset: int) -> tuple[int, bytes, int]:
    """One DER element: tag, content, and where the next starts."""
    if offset + 2 > len(data):
        raise ValueError(f"DER ends at {len(data)}, an element starts at {offset}")
    tag, length, start = data[offset], data[offset + 1], offset + 2
    if length & 0x80:
        size = length & 0x7F
        length = int.from_bytes(data[start : start + size])
        start += size
        if size not in (1, 2) or length < 0x80:
            raise ValueError(f"a DER length of {size} bytes at {offset}")
    if start + length > len(data):
        raise ValueError(f"a DER element of {length} bytes at {offset} runs past {len(data)}")
    return tag, data[start : start + length], start + length


def _entries(data: bytes, arc: bytes) -> dict[int, bytes]:
    """A sequence of (OID, value) below one arc, as last arc -> the value's element."""
    found: dict[int, bytes] = {}
    offset = 0
    while offset < len(data):
        tag, pair, offset = _tlv(data, offset)
        oid_tag, oid, value_at = _tlv(pair, 0)
        if tag != 0x30 or oid_tag != 0x06 or oid[:-1] != arc or oid[-1] in found:
            raise ValueError(f"expected one entry below {arc.hex()}, found {oid.hex()}")
        found[oid[-1]] = pair[value_at:]
    return found


def _value(element: bytes, tag: int, size: int | None = None) -> bytes:
    found, content, end = _tlv(element, 0)
    if found != tag or end != len(element) or (size is not None and len(content) != size):
        raise ValueError(f"expected a DER value of tag {tag:#x} and {size} bytes, found {element.hex()}")
    return content


def read_pck_extension(certificate: x509.Certificate) -> PckExtension:
    """The SGX extension of a PCK leaf.

    Raises:
        EvidenceRefused: absent, or not of the profile.
    """
    try:
        extension = certificate.extensions.get_extension_for_oid(SGX_EXTENSION).value
        assert isinstance(extension, x509.UnrecognizedExtension)
        top = _entries(_value(extension.value, 0x30), _ARC)
        tcb = _entries(_value(top[2], 0x30), _ARC + b"\x02")
        flags: dict[int, bytes] = _entries(_value(top[7], 0x30), _ARC + b"\x07") if 7 in top else {}
        svns = [int.from_bytes(_value(tcb[i], 0x02)) for i in range(1, 18)]
        names = {1: "dynamic_platform", 2: "cached_keys", 3: "smt"}
        return PckExtension(
            ppid=_value(top[1], 0x04, 16),
            component_svns=bytes(svns[:16]),
            pce_svn=svns[16],
            pce_id=_value(top[3], 0x04, 2),
            fmspc=_value(top[4], 0x04, 6),
            sgx_type=int.from_bytes(_value(top[5], 0x0A)),
            platform_instance=_value(top[6], 0x04, 16) if 6 in top else None,
            flags=frozenset(name for i, name in names.items() if i in flags and _value(flags[i], 0x01) != b"\x00"),
        )
    except (x509.ExtensionNotFound, *NOT_X509, KeyError, IndexError) as error:
        refuse(Reason.PCK_EXTENSION, "the SGX extension of Intel's PCK profile", repr(error))
