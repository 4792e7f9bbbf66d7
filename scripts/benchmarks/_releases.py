"""One committee in a fresh process, for `scripts/bench release`; prints one JSON object.

`python -m scripts.benchmarks._releases WHAT T N COUNT FOLDER`, where `WHAT` is one of :data:`WORK`, and an
empty `FOLDER` the system's for such. The nodes are the product's: journal with its mark on disk, audit log, peers that
hold each other's tails, real keys, and evidence of a virtual TDX device. The chain and the store are their twins in
memory, and peers tell each other by calls: no network is in what is measured.

A *wave* is one job for each client, accepted in final blocks. Its clock starts when all nodes may see that, and a
client is served once ``t`` nodes have answered with their release.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.benchmarks._release_parts import Meter, metering
from sealmarket.protocol.book import Member
from sealmarket.protocol.transitions import Status
from sealmarket.sealing.shares import share_context
from sealmarket_devices.tdx import VirtualTdx
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.signing import recover
from sealmarket_enclave.sealed.contexts import ReleaseInfo
from sealmarket_oracle.journal import Journal
from sealmarket_oracle.log.entries import HeldTail, TailStep
from sealmarket_oracle.mark import TailMark
from sealmarket_oracle.peers import Peers
from sealmarket_oracle.release import core_of
from sealmarket_oracle.service import Node
from tests.oracle.world import CHAIN_ID, MARKET, NOW, World, clock, terms

CLIENTS = (1, 8, 64)
WARM_UP = 8
BARE_ROUNDS = 5
MEMORY_CLIENTS = 16
SOAK_CLIENTS, SOAK_PARTS = 64, 20
PATIENCE = 120.0
_LONG = 365 * 86_400


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


class ReleaseMarket:
    """A committee and its jobs."""

    def __init__(self, folder: Path, threshold: int, members: int, opened: ExitStack) -> None:
        self.threshold, self.meter = threshold, Meter()
        self.file = folder / "node-0.sqlite"
        """The first node's journal."""
        device = VirtualTdx(folder / "device", clock)
        self.world = World(device, folder, members, threshold)
        opened.callback(self.world.close)
        self.asset = self.world.publish(policy_terms=terms(expiry=NOW + _LONG))
        self.documents = dict(self.world.store.documents)
        self.world.chain.finalise()
        self.world.time = float(self.world.chain.head().timestamp)
        self.journals = [opened.enter_context(self._journal(folder, place)) for place in range(members)]
        self.peers = [self._peers(place) for place in range(members)]
        self.servers = [self._server(place) for place in range(members)]
        self.threads = opened.enter_context(ThreadPoolExecutor(members))
        for server, peers in zip(self.servers, self.peers, strict=True):
            server.start()
            opened.callback(server.stop)
            peers.start()
            opened.callback(peers.stop)
        self.tick()  # what is quoted from now on was quoted after the nodes started

    def _journal(self, folder: Path, place: int) -> ServedJournal:
        mark = TailMark(folder / f"node-{place}.mark")
        return ServedJournal(folder / f"node-{place}.sqlite", self.world.identity(place), mark)

    def _peers(self, place: int) -> Peers:
        world = self.world
        return Peers(world.book, world.committee, self.journals[place], world.keys[place].signer, self._tell)

    def _server(self, place: int) -> Server:
        journal = self.journals[place]
        peers = self.peers[place]
        return Server(self.world.node(place, journal_of=journal, witnesses=peers), journal, peers, self.threshold - 1)

    def _tell(self, member: Member, step: TailStep) -> HeldTail:
        return self.servers[self.world.committee.members.index(member)].node.answers.take_tail(step)

    def tick(self) -> None:
        """Every node looks at the chain once, each in a thread of its own."""
        list(self.threads.map(lambda server: server.node.tick(), self.servers))

    def prepare(self, clients: int) -> list[JobId]:
        """Jobs that all nodes have decided on, accepted at a final block that no node has seen."""
        world = self.world
        jobs = [world.match(self.asset) for _ in range(clients)]
        for job in jobs:
            package = world.package(job)
            world.chain.quote(job, world.hash_of(package))
            world.post(package)
        world.chain.finalise()
        self.tick()
        for job in jobs:
            decided = self.servers[0].node.status(job).decision
            if decided is None:
                raise RuntimeError(f"job {job} is not decided: {self.servers[0].node.status(job).reason}")
            world.chain.decide(core_of(decided.decision))
        world.chain.finalise()
        return jobs

    def release_info(self) -> ReleaseInfo:
        """The context of a share that the first node releases."""
        return ReleaseInfo(
            chain_id=CHAIN_ID,
            market=MARKET,
            job_id=self.world.job_id,
            asset_id=self.asset.asset_id,
            asset_version=1,
            evidence_hash=self.asset.seal.hash(),
            terms_digest=self.asset.seal.hash(),
            epoch=1,
            index=1,
            enclave_key=self.world.enclave.hpke.public.digest,
        )

    def left(self) -> dict[str, int]:
        """Bytes that all releases so far have left: in memory, in the first node's journal, in its write-ahead log."""
        sizes = {name: self.file.with_name(self.file.name + end) for name, end in (("journal", ""), ("wal", "-wal"))}
        found = {name: path.stat().st_size if path.exists() else 0 for name, path in sizes.items()}
        return {"memory": resident(), **found}

    def forget(self, jobs: Sequence[JobId]) -> None:
        """Let the jobs end, and the twins forget them."""
        world = self.world
        for job in jobs:
            world.chain.end(job, Status.EXPIRED)
        world.chain.finalise()
        self.tick()
        world.chain.drop_history()
        world.store.packages.clear()
        world.store.parameters.clear()
        world.store.documents = dict(self.documents)

    def wave(self, clients: int) -> tuple[list[float], float, float]:
        """Seconds until each client is served, until all are, and processor seconds of a node for each release."""
        jobs = self.prepare(clients)
        for server in self.servers:
            server.expect(jobs)
        used, began = time.process_time(), time.perf_counter()
        self.meter.on = True
        self.tick()
        for server in self.servers:
            if not server.done.wait(PATIENCE):
                raise RuntimeError(
                    f"jobs were not served: {[server.node.status(job).reason for job in server.waiting]}"
                )
        self.meter.on = False
        cpu = (time.process_time() - used) / (clients * len(self.servers))
        if any(server.node.status(job).release is None for server in self.servers for job in jobs):
            raise RuntimeError("a client was served without a release")
        at = [sorted(server.served[job] for server in self.servers)[self.threshold - 1] - began for job in jobs]
        self.forget(jobs)
        return at, max(at), cpu


