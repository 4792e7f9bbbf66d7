"""Run a workload on local files as an enclave does: its sandbox, its limits, its output rules; no market and no key.

Steps, each the runtime's own code where it has one:

1. The owners' rules are held against what the workload declares; a file larger than its memory is refused.
2. Bundle and environment are copied into a private folder; each byte of the environment is compared with its hash.
3. The sandbox runs :mod:`sealmarket.workloads.inside` in the workload's place, which runs the workload and reports.
4. The output rules decide what would leave.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from sealmarket.files import read_file
from sealmarket.workloads import inside
from sealmarket.workloads.errors import InputsRefused
from sealmarket.workloads.leaving import Leaving, each, refusal_after, refusal_before
from sealmarket.workloads.peak import Peak, PeakOfChild
from sealmarket_enclave.protocol.policy import OutputRules
from sealmarket_enclave.sandbox.model import WorkloadFailed
from sealmarket_enclave.sandbox.process import Input
from sealmarket_enclave.sandbox.runner import StartedWorkload
from sealmarket_enclave.workload.bundle import CODE, Bundle
from sealmarket_enclave.workload.environment import take
from sealmarket_enclave.workload.errors import ParametersRefused
from sealmarket_enclave.workload.manifest import Manifest, Output, Parameter, Value

_REPORT = Output(name="sealmarket-trial.json", media_type="application/json", max_bytes=1 << 20)
_MODULE = "sealmarket_trial"


class _Report(msgspec.Struct):
    """What :mod:`.inside` writes, and the workload beside it may have forged."""

    kind: str
    text: str
    printed: str
    returned: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRun:
    """How a run ended. ``failure`` is the kind that an enclave would sign, empty where everything may leave."""

    failure: str
    text: str = ""
    """The workload's own error. An enclave keeps it to itself."""
    printed: str = ""
    leaving: list[Leaving] = field(default_factory=list)
    outputs: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """What would leave: nothing after a failure."""
    load_seconds: float = 0.0
    run_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak: Peak = field(default_factory=Peak)
    layers: tuple[str, ...] = ()


def read_inputs(manifest: Manifest, given: Sequence[tuple[str, Path]]) -> dict[str, bytes]:
    """The files of a run under the names that the workload takes them by; files of one slot in their order.

    Raises:
        InputsRefused: a slot that does not exist, or has too few or too many files.
        OSError: a file that cannot be read, or is larger than the workload's memory.
    """
    slots = {slot.name: slot for slot in manifest.inputs}
    if unknown := [name for name, _ in given if name not in slots]:
        raise InputsRefused(f"there is no input {unknown[0]!r}", f"one of {', '.join(slots)}")
    ordered = []
    for slot in manifest.inputs:
        files = [path for name, path in given if name == slot.name]
        if not slot.minimum <= len(files) <= slot.maximum:
            raise InputsRefused(f"{len(files)} files for {slot.name}", f"{slot.minimum} to {slot.maximum}")
        ordered += files
    limit = manifest.limits.memory_bytes
    names = manifest.input_names(len(ordered))
    return {name: read_file(path, limit) for name, path in zip(names, ordered, strict=True)}


def read_parameters(manifest: Manifest, given: Mapping[str, str]) -> dict[str, Value]:
    """Complete parameters from texts, each by its declared type. Raises :class:`ParametersRefused`."""
    known = {parameter.name: parameter for parameter in manifest.parameters}
    return manifest.check_parameters(
        {name: _value(known[name], text) if name in known else text for name, text in given.items()}
    )


def _value(parameter: Parameter, text: str) -> Value:
    if parameter.type == "string":
        return text
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise ParametersRefused(parameter.name, text[:80], f"a {parameter.type}") from None
    return parameter.check(value)


