"""Intel SGX and TDX quotes: authentic? (DCAP, "Intel SGX ECDSA quote library", and QVL's verifyQuote)

The steps of :func:`authenticate`, which stops at the first that fails:

1. The quote follows its layout to the last byte; nothing but zeros lies behind it.
2. Collateral is there; its chains end in one pinned root; a certificate made for signing TCB information
   signed it; no signer is revoked; it is for this TEE (PCS API v4).
3. Every certificate, CRL and document is valid at ``now``.
4. The PCK chain (from the quote, the collateral or the endorsements) ends in the same root, through the CA
   whose CRL is there; neither CA nor leaf is revoked.
5. The collateral is for this platform: FMSPC and PCEID are the leaf's.
6. The PCK key signed the QE report; the QE report commits to the attestation key; the QE is Intel's by QE
   identity (MRSIGNER, ISVPRODID, MISCSELECT, ATTRIBUTES) and not in debug.
7. The attestation key signed header, descriptor and body.
8. The TDX module is Intel's; platform, module and QE reach levels, joined to one status with its advisories.
9. dcap-qvl, a second implementation, verifies the same bytes and returns the same status. What it refuses by a
   policy of its own (debug, SEPT_VE_DISABLE, a service TD, no level, Revoked) must be visible in the proven
   bytes, and is appraised here.

The grade is that of the root. A QE signature or quote signature with ``n - s`` verifies as well, and genuine
platforms emit both halves: what names evidence is therefore the digest of what was signed, not of the
signature.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

import dcap_qvl
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from sealmarket.attestation.core.cache import ProvenCache
from sealmarket.attestation.core.errors import CollateralError, EventLogMalformed, refuse
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.model import _MAKER, AuthenticReport, Platform, Tcb, TcbStatus
from sealmarket.attestation.core.pki import check_windows, common_name
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.tee import Anchors
from sealmarket.attestation.intel.collateral import IntelCollateral
from sealmarket.attestation.intel.eventlog import RegisterMismatch, replay_against
from sealmarket.attestation.intel.pck import PckExtension
from sealmarket.attestation.intel.pki import ROLE_PCK, raw_key, verify_raw
from sealmarket.attestation.intel.quote import (
    PCK_CHAIN_PEM,
    Quote,
    SgxBody,
    TdBody,
    read_quote,
    read_sgx_body,
)
from sealmarket.attestation.intel.tcb import (
    Joined,
    QeIdentity,
    Rated,
    Rating,
    TcbInfo,
    isv_rating,
    masked_equal,
    rate,
)
from sealmarket.attestation.intel.trust import PckIdentity, Trusted, trust_collateral, trust_pck
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import Grade


def forget() -> None:
    """Empty this module's caches."""
    _enclaves.clear()
    _opinions.clear()
    _ratings.clear()


_SGX_DEBUG = 1 << 1
_TD_DEBUG = 1 << 0
_TD_UNREMARKABLE = 1 << 0 | 0b111 << 4 | 1 << 28 | 1 << 29
"""Bits that have a reason of their own: debug, profiling, SEPT_VE_DISABLE, migration."""


class IntelBody(msgspec.Struct, frozen=True, kw_only=True):
    """What the appraisal of a quote needs beyond the common report."""

    quote: Quote
    pck: PckExtension
    tcb_info: TcbInfo
    qe_identity: QeIdentity
    ratings: Mapping[str, Rating]
    engine: str
    replay: tuple[RegisterMismatch, ...] | None = None

    def claims(self) -> Mapping[str, Any]:
        """The body's fields, the platform's, and how each part was rated."""
        return {
            **self.quote.body.claims(),
            "quote_version": self.quote.version,
            "padding": self.quote.padding,
            "fmspc": self.pck.fmspc.hex(),
            "pce_id": self.pck.pce_id.hex(),
            "pce_svn": self.pck.pce_svn,
            "ppid": self.pck.ppid.hex(),
            "platform_instance_id": self.pck.platform_instance.hex() if self.pck.platform_instance else None,
            "sgx_type": self.pck.sgx_type,
            "platform_flags": sorted(self.pck.flags),
            "tcb_evaluation_data_numbers": [
                self.tcb_info.tcb_evaluation_data_number,
                self.qe_identity.evaluation_number,
            ],
            "event_log": None if self.replay is None else "mismatch" if self.replay else "replayed",
            "tcb_levels": {
                name: {"status": r.status.value, "date": r.date.date().isoformat() if r.date else None}
                for name, r in self.ratings.items()
            },
        }


