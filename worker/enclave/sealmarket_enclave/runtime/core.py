"""What every kind of job has in common: a job goes in, evidence comes out, the kind's own flow takes over.

States: ``loading -> quoted -> (the kind's own) -> finished``, and ``refused`` from each. There is no way back, and no
second job: an enclave serves one and ends. An unrunnable job goes ``quoted -> finished`` or ``refused``.

1. Load: :mod:`sealmarket_enclave.runtime.job` and the workload's own checks. What is not what the job names, or what
   this platform cannot do: refused, nothing quoted. A job that can never run for another reason is unrunnable: quoted
   all the same, so that the oracle nodes can say whose fault it is, and ended at the first delivery.
2. Keys are made, and evidence is taken over job id, both keys and a recent block.
3. The job id is extended into a runtime register *after* the quote, where the platform has one: what is quoted later
   from inside this enclave is not the evidence that an owner's policy allows.

Then :attr:`JobKind.serve`, of the one kind that is in the image. Nothing is logged.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from sealmarket_enclave.protocol.job import evidence_hash, report_data
from sealmarket_enclave.protocol.numbers import FailureCause, Kind, Tee
from sealmarket_enclave.runtime.channel import Channel, Deliver, Evidence, FromHost, Load, Refused, ShareReport
from sealmarket_enclave.runtime.errors import Code, FrameRefused, HostFault, HostLost, JobRefused, OutOfOrder
from sealmarket_enclave.runtime.job import BoundJob, LoadedJob, Unrunnable, check_load, owners_fault, precedence
from sealmarket_enclave.runtime.keys import EnclaveKeys
from sealmarket_enclave.runtime.platforms.interface import Platform, PlatformError
from sealmarket_enclave.runtime.receipts import ReceiptSigner
from sealmarket_enclave.runtime.workplace import Prepared, Steps, Workplace

JOB_REGISTER = 3
_WITH_REGISTERS = frozenset({Tee.TDX, Tee.CCA})


@dataclass(frozen=True, slots=True)
class EnclaveEnvironment:
    """What an enclave runs on. ``platform_name`` goes into the receipt and says so when it is simulated."""

    platform: Platform
    tee: Tee
    platform_name: str
    workplace: Workplace
    clock: Callable[[], float] = time.monotonic
    cpu_clock: Callable[[], float] = time.thread_time
    """Seconds of computing of the thread that asks: a host that pauses the enclave does not move it."""


@dataclass(frozen=True, slots=True)
class Work:
    """A job that can run: everything that it names, checked. ``input_names`` are in the order of its assets."""

    job: LoadedJob
    workload: Prepared
    input_names: tuple[str, ...]
    steps: Steps


Serve = Callable[[Channel[FromHost], EnclaveEnvironment, Work, ReceiptSigner], None]
"""A kind's flow: carries a quoted job to its signed end."""


def _runnable(_job: LoadedJob) -> None:
    """Of a kind that adds nothing to the rules of loading."""


@dataclass(frozen=True, slots=True)
class JobKind:
    """One kind of job. ``check`` holds what the kind adds against the job, before anything is quoted."""

    kind: Kind
    serve: Serve
    check: Callable[[LoadedJob], Unrunnable | None] = _runnable


