"""What an auditor does: collect the proof of a job, and verify it. Needs no account, and trusts no party of the job.

This module alone of the SDK stands on :mod:`sealmarket.receipts`, which is built on the SDK's other modules.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Self

from msgspec.structs import replace

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.client.errors import ClientError
from sealmarket.client.market import Market, Settings
from sealmarket.client.results import fetch_evidence
from sealmarket.files import read_file
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.wire import EvidencePackage
from sealmarket.receipts.bundle import SUFFIX, ProofBundle, gather_proof, read_proof, write_proof
from sealmarket.receipts.facts import chain_facts
from sealmarket.receipts.model import Conclusion, Report, State, Trusted
from sealmarket.receipts.verify import verify_receipt
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.sealed.hpke import PrivateKey

__all__ = ["Auditor", "Conclusion", "NotProven", "Report"]


class NotProven(ClientError):
    """A proof does not reach the conclusion that was demanded."""

    def __init__(self, report: Report, wanted: Conclusion) -> None:
        bad = report.failures or report.checks_that_are(State.UNKNOWN, State.UNDISCLOSED)
        what = "; ".join(check.what for check in bad) or "no block hash was named"
        super().__init__(
            f"job {report.job_id} is {report.conclusion.value}, expected {wanted.value}: {what}",
            remedy="name a block hash that you trust and the evidence of a party; rely on nothing that is refuted",
        )
        self.report, self.wanted = report, wanted


class Auditor:
    """Verifies jobs of one market that the auditor knows by its own address book."""

    def __init__(self, market: Market, *, development_roots: Iterable[Path] = ()) -> None:
        """``development_roots``: root certificates (DER) of virtual devices to accept; such evidence is SIMULATED."""
        roots = [read_file(path) for path in development_roots]
        anchors = TrustAnchors.production()
        self._roots = anchors.with_development(*roots) if roots else anchors
        self._market = market

    @classmethod
    def connect(
        cls,
        *,
        profile: str | None = None,
        book: AddressBook | Path | str | None = None,
        rpc: str | None = None,
        development_roots: Iterable[Path] | None = None,
    ) -> Self:
        """An auditor with a connection of its own, which ends with ``with`` or :meth:`close`.

        ``development_roots``: None takes the profile's, where the market is the profile's too.

        Raises:
            NotConfigured: named neither here, nor in the environment, nor by a profile.
            ProfileRefused, AddressBookRefused, AddressBookChanged.
        """
        market = Market.open(book, rpc, profile=profile)
        try:
            roots = Settings(profile).development_roots(book) if development_roots is None else development_roots
            return cls(market, development_roots=roots)
        except BaseException:
            market.close()
            raise

    def close(self) -> None:
        """Close the connections."""
        self._market.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def collect(self, job_id: JobId, *, evidence: EvidencePackage | None = None) -> ProofBundle:
        """The public documents of a job that has ended, and the evidence if a party of the job passes it on.

        Raises:
            ProofInvalid: the job was not accepted, or runs.
            ItemNotFound, ContentMismatch: its receipt or a policy is not available.
        """
        return gather_proof(self._market.chain, self._market.store, job_id, evidence=evidence)

    def evidence(self, job_id: JobId, key: PrivateKey) -> EvidencePackage:
        """The evidence of a job, for the key of an auditor whom an owner's policy names, or a result key.

        Raises:
            JobNotFound: no such job.
            ItemNotFound: the store has no evidence of the hash on chain that opens with this key.
        """
        return fetch_evidence(self._market.chain, self._market.store, job_id, key).package

    def save(self, proof: ProofBundle, folder: Path) -> Path:
        """Write a proof file, named after its job, into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{str(proof.job_id)[2:14]}{SUFFIX}"
        write_proof(path, proof)
        return path

    def verify(
        self,
        proof: ProofBundle | Path | JobId,
        *,
        evidence: EvidencePackage | None = None,
        key: PrivateKey | None = None,
        at: Bytes32 | None = None,
    ) -> Report:
        """Walk the whole job, and say of each step what was expected and found. Raises for no claim of the proof.

        Args:
            proof: a bundle, the file of one, or a job's id: its documents are then collected.
            evidence: the evidence, if a party of the job passed it on beside the proof.
            key: an auditor's key that an owner's policy names, or a result key: the evidence is read with it, and it is
                compared that the nodes opened the same package.
            at: the hash of a block that you trust from another source: only then can the conclusion be ``PROVEN``.

        Raises:
            ProofInvalid: the file is no proof, or there is nothing to prove of the job yet.
            JobNotFound, ChainError, ServiceError: it could not be asked.
        """
        bundle = self._bundle(proof)
        if evidence is not None:
            bundle = replace(bundle, evidence=evidence)
        content = None
        if key is not None:
            opened = fetch_evidence(self._market.chain, self._market.store, bundle.job_id, key)
            bundle, content = replace(bundle, evidence=opened.package), opened.content
        facts = chain_facts(self._market.chain, bundle.job_id, at=at)
        trusted = Trusted(book=self._market.book, facts=facts, roots=self._roots, evidence_content=content)
        return verify_receipt(bundle, trusted)

    def require(
        self, proof: ProofBundle | Path | JobId, *, evidence: EvidencePackage | None = None, at: Bytes32
    ) -> Report:
        """As :meth:`verify`, and return only what is proven.

        Raises:
            NotProven: with the report, and what failed or is missing.
        """
        report = self.verify(proof, evidence=evidence, at=at)
        if report.conclusion is not Conclusion.PROVEN:
            raise NotProven(report, Conclusion.PROVEN)
        return report

    def _bundle(self, proof: ProofBundle | Path | JobId) -> ProofBundle:
        if isinstance(proof, ProofBundle):
            return proof
        return read_proof(proof) if isinstance(proof, Path) else self.collect(proof)
