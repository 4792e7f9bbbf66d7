"""A user's process that is killed at any step uses no request number twice, and goes on with what is on its disk."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from sealmarket.inference.grants import read_grants
from sealmarket.inference.receipts import FILE, check_kept, read_receipts
from sealmarket_enclave.protocol.codec import Bytes32
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
    sync: Callable[[int], None] = os.fsync

    def synced(descriptor: int) -> None:
        steps.step()
        sync(descriptor)

    class Stepping:
        @contextmanager
        def carry(self, sealed: bytes) -> Iterator[Iterator[bytes]]:
            steps.step()
            with enclave.carry(sealed) as pieces:
                yield (piece for piece in pieces if steps.step())

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", synced)
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
