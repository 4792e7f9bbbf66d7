"""What is measured: a change to the core or to a kind's own code changes its measurement, and no other change does."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

import pytest

from scripts.toolchain import ROOT
from sealmarket_devices.measure import SourceFile, image_files, tree_digest
from sealmarket_worker.errors import DependencyMismatch, ImageIncomplete, UnknownKind
from sealmarket_worker.image import build_image, dependency_files, kinds_of, locked_versions, package_files

CORE = "worker/enclave/sealmarket_enclave"
SOURCES = (
    "sealmarket",
    "backend",
    "localnet",
    "oracle",
    "scripts",
    "worker/devices",
    "worker/enclave",
    "worker/host",
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the sources, with a second kind of job."""
    for name in SOURCES:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    other = tmp_path / CORE / "runtime/kinds/other"
    shutil.copytree(tmp_path / CORE / "runtime/kinds/batch", other)
    (other / "lock.txt").write_text("idna==3.10\n")
    return tmp_path


def measured(tree: Path, kind: str) -> bytes:
    """The digest of an image's first-party files; those of its locked dependencies are the same in all these tests."""
    return digest(package_files(tree / CORE, kind))


def digest(files: Mapping[str, Path]) -> bytes:
    return tree_digest("image", [SourceFile(path, source, False) for path, source in files.items()])


def append(files: Iterable[Path]) -> None:
    for file in files:
        with file.open("a") as out:
            out.write("\n# one line more\n")


def python_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def test_the_second_kind_has_an_image_of_its_own(tree: Path) -> None:
    assert kinds_of(tree / CORE) == ("batch", "other", "session")
    assert measured(tree, "batch") != measured(tree, "other")


def test_an_edit_of_any_file_outside_the_measured_core_changes_no_measurement(tree: Path) -> None:
    before = {kind: measured(tree, kind) for kind in ("batch", "other")}
    inside = {source for kind in before for source in package_files(tree / CORE, kind).values()}
    outside = [file for file in python_files(tree) if not file.is_relative_to(tree / CORE)]
    assert len(outside) > 150
    for file in outside:
        append([file])
        assert file not in inside
    append(tree.rglob("pyproject.toml"))
    assert {kind: measured(tree, kind) for kind in before} == before


def test_an_edit_of_each_file_inside_changes_the_measurement(tree: Path) -> None:
    unchanged = []
    files = package_files(tree / CORE, "batch")
    for path, file in files.items():
        before, text = digest({path: file}), file.read_bytes()
        append([file])
        if digest({path: file}) == before or package_files(tree / CORE, "batch")[path] != file:
            unchanged.append(path)
        file.write_bytes(text)
    assert unchanged == []
    assert {"sealmarket_enclave/lock.txt", "sealmarket_enclave/runtime/core.py"} <= files.keys()


def test_one_edit_inside_changes_the_whole_image(tree: Path, tmp_path: Path) -> None:
    first = build_image(tmp_path / "first", package=tree / CORE)
    append([tree / CORE / "protocol/numbers.py"])
    second = build_image(tmp_path / "second", package=tree / CORE)
    assert tree_digest("image", list(image_files(first))) != tree_digest("image", list(image_files(second)))
    assert "runtime.kinds.batch import KIND" in (first / "__main__.py").read_text()


def test_a_new_file_inside_is_measured_too(tree: Path) -> None:
    before = measured(tree, "batch")
    (tree / CORE / "sealed/added.py").write_text("")
    assert measured(tree, "batch") != before


@pytest.mark.parametrize(("edited", "other"), [("batch", "other"), ("other", "batch")])
def test_an_edit_of_one_kind_changes_only_the_measurement_of_that_kind(tree: Path, edited: str, other: str) -> None:
    before = {kind: measured(tree, kind) for kind in (edited, other)}
    append([tree / CORE / "runtime/kinds" / edited / "flow.py"])
    assert measured(tree, edited) != before[edited]
    assert measured(tree, other) == before[other]


def test_an_image_holds_one_kind(tree: Path) -> None:
    for kind, other in (("batch", "other"), ("other", "batch")):
        paths = package_files(tree / CORE, kind)
        assert f"sealmarket_enclave/runtime/kinds/{kind}/flow.py" in paths
        assert [path for path in paths if path.startswith(f"sealmarket_enclave/runtime/kinds/{other}/")] == []


def test_a_kind_may_lock_dependencies_of_its_own(tree: Path) -> None:
    core = locked_versions(tree / CORE, "batch")
    assert locked_versions(tree / CORE, "other") == {**core, "idna": "3.10"}


def test_an_unknown_kind_is_refused_with_the_known_ones(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownKind, match="batch, other, session"):
        build_image(tmp_path / "image", "stream", package=tree / CORE)


def test_another_version_than_the_locked_one_is_refused_by_name(tree: Path, tmp_path: Path) -> None:
    lock = tree / CORE / "lock.txt"
    lock.write_text(lock.read_text().replace(metadata.version("msgspec"), "0.1.0"))
    with pytest.raises(DependencyMismatch, match=r"msgspec.*0\.1\.0"):
        build_image(tmp_path / "image", package=tree / CORE)
    assert not (tmp_path / "image").exists()


def test_two_versions_of_one_distribution_are_refused(tree: Path) -> None:
    (tree / CORE / "runtime/kinds/other/lock.txt").write_text("msgspec==0.1.0\n")
    with pytest.raises(ImageIncomplete, match="msgspec"):
        locked_versions(tree / CORE, "other")


def test_a_locked_distribution_that_is_not_installed_is_refused() -> None:
    with pytest.raises(ImageIncomplete, match="no-such-distribution"):
        dependency_files({"no-such-distribution": "1.0"})


def test_a_link_in_the_package_is_refused(tree: Path) -> None:
    (tree / CORE / "sealed/linked.py").symlink_to(tree / CORE / "sealed/hpke.py")
    with pytest.raises(ImageIncomplete, match=r"linked\.py"):
        package_files(tree / CORE, "batch")
