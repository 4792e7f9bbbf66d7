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

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from asn1crypto import core
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import SignatureAlgorithmOID

from sealmarket.attestation.cache import ProvenCache
from sealmarket.attestation.errors import EvidenceRefused
from sealmarket.attestation.intel_pki import Window, certificate_window, common_name, seconds
from sealmarket.attestation.intel_quote import refuse
from sealmarket.attestation.model import Grade, Tee
from sealmarket.attestation.reasons import Reason
from sealmarket.attestation.roots import Roots, spki_sha256
from sealmarket.attestation.snp_report import SnpTcbVersion

PRODUCTS = ("Milan", "Genoa", "Turin")
LEAF_NAMES = {"vcek": "SEV-VCEK", "vlek": "SEV-VLEK"}
_AMD = "1.3.6.1.4.1.3704.1."
_STRUCT_VERSION, _PRODUCT_NAME, _HWID, _CSP = _AMD + "1", _AMD + "2", _AMD + "4", _AMD + "5"
_SPLS = {"bootloader": "3.1", "tee": "3.2", "snp": "3.3", "microcode": "3.8", "fmc": "3.9"}
_HWID_SIZES = {"Milan": 64, "Genoa": 64, "Turin": 8}
_RSA_BITS = 4096
_MAXIMUM_CERTIFICATES = 64


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a VCEK or VLEK says: whose levels and chip it stands for, or which provider's."""

    kind: str
    product: str
    tcb: SnpTcbVersion
    hwid: bytes | None
    csp: str | None


@dataclass(frozen=True, slots=True)
class Chain:
    """A proven chain. ``windows`` (leaf, intermediate, root) and ``ask_serial`` are for what time decides."""

    leaf: Leaf
    key: EllipticCurvePublicKey
    grade: Grade
    ark: x509.Certificate
    ask_serial: int
    windows: tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class _ProvenList:
    revoked: frozenset[int]
    window: Window


_chains: ProvenCache[Chain] = ProvenCache(1024)
_lists: ProvenCache[_ProvenList] = ProvenCache(64)


