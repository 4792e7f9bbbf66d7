"""Make a release of the enclave's runtime from what is installed here, and make it again to compare.

An image of each kind of job is built as :mod:`sealmarket_worker.image` builds it, and each driver says what evidence of
it will show. Two machines with the same release of Sealmarket, interpreter and distributions make the same documents.
"""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from sealmarket.releases.documents import Component, ReleasedEnclave, ReleasedMeasurements, digest_of_files
from sealmarket.releases.errors import ReleaseDisagrees
from sealmarket.releases.folder import CheckedRelease
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_worker.config import tee_named
from sealmarket_worker.drivers.installed import driver_named
from sealmarket_worker.image import build_image, dependency_files, installed_package, locked_versions


@dataclass(frozen=True, slots=True)
class Target:
    """One image to be measured: a kind of job, and what launches it on which TEE."""

    kind: str
    tee: Tee
    driver: str


def measured_here(targets: Sequence[Target], interpreter: Path) -> tuple[ReleasedMeasurements, tuple[Component, ...]]:
    """The measurements of these images, and the distributions in them, as installed here.

    Raises:
        UnknownKind, ImageIncomplete, DependencyMismatch: an image cannot be built.
        DriverMissing, ConfigInvalid: a driver is not here, or gives no such evidence.
    """
    with tempfile.TemporaryDirectory() as folder:
        images = {kind: build_image(Path(folder) / kind, kind) for kind in {target.kind for target in targets}}
        enclaves = tuple(_enclave(target, images[target.kind], interpreter) for target in targets)
    release = metadata.version("sealmarket-enclave")
    measured = ReleasedMeasurements(release=release, interpreter=platform.python_version(), enclaves=enclaves)
    return measured, tuple(_components(sorted(images)))


def require_reproduced(checked: CheckedRelease, interpreter: Path) -> None:
    """Make a release's images again, and hold measurements and distributions against it.

    Raises:
        ReleaseDisagrees: something here is not what was released.
        Whatever :func:`measured_here` raises.
    """
    measured = checked.measured
    targets = [Target(one.kind, tee_named(one.tee), one.driver) for one in measured.enclaves]
    here, components = measured_here(targets, interpreter)
    for what, expected, found in (
        ("release of Sealmarket", measured.release, here.release),
        ("interpreter", measured.interpreter, here.interpreter),
    ):
        if expected != found:
            raise ReleaseDisagrees(what, expected, found)
    for released, made in zip(checked.components, components, strict=False):
        if released != made:
            raise ReleaseDisagrees(f"files of {released.name}", released, made)
    for one, again in zip(measured.enclaves, here.enclaves, strict=True):
        if one != again:
            what = f"measurement of {one.kind} on {one.tee} by {one.driver}"
            raise ReleaseDisagrees(what, one.measurement.digest(), again.measurement.digest())
    if checked.components != components:
        raise ReleaseDisagrees("number of distributions", len(checked.components), len(components))


def _enclave(target: Target, image: Path, interpreter: Path) -> ReleasedEnclave:
    factory = driver_named(target.driver, target.tee)
    files = {path.relative_to(image).as_posix(): path.read_bytes() for path in image.rglob("*") if path.is_file()}
    return ReleasedEnclave(
        kind=target.kind,
        tee=target.tee.slug,
        driver=target.driver,
        grade="simulated" if factory.simulated else "hardware",
        image=digest_of_files(files),
        measurement=factory.expected_measurement(target.tee, image, interpreter),
    )


def _components(kinds: Sequence[str]) -> Iterator[Component]:
    package = installed_package()
    versions: dict[str, str] = {}
    for kind in kinds:
        versions |= locked_versions(package, kind)
    for name, version in sorted(versions.items()):
        files = dependency_files({name: version})
        digest = digest_of_files({path: source.read_bytes() for path, source in files.items()})
        yield Component(name=name, version=version, files=Bytes32(digest))