def authenticate(evidence: Evidence, endorsements: Endorsements, anchors: Anchors, now: datetime) -> AuthenticReport:
    """Prove an SGX or TDX quote. See the module's steps.

    Raises:
        EvidenceRefused: the first step that failed, as a finding.
    """
    # 1. Layout.
    quote = read_quote(evidence.raw)
    # 2. Collateral under a pinned root.
    collateral = _collateral(endorsements)
    trusted = trust_collateral(collateral, quote.tee, anchors)
    # 3. Validity at this moment.
    moment = int(now.timestamp())
    if not trusted.valid_from <= moment <= trusted.valid_to:
        check_windows(trusted.windows, moment)
    # 4. The PCK chain under the same root.
    pck, chain_pem = _pck(quote, collateral, endorsements, trusted)
    check_windows(pck.windows, moment)
    # 5. Collateral of this platform.
    _check_platform(pck.extension, trusted.tcb_info)
    # 6. The quoting enclave.
    qe = _quoting_enclave(quote, pck, trusted, collateral)
    # 7. The quote itself.
    if not verify_raw(qe.key, quote.signature, quote.signed):
        refuse(
            Reason.SIGNATURE_INVALID,
            "a quote signed by its attestation key",
            "a signature that does not verify",
        )
    # 8. The level of each part.
    rated = _rate(trusted, collateral, pck.extension, quote.body, qe)
    joined = rated.joined
    # 9. A second implementation.
    said = _second_opinion(quote, evidence.raw, _with_chain(collateral, quote, chain_pem), trusted, joined, moment)
    body = IntelBody(
        quote=quote,
        pck=pck.extension,
        tcb_info=trusted.tcb_info,
        qe_identity=trusted.qe_identity,
        ratings=rated.parts,
        engine=said,
        replay=_replay(evidence, quote),
    )
    return _report(body, trusted, joined, now)


def _report(body: IntelBody, trusted: Trusted, joined: Joined, now: datetime) -> AuthenticReport:
    inner = body.quote.body
    debug = inner.flags & _SGX_DEBUG if isinstance(inner, SgxBody) else inner.attributes & _TD_DEBUG
    return AuthenticReport(
        maker=_MAKER,
        tee=body.quote.tee,
        grade=trusted.grade,
        measurement=inner.measurement,
        report_data=inner.report_data,
        evidence_digest=Bytes32(sha256(body.quote.signed + body.quote.attestation_key).digest()),
        tcb=Tcb(
            status=joined.status,
            advisories=joined.advisories,
            level_date=joined.date,
            evaluation_numbers=(
                trusted.tcb_info.tcb_evaluation_data_number,
                trusted.qe_identity.evaluation_number,
            ),
            expires=trusted.expires,
        ),
        platform=Platform(identity=body.pck.ppid),
        debug=bool(debug),
        body=body,
        authenticated_at=now,
    )


def _replay(evidence: Evidence, quote: Quote) -> tuple[RegisterMismatch, ...] | None:
    """Compare the evidence's event log with the proven registers; None when there is none."""
    if evidence.event_log is None or not isinstance(quote.body, TdBody):
        return None
    m = quote.body.measurement
    try:
        return replay_against(evidence.event_log, (m.rtmr0, m.rtmr1, m.rtmr2, m.rtmr3))
    except EventLogMalformed as error:
        refuse(Reason.RTMR_REPLAY, "an event log that can be replayed", error)


def _collateral(endorsements: Endorsements) -> IntelCollateral:
    found = endorsements.collateral
    if not isinstance(found, IntelCollateral):
        refuse(
            Reason.ENDORSEMENT_MISSING,
            "Intel collateral for this platform",
            "none" if found is None else found.tee.slug,
        )
    return found


def _pck(
    quote: Quote, collateral: IntelCollateral, endorsements: Endorsements, trusted: Trusted
) -> tuple[PckIdentity, bytes]:
    """The chain from the quote when it carries one, else from the collateral, else from the endorsements."""
    if quote.certification_type == PCK_CHAIN_PEM:
        pem = quote.certification
    elif not 1 <= quote.certification_type <= 3:
        refuse(Reason.UNSUPPORTED_FORMAT, "PCK certification data of type 1, 2, 3 or 5", quote.certification_type)
    elif collateral.pck_certificate_chain:
        pem = collateral.pck_certificate_chain.encode()
    else:
        pem = _chain_among(endorsements.certificates)
    return trust_pck(pem, trusted, collateral), pem


