"""One job on this host, from its match to its settlement.

Steps; the journal's state stands where a crash would find it:

1. ``matched``: gather and check everything that the job names, for a share of the quote window. What is not available
   in time, or is false, is marked: the job is quoted all the same, and the nodes say whose fault it is.
2. Launch an enclave and take its evidence, over a block that is final now.
3. ``quoting``: post the evidence hash, once. ``quoted`` when that is final; then post the evidence, sealed to nodes.
4. Wait for the committee. Ask the enclave at once whether the job can run at all. Take releases from whichever nodes
   answer, until the enclave holds enough right shares; or post their promises never to release, once enough say so.
5. Serve ciphertext while the job is open on chain; take what the enclave signed. ``finished``: the journal has it.
6. Upload ciphertext, envelope and receipt, post the result; settle if no other party does. ``done`` when final.

A job that ends in another way is given up, with the reason in the journal and in the progress log.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sealmarket.chain import BlockGone, ChainReader, ChainUnavailable, Enclave, JobSlot, Reverted, RpcRefused
from sealmarket.chain.events import JobQuoted
from sealmarket.protocol.book import Committee
from sealmarket.protocol.orders import Quote
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import NodeStatus
from sealmarket.service.errors import (
    ContentMismatch,
    ItemNotFound,
    ServiceError,
    ServiceRefused,
    ServiceUnavailable,
)
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, decode_canonical, to_builtins
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.release import SignedComplaint
from sealmarket_enclave.runtime.channel import Evidence
from sealmarket_enclave.sealed.result import ResultEnvelope
from sealmarket_worker.committee import committee_of
from sealmarket_worker.drivers.interface import Driver, DriverError
from sealmarket_worker.errors import EnclaveLost, InputMissing, JobOver
from sealmarket_worker.evidence import package, sealed_envelope
from sealmarket_worker.journal import JobEntry, JobState, Journal
from sealmarket_worker.limits import OperatorLimits
from sealmarket_worker.materials import Materials, MaterialStore, nothing
from sealmarket_worker.nodes import Nodes, releases_of, stops_of
from sealmarket_worker.progress import Listener, ProgressReporter, StageName
from sealmarket_worker.session import EnclaveSession, Outcome, key_hash_of
from sealmarket_worker.transactions import ProviderTransactions
from sealmarket_worker.watch import Watch
from sealmarket_worker.why import why_over

_T = TypeVar("_T")
_LATER = (ChainUnavailable, BlockGone, ServiceUnavailable, ItemNotFound, ContentMismatch)
_FINISHED = frozenset({Status.SETTLED, Status.MATURED, Status.CHALLENGED, Status.FAILED})
_GRACE_SECONDS = 120
"""How long past its deadline a job may stay unclosed before the host stops waiting for the closing transaction."""
_STAGES: dict[str, StageName] = {
    "importing": "load",
    "opening": "open",
    "computing": "compute",
    "sealing": "seal",
}


class Stopping(Exception):
    """The host was asked to stop; the journal says where it stood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostContext:
    """What all jobs of a host share. ``sign`` is the provider's signature over typed data of this market."""

    chain: ChainReader
    transactions: ProviderTransactions
    store: Store
    nodes: Nodes
    driver: Driver
    materials: MaterialStore
    journal: Journal
    sign: Callable[[Quote], HexBytes]
    state: Path
    stop: threading.Event
    listeners: tuple[Listener, ...] = ()
    poll_seconds: float = 0.3
    settle_patience_seconds: float = 20.0
    prepare_share_of_window: float = 0.5
    limits: OperatorLimits = field(default_factory=OperatorLimits)


