"""In-memory twins for the enclave runtime: a platform, a sandbox, and a host whose every step a test can bend."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from sealmarket.workloads.folders import read_bundle
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_enclave.runtime.bundle import BundleWorkplace
from sealmarket_enclave.runtime.channel import (
    Channel,
    Deliver,
    Evidence,
    Finished,
    FromEnclave,
    Load,
    MissingSigned,
    Part,
    Refused,
    ResultPart,
    ShareReport,
    Stage,
    StepFiles,
    Want,
    enclave_side,
)
from sealmarket_enclave.runtime.core import EnclaveEnvironment, JobKind, Runtime
from sealmarket_enclave.runtime.errors import JobRefused
from sealmarket_enclave.runtime.kinds import batch
from sealmarket_enclave.runtime.sandbox_job import Ran, SandboxJob
from sealmarket_enclave.runtime.sandboxed import StrictSandbox
from sealmarket_enclave.workload.bundle import pack
from sealmarket_worker.session import host_side
from tests.enclave.scene import CHAIN_ID, MARKET, Scene
from tests.patience import PATIENCE


@dataclass
class PlatformTwin:
    """Answers like a device; remembers what it was asked."""

    events: list[str] = field(default_factory=list)
    report_data: bytes = b""

    def quote(self, report_data: bytes) -> bytes:
        assert type(report_data) is bytes  # a real channel encodes nothing else
        self.events.append("quote")
        self.report_data = report_data
        return b"quote over " + report_data

    def extend(self, index: int, digest: bytes) -> bytes:
        self.events.append(f"extend {index}")
        return hashlib.sha384(digest).digest()


@dataclass
class SandboxTwin:
    """Runs no code: counts lines, and remembers what it was given."""

    outputs: Mapping[str, bytes] | Exception | None = None
    jobs: list[SandboxJob] = field(default_factory=list)
    """Those that were given data."""
    loaded: list[SandboxJob] = field(default_factory=list)
    inputs: Mapping[str, bytes | bytearray] = field(default_factory=dict)
    seen: dict[str, bytes] = field(default_factory=dict)
    dependency: str = ""
    refusal: JobRefused | None = None
    during: Callable[[Mapping[str, bytes | bytearray]], object] = lambda _inputs: None
    """What happens while it runs."""
    steps: dict[str, StepTwin] = field(default_factory=dict)
    """What stands in for steps, by the names of their bundles."""
    most: int = 0
    """How many bytes of outputs the workload was allowed."""
    open: int = 0
    may_load: threading.Event = field(default_factory=threading.Event)
    """Cleared by a test that wants a workload to be still loading."""
    waited: threading.Event = field(default_factory=threading.Event)
    """Set once somebody waits for it to have loaded."""

    def __post_init__(self) -> None:
        self.may_load.set()

    def check(self) -> None:
        if self.refusal:
            raise self.refusal

    def start(self, job: SandboxJob) -> StartedTwin:
        self.open += 1
        if job.manifest.name in self.steps:
            return StartedTwin(self, job, self.steps[job.manifest.name])
        self.loaded.append(job)
        return StartedTwin(self, job)


@dataclass
class StepTwin:
    """Stands in for one step: what it returns or raises, and each call that it was given."""

    answer: Mapping[str, bytes] | Exception | Callable[[Mapping[str, bytes]], Mapping[str, bytes]]
    seen: list[dict[str, bytes]] = field(default_factory=list)
    jobs: list[SandboxJob] = field(default_factory=list)
    most: list[int] = field(default_factory=list)

    def run(self, job: SandboxJob, inputs: Mapping[str, bytes | bytearray], most: int) -> Ran:
        self.jobs.append(job)
        self.most.append(most)
        self.seen.append({name: bytes(data) for name, data in inputs.items()})
        if isinstance(self.answer, Exception):
            raise self.answer
        return Ran(self.answer(self.seen[-1]) if callable(self.answer) else self.answer, ("twin",))


@dataclass
class StartedTwin:
    """One started workload of the twin, or step."""

    sandbox: SandboxTwin
    job: SandboxJob
    step: StepTwin | None = None
    closed: bool = False

    def loaded(self) -> None:
        self.sandbox.waited.set()
        assert self.sandbox.may_load.wait(PATIENCE)

    def run(self, inputs: Mapping[str, bytes | bytearray], most: int) -> Ran:
        if self.step is not None:
            return self.step.run(self.job, inputs, most)
        twin = self.sandbox
        twin.most = most
        twin.jobs.append(self.job)
        twin.inputs = inputs
        twin.seen = {name: bytes(data) for name, data in inputs.items()}
        twin.dependency = (self.job.environment / "tiny" / "__init__.py").read_text()
        twin.during(inputs)
        if isinstance(twin.outputs, Exception):
            raise twin.outputs
        rows = sum(data.count(b"\n") for data in twin.seen.values())
        outputs = twin.outputs if twin.outputs is not None else {"report.json": b'{"rows":%d}' % rows}
        return Ran(outputs, ("twin",))

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.sandbox.open -= 1


@dataclass
class Said:
    """What an enclave said, in order."""

    refused: Refused | None = None
    evidence: Evidence | None = None
    reports: list[ShareReport] = field(default_factory=list)
    missing: list[MissingSigned] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    wants: list[Want] = field(default_factory=list)
    container: bytes = b""
    finished: Finished | None = None


class EnclaveTwin:
    """A runtime in a thread, and the host's end of its channel."""

    def __init__(
        self,
        scratch: Path,
        *,
        tee: Tee = Tee.TDX,
        sandbox: SandboxTwin | None = None,
        strict: bool = False,
        kind: JobKind = batch.KIND,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self.platform, self.sandbox = PlatformTwin(), sandbox or SandboxTwin()
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE)
        self.socket, self.host = ours, host_side(ours)
        environment = EnclaveEnvironment(
            platform=self.platform,
            tee=tee,
            platform_name="twin (simulated)",
            workplace=BundleWorkplace(scratch, StrictSandbox() if strict else self.sandbox),
            clock=clock,
            cpu_clock=cpu_clock,
        )
        self._theirs, self._kind = theirs, kind
        self.thread = threading.Thread(target=self._run, args=(environment,), daemon=True)
        self.thread.start()

    def _run(self, environment: EnclaveEnvironment) -> None:
        with self._theirs:
            Runtime(enclave_side(self._theirs), environment, self._kind).run()

    def close(self) -> None:
        self.socket.close()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


