"""The enclave's own copy of a workload: what was checked is what runs, whatever happens to the host's files.

The bundle's archive is measured and written into a private folder; the dependencies are copied while
they are hashed. Folders of enclaves that were killed go away when the next enclave starts.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sealmarket_enclave.protocol.card import ARROW
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import FailureCause
from sealmarket_enclave.runtime.channel import StepFiles
from sealmarket_enclave.runtime.errors import Code, WorkloadFailed
from sealmarket_enclave.runtime.job import ParameterValue, Unrunnable
from sealmarket_enclave.runtime.outputs import DeclaredOutput
from sealmarket_enclave.runtime.sandbox_job import Sandbox, SandboxJob, Started, refused
from sealmarket_enclave.runtime.steps import PreparedSteps, prepare_steps
from sealmarket_enclave.workload.bundle import unpack
from sealmarket_enclave.workload.environment import take
from sealmarket_enclave.workload.errors import BundleError, EnvironmentRefused, ParametersRefused, RunTooLong
from sealmarket_enclave.workload.timing import require_time

_PREFIX = "job-"
_LOCK = "in-use"
_SETTLING_SECONDS = 30
"""A folder this young may not have taken its lock yet."""


class PreparedBundle:
    """A checked workload in folders of its own (see :class:`~sealmarket_enclave.runtime.workplace.Prepared`)."""

    def __init__(self, job: SandboxJob, sandbox: Sandbox) -> None:
        self._job, self._sandbox = job, sandbox
        self._started: Started | None = None
        self.layers: tuple[str, ...] = ()
        self.outputs = {
            output.name: DeclaredOutput(output.media_type, output.max_bytes) for output in job.manifest.outputs
        }

    @property
    def sandboxed(self) -> SandboxJob:
        """What a sandbox is asked to load."""
        return self._job

    @property
    def max_input_bytes(self) -> int:
        """An input that is larger than the workload's own memory could never be used."""
        return self._job.manifest.limits.memory_bytes

    def takes_table(self, name: str) -> bool:
        """Whether the slot of this input has the media type of a table."""
        return self._job.manifest.slot(name).media_type == ARROW

    def start(self) -> None:
        """Let it load its modules; it holds no data."""
        self._started = self._sandbox.start(self._job)

    def loaded(self) -> None:
        """Wait until a workload that was started has loaded its modules, or never will."""
        if self._started is not None:
            self._started.loaded()

    def run(self, inputs: Mapping[str, bytearray], most: int) -> Mapping[str, bytes]:
        """Run it once. Raises :class:`WorkloadFailed`."""
        if self._started is None:
            self.start()
        assert self._started is not None
        try:
            ran = self._started.run(inputs, most)
        except WorkloadFailed as error:
            self.layers = error.layers
            raise
        finally:
            self.close()
        self.layers = ran.layers
        return ran.outputs

    def close(self) -> None:
        """End the sandbox if it still runs."""
        if self._started is not None:
            self._started.close()


class BundleWorkplace:
    """Prepares workloads under ``scratch``, a folder that only the enclave's user can enter."""

    def __init__(self, scratch: Path, sandbox: Sandbox) -> None:
        self._scratch, self._sandbox = scratch, sandbox
        self._folder: Path | None = None
        self._prepared: PreparedBundle | None = None
        self._lock = -1

    def check(self) -> None:
        """See :class:`~sealmarket_enclave.runtime.workplace.Workplace`."""
        self._sandbox.check()

    def prepare(
        self,
        archive: bytes,
        environment: str,
        digest: Bytes32,
        parameters: Mapping[str, ParameterValue],
        asset_count: int,
        run_seconds: int,
    ) -> tuple[PreparedBundle, tuple[str, ...]] | Unrunnable:
        """See :class:`~sealmarket_enclave.runtime.workplace.Workplace`."""
        folder = self._private_folder()
        try:
            read = unpack(archive)
            read.require(digest)
        except (BundleError, MalformedDocument, OSError) as error:
            raise refused(Code.WORKLOAD_MISMATCH, error) from error
        try:
            complete = read.manifest.check_parameters(parameters)
        except ParametersRefused as error:
            return _unrunnable(Code.PARAMETERS_REFUSED, error)
        try:
            names = read.manifest.input_names(asset_count)
        except ParametersRefused as error:
            return _unrunnable(Code.INPUTS_MISMATCH, error)
        try:
            require_time(read.manifest, run_seconds)
        except RunTooLong as error:
            return _unrunnable(Code.RUN_TOO_LONG, error)
        try:
            read.environment.interpreter.require_current()
            take(Path(environment), read.environment, folder / "environment")
        except (EnvironmentRefused, BundleError, OSError) as error:
            raise refused(Code.ENVIRONMENT_MISMATCH, error) from error
        read.write(folder / "bundle")
        job = SandboxJob(
            bundle=folder / "bundle",
            environment=folder / "environment",
            manifest=read.manifest,
            input_names=names,
            parameters=complete,
        )
        self._prepared = PreparedBundle(job, self._sandbox)
        return self._prepared, names

    def prepare_steps(self, given: Sequence[StepFiles], owners: Mapping[Bytes32, int]) -> PreparedSteps | Unrunnable:
        """See :class:`~sealmarket_enclave.runtime.workplace.Workplace`."""
        assert self._folder is not None
        return prepare_steps(self._folder / "steps", given, owners, self._sandbox)

    def close(self) -> None:
        """End the sandbox and remove the private folder."""
        if self._prepared is not None:
            self._prepared.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._folder = None

    def _private_folder(self) -> Path:
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_abandoned(self._scratch)
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._scratch))
        self._lock = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return self._folder


def _unrunnable(code: Code, error: ParametersRefused | RunTooLong) -> Unrunnable:
    return Unrunnable(code, error.message, error.remedy, FailureCause.WORKLOAD)


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(_PREFIX + "*"):
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue  # Just being made.
        try:
            if time.time() - os.fstat(lock).st_mtime < _SETTLING_SECONDS:
                continue
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)