def _chain_among(certificates: tuple[x509.Certificate, ...]) -> bytes:
    """Leaf, CA and root out of loose certificates, by their names; ``trust_pck`` proves what they are."""
    by_subject = {c.subject: c for c in certificates}
    leaf = next((c for c in certificates if common_name(c).endswith(ROLE_PCK[0])), None)
    if leaf is None:
        refuse(Reason.PCK_MISSING, "a PCK certificate in the quote, collateral or endorsements", "none")
    authority = by_subject.get(leaf.issuer)
    root = by_subject.get(authority.issuer) if authority else None
    if authority is None or root is None:
        refuse(Reason.PCK_MISSING, f"the issuers of {common_name(leaf)}", "not among the endorsements")
    return b"".join(c.public_bytes(Encoding.PEM) for c in (leaf, authority, root))


def _with_chain(collateral: IntelCollateral, quote: Quote, pem: bytes) -> IntelCollateral:
    if quote.certification_type == PCK_CHAIN_PEM or collateral.pck_certificate_chain:
        return collateral
    return msgspec.structs.replace(collateral, pck_certificate_chain=pem.decode())


def _check_platform(pck: PckExtension, info: TcbInfo) -> None:
    if bytes.fromhex(info.fmspc) != pck.fmspc:
        refuse(Reason.FMSPC_MISMATCH, f"TCB info for {pck.fmspc.hex()}", info.fmspc)
    if bytes.fromhex(info.pce_id) != pck.pce_id:
        refuse(Reason.PCEID_MISMATCH, f"TCB info for PCE {pck.pce_id.hex()}", info.pce_id)


_ratings: ProvenCache[Rated] = ProvenCache(1024)


def _rate(
    trusted: Trusted, collateral: IntelCollateral, pck: PckExtension, body: SgxBody | TdBody, qe: QuotingEnclave
) -> Rated:
    """Step 8, once for all platforms of one level under one collateral."""
    of_module: tuple[bytes | None, ...] = ()
    if isinstance(body, TdBody):
        of_module = (body.tee_tcb_svn, body.tee_tcb_svn2, body.mr_signer_seam, body.seam_attributes)
    name = (collateral.fingerprint, pck.component_svns, pck.pce_svn, qe.isv_svn, of_module)
    return _ratings.get(name) or _ratings.put(name, rate(trusted.tcb_info, pck, body, qe.rating))


class QuotingEnclave(NamedTuple):
    """A proven quoting enclave: the attestation key that it vouches for, and its level."""

    key: EllipticCurvePublicKey
    isv_svn: int
    rating: Rating


_enclaves: ProvenCache[QuotingEnclave] = ProvenCache(4096)


def _quoting_enclave(quote: Quote, pck: PckIdentity, trusted: Trusted, collateral: IntelCollateral) -> QuotingEnclave:
    """Step 6, once for each platform and collateral: a quoting enclave keeps its attestation key."""
    material = quote.qe_report + quote.qe_signature + quote.attestation_key + quote.qe_auth
    name = sha256(collateral.fingerprint + pck.fingerprint + material).digest()
    known = _enclaves.get(name)
    if known is not None:
        return known
    if not verify_raw(pck.key, quote.qe_signature, quote.qe_report):
        refuse(Reason.QE_REPORT_SIGNATURE, "a QE report signed by the PCK key", "a signature that does not verify")
    qe = read_sgx_body(quote.qe_report)
    bound = sha256(quote.attestation_key + quote.qe_auth).digest() + bytes(32)
    if qe.report_data != bound:
        refuse(Reason.QE_BINDING, f"QE report data {bound.hex()}", qe.report_data.hex())
    _check_identity(qe, trusted.qe_identity)
    key = raw_key(quote.attestation_key)
    if key is None:
        refuse(Reason.SIGNATURE_INVALID, "an attestation key on the curve", quote.attestation_key.hex())
    rating = isv_rating(trusted.qe_identity.levels, qe.measurement.isv_svn)
    return _enclaves.put(name, QuotingEnclave(key, qe.measurement.isv_svn, rating))


