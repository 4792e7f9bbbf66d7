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
from sealmarket.client.consumer_sets import ConsumerSets, LeavesStore
from sealmarket.client.renewals import Ask
from sealmarket.protocol.book import Committee
from sealmarket.protocol.services import ServiceDocument
from sealmarket.sealing.evidence import EvidenceSealer
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, decode_canonical
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.policy import PolicyDocument
from sealmarket_enclave.protocol.session import SessionTerms
from sealmarket_enclave.runtime.channel import Evidence
from sealmarket_worker.announcing import Announcer
from sealmarket_worker.errors import InputMissing
from sealmarket_worker.gateway import Gateway, Hosted
from sealmarket_worker.hosting import LOOK_SECONDS, NodeRenewals, ServiceRun, StatementLog
from sealmarket_worker.materials import Materials
from sealmarket_worker.service_money import STATEMENTS, ServiceMoney, ServiceRecord, Treasury
from sealmarket_worker.session import EnclaveSession, key_hash_of

TERMS = "terms"


@dataclass(frozen=True, slots=True)
class Services:
    """What a host needs for services: where users reach them, how nodes are asked, and its state folder."""

    gateway: Gateway
    ask: Ask
    state: Path
    look_seconds: float = LOOK_SECONDS
    treasury: Treasury | None = None
    """None on a host for which another program sends what belongs on chain."""
    store: LeavesStore | None = None
    """Where the lists behind consumer sets are; None where every set is open."""
    announcer: Announcer | None = None
    """None on a host that the market does not list."""

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
    sealer: EvidenceSealer
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
        sets = ConsumerSets(self._chain, self._services.store, quoted.materials.spec)
        renewals = NodeRenewals(
            book, quoted.committee, quoted.job_id, self._final_block, self._services.ask, sets.paths, self._removed
        )
        run = ServiceRun(
            self.link,
            renewals,
            terms,
            self._chain_time,
            self._drain,
            money=self._money(terms),
            committee=quoted.committee,
            stands=self._stands,
            look_seconds=self._services.look_seconds,
        )
        self._stack.enter_context(run)
        hosted = Hosted(self.link, lambda: self._document(terms), lambda key: self._quoted.sealer.wrapped([key]).raw)
        self._services.gateway.add(quoted.job_id, hosted)
        self._stack.callback(self._services.gateway.remove, quoted.job_id)
        if self._services.announcer is not None:
            self._stack.enter_context(self._services.announcer.of(quoted.job_id))

    def close(self) -> None:
        """Take no requests any more; answers that run end."""
        self._stack.close()
        self.link.close()

    def _money(self, terms: SessionTerms) -> ServiceMoney | None:
        """What is sent to the chain for this service."""
        if self._services.treasury is None:
            return None
        evidence = self._quoted.evidence
        record = ServiceRecord(
            spec=self._quoted.materials.spec,
            terms=terms,
            evidence_hash=Bytes32(evidence.evidence_hash),
            enclave_signer=Address(evidence.signer),
            enclave_key_hash=key_hash_of(evidence),
        )
        return self._services.treasury.of(record)

    def _stands(self) -> bool:
        """Whether no asset is revoked at a final block; what is revoked stays so. A silent chain ends no service."""
        try:
            view = self._chain.at(self._chain.final())
            return not any(view.asset(use.asset_id, use.version).revoked for use in self._quoted.materials.spec.assets)
        except ChainError:
            return True

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

    def _final_block(self) -> int:
        return self._chain.final().number

    def _removed(self) -> frozenset[int]:
        return self._chain.at(self._chain.head()).removed_members(self._quoted.committee.epoch)

    def _chain_time(self) -> int:
        """0 while the chain is silent: a service does not end for that."""
        try:
            return self._chain.head().timestamp
        except ChainError:
            return 0
