"""How long a workload may run, by what its manifest declares and the job allows (docs/spec/enclave.md, "Time")."""

from __future__ import annotations

from sealmarket_enclave.workload.errors import RunTooLong
from sealmarket_enclave.workload.manifest import Manifest

BYTES_PER_SECOND = 64 << 20
"""At which inputs are opened: a fraction of what one core does."""


def seconds_for_bytes(size: int) -> int:
    """How long it may take to open ``size`` bytes."""
    return -(-size // BYTES_PER_SECOND)


STEP_SECONDS, STEP_BYTES_PER_SECOND = 10, 16 << 20
"""What a request grants a step at least, or its own want of time is to blame: for loading it, and for its inputs."""


def seconds_for_step(size: int) -> int:
    """How long a reader or validator may take over ``size`` bytes before its owner answers for it."""
    return STEP_SECONDS - (-size // STEP_BYTES_PER_SECOND)


def require_time(manifest: Manifest, run_seconds: int) -> None:
    """Hold a workload against the ``runSeconds`` of a job. Raises :class:`RunTooLong`."""
    if manifest.limits.wall_seconds > run_seconds:
        raise RunTooLong(run_seconds, manifest.limits.wall_seconds)
