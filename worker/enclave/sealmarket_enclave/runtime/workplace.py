"""What the runtime needs of a workload, apart from how bundles are copied and sandboxes built.

:mod:`sealmarket_enclave.runtime.bundle` is the real one; tests have a twin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.runtime.channel import StepFiles
from sealmarket_enclave.runtime.job import ParameterValue, Unrunnable
from sealmarket_enclave.runtime.outputs import DeclaredOutput
from sealmarket_enclave.runtime.sandbox_job import SandboxJob


@dataclass(frozen=True, slots=True)
class StepCall:
    """One run of a step. ``most`` bounds the bytes of all its outputs, ``seconds`` its wall time beside its own limits.

    ``parameters`` are given as far as the step declares them.
    """

    digest: Bytes32
    inputs: Mapping[str, bytes | bytearray]
    most: int
    seconds: float
    parameters: Mapping[str, ParameterValue]


class Steps(Protocol):
    """The steps of a job, checked and ready to run, each as often as needed."""

    def job(self, digest: Bytes32) -> SandboxJob:
        """What a sandbox is asked to load for a step, for a kind that runs it by itself."""

    def run(self, call: StepCall) -> Mapping[str, bytes]:
        """Run one in a sandbox of its own. Raises :class:`WorkloadFailed` with a kind that holds no data."""


class Prepared(Protocol):
    """A workload whose bundle, dependencies and parameters have been checked, ready to run once."""

    outputs: dict[str, DeclaredOutput]
    """What the bundle declares that it makes."""
    layers: tuple[str, ...]
    """The layers of the sandbox that were in force, for the receipt; empty before it ran."""

    @property
    def sandboxed(self) -> SandboxJob:
        """What a sandbox is asked to load, for a kind that runs the workload by itself."""

    @property
    def max_input_bytes(self) -> int:
        """How much ciphertext a job may bring, all containers together."""

    def takes_table(self, name: str) -> bool:
        """Whether the workload takes the input of this name as an Arrow table."""

    def start(self) -> None:
        """Let it load its modules in the sandbox, before there is any data. Need not be called."""

    def loaded(self) -> None:
        """Wait until it has loaded, or never will, if it was started; :meth:`run` says what went wrong."""

    def run(self, inputs: Mapping[str, bytearray], most: int) -> Mapping[str, bytes]:
        """Run it in the sandbox; of its outputs at most ``most`` bytes are read.

        Raises :class:`WorkloadFailed` with a kind that holds no data.
        """


class Workplace(Protocol):
    """Where workloads are prepared."""

    def check(self) -> None:
        """Raise :class:`JobRefused` when no workload could be confined here; asked before anything is quoted."""

    def prepare(
        self,
        archive: bytes,
        environment: str,
        digest: Bytes32,
        parameters: Mapping[str, ParameterValue],
        asset_count: int,
        run_seconds: int,
    ) -> tuple[Prepared, tuple[str, ...]] | Unrunnable:
        """Copy, measure and check a workload; also the name under which it takes each asset, in order.

        :class:`Unrunnable` for parameters against its schema, another number of inputs than it takes, or more than
        ``run_seconds`` of declared time.

        Raises:
            JobRefused: another bundle, or an edited or missing dependency.
        """

    def prepare_steps(self, given: Sequence[StepFiles], owners: Mapping[Bytes32, int]) -> Steps | Unrunnable:
        """Copy, measure and check steps, after :meth:`prepare`. ``owners``: the first asset that names each digest.

        :class:`Unrunnable` for one that is absent, or that its owner must not name.

        Raises:
            JobRefused: a step that nothing names, or an edited or missing dependency.
        """

    def close(self) -> None:
        """Remove what was prepared."""
