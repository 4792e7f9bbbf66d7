"""Owners, three real nodes, enclaves and an adversary, step by step, and what must hold after each step.

Nodes, journals, marks, shares, evidence and what peers hold are real; the chain is its twin in memory. The adversary
moves the heads that endpoints show, takes blocks back that are not final, copies and restores disks, kills nodes, cuts
them off from each other, shows evidence of its own enclave, and has a quorum of its own accept what no node accepted.

What must hold (docs/threat-model.md, "Who can do what to a release"):

1. A release is promised only while a final block has a quorum's acceptance that is the node's own decision.
2. It is promised neither while any endpoint's head shows a revocation, nor :data:`MOST_AGE` after a revocation,
   whatever endpoints show.
3. Of each node and job one promise is ever served, whatever happens to its disk: release or stop, the same bytes.
4. A release opens for the enclave that was accepted and for no other; t of them join to the owner's key.
5. A node that lost nothing decides once about a piece of evidence.
6. After a look at the chain each job that is not done has a reason.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from sealmarket.chain.errors import ChainError
from sealmarket.http import HttpError
from sealmarket.protocol.book import Member
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.transitions import Status
from sealmarket_devices.tdx import VirtualTdx
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.release import read_release
from sealmarket_enclave.sealed.errors import NotOpened
from sealmarket_enclave.sealed.shares import join
from sealmarket_oracle.errors import JournalError, OracleError
from sealmarket_oracle.journal import Journal
from sealmarket_oracle.log.entries import HeldTail, TailStep
from sealmarket_oracle.mark import TailMark
from sealmarket_oracle.peers import Peers, take_tail
from sealmarket_oracle.release import core_of
from sealmarket_oracle.service import Node
from sealmarket_oracle.tail_slots import TailSlots
from sealmarket_oracle.witnesses import Witnesses
from tests.oracle.test_release import open_for_enclave
from tests.oracle.world import Dealt, Enclave, World

MOST_AGE = 120
"""Seconds: the oldest head that a node relies on here."""
LAG = 2
"""Blocks between the head and what is final."""
NODES = range(3)


class Broken(AssertionError):
    """Something that must hold does not."""


@dataclass
class Job:
    """One job. ``core`` is the decision that a quorum's transaction carried last."""

    job_id: JobId
    spec: JobSpec
    assets: tuple[Dealt, ...]
    enclave: Enclave
    core: Decision | None = None


@dataclass
class Running:
    """The process of one node: its journal, its peers, and the node."""

    journal: Journal
    peers: Witnesses
    node: Node
    lost: bool = False
    """Its disk was put back at some time."""


