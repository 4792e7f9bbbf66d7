"""What comes through a pipe is read once, seals as a file does, and is on no disk as it came."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket.sealing import spool as spool_module
from sealmarket.sealing.spool import PIECE, Spool
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.sealed.container import ContainerReader, seal

MARK = b"a row of somebody"
KEY, ASSET = b"\x01" * 32, Bytes32(b"\x02" * 32)


class Failing(io.RawIOBase):
    """A pipe whose writer dies."""

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        raise BrokenPipeError


def test_a_pipe_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError):
        Spool(Failing(), tmp_path)
    assert list(tmp_path.iterdir()) == []


class Parts(io.RawIOBase):
    """What reads so, one part after the other: b"" is an end, None is nothing at this moment."""

    def __init__(self, *parts: bytes | None) -> None:
        super().__init__()
        self._parts = list(parts)

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        part = self._parts.pop(0) if self._parts else b""
        if part is None:
            return None
        buffer[: len(part)] = part
        return len(part)


def test_a_pipe_that_has_nothing_now_is_no_end(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError):
        Spool(Parts(MARK, None, MARK), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_comes_behind_the_end_is_not_read_and_no_nonce_is_used_twice(tmp_path: Path) -> None:
    with Spool(Parts(MARK, b"", b"more of a terminal"), tmp_path) as waiting:
        assert waiting.read() == MARK


def test_no_plaintext_is_on_disk_while_it_waits(tmp_path: Path) -> None:
    with Spool(io.BytesIO(MARK * 100_000), tmp_path) as waiting:
        raw = Path(f"/proc/self/fd/{waiting._file.fileno()}").read_bytes()
        assert len(raw) > len(MARK) * 100_000
        assert MARK not in raw
        assert list(tmp_path.iterdir()) == []


def test_two_spools_share_no_key(tmp_path: Path) -> None:
    with Spool(io.BytesIO(MARK), tmp_path) as one, Spool(io.BytesIO(MARK), tmp_path) as other:
        assert os.pread(one._file.fileno(), 99, 0) != os.pread(other._file.fileno(), 99, 0)


@pytest.mark.parametrize("length", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7])
def test_what_comes_through_a_pipe_seals_as_a_file_does(length: int, tmp_path: Path) -> None:
    data = os.urandom(length)
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as end:
            end.write(data)

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reading, "rb", buffering=0) as pipe, Spool(pipe, tmp_path) as waiting:
        thread.join()
        sink = io.BytesIO()
        made = seal(waiting, sink, KEY, asset_id=ASSET, asset_version=1)
    sink.seek(0)
    assert b"".join(bytes(view) for view in ContainerReader(sink, made.content_root).open_chunks(KEY)) == data


@given(st.binary(max_size=200), st.lists(st.tuples(st.integers(0, 220), st.integers(0, 220)), max_size=8))
@settings(max_examples=60)
def test_any_part_reads_as_of_the_bytes_themselves(data: bytes, parts: list[tuple[int, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_module, "PIECE", 16)
        with Spool(io.BytesIO(data), Path("/tmp")) as waiting:
            for at, size in parts:
                buffer = bytearray(size)
                waiting.seek(at)
                got = 0
                while more := waiting.readinto(memoryview(buffer)[got:]):
                    got += more
                assert bytes(buffer[:got]) == data[at : at + size]
