"""Bundles: one tree, one digest; links, special files and path tricks are refused by name."""

from __future__ import annotations

import os
import socket
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest

from sealmarket.workloads.errors import NotLocked
from sealmarket.workloads.fetch import lock_environment
from sealmarket.workloads.folders import read_bundle, read_files
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.workload import bundle as bundles
from sealmarket_enclave.workload.bundle import ENVIRONMENT, pack, unpack
from sealmarket_enclave.workload.errors import (
    BundleError,
    BundleFileMissing,
    BundleTooLarge,
    DigestMismatch,
    ForbiddenEntry,
    InvalidArchive,
    PathCollision,
)
from sealmarket_enclave.workload.tree import check_collisions, check_path
from tests.enclave.workload.bundles import bundle


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = bundle(tmp_path / "bundle")
    (tmp_path / "wheels").mkdir()
    lock_environment(made, tmp_path / "wheels")
    return made


def test_a_link_in_a_bundle_is_refused_wherever_it_points(tree: Path) -> None:
    for target in ("job.py", "/etc/passwd", "nowhere"):
        link = tree / "code/link.py"
        link.symlink_to(target)
        with pytest.raises(ForbiddenEntry, match="a link"):
            read_bundle(tree)
        link.unlink()
    (tree / "code/more").symlink_to("/usr", target_is_directory=True)
    with pytest.raises(ForbiddenEntry, match="a link"):
        read_bundle(tree)


def test_pipes_and_sockets_in_a_bundle_are_refused(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tree / "code/pipe")
    with pytest.raises(ForbiddenEntry, match="a pipe"):
        read_bundle(tree)
    (tree / "code/pipe").unlink()
    monkeypatch.chdir(tree)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("code/socket")
        with pytest.raises(ForbiddenEntry, match="a socket"):
            read_bundle(tree)


@pytest.mark.parametrize("name", ["code/x.pyc", "code/x.pth", "code/x.so", "code/__pycache__/job.cpython-311.pyc"])
def test_compiled_code_and_path_files_are_refused(tree: Path, name: str) -> None:
    (tree / name).parent.mkdir(exist_ok=True)
    (tree / name).write_bytes(b"")
    with pytest.raises(ForbiddenEntry):
        read_bundle(tree)


@pytest.mark.parametrize(
    "path",
    [
        *("", "/a", "a/", "a//b", ".", "a/..", "../a", "a\\b", "a\nb", "a\0", "a\u202eb", "e\u0301"),
        *("x" * 1025, "\udcff", "a/" * 32 + "a"),
    ],
)
def test_a_path_that_is_not_plain_is_refused(path: str) -> None:
    with pytest.raises(ForbiddenEntry):
        check_path(path)


@pytest.mark.parametrize(
    "pair",
    [
        *(("A.py", "a.py"), ("straße", "strasse"), ("A/x", "a/y"), ("a/b", "A"), ("a", "a/b")),
        *(("a/b/c", "a/b/c/d"), ("a/b/c", "a/B/d"), ("a/b.c", "a/b.C")),
    ],
)
def test_paths_that_some_file_system_takes_for_one_are_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(PathCollision):
        check_collisions(pair)


def test_a_name_that_is_not_in_nfc_is_refused(tree: Path) -> None:
    (tree / "code" / unicodedata.normalize("NFD", "é.py")).write_text("")
    with pytest.raises(ForbiddenEntry, match="normal form C"):
        read_bundle(tree)


@pytest.mark.parametrize("name", ["workload.toml", "requirements.lock", "environment.json", "code/job.py"])
def test_a_bundle_without_a_needed_file_is_refused(tree: Path, name: str) -> None:
    (tree / name).unlink()
    with pytest.raises(NotLocked if name == ENVIRONMENT else BundleFileMissing, match=name):
        read_bundle(tree)


def test_a_bundle_too_large_is_refused(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "MAX_BYTES", 500)
    with pytest.raises(BundleTooLarge):
        read_files(tree)
    monkeypatch.setattr(bundles, "MAX_BYTES", 1 << 20)
    monkeypatch.setattr(bundles, "MAX_FILES", 3)
    with pytest.raises(BundleTooLarge):
        read_files(tree)


