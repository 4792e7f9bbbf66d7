"""Gate, step 7 and 9: which collateral is judged by, and what a vendor signed after the match. Pure.

A host shows collateral that it chose, and may choose some that is old and still valid. A node has its own: what counts
of it for the quote (:mod:`sealmarket.attestation.collateral.counting`) takes the place of what is shown and holds,
unless that is newer. Of revocation lists the newer one counts, or both, whatever document they came with.

A vendor rates a platform anew at any time, and the host shows what the vendor signs. Where a rating or a revocation
fails evidence, and the document that holds it was signed after the match, the job ends in the row of changed terms. A
rating that the node's own collateral had before the match is excused by no newer signature. A host that gets there
otherwise gains no more than by naming something as missing: nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealmarket.attestation.collateral.counting import Counting, rank, with_newer_lists
from sealmarket.attestation.collateral.store import describe
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.collateral import Entry, PlatformKind
from sealmarket.attestation.core.errors import CollateralError, EvidenceRefused
from sealmarket.attestation.core.evidence import Endorsements
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.tee import Issued
from sealmarket.attestation.raw import parse_endorsements, parse_raw
from sealmarket.attestation.registry import module_of
from sealmarket.protocol.reasons import JobReason
from sealmarket.protocol.wire import CollateralSource, EvidencePackage
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_oracle.gate.chain_rules import note
from sealmarket_oracle.gate.inputs import AppraisalInput, FaultRow, Violation

_LEVELS = frozenset(
    reason.code
    for reason in (
        Reason.TCB_STATUS_TOO_LOW,
        Reason.ADVISORY_NOT_ALLOWED,
        Reason.TCB_NO_LEVEL,
        Reason.TCB_REVOKED,
    )
)
_REVOCATIONS = frozenset({Reason.CERTIFICATE_REVOKED.code})


@dataclass(frozen=True, slots=True)
class Basis:
    """What evidence is judged by. ``digest`` names the collateral: Keccak-256 of its text, or of added lists' DER.

    ``rated_since``: a time at which the vendor had rated platforms alike, where the node knows one.
    """

    endorsements: Endorsements
    source: CollateralSource
    digest: Bytes32
    rated_since: datetime | None = None


# --- whose collateral -------------------------------------------------------------------------------------------


def kind_of(package: EvidencePackage, roots: TrustAnchors) -> PlatformKind | None:
    """The kind of platform that a package's evidence needs collateral of; None where its vendor issues none by kind.

    A quote says it itself. One that leaves it out, which its host can do, says it by the collateral that is shown.
    """
    try:
        return module_of(package.tee).platform_kind(parse_raw(package.tee, package.quote))
    except CollateralError:
        shown = _shown(package, roots)
        return shown.kind if shown is not None else None
    except EvidenceRefused:
        return None


def is_proven(package: EvidencePackage, kind: PlatformKind, roots: TrustAnchors) -> bool:
    """Whether the vendor itself says that there are platforms of this kind, by the collateral that is shown."""
    shown = _shown(package, roots)
    return shown is not None and shown.kind == kind


def _shown(package: EvidencePackage, roots: TrustAnchors) -> Entry | None:
    try:
        found = parse_endorsements(package.tee, package.collateral).collateral
        return describe(found, roots) if found is not None else None
    except (CollateralError, EvidenceRefused):
        return None


def basis_of(package: EvidencePackage, own: Counting, at: datetime, roots: TrustAnchors) -> Basis:
    """The newer of what the host shows and what counts of the node's own. ``at`` is the time of the quote.

    What the host shows has to hold by itself: a proof of the job carries that, and no node's own. What does not hold is
    the basis all the same, and is refused by it.

    Raises:
        CollateralError, EvidenceRefused: what is shown cannot be read.
    """
    shown = parse_endorsements(package.tee, package.collateral)
    held = _shown(package, roots)
    if own.entry is not None and held is not None and held.issued <= at <= held.expires:
        if rank(own.entry)[:2] > rank(held)[:2]:
            renewed = module_of(package.tee).renewed(shown, own.entry.collateral)
            return Basis(renewed, "own", keccak(own.entry.collateral.to_json()))
        return _with_own_lists(package, shown, own.entry, held, at)
    if added := _added(own.lists, shown.crls):
        lists = b"".join(crl.public_bytes(Encoding.DER) for crl in added)
        return Basis(replace(shown, crls=(*shown.crls, *added)), "own", keccak(lists))
    return Basis(shown, "host", keccak(package.collateral.encode()))


def _with_own_lists(package: EvidencePackage, shown: Endorsements, own: Entry, held: Entry, at: datetime) -> Basis:
    """What the host shows, which is newer as a whole, with each of the node's own revocation lists that is newer yet.

    A host may pair a rating of today with a list of last month: the vendor signs each for itself.
    """
    since = _rated_alike_since(package.tee, own, held)
    others = (own,) if own.kind == held.kind else ()
    joined = with_newer_lists(held, others, at, module_of(package.tee).with_list)
    if joined is held:
        return Basis(shown, "host", keccak(package.collateral.encode()), since)
    collateral = joined.collateral
    return Basis(replace(shown, collateral=collateral), "own", keccak(collateral.to_json()), since)


def _rated_alike_since(tee: Tee, own: Entry, shown: Entry) -> datetime | None:
    """When the vendor had rated platforms as the shown collateral does, by the node's own of the same evaluations."""
    if own.evaluations != shown.evaluations:
        return None
    return module_of(tee).issued(Endorsements(collateral=own.collateral)).levels


def _added(
    own: Iterable[x509.CertificateRevocationList], shown: Iterable[x509.CertificateRevocationList]
) -> list[x509.CertificateRevocationList]:
    """The node's own lists that the host does not show."""
    held = {crl.public_bytes(Encoding.DER) for crl in shown}
    return [crl for crl in own if crl.public_bytes(Encoding.DER) not in held]


# --- whose fault ------------------------------------------------------------------------------------------------


def excused(case: AppraisalInput, basis: Basis | None, violations: Iterable[Violation]) -> Iterator[Violation]:
    """The same violations. Those that rest on newer collateral are in the row that charges no party."""
    found = list(violations)
    codes = {violation.note.code for violation in found}
    newer = _newer(case, basis) if basis is not None and codes & (_LEVELS | _REVOCATIONS) else {}
    for violation in found:
        moment = newer.get(violation.note.code)
        if moment is None:
            yield violation
            continue
        yield Violation(FaultRow.NO_PARTY, violation.note)
        expected, signed = f"collateral of the match, {case.spec.matched_at}", f"signed at {int(moment.timestamp())}"
        yield Violation(FaultRow.NO_PARTY, note(JobReason.COLLATERAL_NEWER, "evidence", expected, signed))


def _newer(case: AppraisalInput, basis: Basis) -> dict[int, datetime]:
    """When it was signed, by the numbers of the reasons that rest on collateral which is newer than the match."""
    matched, issued = datetime.fromtimestamp(case.spec.matched_at, UTC), _issued(case.spec.tee, basis)
    groups = ((_LEVELS, basis.rated_since or issued.levels), (_REVOCATIONS, issued.revocations))
    return {code: moment for codes, moment in groups if moment is not None and moment > matched for code in codes}


def _issued(tee: Tee, basis: Basis) -> Issued:
    try:
        return module_of(tee).issued(basis.endorsements)
    except (CollateralError, EvidenceRefused):
        return Issued(None, None)
