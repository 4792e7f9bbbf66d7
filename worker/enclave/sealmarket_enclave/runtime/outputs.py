"""What may leave: the owners' rules, enforced by the runtime on what the workload returned. Pure.

Every refusal is a kind without data: a workload must not be able to signal through its failures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sealmarket_enclave.protocol.policy import OutputRules
from sealmarket_enclave.runtime.errors import WorkloadFailed
from sealmarket_enclave.sealed.outputs import NAME


@dataclass(frozen=True, slots=True)
class DeclaredOutput:
    """One output that the bundle declares. ``max_bytes`` is the workload's own limit."""

    media_type: str
    max_bytes: int


def check_declared(declared: Mapping[str, DeclaredOutput], rules: OutputRules) -> None:
    """Before anything runs: whether the owners allow what the workload says that it makes.

    Raises:
        WorkloadFailed: ``outputs_not_allowed``.
    """
    for output in declared.values():
        if output.media_type not in rules.media_types:
            raise WorkloadFailed("outputs_not_allowed")


def enforce(outputs: Mapping[str, bytes], declared: Mapping[str, DeclaredOutput], rules: OutputRules) -> None:
    """After it ran: names, media types, counts and bytes.

    Raises:
        WorkloadFailed: ``no_output``, ``output_not_declared``, ``too_many_outputs`` or ``output_too_large``.
    """
    if not outputs:
        raise WorkloadFailed("no_output")
    for name, data in outputs.items():
        if name not in declared or not NAME.fullmatch(name):
            raise WorkloadFailed("output_not_declared")
        if declared[name].media_type not in rules.media_types:
            raise WorkloadFailed("outputs_not_allowed")
        if len(data) > declared[name].max_bytes:
            raise WorkloadFailed("output_too_large")
    if len(outputs) > rules.max_outputs:
        raise WorkloadFailed("too_many_outputs")
    if sum(len(data) for data in outputs.values()) > rules.max_bytes:
        raise WorkloadFailed("output_too_large")
