"""The enclave's own copies of a job's steps, and how one is run: as a workload, in a sandbox of its own.

A step is named by a digest in a card or policy (:mod:`sealmarket_enclave.protocol.steps`). What the host passes is
compared with that digest, and its dependencies are copied while they are hashed, as the workload's are. Two steps with
the same dependencies share one copy. The input slots of a step are words for its readers: the runtime names the inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from msgspec import UNSET

from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import sha256
from sealmarket_enclave.protocol.steps import MAXIMUM_METER, MAXIMUM_STEP, TABLE_WANTED
from sealmarket_enclave.runtime.channel import StepFiles
from sealmarket_enclave.runtime.errors import Code, JobRefused, WorkloadFailed
from sealmarket_enclave.runtime.job import Unrunnable, absent, owners_fault, precedence
from sealmarket_enclave.runtime.sandbox_job import Sandbox, SandboxJob, refused
from sealmarket_enclave.runtime.workplace import StepCall
from sealmarket_enclave.sandbox import FailureKind
from sealmarket_enclave.workload.bundle import ENVIRONMENT, Bundle, unpack
from sealmarket_enclave.workload.environment import take
from sealmarket_enclave.workload.errors import BundleError, EnvironmentRefused, ParametersRefused
from sealmarket_enclave.workload.manifest import Manifest, Value


class PreparedSteps:
    """The steps of a job (see :class:`~sealmarket_enclave.runtime.workplace.Steps`). ``jobs`` by digest."""

    def __init__(self, jobs: Mapping[Bytes32, SandboxJob], sandbox: Sandbox) -> None:
        self._jobs, self._sandbox = jobs, sandbox

    def job(self, digest: Bytes32) -> SandboxJob:
        """What a sandbox is asked to load for a step; its parameters have their defaults."""
        known = self._jobs[digest]
        return replace(known, parameters=_parameters(known.manifest, {}))

    def run(self, call: StepCall) -> Mapping[str, bytes]:
        """Run one step. Raises :class:`WorkloadFailed`."""
        if call.seconds <= 0:
            raise WorkloadFailed(FailureKind.OUT_OF_TIME)
        known = self._jobs[call.digest]
        job = replace(
            known,
            input_names=tuple(call.inputs),
            parameters=_parameters(known.manifest, call.parameters),
            seconds=call.seconds,
        )
        started = self._sandbox.start(job)
        try:
            return started.run(call.inputs, call.most).outputs
        finally:
            started.close()


def prepare_steps(
    folder: Path, given: Sequence[StepFiles], owners: Mapping[Bytes32, int], sandbox: Sandbox
) -> PreparedSteps | Unrunnable:
    """Copy and check the steps of a job into a new ``folder``: see :class:`.workplace.Workplace`."""
    folder.mkdir(mode=0o700)
    jobs: dict[Bytes32, SandboxJob] = {}
    faults: list[Unrunnable] = []
    for number, files in enumerate(given):
        bundle = _bundle(files)
        if bundle.digest not in owners or bundle.digest in jobs:
            message = f"step {bundle.digest} is named by no card or policy of this job, or came twice"
            raise JobRefused(Code.STEP_MISMATCH, message, "pass each step that the job's cards and policies name, once")
        faults += _faults(bundle, len(files.archive), owners[bundle.digest])
        jobs[bundle.digest] = _job(folder, number, bundle, files)
    faults += [absent(f"step {digest}") for digest in owners if digest not in jobs]
    return min(faults, key=precedence) if faults else PreparedSteps(jobs, sandbox)


def _bundle(files: StepFiles) -> Bundle:
    try:
        return unpack(files.archive)
    except (BundleError, MalformedDocument, OSError) as error:
        raise refused(Code.STEP_MISMATCH, error) from error


def _faults(bundle: Bundle, size: int, index: int) -> list[Unrunnable]:
    """Why an owner must not name this step, as every reader of it finds."""
    most = MAXIMUM_STEP if bundle.manifest.session is UNSET else MAXIMUM_METER
    if size > most:
        found = f"step {bundle.digest} has an archive of {size} bytes, expected at most {most}"
        return [owners_fault(index, Code.STEP_MISMATCH, found)]
    try:
        _parameters(bundle.manifest, {} if bundle.manifest.session is not UNSET else {TABLE_WANTED: True})
    except ParametersRefused as error:
        return [owners_fault(index, Code.STEP_MISMATCH, f"step {bundle.digest}: {error.message}")]
    return []


def _job(folder: Path, number: int, bundle: Bundle, files: StepFiles) -> SandboxJob:
    code = folder / f"bundle-{number}"
    environment = folder / f"environment-{sha256(bundle.files[ENVIRONMENT].data).hex()}"
    try:
        bundle.environment.interpreter.require_current()
        if not environment.exists():
            take(Path(files.environment), bundle.environment, environment)
    except (EnvironmentRefused, BundleError, OSError) as error:
        raise refused(Code.ENVIRONMENT_MISMATCH, error) from error
    bundle.write(code)
    return SandboxJob(bundle=code, environment=environment, manifest=bundle.manifest, input_names=(), parameters={})


def _parameters(manifest: Manifest, given: Mapping[str, Value]) -> dict[str, Value]:
    declared = {parameter.name for parameter in manifest.parameters}
    return manifest.check_parameters({name: value for name, value in given.items() if name in declared})