def load_of(scene: Scene, **changes: object) -> Load:
    """What an honest host hands over, with changes."""
    spec = scene.spec
    load = Load(
        chain_id=CHAIN_ID,
        market=MARKET,
        job_id=spec.job_id(CHAIN_ID, MARKET),
        spec=spec.canonical(),
        seals=tuple(asset.seal.canonical() for asset in scene.assets),
        policies=tuple(asset.policy.canonical() for asset in scene.assets),
        cards=tuple(asset.card for asset in scene.assets),
        share_sets=tuple(asset.share_set.canonical() for asset in scene.assets),
        parameters=scene.parameters.canonical(),
        result_keys=(scene.consumer_key.public.raw,),
        workload=pack(read_bundle(scene.bundle)),
        environment=str(scene.environment),
        steps=tuple(StepFiles(archive=step.archive, environment=str(step.environment)) for step in scene.steps),
        block_number=7,
        block_hash=scene.block_hash,
    )
    return msgspec.structs.replace(load, **changes)


def serve(scene: Scene, host: Channel[FromEnclave], containers: Mapping[Bytes32, bytes] | None = None) -> Said:
    """Answer an enclave to its end, from the scene's containers or from others."""
    ran = Said()
    held = containers or {asset.seal.content_root: asset.container for asset in scene.assets}
    while True:
        message = host.receive()
        match message:
            case Refused():
                ran.refused = message
                return ran
            case Finished():
                ran.finished = message
                return ran
            case ShareReport():
                ran.reports.append(message)
            case MissingSigned():
                ran.missing.append(message)
            case Stage():
                ran.stages.append(message.name)
            case ResultPart():
                ran.container += message.data
            case Want():
                ran.wants.append(message)
                held_bytes = held[Bytes32(message.content_root)]
                host.send(Part(data=held_bytes[message.offset : message.offset + message.length]))
            case Evidence():
                raise AssertionError("a second quote")


def loaded(scene: Scene, enclave: EnclaveTwin, **changes: object) -> Evidence:
    """Bring an enclave to its quote."""
    enclave.host.send(load_of(scene, **changes))
    answer = enclave.host.receive()
    assert isinstance(answer, Evidence), answer
    return answer


def deliver(scene: Scene, enclave: EnclaveTwin, evidence: Evidence, nodes: Sequence[int] = (0, 1)) -> None:
    """Hand over honest releases of some nodes."""
    hash_ = Bytes32(evidence.evidence_hash)
    releases = tuple(scene.release(node, hash_, evidence.enclave_key).raw for node in nodes)
    enclave.host.send(Deliver(releases=releases))
