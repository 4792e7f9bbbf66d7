"""One node of a committee as a process of its own, for `scripts/bench release` (:mod:`scripts.benchmarks._releases`).

The node is the product's: journal with its mark on disk, audit log, peers that hold each other's tails, real keys. It
looks at a copy of the chain's twin, to which the market's process sends each change, and tells its peers over pipes,
in the bytes of the wire. Nothing else runs in the process, so what it uses is what a node uses.
"""

from __future__ import annotations

import gc
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from scripts.benchmarks._release_parts import Done, Meter, counting, metering
from sealmarket.protocol.book import Member
from sealmarket.protocol.decisions import Decision
from sealmarket.sealing.shares import share_context
from sealmarket_enclave.protocol.codec import Address, Bytes32, decode
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.signing import recover
from sealmarket_enclave.sealed.contexts import ReleaseInfo
from sealmarket_oracle.journal import Journal
from sealmarket_oracle.log.entries import EntryKind, HeldTail, TailStep
from sealmarket_oracle.mark import TailMark
from sealmarket_oracle.peers import Peers
from sealmarket_oracle.release import core_of
from sealmarket_oracle.service import Node
from sealmarket_oracle.tail_slots import TailSlots
from tests.oracle.world import CHAIN_ID, MARKET, Dealt, World

PATIENCE = 120.0
_LOOK = 0.001


class ServedJournal(Journal):
    """A journal that says when enough peers hold more of it: then promises in that part are served."""

    on_growth: Callable[[], None] = staticmethod(lambda: None)

    def keep_witnessed(self, size: int) -> None:
        """See :meth:`AuditLog.keep_witnessed`."""
        self.on_growth()
        super().keep_witnessed(size)


@dataclass
class Server:
    """Answers the clients of one node, each once its release may be served, and notes when."""

    node: Node
    journal: ServedJournal
    peers: Peers
    needed: int
    waiting: list[JobId] = field(default_factory=list)
    served: dict[JobId, float] = field(default_factory=dict)
    answers: int = 0
    """Bytes that were answered."""
    done: threading.Event = field(default_factory=threading.Event)
    _grown: queue.SimpleQueue[bool] = field(default_factory=queue.SimpleQueue)

    def start(self) -> None:
        """Begin to answer."""
        self.journal.on_growth = lambda: self._grown.put(True)
        threading.Thread(target=self._run, name="server", daemon=True).start()

    def expect(self, jobs: Sequence[JobId]) -> None:
        """The clients of a wave, in the order in which the node looks at their jobs."""
        self.done.clear()
        self.waiting, self.served = list(jobs), {}

    def stop(self) -> None:
        """End once what has grown is served."""
        self._grown.put(False)

    def _run(self) -> None:
        while self._grown.get():
            while self.waiting and self._may_serve(self.waiting[0]):
                job = self.waiting.pop(0)
                self.answers += len(self.node.status(job).canonical())
                self.served[job] = time.perf_counter()
                if not self.waiting:
                    self.done.set()

    def _may_serve(self, job: JobId) -> bool:
        size = self.journal.promise_size(job)
        return size > 0 and self.peers.holders(size) >= self.needed


@dataclass(frozen=True)
class Links:
    """The pipes of one node: orders of the market; to each peer; and from each peer, which it answers."""

    orders: Connection
    to: Mapping[Address, Connection]
    answered: Sequence[Connection]

    def tell(self, member: Member, step: TailStep) -> HeldTail:
        """As :class:`~sealmarket_oracle.peers.HttpTell`, over a pipe."""
        pipe = self.to[member.signer]
        pipe.send_bytes(step.canonical())
        return decode(HeldTail, pipe.recv_bytes())