def load_der(raw: Iterable[bytes]) -> tuple[x509.Certificate, ...]:
    """Certificates that travelled with the evidence. AMD gives every VCEK the serial number 0, which the
    parser warns about.

    Raises:
        EvidenceRefused: one of them is no certificate.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        try:
            return tuple(x509.load_der_x509_certificate(one) for one in raw)
        except ValueError as error:
            return refuse(Reason.ENDORSEMENT_MALFORMED, "DER certificates with the evidence", error)


def find_chain(
    kind: str, product: str | None, certificates: Sequence[x509.Certificate], roots: Roots, want: Leaf | None = None
) -> Chain:
    """Prove a chain for a leaf of this kind and product, out of certificates in any order.

    Args:
        kind: ``vcek`` or ``vlek``, as the report says.
        product: as the report's CPUID says; None for reports of version 2, which do not.
        certificates: everything that was supplied.
        roots: what may vouch.
        want: prefer a leaf with these levels and chip where several are there.

    Raises:
        EvidenceRefused: no leaf, or the first chain's first failure when none holds.
    """
    if len(certificates) > _MAXIMUM_CERTIFICATES:
        refuse(Reason.ENDORSEMENT_MALFORMED, f"at most {_MAXIMUM_CERTIFICATES} certificates", len(certificates))
    leaves = _leaves(kind, certificates)
    if want is not None:
        leaves.sort(key=lambda leaf: not _is_wanted(leaf, want))
    refusal: EvidenceRefused | None = None
    for leaf in leaves:
        for ask, ark in _issuers(leaf, certificates):
            try:
                return prove_chain(kind, product, leaf, ask, ark, roots)
            except EvidenceRefused as error:
                refusal = refusal or error
    if refusal is not None:
        raise refusal
    return refuse(
        Reason.ENDORSEMENT_MISSING,
        f"the issuers of {common_name(leaves[0])}, up to the root",
        "not among the endorsements",
    )


def prove_chain(
    kind: str, product: str | None, leaf: x509.Certificate, ask: x509.Certificate, ark: x509.Certificate, roots: Roots
) -> Chain:
    """Prove one chain by the module's rules; remembered by the fingerprints of all three.

    Raises:
        EvidenceRefused: the first rule that fails.
    """
    spki = spki_sha256(ark)
    grade = roots.grade_of(Tee.SNP, spki)
    if grade is None:
        refuse(Reason.UNTRUSTED_ROOT, "a pinned AMD root key", f"{common_name(ark)} {spki.hex()}")
    named = _product_of(kind, leaf, ask, ark, grade)
    if product is not None and named != product:
        refuse(Reason.SNP_PRODUCT_MISMATCH, f"a {product} chain, as the report's CPUID says", named)
    fingerprint = sha256(kind.encode() + grade.value.encode())
    for certificate in (leaf, ask, ark):
        fingerprint.update(sha256(certificate.public_bytes(Encoding.DER)).digest())
    name = fingerprint.digest()
    return _chains.get(name) or _chains.put(name, _prove(kind, named, leaf, ask, ark, grade))


def _prove(
    kind: str, product: str, leaf: x509.Certificate, ask: x509.Certificate, ark: x509.Certificate, grade: Grade
) -> Chain:
    _check_signed(ark, ark, "the root")
    _check_signed(ask, ark, "the intermediate")
    _check_signed(leaf, ask, "the leaf")
    _check_authority(ark)
    _check_authority(ask)
    key = leaf.public_key()
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP384R1):
        refuse(Reason.CHAIN_INVALID, "a P-384 key in the leaf", type(key).__name__)
    said = read_leaf(kind, leaf)
    if said.product != product:
        refuse(Reason.SNP_PRODUCT_MISMATCH, f"a leaf for {product}, as its issuer's name says", said.product)
    names = (common_name(leaf), common_name(ask), common_name(ark))
    windows = tuple(certificate_window(c, n) for c, n in zip((leaf, ask, ark), names, strict=True))
    return Chain(said, key, grade, ark, ask.serial_number, windows)


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


def check_revocation(chain: Chain, crls: Iterable[x509.CertificateRevocationList], now: datetime) -> bool:
    """Hold the intermediate against the root's revocation lists; foreign lists are passed over.

    Returns whether a list that is valid now was held against the chain. A list that the root did not sign
    although it carries its name is refused, and so is having only lists that are out of date. What an older
    list revoked stays revoked.

    Raises:
        EvidenceRefused: revoked, or a list that cannot be used.
    """
    own = [crl for crl in crls if crl.issuer == chain.ark.subject]
    lists = [_proven_list(crl, chain.ark) for crl in own]
    for known in lists:
        for serial, name in (
            (chain.ask_serial, chain.windows[1].name),
            (chain.ark.serial_number, chain.windows[2].name),
        ):
            if serial in known.revoked:
                refuse(Reason.CERTIFICATE_REVOKED, f"{name} not on the {known.window.name}", f"serial {serial:#x}")
    moment = seconds(now)
    if lists and not any(known.window.start <= moment <= known.window.end for known in lists):
        latest = max(known.window.end for known in lists)
        refuse(
            Reason.CRL_INVALID,
            f"a {lists[0].window.name} valid at {now.isoformat()}",
            f"valid to {datetime.fromtimestamp(latest, now.tzinfo).isoformat()}",
        )
    return bool(lists)


def _proven_list(crl: x509.CertificateRevocationList, ark: x509.Certificate) -> _ProvenList:
    raw = crl.public_bytes(Encoding.DER)
    name = sha256(ark.fingerprint(_SHA384) + raw).digest()
    known = _lists.get(name)
    if known is not None:
        return known
    label = f"revocation list of {common_name(ark)}"
    key = ark.public_key()
    try:
        _check_pss(crl.signature_algorithm_oid, crl.signature_algorithm_parameters)
        if not isinstance(key, RSAPublicKey) or not crl.is_signature_valid(key):
            refuse(Reason.CRL_INVALID, f"the {label} signed by it", "a signature that does not verify")
        if any(e.critical for e in crl.extensions):
            refuse(Reason.CRL_INVALID, f"the {label} without critical extensions", "a critical extension")
        revoked = frozenset(entry.serial_number for entry in crl)
    except (ValueError, TypeError) as error:
        refuse(Reason.CRL_INVALID, f"the {label}", error)
    if crl.next_update_utc is None:
        refuse(Reason.CRL_INVALID, f"the {label} with a next update", "none")
    window = Window(label, seconds(crl.last_update_utc), seconds(crl.next_update_utc))
    return _lists.put(name, _ProvenList(revoked, window))


# Choosing among what was supplied. Names only choose; prove_chain proves.


def _leaves(kind: str, certificates: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    found = [c for c in certificates if common_name(c).endswith(LEAF_NAMES[kind])]
    if found:
        return found
    other = "vlek" if kind == "vcek" else "vcek"
    if any(common_name(c).endswith(LEAF_NAMES[other]) for c in certificates):
        refuse(Reason.SNP_SIGNING_KEY, f"a {kind.upper()}, as the report says", f"a {other.upper()}")
    return refuse(Reason.ENDORSEMENT_MISSING, f"the {kind.upper()} of this report", "none")


def _is_wanted(certificate: x509.Certificate, want: Leaf) -> bool:
    try:
        leaf = read_leaf(want.kind, certificate)
    except EvidenceRefused:
        return False
    return leaf.tcb == want.tcb and (want.hwid is None or leaf.hwid == want.hwid[: len(leaf.hwid or b"")])


def _issuers(
    leaf: x509.Certificate, certificates: Sequence[x509.Certificate]
) -> Iterable[tuple[x509.Certificate, x509.Certificate]]:
    for ask in certificates:
        if ask.subject != leaf.issuer:
            continue
        for ark in certificates:
            if ark.subject == ask.issuer == ark.issuer:
                yield ask, ark


# The rules.


def _product_of(kind: str, leaf: x509.Certificate, ask: x509.Certificate, ark: x509.Certificate, grade: Grade) -> str:
    """Rule 1. A development root's names say more in front."""

    def fits(certificate: x509.Certificate, role: str) -> bool:
        name = common_name(certificate)
        return name == role if grade is Grade.HARDWARE else name.endswith(role)

    product = next((p for p in PRODUCTS if fits(ark, f"ARK-{p}")), None)
    if product is None:
        return refuse(Reason.CHAIN_INVALID, "a root named ARK-" + "|".join(PRODUCTS), common_name(ark))
    role = f"SEV-{product}" if kind == "vcek" else f"SEV-VLEK-{product}"
    if not fits(ask, role):
        refuse(Reason.CHAIN_INVALID, f"a {kind.upper()} issued by {role}", common_name(ask))
    if not fits(leaf, LEAF_NAMES[kind]):
        refuse(Reason.SNP_SIGNING_KEY, f"a leaf named {LEAF_NAMES[kind]}", common_name(leaf))
    return product


