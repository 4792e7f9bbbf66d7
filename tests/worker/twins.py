"""A whole host over twins: the chain in memory, a store that answers over HTTP handlers, nodes, enclaves in threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from sealmarket.chain import Enclave, Fault, Reverted
from sealmarket.chain.committees import members_hash
from sealmarket.chain.events import JobQuoted
from sealmarket.chain.memory import MemoryChain
from sealmarket.protocol.book import AddressBook, Committee, FinalityRule, Member
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.orders import EvidenceSeal
from sealmarket.protocol.problems import Problem
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import (
    BoundDevices,
    EvidencePackage,
    NodeStatus,
    PostedResult,
    SignedStop,
)
from sealmarket.sealing.evidence import About, SealedEvidence, read_evidence
from sealmarket.store.blobs import Store
from sealmarket.workloads.folders import read_bundle
from sealmarket_devices.client import DeviceUnreachable
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, HexBytes, Uint, Wei, canonical_json, decode
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import JobSpec, SharesMissing, enclave_key_hash, result_key_names, terms_digest
from sealmarket_enclave.protocol.numbers import JobId, Tee
from sealmarket_enclave.protocol.release import Release
from sealmarket_enclave.protocol.signing import recover, sign
from sealmarket_enclave.runtime.kinds import batch
from sealmarket_enclave.workload.bundle import pack
from sealmarket_worker.agent import Agent
from sealmarket_worker.context import HostContext
from sealmarket_worker.environments import Environments
from sealmarket_worker.journal import Journal
from sealmarket_worker.materials import MaterialStore
from sealmarket_worker.progress import JobProgress
from sealmarket_worker.serving_job import Services
from sealmarket_worker.session import EnclaveSession
from tests.enclave.runtime.twins import EnclaveTwin, SandboxTwin
from tests.enclave.scene import CHAIN_ID, MARKET, PROVIDER_KEY, REGISTRY, Scene
from tests.patience import POLL_SECONDS
from tests.samples import TIMING


def book_of(scene: Scene) -> AddressBook:
    members = tuple(
        Member(signer=node.signer, hpke_public_key=HexBytes(node.hpke.public.raw), url=f"http://node-{place}")
        for place, node in enumerate(scene.nodes)
    )
    return AddressBook(
        chain_id=CHAIN_ID,
        registry=REGISTRY,
        committee=Address(b"\x33" * 20),
        market=MARKET,
        endings=Address(b"\xe1" * 20),
        extension=Address(b"\xe2" * 20),
        sessions=Address(b"\xe3" * 20),
        deployed_at=1,
        finality=FinalityRule(kind="depth", depth=1),
        timing=TIMING,
        store="http://store",
        backend="http://store",
        committees=(Committee(epoch=1, threshold=2, members=members),),
    )


class StoreTwin(httpx.BaseTransport):
    """The store's HTTP answers, over dictionaries; ``broken`` turns an answer into another one."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.results: list[PostedResult] = []
        self.broken: Callable[[str, bytes], bytes | None] = lambda _path, raw: raw
        self.on_result: Callable[[PostedResult], None] = lambda _posted: None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path, body = request.url.path, request.read()
        if request.method == "GET":
            raw = self.blobs.get(path)
            raw = None if raw is None else self.broken(path, raw)
            if raw is None:
                return httpx.Response(404, content=canonical_json(Problem(title="absent", detail=path)))
            return httpx.Response(200, content=raw)
        if path == "/v1/results":
            posted = decode(PostedResult, body)
            self.results.append(posted)
            self.on_result(posted)
        else:
            self.blobs[path] = body
        return httpx.Response(201)

    def fill(self, scene: Scene) -> None:
        """Everything that owners and consumer upload."""
        for asset in scene.assets:
            self.blobs[f"/v1/containers/{asset.seal.content_root}"] = asset.container
            for raw in (asset.policy.canonical(), asset.share_set.canonical(), *([asset.card] if asset.card else [])):
                self.blobs[f"/v1/documents/{keccak(raw)}"] = raw
        spec = scene.spec
        key = bytes(scene.consumer_key.public.raw)
        for raw in (key, result_key_names([key])):
            self.blobs[f"/v1/documents/{keccak(raw)}"] = raw
        self.blobs[f"/v1/parameters/{spec.request_hash}"] = scene.parameters.canonical()
        self.blobs[f"/v1/workloads/{spec.workload_digest}"] = pack(read_bundle(scene.bundle))
        self.blobs |= {f"/v1/workloads/{step.digest}": step.archive for step in scene.steps}