def _check_identity(qe: SgxBody, identity: QeIdentity) -> None:
    m = qe.measurement
    if m.mr_signer != bytes.fromhex(identity.mrsigner):
        refuse(Reason.QE_IDENTITY, f"QE MRSIGNER {identity.mrsigner}", m.mr_signer.hex())
    if m.isv_prod_id != identity.isvprodid:
        refuse(Reason.QE_IDENTITY, f"QE ISVPRODID {identity.isvprodid}", m.isv_prod_id)
    if not masked_equal(m.misc_select, identity.miscselect, identity.miscselect_mask):
        refuse(Reason.QE_IDENTITY, f"QE MISCSELECT {identity.miscselect}", m.misc_select.hex())
    if not masked_equal(m.attributes, identity.attributes, identity.attributes_mask) or qe.flags & _SGX_DEBUG:
        refuse(Reason.QE_IDENTITY, f"QE ATTRIBUTES {identity.attributes} without debug", m.attributes.hex())


# What dcap-qvl refuses by its own policy, and the proven fact that must stand behind each refusal.
_OPINIONS: tuple[tuple[str, str], ...] = (
    ("Debug mode is enabled", "debug"),
    ("SEPT_VE_DISABLE is not enabled", "sept_ve_disable"),
    ("TD profiling is enabled", "profiling"),
    ("TD migration is enabled", "migratable"),
    ("SERVTD_EXT is enabled", "td_attributes"),
    ("Reserved bits in TD attributes are set", "td_attributes"),
    ("Invalid MR service TD", "service_td"),
    ("No matching TCB level found", "no_level"),
    ("is below minimum required", "no_level"),
    ("TCB status is invalid: Revoked", "revoked"),
)


class Opinion(NamedTuple):
    """What dcap-qvl returned: a status with its advisories, or the refusal by policy that the bytes explain."""

    outcome: str
    advisories: frozenset[str] | None


_opinions: ProvenCache[Opinion] = ProvenCache(4096)
_LENGTH_AND_SIGNATURE = 4 + 64


def _second_opinion(
    quote: Quote, raw: bytes, collateral: IntelCollateral, trusted: Trusted, joined: Joined, now: int
) -> str:
    """Step 9: dcap-qvl's answer for these bytes; returns its status or the policy refusal that it made."""
    behind_signature = raw[len(quote.signed) + _LENGTH_AND_SIGNATURE : quote.length]
    parts = (trusted.root_spki, collateral.fingerprint, *quote.without_report_data, behind_signature)
    name = sha256(b"".join(parts)).digest()
    opinion = _opinions.get(name)
    if opinion is None:
        opinion = _opinions.put(name, _ask(quote, raw[: quote.length], collateral, trusted, joined, now))
    if opinion.advisories is not None and opinion != (joined.status.value, frozenset(joined.advisories)):
        refuse(
            Reason.ENGINE_DISAGREES,
            f"dcap-qvl to return {joined.status.value} {sorted(joined.advisories)}",
            f"{opinion.outcome} {sorted(opinion.advisories)}",
        )
    return opinion.outcome


def _ask(quote: Quote, raw: bytes, collateral: IntelCollateral, trusted: Trusted, joined: Joined, now: int) -> Opinion:
    try:
        if trusted.grade is Grade.HARDWARE:
            result = dcap_qvl.verify(raw, collateral.engine, now)
        else:
            result = dcap_qvl.verify_with_root_ca(raw, collateral.engine, trusted.root_der, now)
    except (ValueError, CollateralError) as error:
        return Opinion(_explain_refusal(str(error), quote, joined), None)
    return Opinion(str(result.status), frozenset(result.advisory_ids))


def _explain_refusal(message: str, quote: Quote, joined: Joined) -> str:
    body = quote.body
    facts = {
        "no_level": joined.status is TcbStatus.NO_LEVEL,
        "revoked": joined.status is TcbStatus.REVOKED,
        "debug": _debug(body),
    }
    if isinstance(body, TdBody):
        bits = body.attributes
        facts["sept_ve_disable"] = not bits >> 28 & 1
        facts["profiling"] = bool(bits >> 4 & 0b111)
        facts["migratable"] = bool(bits >> 29 & 1)
        facts["td_attributes"] = bool(bits & ~_TD_UNREMARKABLE)
        facts["service_td"] = any(body.mr_service_td or b"")
    for text, fact in _OPINIONS:
        if text in message and facts.get(fact, False):
            return fact
    return refuse(Reason.ENGINE_REFUSED, "dcap-qvl to verify the same quote", message)


def _debug(body: SgxBody | TdBody) -> bool:
    return bool(body.flags & _SGX_DEBUG if isinstance(body, SgxBody) else body.attributes & _TD_DEBUG)
