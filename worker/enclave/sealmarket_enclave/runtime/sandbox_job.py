"""What the runtime asks of a sandbox, for the workload and for steps alike. :mod:`.sandboxed` is the real one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sealmarket_enclave.runtime.errors import Code, JobRefused
from sealmarket_enclave.runtime.job import ParameterValue
from sealmarket_enclave.workload.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxJob:
    """What a sandbox is asked to load. It holds no data yet.

    ``seconds``: wall time that it may take, if less than its manifest says.
    """

    bundle: Path
    environment: Path
    manifest: Manifest
    input_names: tuple[str, ...]
    parameters: Mapping[str, ParameterValue]
    seconds: float = math.inf


@dataclass(frozen=True, slots=True)
class Ran:
    """What came out of a sandbox, and the layers that were in force."""

    outputs: Mapping[str, bytes]
    layers: tuple[str, ...]


class Started(Protocol):
    """A workload that loads in its sandbox, and waits for its inputs."""

    def loaded(self) -> None:
        """Wait until it has loaded, or never will; :meth:`run` says which."""

    def run(self, inputs: Mapping[str, bytes | bytearray], most: int) -> Ran:
        """Hand over the plaintext, once; read at most ``most`` bytes of outputs. Raises :class:`WorkloadFailed`."""

    def close(self) -> None:
        """End it, whatever it does."""


class Sandbox(Protocol):
    """Where workloads run."""

    def check(self) -> None:
        """Raise :class:`JobRefused` when this machine cannot confine a workload."""

    def start(self, job: SandboxJob) -> Started:
        """Start a workload. Call it in a thread that lives as long as the workload."""


def refused(code: Code, error: Exception) -> JobRefused:
    """What the host passed is not the bundle that the job names, or this machine is not the one that it is for."""
    message = getattr(error, "message", "") or str(error)
    return JobRefused(code, message, getattr(error, "remedy", "") or "give the enclave the workload that the job names")
