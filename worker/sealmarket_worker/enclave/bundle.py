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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sealmarket.protocol.codec import Bytes32
from sealmarket.protocol.errors import MalformedDocument
from sealmarket.workload.bundle import unpack
from sealmarket.workload.environment import take
from sealmarket.workload.errors import BundleError, EnvironmentRefused, ParametersRefused
from sealmarket.workload.manifest import Limits, Manifest
from sealmarket_worker.enclave.errors import Code, JobRefused, WorkloadFailed
from sealmarket_worker.enclave.job import ParameterValue
from sealmarket_worker.enclave.outputs import DeclaredOutput

_PREFIX = "job-"
_LOCK = "in-use"
_SETTLING_SECONDS = 30
"""A folder this young may not have taken its lock yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxJob:
    """What a sandbox is asked to run. Plaintext is in ``inputs`` and nowhere else."""

    bundle: Path
    environment: Path
    manifest: Manifest
    inputs: Mapping[str, bytearray]
    parameters: Mapping[str, ParameterValue]

    @property
    def limits(self) -> Limits:
        """What the workload may use."""
        return self.manifest.limits


@dataclass(frozen=True, slots=True)
class Ran:
    """What came out of a sandbox, and the layers that were in force."""

    outputs: Mapping[str, bytes]
    layers: tuple[str, ...]


class Sandbox(Protocol):
    """Where workloads run."""

    def check(self) -> None:
        """Raise :class:`JobRefused` when this machine cannot confine a workload."""

    def run(self, job: SandboxJob) -> Ran:
        """Run a workload. Raises :class:`WorkloadFailed`."""


class PreparedBundle:
    """A checked workload in folders of its own (see :class:`~sealmarket_worker.enclave.workplace.Prepared`)."""

    def __init__(self, folder: Path, manifest: Manifest, parameters: Mapping[str, ParameterValue], sandbox: Sandbox):
        self._folder, self._manifest, self._parameters, self._sandbox = folder, manifest, parameters, sandbox
        self.layers: tuple[str, ...] = ()
        self.outputs = {output.name: DeclaredOutput(output.media_type, output.max_bytes) for output in manifest.outputs}

    @property
    def max_input_bytes(self) -> int:
        """An input that is larger than the workload's own memory could never be used."""
        return self._manifest.limits.memory_bytes

    def run(self, inputs: Mapping[str, bytearray]) -> Mapping[str, bytes]:
        """Run it once. Raises :class:`WorkloadFailed`."""
        job = SandboxJob(
            bundle=self._folder / "bundle",
            environment=self._folder / "environment",
            manifest=self._manifest,
            inputs=inputs,
            parameters=self._parameters,
        )
        try:
            ran = self._sandbox.run(job)
        except WorkloadFailed as error:
            self.layers = error.layers
            raise
        self.layers = ran.layers
        return ran.outputs


class BundleWorkplace:
    """Prepares workloads under ``scratch``, a folder that only the enclave's user can enter."""

    def __init__(self, scratch: Path, sandbox: Sandbox) -> None:
        self._scratch, self._sandbox = scratch, sandbox
        self._folder: Path | None = None
        self._lock = -1

    def prepare(
        self,
        archive: bytes,
        environment: str,
        digest: Bytes32,
        parameters: Mapping[str, ParameterValue],
        asset_count: int,
    ) -> tuple[PreparedBundle, tuple[str, ...]]:
        """See :class:`~sealmarket_worker.enclave.workplace.Workplace`."""
        self._sandbox.check()
        folder = self._private_folder()
        try:
            read = unpack(archive)
            read.require(digest)
        except (BundleError, MalformedDocument, OSError) as error:
            raise _refused(Code.WORKLOAD_MISMATCH, error) from error
        try:
            complete = read.manifest.check_parameters(parameters)
        except ParametersRefused as error:
            raise _refused(Code.PARAMETERS_REFUSED, error) from error
        try:
            names = read.manifest.input_names(asset_count)
        except ParametersRefused as error:
            raise _refused(Code.INPUTS_MISMATCH, error) from error
        try:
            read.environment.interpreter.require_current()
            take(Path(environment), read.environment, folder / "environment")
        except (EnvironmentRefused, BundleError, OSError) as error:
            raise _refused(Code.ENVIRONMENT_MISMATCH, error) from error
        read.write(folder / "bundle")
        return PreparedBundle(folder, read.manifest, complete, self._sandbox), names

    def close(self) -> None:
        """Remove the private folder."""
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


def _refused(code: Code, error: Exception) -> JobRefused:
    message = getattr(error, "message", "") or str(error)
    return JobRefused(code, message, getattr(error, "remedy", "") or "give the enclave the workload that the job names")


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
