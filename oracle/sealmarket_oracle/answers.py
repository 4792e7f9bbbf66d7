"""What a node answers about jobs and its log: from the journal alone, signed anew from what stands in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Literal

from sealmarket.protocol import decisions
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.wire import FindingNote, NodeStatus, SignedDecision, SignedStop
from sealmarket_enclave.protocol.codec import HexBytes, Shape, decode
from sealmarket_enclave.protocol.eip712 import TypedShape
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle.chain_record import JobRecord
from sealmarket_oracle.journal import Journal, Promise
from sealmarket_oracle.keys import NodeSigner
from sealmarket_oracle.log.entries import MOST_ENTRIES_SHOWN, HeldTail, JournalTail, LogPart, SignedTail, TailStep
from sealmarket_oracle.peers import take_tail
from sealmarket_oracle.witnesses import Witnesses, holders_for_serving

_LONGEST_REASON = 4096
_SIGNED = 1024
"""Statements whose signature stays in memory."""


class StopRecord(Shape, frozen=True, kw_only=True):
    """A promise never to release, as it is written down: what will be signed, and why."""

    stop: decisions.Stop
    findings: tuple[FindingNote, ...]


class Answers:
    """The answers of one node. Threads may share it."""

    def __init__(
        self,
        book: AddressBook,
        journal: Journal,
        signer: NodeSigner,
        witnesses: Witnesses,
        held: Callable[[JobId], str | None],
    ) -> None:
        """``held``: why the operator holds the machine of a job back, or None."""
        self._book, self._journal, self._signer, self._witnesses = book, journal, signer, witnesses
        self._held = held
        self._sign = lru_cache(maxsize=_SIGNED)(self._sign_now)
        self._committees = {committee.epoch: committee for committee in book.committees}

    def status(self, job_id: JobId, waits_for: str) -> NodeStatus:
        """What the node decided and did about one job; ``waits_for`` is what it knows beside the journal."""
        record = self._journal.job(job_id)
        if record is None:
            reason = self._journal.unreadable(job_id) or "no final block has this job"
            return NodeStatus(job_id=job_id, state="unknown", reason=reason[:_LONGEST_REASON])
        return self.of(record, waits_for)

    def of(self, record: JobRecord, waits_for: str) -> NodeStatus:
        """As :meth:`status`, for a job that the journal has."""
        job_id, decision = record.job_id, self._signed_decision(record)
        promised = self._journal.promised(job_id)
        state: Literal["decided", "waiting"] = "decided" if decision else "waiting"
        if promised is None:
            reason = "the job has ended" if record.ended else waits_for
            return NodeStatus(job_id=job_id, state=state, reason=reason[:_LONGEST_REASON], decision=decision)
        kind, body = promised
        if (unserved := self._unheld(record) or self._withheld(job_id, kind)) is not None:
            reason = unserved[:_LONGEST_REASON]
            return NodeStatus(job_id=job_id, state=state, reason=reason, decision=decision)
        if kind == "release":
            release = HexBytes(body)
            return NodeStatus(job_id=job_id, state="released", reason="", decision=decision, release=release)
        stop = self._signed_stop(decode(StopRecord, body))
        return NodeStatus(job_id=job_id, state="stopped", reason="", decision=decision, stop=stop)

    def take_tail(self, step: TailStep) -> HeldTail:
        """Hold what a peer says of its journal. Raises :class:`MalformedDocument`."""
        return take_tail(self._journal, self._book, step)

    def log_part(self, first: int) -> LogPart:
        """The audit log from an entry on, as far as one answer goes."""
        head = self._journal.head()
        tail = JournalTail(journal=head.journal, epoch=self._journal.identity.epoch, size=head.size, root=head.root)
        entries = self._journal.entries(first, max(0, min(MOST_ENTRIES_SHOWN, head.size - first)))
        return LogPart(tail=SignedTail(tail=tail, signature=self.signed(tail)), entries=tuple(entries))

    def _unheld(self, record: JobRecord) -> str | None:
        """Why a promise is not served yet (:mod:`witnesses`, rule 3)."""
        size = self._journal.promise_size(record.job_id)
        if self._journal.awaits_mark(size):
            return "a promise is written, and served once the mark beside the journal has it"
        needed = holders_for_serving(self._committees[record.spec.epoch])
        if size <= self._journal.witnessed or (holders := self._witnesses.holders(size)) >= needed:
            return None
        return f"a promise is written, and served once {needed} peers hold the journal's tail; {holders} do"

    def _withheld(self, job_id: JobId, kind: Promise) -> str | None:
        """Why a release that is promised is not given, or not any more. The promise stands, and no stop follows it."""
        why = self._held(job_id) if kind == "release" else None
        return f"a release is promised, and not served: {why}" if why is not None else None

    def _signed_decision(self, record: JobRecord) -> SignedDecision | None:
        if record.evidence_hash is None:
            return None
        own = self._journal.own_decision(record.job_id, record.evidence_hash, record.spec.epoch)
        if own is None:
            return None
        return SignedDecision(
            decision=own.decision,
            index=self.index_in(record.spec.epoch),
            signature=self.signed(own.decision),
            detail=own.detail,
        )

    def _signed_stop(self, record: StopRecord) -> SignedStop:
        return SignedStop(
            stop=record.stop,
            index=self.index_in(record.stop.epoch),
            signature=self.signed(record.stop),
            findings=record.findings,
        )

    def signed(self, statement: TypedShape) -> HexBytes:
        """The node's signature over a statement on this market; made once, since clients and peers ask again."""
        return self._sign(statement)

    def _sign_now(self, statement: TypedShape) -> HexBytes:
        return self._signer.sign_statement(statement, self._book.chain_id, self._book.market)

    def index_in(self, epoch: int) -> int:
        """The node's place in the committee of an epoch."""
        members = self._committees[epoch].members
        return next(index for index, member in enumerate(members) if member.signer == self._signer.address)
