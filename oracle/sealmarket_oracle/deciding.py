"""Decides on one case: fetches what the gate looks at, appraises, and writes the decision down before it is signed."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.chain.interface import ChainReader
from sealmarket.protocol.decisions import Outcome
from sealmarket.store.interface import NodeStore
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.numbers import Grade
from sealmarket_oracle.collateral import CollateralKeeper, note_judged, own_for
from sealmarket_oracle.documents import DocumentCache, open_evidence, stored_evidence, with_promise
from sealmarket_oracle.gate.decide import decide
from sealmarket_oracle.gate.inputs import (
    AppraisalInput,
    Decided,
    Defer,
    EvidenceOpened,
    EvidenceShown,
    EvidenceUnavailable,
    MarketRef,
)
from sealmarket_oracle.handed import HandedEvidence
from sealmarket_oracle.journal import Journal
from sealmarket_oracle.keys import NodeKeys
from sealmarket_oracle.recalls import Recalls

_log = logging.getLogger("sealmarket.oracle")
_UNKEPT = 1000


@dataclass(frozen=True, slots=True)
class Appraised:
    """A decision that is not written yet, and the key of the enclave in the evidence (empty without evidence)."""

    case: AppraisalInput
    decided: Decided
    enclave_key: bytes


class Deciding:
    """The decisions of one node."""

    def __init__(
        self,
        chain: ChainReader,
        journal: Journal,
        store: NodeStore,
        keys: NodeKeys,
        market: MarketRef,
        roots: TrustAnchors,
        *,
        documents: DocumentCache,
        handed: HandedEvidence,
        collateral: CollateralKeeper | None,
        recalls: Recalls | None,
    ) -> None:
        self._chain, self._journal, self._store, self._keys = chain, journal, store, keys
        self._market, self._roots, self._documents, self._handed = market, roots, documents, handed
        self._collateral, self._recalls = collateral, recalls
        self._unkept: deque[bytes] = deque(maxlen=_UNKEPT)

    def appraise(self, case: AppraisalInput) -> Appraised | Defer:
        """What the gate decides, or what it waits for.

        Raises:
            ServiceError: the store gave no usable answer.
        """
        documents = self._documents.fetch(self._market, case.committee, case.index, case.assets)
        documents = self._documents.with_materials(documents, case.spec, case.assets)
        opened = self._evidence(case)
        documents = with_promise(documents, case.spec, opened)
        shown = opened if isinstance(opened, EvidenceUnavailable) else self._shown(opened, case)
        if isinstance(shown, Defer):
            return shown
        decided = decide(case, documents, shown, self._keys.hpke, self._roots)
        if isinstance(decided, Defer):
            return decided
        if (why := self._held(decided)) is not None:
            return Defer(why)
        return Appraised(case, decided, shown.package.enclave_key if isinstance(shown, EvidenceShown) else b"")

    def _held(self, decided: Decided) -> str | None:
        """Why nothing may be accepted; the machine is known from now on, since others may accept it for all that."""
        if self._recalls is None:
            return None
        self._recalls.saw(decided.decision.job_id, decided.machines)
        return self._recalls.held(decided.machines) if decided.decision.outcome is Outcome.ACCEPTED else None

    def keep(self, appraised: Appraised) -> None:
        """Write a decision down. Raises :class:`JournalError`: it is not, and nothing is signed."""
        decided, decision = appraised.decided, appraised.decided.decision
        note_judged(self._collateral, appraised.case, decided)
        own = self._journal.decide(decided, appraised.enclave_key)
        self._unkept.append(own.detail.canonical())
        reasons = ", ".join(finding.reason for finding in decided.detail.findings) or "no finding"
        kind = "SIMULATED evidence" if decision.grade == Grade.SIMULATED else "evidence"
        _log.info("job %s: decided %s on %s: %s", decision.job_id, decision.outcome.name.lower(), kind, reasons)

    def keep_details(self) -> None:
        """Put decisions' details where a reader of the chain finds them by hash; they are in our answers as well."""
        while self._unkept:
            try:
                self._store.put_document(self._unkept[0])
            except SealmarketError as error:
                _log.debug("a decision's detail waits for the store: %s", error)
                return
            self._unkept.popleft()

    def _evidence(self, case: AppraisalInput) -> EvidenceOpened | EvidenceUnavailable:
        """What the provider handed in, or else what the store has."""
        handed = self._handed.find(case.job_id)
        if handed is not None and isinstance(found := open_evidence(case, handed, self._keys.hpke), EvidenceOpened):
            return found
        return open_evidence(case, stored_evidence(self._store, case.job_id, case.evidence_hash), self._keys.hpke)

    def _shown(self, opened: EvidenceOpened, case: AppraisalInput) -> EvidenceShown | Defer:
        held = own_for(self._collateral, opened.package, case, self._roots)
        if isinstance(held, Defer):
            return held
        # Only blocks that could pass are asked for: the number comes from the evidence, which is not trusted.
        number = opened.package.block_number
        could_pass = case.matched.number <= number <= case.quoted.number
        named = self._chain.block(number) if could_pass else None
        recalls = self._recalls.in_force(case.spec.matched_at) if self._recalls is not None else ()
        return EvidenceShown(
            package=opened.package,
            content=opened.content,
            readers=opened.readers,
            named=named,
            own=held,
            recalls=recalls,
        )
