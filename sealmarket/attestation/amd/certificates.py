"""AMD's certificates: VCEK or VLEK, its intermediate, the root, and the root's revocation list.

Chains (AMD 57230, VCEK certificate and KDS interface; 58369 for VLEK)::

    VCEK <- SEV-Milan | SEV-Genoa | SEV-Turin                 <- ARK-Milan | ARK-Genoa | ARK-Turin
    VLEK <- SEV-VLEK-Milan | SEV-VLEK-Genoa | SEV-VLEK-Turin  <- ARK-...

Authorities sign with RSA-PSS, SHA-384, 4096 bits. The rules of :func:`prove_chain`:

1. The names fit one product and the kind of leaf: a VLEK is never under an ASK, nor a VCEK under an ASVK.
2. The root's key is pinned (by SPKI, never by name) and signed itself.
3. The root signed the intermediate and it signed the leaf, each with RSA-PSS and SHA-384 under 4096 bits;
   both issuers are authorities that may sign certificates.
4. The leaf holds a P-384 key, and its extensions name the same product.

What time decides (validity, revocation) is checked on each use and is not part of what is remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from itertools import islice

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import SignatureAlgorithmOID

from sealmarket.attestation.amd.leaf import PRODUCTS, Leaf, read_leaf
from sealmarket.attestation.core.cache import ProvenCache
from sealmarket.attestation.core.certificates import load_certificate
from sealmarket.attestation.core.errors import CollateralError, EvidenceRefused, refuse
from sealmarket.attestation.core.pki import Window, certificate_window, common_name, seconds, spki_sha256
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.tee import Anchors
from sealmarket_enclave.protocol.numbers import Grade, Tee

LEAF_NAMES = {"vcek": "SEV-VCEK", "vlek": "SEV-VLEK"}
_RSA_BITS = 4096
_MAXIMUM_CERTIFICATES = 64
_MAXIMUM_ATTEMPTS = 32
"""Bounds what a pile of certificates with fitting names can cost."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A proven chain. ``windows`` (leaf, intermediate, root) and ``ask_serial`` are for what time decides."""

    leaf: Leaf
    key: EllipticCurvePublicKey
    grade: Grade
    ark: x509.Certificate
    ask_serial: int
    windows: tuple[Window, ...]
    expires: datetime


@dataclass(frozen=True, slots=True)
class _ProvenList:
    revoked: frozenset[int]
    window: Window


@dataclass(frozen=True, slots=True)
class _Read:
    """A certificate whose every part that is used later could be read: the parser is lazy, and raises late."""

    certificate: x509.Certificate
    fingerprint: bytes
    name: str
    subject: bytes
    issuer: bytes
    spki: bytes
    key: object
    extensions: tuple[x509.Extension[x509.ExtensionType], ...]
    is_pss_sha384: bool


@dataclass(frozen=True, slots=True)
class _Found:
    chain: Chain
    certificates: tuple[x509.Certificate, ...]
    anchors: Anchors


_found: ProvenCache[_Found] = ProvenCache(256)
_chains: ProvenCache[Chain] = ProvenCache(1024)
_authorities: ProvenCache[bool] = ProvenCache(64)
_lists: ProvenCache[_ProvenList] = ProvenCache(64)


