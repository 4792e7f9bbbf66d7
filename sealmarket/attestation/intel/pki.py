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
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

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

ECDSA_SHA256 = ECDSA(SHA256())
KNOWN_CRITICAL = {ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE}
_MAXIMUM_CHAIN = 4


def read_chain(pem: str, name: str) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM chain, leaf first.

    Raises:
        EvidenceRefused: none, too many, or one that cannot be read.
    """
    return read_certificates(read_blocks(pem.encode("utf-8", "surrogatepass"), name), name)


def read_blocks(pem: bytes, name: str) -> tuple[bytes, ...]:
    """The certificates of a PEM chain, leaf first, unread. Raises as :func:`read_chain`."""
    try:
        require_at_most(MAXIMUM_CHAIN_BYTES, len(pem), "bytes of a PEM chain")
        blocks = pem_blocks(pem, maximum=_MAXIMUM_CHAIN)
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


def check_role(name: str, roles: Sequence[str], grade: Grade, reason: Reason) -> None:
    """Hold a certificate's purpose: its common name says what it may sign."""
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
    check_certificate_authority(issuer, name)
    _check_critical(child, name)


def check_certificate_authority(issuer: x509.Certificate, name: str) -> None:
    """An issuer may sign certificates."""
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
            if extension.critical and extension.oid not in KNOWN_CRITICAL:
                refuse(Reason.CHAIN_INVALID, f"{name}: known critical extensions", extension.oid.dotted_string)
    except NOT_X509 as error:
        refuse(Reason.CHAIN_INVALID, f"{name}: readable extensions", error)


@dataclass(frozen=True, slots=True)
class Crl:
    """A revocation list whose signature is proven: who is revoked, and when it holds."""

    revoked: frozenset[int]
    window: Window

    def check(self, serial: int, subject: str, name: str) -> None:
        """Refuse a certificate whose serial number is on this list."""
        if serial in self.revoked:
            refuse(Reason.CERTIFICATE_REVOKED, f"{name} not on the {self.window.name}", subject)


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
        key.verify(encoded, data, ECDSA_SHA256)
    except InvalidSignature:
        return False
    return True


def raw_key(point: bytes) -> EllipticCurvePublicKey | None:
    """A P-256 key from ``x||y``, None when it is not a point of the curve."""
    try:
        return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), b"\x04" + point)
    except ValueError:
        return None
