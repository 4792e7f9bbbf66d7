"""One job on this host, from its match to its settlement.

Steps; the journal's state stands where a crash would find it:

1. ``matched``: gather and check everything that the job names, for a share of the quote window. What is not available
   in time, or is false, is marked: the job is quoted all the same, and the nodes say whose fault it is. Where this host
   lacks something of its own, a wheel or room on its disk, the workload is marked, and no party is at fault.
2. Launch an enclave and take its evidence, over a block that is final now.
3. ``quoting``: post the evidence hash, once. ``quoted`` when that is final. The evidence is sealed to nodes.
4. Show that to the committee, wait for it, and bring the enclave to its shares (:mod:`sealmarket_worker.releasing`).
5. Serve ciphertext while the job is open on chain; take what the enclave signed. ``finished``: the journal has it.
6. Upload ciphertext, envelope and receipt, post the result; settle if no other party does. ``done`` when final.

A job that ends in another way is given up, with the reason in the journal and in the progress log. A host that drains
leaves a job that it has not quoted to its next start, and carries the others to their ends.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from functools import partial

from msgspec.structs import replace

from sealmarket.chain import BlockGone, ChainUnavailable, JobSlot, Reverted, RpcRefused
from sealmarket.chain.events import JobQuoted
from sealmarket.protocol.book import Committee
from sealmarket.protocol.orders import EvidenceSeal
from sealmarket.protocol.transitions import Status
from sealmarket.sealing.evidence import SealedEvidence
from sealmarket.service.errors import (
    ServiceError,
    ServiceRefused,
)
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes, decode_canonical
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.terms import Seal
from sealmarket_enclave.runtime.channel import Evidence
from sealmarket_enclave.sealed.result import ResultEnvelope
from sealmarket_worker.committee import committee_of
from sealmarket_worker.context import HostContext, JobSteps, Stopping
from sealmarket_worker.drivers.interface import DriverError
from sealmarket_worker.errors import EnclaveLost, InputMissing, JobOver
from sealmarket_worker.evidence import package, readers_of, sealer_of
from sealmarket_worker.journal import JobEntry, JobState
from sealmarket_worker.limits import outputs_beyond
from sealmarket_worker.materials import MaterialFetcher, Materials, nothing
from sealmarket_worker.progress import ProgressReporter, StageName
from sealmarket_worker.releasing import ReleaseRound, Waiting
from sealmarket_worker.serving_job import JobServing, Quoted
from sealmarket_worker.session import EnclaveSession, Outcome, key_hash_of
from sealmarket_worker.steps import read_policies
from sealmarket_worker.watch import Watch

_FINISHED = frozenset({Status.SETTLED, Status.MATURED, Status.CHALLENGED, Status.FAILED})
_RESTARTED = "the host was restarted after the quote"
_ENDING = "the host ends"
_STAGES: dict[str, StageName] = {
    "importing": "load",
    "opening": "open",
    "computing": "compute",
    "validating": "validate",
    "serving": "serve",
    "sealing": "seal",
}


class JobRun(JobSteps):
    """Carries one job as far as it goes."""

    def __init__(self, host: HostContext, job_id: JobId) -> None:
        super().__init__(host, job_id, ProgressReporter(job_id, host.listeners))

    def run(self) -> None:
        """Run from wherever the journal says; returns when the job is done, given up, or the host stops."""
        try:
            entry = self._host.journal.job(self._job_id)
            if entry.state in (JobState.MATCHED, JobState.QUOTING):
                self._work(entry)
            elif entry.state is JobState.QUOTED:
                raise EnclaveLost(_RESTARTED)
            if self._host.journal.job(self._job_id).state is JobState.FINISHED:
                self._post(self._host.journal.job(self._job_id))
        except Stopping:
            self._hand_over()
        except (SealmarketError, OSError) as error:
            self._give_up(str(error))

    def _give_up(self, reason: str) -> None:
        self._progress.fail(reason)
        try:
            self._patiently(lambda: self._host.journal.give_up(self._job_id, reason), None)
        except Stopping:
            self._hand_over()

    def _hand_over(self) -> None:
        self._progress.note("the host ends; its journal holds where the job stood, for the next start")

    # --- steps 1 to 5 -----------------------------------------------------------------------------------------------

    def _work(self, entry: JobEntry) -> None:
        self._quoted = False
        self._require_going_on()
        self._progress.begin("prepare", f"job {self._job_id}")
        slot = self._slot(entry)
        if slot.status is not Status.MATCHED and entry.state is JobState.QUOTING:
            raise EnclaveLost(_RESTARTED)
        self._require_matched(slot)
        with ExitStack() as held:
            materials = self._materials(entry, slot, held)
            committee = self._patiently(lambda: committee_of(self._host.chain, entry.spec.epoch), slot.deadline)
            self._progress.begin("quote", "an enclave starts")
            # Until the quote is sent any enclave will do, so one that is lost is replaced.
            launch = partial(self._launch, entry, materials)
            session, evidence = self._patiently(launch, slot.deadline, DriverError, EnclaveLost)
        with session:
            sealed = self._quote(entry, session, evidence, committee, materials)
            waiting = Waiting(session, committee, evidence, sealed)
            ReleaseRound(self._host, entry, self._progress, waiting).collect()
            quoted = Quoted(self._job_id, materials, evidence, self._sealer, committee)
            outcome = self._finish(entry, session, quoted)
        # On a full disk the word is kept in memory and written as soon as there is room.
        deadline = self._slot(entry).deadline
        self._patiently(lambda: self._host.journal.finished(self._job_id, outcome), deadline)

    def _require_matched(self, slot: JobSlot) -> None:
        """A job that has ended on chain before its quote keeps no place here."""
        if slot.status is not Status.MATCHED:
            raise JobOver(slot.status.name.lower(), "matched")

    def _launch(self, entry: JobEntry, materials: Materials) -> tuple[EnclaveSession, Evidence]:
        self._require_matched(self._slot(entry))
        session = self._host.driver.launch()
        try:
            load = materials.load(self._host.chain.book, self._host.chain.final())
            load = replace(load, extension=self._session_terms(entry.spec))
            return session, session.load(load)
        except BaseException:
            session.close()
            raise

    def _materials(self, entry: JobEntry, slot: JobSlot, held: ExitStack) -> Materials:
        """What the job names; its environments are ``held`` until the enclave has copied them."""
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
        held.callback(fetcher.release)
        while (materials := self._poll(fetcher, entry.spec, tuple(seals))).missing:
            lacking = "; ".join(materials.missing.values())
            if lacking != reported:
                reported = lacking
                self._progress.note(lacking)
            if self._is_over(latest):
                self._progress.note("it is quoted without; the oracle nodes say whose fault that is")
                break
            self._pause()
            self._require_matched(self._slot(entry))
        return self._within_limits(materials)

    def _poll(self, fetcher: MaterialFetcher, spec: JobSpec, seals: tuple[Seal, ...]) -> Materials:
        """What is available now. Where this host cannot provide the workload's environment, nothing but that mark."""
        try:
            return fetcher.poll()
        except InputMissing as error:
            return nothing(spec, seals).declined(f"{error.message}; put it into the configured folder `wheels`")
        except OSError as error:
            return nothing(spec, seals).declined(f"this host has no room for the workload's environment: {error}")

    def _within_limits(self, materials: Materials) -> Materials:
        size = sum(path.stat().st_size for path in materials.containers.values())
        if materials.bundle is None:
            return materials
        manifest, policies = materials.bundle.manifest, read_policies(materials.policies)
        why = self._host.limits.against_inputs(materials.spec, manifest, size)
        why = why or outputs_beyond(manifest, [policy.output for policy in policies if policy is not None])
        return materials if why is None else self._declined(materials, why)

    def _declined(self, materials: Materials, why: str) -> Materials:
        self._progress.note(f"beyond this host's limits, and quoted without its workload: {why}")
        return materials.declined(why)

    def _quote(
        self,
        entry: JobEntry,
        session: EnclaveSession,
        evidence: Evidence,
        committee: Committee,
        materials: Materials,
    ) -> SealedEvidence:
        evidence_hash = Bytes32(evidence.evidence_hash)
        collateral = self._host.driver.endorsements()
        content = package(
            evidence,
            self._host.driver.tee,
            collateral,
            materials.missing,
            materials.manifest,
            self._promise(entry.spec),
            self._host.driver.devices(session),
            self._session_terms(entry.spec) or b"",
        )
        self._sealer = sealer_of(content, evidence_hash, self._host.chain.book, committee.epoch)
        readers = readers_of(committee, materials.result_keys or (), read_policies(materials.policies))
        sealed = self._sealer.wrapped(readers, partial(self._signed, evidence_hash))
        deadline, key_hash = self._slot(entry).deadline, key_hash_of(evidence)
        self._patiently(lambda: self._host.journal.quoting(self._job_id, evidence_hash, key_hash), deadline)
        self._quoted = True
        self._patiently(lambda: self._send_quote(entry, evidence_hash), deadline, RpcRefused)
        self._wait_for(entry, lambda slot: slot.status is not Status.MATCHED)
        self._patiently(lambda: self._host.journal.quoted(self._job_id), None)
        self._progress.begin("decision", f"evidence {evidence_hash} is on chain, sealed to {len(sealed.wraps)} readers")
        return sealed

    def _signed(self, evidence_hash: Bytes32, sealed_hash: Bytes32) -> HexBytes:
        """The provider's signature over a sealed package."""
        return self._host.sign(EvidenceSeal(job_id=self._job_id, evidence_hash=evidence_hash, sealed_hash=sealed_hash))

    def _session_terms(self, spec: JobSpec) -> bytes | None:
        """The terms of a service, which enclave and nodes read; None for another kind of job, or without them."""
        return self._host.services.terms(spec) if self._host.services is not None else None

    def _promise(self, spec: JobSpec) -> bytes:
        """The capability document that the job's order named, where it is this host's."""
        promised = self._host.capability
        return promised.canonical() if promised is not None and promised.digest() == spec.capability_hash else b""

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

    def _finish(self, entry: JobEntry, session: EnclaveSession, quoted: Quoted) -> Outcome:
        host, containers = self._host, quoted.materials.containers
        with Watch(lambda: self._why_useless(entry), session.hang_up, host.poll_seconds) as watch:
            try:
                if host.services is None:
                    outcome = session.finish(containers, self._stage)
                else:
                    with closing(JobServing(host.services, host.chain, session, quoted, host.drain)) as serving:
                        outcome = session.finish(containers, partial(self._serve, serving), serving.link)
            except EnclaveLost as error:
                if watch.why is None:
                    raise
                if watch.why == _ENDING:
                    raise Stopping from error
                raise JobOver(watch.why, "accepted") from error
        self._progress.end()
        return outcome

    def _stage(self, name: str) -> None:
        self._progress.begin(_STAGES[name])

    def _serve(self, serving: JobServing, name: str) -> None:
        self._stage(name)
        if name == "serving":
            serving.begin()

    def _why_useless(self, entry: JobEntry) -> str | None:
        """Why nothing that an enclave could still say would count; None while it would, or the chain is silent."""
        if self._host.stop.is_set():
            return _ENDING
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
        self._patiently(lambda: self._host.journal.done(self._job_id), None)
        self._progress.end(slot.status.name.lower())
        self._return_unspent(entry)

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
        while self._head(entry).status is Status.ACCEPTED:
            if time.monotonic() >= until:
                return False
            self._pause()
        return True


def _content_root(outcome: Outcome) -> Bytes32:
    assert outcome.result is not None
    return decode_canonical(ResultEnvelope, outcome.result).content_root
