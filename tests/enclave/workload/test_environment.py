"""Environments: exactly the files of the locked wheels; anything more, less or other is named."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from sealmarket.workloads.errors import WheelNotLocked
from sealmarket.workloads.fetch import lock_environment
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.wheels import build, install
from sealmarket_enclave.protocol.codec import Bytes32, canonical_json, decode_canonical
from sealmarket_enclave.protocol.hashing import sha256
from sealmarket_enclave.workload.bundle import BundleFile, DigestManifest, ListedFile
from sealmarket_enclave.workload.environment import Environment, Interpreter, Wheel, take
from sealmarket_enclave.workload.errors import (
    EnvironmentRefused,
    FileAltered,
    InterpreterMismatch,
    ListedFileMissing,
    UnlistedFile,
    WheelRefused,
)
from sealmarket_enclave.workload.manifest import parse_manifest
from tests.enclave.workload.bundles import MANIFEST, bundle, lock_line, wheel

VECTORS = Path(__file__).resolve().parents[3] / "docs/spec/vectors/workload.json"
FILES = {
    "dep/__init__.py": b"ANSWER = 42\n",
    "dep/data.txt": b"rows",
    "dep/__init__.pyc": b"stale bytecode",
    "evil.pth": b"import os",
    "dep-1.0.data/purelib/more/__init__.py": b"",
    "dep-1.0.data/scripts/dep": b"#!python",
}


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel(folder, "dep", FILES)
    return folder


@pytest.fixture
def environment(wheels: Path) -> Environment:
    lock = "".join(lock_line(path) for path in wheels.iterdir())
    return build(lock.encode(), wheels.iterdir())


@pytest.fixture
def installed(wheels: Path, environment: Environment, tmp_path: Path) -> Path:
    install(environment, wheels, tmp_path / "env")
    return tmp_path / "env"


def test_a_wheel_that_the_lock_does_not_name_is_refused(wheels: Path) -> None:
    with pytest.raises(WheelNotLocked):
        build(b"dep==1.0 --hash=sha256:" + b"0" * 64, wheels.iterdir())


@pytest.mark.parametrize("path", ["../evil.py", "/evil.py", "a//b.py", "dep-1.0.data/purelib/../../x.py"])
def test_a_wheel_that_writes_outside_is_refused(wheels: Path, path: str) -> None:
    made = wheel(wheels, "evil", {path: b""})
    with pytest.raises(WheelRefused):
        build(lock_line(made).encode(), [made])


def test_two_wheels_that_write_one_file_differently_are_refused(wheels: Path) -> None:
    other = wheel(wheels, "other", {"dep/__init__.py": b"ANSWER = 41\n"})
    lock = "".join(lock_line(path) for path in wheels.iterdir())
    with pytest.raises(WheelRefused):
        build(lock.encode(), [wheels / "dep-1.0-py3-none-any.whl", other])


def test_a_wheel_replaced_after_locking_is_not_installed(
    wheels: Path, environment: Environment, tmp_path: Path
) -> None:
    wheel(wheels, "dep", {**FILES, "dep/__init__.py": b"ANSWER = 41\n"})
    with pytest.raises(WheelNotLocked):
        install(environment, wheels, tmp_path / "env")


def test_a_document_that_lists_other_content_than_its_wheel_is_refused(
    wheels: Path, environment: Environment, tmp_path: Path
) -> None:
    held = environment.wheels[0]
    cases: tuple[tuple[dict[str, Bytes32], type[EnvironmentRefused]], ...] = (
        ({**held.files, "dep/data.txt": Bytes32(bytes(32))}, FileAltered),
        ({**held.files, "dep/more.txt": Bytes32(bytes(32))}, ListedFileMissing),
        ({"dep/data.txt": held.files["dep/data.txt"]}, UnlistedFile),
    )
    for number, (files, error) in enumerate(cases):
        false = msgspec.structs.replace(environment, wheels=(msgspec.structs.replace(held, files=files),))
        with pytest.raises(error):
            install(false, wheels, tmp_path / f"env{number}")


@pytest.mark.parametrize("name", ["dep/x.py", "x.pth", "dep/__pycache__/__init__.cpython-311.pyc", "dep/__init__.pyc"])
def test_a_file_that_no_wheel_lists_is_refused(installed: Path, environment: Environment, name: str) -> None:
    (installed / name).parent.mkdir(exist_ok=True)
    (installed / name).write_bytes(b"")
    with pytest.raises(UnlistedFile) as refusal:
        take(installed, environment, installed / "../p")
    assert refusal.value.path == name
    assert not (installed / "../p" / name).exists()


def test_a_link_in_an_environment_is_refused_even_to_the_right_content(
    installed: Path, environment: Environment, tmp_path: Path
) -> None:
    (tmp_path / "copy").write_bytes(FILES["dep/data.txt"])
    (installed / "dep/data.txt").unlink()
    (installed / "dep/data.txt").symlink_to(tmp_path / "copy")
    with pytest.raises(UnlistedFile, match="a link"):
        take(installed, environment, tmp_path / "private")


def test_an_altered_or_missing_file_is_named(installed: Path, environment: Environment, tmp_path: Path) -> None:
    (installed / "dep/data.txt").write_bytes(b"rowz")
    with pytest.raises(FileAltered) as altered:
        take(installed, environment, tmp_path / "altered")
    assert altered.value.path == "dep/data.txt"
    (installed / "dep/data.txt").unlink()
    with pytest.raises(ListedFileMissing) as missing:
        take(installed, environment, tmp_path / "missing")
    assert missing.value.path == "dep/data.txt"


def test_an_edit_after_taking_does_not_reach_what_was_taken(
    installed: Path, environment: Environment, tmp_path: Path
) -> None:
    take(installed, environment, tmp_path / "private")
    (installed / "dep/__init__.py").write_bytes(b"ANSWER = 41\n")
    assert (tmp_path / "private/dep/__init__.py").read_bytes() == FILES["dep/__init__.py"]


def test_an_altered_file_is_noticed_while_taking(installed: Path, environment: Environment, tmp_path: Path) -> None:
    (installed / "dep/__init__.py").write_bytes(b"ANSWER = 41\n")
    with pytest.raises(FileAltered):
        take(installed, environment, tmp_path / "private")


def test_another_interpreter_is_refused() -> None:
    current = Interpreter.current()
    current.require_current()
    with pytest.raises(InterpreterMismatch):
        msgspec.structs.replace(current, version="3.0").require_current()


def test_only_library_files_are_listed(environment: Environment) -> None:
    assert set(environment.files()) == {
        "dep/__init__.py",
        "dep/data.txt",
        "more/__init__.py",
        "dep-1.0.dist-info/WHEEL",
    }


def test_a_locked_bundle_installs_and_verifies(wheels: Path, tmp_path: Path) -> None:
    made = bundle(tmp_path / "bundle", lock="".join(lock_line(path) for path in wheels.iterdir()))
    locked = lock_environment(made, wheels)
    assert lock_environment(made, wheels) == locked
    read = read_bundle(made)
    install(read.environment, wheels, tmp_path / "env")
    take(tmp_path / "env", read.environment, tmp_path / "private")
    take(tmp_path / "private", read.environment, tmp_path / "again")


def vector() -> dict[str, str]:
    """The published vector, made again from its inputs."""
    environment = Environment(
        interpreter=Interpreter(implementation="cpython", version="3.11", abi="cpython-311", platform="linux-x86_64"),
        wheels=(Wheel(filename="dep-1.0-py3-none-any.whl", sha256=sha256(b"wheel"), files={"dep.py": sha256(b"x")}),),
    )
    files = {
        "workload.toml": BundleFile(False, MANIFEST.encode()),
        "requirements.lock": BundleFile(False, b""),
        "environment.json": BundleFile(False, environment.canonical()),
        "code/job.py": BundleFile(True, b"def run(inputs, parameters):\n    return {}\n"),
        "code/é.txt": BundleFile(False, b""),
    }
    manifest = parse_manifest(MANIFEST.encode())
    listed = sorted(files.items(), key=lambda item: item[0].encode())
    document = DigestManifest(
        entry_point=manifest.entry_point,
        interpreter=environment.interpreter,
        limits=manifest.limits,
        inputs=manifest.inputs,
        files=tuple(
            ListedFile(path=path, executable=file.executable, sha256=Bytes32(hashlib.sha256(file.data).digest()))
            for path, file in listed
        ),
    )
    return {
        "about": "The manifest of a small bundle, and its digest (docs/spec/workload.md).",
        "workload_toml": MANIFEST,
        "environment_json": environment.canonical().decode(),
        "manifest": document.canonical().decode(),
        "digest": str(sha256(document.canonical())),
    }


def test_the_published_vector_is_what_the_code_makes() -> None:
    published = json.loads(VECTORS.read_text())
    assert published == vector()
    manifest = decode_canonical(DigestManifest, published["manifest"].encode())
    assert sha256(canonical_json(manifest)) == bytes.fromhex(published["digest"][2:])
