"""A job of kind session on this host, from the stage in which its enclave serves to its end.

The terms lie in the host's state folder as ``terms/HASH.json``, under the ``extensionHash`` of the request, since the
provider of a service is its consumer too. An enclave that does not get them ends unsigned.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sealmarket.chain import ChainReader
from sealmarket.chain.errors import ChainError
from sealmarket.protocol.book import AddressBook, Committee
from sealmarket.protocol.services import ServiceDocument
from sealmarket.protocol.wire import EvidencePackage
from sealmarket.sealing.contexts import EvidenceInfo
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes, decode_canonical
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.policy import PolicyDocument
from sealmarket_enclave.protocol.session import SessionTerms
from sealmarket_enclave.runtime.channel import Evidence
from sealmarket_enclave.sealed.hpke import PublicKey
from sealmarket_worker.errors import InputMissing
from sealmarket_worker.gateway import Gateway, Hosted
from sealmarket_worker.hosting import LOOK_SECONDS, Ask, NodeRenewals, Post, ServiceRun, StatementLog
from sealmarket_worker.materials import Materials
from sealmarket_worker.session import EnclaveSession

TERMS, STATEMENTS = "terms", "statements"


@dataclass(frozen=True, slots=True)
class Services:
    """What a host needs for services: where users reach them, how nodes are asked, and its state folder."""

    gateway: Gateway
    ask: Ask
    state: Path
    look_seconds: float = LOOK_SECONDS
    post: Post = lambda _signed: False

    def terms(self, spec: JobSpec) -> bytes | None:
        """The canonical terms that a request names; None where this host does not have them."""
        path = self.state / TERMS / f"{spec.extension_hash.hex()}.json"
        return path.read_bytes() if path.is_file() else None


@dataclass(frozen=True, slots=True)
class Quoted:
    """A job after its quote: what its enclave was given and said, as users of a service are shown it."""

    job_id: JobId
    materials: Materials
    evidence: Evidence
    package: EvidencePackage
    committee: Committee


class JobServing:
    """One service. :meth:`begin` is called when its enclave serves; ``link`` hears what the enclave says."""

    def __init__(
        self, services: Services, chain: ChainReader, session: EnclaveSession, quoted: Quoted, drain: threading.Event
    ) -> None:
        self._services, self._chain, self._quoted, self._drain = services, chain, quoted, drain
        self.link = session.link(StatementLog(services.state / STATEMENTS, quoted.job_id).keep)
        self._stack = ExitStack()

    def begin(self) -> None:
        """Take users' requests, and fetch renewals. Raises :class:`InputMissing` without terms."""
        quoted, book = self._quoted, self._chain.book
        raw = self._services.terms(quoted.materials.spec)
        if raw is None:
            raise InputMissing("the terms of the service", f"put them into the folder {TERMS} of the state folder")
        terms = decode_canonical(SessionTerms, raw)
        renewals = NodeRenewals(book, quoted.committee, quoted.job_id, self._final_block, self._services.ask)
        look = self._services.look_seconds
        run = ServiceRun(
            self.link, renewals, terms, self._chain_time, self._drain, post=self._services.post, look_seconds=look
        )
        self._stack.enter_context(run)
        hosted = Hosted(self.link, lambda: self._document(terms), lambda key: self._sealed(book, key))
        self._services.gateway.add(quoted.job_id, hosted)
        self._stack.callback(self._services.gateway.remove, quoted.job_id)

    def close(self) -> None:
        """Take no requests any more; answers that run end."""
        self._stack.close()
        self.link.close()

    def _document(self, terms: SessionTerms) -> bytes:
        materials, evidence = self._quoted.materials, self._quoted.evidence
        policies = (raw for raw in materials.policies if raw is not None)
        return ServiceDocument(
            spec=materials.spec,
            terms=terms,
            seals=materials.seals,
            policies=tuple(decode_canonical(PolicyDocument, raw) for raw in policies),
            evidence_hash=Bytes32(evidence.evidence_hash),
            enclave_key=HexBytes(evidence.enclave_key),
            statement=self.link.statement,
        ).canonical()

    def _sealed(self, book: AddressBook, key: PublicKey) -> bytes:
        info = EvidenceInfo(
            chain_id=book.chain_id,
            market=book.market,
            job_id=self._quoted.job_id,
            epoch=self._quoted.materials.spec.epoch,
            hpke_key=key.digest,
        )
        return key.seal(self._quoted.package.canonical(), info)

    def _final_block(self) -> int:
        return self._chain.final().number

    def _chain_time(self) -> int:
        """0 while the chain is silent: a service does not end for that."""
        try:
            return self._chain.head().timestamp
        except ChainError:
            return 0