class NodeProcess:
    """Does what the market orders; each public method but :meth:`obey` is an order."""

    def __init__(self, world: World, asset: Dealt, place: int, folder: Path, links: Links, opened: ExitStack) -> None:
        self.world, self.asset, self.place, self.links = world, asset, place, links
        self.file = folder / f"node-{place}.sqlite"
        self.meter: Meter | None = None
        self._opened = opened
        self.counter, self.done = opened.enter_context(counting()), Done()
        identity, mark = world.identity(place), TailMark(folder / f"node-{place}.mark")
        tails = TailSlots(folder / f"node-{place}.tails", identity.digest())
        self.journal = opened.enter_context(ServedJournal(self.file, identity, mark, tails=tails))
        signer = world.keys[place].signer
        self.peers = Peers(world.book, world.committee, self.journal, signer, links.tell)
        self.node = world.node(place, journal_of=self.journal, witnesses=self.peers)
        self.server = Server(self.node, self.journal, self.peers, world.committee.threshold - 1)
        self.server.start()
        opened.callback(self.server.stop)
        for pipe in links.answered:
            threading.Thread(target=self._answer, args=(pipe,), name="answers", daemon=True).start()
        self.peers.start()
        gc.collect()
        gc.freeze()  # as a node does before its first look
        self._used = 0.0
        self._documents = dict(world.store.documents)

    def _answer(self, pipe: Connection) -> None:
        with suppress(EOFError, OSError):  # the peer's process has ended
            while True:
                step = decode(TailStep, pipe.recv_bytes())
                pipe.send_bytes(self.node.answers.take_tail(step).canonical())

    def obey(self) -> None:
        """Do what the market orders, until it ends."""
        with suppress(EOFError):
            while True:
                name, given = self.links.orders.recv()
                try:
                    answer = getattr(self, name)(*given)
                except Exception as error:  # noqa: BLE001 - the market says which node failed, and ends
                    answer = error
                self.links.orders.send(answer)

    def follow(self, calls: Sequence[tuple[str, tuple[Any, ...]]], packages: Any, parameters: Any) -> None:
        """Change the copies of chain and store as the market's were changed; what the node stored is forgotten."""
        for name, given in calls:
            getattr(self.world.chain, name)(*given)
        store = self.world.store
        store.packages, store.parameters, store.documents = packages, parameters, dict(self._documents)

    def tick(self) -> None:
        """Look at the chain once."""
        self.node.tick()

    def decided(self, jobs: Sequence[JobId]) -> list[Decision]:
        """What this node decided on each job."""
        found = [self.node.status(job) for job in jobs]
        if undecided := [status.reason for status in found if status.decision is None]:
            raise RuntimeError(f"jobs are not decided: {undecided}")
        return [core_of(status.decision.decision) for status in found if status.decision is not None]

    def wave(self, jobs: Sequence[JobId]) -> dict[JobId, float]:
        """Release jobs that were accepted; when the client of each was served, in seconds of the machine's clock."""
        self.server.expect(jobs)
        self._used = time.process_time()
        self.counter.on = True
        if self.meter is not None:
            self.meter.on = True
        self.node.tick()
        if not self.server.done.wait(PATIENCE):
            raise RuntimeError(f"jobs were not served: {[self.node.status(job).reason for job in self.server.waiting]}")
        return self.server.served

    def spent(self) -> float:
        """Processor seconds since the wave began, once every peer holds the journal's tail."""
        looked = time.thread_time()
        size, until = self.journal.head().size, time.monotonic() + PATIENCE
        while self.peers.holders(size) < len(self.links.to) and time.monotonic() < until:
            time.sleep(_LOOK)
        used = time.process_time() - self._used - (time.thread_time() - looked)
        self.counter.on = False
        self.done = self.counter.take()
        if self.meter is not None:
            self.meter.on = False
        if any(self.node.status(job).release is None for job in self.server.served):
            raise RuntimeError("a client was served without a release")
        return used

    def counts(self) -> Done:
        """What cryptography this node did in the last wave."""
        return self.done

    def bare(self) -> float:
        """Processor seconds for one release of the cryptography that this node did in the last wave, alone.

        It opens its share, seals it to the enclave, signs and recovers as often as it was counted doing so. What it
        signed, recovered or opened before the wave, as its decision, is in neither figure.
        """
        done = self.done
        world, keys, asset = self.world, self.world.keys[self.place], self.asset
        sealed = world.store.documents[asset.share_set.members[self.place].sealed]
        context, info = share_context(asset.share_set, self.place + 1), self._release_info()
        digest, enclave = asset.share_set.root, world.enclave.hpke.public
        signature = world.keys[self.place - 1].signer.sign_text(digest)
        self.counter.on = True
        began = time.thread_time()
        for number in range(max(done.opened, done.sealed, done.signed, done.recovered)):
            if number < done.opened:
                share = keys.hpke.open(sealed, context)
            if number < done.sealed:
                enclave.seal(share, info)
            if number < done.signed:
                keys.signer.sign_text(digest)
            if number < done.recovered:
                recover(digest, signature)
        used = time.thread_time() - began
        self.counter.on = False
        if (alone := self.counter.take()) != done:
            raise RuntimeError(f"the cryptography alone was {alone}, expected that of the wave: {done}")
        return used / len(self.server.served)

    def _release_info(self) -> ReleaseInfo:
        return ReleaseInfo(
            chain_id=CHAIN_ID,
            market=MARKET,
            job_id=JobId(Bytes32(self.asset.asset_id)),
            asset_id=self.asset.asset_id,
            asset_version=1,
            evidence_hash=self.asset.seal.hash(),
            terms_digest=self.asset.seal.hash(),
            epoch=1,
            index=self.place + 1,
            enclave_key=self.world.enclave.hpke.public.digest,
        )

    def begin_metering(self) -> None:
        """From now on, note the processor time of each part of a wave."""
        self.meter = self._opened.enter_context(metering())

    def parts(self) -> dict[str, float]:
        """Processor seconds of each part since this was asked last."""
        if self.meter is None:
            raise AssertionError("nothing was metered")
        found = dict(self.meter.seconds)
        self.meter.seconds.clear()
        return found

    def left(self) -> dict[str, int]:
        """Bytes that all releases so far have left: in memory, in the journal, in its write-ahead log."""
        sizes = {name: self.file.with_name(self.file.name + end) for name, end in (("journal", ""), ("wal", "-wal"))}
        found = {name: path.stat().st_size if path.exists() else 0 for name, path in sizes.items()}
        return {"memory": resident(), **found}

    def releases(self) -> int:
        """How many releases the journal has."""
        return self.journal.counts()[EntryKind.RELEASE]


def resident() -> int:
    """Bytes of this process in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
