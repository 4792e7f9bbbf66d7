"""The folder of a local market that is kept, and the commands where no market runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sealmarket.serving.lock import only_process
from sealmarket_localnet import state
from sealmarket_localnet.state import Folder, Kept, LocalnetRefused, Running, default_folder
from tests.cli.test_market_commands import run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("SEALMARKET_LOCALNET", raising=False)
    return tmp_path


def test_a_market_that_was_never_made_is_not_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, error = run(["localnet", "resume"], capsys)
    assert (code, out) == (2, "")
    assert "no local market is kept" in error
    assert "sealmarket localnet up" in error


def test_where_nothing_runs_status_says_so_and_down_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["localnet", "status"], capsys)[0] == 1
    code, out, _ = run(["localnet", "down"], capsys)
    assert (code, out) == (0, "nothing was running\n")


def test_keys_are_not_deleted_without_a_terminal_or_a_yes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = _made(Folder(default_folder()))
    assert run(["localnet", "down", "--delete"], capsys)[0] == 2
    assert key.exists()
    assert run(["localnet", "down", "--delete", "--yes"], capsys)[0] == 0
    assert not default_folder().exists()


def test_a_file_that_is_not_the_markets_is_never_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    _made(Folder(default_folder()))
    foreign = default_folder() / "thesis.txt"
    foreign.write_text("mine")
    run(["localnet", "down", "--delete", "--yes"], capsys)
    assert [path.name for path in default_folder().iterdir()] == ["thesis.txt"]


def test_a_damaged_state_file_is_refused_with_its_remedy(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    (tmp_path / "localnet.json").write_text('{"chainPort": 1')
    with pytest.raises(LocalnetRefused, match="cannot be read") as refused:
        folder.kept()
    assert "down --delete" in refused.value.remedy


def test_a_folder_in_which_the_devices_socket_has_no_room_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, error = run(["localnet", "up", "--folder", str(tmp_path / ("x" * 100))], capsys)
    assert code == 1
    assert "shorter path" in error


def test_a_making_that_was_cut_off_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tmp_path)
    folder.market.mkdir()
    (folder.market / "oracle.key").write_text("of a market that never was")
    assert not folder.exists()
    monkeypatch.setattr(state, "free_port", lambda: 1)
    folder.make_anew()
    assert not folder.market.exists()


def test_the_lock_tells_who_keeps_a_market_whatever_its_file_says(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.report(Running(keeper=1, rpc="http://127.0.0.1:1", backend="http://127.0.0.1:2", processes={"anvil": 3}))
    assert folder.keeper() is None
    with only_process(tmp_path):
        assert folder.keeper() == os.getpid()
    assert folder.keeper() is None


def _made(folder: Folder) -> Path:
    folder.path.mkdir(parents=True)
    folder.market.mkdir()
    for file in (folder.book, folder.chain):
        file.write_text("{}")
    folder.keep(Kept(chain_port=1))
    key = folder.market / "you.key"
    key.write_text("0x00")
    return key
