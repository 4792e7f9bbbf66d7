"""A bundle may list bytecode: who installs it compiles and compares, and what runs is what the digest covers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from sealmarket.cli._proposal_words import listed as told
from sealmarket.workloads import compiler
from sealmarket.workloads.bytecode import bytecode_of, is_compiled
from sealmarket.workloads.cache import WorkloadCache
from sealmarket.workloads.dependencies import compare
from sealmarket.workloads.errors import NotCompiled
from sealmarket.workloads.fetch import lock_environment
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.trial import run_workload
from sealmarket.workloads.wheels import build, install
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.workload.bundle import ENVIRONMENT, Bundle, BundleFile, bundle_of
from sealmarket_enclave.workload.environment import Compiled, Environment, take
from sealmarket_enclave.workload.errors import (
    FileAltered,
    ForbiddenEntry,
    InterpreterMismatch,
    ListedFileMissing,
    UnlistedFile,
)
from tests.enclave.workload.bundles import lock_line, wheel
from tests.workloads.projects import ROWS, project

TAG = sys.implementation.cache_tag
PLACE = f"dep/__pycache__/__init__.{TAG}.pyc"
SOURCES = {
    "dep/__init__.py": b"ANSWER, WORDS = 42, frozenset({'a', 'b', 'c'})\n",
    "dep/broken.py": b"print 'an older language'\n",
    "dep/tests/test_dep.py": b"import dep\n",
    "dep/a.b.py": b"DOTTED = True\n",
    "dep_alone.py": b"ALONE = True\n",
}


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "locked"
    folder.mkdir()
    wheel(folder, "dep", SOURCES)
    return folder


def compiled(wheels: Path) -> Environment:
    (made,) = wheels.iterdir()
    return build(lock_line(made).encode(), [made], compiled=True)


def listed(environment: Environment) -> Compiled:
    assert environment.compiled is not UNSET
    return environment.compiled


def altered(environment: Environment, **changes: object) -> Environment:
    return replace(environment, compiled=replace(listed(environment), **changes))


def test_bytecode_that_the_sources_do_not_give_is_not_installed(wheels: Path, tmp_path: Path) -> None:
    forged = altered(compiled(wheels), files={PLACE: Bytes32(b"\1" * 32)})
    with pytest.raises(FileAltered):
        install(forged, wheels, tmp_path / "installed")


def test_bytecode_of_another_release_is_not_installed(wheels: Path, tmp_path: Path) -> None:
    with pytest.raises(InterpreterMismatch, match="compiled its bytecode"):
        install(altered(compiled(wheels), release="3.1.4"), wheels, tmp_path / "installed")
    assert not (tmp_path / "installed").exists()


@pytest.mark.parametrize(
    "path",
    [
        *("dep/__init__.pyc", f"dep/__pycache__/other.{TAG}.pyc", "dep/__pycache__/__init__.other-311.pyc"),
        *("rows.csv", "dep/__init__", f"dep/__init__.{TAG}.pyc", "dep/__pycache__/__init__", "dep_alone"),
        *(f"__pycache__/dep/__init__.{TAG}.pyc", f"de__pycache__/p_alone.{TAG}.pyc"),
    ],
)
def test_bytecode_of_no_listed_source_is_refused_before_a_file_is_read(wheels: Path, path: str) -> None:
    with pytest.raises(ForbiddenEntry):
        altered(compiled(wheels), files={path: Bytes32(bytes(32))}).files()


@pytest.mark.parametrize("path", [PLACE, "dep/other.pyc", "dep.pth", "dep/old.pyo"])
def test_bytecode_that_is_listed_as_a_file_of_a_wheel_is_refused(wheels: Path, path: str) -> None:
    environment = replace(compiled(wheels), compiled=UNSET)
    (listed,) = environment.wheels
    forged = replace(listed, files=listed.files | {path: Bytes32(bytes(32))})
    with pytest.raises(ForbiddenEntry, match="in a wheel"):
        replace(environment, wheels=(forged,)).files()


def test_a_source_that_ends_the_compiler_is_refused_and_not_a_crash(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = compiled(wheels)
    ends = tmp_path / "ends.py"
    ends.write_text("import os\nos.abort()\n")
    monkeypatch.setattr(compiler, "__file__", str(ends))
    with pytest.raises(NotCompiled, match="CalledProcessError"):
        install(environment, wheels, tmp_path / "installed")


def of_environment(folder: Path, environment: Environment) -> Bundle:
    """A bundle that lists this, whatever the wheels hold."""
    bundle = read_bundle(project(folder))
    files = bundle.files | {ENVIRONMENT: BundleFile(executable=False, data=environment.canonical())}
    return bundle_of(files)


def test_an_owner_finds_listed_files_and_bytecode_that_the_wheels_do_not_give(wheels: Path, tmp_path: Path) -> None:
    environment, cache = compiled(wheels), WorkloadCache(tmp_path / "cache")
    (dep,) = environment.wheels
    other = Bytes32(b"\1" * 32)
    bytecode = altered(environment, files=dict(listed(environment).files) | {PLACE: other})
    file = replace(environment, wheels=(replace(dep, files=dep.files | {"dep/__init__.py": other}),))
    added = replace(environment, wheels=(replace(dep, files=dep.files | {"dep/more.py": other}),))
    for number, (forged, refusal) in enumerate(
        [(bytecode, FileAltered), (file, FileAltered), (added, ListedFileMissing)], start=1
    ):
        (tmp_path / str(number)).mkdir()
        with pytest.raises(refusal):
            compare(of_environment(tmp_path / str(number), forged), cache, wheels)


def test_an_owner_is_told_whether_the_list_was_compared_with_the_wheels(wheels: Path, tmp_path: Path) -> None:
    bundle = of_environment(tmp_path, compiled(wheels))
    words = " ".join(told(bundle, compared=False))
    assert "6 files of 1 wheels, 3 of bytecode" in words
    assert "NOT compared" in words
    compare(bundle, WorkloadCache(tmp_path / "cache"), wheels)
    assert "as in the wheels" in " ".join(told(bundle, compared=True))
    assert told(read_bundle(tmp_path / "mine"), compared=False) == []


def test_an_enclave_takes_the_listed_bytecode_and_no_other(wheels: Path, tmp_path: Path) -> None:
    environment = compiled(wheels)
    install(environment, wheels, tmp_path / "installed")
    take(tmp_path / "installed", environment, tmp_path / "first")
    (tmp_path / "installed" / PLACE).write_bytes(b"another")
    with pytest.raises(FileAltered, match="__pycache__"):
        take(tmp_path / "installed", environment, tmp_path / "second")
    with pytest.raises(UnlistedFile):
        take(tmp_path / "installed", replace(environment, compiled=UNSET), tmp_path / "third")


def test_sources_outside_of_tests_that_compile_have_bytecode_and_the_same_bytes_each_time(wheels: Path) -> None:
    first, second = listed(compiled(wheels)), listed(compiled(wheels))
    others = [f"__pycache__/dep_alone.{TAG}.pyc", f"dep/__pycache__/a.b.{TAG}.pyc"]
    assert list(first.files) == [others[0], PLACE, others[1]]
    assert first == second
    assert is_compiled("dep/broken.py")
    assert not is_compiled("dep/tests/test_dep.py")


def test_what_else_is_compiled_changes_no_byte() -> None:
    alone = bytecode_of({"dep/__init__.py": SOURCES["dep/__init__.py"]})
    beside = bytecode_of({"a.py": b"WORDS = ANSWER = 'a'\n", "dep/__init__.py": SOURCES["dep/__init__.py"]})
    assert alone.files[PLACE] == beside.files[PLACE]


def test_a_document_without_bytecode_is_spelled_as_before(wheels: Path) -> None:
    (made,) = wheels.iterdir()
    assert b"compiled" not in build(lock_line(made).encode(), [made]).canonical()


def test_a_workload_runs_from_the_bytecode_that_its_digest_covers(wheels: Path, tmp_path: Path) -> None:
    mine = project(tmp_path, "import dep\n\ndef run(i, p):\n    return {'summary.json': dep.__cached__.encode()}\n")
    (made,) = wheels.iterdir()
    (mine / "requirements.lock").write_text(lock_line(made))
    plain = lock_environment(mine, wheels)
    assert lock_environment(mine, wheels, compiled=True) != plain
    bundle = read_bundle(mine)
    install(bundle.environment, wheels, tmp_path / "installed")
    # The source is not read any more: what runs is the bytecode.
    (tmp_path / "installed/dep/__init__.py").write_bytes(b"raise SystemExit\n")
    bundle.write(tmp_path / "private")
    ran = run_workload(
        tmp_path / "private", tmp_path / "installed", bundle.manifest, {"rows": ROWS}, {"column": "age", "digits": 2}
    )
    assert ran.files["summary.json"].decode().endswith(PLACE)
