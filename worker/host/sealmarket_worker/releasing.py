"""From acceptance to enough right shares in the enclave, or to the end of a job whose shares do not come.

1. The nodes are shown the evidence, and decide. The enclave says at once whether the job can run at all.
2. Releases come from whichever nodes answer, and later from the chain.
3. Promises never to release are posted, once enough nodes say the same. A stopped job is ended at once: until its keys
   are joined, nothing that this host could still deliver counts.
4. When no node releases any more, the enclave signs that it has joined no key. The host posts that, with money for the
   nodes: now each node's release can be posted by any account (``sealmarket oracle post``). If fewer than the threshold
   stand when the time for that is over, the host ends the job and keeps its stake. Otherwise the enclave has what was
   posted, and the job goes on.

The transactions may be sent again at every turn: what stands on chain is looked at first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sealmarket.chain import Enclave, JobSlot, Reverted, RpcRefused
from sealmarket.chain.errors import ChainError
from sealmarket.chain.events import ReleasePosted
from sealmarket.protocol.book import Committee
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import NodeStatus
from sealmarket.sealing.evidence import SealedEvidence
from sealmarket_enclave.protocol.codec import Address, Bytes32, to_builtins
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.release import SignedComplaint
from sealmarket_enclave.runtime.channel import Evidence
from sealmarket_worker.context import LATER, HostContext, JobSteps
from sealmarket_worker.errors import JobOver
from sealmarket_worker.journal import JobEntry
from sealmarket_worker.nodes import posted_release, releases_of, stops_of
from sealmarket_worker.progress import ProgressReporter
from sealmarket_worker.session import EnclaveSession, key_hash_of
from sealmarket_worker.showing import Showing

_SENDING = (Reverted, RpcRefused, *LATER)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An enclave that waits for shares, and who is to release them."""

    session: EnclaveSession
    committee: Committee
    evidence: Evidence
    sealed: SealedEvidence

    @property
    def enclave(self) -> Enclave:
        """As the market names it."""
        evidence = self.evidence
        return Enclave(Bytes32(evidence.evidence_hash), Address(evidence.signer), key_hash_of(evidence))


def report_at(spec: JobSpec, deadline: int, finality: int, transfer_allowance: int) -> int:
    """When missing shares are reported: no node releases any more, and the report becomes final before ``deadline``.

    Nodes keep ``finality`` more than the stages and the transfer of the settle window; what one released in the last
    second has had that long to arrive.
    """
    return deadline - max(spec.stage_seconds + transfer_allowance, 2 * finality)


