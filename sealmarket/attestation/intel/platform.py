"""What Intel's collateral is for: the kind of platform that a quote shows, and that proven collateral names."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography import x509
from msgspec.structs import replace

from sealmarket.attestation.core.certificates import load_crl
from sealmarket.attestation.core.collateral import Collateral, Entry, PlatformKind
from sealmarket.attestation.core.errors import CollateralError
from sealmarket.attestation.core.evidence import Evidence
from sealmarket.attestation.core.pki import common_name
from sealmarket.attestation.core.tee import Anchors, Issued
from sealmarket.attestation.intel.collateral import IntelCollateral
from sealmarket.attestation.intel.pck import read_extension, read_leaf
from sealmarket.attestation.intel.pki import read_blocks, read_certificates
from sealmarket.attestation.intel.quote import PCK_CHAIN_PEM, read_quote
from sealmarket.attestation.intel.tcb import read_qe_identity, read_tcb_info
from sealmarket.attestation.intel.trust import Trusted, trust_collateral


def platform_kind(evidence: Evidence) -> PlatformKind:
    """The collateral that a quote needs, as its PCK certificate says, unproven.

    Raises:
        EvidenceRefused: not a quote, or a PCK chain that cannot be read.
        CollateralError: a quote without a PCK chain.
    """
    quote = read_quote(evidence.raw)
    if quote.certification_type != PCK_CHAIN_PEM:
        raise CollateralError("the quote carries no PCK chain", remedy="name --fmspc and --ca yourself")
    block = read_blocks(quote.certification.rstrip(b"\0"), "PCK chain")[0]
    (certificate,) = read_certificates([block], "PCK chain")
    issuer = certificate.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    processor = bool(issuer) and str(issuer[0].value).endswith("Processor CA")
    fmspc = read_extension(read_leaf(block).sgx).fmspc.hex()
    return PlatformKind(quote.tee, fmspc, "processor" if processor else "platform")


def describe(collateral: IntelCollateral, anchors: Anchors) -> Entry:
    """Prove collateral and state what it is for.

    Raises:
        EvidenceRefused: it does not hold under the anchors.
    """
    trusted: Trusted = trust_collateral(collateral, collateral.tee, anchors)
    evaluations = (trusted.tcb_info.tcb_evaluation_data_number, trusted.qe_identity.evaluation_number)
    return Entry(
        kind=PlatformKind(
            collateral.tee,
            trusted.tcb_info.fmspc.lower(),
            "processor" if common_name(trusted.authority).endswith("Processor CA") else "platform",
        ),
        collateral=collateral,
        issued=datetime.fromtimestamp(trusted.valid_from, UTC),
        expires=datetime.fromtimestamp(trusted.valid_to, UTC),
        evaluation_number=min(evaluations),
        grade=trusted.grade,
        evaluations=evaluations,
        lists=tuple(datetime.fromtimestamp(crl.window.start, UTC) for crl in (trusted.root_crl, trusted.pck_crl)),
    )


def renewed(shown: Collateral | None, own: Collateral) -> Collateral:
    """A verifier's own collateral, with the chain of the platform's certificate where the shown collateral holds it."""
    if not isinstance(shown, IntelCollateral) or not isinstance(own, IntelCollateral):
        return own
    return replace(own, pck_certificate_chain=shown.pck_certificate_chain)


def with_list(collateral: Collateral, other: Collateral, place: int) -> Collateral:
    """Collateral with the root's list (0) or that of the platforms' authority (1) of another's of its kind."""
    if not isinstance(collateral, IntelCollateral) or not isinstance(other, IntelCollateral):
        return collateral
    if place == 0:
        return replace(collateral, root_ca_crl=other.root_ca_crl)
    return replace(collateral, pck_crl=other.pck_crl, pck_crl_issuer_chain=other.pck_crl_issuer_chain)


def issued(collateral: IntelCollateral) -> Issued:
    """When Intel signed TCB info, QE identity and revocation lists. Raises as :meth:`TeeModule.issued`."""
    lists = [load_crl(bytes.fromhex(text.removeprefix("0x"))) for text in (collateral.root_ca_crl, collateral.pck_crl)]
    levels = max(read_tcb_info(collateral.tcb_info).issue_date, read_qe_identity(collateral.qe_identity).issue_date)
    return Issued(levels, max(crl.last_update_utc for crl in lists))