def run_locally(
    bundle: Bundle,
    environment_dir: Path,
    inputs: Mapping[str, Input],
    parameters: Mapping[str, Value],
    rules: OutputRules,
) -> LocalRun:
    """Run a bundle once, with its installed dependencies.

    Raises:
        SandboxUnavailable: this machine cannot confine a workload.
        EnvironmentRefused: a dependency is not the locked one.
    """
    if kind := refusal_before(bundle.manifest, rules):
        nothing_yet = {output.name: 0 for output in bundle.manifest.outputs}
        return LocalRun(failure=kind, leaving=each(nothing_yet, bundle.manifest, rules))
    if sum(map(len, inputs.values())) > bundle.manifest.limits.memory_bytes:
        return LocalRun(failure="input_too_large")
    with tempfile.TemporaryDirectory(prefix="sealmarket-run-") as name:
        folder = Path(name)
        bundle.environment.interpreter.require_current()
        take(environment_dir, bundle.environment, folder / "environment")
        bundle.write(folder / "bundle")
        _stand_in(folder / "bundle" / CODE, bundle.manifest)
        return _run(folder, bundle.manifest, inputs, parameters, rules)


def _stand_in(code: Path, manifest: Manifest) -> None:
    """Put :mod:`.inside` beside the workload's modules."""
    settings = {
        "entry_point": manifest.entry_point,
        "report": _REPORT.name,
        "outputs": {output.name: output.max_bytes for output in manifest.outputs},
    }
    with (code / f"{_MODULE}.py").open("x", encoding="utf-8") as module:
        module.write(Path(inside.__file__).read_text(encoding="utf-8"))
    with (code / inside.SETTINGS).open("x", encoding="utf-8") as file:
        json.dump(settings, file)


def _run(
    folder: Path,
    manifest: Manifest,
    inputs: Mapping[str, Input],
    parameters: Mapping[str, Value],
    rules: OutputRules,
) -> LocalRun:
    tried = msgspec.structs.replace(manifest, entry_point=f"{_MODULE}:run", outputs=(*manifest.outputs, _REPORT))
    began = time.monotonic()
    with (
        PeakOfChild() as following,
        StartedWorkload(folder / "bundle", folder / "environment", tried, inputs, parameters) as started,
    ):
        started.loaded()
        loaded = time.monotonic()
        try:
            done = started.run(inputs)
        except WorkloadFailed as error:
            ended = LocalRun(
                failure=error.kind.value,
                text=error.remedy,
                cpu_seconds=error.cpu_seconds,
                layers=tuple(layer.value for layer in error.layers),
            )
        else:
            layers = tuple(layer.value for layer in done.layers)
            ended = _ended(dict(done.files), manifest, rules, cpu_seconds=done.cpu_seconds, layers=layers)
        over = time.monotonic()
    text = ended.text.replace(f"{folder}/", "")
    return replace(ended, text=text, load_seconds=loaded - began, run_seconds=over - loaded, peak=following.peak)


def _ended(files: dict[str, bytes], manifest: Manifest, rules: OutputRules, **used: Any) -> LocalRun:
    """What the report and the rules say of a run that came to its end."""
    try:
        report = msgspec.json.decode(files.pop(_REPORT.name, b""), type=_Report)
    except msgspec.DecodeError:
        return LocalRun(failure="output_invalid", text="the workload altered the report of this run", **used)
    leaving = each(report.returned | {name: len(data) for name, data in files.items()}, manifest, rules)
    failure = report.kind or _refused_by_sandbox(leaving) or refusal_after(files, manifest, rules)
    return LocalRun(
        failure=failure,
        text=report.text,
        printed=report.printed,
        leaving=leaving,
        outputs={} if failure else files,
        **used,
    )


def _refused_by_sandbox(leaving: list[Leaving]) -> str:
    """The kind under which the sandbox ends a run for what it returned, or nothing."""
    if any(not one.media_type for one in leaving):
        return "output_invalid"
    return "" if all(one.passes for one in leaving) else "output_too_large"
