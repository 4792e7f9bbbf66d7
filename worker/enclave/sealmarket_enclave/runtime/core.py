"""The enclave's one run: a job goes in, evidence comes out; shares go in, a sealed result and a signed word come out.

States: ``loading -> quoted -> opening -> computing -> sealing -> finished``, and ``refused`` from each. There is no way
back, and no second job: an enclave serves one and ends. A doomed job goes ``quoted -> finished`` or ``refused``.

1. Load: :mod:`sealmarket_enclave.runtime.job` and the workload's own checks. What is not what the job names, or what
   this platform cannot do: refused, nothing quoted. A job that can never run for another reason is doomed: quoted all
   the same, so that the oracle nodes can say whose fault it is, and ended at the first delivery.
2. Keys are made, and evidence is taken over job id, both keys and a recent block.
3. The job id is extended into a runtime register *after* the quote, where the platform has one: what is quoted later
   from inside this enclave is not the evidence that an owner's policy allows.
4. Releases are collected until every data key can be joined, and the workload has loaded its modules meanwhile.
5. Every container is read whole and checked before any is opened.
6. The workload runs in the sandbox; the owners' rules decide what leaves.
7. The result is sealed to the consumer, and the enclave signs what it did.

Everything that leaves after step 4 is ciphertext, a hash, a typed code, or a fixed word. Nothing is logged.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.job import evidence_hash, report_data
from sealmarket_enclave.protocol.numbers import FailureCause, Tee
from sealmarket_enclave.runtime.channel import (
    MAX_PART,
    Channel,
    Deliver,
    Evidence,
    FromHost,
    Load,
    Refused,
    ResultPart,
    ShareReport,
    Stage,
)
from sealmarket_enclave.runtime.errors import (
    Code,
    FrameRefused,
    HostFault,
    HostLost,
    InputFailed,
    JobDoomed,
    JobRefused,
    OutOfOrder,
    WorkloadFailed,
)
from sealmarket_enclave.runtime.inputs import open_container, read_container, wipe
from sealmarket_enclave.runtime.job import BoundJob, LoadedJob, check_load
from sealmarket_enclave.runtime.keys import EnclaveKeys
from sealmarket_enclave.runtime.outputs import check_declared, enforce
from sealmarket_enclave.runtime.platform import Platform, PlatformError
from sealmarket_enclave.runtime.receipts import Witness, units_up
from sealmarket_enclave.runtime.releases import ReleaseDesk
from sealmarket_enclave.runtime.workplace import Prepared, Workplace
from sealmarket_enclave.sealed.errors import InvalidOutputs
from sealmarket_enclave.sealed.result import seal_result

JOB_REGISTER = 3
_WITH_REGISTERS = frozenset({Tee.TDX, Tee.CCA})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an enclave runs on. ``platform_name`` goes into the receipt and says so when it is simulated."""

    platform: Platform
    tee: Tee
    platform_name: str
    workplace: Workplace
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class _Work:
    """A job that can run: everything that it names, checked."""

    job: LoadedJob
    workload: Prepared
    input_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Quoted:
    """A job that can run, and what is fixed once there is evidence."""

    job: LoadedJob
    keys: EnclaveKeys
    evidence_hash: Bytes32
    workload: Prepared
    input_names: tuple[str, ...]
    witness: Witness


