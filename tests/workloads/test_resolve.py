"""Locks are written by what the machine has; what it lacks is said with what to do."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from sealmarket.workloads import fetch as fetching
from sealmarket.workloads import resolve as resolving
from sealmarket.workloads.errors import FetchFailed, NoResolver, ResolveFailed
from sealmarket.workloads.fetch import fetch_wheels
from sealmarket.workloads.resolve import lock_of_report, requirements, resolve

DIGEST = "ab" * 32


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


def test_lines_that_ask_for_something_are_told_from_comments() -> None:
    assert requirements("# a\n\n  numpy>=2  \n#b\nscipy\n") == ["numpy>=2", "scipy"]
