"""Run a workload in the enclave's sandbox without an enclave: for authors, and to compare."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sealmarket_enclave.sandbox.model import STRICT, Outputs, SandboxProfile
from sealmarket_enclave.sandbox.process import Input
from sealmarket_enclave.sandbox.runner import StartedWorkload
from sealmarket_enclave.workload.manifest import Manifest, Value


def run_workload(
    bundle_dir: Path,
    environment_dir: Path,
    manifest: Manifest,
    inputs: Mapping[str, Input],
    parameters: Mapping[str, Value],
    profile: SandboxProfile = STRICT,
) -> Outputs:
    """Start a workload and run it at once; arguments and errors as for :class:`StartedWorkload`."""
    with StartedWorkload(bundle_dir, environment_dir, manifest, inputs, parameters, profile) as started:
        return started.run(inputs)