def bare(market: ReleaseMarket, rounds: int) -> float:
    """Processor seconds of the cryptography that the protocol demands of one node for one release.

    Its share opened and sealed to the enclave; release, decision and tail signed; the tail of each peer recovered.
    """
    world, keys = market.world, market.world.keys[0]
    sealed = world.store.documents[market.asset.share_set.members[0].sealed]
    context, info = share_context(market.asset.share_set, 1), market.release_info()
    digest = market.asset.share_set.root
    signature = keys.signer.sign_text(digest)
    began = time.thread_time()
    for _ in range(rounds):
        share = keys.hpke.open(sealed, context)
        world.enclave.hpke.public.seal(share, info)
        for _statement in ("release", "decision", "tail"):
            keys.signer.sign_text(digest)
        for _peer in range(len(world.keys) - 1):
            recover(digest, signature)
    return (time.thread_time() - began) / rounds


def latency(market: ReleaseMarket, count: int) -> dict[str, Any]:
    """``waves``: for each number of clients, the seconds of all of them and of all waves; ``cpu``: node and bare."""
    found: dict[str, Any] = {"waves": {}, "cpu": {}}
    for clients in CLIENTS:
        for _ in range(WARM_UP // clients):
            market.wave(clients)
        waits: list[float] = []
        used: dict[str, list[float]] = {"node": [], "bare": []}
        whole = 0.0
        for _ in range(max(1, count // clients)):
            at, all_at, cpu = market.wave(clients)
            waits += at
            whole += all_at
            used["node"].append(cpu)
            used["bare"].append(bare(market, BARE_ROUNDS))
        found["cpu"][str(clients)] = used
        found["waves"][str(clients)] = {"waits": waits, "seconds": whole}
    return found


def memory(market: ReleaseMarket, count: int, clients: int = MEMORY_CLIENTS) -> dict[str, int]:
    """Resident bytes after half of so many releases, once caches are full, and after all; how many came between."""
    waves, early = max(2, count // clients), 0
    for number in range(1, waves + 1):
        market.wave(clients)
        if number == waves // 2:
            early = resident()
    return {"early": early, "late": resident(), "releases": (waves - waves // 2) * clients}


def parts(market: ReleaseMarket, count: int) -> dict[str, Any]:
    """For each number of clients: processor seconds of a node for one release, and of each part of it."""
    found: dict[str, Any] = {}
    with metering() as market.meter:
        for clients in (CLIENTS[0], CLIENTS[-1]):
            for _ in range(WARM_UP // clients):
                market.wave(clients)
            market.meter.seconds.clear()
            used = [market.wave(clients)[2] for _ in range(max(1, count // clients))]
            releases = len(used) * clients * len(market.servers)
            each = {part: seconds / releases for part, seconds in market.meter.seconds.items()}
            found[str(clients)] = {"node": statistics.mean(used), "bare": bare(market, BARE_ROUNDS), "parts": each}
    return found


def soak(market: ReleaseMarket, count: int, clients: int = SOAK_CLIENTS) -> dict[str, Any]:
    """Many releases by each node, with what they leave: a sample after each part of them, the first once caches fill.

    A sample is the number of releases, resident bytes, bytes of the first node's journal, bytes of its write-ahead log,
    and processor seconds of a node for one release: the median of the part's waves.
    """
    waves = max(SOAK_PARTS, count // clients)
    edges = {waves * part // SOAK_PARTS: part for part in range(1, SOAK_PARTS + 1)}
    samples: list[dict[str, float]] = []
    used: list[float] = []
    for number in range(1, waves + 1):
        used.append(market.wave(clients)[2])
        if number in edges:
            samples.append({"releases": number * clients, "cpu": statistics.median(used)} | market.left())
            used = []
            print(json.dumps(samples[-1]), file=sys.stderr, flush=True)
    return {"samples": samples}


def resident() -> int:
    """Bytes of this process in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def market_of(threshold: int, members: int, folder: Path | None) -> Iterator[ReleaseMarket]:
    """A market in a new folder, closed with the block."""
    with tempfile.TemporaryDirectory(prefix="sealmarket-", dir=folder) as own, ExitStack() as opened:
        yield ReleaseMarket(Path(own), threshold, members, opened)


WORK = {"latency": latency, "memory": memory, "parts": parts, "soak": soak}


if __name__ == "__main__":
    what, threshold, members, count, folder = sys.argv[1:]
    with market_of(int(threshold), int(members), Path(folder) if folder else None) as made:
        print(json.dumps(WORK[what](made, int(count))))
