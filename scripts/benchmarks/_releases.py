"""One committee, each node a process of its own, for `scripts/bench release`; prints one JSON object.

`python -m scripts.benchmarks._releases WHAT T N COUNT FOLDER [CLIENTS ...]`, where `WHAT` is one of :data:`WORK`, and
an empty `FOLDER` the system's for such. This process is everything that is no node
(:mod:`scripts.benchmarks._release_node`): it makes jobs and evidence of a virtual TDX device, and changes the twins of
chain and store, of which each node's process has a copy.

A *wave* is one job for each client, accepted in final blocks. Its clock starts when all nodes may see that, and a
client is served once ``t`` nodes have answered with their release.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from itertools import permutations
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from scripts.benchmarks._release_node import PATIENCE, Links, NodeProcess
from sealmarket.chain.memory import MemoryChain
from sealmarket.protocol.transitions import Status
from sealmarket_devices.tdx import VirtualTdx
from sealmarket_enclave.protocol.numbers import JobId
from tests.oracle.world import NOW, World, clock, terms

CLIENTS = (1, 8, 64)
WARM_UP = 8
MEMORY_CLIENTS = 16
SOAK_CLIENTS, SOAK_PARTS = 64, 20
_LONG = 365 * 86_400
_CHANGES = frozenset({"match", "quote", "decide", "end", "mine", "finalise", "drop_history"})


class RecordedChain:
    """The chain's twin, whose changes are noted for its copies."""

    def __init__(self, chain: MemoryChain) -> None:
        self._chain = chain
        self._calls: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._chain, name)
        if name not in _CHANGES:
            return found

        def change(*given: Any) -> Any:
            self._calls.append((name, given))
            return found(*given)

        return change

    def take_calls(self) -> list[tuple[str, tuple[Any, ...]]]:
        """The changes since this was asked last, in order."""
        taken, self._calls = self._calls, []
        return taken


class Committee:
    """The processes of all nodes; each order goes to all of them before any answer is waited for."""

    def __init__(self, world: World, asset: Any, folder: Path, opened: ExitStack) -> None:
        fork = multiprocessing.get_context("fork")
        places = range(len(world.keys))
        orders = [fork.Pipe() for _ in places]
        pipes = {pair: fork.Pipe() for pair in permutations(places, 2)}
        ends = [end for pipe in (*orders, *pipes.values()) for end in pipe]
        self._orders: list[Connection] = [pipe[0] for pipe in orders]

        def run(place: int) -> None:
            signers = [keys.signer.address for keys in world.keys]
            links = Links(
                orders=orders[place][1],
                to={signers[to]: pipe[0] for (one, to), pipe in pipes.items() if one == place},
                answered=[pipe[1] for (_, to), pipe in pipes.items() if to == place],
            )
            own = {id(end) for end in (links.orders, *links.to.values(), *links.answered)}
            for end in ends:
                if id(end) not in own:
                    end.close()  # else it would not be seen to end
            with ExitStack() as used:
                NodeProcess(world, asset, place, folder, links, used).obey()

        processes = [fork.Process(target=run, args=(place,), daemon=True) for place in places]
        for process in processes:
            process.start()
            opened.callback(process.join, PATIENCE)
        for end in self._orders:
            opened.callback(end.close)
        for end in ends:
            if end not in self._orders:
                end.close()

    def order(self, name: str, *given: Any) -> list[Any]:
        """The answer of each node. Raises what a node raised."""
        for end in self._orders:
            end.send((name, given))
        answers = [end.recv() for end in self._orders]
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers


class ReleaseMarket:
    """A committee and its jobs."""

    def __init__(self, folder: Path, threshold: int, members: int, opened: ExitStack) -> None:
        self.threshold, self.members = threshold, members
        self.world = World(VirtualTdx(folder / "device", clock), folder, members, threshold)
        opened.callback(self.world.close)
        self.asset = self.world.publish(policy_terms=terms(expiry=NOW + _LONG))
        self.world.chain.finalise()
        self.world.time = float(self.world.chain.head().timestamp)
        self.nodes = Committee(self.world, self.asset, folder, opened)
        self.chain = RecordedChain(self.world.chain)
        self.world.chain = self.chain  # type: ignore[assignment]
        self.nodes.order("tick")  # what is quoted from now on was quoted after the nodes started

    def _show(self) -> None:
        """Let the nodes' copies of chain and store be as these are."""
        store = self.world.store
        self.nodes.order("follow", self.chain.take_calls(), store.packages, store.parameters)

    def prepare(self, clients: int) -> list[JobId]:
        """Jobs that all nodes have decided on, accepted at a final block that no node has seen."""
        world = self.world
        jobs = [world.match(self.asset) for _ in range(clients)]
        for job in jobs:
            package = world.package(job)
            self.chain.quote(job, world.hash_of(package))
            world.post(package)
        self.chain.finalise()
        self._show()
        self.nodes.order("tick")
        for core in self.nodes.order("decided", jobs)[0]:
            self.chain.decide(core)
        self.chain.finalise()
        self._show()
        return jobs

    def forget(self, jobs: Sequence[JobId]) -> None:
        """Let the jobs end, and the twins forget them."""
        for job in jobs:
            self.chain.end(job, Status.EXPIRED)
        self.chain.finalise()
        self.world.store.packages.clear()
        self.world.store.parameters.clear()
        self._show()
        self.nodes.order("tick")
        self.chain.drop_history()

    def wave(self, clients: int) -> tuple[list[float], float, float]:
        """Seconds until each client is served, until all are, and processor seconds of a node for each release."""
        jobs = self.prepare(clients)
        began = time.perf_counter()
        served = self.nodes.order("wave", jobs)
        used = statistics.mean(self.nodes.order("spent")) / clients
        at = [sorted(times[job] for times in served)[self.threshold - 1] - began for job in jobs]
        self.forget(jobs)
        return at, max(at), used

    def bare(self) -> float:
        """Processor seconds of the cryptography of one release of the last wave (:meth:`NodeProcess.bare`)."""
        found: list[float] = self.nodes.order("bare")
        return statistics.mean(found)

    def counts(self) -> dict[str, float]:
        """How often a node did what cryptography in the last wave."""
        found = [asdict(done) for done in self.nodes.order("counts")]
        return {name: statistics.mean(one[name] for one in found) for name in found[0]}