class ReleaseRound(JobSteps):
    """Brings one enclave to its shares."""

    def __init__(self, host: HostContext, entry: JobEntry, progress: ProgressReporter, waiting: Waiting) -> None:
        super().__init__(host, entry.job_id, progress)
        self._entry, self._waiting = entry, waiting
        self._delivered: set[Bytes32] = set()
        self._complaints: set[SignedComplaint] = set()
        self._showing = Showing(host, waiting.committee, waiting.sealed)
        self._late = False
        self._reported: int | None = None
        """What was named as excluded; None before the first report."""
        self._since: int | None = None
        """The block from which posted releases are read."""
        self._said = ""

    def collect(self) -> None:
        """Return once the enclave joins its keys.

        Raises:
            JobOver: the job ended, or left the state that its shares are released in.
            InputMissing: its time is over.
            EnclaveRefused, EnclaveLost: nothing can come of it any more.
        """
        slot = self._wait_for(self._entry, self._is_decided, self._head)
        self._showing.store(self._say_once)
        # A job that can never run ends now: its window may be too short to wait for finality and releases.
        if slot.status is Status.ACCEPTED and not self._waiting.session.deliver(()).missing:
            return
        slot = self._wait_for(self._entry, lambda slot: slot.status is not Status.QUOTED)
        self._require_accepted(slot)
        self._progress.begin("release", "the committee accepted")
        while not self._joins():
            self._require_accepted(self._slot(self._entry))
            self._require_time(self._head(self._entry).deadline, "releases of enough oracle nodes")
            self._try_to_end()
            self._showing.turn(self._say_once)
            self._pause()

    def _is_decided(self, slot: JobSlot) -> bool:
        """Whether the committee has decided. Until then the evidence is shown to it."""
        if slot.status is not Status.QUOTED:
            return True
        self._showing.turn(self._say_once)
        return False

    def _require_accepted(self, slot: JobSlot) -> None:
        if slot.status is not Status.ACCEPTED:
            raise JobOver(self._why(self._entry, slot.status), "accepted")

    # --- shares -----------------------------------------------------------------------------------------------------

    def _joins(self) -> bool:
        """Deliver what is new. Whether the enclave now has enough, and time to join."""
        self._statuses = self._host.nodes.statuses(self._waiting.committee.members, self._job_id)
        found = [*releases_of(self._statuses), *self._posted()]
        fresh = [raw for raw in found if keccak(raw) not in self._delivered]
        self._delivered.update(keccak(raw) for raw in fresh)
        if not fresh and not self._late:
            return False
        shares = self._waiting.session.deliver(fresh)
        self._complain(shares.complaints)
        self._late = not shares.missing and shares.late
        return not shares.missing and not shares.late

    def _posted(self) -> list[bytes]:
        """Releases on chain; none before missing shares were reported."""
        if self._since is None:
            return []
        chain = self._host.chain
        try:
            events = chain.events(self._since, chain.head().number)
        except ChainError as error:
            self._say_once(f"releases on chain are not read yet: {error}")
            return []
        posted = (event for event in events if isinstance(event, ReleasePosted) and event.job_id == self._job_id)
        evidence_hash = self._waiting.enclave.evidence_hash
        return [posted_release(event, self._entry.spec, evidence_hash).raw for event in posted]

    def _complain(self, reported: Sequence[SignedComplaint]) -> None:
        for complaint in set(reported) - self._complaints:
            self._complaints.add(complaint)
            node = complaint.complaint.node.checksum
            self._progress.note(f"node {node} released a false share; it is left out, under the enclave's signature")
            try:
                with (self._host.state / "complaints.jsonl").open("a") as log:
                    log.write(json.dumps(to_builtins(complaint)) + "\n")
            except OSError as error:
                # The next report on chain names the node as well.
                self._progress.note(f"the complaint is not written down: {error}")

    # --- ends -------------------------------------------------------------------------------------------------------

    def _try_to_end(self) -> None:
        """Send whatever the job's state on chain calls for. An error is reported, and tried again at the next turn."""
        try:
            if self._head(self._entry).status is Status.ACCEPTED:
                self._stop(self._statuses)
                self._report()
                self._end()
            self._return_unspent(self._entry)
        except _SENDING as error:
            self._say_once(f"not on chain yet: {error}")

    def _stop(self, statuses: Sequence[NodeStatus | None]) -> None:
        """Post the nodes' promises, once there are enough: a host that waits for another party to post them may pay."""
        if not (promised := [status.stop for status in statuses if status is not None and status.stop is not None]):
            return
        chain, waiting = self._host.chain, self._waiting
        removed = chain.at(chain.head()).removed_members(waiting.committee.epoch)
        evidence_hash = waiting.enclave.evidence_hash
        stops = stops_of(promised, waiting.committee, removed, chain.book, self._job_id, evidence_hash)
        if stops and not self._interruption(self._entry).stopped:
            self._host.transactions.stop(self._entry.spec, waiting.enclave, stops, waiting.committee)

    def _report(self) -> None:
        """Post that shares are missing, in time; and again when the enclave has named more nodes."""
        excluded = sum(1 << place for place in {complaint.complaint.index for complaint in self._complaints})
        if self._reported == excluded or (self._reported is None and not self._due()):
            return
        if self._since is None:
            self._since = self._host.chain.head().number
        missing, signature = self._waiting.session.report_missing()
        self._host.transactions.report_missing(self._entry.spec, self._waiting.enclave, missing, signature)
        self._reported = excluded
        self._progress.note("the enclave has joined no key, and the chain says so; nodes' releases can be posted now")

    def _due(self) -> bool:
        chain, spec = self._host.chain, self._entry.spec
        view = chain.at(chain.head())
        deadline = view.job(spec.request_hash).deadline
        at = report_at(spec, deadline, view.finality(), view.transfer_allowance())
        return self._late or view.block.timestamp > at

    def _end(self) -> None:
        """End a job that is stopped, or for which too few releases stand once their time is over."""
        found, now = self._interruption(self._entry), self._host.chain.head().timestamp
        over = bool(found.shares_deadline) and now > found.shares_deadline
        standing = len(found.posted - found.excluded)
        if found.stopped or (over and standing < self._waiting.committee.threshold):
            self._host.transactions.end_interrupted(self._entry.spec, self._waiting.enclave)

    def _say_once(self, message: str) -> None:
        if message != self._said:
            self._said = message
            self._progress.note(message)
