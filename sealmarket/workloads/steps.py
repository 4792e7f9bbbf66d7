"""Steps on a user's own machine: the bundles that an enclave runs before and after a workload, locked and installed.

A step is a workload bundle. Those that come with Sealmarket lie as sources in ``sealmarket/readers``,
``sealmarket/validators`` and ``sealmarket/meters``; locked for an interpreter they have a digest, which cards and
policies name.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import sealmarket
from sealmarket.workloads.cache import WorkloadCache
from sealmarket.workloads.errors import StepUnknown
from sealmarket.workloads.folders import read_bundle, read_files
from sealmarket.workloads.leaving import own_rules
from sealmarket.workloads.local import LocalRun, run_locally
from sealmarket.workloads.wheels import build
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.hashing import sha256
from sealmarket_enclave.workload.bundle import ENVIRONMENT, LOCK, Bundle, BundleFile, bundle_of
from sealmarket_enclave.workload.manifest import Value

Kind = Literal["readers", "validators", "meters"]
MADE = "tokens"
"""A meter that is made of a model (:mod:`.meters`): what comes with Sealmarket lacks the vocabulary."""
_SOURCES = Path(sealmarket.__file__).parent
_NAMED_BY = 16


@dataclass(frozen=True, slots=True)
class Step:
    """A step that can run here."""

    name: str
    bundle: Bundle
    folder: Path
    cache: WorkloadCache

    @property
    def digest(self) -> Bytes32:
        """What a card or policy names."""
        return self.bundle.digest

    def run(self, inputs: Mapping[str, bytes | memoryview], parameters: Mapping[str, Value]) -> LocalRun:
        """Run it once in the sandbox.

        Raises:
            SandboxUnavailable: this machine cannot confine it.
            EnvironmentRefused: a dependency is not the locked one, or cannot be had.
        """
        rules, values = own_rules(self.bundle.manifest), self.bundle.manifest.check_parameters(parameters)
        return self.cache.using(
            self.bundle, self.folder, lambda installed: run_locally(self.bundle, installed, inputs, values, rules)
        )


def shipped(name: str, cache: WorkloadCache, kind: Kind = "readers") -> Step:
    """A step that comes with Sealmarket, locked for this interpreter. Its wheels are fetched once.

    Raises:
        StepUnknown: no step of this kind has that name.
        FetchFailed: its wheels cannot be had.
    """
    folder = _SOURCES / kind / name
    if name not in names(kind):
        raise StepUnknown(name, names(kind))
    files = read_files(folder)
    locked = cache.folder / "locked" / f"{sha256(files[LOCK].data).hex()[:_NAMED_BY]}-{sys.implementation.cache_tag}"
    if not locked.is_file():
        environment = build(files[LOCK].data, cache.wheels(folder).glob("*.whl"))
        locked.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=locked.parent) as temporary:
            written = Path(temporary, "environment")
            written.write_bytes(environment.canonical())
            written.replace(locked)
    files[ENVIRONMENT] = BundleFile(executable=False, data=locked.read_bytes())
    return Step(name, bundle_of(files), folder, cache)


def names(kind: Kind = "readers") -> tuple[str, ...]:
    """The steps of a kind that come with Sealmarket."""
    found = (path.name for path in (_SOURCES / kind).iterdir() if (path / LOCK).is_file())
    return tuple(sorted(name for name in found if (kind, name) != ("meters", MADE)))


def named(digest: Bytes32, cache: WorkloadCache, folder: Path | None = None, kind: Kind = "readers") -> Step:
    """The step with a digest: in ``folder``, or one that comes with Sealmarket.

    Raises:
        DigestMismatch: the folder holds another bundle.
        StepUnknown: no shipped one has that digest here. The digest covers the interpreter, so another version of
            Python locks another one.
    """
    if folder is not None:
        bundle = read_bundle(folder)
        bundle.require(digest)
        return Step(bundle.manifest.name, bundle, folder, cache)
    for name in names(kind):
        if (step := shipped(name, cache, kind)).digest == digest:
            return step
    raise StepUnknown(str(digest), names(kind))


def shipped_as(bundle: Bundle) -> str | None:
    """The name of the shipped step that a bundle is, whatever interpreter it is locked for; None for another bundle."""
    files = {path: file.data for path, file in bundle.files.items() if path != ENVIRONMENT}
    for kind in get_args(Kind):
        for name in names(kind):
            if files == {path: file.data for path, file in read_files(_SOURCES / kind / name).items()}:
                return name
    return None