class Runtime:
    """One enclave, one job, of one kind."""

    def __init__(self, channel: Channel[FromHost], environment: EnclaveEnvironment, kind: JobKind) -> None:
        self._channel, self._environment, self._kind = channel, environment, kind

    def run(self) -> None:
        """Serve one job to its end. Every error is answered with a typed refusal, while the host is there."""
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
            self._environment.workplace.close()

    def _serve(self) -> None:
        bound, work = self._load()
        signer = self._quote(bound)
        if isinstance(work, Unrunnable):
            self._end_unrunnable(work, signer)
        else:
            self._kind.serve(self._channel, self._environment, work, signer)

    def _load(self) -> tuple[BoundJob, Work | Unrunnable]:
        load = self._channel.expect(Load)
        bound, job = check_load(load, self._environment.tee, self._kind.kind)
        workplace = self._environment.workplace
        workplace.check()
        if isinstance(job, Unrunnable):
            return bound, job
        added = self._kind.check(job)
        prepared = workplace.prepare(
            job.workload,
            job.environment,
            bound.spec.workload_digest,
            job.parameters,
            len(job.assets),
            bound.spec.run_seconds,
        )
        steps = workplace.prepare_steps(load.steps, job.step_owners)
        meter = None if isinstance(steps, Unrunnable) else _unfit_meter(job, steps)
        reasons = [reason for reason in (steps, meter, prepared, added) if isinstance(reason, Unrunnable)]
        if reasons:
            return bound, min(reasons, key=precedence)
        assert not isinstance(steps, Unrunnable)
        assert not isinstance(prepared, Unrunnable)
        workload, names = prepared
        unfit = self._other_kind(workload) or _unfit_slot(job, workload, names)
        return bound, unfit or Work(job, workload, names, steps)

    def _other_kind(self, workload: Prepared) -> Unrunnable | None:
        """A workload that is made for another kind of job."""
        found, expected = workload.sandboxed.manifest.kind, self._kind.kind.slug
        if found == expected:
            return None
        message = f"the workload is of kind {found}, and the job of kind {expected}"
        remedy = f"request a workload whose workload.toml says kind = {expected!r}"
        return Unrunnable(Code.WORKLOAD_KIND, message, remedy, FailureCause.WORKLOAD)

    def _quote(self, bound: BoundJob) -> ReceiptSigner:
        keys, began = EnclaveKeys(), self._environment.clock()
        data = report_data(bound.job_id, keys.signer, keys.key_hash, bound.block_hash)
        quote = self._environment.platform.quote(bytes(data))
        if self._environment.tee in _WITH_REGISTERS:
            self._environment.platform.extend(JOB_REGISTER, job_register_event(bound.job_id))
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
        return ReceiptSigner(bound, keys, found, self._environment.platform_name, began)

    def _end_unrunnable(self, reason: Unrunnable, signer: ReceiptSigner) -> None:
        """The delivery is not read: no share is opened for a job that can never run."""
        self._channel.expect(Deliver)
        if reason.cause is None:
            raise JobRefused(reason.code, reason.message, reason.remedy)
        self._channel.send(ShareReport(held=(), needed=0, complaints=()))
        self._channel.send(signer.fail(reason.cause, reason.index, 0, ()))

    def _refuse(self, code: Code, message: str, remedy: str) -> None:
        try:
            self._channel.send(Refused(code=code, message=message, remedy=remedy))
        except HostLost:
            return


def _unfit_meter(job: LoadedJob, steps: Steps) -> Unrunnable | None:
    """A meter that its owner must not name: it serves no requests."""
    if job.meter is None:
        return None
    index, digest = job.meter
    manifest = steps.job(digest).manifest
    if manifest.kind == Kind.SESSION.slug:
        return None
    message = f"the meter {digest} is of kind {manifest.kind}, expected {Kind.SESSION.slug}"
    return owners_fault(index, Code.STEP_MISMATCH, message)


def _unfit_slot(job: LoadedJob, workload: Prepared, names: tuple[str, ...]) -> Unrunnable | None:
    """Why a workload can never run by how it takes an asset.

    It takes a table of one whose card names no reader: no party makes the table. Or it takes the original bytes of one
    whose owner has rows withheld: they hold all rows.
    """
    for name, asset in zip(names, job.assets, strict=True):
        table = workload.takes_table(name)
        if asset.policy.output.withholds and not table:
            message = f"the workload takes the original bytes of {name}, and its owner has rows withheld"
            remedy = "request a workload that takes this asset as a table"
            return Unrunnable(Code.INPUTS_MISMATCH, message, remedy, FailureCause.WORKLOAD)
        if table and (asset.card is None or asset.card.reader is None):
            message = f"the workload takes {name} as a table, and the asset's data card names no reader"
            remedy = "request an asset with a card, or a workload that takes the original bytes"
            return Unrunnable(Code.INPUTS_MISMATCH, message, remedy, FailureCause.WORKLOAD)
    return None


def job_register_event(job_id: bytes) -> bytes:
    """The SHA-384 digest that goes into the runtime register for a job."""
    return hashlib.sha384(b"sealmarket/job/1" + job_id).digest()