@dataclass
class TransactionsTwin:
    """The provider's transactions on the chain in memory."""

    chain: MemoryChain
    quotes: list[Bytes32] = field(default_factory=list)
    finished: list[PostedResult] = field(default_factory=list)
    stopped: list[Sequence[SignedStop]] = field(default_factory=list)
    reported: list[SharesMissing] = field(default_factory=list)
    returned: int = 0

    def quote(self, spec: JobSpec, evidence_hash: Bytes32) -> None:
        job_id = spec.job_id(CHAIN_ID, MARKET)
        if self.chain.at(self.chain.head()).job(spec.request_hash).status is not Status.MATCHED:
            raise Reverted("UnexpectedStatus", {}, "the job is not matched", "read its status")
        self.quotes.append(evidence_hash)
        self.chain.quote(job_id, evidence_hash)
        self.chain.finalise()

    def finish(self, spec: JobSpec, evidence_hash: Bytes32, enclave_key_hash: Bytes32, posted: PostedResult) -> None:
        self.finished.append(posted)
        settle(self.chain, posted)

    def stop(self, spec: JobSpec, enclave: Enclave, stops: Sequence[SignedStop], committee: Committee) -> None:
        self.stopped.append(stops)
        self.chain.stop(spec.job_id(CHAIN_ID, MARKET), enclave.evidence_hash, stops[0].stop.reasons)

    def report_missing(self, spec: JobSpec, enclave: Enclave, missing: SharesMissing, signature: bytes) -> None:
        digest = missing.digest(CHAIN_ID, MARKET)
        if recover(digest, signature) != enclave.enclave_signer:
            raise Reverted("WrongEnclave", {}, "another key signed", "ask the enclave")
        self.reported.append(missing)
        self.chain.report_missing(missing, Wei(3) if len(self.reported) == 1 else Wei(0))

    def end_interrupted(self, spec: JobSpec, enclave: Enclave) -> None:
        interruption = self.chain.at(self.chain.head()).interruption(spec.request_hash)
        fault = Fault.STOPPED_BEFORE_RELEASE if interruption.stopped else Fault.SHARES_MISSING
        status = Status.STOPPED if interruption.stopped else Status.EXPIRED
        self.chain.end(spec.job_id(CHAIN_ID, MARKET), status, fault)
        self.chain.finalise()

    def return_unspent(self, spec: JobSpec) -> None:
        self.returned += 1


def settle(chain: MemoryChain, posted: PostedResult) -> None:
    if posted.settlement is not None:
        chain.settle(posted.settlement)
    elif posted.failure is not None:
        chain.fail(posted.failure)
    chain.finalise()


class NodesTwin:
    """Oracle nodes that open their evidence, decide at once, and release when the chain has accepted."""

    def __init__(self, scene: Scene, chain: MemoryChain, store: StoreTwin) -> None:
        self._scene, self._chain, self._store = scene, chain, store
        self.down: set[int] = set()
        self.handed: dict[int, SealedEvidence] = {}
        self.lying: set[int] = set()
        self.stopping: dict[int, SignedStop] = {}
        self.outcome = Outcome.ACCEPTED
        self.reasons = Uint(0)
        self.seen: list[EvidencePackage] = []

    def sealed(self) -> SealedEvidence:
        job_id = self._scene.spec.job_id(CHAIN_ID, MARKET)
        [raw] = [raw for path, raw in self._store.blobs.items() if path.startswith(f"/v1/evidence/{job_id}/")]
        return read_evidence(raw)

    def package(self, node: int) -> EvidencePackage:
        sealed = self.sealed()
        about = About(
            chain_id=CHAIN_ID, market=MARKET, job_id=sealed.job_id, evidence_hash=sealed.evidence_hash, epoch=1
        )
        return decode(EvidencePackage, sealed.opened(self._scene.nodes[node].hpke, about))

    def statuses(self, members: Sequence[Member], job_id: JobId) -> list[NodeStatus | None]:
        return [self._status(place, job_id) for place in range(len(members))]

    def hand_in(self, member: Member, sealed: SealedEvidence) -> bool:
        place = next(place for place, node in enumerate(self._scene.nodes) if node.signer == member.signer)
        self.handed.setdefault(place, sealed)
        return place not in self.down

    def _status(self, place: int, job_id: JobId) -> NodeStatus | None:
        if place in self.down:
            return None
        if place in self.stopping:
            return NodeStatus(job_id=job_id, state="stopped", reason="", stop=self.stopping[place])
        package = self.package(place)
        quoted = next(e for e in self._chain.events(0, self._chain.head().number) if isinstance(e, JobQuoted))
        spoil = 0 if place in self.lying else None
        release: Release = self._scene.release(place, quoted.evidence_hash, package.enclave_key, spoil=spoil)
        return NodeStatus(job_id=job_id, state="released", reason="", release=release.raw)

    def decide(self) -> None:
        """Submit the committee's decision, as the keeper does."""
        package = self.package(0)
        spec = self._scene.spec
        quoted = next(e for e in self._chain.events(0, self._chain.head().number) if isinstance(e, JobQuoted))
        core = Decision(
            job_id=package.job_id,
            evidence_hash=quoted.evidence_hash,
            enclave_signer=package.enclave_signer,
            enclave_key_hash=enclave_key_hash(package.enclave_key),
            terms_digest=terms_digest(spec.assets, [asset.seal for asset in self._scene.assets]),
            epoch=1,
            outcome=self.outcome,
            grade=1,
            reasons=self.reasons,
            expiry=2_000_000_000,
            detail=ZERO_HASH,
        )
        self._chain.decide(core)
        self._chain.finalise()


