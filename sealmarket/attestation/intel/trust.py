"""Intel's endorsements, proven: collateral and PCK chains up to a pinned root, each once per fingerprint.

Cached results do not depend on time: every validity is kept as a window and is checked at each use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from sealmarket.attestation.core.cache import ProvenCache
from sealmarket.attestation.core.errors import CollateralError, refuse
from sealmarket.attestation.core.pki import Window, certificate_window, common_name, spki_sha256
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.tee import Anchors
from sealmarket.attestation.intel.collateral import IntelCollateral
from sealmarket.attestation.intel.pck import (
    END,
    NAME,
    Leaf,
    PckExtension,
    check_issued,
    read_extension,
    read_leaf,
    subject_of,
)
from sealmarket.attestation.intel.pki import (
    ROLE_PCK,
    ROLE_PCK_CA,
    ROLE_TCB_SIGNING,
    Crl,
    check_certificate_authority,
    check_link,
    check_role,
    key_of,
    read_blocks,
    read_certificates,
    read_chain,
    read_crl,
    verify_raw,
)
from sealmarket.attestation.intel.tcb import (
    QeIdentity,
    TcbInfo,
    expected_ids,
    read_qe_identity,
    read_tcb_info,
)
from sealmarket_enclave.protocol.numbers import Grade, Tee


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """Proven collateral. ``authority`` is the PCK CA whose CRL this is; ``root`` the root that all chains
    share."""

    root: x509.Certificate
    root_der: bytes
    root_spki: bytes
    grade: Grade
    tcb_info: TcbInfo
    qe_identity: QeIdentity
    authority: x509.Certificate
    pck_crl: Crl
    root_crl: Crl
    windows: tuple[Window, ...]
    valid_from: int
    valid_to: int
    expires: datetime


class PckIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """A proven PCK leaf: its key, its platform, and when its chain holds.

    ``fingerprint`` is that of the collateral and of the whole chain as it was sent.
    """

    key: EllipticCurvePublicKey
    fingerprint: bytes
    extension: PckExtension
    windows: tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class _Issuer:
    """A PCK CA that is proven under the collateral's root and CRL: what its leaves are held against."""

    subject: bytes
    key: EllipticCurvePublicKey
    window: Window


_collaterals: ProvenCache[Trusted] = ProvenCache(64)
_leaves: ProvenCache[PckIdentity] = ProvenCache(4096)
_issuers: ProvenCache[_Issuer] = ProvenCache(64)


def forget() -> None:
    """Empty the caches."""
    _collaterals.clear()
    _issuers.clear()
    forget_platforms()


def forget_platforms() -> None:
    """Empty the cache of PCK leaves, and keep what collateral and CAs are proven."""
    _leaves.clear()


def trust_collateral(collateral: IntelCollateral, tee: Tee, anchors: Anchors) -> Trusted:
    """Prove collateral for a TEE under the given anchors.

    Raises:
        EvidenceRefused: a chain, a CRL, a signature, a signer's purpose or a document's kind is not right.
    """
    known = _collaterals.get(collateral.fingerprint)
    trusted = known or _prove(collateral, anchors, tee)
    # Anchors belong to the caller and not to the proof: they are asked anew each time.
    if anchors.grade_of(tee, trusted.root_spki) is not trusted.grade:
        refuse(Reason.UNTRUSTED_ROOT, f"a trusted root for {tee.slug}", trusted.root_spki.hex())
    _check_kind(trusted, tee)
    return known or _collaterals.put(collateral.fingerprint, trusted)


def _prove(collateral: IntelCollateral, anchors: Anchors, tee: Tee) -> Trusted:
    tcb_chain = read_chain(collateral.tcb_info_issuer_chain, "TCB info issuer chain")
    qe_chain = read_chain(collateral.qe_identity_issuer_chain, "QE identity issuer chain")
    crl_chain = read_chain(collateral.pck_crl_issuer_chain, "PCK CRL issuer chain")
    root = tcb_chain[-1]
    root_spki, grade = trust_root(root, tee, anchors)
    root_crl = read_crl(bytes.fromhex(collateral.root_ca_crl.removeprefix("0x")), root, "root CA CRL")
    windows = [certificate_window(root, "Intel root CA"), root_crl.window]
    for chain, name in (
        (tcb_chain, "TCB info signer"),
        (qe_chain, "QE identity signer"),
        (crl_chain, "PCK CA"),
    ):
        roles = ROLE_PCK_CA if chain is crl_chain else ROLE_TCB_SIGNING
        windows.append(_prove_signer(chain, roles, root, grade, root_crl, name))
    pck_crl = read_crl(bytes.fromhex(collateral.pck_crl.removeprefix("0x")), crl_chain[0], "PCK CRL")
    _check_signature(tcb_chain[0], collateral.tcb_info_signature, collateral.tcb_info, "TCB info")
    _check_signature(qe_chain[0], collateral.qe_identity_signature, collateral.qe_identity, "QE identity")
    tcb_info, qe_identity = read_tcb_info(collateral.tcb_info), read_qe_identity(collateral.qe_identity)
    windows += [pck_crl.window, tcb_info.window(), qe_identity.window()]
    return Trusted(
        root=root,
        root_der=root.public_bytes(Encoding.DER),
        root_spki=root_spki,
        grade=grade,
        tcb_info=tcb_info,
        qe_identity=qe_identity,
        authority=crl_chain[0],
        pck_crl=pck_crl,
        root_crl=root_crl,
        windows=tuple(windows),
        valid_from=max(w.start for w in windows),
        valid_to=min(w.end for w in windows),
        expires=datetime.fromtimestamp(min(w.end for w in windows), UTC),
    )