def load_der(raw: Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    """Certificates that travelled with the evidence.

    Raises:
        EvidenceRefused: one of them is no certificate.
    """
    try:
        return tuple(load_certificate(one) for one in raw)
    except CollateralError as error:
        return refuse(Reason.ENDORSEMENT_MALFORMED, "DER certificates with the evidence", error)


def find_chain(
    kind: str, product: str | None, certificates: Sequence[x509.Certificate], anchors: Anchors, want: Leaf | None = None
) -> Chain:
    """Prove a chain for a leaf of this kind and product, out of certificates in any order.

    Args:
        kind: ``vcek`` or ``vlek``, as the report says.
        product: as the report's CPUID says; None for reports of version 2, which do not.
        certificates: everything that was supplied.
        anchors: the trusted roots.
        want: prefer a leaf with these levels and chip where several are there.

    Raises:
        EvidenceRefused: no leaf, or the first chain's first failure when none holds.
    """
    # The same certificates (as objects, which do not change and which the answer keeps alive) give the same chain.
    flat = () if want is None else (want.kind, want.product, *want.tcb.as_tuple(), want.hwid, want.csp)
    name = (kind, product, id(anchors), *flat, *map(id, certificates))
    found = _found.get(name)
    if found is None:
        chain = _search(kind, product, certificates, anchors, want)
        found = _found.put(name, _Found(chain, tuple(certificates), anchors))
    return found.chain


def _search(
    kind: str, product: str | None, certificates: Sequence[x509.Certificate], anchors: Anchors, want: Leaf | None
) -> Chain:
    if len(certificates) > _MAXIMUM_CERTIFICATES:
        refuse(Reason.ENDORSEMENT_MALFORMED, f"at most {_MAXIMUM_CERTIFICATES} certificates", len(certificates))
    known = [_read(certificate) for certificate in certificates]
    leaves = _leaves(kind, known)
    if want is not None and len(leaves) > 1:
        leaves.sort(key=lambda leaf: not _is_wanted(leaf, want))
    refusal: EvidenceRefused | None = None
    candidates = ((leaf, ask, ark) for leaf in leaves for ask, ark in _issuers(leaf, known))
    for leaf, ask, ark in islice(candidates, _MAXIMUM_ATTEMPTS):
        try:
            return prove_chain(kind, product, leaf, ask, ark, anchors)
        except EvidenceRefused as error:
            refusal = refusal or error
    if refusal is not None:
        raise refusal
    return refuse(
        Reason.ENDORSEMENT_MISSING, f"the issuers of {leaves[0].name}, up to the root", "not among the endorsements"
    )


def prove_chain(kind: str, product: str | None, leaf: _Read, ask: _Read, ark: _Read, anchors: Anchors) -> Chain:
    """Prove one chain by the module's rules; remembered by the fingerprints of all three.

    Raises:
        EvidenceRefused: the first rule that fails.
    """
    grade = anchors.grade_of(Tee.SNP, ark.spki)
    if grade is None:
        refuse(Reason.UNTRUSTED_ROOT, "a pinned AMD root key", f"{ark.name} {ark.spki.hex()}")
    named = _product_of(kind, leaf, ask, ark, grade)
    if product is not None and named != product:
        refuse(Reason.SNP_PRODUCT_MISMATCH, f"a {product} chain, as the report's CPUID says", named)
    words = (kind.encode(), grade.slug.encode(), leaf.fingerprint, ask.fingerprint, ark.fingerprint)
    name = sha256(b"|".join(words)).digest()
    return _chains.get(name) or _chains.put(name, _prove(kind, named, leaf, ask, ark, grade))


def _prove(kind: str, product: str, leaf: _Read, ask: _Read, ark: _Read, grade: Grade) -> Chain:
    pair = ask.fingerprint + ark.fingerprint
    if _authorities.get(pair) is None:
        _check_signed(ark, ark, "the root")
        _check_signed(ask, ark, "the intermediate")
        _check_authority(ark)
        _check_authority(ask)
        _authorities.put(pair, True)
    _check_signed(leaf, ask, "the leaf")
    if not isinstance(leaf.key, EllipticCurvePublicKey) or not isinstance(leaf.key.curve, SECP384R1):
        refuse(Reason.CHAIN_INVALID, "a P-384 key in the leaf", type(leaf.key).__name__)
    said = read_leaf(kind, leaf.certificate)
    if said.product != product:
        refuse(Reason.SNP_PRODUCT_MISMATCH, f"a leaf for {product}, as its issuer's name says", said.product)
    windows = tuple(certificate_window(one.certificate, one.name) for one in (leaf, ask, ark))
    expires = datetime.fromtimestamp(min(window.end for window in windows), UTC)
    return Chain(said, leaf.key, grade, ark.certificate, ask.certificate.serial_number, windows, expires)


def check_revocation(chain: Chain, crls: Iterable[x509.CertificateRevocationList], now: datetime) -> bool:
    """Hold the intermediate against the root's revocation lists; foreign lists are passed over.

    Returns whether a list that is valid now was held against the chain. A list that the root did not sign
    although it carries its name is refused, and so is having only lists that are out of date. What an older
    list revoked stays revoked.

    Raises:
        EvidenceRefused: revoked, or a list that cannot be used.
    """
    own = [crl for crl in crls if _issuer_of(crl) == chain.ark.subject]
    lists = [_proven_list(crl, chain.ark) for crl in own]
    for known in lists:
        for serial in (chain.ask_serial, chain.ark.serial_number):
            if serial in known.revoked:
                issuers = " and ".join(window.name for window in chain.windows[1:])
                refuse(Reason.CERTIFICATE_REVOKED, f"{issuers} not on the {known.window.name}", f"serial {serial:#x}")
    moment = seconds(now)
    if lists and not any(known.window.start <= moment <= known.window.end for known in lists):
        latest = max(known.window.end for known in lists)
        refuse(
            Reason.CRL_INVALID,
            f"a {lists[0].window.name} valid at {now.isoformat()}",
            f"valid to {datetime.fromtimestamp(latest, now.tzinfo).isoformat()}",
        )
    return bool(lists)


def _issuer_of(crl: x509.CertificateRevocationList) -> x509.Name:
    try:
        return crl.issuer
    except ValueError as error:
        return refuse(Reason.CRL_INVALID, "revocation lists that can be read", error)


def _proven_list(crl: x509.CertificateRevocationList, ark: x509.Certificate) -> _ProvenList:
    raw = crl.public_bytes(Encoding.DER)
    name = sha256(ark.fingerprint(SHA384()) + raw).digest()
    known = _lists.get(name)
    if known is not None:
        return known
    label = f"revocation list of {common_name(ark)}"
    key = ark.public_key()
    try:
        if crl.signature_algorithm_oid != SignatureAlgorithmOID.RSASSA_PSS:
            refuse(Reason.CRL_INVALID, f"the {label} signed with RSA-PSS", crl.signature_algorithm_oid.dotted_string)
        if not isinstance(key, RSAPublicKey) or not crl.is_signature_valid(key):
            refuse(Reason.CRL_INVALID, f"the {label} signed by it", "a signature that does not verify")
        if any(e.critical for e in crl.extensions):
            refuse(Reason.CRL_INVALID, f"the {label} without critical extensions", "a critical extension")
        revoked = frozenset(entry.serial_number for entry in crl)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        refuse(Reason.CRL_INVALID, f"the {label}", error)
    if crl.next_update_utc is None:
        refuse(Reason.CRL_INVALID, f"the {label} with a next update", "none")
    window = Window(label, seconds(crl.last_update_utc), seconds(crl.next_update_utc))
    return _lists.put(name, _ProvenList(revoked, window))


# Choosing among what was supplied. Names only choose; prove_chain proves.


@lru_cache(maxsize=1024)
def _read(certificate: x509.Certificate) -> _Read:
    """Remembered by the certificate's bytes, which is what certificates are compared by."""
    try:
        read = _Read(
            certificate,
            sha256(certificate.public_bytes(Encoding.DER)).digest(),
            common_name(certificate),
            certificate.subject.public_bytes(),
            certificate.issuer.public_bytes(),
            spki_sha256(certificate),
            certificate.public_key(),
            tuple(certificate.extensions),
            certificate.signature_algorithm_oid == SignatureAlgorithmOID.RSASSA_PSS
            and isinstance(certificate.signature_hash_algorithm, SHA384),
        )
        certificate_window(certificate, read.name)
    except (ValueError, TypeError, OverflowError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        return refuse(Reason.ENDORSEMENT_MALFORMED, "certificates that can be read", error)
    return read


def _leaves(kind: str, certificates: Sequence[_Read]) -> list[_Read]:
    found = [c for c in certificates if c.name.endswith(LEAF_NAMES[kind])]
    if found:
        return found
    other = "vlek" if kind == "vcek" else "vcek"
    if any(c.name.endswith(LEAF_NAMES[other]) for c in certificates):
        refuse(Reason.SNP_SIGNING_KEY, f"a {kind.upper()}, as the report says", f"a {other.upper()}")
    return refuse(Reason.ENDORSEMENT_MISSING, f"the {kind.upper()} of this report", "none")


def _is_wanted(certificate: _Read, want: Leaf) -> bool:
    try:
        leaf = read_leaf(want.kind, certificate.certificate)
    except EvidenceRefused:
        return False
    return leaf.tcb == want.tcb and (want.hwid is None or leaf.hwid == want.hwid[: len(leaf.hwid or b"")])


def _issuers(leaf: _Read, certificates: Sequence[_Read]) -> Iterable[tuple[_Read, _Read]]:
    for ask in certificates:
        if ask.subject != leaf.issuer:
            continue
        for ark in certificates:
            if ark.subject == ask.issuer == ark.issuer:
                yield ask, ark


# The rules.


def _product_of(kind: str, leaf: _Read, ask: _Read, ark: _Read, grade: Grade) -> str:
    """Rule 1. A development root's names say more in front."""

    def fits(certificate: _Read, role: str) -> bool:
        return certificate.name == role if grade is Grade.HARDWARE else certificate.name.endswith(role)

    product = next((p for p in PRODUCTS if fits(ark, f"ARK-{p}")), None)
    if product is None:
        return refuse(Reason.CHAIN_INVALID, "a root named ARK-" + "|".join(PRODUCTS), ark.name)
    role = f"SEV-{product}" if kind == "vcek" else f"SEV-VLEK-{product}"
    if not fits(ask, role):
        refuse(Reason.CHAIN_INVALID, f"a {kind.upper()} issued by {role}", ask.name)
    if not fits(leaf, LEAF_NAMES[kind]):
        refuse(Reason.SNP_SIGNING_KEY, f"a leaf named {LEAF_NAMES[kind]}", leaf.name)
    return product


def _check_signed(certificate: _Read, issuer: _Read, name: str) -> None:
    key = issuer.key
    if not isinstance(key, RSAPublicKey) or key.key_size != _RSA_BITS:
        refuse(Reason.CHAIN_INVALID, f"{name} signed with RSA of {_RSA_BITS} bits", issuer.name)
    signed = certificate.certificate
    try:
        # This also holds the algorithm outside what is signed against the one inside (RFC 5280, 4.1.1.2).
        signed.verify_directly_issued_by(issuer.certificate)
    except InvalidSignature:
        refuse(Reason.CHAIN_INVALID, f"{name} signed by {issuer.name}", "a signature that does not verify")
    except (ValueError, TypeError) as error:
        refuse(Reason.CHAIN_INVALID, f"{name} issued by {issuer.name}", error)
    if not certificate.is_pss_sha384:
        refuse(Reason.CHAIN_INVALID, f"{name} signed with RSA-PSS and SHA-384", "another algorithm")


def _check_authority(authority: _Read) -> None:
    values = [extension.value for extension in authority.extensions]
    signs = any(isinstance(v, x509.KeyUsage) and v.key_cert_sign for v in values)
    if not signs or not any(isinstance(v, x509.BasicConstraints) and v.ca for v in values):
        refuse(Reason.CHAIN_INVALID, "an issuer that may sign certificates", authority.name)


def forget_platforms() -> None:
    """Drop every machine that is remembered; AMD's own authorities stay known."""
    _found.clear()
    _chains.clear()


def forget() -> None:
    """Drop everything that is remembered, as in a process that has just started."""
    forget_platforms()
    _authorities.clear()
    _lists.clear()
    _read.cache_clear()
