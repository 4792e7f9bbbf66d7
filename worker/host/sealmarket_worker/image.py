"""Assemble an enclave image: `sealmarket_enclave` with one kind of job, its locked dependencies, and nothing else.

Rules:

1. The image of a kind holds every file of the package `sealmarket_enclave`, except the folders of other kinds in
   `runtime/kinds`. Bytecode is left out; a link is refused.
2. It holds the `.py` and `.so` files, without tests, of each distribution that `lock.txt` of the package names, and of
   those that `lock.txt` in the kind's own folder names. An installed distribution of another version is refused.
3. It starts at `__main__.py`, which names the kind. Every file has mode 0644.

The same release on the same kind of machine gives the same bytes, so an owner reproduces the measurement that a policy
lists.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from importlib import metadata, util
from pathlib import Path

from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_worker.errors import DependencyMismatch, ImageIncomplete, UnknownKind

PACKAGE = "sealmarket_enclave"
KINDS = "runtime/kinds"
LOCK = "lock.txt"
BATCH = "batch"
_SUFFIXES = (".py", ".so")
_TESTS = frozenset({"SelfTest", "tests", "test", "_tests"})

ENTRY_POINT = '''\
"""The enclave starts here. Nothing but this folder and the standard library can be imported."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from sealmarket_enclave.runtime.kinds.{kind} import KIND
from sealmarket_enclave.runtime.main import main

main(sys.argv[1:], KIND)
'''


def build_image(target: Path, kind: str = BATCH, *, package: Path | None = None) -> Path:
    """Write the image of a kind of job to ``target``, replacing what was there. Returns ``target``.

    Args:
        package: the folder of `sealmarket_enclave`; the installed one if absent.

    Raises:
        UnknownKind: the package has no such kind.
        ImageIncomplete: a file or a distribution is missing, or is not a regular file.
        DependencyMismatch: an installed distribution is not of the locked version.
    """
    package = package or installed_package()
    files = {**package_files(package, kind), **dependency_files(locked_versions(package, kind))}
    target.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".image-", dir=target.parent))
    try:
        for path, source in sorted(files.items()):
            _write(building / path, source.read_bytes())
        _write(building / "__main__.py", ENTRY_POINT.format(kind=kind).encode())
        building.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        building.rename(target)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return target


def kinds_of(package: Path) -> tuple[str, ...]:
    """The kinds of job for which the package can be built, sorted."""
    return tuple(sorted(folder.parent.name for folder in (package / KINDS).glob("*/__init__.py")))


def package_files(package: Path, kind: str) -> Mapping[str, Path]:
    """Rule 1: where each first-party file of the image lies, by its path in the image."""
    known = kinds_of(package)
    if kind not in known:
        raise UnknownKind(kind, known)
    others = {f"{KINDS}/{other}/" for other in known if other != kind}
    files = {}
    for source in sorted(package.rglob("*")):
        path = source.relative_to(package).as_posix()
        if "__pycache__" in source.parts or source.is_dir() or path.startswith(tuple(others)):
            continue
        files[f"{PACKAGE}/{path}"] = _regular(source)
    return files


def locked_versions(package: Path, kind: str) -> Mapping[str, str]:
    """Rule 2: the version of each distribution that is measured with the kind, by its name."""
    own = package / KINDS / kind / LOCK
    lines = _regular(package / LOCK).read_text().split() + (own.read_text().split() if own.exists() else [])
    versions: dict[str, str] = {}
    for line in lines:
        name, _, version = line.partition("==")
        if not version or versions.setdefault(name, version) != version:
            raise ImageIncomplete(f"one locked version of {name}; {LOCK} says {line!r}")
    return versions


def dependency_files(versions: Mapping[str, str]) -> Mapping[str, Path]:
    """Rule 2: where each third-party file of the image lies, by its path in the image."""
    files: dict[str, Path] = {}
    for name, version in versions.items():
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError as error:
            raise ImageIncomplete(f"the distribution {name}=={version}") from error
        if distribution.version != version:
            raise DependencyMismatch(name, distribution.version, version)
        files |= _distribution_files(distribution)
    return files


def installed_package() -> Path:
    """The folder of the installed package. Raises :class:`ImageIncomplete`."""
    spec = util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ImageIncomplete(f"the package {PACKAGE}")
    return Path(spec.origin).parent


def enclave_arguments(tee: Tee, platform: str) -> tuple[str, ...]:
    """What an enclave is started with, measured with the image: the kind of TEE, and the platform by its name."""
    return tee.name.lower(), platform


def base_interpreter() -> Path:
    """The interpreter behind the running one, as a device is asked to start it."""
    return Path(sys.executable).resolve()


def _distribution_files(distribution: metadata.Distribution) -> dict[str, Path]:
    found = {}
    for file in distribution.files or ():
        inside = file.parts[0] != ".." and not file.parts[0].endswith((".dist-info", ".data"))
        if inside and file.suffix in _SUFFIXES and not _TESTS.intersection(file.parts):
            found[file.as_posix()] = _regular(Path(str(file.locate())))
    if not found:
        raise ImageIncomplete(f"the files of the distribution {distribution.name}")
    return found


def _regular(source: Path) -> Path:
    if source.is_symlink() or not source.is_file():
        raise ImageIncomplete(f"{source.name} as a regular file")
    return source


def _write(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as out:
        out.write(data)
    target.chmod(0o644)
