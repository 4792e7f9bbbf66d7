"""A small certificate authority for development roots: certificates, revocation lists, and their keys on disk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

ORGANISATION = "Sealmarket DEVELOPMENT (virtual device, no hardware)"

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate with its private key; a certification authority or a leaf."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def pem(self) -> str:
        """The certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def der(self) -> bytes:
        """The certificate as DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """When a certificate or list holds, both ends included, in UTC."""

    start: datetime
    end: datetime


def distinguished_name(common_name: str, organisation: str = ORGANISATION) -> x509.Name:
    """A subject that says ``DEVELOPMENT`` in its organisation, whatever the vendor's profile calls the role."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
        ]
    )


def certify(
    subject: x509.Name,
    public_key: PublicKey,
    issuer: Authority | None,
    signing_key: PrivateKey,
    validity: Validity,
    *,
    path_length: int | None = None,
    extensions: tuple[x509.ExtensionType, ...] = (),
    serial: int | None = None,
    pss: bool = False,
) -> x509.Certificate:
    """Issue a certificate: an authority when ``path_length`` is given, a leaf otherwise; self-signed without issuer."""
    is_authority = path_length is not None
    issuer_key = issuer.key.public_key() if issuer else public_key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(public_key)
        .serial_number(serial if serial is not None else x509.random_serial_number())
        .not_valid_before(validity.start)
        .not_valid_after(validity.end)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(key_usage(is_authority), critical=True)
        .add_extension(x509.BasicConstraints(is_authority, path_length), critical=True)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signing_key, digest_for(signing_key), rsa_padding=pss_padding() if pss else None)


def revocation_list(
    issuer: Authority, validity: Validity, revoked: tuple[int, ...] = (), *, pss: bool = False
) -> bytes:
    """A certificate revocation list in DER, naming the revoked serial numbers."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(validity.start)
        .next_update(validity.end)
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()),
            critical=False,
        )
    )
    for serial in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(validity.start).build()
        builder = builder.add_revoked_certificate(entry)
    signed = builder.sign(issuer.key, digest_for(issuer.key), rsa_padding=pss_padding() if pss else None)
    return signed.public_bytes(serialization.Encoding.DER)


def key_usage(is_authority: bool) -> x509.KeyUsage:
    """Signing certificates and lists for an authority, signing data for a leaf."""
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=not is_authority,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def digest_for(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384:
    """SHA-256 under P-256, SHA-384 under P-384 and RSA, as the vendors have it."""
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size == 256:
        return hashes.SHA256()
    return hashes.SHA384()


def pss_padding() -> padding.PSS:
    """RSA-PSS as AMD signs its chains: MGF1 over SHA-384, salt of 48 bytes."""
    return padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)


def load_or_create(path: Path, create: PrivateKey | None = None) -> PrivateKey:
    """Read a private key, or keep a new one (P-256 unless given) in a file that only its owner can read.

    The file is written whole before it gets its name, so that a crash leaves no half key.
    """
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise TypeError(f"{path.name} holds a {type(key).__name__}, expected an EC or RSA key")
        return key
    key = create if create is not None else ec.generate_private_key(ec.SECP256R1())
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(path, encoded)
    return key


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 in one step."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
