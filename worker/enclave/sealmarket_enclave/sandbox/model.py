"""What a sandbox promises, what comes out of it, and how it fails.

SealmarketError
├── WorkloadFailed         the workload's own fault
└── SandboxUnavailable     this machine cannot confine a workload as the profile demands
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from sealmarket_enclave.protocol.errors import SealmarketError


class Layer(StrEnum):
    """One thing that is taken away from a workload."""

    PARENT_DEATH = "parent-death"
    LIMITS = "limits"
    NO_NEW_PRIVILEGES = "no-new-privileges"
    CAPABILITIES = "capabilities"
    NOT_DUMPABLE = "not-dumpable"
    LANDLOCK_FILES = "landlock-files"
    LANDLOCK_TCP = "landlock-tcp"
    LANDLOCK_SCOPE = "landlock-scope"
    SECCOMP = "seccomp"
    PRIVATE_ROOT = "private-root"
    CGROUP_MEMORY = "cgroup-memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxProfile:
    """Which layers must be in force. A profile without seccomp or limits is refused: it would confine nothing."""

    required: frozenset[Layer]

    def __post_init__(self) -> None:
        floor = {Layer.PARENT_DEATH, Layer.LIMITS, Layer.NO_NEW_PRIVILEGES, Layer.NOT_DUMPABLE, Layer.SECCOMP}
        if missing := floor - self.required:
            raise ValueError(f"a sandbox profile must require {', '.join(sorted(missing))}")


REPORTED = frozenset({Layer.LANDLOCK_TCP, Layer.LANDLOCK_SCOPE, Layer.PRIVATE_ROOT, Layer.CGROUP_MEMORY})
"""Put in force and reported where this machine can. TCP and signals are denied by seccomp too, reading by Landlock,
address space by a limit."""
STRICT = SandboxProfile(required=frozenset(Layer) - REPORTED)
"""What production demands."""


class FailureKind(StrEnum):
    """All that leaves about a workload's failure."""

    RAISED = "raised"
    NOT_LOADED = "not_loaded"
    CRASHED = "crashed"
    OUT_OF_MEMORY = "out_of_memory"
    OUT_OF_TIME = "out_of_time"
    FORBIDDEN_CALL = "forbidden_call"
    TOO_MANY_THREADS = "too_many_threads"
    OUTPUT_INVALID = "output_invalid"
    OUTPUT_TOO_LARGE = "output_too_large"


_REMEDIES = {
    FailureKind.RAISED: "run the workload on the asset's synthetic sample, and handle what it raises",
    FailureKind.NOT_LOADED: "check the entry point, and that the lock names everything that is imported",
    FailureKind.CRASHED: "run the workload on the asset's synthetic sample in the same sandbox",
    FailureKind.OUT_OF_MEMORY: "raise memory_bytes in workload.toml, or use less",
    FailureKind.OUT_OF_TIME: "raise cpu_seconds and wall_seconds in workload.toml, or do less",
    FailureKind.FORBIDDEN_CALL: "remove what opens other processes or programs: the sandbox ends a workload for it",
    FailureKind.TOO_MANY_THREADS: "start fewer threads, or raise threads in workload.toml",
    FailureKind.OUTPUT_INVALID: "return a mapping of the names that workload.toml declares to bytes",
    FailureKind.OUTPUT_TOO_LARGE: "return less, or raise max_bytes in workload.toml within the owners' rules",
}


class WorkloadFailed(SealmarketError):
    """The workload ended without a result; ``kind`` says how, without its data."""

    def __init__(self, kind: FailureKind, layers: tuple[Layer, ...], cpu_seconds: float) -> None:
        super().__init__(f"the workload failed: {kind.value}", remedy=_REMEDIES[kind])
        self.kind, self.layers, self.cpu_seconds = kind, layers, cpu_seconds


class SandboxUnavailable(SealmarketError):
    """This machine lacks a layer that the sandbox profile requires."""

    def __init__(self, missing: frozenset[Layer], detail: str) -> None:
        names = ", ".join(sorted(missing)) or "working sandbox"
        super().__init__(
            f"this machine has no {names}, which the sandbox profile requires: {detail}",
            remedy="use a Linux kernel of 5.13 or newer with seccomp and Landlock, on x86_64 or aarch64",
        )
        self.missing, self.detail = missing, detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """What a workload returned, within the limits that it declared; and what it used."""

    files: dict[str, bytes] = field(repr=False)
    layers: tuple[Layer, ...]
    cpu_seconds: float