@dataclass
class Scene:
    """The market. ``now`` is the true time. ``served`` and ``decided`` are what the world ever got from each node."""

    device: VirtualTdx
    folder: Path
    witnesses: Callable[[Peers], Witnesses] = lambda peers: peers
    jobs: list[Job] = field(default_factory=list)
    served: dict[tuple[int, JobId], bytes] = field(default_factory=dict)
    decided: dict[tuple[int, JobId, Bytes32], Decision] = field(default_factory=dict)
    revoked: dict[Bytes32, int] = field(default_factory=dict)
    cut_off: set[int] = field(default_factory=set)
    put_back: set[int] = field(default_factory=set)
    attacker: Enclave = field(default_factory=Enclave)

    def __post_init__(self) -> None:
        self.world = World(self.device, self.folder)
        self.chain = self.world.chain
        self.chain.finality_lag = LAG
        self.assets = [self.world.publish(1), self.world.publish(2)]
        self.chain.finalise()
        self.now = self.chain.head().timestamp
        self.running = [self._start(place) for place in NODES]
        for place in NODES:
            self.tell(place)

    def close(self) -> None:
        for one in self.running:
            one.journal.close()
        self.world.close()

    # --- honest parties ---------------------------------------------------------------------------------------

    def fresh(self) -> list[Dealt]:
        """An asset that its owner has not revoked, final on the chain."""
        left = [asset for asset in self.assets if asset.asset_id not in self.revoked]
        if not left:
            left = [self.world.publish(len(self.assets) + 1)]
            self.assets += left
            self.mine(LAG)
        return left[:1]

    def match(self, assets: Sequence[Dealt]) -> None:
        self.world.match(*assets)
        self.jobs.append(Job(self.world.job_id, self.world.spec, tuple(assets), Enclave()))
        self._pass()

    def quote(self, job: Job) -> None:
        """The provider posts its evidence and shows it to the nodes."""
        if self.status(job) is Status.MATCHED:
            package = self.world.package(job.job_id, enclave=job.enclave)
            self.chain.quote(job.job_id, self.world.hash_of(package))
            self.world.post(package)
            self._pass()

    def submit(self, job: Job) -> None:
        """A keeper hands in what enough nodes signed; the third node, which is corrupt, signs what any other did."""
        if self.status(job) is not Status.QUOTED:
            return
        cores = {place: core_of(found) for (place, name, _), found in self.decided.items() if name == job.job_id}
        for core in cores.values():
            places = tuple(place for place in NODES if cores.get(place) == core)
            enough = self.world.committee.threshold
            if len(places) >= enough or (len(places) == enough - 1 and NODES[-1] not in places):
                self._decide(job, core, places)
                return

    def revoke(self, asset: Dealt) -> None:
        self.chain.revoke(asset.asset_id)
        self._pass()

    def mine(self, blocks: int, seconds: int = 1) -> None:
        self.chain.mine(blocks, seconds=seconds)
        self._pass()

    def look(self, place: int) -> None:
        """A node looks at the chain and does what is due; its peers hear of it. Its disk was copied just before."""
        self._copy_disk(place)
        one, before = self.running[place], self._promises(place)
        refused = False
        try:
            one.node.tick()
        except (ChainError, OracleError, JournalError):
            refused = True
        for job in self.jobs:
            if (promise := one.journal.promised(job.job_id)) is not None and job.job_id not in before:
                self._check_promise(place, job, promise)
        self.tell(place)
        for job in self.jobs:
            self._check_served(place, job, refused=refused)

    def tell(self, place: int) -> None:
        peers = self.running[place].peers
        if isinstance(peers, Peers):
            peers.tell_all()

    # --- the adversary ----------------------------------------------------------------------------------------

    def show_heads(self, behind: Sequence[int]) -> None:
        """Each endpoint's newest block is so many blocks behind the newest."""
        self.chain.behind, self.chain.others = behind[0], list(behind[1:])

    def take_back(self, blocks: int) -> None:
        """Blocks that are not final leave the chain, and others come."""
        known = self.chain.final().number + LAG
        self.chain.reorganise(min(blocks, LAG))
        while self.chain._blocks[-1].number <= known:
            self.chain.mine()
        live = self.chain._states[-1]
        self.jobs = [job for job in self.jobs if job.job_id in live.specs]
        self.revoked = {
            asset: at
            for asset, at in self.revoked.items()
            if any(state.revoked for key, state in live.assets.items() if key[0] == asset)
        }
        self._pass()

    def accept_otherwise(self, job: Job) -> None:
        """A quorum of corrupt nodes accepts the adversary's enclave."""
        seen = [core for (_, name, _), core in self.decided.items() if name == job.job_id]
        if self.status(job) is Status.QUOTED and seen:
            key = keccak(bytes(self.attacker.hpke.public.raw))
            own = replace(core_of(seen[0]), enclave_signer=self.attacker.address, enclave_key_hash=key)
            self._decide(job, replace(own, outcome=Outcome.ACCEPTED), ())

    def show_other_evidence(self, job: Job) -> None:
        """The store answers with the evidence of the adversary's enclave under the name of the true one."""
        for posted in [posted for job_id, posted in self.world.store.packages if job_id == job.job_id]:
            self.world.post(self.world.package(job.job_id, enclave=self.attacker), posted)

    def kill(self, place: int) -> None:
        self.running[place].journal.close()
        self.running[place] = self._start(place)
        self.tell(place)

    def _copy_disk(self, place: int) -> None:
        shutil.rmtree(self._disk(place, "copy"), ignore_errors=True)
        shutil.copytree(self._disk(place), self._disk(place, "copy"))

    def restore_disk(self, place: int) -> None:
        """The node's machine is put back to what it was before its last look, its journal's mark included."""
        if not self._disk(place, "copy").exists():
            return
        self.running[place].journal.close()
        shutil.rmtree(self._disk(place))
        shutil.copytree(self._disk(place, "copy"), self._disk(place))
        self.put_back.add(place)
        self.running[place] = self._start(place)
        self.tell(place)

    # --- inside -----------------------------------------------------------------------------------------------

    def status(self, job: Job) -> Status:
        """At the newest block."""
        return self.chain._states[-1].jobs[job.spec.request_hash].status

    def _decide(self, job: Job, core: Decision, places: tuple[int, ...]) -> None:
        self.chain.decide(core, places)
        job.core = core
        self._pass()

    def _pass(self) -> None:
        """The time of every honest clock is that of the newest block, which no block goes behind."""
        head = self.chain._blocks[-1]
        self.now = max(self.now, head.timestamp)
        self.world.time = float(self.now)
        for asset in self.assets:
            if self.chain._states[-1].assets[asset.asset_id, 1].revoked:
                self.revoked.setdefault(asset.asset_id, head.timestamp)

    def _disk(self, place: int, name: str = "disk") -> Path:
        return self.folder / f"{name}-{place}"

    def _start(self, place: int) -> Running:
        disk = self._disk(place)
        disk.mkdir(exist_ok=True)
        identity = self.world.identity(place)
        mark, tails = TailMark(disk / "mark"), TailSlots(disk / "tails", identity.digest())
        journal = Journal(disk / "journal", identity, mark, tails=tails)
        told = Peers(
            self.world.book, self.world.committee, journal, self.world.keys[place].signer, self._telling(place)
        )
        peers = self.witnesses(told)
        node = self.world.node(place, journal_of=journal, witnesses=peers, max_head_age_seconds=MOST_AGE)
        node._present._monotonic = lambda: float(self.now)
        return Running(journal, peers, node)

    def _telling(self, place: int) -> Callable[[Member, TailStep], HeldTail]:
        def tell(member: Member, told: TailStep) -> HeldTail:
            peer = self.world.committee.members.index(member)
            if {peer, place} & self.cut_off:
                raise HttpError("away", remedy="wait")
            return take_tail(self.running[peer].journal, self.world.book, told)

        return tell

    # --- what must hold ---------------------------------------------------------------------------------------

    def _promises(self, place: int) -> set[JobId]:
        return {job.job_id for job in self.jobs if self.running[place].journal.promised(job.job_id) is not None}

    def _check_promise(self, place: int, job: Job, promise: tuple[str, bytes]) -> None:
        if promise[0] != "release":
            return
        final = self.chain.at(self.chain.final())
        _hold(final.job(job.spec.request_hash).status is Status.ACCEPTED, "1: the acceptance is final", place)
        core = job.core
        own = self.running[place].journal.own_decision(job.job_id, core.evidence_hash, 1) if core else None
        _hold(own is not None and core_of(own.decision) == core, "1: the node accepted the same itself", place)
        ids = {asset.asset_id for asset in job.assets}
        for behind in (self.chain.behind, *self.chain.others):
            shown = self.chain._states[max(0, len(self.chain._states) - 1 - behind)]
            against = [key for key, state in shown.assets.items() if key[0] in ids and state.revoked]
            _hold(not against, "2: no endpoint's head shows a revocation", place)
        late = [asset for asset, at in self.revoked.items() if asset in ids and self.now - at > MOST_AGE]
        _hold(not late, "2: no revocation is older than a head may be", place)

    def _check_served(self, place: int, job: Job, *, refused: bool) -> None:
        status = self.running[place].node.status(job.job_id)
        if status.decision is not None:
            decision = status.decision.decision
            first = self.decided.setdefault((place, job.job_id, decision.evidence_hash), decision)
            same = core_of(first) == core_of(decision)
            _hold(same or place in self.put_back, "5: one decision about a piece of evidence", place)
        stop = status.stop.stop.canonical() if status.stop is not None else None
        if (body := status.release or stop) is not None:
            new = (place, job.job_id) not in self.served
            _hold(self.served.setdefault((place, job.job_id), body) == body, "3: one promise was ever served", place)
            if new and status.release is not None:
                self._check_opens(place, job, status.release)
        elif not refused and status.state != "unknown":
            _hold(status.reason != "", "6: a job that is not done has a reason", place)

    def _check_opens(self, place: int, job: Job, release: bytes) -> None:
        world = self.world
        world.job_id, world.spec = job.job_id, job.spec
        _hold(job.core is not None, "1: a quorum decided", place)
        assert job.core is not None
        world.chain_core = job.core
        for asset in job.assets:
            with suppress(NotOpened):
                open_for_enclave(world, asset, release, self.attacker)
                _hold(False, "4: no other enclave opens a release", place)
            try:
                open_for_enclave(world, asset, release, job.enclave)
            except NotOpened as error:
                raise Broken("4: the accepted enclave opens a release") from error

    def check_keys(self) -> None:
        """4, for each job that t nodes released."""
        for job in self.jobs:
            releases = []
            for place in NODES:
                with suppress(KeyError, MalformedDocument):
                    releases.append(read_release(self.served[place, job.job_id]).raw)
            if len(releases) < self.world.committee.threshold or job.core is None:
                continue
            self.world.job_id, self.world.spec, self.world.chain_core = job.job_id, job.spec, job.core
            for asset in job.assets:
                opened = [open_for_enclave(self.world, asset, release, job.enclave) for release in releases]
                _hold(join(opened, asset.share_set.commitments) == asset.key, "4: t releases join to the key", -1)


def _hold(condition: bool, what: str, place: int) -> None:
    if not condition:
        raise Broken(f"node {place}: {what}")