class JobRun:
    """Carries one job as far as it goes."""

    def __init__(self, host: HostContext, job_id: JobId) -> None:
        self._host, self._job_id = host, job_id
        self._progress = ProgressReporter(job_id, host.listeners)

    def run(self) -> None:
        """Run from wherever the journal says; returns when the job is done, given up, or the host stops."""
        try:
            entry = self._host.journal.job(self._job_id)
            if entry.state in (JobState.MATCHED, JobState.QUOTING):
                self._work(entry)
            elif entry.state is JobState.QUOTED:
                raise EnclaveLost("the host was restarted after the quote")
            if self._host.journal.job(self._job_id).state is JobState.FINISHED:
                self._post(self._host.journal.job(self._job_id))
        except Stopping:
            self._progress.note("the host stops; the journal holds where it stood")
        except (SealmarketError, OSError) as error:
            self._host.journal.give_up(self._job_id, str(error))
            self._progress.fail(str(error))

    # --- steps 1 to 5 -----------------------------------------------------------------------------------------------

    def _work(self, entry: JobEntry) -> None:
        self._progress.begin("prepare", f"job {self._job_id}")
        slot = self._slot(entry)
        if slot.status is not Status.MATCHED:
            if entry.state is JobState.QUOTING:
                raise EnclaveLost("the host was restarted after the quote")
            raise JobOver(slot.status.name.lower(), "matched")
        materials = self._materials(entry, slot)
        committee = self._patiently(lambda: committee_of(self._host.chain, entry.spec.epoch), slot.deadline)
        self._progress.begin("quote", "an enclave starts")
        # Until the quote is sent any enclave will do, so one that is lost is replaced.
        session, evidence = self._patiently(lambda: self._launch(materials), slot.deadline, DriverError, EnclaveLost)
        with session:
            self._quote(entry, evidence, committee, materials)
            self._collect(entry, session, committee, evidence)
            outcome = self._finish(entry, session, materials)
        # On a full disk the word is kept in memory and written as soon as there is room.
        deadline = self._slot(entry).deadline
        self._patiently(lambda: self._host.journal.finished(self._job_id, outcome), deadline, sqlite3.OperationalError)

    def _launch(self, materials: Materials) -> tuple[EnclaveSession, Evidence]:
        session = self._host.driver.launch()
        try:
            return session, session.load(materials.load(self._host.chain.book, self._host.chain.final()))
        except BaseException:
            session.close()
            raise

    def _materials(self, entry: JobEntry, slot: JobSlot) -> Materials:
        # Time must be left for the quote itself.
        latest = slot.deadline - round(entry.spec.quote_window * self._host.prepare_share_of_window)
        seals = []
        for use in entry.spec.assets:
            seal = self._host.journal.seal(use.seal_hash)
            if seal is None:
                raise InputMissing(f"the seal of asset {use.asset_id}", "the chain published none with that hash")
            seals.append(seal)
        if (why := self._host.limits.against_terms(entry.spec)) is not None:
            return self._declined(nothing(entry.spec, tuple(seals)), why)
        fetcher, reported = self._host.materials.fetcher(entry.spec, tuple(seals)), ""
        while (materials := fetcher.poll()).missing:
            lacking = "; ".join(materials.missing.values())
            if lacking != reported:
                reported = lacking
                self._progress.note(lacking)
            if self._is_over(latest):
                self._progress.note("it is quoted without; the oracle nodes say whose fault that is")
                break
            self._pause()
        return self._within_limits(materials)

    def _within_limits(self, materials: Materials) -> Materials:
        size = sum(path.stat().st_size for path in materials.containers.values())
        if materials.bundle is None:
            return materials
        why = self._host.limits.against_inputs(materials.spec, materials.bundle.manifest, size)
        return materials if why is None else self._declined(materials, why)

    def _declined(self, materials: Materials, why: str) -> Materials:
        self._progress.note(f"beyond this host's limits, and quoted without its workload: {why}")
        return materials.declined(why)

    def _quote(self, entry: JobEntry, evidence: Evidence, committee: Committee, materials: Materials) -> None:
        evidence_hash = Bytes32(evidence.evidence_hash)
        collateral = self._host.driver.endorsements()
        signature = self._host.sign(Quote(job_id=self._job_id, evidence_hash=evidence_hash))
        content = package(evidence, self._host.driver.tee, collateral, materials.missing, materials.manifest)
        book = self._host.chain.book
        envelope = sealed_envelope(content, evidence_hash, book, committee, materials.first_key, signature)
        self._host.journal.quoting(self._job_id, evidence_hash, key_hash_of(evidence))
        self._patiently(lambda: self._send_quote(entry, evidence_hash), self._slot(entry).deadline, RpcRefused)
        self._wait_for(entry, lambda slot: slot.status is not Status.MATCHED)
        self._host.journal.quoted(self._job_id)
        self._progress.begin(
            "decision", f"evidence {evidence_hash} is on chain, sealed to {len(envelope.sealed)} nodes"
        )
        self._patiently(lambda: self._host.store.post_evidence(envelope), self._slot(entry).deadline, ServiceRefused)

    def _send_quote(self, entry: JobEntry, evidence_hash: Bytes32) -> None:
        # An answer that was lost does not say that the transaction was: what the chain has is not sent again.
        if self._head(entry).status is not Status.MATCHED and self._quoted_as(entry) == evidence_hash:
            return
        try:
            self._host.transactions.quote(entry.spec, evidence_hash)
        except Reverted:
            if self._quoted_as(entry) != evidence_hash:
                raise

    def _quoted_as(self, entry: JobEntry) -> Bytes32 | None:
        events = self._host.chain.events(entry.matched_block, self._host.chain.head().number)
        quotes = (event for event in events if isinstance(event, JobQuoted) and event.job_id == self._job_id)
        return next((event.evidence_hash for event in quotes), None)

    def _collect(self, entry: JobEntry, session: EnclaveSession, committee: Committee, evidence: Evidence) -> None:
        slot = self._wait_for(entry, lambda slot: slot.status is not Status.QUOTED, self._head)
        # A job that can never run ends now: its window may be too short to wait for finality and releases.
        if slot.status is Status.ACCEPTED and not session.deliver(()).missing:
            return
        slot = self._wait_for(entry, lambda slot: slot.status is not Status.QUOTED)
        if slot.status is not Status.ACCEPTED:
            raise JobOver(self._why(entry, slot.status), "accepted")
        self._progress.begin("release", "the committee accepted")
        delivered: set[Bytes32] = set()
        complaints: set[SignedComplaint] = set()
        while True:
            statuses = self._host.nodes.statuses(committee.members, self._job_id)
            fresh = self._fresh_releases(statuses, delivered)
            if fresh:
                shares = session.deliver(fresh)
                self._complain(shares.complaints, complaints)
                if not shares.missing:
                    return
            slot = self._slot(entry)
            if slot.status is not Status.ACCEPTED:
                raise JobOver(self._why(entry, slot.status), "accepted")
            self._stop(entry, statuses, committee, evidence)
            self._require_time(slot.deadline, "releases of enough oracle nodes")
            self._pause()

    def _stop(
        self, entry: JobEntry, statuses: Sequence[NodeStatus | None], committee: Committee, evidence: Evidence
    ) -> None:
        """Post the nodes' promises, once there are enough: a host that waits for another party to post them may pay."""
        evidence_hash = Bytes32(evidence.evidence_hash)
        stops = stops_of(statuses, committee, self._host.chain.book, self._job_id, evidence_hash)
        if not stops or self._head(entry).status is not Status.ACCEPTED:
            return
        enclave = Enclave(evidence_hash, Address(evidence.signer), key_hash_of(evidence))
        try:
            self._host.transactions.stop(entry.spec, enclave, stops, committee)
        except (Reverted, RpcRefused, *_LATER) as error:
            self._progress.note(f"the nodes' promises to stop are not on chain yet: {error}")

    def _fresh_releases(self, statuses: Sequence[NodeStatus | None], delivered: set[Bytes32]) -> Sequence[bytes]:
        found = releases_of(statuses)
        fresh = [raw for raw in found if keccak(raw) not in delivered]
        delivered.update(keccak(raw) for raw in fresh)
        return fresh

    def _complain(self, reported: Sequence[SignedComplaint], known: set[SignedComplaint]) -> None:
        for complaint in set(reported) - known:
            known.add(complaint)
            node = complaint.complaint.node.checksum
            self._progress.note(f"node {node} released a false share; it is left out, under the enclave's signature")
            with (self._host.state / "complaints.jsonl").open("a") as log:
                log.write(json.dumps(to_builtins(complaint)) + "\n")

    def _finish(self, entry: JobEntry, session: EnclaveSession, materials: Materials) -> Outcome:
        with Watch(lambda: self._why_useless(entry), session.hang_up, self._host.poll_seconds) as watch:
            try:
                outcome = session.finish(materials.containers, lambda stage: self._progress.begin(_STAGES[stage]))
            except EnclaveLost as error:
                if watch.why is None:
                    raise
                raise JobOver(watch.why, "accepted") from error
        self._progress.end()
        return outcome

    def _why_useless(self, entry: JobEntry) -> str | None:
        """Why nothing that an enclave could still say would count; None while it would, or the chain is silent."""
        chain = self._host.chain
        try:
            slot, now = chain.at(chain.final()).job(entry.spec.request_hash), chain.head().timestamp
        except (ChainUnavailable, BlockGone):
            return None
        if slot.status not in (Status.QUOTED, Status.ACCEPTED):
            return slot.status.name.lower()
        if slot.status is Status.ACCEPTED and now > slot.deadline:
            return f"past its time to settle, which ended at {slot.deadline}"
        return None

    # --- step 6 -----------------------------------------------------------------------------------------------------

    def _post(self, entry: JobEntry) -> None:
        outcome = entry.outcome
        assert outcome is not None
        assert entry.evidence_hash is not None
        assert entry.enclave_key_hash is not None
        self._progress.begin("settle", "completed" if outcome.result else "the enclave signed a failure")
        deadline = self._slot(entry).deadline
        self._patiently(lambda: self._upload(outcome), deadline, ServiceRefused)
        self._hand_in(entry, outcome)
        if not self._settled_soon(entry):
            try:
                self._patiently(lambda: self._finish_on_chain(entry, outcome), deadline, RpcRefused)
            except Reverted:
                # Another party may have been quicker; the chain shows it.
                if self._head(entry).status not in _FINISHED:
                    raise
        slot = self._wait_for(entry, lambda slot: slot.status is not Status.ACCEPTED)
        if slot.status not in _FINISHED:
            raise JobOver(self._why(entry, slot.status), "settled")
        self._host.journal.done(self._job_id)
        self._progress.end(slot.status.name.lower())

    def _finish_on_chain(self, entry: JobEntry, outcome: Outcome) -> None:
        assert entry.evidence_hash is not None
        assert entry.enclave_key_hash is not None
        self._host.transactions.finish(entry.spec, entry.evidence_hash, entry.enclave_key_hash, outcome.posted)

    def _upload(self, outcome: Outcome) -> None:
        store = self._host.store
        if outcome.container is not None and outcome.result is not None:
            store.put_container_bytes(_content_root(outcome), outcome.container)
            store.put_document(outcome.result)
        store.put_document(outcome.receipt)

    def _hand_in(self, entry: JobEntry, outcome: Outcome) -> None:
        # The backend may lag behind the chain; after a while the host settles without it.
        until = time.monotonic() + self._patience(entry)
        while time.monotonic() < until and self._head(entry).status is Status.ACCEPTED:
            try:
                self._host.store.post_result(outcome.posted)
            except ServiceError as error:
                self._progress.note(f"the backend does not take the result yet: {error}")
                self._pause()
            else:
                return

    def _patience(self, entry: JobEntry) -> float:
        """Seconds for others to take a step that this host can take itself: at most a quarter of what is left."""
        left = self._head(entry).deadline - self._patiently(self._host.chain.head, None).timestamp
        return min(self._host.settle_patience_seconds, max(0, left) / 4)

    def _settled_soon(self, entry: JobEntry) -> bool:
        until = time.monotonic() + self._patience(entry)
        while time.monotonic() < until:
            if self._head(entry).status is not Status.ACCEPTED:
                return True
            self._pause()
        return False

    def _why(self, entry: JobEntry, status: Status) -> str:
        return self._patiently(lambda: why_over(self._host.chain, entry, status), None)

    # --- waiting ----------------------------------------------------------------------------------------------------

    def _slot(self, entry: JobEntry) -> JobSlot:
        """The job at the newest final block; waits while the chain is silent."""
        chain = self._host.chain
        return self._patiently(lambda: chain.at(chain.final()).job(entry.spec.request_hash), None)

    def _head(self, entry: JobEntry) -> JobSlot:
        chain = self._host.chain
        return self._patiently(lambda: chain.at(chain.head()).job(entry.spec.request_hash), None)

    def _wait_for(
        self,
        entry: JobEntry,
        arrived: Callable[[JobSlot], bool],
        read: Callable[[JobEntry], JobSlot] | None = None,
    ) -> JobSlot:
        """Wait at the newest final block, or wherever ``read`` looks."""
        while not arrived(slot := (read or self._slot)(entry)):
            self._require_time(slot.deadline + _GRACE_SECONDS, f"the end of {slot.status.name.lower()}")
            self._pause()
        return slot

    def _patiently(self, step: Callable[[], _T], deadline: int | None, *also: type[Exception]) -> _T:
        """Do something that may have to wait for others; ``deadline`` is in the chain's time."""
        reported = ""
        later: tuple[type[Exception], ...] = (*_LATER, *also)
        while True:
            try:
                return step()
            except later as error:
                if str(error) != reported:
                    reported = str(error)
                    self._progress.note(reported)
                if deadline is not None:
                    self._require_time(deadline, reported)
            self._pause()

    def _require_time(self, deadline: int, what: str) -> None:
        if self._is_over(deadline):
            raise InputMissing(what, "its time is over")

    def _is_over(self, deadline: int) -> bool:
        try:
            return self._host.chain.head().timestamp > deadline
        except ChainUnavailable:
            return False

    def _pause(self) -> None:
        if self._host.stop.wait(self._host.poll_seconds):
            raise Stopping


def _content_root(outcome: Outcome) -> Bytes32:
    assert outcome.result is not None
    return decode_canonical(ResultEnvelope, outcome.result).content_root
