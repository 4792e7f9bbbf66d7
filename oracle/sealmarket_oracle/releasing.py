"""Promises of a look at the chain, made together: one read of the heads, and one commit.

The heads are read after everything else that a release waits for, the store's answers among it, once for all its jobs,
and what is promised is written at once. So nothing that speaks against a release is older than sealing the shares of
:data:`MOST_AT_ONCE` jobs takes, however many jobs there are and however slow the store is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sealmarket.chain.interface import ChainReader, ProvableView
from sealmarket.chain.quorum import AtEndpoint
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.wire import FindingNote
from sealmarket.service.errors import ServiceError
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle.answers import StopRecord
from sealmarket_oracle.chain_record import JobRecord
from sealmarket_oracle.documents import DocumentCache
from sealmarket_oracle.gate.inputs import AppraisalInput, Defer, JobDocuments, MarketRef
from sealmarket_oracle.journal import Journal, NewPromise, OwnDecision, Promise
from sealmarket_oracle.keys import NodeKeys
from sealmarket_oracle.release import (
    Allow,
    AtHead,
    MarketTiming,
    Stop,
    judge,
    outvoted,
    seal_release,
    stop_of,
    unanimous,
)

_log = logging.getLogger("sealmarket.oracle")
MOST_AT_ONCE = 64
Heads = Sequence[AtEndpoint[tuple[AtHead, ...]]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job that a quorum accepted, and that this node has promised nothing about.

    ``shares``: what a release takes of the store, or why that is not at hand. A stop takes nothing of it.
    """

    record: JobRecord
    case: AppraisalInput
    own: OwnDecision | None
    shares: JobDocuments | Defer


@dataclass(frozen=True, slots=True)
class Due:
    """The promise that is due about a candidate: never to release, where ``stop`` says why, or else its release."""

    candidate: Candidate
    stop: Stop | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A promise that is not written yet, so no reader may see it. ``words`` is what the log says once it is."""

    candidate: Candidate
    kind: Promise
    body: bytes
    words: str


class Releasing:
    """Judges candidates at the heads, and writes what follows."""

    def __init__(
        self,
        chain: ChainReader,
        journal: Journal,
        documents: DocumentCache,
        keys: NodeKeys,
        market: MarketRef,
        timing: Callable[[AppraisalInput], MarketTiming],
        held: Callable[[JobId], str | None],
    ) -> None:
        """``held``: why the operator holds the machine of a job back, or None."""
        self._chain, self._journal, self._documents, self._keys = chain, journal, documents, keys
        self._market, self._timing, self._held = market, timing, held

    def candidate(self, record: JobRecord, case: AppraisalInput, own: OwnDecision | None) -> Candidate:
        """A job with what its release takes. The store may be slow, so it is asked before the heads are read."""
        shares: JobDocuments | Defer = JobDocuments()
        if own is not None and own.decision.outcome is Outcome.ACCEPTED:
            try:
                shares = self._documents.fetch_shares(self._market, case.committee, case.index, case.assets)
            except ServiceError as error:
                shares = Defer(error.message)  # a promise to stop is due all the same
        return Candidate(record, case, own, shares)

    def heads(self, candidates: Sequence[Candidate]) -> Heads:
        """The state of all candidates at the newest block of each endpoint, now. Raises :class:`ChainError`."""
        specs = [candidate.record.spec for candidate in candidates]

        def read(view: ProvableView) -> tuple[AtHead, ...]:
            view.prepare(specs)
            return tuple(_at_head(spec, view) for spec in specs)

        return self._chain.heads(read)

    def judge(self, candidate: Candidate, place: int, heads: Heads) -> Due | Defer:
        """Which promise is due about the candidate at a place of the heads, or why none is."""
        record, own, case = candidate.record, candidate.own, candidate.case
        if record.quorum is None:
            raise AssertionError("a candidate has a quorum")
        decision, timing = own.decision if own else None, self._timing(case)
        verdicts = [judge(record.spec, decision, record.quorum, case.slot, head.value[place], timing) for head in heads]
        for alone in outvoted(verdicts):
            self._chain.doubt(heads[alone].endpoint, heads[alone].block)
        match unanimous(verdicts):
            case Allow():
                if (why := self._held(record.job_id)) is not None:
                    return Defer(why)
                return candidate.shares if isinstance(candidate.shares, Defer) else Due(candidate, None)
            case Stop() as stop:
                return Due(candidate, stop)
            case Defer() as verdict:
                return verdict

    def prepare(self, due: Due) -> Prepared:
        """The promise that is due.

        Raises:
            SealmarketError: a share does not open or seal; the job waits.
        """
        candidate = due.candidate
        if due.stop is not None:
            return _stop(candidate, due.stop.findings)
        own, shares = candidate.own, candidate.shares
        if own is None or isinstance(shares, Defer):
            raise AssertionError("a release takes an own decision, and shares")
        release = seal_release(candidate.case, own.decision, own.enclave_key, shares, self._keys)
        words = f"released {len(release.shares)} shares, sealed to the enclave"
        return Prepared(candidate=candidate, kind="release", body=release.raw, words=words)

    def keep(self, promises: Sequence[Prepared]) -> None:
        """Write promises in one transaction, in order: all are on disk when this returns.

        Raises:
            JournalError: none is written.
        """
        self._journal.promise(
            *(NewPromise(one.candidate.record.job_id, one.kind, one.body, one.candidate.case.at) for one in promises)
        )
        for one in promises:
            _log.info("job %s: %s", one.candidate.record.job_id, one.words)


def _at_head(spec: JobSpec, view: ProvableView) -> AtHead:
    states = tuple(view.asset(use.asset_id, use.version) for use in spec.assets)
    return AtHead(block=view.block, slot=view.job(spec.request_hash), states=states)


def _stop(candidate: Candidate, findings: tuple[FindingNote, ...]) -> Prepared:
    body = StopRecord(stop=stop_of(candidate.case, findings), findings=findings)
    words = "promised never to release: " + ", ".join(finding.reason for finding in findings)
    return Prepared(candidate=candidate, kind="stop", body=body.canonical(), words=words)
