"""Assemble the enclave image: the package `sealmarket_enclave`, what it imports, and nothing else.

The same release on the same kind of machine gives the same bytes, so an owner reproduces the measurement that a policy
lists. Bytecode, type stubs, tests and links are left out; every file gets the same mode.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import metadata, util
from pathlib import Path

from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_worker.errors import ImageIncomplete

PACKAGE = "sealmarket_enclave"
DISTRIBUTIONS = ("blake3", "cffi", "coincurve", "cryptography", "msgspec", "pycryptodome", "rfc8785")
_SUFFIXES = (".py", ".so")
_TESTS = frozenset({"SelfTest", "tests", "test", "_tests"})

ENTRY_POINT = '''\
"""The enclave starts here. Nothing but this folder and the standard library can be imported."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from sealmarket_enclave.runtime.main import main

main(sys.argv[1:])
'''


def build_image(target: Path) -> Path:
    """Write the image to ``target``, replacing what was there. Returns ``target``.

    Raises:
        ImageIncomplete: a package that the enclave needs is not installed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".image-", dir=target.parent))
    try:
        for path, source in sorted((*_first_party(), *_third_party())):
            _copy(source, building / path)
        _write(building / "__main__.py", ENTRY_POINT.encode())
        building.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        building.rename(target)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return target


def image_arguments(tee: Tee) -> Sequence[str]:
    """What an enclave of a kind of TEE is started with; measured with the image."""
    return (tee.name.lower(),)


def base_interpreter() -> Path:
    """The interpreter behind the running one, as a device is asked to start it."""
    return Path(sys.executable).resolve()


def _first_party() -> Iterator[tuple[str, Path]]:
    spec = util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ImageIncomplete(f"the package {PACKAGE}")
    package = Path(spec.origin).parent
    for source in sorted(package.rglob("*.py")):
        yield source.relative_to(package.parent).as_posix(), source


def _third_party() -> Iterator[tuple[str, Path]]:
    for name in DISTRIBUTIONS:
        try:
            files = metadata.distribution(name).files
        except metadata.PackageNotFoundError as error:
            raise ImageIncomplete(f"the distribution {name}") from error
        for file in files or ():
            parts = file.parts
            inside = parts[0] != ".." and not parts[0].endswith((".dist-info", ".data"))
            if inside and file.suffix in _SUFFIXES and not _TESTS.intersection(parts):
                yield file.as_posix(), Path(str(file.locate()))


def _copy(source: Path, target: Path) -> None:
    if not source.is_file():
        raise ImageIncomplete(str(source.name))
    _write(target, source.read_bytes())


def _write(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as out:
        out.write(data)
    target.chmod(0o644)
