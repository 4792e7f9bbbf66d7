"""The sandbox in which a workload runs: a child process from which everything but its inputs has been taken away."""

from sealmarket_enclave.sandbox.model import (
    STRICT,
    FailureKind,
    Layer,
    Outputs,
    SandboxProfile,
    SandboxUnavailable,
    WorkloadFailed,
)
from sealmarket_enclave.sandbox.runner import StartedWorkload, probe

__all__ = [
    "STRICT",
    "FailureKind",
    "Layer",
    "Outputs",
    "SandboxProfile",
    "SandboxUnavailable",
    "StartedWorkload",
    "WorkloadFailed",
    "probe",
]
