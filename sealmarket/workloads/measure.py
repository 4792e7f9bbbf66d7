"""What a workload's digest is, and what it covers."""

from __future__ import annotations

from sealmarket.workloads.folders import code_sha256
from sealmarket_enclave.protocol.codec import Bytes32, Shape
from sealmarket_enclave.workload.bundle import Bundle


class Measured(Shape, frozen=True, kw_only=True):
    """A bundle by its digest. ``code_sha256`` is what code can compute of itself; models carry it."""

    digest: Bytes32
    name: str
    version: str
    entry_point: str
    interpreter: str
    files: dict[str, Bytes32]
    wheels: int
    dependency_files: int
    code_sha256: str


def measure(bundle: Bundle) -> Measured:
    """Measure a bundle that was read."""
    listed = bundle.digest_manifest()
    return Measured(
        digest=bundle.digest,
        name=bundle.manifest.name,
        version=bundle.manifest.version,
        entry_point=bundle.manifest.entry_point,
        interpreter=str(bundle.environment.interpreter),
        files={file.path: file.sha256 for file in listed.files},
        wheels=len(bundle.environment.wheels),
        dependency_files=len(bundle.environment.files()),
        code_sha256=code_sha256(bundle.files),
    )


def covers(measured: Measured) -> str:
    """One sentence on what the digest stands for."""
    packages = f"through environment.json each of {measured.dependency_files} files of {measured.wheels} wheels"
    return (
        f"it covers {len(measured.files)} files with entry point, limits and interpreter ({measured.interpreter}), "
        f"and {packages if measured.wheels else 'that there is no package beside them'}"
    )