def test_an_environment_that_is_not_canonical_is_refused(tree: Path) -> None:
    path = tree / "environment.json"
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(MalformedDocument):
        read_bundle(tree)


def test_another_workload_than_the_job_names_is_refused(tree: Path) -> None:
    read = read_bundle(tree)
    read.require(read.digest)
    with pytest.raises(DigestMismatch):
        read.require(Bytes32(bytes(32)))


def test_an_archive_altered_cut_or_extended_is_refused(tree: Path) -> None:
    raw = pack(read_bundle(tree))
    for altered in (b"", raw[:9], raw[:-1], raw + b"\0", b"PK" + raw, raw[:13] + b"\2" + raw[15:]):
        with pytest.raises(BundleError):
            unpack(altered)


def test_an_archive_whose_paths_lead_out_is_refused(tree: Path) -> None:
    raw = pack(read_bundle(tree)).replace(b"code/job.py", b"../../xx.py")
    with pytest.raises(ForbiddenEntry):
        unpack(raw)


def test_an_archive_in_another_order_is_refused(tree: Path) -> None:
    read = read_bundle(tree)
    raw = pack(read)
    first = 14
    end = first + 1 + 2 + len("code/job.py") + 8 + len(read.files["code/job.py"].data) - 1
    with pytest.raises(InvalidArchive):
        unpack(raw[:first] + raw[end:] + raw[first:end])


def test_an_archive_holds_the_same_bundle(tree: Path) -> None:
    raw = pack(read_bundle(tree))
    assert unpack(raw).digest == read_bundle(tree).digest
    assert pack(unpack(raw)) == raw


def test_any_change_of_content_or_name_changes_the_digest(tree: Path) -> None:
    seen = {read_bundle(tree).digest}
    (tree / "code/job.py").write_text("run = print\n")
    seen.add(read_bundle(tree).digest)
    (tree / "code/more.py").write_text("")
    seen.add(read_bundle(tree).digest)
    (tree / "code/more.py").rename(tree / "code/other.py")
    seen.add(read_bundle(tree).digest)
    (tree / "workload.toml").write_text((tree / "workload.toml").read_text().replace("= 5", "= 6"))
    seen.add(read_bundle(tree).digest)
    assert len(seen) == 5


def test_an_executable_bit_in_an_archive_is_another_workload(tree: Path) -> None:
    read = read_bundle(tree)
    read.files["code/job.py"] = replace(read.files["code/job.py"], executable=True)
    assert unpack(pack(read)).digest == read.digest != read_bundle(tree).digest


def test_the_same_tree_has_the_same_digest_whatever_the_machine_makes_of_it(tree: Path, tmp_path: Path) -> None:
    before = read_bundle(tree).digest
    files = sorted(path for path in tree.rglob("*") if path.is_file())
    for order, mode, newline in [(1, 0o600, b"\n"), (-1, 0o777, b"\r\n"), (-1, 0o444, b"\n")]:
        copy = tmp_path / f"copy-{mode:o}"
        (copy / "empty").mkdir(parents=True)
        for path in files[::order]:
            made = copy / path.relative_to(tree)
            made.parent.mkdir(exist_ok=True)
            made.write_bytes(path.read_bytes().replace(b"\n", newline))
            made.chmod(mode)
            os.utime(made, (mode, mode))
        assert read_bundle(copy).digest == before


def test_bytes_that_are_no_text_keep_their_line_ends(tree: Path) -> None:
    before = read_bundle(tree).digest
    (tree / "code/table.bin").write_bytes(b"a\r\n")
    with_returns = read_bundle(tree).digest
    (tree / "code/table.bin").write_bytes(b"a\n")
    assert len({before, with_returns, read_bundle(tree).digest}) == 3


def test_what_was_read_is_what_is_written_whatever_happens_to_the_directory(tree: Path, tmp_path: Path) -> None:
    read = read_bundle(tree)
    (tree / "code/job.py").write_text("import os\n")
    read.write(tmp_path / "private")
    assert read_bundle(tmp_path / "private").digest == read.digest
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o700