class DriverTwin:
    """Launches enclaves in threads; ``unreachable`` counts launches that fail first."""

    tee = Tee.TDX

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self.sandbox = SandboxTwin()
        self.launched: list[EnclaveTwin] = []
        self.unreachable = 0
        self.on_launch: Callable[[EnclaveTwin], None] = lambda _twin: None
        self.kind, self.strict = batch.KIND, False

    def check(self) -> None:
        """It is there."""

    def launch(self) -> EnclaveSession:
        if self.unreachable:
            self.unreachable -= 1
            raise DeviceUnreachable("no virtual device answers")
        twin = EnclaveTwin(self._scratch, sandbox=self.sandbox, kind=self.kind, strict=self.strict)
        self.launched.append(twin)
        self.on_launch(twin)
        return EnclaveSession(twin.host)

    def devices(self, session: EnclaveSession) -> BoundDevices | None:
        return None

    def endorsements(self) -> str:
        return "{}"

    def close(self) -> None:
        for twin in self.launched:
            twin.close()


class HostTwin:
    """A host and its surroundings, one turn at a time."""

    def __init__(self, scene: Scene, folder: Path) -> None:
        self.scene, self.folder = scene, folder
        self.chain = MemoryChain(book_of(scene), finality_lag=1)
        self.chain.set_committee(1, members_hash(self.chain.book.committees[0]))
        for asset in scene.assets:
            self.chain.publish(asset.use.asset_id, asset.use.owner, asset.seal, asset.policy.terms)
        self.store = StoreTwin()
        self.store.fill(scene)
        self.driver = DriverTwin(folder / "scratch")
        self.services: Services | None = None
        self.nodes = NodesTwin(scene, self.chain, self.store)
        self.transactions = TransactionsTwin(self.chain)
        self.events: list[JobProgress] = []
        self.on_tick: Callable[[], None] = self.decide_when_quoted
        self.start()

    def start(self) -> None:
        """(Re)start the host: all that it knows comes from its folder and the chain."""
        self.stop, self.drain = TickingStop(self), threading.Event()
        self.journal = Journal(self.folder / "journal.sqlite")
        store = Store("http://store", transport=self.store)
        self.context = HostContext(
            chain=self.chain,
            transactions=self.transactions,
            store=store,
            nodes=self.nodes,
            driver=self.driver,
            materials=MaterialStore(store, self.folder, Environments(self.folder / "environments", self.scene.wheels)),
            journal=self.journal,
            sign=self._sign,
            state=self.folder,
            stop=self.stop,
            drain=self.drain,
            services=self.services,
            listeners=(self.events.append,),
            poll_seconds=0.0,
            settle_patience_seconds=0.0,
        )

    def decide_when_quoted(self) -> None:
        """The world's step while the host waits: blocks come, and the committee decides what was quoted."""
        slot = self.chain.at(self.chain.final()).job(self.scene.spec.request_hash)
        job_id = self.scene.spec.job_id(CHAIN_ID, MARKET)
        shown = any(path.startswith(f"/v1/evidence/{job_id}/") for path in self.store.blobs)
        if slot.status is Status.QUOTED and shown:
            self.nodes.decide()
        else:
            self.chain.mine()

    def match(self) -> JobId:
        job_id = self.chain.match(self.scene.spec)
        self.chain.finalise()
        return job_id

    def run(self) -> None:
        """Work in this thread until nothing is open, or the host was stopped."""
        agent = Agent(self.context, self.scene.spec.provider, max_jobs=1)
        agent.turn()
        agent.join()

    def close(self) -> None:
        self.driver.close()
        self.journal.close()

    def story(self) -> list[tuple[str, str]]:
        return [(event.stage, event.state) for event in self.events if event.state != "note"]

    def messages(self) -> str:
        return "\n".join(event.message for event in self.events)

    def _sign(self, seal: EvidenceSeal) -> HexBytes:
        return sign(seal.digest(CHAIN_ID, MARKET), PROVIDER_KEY)


class TickingStop(threading.Event):
    """A stop signal whose every wait lets the rest of the world take a step, instead of sleeping."""

    def __init__(self, host: HostTwin) -> None:
        super().__init__()
        self._host = host
        self.ticks = 0
        self.by_jobs = False
        """Whether only jobs' threads move the world: the chain in memory is moved by one thread at a time."""

    def wait(self, timeout: float | None = None) -> bool:
        if self.by_jobs and not threading.current_thread().name.startswith("job"):
            return super().wait(POLL_SECONDS)
        self.ticks += 1
        assert self.ticks < 2000, self._host.messages()
        self._host.on_tick()
        return self.is_set()
