"""The bridge from a prepared bundle to the sandbox."""

from __future__ import annotations

from sealmarket_worker import sandbox
from sealmarket_worker.enclave.bundle import Ran, SandboxJob
from sealmarket_worker.enclave.errors import Code, JobRefused, WorkloadFailed


class StrictSandbox:
    """Every layer that production demands, or nothing runs."""

    def check(self) -> None:
        """Raise :class:`JobRefused` when this machine cannot confine a workload; asked before anything is quoted."""
        try:
            sandbox.probe()
        except sandbox.SandboxUnavailable as error:
            raise _unavailable(error) from error

    def run(self, job: SandboxJob) -> Ran:
        """Run a workload. Raises :class:`WorkloadFailed`, and :class:`JobRefused` when a layer went away."""
        try:
            done = sandbox.run_workload(job.bundle, job.environment, job.manifest, job.inputs, job.parameters)
        except sandbox.WorkloadFailed as error:
            raise WorkloadFailed(error.kind.value, tuple(layer.value for layer in error.layers)) from error
        except sandbox.SandboxUnavailable as error:
            raise _unavailable(error) from error
        return Ran(done.files, tuple(layer.value for layer in done.layers))


def _unavailable(error: sandbox.SandboxUnavailable) -> JobRefused:
    return JobRefused(Code.SANDBOX_UNAVAILABLE, error.message, error.remedy)
