"""The bridge from a prepared bundle to the sandbox."""

from __future__ import annotations

from collections.abc import Mapping

from sealmarket_enclave import sandbox
from sealmarket_enclave.runtime.errors import Code, JobRefused, WorkloadFailed
from sealmarket_enclave.runtime.sandbox_job import Ran, SandboxJob, Started


class StrictSandbox:
    """Every layer that production demands, or nothing runs."""

    def check(self) -> None:
        """Raise :class:`JobRefused` when this machine cannot confine a workload; asked before anything is quoted."""
        try:
            sandbox.probe()
        except sandbox.SandboxUnavailable as error:
            raise _unavailable(error) from error

    def start(self, job: SandboxJob) -> Started:
        """Start a workload; it loads while the committee decides."""
        return _StartedWorkload(
            sandbox.StartedWorkload(
                job.bundle, job.environment, job.manifest, job.input_names, job.parameters, seconds=job.seconds
            )
        )


class _StartedWorkload:
    def __init__(self, started: sandbox.StartedWorkload) -> None:
        self._started = started

    def loaded(self) -> None:
        try:
            self._started.loaded()
        except sandbox.SandboxUnavailable as error:
            raise _unavailable(error) from error

    def run(self, inputs: Mapping[str, bytes | bytearray], most: int) -> Ran:
        try:
            done = self._started.run(inputs, most)
        except sandbox.WorkloadFailed as error:
            raise WorkloadFailed(error.kind.value, tuple(layer.value for layer in error.layers)) from error
        except sandbox.SandboxUnavailable as error:
            raise _unavailable(error) from error
        return Ran(done.files, tuple(layer.value for layer in done.layers))

    def close(self) -> None:
        self._started.close()


def _unavailable(error: sandbox.SandboxUnavailable) -> JobRefused:
    return JobRefused(Code.SANDBOX_UNAVAILABLE, error.message, error.remedy)