def _spki(certificate: x509.Certificate) -> bytes:
    try:
        return spki_sha256(certificate)
    except CollateralError as error:
        return refuse(Reason.CHAIN_INVALID, "a certificate with a readable key", error)


def trust_root(root: x509.Certificate, tee: Tee, anchors: Anchors) -> tuple[bytes, Grade]:
    """Hold a root against the pins, by key and not by name; it must be its own issuer."""
    spki = _spki(root)
    grade = anchors.grade_of(tee, spki)
    if grade is None:
        return refuse(
            Reason.UNTRUSTED_ROOT,
            f"a trusted root for {tee.slug}",
            f"{root.subject.rfc4514_string()} {spki.hex()}",
        )
    check_link(root, root, "root")
    return spki, grade


def _prove_signer(
    chain: Sequence[x509.Certificate],
    roles: Sequence[str],
    root: x509.Certificate,
    grade: Grade,
    crl: Crl,
    name: str,
) -> Window:
    if len(chain) != 2:
        refuse(Reason.CHAIN_INVALID, f"{name}: two certificates, signer and root", len(chain))
    if _spki(chain[1]) != _spki(root):
        refuse(Reason.UNTRUSTED_ROOT, f"{name} under the same root", _spki(chain[1]).hex())
    check_role(common_name(chain[0]), roles, grade, Reason.SIGNER_PURPOSE)
    check_link(chain[0], root, name)
    crl.check(chain[0].serial_number, common_name(chain[0]), name)
    return certificate_window(chain[0], name)


def _check_signature(signer: x509.Certificate, signature: str, text: str, name: str) -> None:
    """The signature covers the exact text as served."""
    if not verify_raw(key_of(signer, name), bytes.fromhex(signature.removeprefix("0x")), text.encode()):
        refuse(Reason.SIGNATURE_INVALID, f"{name} signed by its issuer chain", "a signature that does not verify")


def _check_kind(trusted: Trusted, tee: Tee) -> None:
    tcb_id, qe_id = expected_ids(tee)
    found = (
        trusted.tcb_info.id,
        trusted.tcb_info.version,
        trusted.qe_identity.id,
        trusted.qe_identity.version,
    )
    if found != (tcb_id, 3, qe_id, 2):
        refuse(
            Reason.COLLATERAL_TEE,
            f"TCB info {tcb_id} v3 and QE identity {qe_id} v2",
            "{} v{} and {} v{}".format(*found),
        )


def trust_pck(pem: bytes, trusted: Trusted, collateral: IntelCollateral) -> PckIdentity:
    """Prove a PCK chain in PEM (leaf, CA, root) under the collateral's root and CRLs.

    A chain is proven once for each collateral; so are the CA and the root that many platforms share.

    Raises:
        EvidenceRefused: not three certificates, another root or CA than the collateral's, a link that does
            not hold, a wrong purpose, or a revoked certificate.
    """
    name = sha256(collateral.fingerprint + pem).digest()
    known = _leaves.get(name)
    if known is not None:
        return known
    chain = pem.rstrip(b"\0")
    if not chain.isascii():
        refuse(Reason.CHAIN_INVALID, "a PCK chain in PEM", f"{len(chain)} bytes that are not ASCII")
    own, end, above = chain.partition(END)
    issuer = _issuers.get((collateral.fingerprint, above))
    if issuer is None:
        issuer = _issuers.put((collateral.fingerprint, above), _trust_issuer(above, trusted))
    (block,) = _blocks(own + end, 1)
    return _leaves.put(name, _trust_leaf(read_leaf(block), name, issuer, trusted))


def _blocks(pem: bytes, count: int) -> tuple[bytes, ...]:
    blocks = read_blocks(pem, "PCK chain")
    if len(blocks) != count:
        refuse(Reason.CHAIN_INVALID, "a PCK chain of leaf, CA and root", f"{len(blocks)} in place of {count}")
    return blocks


def _trust_issuer(above: bytes, trusted: Trusted) -> _Issuer:
    authority, root = read_certificates(_blocks(above, 2), "PCK chain")
    if _spki(root) != trusted.root_spki:
        refuse(Reason.UNTRUSTED_ROOT, f"the root {trusted.root_spki.hex()}", _spki(root).hex())
    if authority.subject != trusted.authority.subject or _spki(authority) != _spki(trusted.authority):
        refuse(
            Reason.CRL_INVALID,
            f"a CRL of {authority.subject.rfc4514_string()}",
            f"of {trusted.authority.subject.rfc4514_string()}",
        )
    check_role(common_name(authority), ROLE_PCK_CA, trusted.grade, Reason.CHAIN_INVALID)
    check_link(authority, trusted.root, "PCK CA")
    trusted.root_crl.check(authority.serial_number, common_name(authority), "PCK CA")
    check_certificate_authority(authority, NAME)
    return _Issuer(subject_of(authority), key_of(authority, "PCK CA"), certificate_window(authority, "PCK CA"))


def _trust_leaf(leaf: Leaf, fingerprint: bytes, issuer: _Issuer, trusted: Trusted) -> PckIdentity:
    check_role(leaf.name, ROLE_PCK, trusted.grade, Reason.CHAIN_INVALID)
    check_issued(leaf, issuer.subject, issuer.key)
    trusted.pck_crl.check(leaf.serial, leaf.name, NAME)
    extension = read_extension(leaf.sgx)
    return PckIdentity(key=leaf.key, fingerprint=fingerprint, extension=extension, windows=(leaf.window, issuer.window))
