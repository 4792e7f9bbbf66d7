"""A node's appraisals as tokens that other verifiers read: EAR (:mod:`sealmarket.attestation.policy.ear`), by job.

A token says what the node's own decision says and no more: it names no machine. EAR is signed with P-256, and a node's
signing key is of another curve. So a key of its own makes tokens, and the node's signing key signs for it. It opens and
decides nothing; a node without one makes one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sealmarket.attestation.core.model import TcbStatus
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.policy.ear import load_key, sign_claims, submodule, trust_values
from sealmarket.private_files import read_private, write_private
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.wire import DecisionDetail
from sealmarket_enclave.protocol.codec import Address, HexBytes, Shape
from sealmarket_enclave.protocol.numbers import JobId, Tee
from sealmarket_oracle.journal import Journal
from sealmarket_oracle.keys import NodeSigner

KEY_FILE = "ear.pem"
KEY_DOMAIN = b"sealmarket/ear-key/1\0"
"""Before the key, in what the node's signing key signs (EIP-191)."""
MEDIA_TYPE = "application/eat+jwt"


class EarKey(Shape, frozen=True, kw_only=True):
    """The key of a node's tokens: SubjectPublicKeyInfo in DER, and the node's signature over ``KEY_DOMAIN`` and it."""

    version: str = "sealmarket/ear-key/1"
    node: Address
    key: HexBytes
    signature: HexBytes


class Ears:
    """The tokens of one node. Threads may share it."""

    def __init__(
        self, journal: Journal, signer: NodeSigner, key: EllipticCurvePrivateKey, clock: Callable[[], float] = time.time
    ) -> None:
        self._journal, self._signer, self._key, self._clock = journal, signer, key, clock
        self._lock = threading.Lock()
        self._signed: EarKey | None = None

    def key(self) -> EarKey:
        """The key, which the node's signing key signs once for each process. Raises as the signer does."""
        with self._lock:
            if self._signed is None:
                der = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
                signature = self._signer.sign_text(KEY_DOMAIN + der)
                self._signed = EarKey(node=self._signer.address, key=HexBytes(der), signature=signature)
            return self._signed

    def token(self, job_id: JobId) -> str | None:
        """What the node decided on a job's evidence, signed now for five minutes; None before it decided."""
        record = self._journal.job(job_id)
        if record is None or record.evidence_hash is None:
            return None
        own = self._journal.own_decision(job_id, record.evidence_hash, record.spec.epoch)
        if own is None:
            return None
        submods = {record.spec.tee.slug: _submodule(record.spec.tee, own.decision, own.detail)}
        return sign_claims(submods, self._key, datetime.fromtimestamp(self._clock(), UTC))


def _submodule(tee: Tee, decision: Decision, detail: DecisionDetail) -> dict[str, object]:
    """One part. Evidence that proved nothing has no level, and is contraindicated like a broken signature."""
    known = {reason.value: reason for reason in Reason}
    reasons = {known[note.reason] for note in detail.findings if note.reason in known}
    doubts = reasons | {known[note.reason] for note in detail.warnings if note.reason in known}
    status = TcbStatus(detail.tcb_status) if detail.tcb_status else None
    vector = trust_values(reasons, doubts, status, debug=Reason.DEBUG in reasons)
    outcome = Outcome(decision.outcome)
    verdict = {
        "tee": tee.slug,
        "outcome": outcome.name.lower(),
        "reasons": sorted({note.reason for note in detail.findings}),
        "jobId": str(decision.job_id),
        "evidenceHash": str(decision.evidence_hash),
        "detail": str(decision.detail),
        "collateral": detail.collateral,
    }
    return submodule(
        vector, f"sealmarket:terms:{decision.terms_digest}", verdict, is_accepted=outcome is Outcome.ACCEPTED
    )


def own_key(path: Path) -> EllipticCurvePrivateKey:
    """The key in a file of mode 0600; made where there is none. Raises :class:`NotPrivate`, :class:`EarRefused`."""
    if not path.exists():
        made = generate_private_key(SECP256R1())
        write_private(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return load_key(read_private(path))
