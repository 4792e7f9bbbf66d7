"""AWS Nitro attestation documents: authentic? (Nitro Enclaves user guide, "Verifying the root of trust")

The steps of :func:`authenticate`, which stops at the first that fails:

1. The document follows its layout to the last byte, and each key comes once.
2. Its certificates lead from a pinned root to the enclave's leaf (:mod:`sealmarket.attestation.nitro.chain`).
3. Every certificate is valid at the document's own time. The leaf lives three hours, so the judge's clock decides
   nothing here; how old the document may be is appraised for every TEE alike (``signed_at``).
4. The leaf's key signed the document.

The grade is that of the root. The name of a document is the digest of what was signed, so neither ``n - s`` nor the
COSE tag gives it another. Report data is the user data; nonce and public key are signed with it and shown as claims.

Checks considered and rejected: ``s <= n/2`` (AWS emits both), revocation lists (AWS says to leave them out), the
document's ``nonce`` as report data (our 64 bytes are in the user data).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from sealmarket.attestation.core.cose import verify_sign1
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.model import _MAKER, AuthenticReport, Platform, Tcb, TcbStatus
from sealmarket.attestation.core.pki import check_windows, seconds
from sealmarket.attestation.core.tee import Anchors
from sealmarket.attestation.nitro.chain import prove_chain
from sealmarket.attestation.nitro.document import NitroDocument, read_document
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import Tee


@dataclass(frozen=True, slots=True, kw_only=True)
class NitroBody:
    """What the appraisal of a document needs beyond the common report."""

    document: NitroDocument

    def claims(self) -> Mapping[str, Any]:
        """The document's fields."""
        return self.document.claims()


def authenticate(evidence: Evidence, endorsements: Endorsements, anchors: Anchors, now: datetime) -> AuthenticReport:
    """Prove a Nitro document. See the module's steps.

    Raises:
        EvidenceRefused: the first step that failed, as a finding.
    """
    del endorsements  # a document carries all its certificates
    # 1. Layout.
    document = read_document(evidence.raw)
    # 2. Chain under a pinned root.
    chain, grade = prove_chain(document.cabundle, document.certificate, anchors)
    # 3. Validity at the document's time.
    check_windows(chain.windows, seconds(document.timestamp))
    # 4. The document itself.
    verify_sign1(document.cose, chain.key, "the Nitro document")
    instance = document.instance
    return AuthenticReport(
        maker=_MAKER,
        tee=Tee.NITRO,
        grade=grade,
        measurement=document.measurement,
        report_data=document.report_data,
        evidence_digest=Bytes32(sha256(document.cose.signed).digest()),
        tcb=Tcb(status=TcbStatus.NOT_RATED, expires=chain.expires),
        platform=Platform(identity=None if instance is None else instance.encode()),
        debug=document.debug,
        body=NitroBody(document=document),
        authenticated_at=now,
        signed_at=document.timestamp,
    )


def unverified_claims(evidence: Evidence) -> dict[str, Any]:
    """What a document says of itself, without any proof; for looking at evidence only.

    Raises:
        EvidenceRefused: not the layout.
    """
    document = read_document(evidence.raw)
    return {**document.claims(), "report_data": document.report_data.hex(), "debug": document.debug}
