"""A user's process that is killed at any step uses no request number twice, and goes on with what is on its disk."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sealmarket.inference import grants as grants_module
from sealmarket.inference.grants import GrantShelf, read_grants
from sealmarket.inference.receipts import FILE, check_kept, read_receipts
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.session import SessionCode
from sealmarket_enclave.sealed.session import OpenedRequest
from tests.inference.enclave import FakeEnclave, said


class LastingEnclave(FakeEnclave):
    """An enclave that outlives the user's process: what it knows is in a file, and each request in another."""

    folder: Path

    def _refusal(self, opened: OpenedRequest) -> SessionCode | None:
        state = self.folder / "enclave.json"
        if state.exists():
            known = json.loads(state.read_text())
            self.numbers, self.spent = ({_name(k): v for k, v in part.items()} for part in known[:2])
            self.last = {_name(k): _name(v) for k, v in known[2].items()}
        refused = super()._refusal(opened)
        with (self.folder / "seen").open("a") as file:
            file.writelines(f"{name} {number}\n" for name, number in self.seen[-1:])
        self._write()
        return refused

    def _last_frame(self, *words: object) -> tuple[object, bytes]:  # type: ignore[override]
        found = super()._last_frame(*words)  # type: ignore[arg-type]
        self._write()
        return found

    def _write(self) -> None:
        parts = [{str(k): v for k, v in part.items()} for part in (self.numbers, self.spent)]
        known = [*parts, {str(k): str(v) for k, v in self.last.items()}]
        (self.folder / "enclave.json").write_text(json.dumps(known))


def _name(text: str) -> Bytes32:
    return Bytes32.parse(text)


class Steps:
    """Kills the process at one step; counts them."""

    def __init__(self, last: int | None) -> None:
        self._last, self.count = last, 0

    def step(self) -> bool:
        if self.count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += 1
        return True


