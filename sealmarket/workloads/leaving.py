"""What would leave an enclave, by name, and the rule that lets it pass or refuses it.

The verdict is the runtime's own (:mod:`sealmarket_enclave.runtime.outputs`); this module says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sealmarket_enclave.protocol.policy import OutputRules
from sealmarket_enclave.runtime.errors import WorkloadFailed
from sealmarket_enclave.runtime.outputs import DeclaredOutput, check_declared, enforce
from sealmarket_enclave.workload.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Leaving:
    """One returned file. ``passes`` holds it against the rules for single files alone."""

    name: str
    media_type: str
    size: int
    passes: bool
    rule: str


def declared(manifest: Manifest) -> dict[str, DeclaredOutput]:
    """The outputs that a manifest declares."""
    return {output.name: DeclaredOutput(output.media_type, output.max_bytes) for output in manifest.outputs}


def own_rules(manifest: Manifest) -> OutputRules:
    """The widest rules that a workload needs: what it declares, and no more."""
    return OutputRules(
        media_types=tuple(sorted({output.media_type for output in manifest.outputs})),
        max_outputs=len(manifest.outputs),
        max_bytes=sum(output.max_bytes for output in manifest.outputs),
        bucket_bytes=1,
    )


def refusal_before(manifest: Manifest, rules: OutputRules) -> str:
    """The kind under which an enclave refuses the workload before it runs, or nothing."""
    try:
        check_declared(declared(manifest), rules)
    except WorkloadFailed as error:
        return error.kind
    return ""


def refusal_after(outputs: Mapping[str, bytes], manifest: Manifest, rules: OutputRules) -> str:
    """The kind under which an enclave lets nothing of this leave, or nothing."""
    try:
        enforce(outputs, declared(manifest), rules)
    except WorkloadFailed as error:
        return error.kind
    return ""


def each(sizes: Mapping[str, int], manifest: Manifest, rules: OutputRules) -> list[Leaving]:
    """Each returned file with its rule, by name."""
    return [_one(name, sizes[name], declared(manifest).get(name), rules) for name in sorted(sizes)]


def _one(name: str, size: int, output: DeclaredOutput | None, rules: OutputRules) -> Leaving:
    if output is None:
        return Leaving(name, "", size, False, "workload.toml declares no output of this name")
    if output.media_type not in rules.media_types:
        allowed = ", ".join(rules.media_types)
        return Leaving(name, output.media_type, size, False, f"the owners allow {allowed} only")
    if size > output.max_bytes:
        return Leaving(name, output.media_type, size, False, f"workload.toml allows {output.max_bytes} bytes")
    return Leaving(name, output.media_type, size, True, f"declared, at most {output.max_bytes} bytes")
