"""What an operator risks on one job. Pure.

The market matches whatever fits an order, and asks no host. A job beyond its operator's limits is therefore quoted,
with its workload named as missing: no honest node accepts such a job, and only the fees of the nodes'
signatures are paid (docs/spec/oracle.md, step 12). Not to quote would cost the penalty.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sealmarket_enclave.protocol.codec import Address
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.policy import OutputRules
from sealmarket_enclave.workload.manifest import Manifest
from sealmarket_enclave.workload.timing import seconds_for_bytes


def half_of_memory() -> int:
    """An enclave holds an input as ciphertext, then as plaintext: what this machine's memory takes, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


_COPIES_OF_OUTPUTS = 4
"""As they are read, framed, taken apart and sealed."""


def outputs_beyond(manifest: Manifest, rules: Iterable[OutputRules]) -> str | None:
    """Why the outputs that workload and owners allow do not fit this machine; None if they do.

    An enclave that runs out of memory signs nothing, and its provider pays the owners.
    """
    declared = sum(output.max_bytes for output in manifest.outputs)
    size = min(declared, manifest.limits.memory_bytes, *(rule.max_bytes for rule in rules))
    if size * _COPIES_OF_OUTPUTS <= (most := half_of_memory()):
        return None
    return f"its outputs may take {size} bytes, and an enclave here holds {most // _COPIES_OF_OUTPUTS} of them"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorLimits:
    """``max_stake`` by token, in its smallest unit: with any, a token that is not named is refused; empty, no limit.

    ``min_settle_window`` in seconds, ``max_input_bytes`` of all containers of a job together.
    """

    max_stake: Mapping[Address, int] = field(default_factory=dict)
    min_settle_window: int = 0
    max_input_bytes: int = field(default_factory=half_of_memory)

    def against_terms(self, spec: JobSpec) -> str | None:
        """Why a job is beyond the limits by its specification alone, with what the operator can do; None if not."""
        stake = sum(use.price for use in spec.assets) + spec.penalty
        most = self.max_stake.get(spec.token, 0)
        if self.max_stake and stake > most:
            found = f"it holds {stake} of the stake, and this host risks {most} on one job"
            return f"{found}; raise limits.max_stake, or name in the offer whom to serve"
        if spec.settle_window < self.min_settle_window:
            found = f"its settle window is {spec.settle_window} s, and this host takes {self.min_settle_window} or more"
            return f"{found}; lower limits.min_settle_window, or name in the offer whom to serve"
        return None

    def against_inputs(self, spec: JobSpec, manifest: Manifest, size: int) -> str | None:
        """Why containers of ``size`` bytes in all are beyond the limits; None if not.

        An enclave reads an input that does not fit the workload's memory to its end all the same, to say under
        signature that it is too large.
        """
        if size > self.max_input_bytes:
            found = f"its inputs take {size} bytes, and this host takes {self.max_input_bytes}"
            return f"{found}; raise limits.max_input_bytes where the memory allows it"
        if size > manifest.limits.memory_bytes and seconds_for_bytes(size) > spec.read_seconds:
            return f"its inputs take {size} bytes, more than an enclave reads in {spec.read_seconds} s"
        return None
