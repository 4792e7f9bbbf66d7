"""What the runtime needs of a workload, apart from how bundles are copied and sandboxes built.

:mod:`sealmarket_enclave.runtime.bundle` is the real one; tests have a twin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.runtime.job import ParameterValue, Unrunnable
from sealmarket_enclave.runtime.outputs import DeclaredOutput


class Prepared(Protocol):
    """A workload whose bundle, dependencies and parameters have been checked, ready to run once."""

    outputs: dict[str, DeclaredOutput]
    """What the bundle declares that it makes."""
    layers: tuple[str, ...]
    """The layers of the sandbox that were in force, for the receipt; empty before it ran."""

    @property
    def max_input_bytes(self) -> int:
        """How much ciphertext a job may bring, all containers together."""

    def start(self) -> None:
        """Let it load its modules in the sandbox, before there is any data. Need not be called."""

    def loaded(self) -> None:
        """Wait until it has loaded, or never will, if it was started; :meth:`run` says what went wrong."""

    def run(self, inputs: Mapping[str, bytearray]) -> Mapping[str, bytes]:
        """Run it in the sandbox. Raises :class:`WorkloadFailed` with a kind that holds no data."""


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

    def close(self) -> None:
        """Remove what was prepared."""
