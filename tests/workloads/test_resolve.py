"""Locks are written by what the machine has; what it lacks is said with what to do."""

from __future__ import annotations

import hashlib
import json
import sys
import tarfile
from pathlib import Path

import pytest

from sealmarket.workloads import fetch as fetching
from sealmarket.workloads import resolve as resolving
from sealmarket.workloads.errors import FetchFailed, LockRefused, NoResolver, ResolveFailed
from sealmarket.workloads.fetch import fetch_wheels
from sealmarket.workloads.resolve import lock_of_report, pins, requirements, resolve

DIGEST = "ab" * 32
ROOT = Path(__file__).parents[2]
LOCKS = [path for top in ("sealmarket", "workloads") for path in sorted((ROOT / top).rglob("requirements.lock"))]


def report(**changes: object) -> str:
    item = {
        "metadata": {"name": "Some_Package", "version": "1.2"},
        "download_info": {"url": "https://there/some.whl", "archive_info": {"hashes": {"sha256": DIGEST}}},
    }
    return json.dumps({"version": "1", "install": [item | changes]})


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", report(metadata={}), report(download_info={"dir_info": {}}), "[" * 9999]
    + [report(download_info={"archive_info": {"hashes": {"sha256": value}}}) for value in ("", "ab", "AB" * 32, 7)],
)
def test_a_report_that_pins_nothing_is_refused(text: str) -> None:
    with pytest.raises(ResolveFailed):
        lock_of_report(text)


def test_a_report_becomes_a_lock_without_addresses() -> None:
    assert lock_of_report(report()) == f"some-package==1.2 \\\n    --hash=sha256:{DIGEST}\n"


def test_without_uv_and_pip_the_refusal_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "requirements.in").write_text("numpy\n")
    monkeypatch.setattr(resolving, "find_uv", lambda: None)
    monkeypatch.setattr(resolving, "find_spec", lambda name: None)
    with pytest.raises(NoResolver, match="install one"):
        resolve(tmp_path)


@pytest.mark.parametrize("tool", ["uv", "pip"])
def test_a_requirement_that_no_index_has_is_refused_with_the_resolvers_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    (tmp_path / "requirements.in").write_text("sealmarket-nowhere==0\n")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    if tool == "pip":
        monkeypatch.setattr(resolving, "find_uv", lambda: None)
    with pytest.raises(ResolveFailed, match="sealmarket-nowhere"):
        resolve(tmp_path)
    assert not (tmp_path / "requirements.lock").exists()


def test_what_asks_for_nothing_needs_no_tool_and_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere")
    (tmp_path / "requirements.in").write_text("# nothing\n\n")
    assert resolve(tmp_path) == "nothing to pin"
    fetch_wheels(tmp_path, tmp_path / "wheels")
    assert list((tmp_path / "wheels").iterdir()) == []


def test_a_wheel_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "requirements.lock").write_text(f"sealmarket-nowhere==0 --hash=sha256:{DIGEST}\n")
    with pytest.raises(FetchFailed):
        fetch_wheels(tmp_path, tmp_path / "wheels")


def test_without_pip_and_uv_no_wheel_can_be_fetched_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "find_spec", lambda name: None)
    monkeypatch.setattr(fetching, "find_uv", lambda: None)
    (tmp_path / "requirements.lock").write_text(f"some==1 --hash=sha256:{DIGEST}\n")
    with pytest.raises(FetchFailed, match="neither pip nor uv is here"):
        fetch_wheels(tmp_path, tmp_path / "wheels")


@pytest.mark.parametrize(
    "line",
    [
        "made @ file:///{sources}",
        "file:///{sources}",
        "{sources}",
        "./made-1.0.tar.gz",
        "-e {folder}",
        "--no-binary :all:\nmade==1.0",
        "made==1.0 --no-binary=:all:",
        "made==1.0 ; python_version > '3' --no-binary=:all:",
        "# an annotation \\\nmade @ file:///{sources}",
        "made==1.0 --config-settings=a=b",
        "-r other.txt",
        "made==1.0,<file:///x",
        "made>=1.0",
        "made==1.0.tar.gz",
        "made==1.0-py3-none-any.WHL",
        "${{HOME}}==1.0",
        "made==1.0 # note",
    ],
)
def test_a_lock_that_asks_for_more_than_pinned_packages_has_nothing_fetched_or_run(tmp_path: Path, line: str) -> None:
    project, ran = tmp_path / "made-1.0", tmp_path / "ran"
    project.mkdir()
    (project / "setup.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    sources = tmp_path / "made-1.0.tar.gz"
    with tarfile.open(sources, "w:gz") as archive:
        archive.add(project, "made-1.0")
    found = f"--hash=sha256:{hashlib.sha256(sources.read_bytes()).hexdigest()}"
    (tmp_path / "requirements.lock").write_text(f"{line.format(sources=sources, folder=project)} {found}\n")
    with pytest.raises(LockRefused, match="expected name==version"):
        fetch_wheels(tmp_path, tmp_path / "wheels")
    assert not ran.exists()


def test_the_locks_of_uv_and_pip_are_spelled_anew_line_by_line() -> None:
    lock = f"# by hand\na==1 \\\n    --hash=sha256:{DIGEST} \\\n    --hash=sha256:{DIGEST}\n    # via b\n"
    lock += f"b.c[d]==2.0+cpu ; python_version < '3.12' and sys_platform == 'x-y' \\\n    --hash=sha256:{DIGEST}\n"
    found = f"--hash=sha256:{DIGEST}"
    assert list(pins(lock)) == [
        f"a==1 {found} {found}",
        f"b.c[d]==2.0+cpu ; python_version < '3.12' and sys_platform == 'x-y' {found}",
    ]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.parent.name)
def test_every_lock_that_comes_with_sealmarket_is_fetched_whole(lock: Path) -> None:
    assert sum("==" in line for line in requirements(lock.read_text())) == len(list(pins(lock.read_text())))


def test_lines_that_ask_for_something_are_told_from_comments() -> None:
    assert requirements("# a\n\n  numpy>=2  \n#b\nscipy\n") == ["numpy>=2", "scipy"]
