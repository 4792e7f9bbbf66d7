"""`sealmarket container`: nothing that is not the container comes through, and what is right does."""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path

import pytest

from sealmarket.cli._data import data_of
from sealmarket.sealing.keyfile import KeyKind, write_key_file
from sealmarket.sealing.spool import opened
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.sealed.container import seal
from tests.cli.test_market_commands import run
from tests.store.sources import container, flipped, offset

RAW, ROOT, _ = container(3)
KEY = b"\x01" * 32
OTHER = Bytes32(b"\x09" * 32)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("container.sealed").write_bytes(RAW)
    about = {"asset": "mine"}
    write_key_file(Path("data.key"), KeyKind.DATA_KEY, KEY, about=about, passphrase=None, confirm_unencrypted=True)
    return tmp_path


def called(words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    return run(words.replace("ROOT", str(ROOT)).replace("OTHER", str(OTHER)).split(), capsys)


@pytest.mark.parametrize("words", [
    "put container.sealed folder --root OTHER",
    "fetch container.sealed fetched --root OTHER",
    "open container.sealed --key data.key --root OTHER --out plain",
])  # fmt: skip
def test_another_root_is_refused_and_nothing_is_written(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = called(f"container {words}", capsys)
    assert code == 1
    assert "root" in said
    assert {path.name for path in Path().iterdir() if path.is_file()} == {"container.sealed", "data.key"}
    assert not Path("folder").exists() or list(Path("folder").iterdir()) == []


@pytest.mark.parametrize("place", ["ftp://host/x", "s3://", "s3:///key", "s3://bucket/key?x=1", "file:///etc/passwd"])
def test_a_text_that_names_no_place_is_a_wrong_call(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (f"put container.sealed {place}", f"fetch {place} fetched --root ROOT"):
        code, _, said = called(f"container {words}", capsys)
        assert code == 2
        assert "is no place for a container" in said


def test_an_altered_container_does_not_open_and_no_plaintext_stays(capsys: pytest.CaptureFixture[str]) -> None:
    Path("container.sealed").write_bytes(flipped(RAW, offset(2) + 5))
    code, _, said = called("container open container.sealed --key data.key --root ROOT --out plain", capsys)
    assert code == 1
    assert "chunk 2" in said
    assert sorted(path.name for path in Path().iterdir()) == ["container.sealed", "data.key"]


def test_a_plaintext_file_that_is_there_is_not_written_over(capsys: pytest.CaptureFixture[str]) -> None:
    Path("plain").write_text("precious")
    code, _, _ = called("container open container.sealed --key data.key --root ROOT --out plain", capsys)
    assert (code, Path("plain").read_text()) == (2, "precious")


def test_a_chunk_that_is_another_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert called("container prove container.sealed 1 --out proof.json --chunk chunk.bin", capsys)[0] == 0
    Path("chunk.bin").write_bytes(flipped(Path("chunk.bin").read_bytes(), 3))
    code, _, said = called("container check proof.json chunk.bin --root ROOT", capsys)
    assert code == 1
    assert "content root" in said


def test_a_chunk_behind_the_last_has_no_proof(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = called("container prove container.sealed 3 --out proof.json", capsys)
    assert code == 1
    assert "index is 3, expected 0 to 2" in said
    assert not Path("proof.json").exists()


def test_one_chunk_is_proven_and_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert called("container prove container.sealed 1 --out proof.json --chunk chunk.bin", capsys)[0] == 0
    code, out, _ = called("container check proof.json chunk.bin --root ROOT", capsys)
    assert code == 0
    assert f"number 1 of 3 of {ROOT}" in out


def test_a_container_goes_through_a_folder_and_opens(capsys: pytest.CaptureFixture[str]) -> None:
    assert called("container put container.sealed folder", capsys)[0] == 0
    assert called("container fetch folder fetched --root ROOT", capsys)[0] == 0
    assert called("container open fetched --key data.key --root ROOT --out plain", capsys)[0] == 0
    assert Path("plain").read_bytes().startswith(b"rowsrows")
    assert Path("plain").stat().st_mode & 0o777 == 0o600


def test_a_dash_is_the_standard_input_which_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"1,2\n")
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(pipe))
        with opened(data_of(Path("-")), folder) as source:
            sink = io.BytesIO()
            made = seal(source, sink, KEY, asset_id=OTHER, asset_version=1)
    assert made.header.stream_length == 4


def test_a_named_pipe_seals_as_its_bytes_do(folder: Path) -> None:
    os.mkfifo("pipe")
    thread = threading.Thread(target=lambda: Path("pipe").write_bytes(b"rows" * 1000))
    thread.start()
    with opened(Path("pipe"), folder) as source:
        assert seal(source, io.BytesIO(), KEY, asset_id=OTHER, asset_version=1).header.stream_length == 4000
    thread.join()