_SHA384 = SHA384()
_PSS = padding.PSS(mgf=padding.MGF1(_SHA384), salt_length=_SHA384.digest_size)


def _check_pss(algorithm: x509.ObjectIdentifier, parameters: object) -> None:
    if algorithm != SignatureAlgorithmOID.RSASSA_PSS or not isinstance(parameters, padding.PSS):
        raise ValueError(f"expected RSA-PSS, found {algorithm.dotted_string}")


def _check_signed(certificate: x509.Certificate, issuer: x509.Certificate, name: str) -> None:
    key = issuer.public_key()
    if not isinstance(key, RSAPublicKey) or key.key_size != _RSA_BITS:
        refuse(Reason.CHAIN_INVALID, f"{name} signed with RSA of {_RSA_BITS} bits", common_name(issuer))
    try:
        _check_pss(certificate.signature_algorithm_oid, certificate.signature_algorithm_parameters)
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, _PSS, _SHA384)
    except InvalidSignature:
        refuse(Reason.CHAIN_INVALID, f"{name} signed by {common_name(issuer)}", "a signature that does not verify")
    except (ValueError, TypeError) as error:
        refuse(Reason.CHAIN_INVALID, f"{name} signed with RSA-PSS and SHA-384", error)


def _check_authority(certificate: x509.Certificate) -> None:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError) as error:
        refuse(Reason.CHAIN_INVALID, f"{common_name(certificate)}: basic constraints and key usage", error)
    if not constraints.ca or not usage.key_cert_sign:
        refuse(Reason.CHAIN_INVALID, "an issuer that may sign certificates", common_name(certificate))


# The extensions of a leaf.


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