class Runtime:
    """One enclave, one job."""

    def __init__(self, channel: Channel[FromHost], around: Surroundings) -> None:
        self._channel, self._around = channel, around

    def run(self) -> None:
        """Serve one job to its end. Whatever goes wrong is answered with a typed refusal, if anybody listens."""
        try:
            self._serve()
        except HostLost:
            return
        except (JobRefused, HostFault) as error:
            self._refuse(error.code, error.message, error.remedy)
        except OutOfOrder as error:
            self._refuse(Code.OUT_OF_ORDER, error.message, error.remedy)
        except FrameRefused as error:
            self._refuse(Code.FRAME_REFUSED, error.message, error.remedy)
        except PlatformError:
            self._refuse(Code.PLATFORM_FAILED, "the platform gave no evidence", "look at the device's own log")
        except Exception:  # noqa: BLE001 - its text could hold data, so only the fact leaves
            self._refuse(Code.INTERNAL, "the enclave stopped", "start a new enclave; report it if it happens again")
        finally:
            self._around.workplace.close()

    def _serve(self) -> None:
        bound, work = self._load()
        witness = self._quote(bound)
        if isinstance(work, JobDoomed):
            self._end_doomed(work, witness)
            return
        # The committee takes seconds, and so does loading: no data is there yet, and none is needed for it.
        work.workload.start()
        quoted = _Quoted(work.job, witness.keys, witness.evidence_hash, work.workload, work.input_names, witness)
        desk = ReleaseDesk(quoted.job, quoted.keys, quoted.evidence_hash)
        while desk.missing:
            for release in self._delivery().releases:
                desk.take(release)
            self._channel.send(desk.report())
        # No key is joined, and nothing opened, for a workload that still loads.
        self._channel.send(Stage(name="importing"))
        work.workload.loaded()
        try:
            inputs = self._open(quoted, desk.join_keys())
        except InputFailed as error:
            self._channel.send(witness.fail(FailureCause.INPUT, error.index, 0, ()))
        except WorkloadFailed:
            self._channel.send(witness.fail(FailureCause.WORKLOAD, 0, 0, ()))
        else:
            self._compute(quoted, inputs)

    def _load(self) -> tuple[BoundJob, _Work | JobDoomed]:
        load = self._channel.receive()
        if not isinstance(load, Load):
            raise OutOfOrder(type(load).__name__, Load.__name__)
        bound, job = check_load(load, self._around.tee)
        self._around.workplace.check()
        if isinstance(job, JobDoomed):
            return bound, job
        try:
            workload, names = self._around.workplace.prepare(
                job.workload,
                job.environment,
                bound.spec.workload_digest,
                job.parameters,
                len(job.assets),
                bound.spec.settle_window,
            )
        except JobDoomed as doom:
            return bound, doom
        return bound, _Work(job, workload, names)

    def _quote(self, bound: BoundJob) -> Witness:
        keys = EnclaveKeys()
        data = report_data(bound.job_id, keys.signer, keys.key_hash, bound.block_hash)
        quote = self._around.platform.quote(bytes(data))
        if self._around.tee in _WITH_REGISTERS:
            self._around.platform.extend(JOB_REGISTER, job_register_event(bound.job_id))
        found = evidence_hash(quote, keys.signer, keys.key_hash, bound.block_hash)
        self._channel.send(
            Evidence(
                job_id=bound.job_id,
                quote=quote,
                signer=keys.signer,
                enclave_key=keys.hpke.public.raw,
                evidence_hash=found,
                block_number=bound.block_number,
                block_hash=bound.block_hash,
            )
        )
        return Witness(bound, keys, found, self._around.platform_name)

    def _delivery(self) -> Deliver:
        message = self._channel.receive()
        if not isinstance(message, Deliver):
            raise OutOfOrder(type(message).__name__, Deliver.__name__)
        return message

    def _end_doomed(self, doom: JobDoomed, witness: Witness) -> None:
        """Whatever is delivered is not looked at: no share is opened for a job that can never run."""
        self._delivery()
        if doom.cause is None:
            raise JobRefused(doom.code, doom.message, doom.remedy)
        self._channel.send(ShareReport(held=(), needed=0, complaints=()))
        self._channel.send(witness.fail(doom.cause, doom.index, 0, ()))

    def _open(self, quoted: _Quoted, keys: list[bytes]) -> dict[str, bytearray]:
        self._channel.send(Stage(name="opening"))
        room = quoted.workload.max_input_bytes
        sealed = []
        try:
            for asset in quoted.job.assets:
                memory = read_container(self._channel, asset.seal.content_root, room)
                sealed.append(memory)
                room -= memory.seek(0, 2)
                memory.seek(0)
            opened = {}
            for place, (asset, memory) in enumerate(zip(quoted.job.assets, sealed, strict=True)):
                named = (asset.use.asset_id, asset.use.version)
                opened[quoted.input_names[place]] = open_container(
                    memory, place, asset.seal.content_root, named, keys[place]
                )
            return opened
        finally:
            for memory in sealed:
                memory.close()

    def _compute(self, quoted: _Quoted, inputs: dict[str, bytearray]) -> None:
        self._channel.send(Stage(name="computing"))
        job, workload, started = quoted.job, quoted.workload, self._around.clock()
        try:
            check_declared(workload.outputs, job.rules)
            outputs = workload.run(inputs)
            enforce(outputs, workload.outputs, job.rules)
        except (WorkloadFailed, InvalidOutputs):
            units = self._units(quoted, started)
            self._channel.send(quoted.witness.fail(FailureCause.WORKLOAD, 0, units, workload.layers))
            return
        finally:
            for plaintext in inputs.values():
                wipe(plaintext)
        self._deliver(quoted, outputs, self._units(quoted, started))

    def _deliver(self, quoted: _Quoted, outputs: Mapping[str, bytes], units: int) -> None:
        self._channel.send(Stage(name="sealing"))
        job = quoted.job
        envelope, container = seal_result(
            outputs,
            job.result_key,
            chain_id=job.bound.chain_id,
            market=job.bound.market,
            job_id=job.bound.job_id,
            bucket=job.rules.bucket_bytes,
        )
        view = memoryview(container)
        while view:
            self._channel.send(ResultPart(data=bytes(view[:MAX_PART])))
            view = view[MAX_PART:]
        self._channel.send(quoted.witness.settle(envelope, units, quoted.workload.layers))

    def _units(self, quoted: _Quoted, started: float) -> int:
        return units_up(self._around.clock() - started, quoted.job.bound.spec.max_units)

    def _refuse(self, code: Code, message: str, remedy: str) -> None:
        try:
            self._channel.send(Refused(code=code, message=message, remedy=remedy))
        except HostLost:
            return


def job_register_event(job_id: bytes) -> bytes:
    """The SHA-384 digest that goes into the runtime register for a job."""
    return hashlib.sha384(b"sealmarket/job/1" + job_id).digest()