def asks(enclave: LastingEnclave, folder: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two answers, with a step before each write and each piece of an answer."""

    def stepping(call: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*words: Any) -> Any:
            steps.step()
            return call(*words)

        return stepped

    class Stepping:
        @contextmanager
        def carry(self, sealed: bytes) -> Iterator[Iterator[bytes]]:
            steps.step()
            with enclave.carry(sealed) as pieces:
                yield (piece for piece in pieces if steps.step())

    with monkeypatch.context() as patch:
        for name in ("fsync", "fdatasync", "write", "unlink"):
            patch.setattr(os, name, stepping(getattr(os, name)))
        asker = enclave.asker(folder, Stepping())
        for _ in range(2):
            assert said(asker) == b"chat:hello"


def in_child(work: Callable[[], None]) -> int:
    """The status with which a process ended that did some work."""
    if (child := os.fork()) == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - the parent sees the status
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_no_request_number_is_used_twice_whenever_the_process_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Steps(None)
    enclave = LastingEnclave()
    enclave.folder = tmp_path / "whole"
    enclave.folder.mkdir()
    asks(enclave, enclave.folder, counted, monkeypatch)
    assert counted.count > 15
    for last in range(counted.count):
        enclave = LastingEnclave()
        folder = enclave.folder = tmp_path / str(last)
        folder.mkdir()
        assert in_child(partial(asks, enclave, folder, Steps(last), monkeypatch)) == -signal.SIGKILL
        assert in_child(partial(asks, enclave, folder, Steps(None), monkeypatch)) == 0
        seen = (folder / "seen").read_text().splitlines()
        assert len(seen) == len(set(seen)), f"killed at step {last}"
        for kept in read_receipts(folder / FILE):
            check_kept(kept)
        # What an answer may have cost stays counted, whether its receipt came or not.
        charged = sum(json.loads((folder / "enclave.json").read_text())[1].values())
        assert charged <= sum(grant.spent + grant.reserved for grant in read_grants(folder))


def idle_after_one_answer(folder: Path) -> Path:
    """The log of a grant under which one request was answered."""
    folder.mkdir()
    assert said(FakeEnclave().asker(folder)) == b"chat:hello"
    [log] = (folder / "grants").glob("*.log")
    return log


def test_a_log_that_no_crash_can_have_left_is_refused(tmp_path: Path) -> None:
    log = idle_after_one_answer(tmp_path / "user")
    first, rest = log.read_bytes().split(b"\n", 1)
    log.write_bytes(first[:-1] + b"\n" + rest)
    with pytest.raises(MalformedDocument):
        list(read_grants(tmp_path / "user"))


@pytest.mark.parametrize("lost", [b"", b"\n", b"\0\0\n"])
def test_an_answer_of_which_the_log_lost_the_end_counts_at_its_most_and_its_grant_is_retired(
    lost: bytes, tmp_path: Path
) -> None:
    log = idle_after_one_answer(tmp_path / "user")
    asked = log.read_bytes().split(b"\n")[0] + b"\n"
    log.write_bytes(asked + lost)
    with closing(GrantShelf(tmp_path / "user")) as shelf:
        [grant] = shelf.grants.values()
    assert (grant.state, grant.number, grant.spent, grant.reserved) == ("retired", 1, 0, 50)
    assert not log.exists()


def test_a_log_is_bounded_and_a_grant_goes_on_after_it_was_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealmarket.inference.grants._MOST_LOG", 700)
    enclave = FakeEnclave()
    asker = enclave.asker(tmp_path)
    for _ in range(6):
        assert said(asker) == b"chat:hello"
        assert all(log.stat().st_size <= 700 for log in (tmp_path / "grants").glob("*.log"))
    assert [number for _, number in enclave.seen] == [1, 2, 3, 4, 5, 6]
    assert [(grant.state, grant.number, grant.spent) for grant in read_grants(tmp_path)] == [("idle", 6, 30)]


class FullDisk:
    """A disk that takes the beginning of each line, and no new file, while it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch

    @contextmanager
    def full(self, *names: str) -> Iterator[None]:
        def cut(descriptor: int, data: bytes, write: Callable[[int, bytes], int] = os.write) -> int:
            return write(descriptor, data[:40])

        def no_space(*_words: object) -> None:
            raise OSError(errno.ENOSPC, "no space")

        with self._patch.context() as patch:
            for name in names:
                patch.setattr(*(os, "write", cut) if name == "write" else (grants_module, name, no_space))
            yield


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    return FullDisk(monkeypatch)


def test_a_number_that_a_full_disk_did_not_take_is_on_disk_before_its_request_once_there_is_room(
    disk: FullDisk, tmp_path: Path
) -> None:
    """The next line was joined to the part of one: a process that was killed then found the number free again."""
    asker = FakeEnclave().asker(tmp_path)
    assert said(asker) == b"chat:hello"
    with disk.full("write", "replace_private"), pytest.raises(OSError, match="no space"):
        said(asker)
    [grant] = asker._shelf.grants.values()
    assert (grant.state, grant.number) == ("idle", 1)
    asker._shelf.ask(grant, 50)
    [kept] = read_grants(tmp_path)
    assert (kept.state, kept.number, kept.reserved) == ("asked", 2, 50)


def test_a_user_goes_on_after_a_full_disk_and_starts_again(disk: FullDisk, tmp_path: Path) -> None:
    enclave = FakeEnclave()
    asker = enclave.asker(tmp_path)
    assert said(asker) == b"chat:hello"
    with disk.full("write", "replace_private"), pytest.raises(OSError, match="no space"):
        said(asker)
    assert said(asker) == b"chat:hello"
    assert [(grant.state, grant.number) for grant in read_grants(tmp_path)] == [("idle", 2)]
    with closing(GrantShelf(tmp_path)) as shelf:
        assert [grant.number for grant in shelf.grants.values()] == [2]


@pytest.mark.parametrize("name", ["_Log", "remove"])
def test_a_grant_whose_log_could_not_be_opened_or_ended_is_used_on(name: str, disk: FullDisk, tmp_path: Path) -> None:
    enclave = FakeEnclave()
    asker = enclave.asker(tmp_path)
    assert said(asker) == b"chat:hello"
    full = "remove" if name == "remove" else "replace_private"
    with disk.full("write", full), pytest.raises(OSError, match="no space"):
        said(asker)
    if name == "_Log":
        [grant] = asker._shelf.grants.values()
        asker._shelf._fold(grant)
        asker._shelf._path(grant).with_suffix(".log").touch(0o600)
    for _ in range(2):
        assert said(asker) == b"chat:hello"
    assert len(enclave.seen) == len(set(enclave.seen))
