"""Evidence that a provider hands to this node itself, since a store could hide it.

It is held in memory, for jobs that wait for this node's decision; what is lost or does not fit is read from the store.
"""

from __future__ import annotations

import threading
from collections.abc import Set

from sealmarket.protocol.orders import EvidenceSeal
from sealmarket.sealing.evidence import read_evidence
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.signing import SignatureRefused, recover
from sealmarket_oracle.errors import EvidenceNotTaken, QuoteUnseen
from sealmarket_oracle.gate.inputs import MarketRef
from sealmarket_oracle.journal import Journal

HELD_BYTES = 64 << 20
"""Of all jobs together. Beyond it the largest package leaves."""


class HandedEvidence:
    """One sealed package for each job, of its provider; a later one replaces it. Threads may share it."""

    def __init__(self, journal: Journal, market: MarketRef, limit: int = HELD_BYTES) -> None:
        self._journal, self._market = journal, market
        self._limit, self._size = limit, 0
        self._held: dict[JobId, bytes] = {}
        self._lock = threading.Lock()

    def expect(self, job_id: JobId, evidence_hash: Bytes32, sealed_hash: Bytes32, signature: HexBytes) -> None:
        """Whether this node waits for a package of this sender, by the journal alone: asked before anything is read.

        ``signature`` is over the EIP-712 ``EvidenceSeal``, which names the package's sealed hash.

        Raises:
            QuoteUnseen: not yet.
            EvidenceNotTaken: the job is decided, or has other evidence on chain, or another provider.
        """
        record = self._journal.job(job_id)
        if record is None or record.evidence_hash is None:
            raise QuoteUnseen(job_id)
        if record.ended or self._journal.own_decision(job_id, record.evidence_hash, record.spec.epoch) is not None:
            raise EvidenceNotTaken(job_id, "a job that this node has not decided", "one that it has")
        if evidence_hash != record.evidence_hash:
            raise EvidenceNotTaken(job_id, f"evidence {record.evidence_hash}", evidence_hash)
        seal = EvidenceSeal(job_id=job_id, evidence_hash=evidence_hash, sealed_hash=sealed_hash)
        digest = seal.digest(self._market.chain_id, self._market.address)
        if (found := _signer(digest, signature)) != str(record.spec.provider):
            raise EvidenceNotTaken(job_id, f"a signature of {record.spec.provider}", found)

    def take(self, job_id: JobId, sealed_hash: Bytes32, raw: bytes) -> None:
        """Hold the package that was expected, as far as there is room.

        Raises:
            MalformedDocument: it is no sealed package.
            EvidenceNotTaken: it is not the one that the provider signed.
        """
        if (found := read_evidence(raw).sealed_hash) != sealed_hash:
            raise EvidenceNotTaken(job_id, f"a package with the sealed hash {sealed_hash}", found)
        self.keep(job_id, raw)

    def keep(self, job_id: JobId, sealed: bytes) -> None:
        """Hold a package that was checked, as far as there is room."""
        with self._lock:
            self._drop(job_id)
            self._held[job_id] = sealed
            self._size += len(sealed)
            while self._size > self._limit:
                self._drop(max(self._held, key=lambda job: len(self._held[job])))

    def find(self, job_id: JobId) -> bytes | None:
        """The package of a job, if one is held."""
        return self._held.get(job_id)

    def keep_only(self, waiting: Set[JobId]) -> None:
        """Forget all other jobs."""
        with self._lock:
            for job_id in self._held.keys() - waiting:
                self._drop(job_id)

    def _drop(self, job_id: JobId) -> None:
        self._size -= len(self._held.pop(job_id, b""))


def _signer(digest: Bytes32, signature: HexBytes) -> str:
    try:
        return str(recover(digest, signature))
    except SignatureRefused as error:
        return error.message