def latency(market: ReleaseMarket, count: int, clients: Sequence[int] = CLIENTS) -> dict[str, Any]:
    """``waves``: for each number of clients, the seconds of all of them and of all waves; ``cpu``: node and bare, and
    ``cryptography``, how often a node did which for one release."""
    found: dict[str, Any] = {"waves": {}, "cpu": {}, "cryptography": {}}
    for some in clients:
        for _ in range(WARM_UP // some):
            market.wave(some)
        waits: list[float] = []
        used: dict[str, list[float]] = {"node": [], "bare": []}
        done: list[dict[str, float]] = []
        whole = 0.0
        for _ in range(max(1, count // some)):
            at, all_at, cpu = market.wave(some)
            waits += at
            whole += all_at
            used["node"].append(cpu)
            used["bare"].append(market.bare())
            done.append(market.counts())
        found["cpu"][str(some)] = used
        found["cryptography"][str(some)] = {name: statistics.mean(one[name] for one in done) / some for name in done[0]}
        found["waves"][str(some)] = {"waits": waits, "seconds": whole}
    return found


def memory(market: ReleaseMarket, count: int, clients: Sequence[int] = (MEMORY_CLIENTS,)) -> dict[str, int]:
    """Resident bytes of a node after half of so many releases, once caches are full, and after all; how many came
    between."""
    waves, early = max(2, count // clients[0]), 0
    for number in range(1, waves + 1):
        market.wave(clients[0])
        if number == waves // 2:
            early = _left(market)["memory"]
    return {"early": early, "late": _left(market)["memory"], "releases": (waves - waves // 2) * clients[0]}


def parts(market: ReleaseMarket, count: int, clients: Sequence[int] = (CLIENTS[0], CLIENTS[-1])) -> dict[str, Any]:
    """For each number of clients: processor seconds of a node for one release, and of each part of it."""
    found: dict[str, Any] = {}
    market.nodes.order("begin_metering")
    for some in clients:
        for _ in range(WARM_UP // some):
            market.wave(some)
        market.nodes.order("parts")
        used = [market.wave(some)[2] for _ in range(max(1, count // some))]
        releases = len(used) * some * market.members
        metered = market.nodes.order("parts")
        names = {name for one in metered for name in one}
        each = {name: sum(one.get(name, 0.0) for one in metered) / releases for name in names}
        found[str(some)] = {"node": statistics.mean(used), "bare": market.bare(), "parts": each}
    return found


def soak(market: ReleaseMarket, count: int, clients: Sequence[int] = (SOAK_CLIENTS,)) -> dict[str, Any]:
    """Many releases by each node, with what they leave: a sample after each part of them, the first once caches fill.

    A sample is the number of releases, resident bytes of a node, bytes of its journal, bytes of its write-ahead log,
    and processor seconds of a node for one release: the median of the part's waves.
    """
    waves = max(SOAK_PARTS, count // clients[0])
    edges = {waves * part // SOAK_PARTS for part in range(1, SOAK_PARTS + 1)}
    samples: list[dict[str, float]] = []
    used: list[float] = []
    for number in range(1, waves + 1):
        used.append(market.wave(clients[0])[2])
        if number in edges:
            samples.append({"releases": number * clients[0], "cpu": statistics.median(used)} | _left(market))
            used = []
            print(json.dumps(samples[-1]), file=sys.stderr, flush=True)
    return {"samples": samples}


def _left(market: ReleaseMarket) -> dict[str, int]:
    """What the first node has left."""
    found: dict[str, int] = market.nodes.order("left")[0]
    return found


@contextmanager
def market_of(threshold: int, members: int, folder: Path | None) -> Iterator[ReleaseMarket]:
    """A market in a new folder, closed with the block. Its process has no other thread when this is called."""
    with tempfile.TemporaryDirectory(prefix="sealmarket-", dir=folder) as own, ExitStack() as opened:
        yield ReleaseMarket(Path(own), threshold, members, opened)


WORK = {"latency": latency, "memory": memory, "parts": parts, "soak": soak}


if __name__ == "__main__":
    what, threshold, members, count, folder, *clients = sys.argv[1:]
    with market_of(int(threshold), int(members), Path(folder) if folder else None) as made:
        chosen = (tuple(map(int, clients)),) if clients else ()
        print(json.dumps(WORK[what](made, int(count), *chosen)))
