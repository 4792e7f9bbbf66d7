"""The reader of tables in a process of its own, since a damaged file may end it: Arrow is not sound for every file.

Frames on both pipes are four bytes of length, then bytes. Run as a program it answers each pair of card and file.
"""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType
from typing import IO, Self

from scripts.toolchain import ROOT
from sealmarket_enclave.protocol.card import Card, ReaderReport, read_report


class ApartReader:
    """Holds files against cards in a child; one that a file ended is replaced."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def held(self, file: bytes, card: Card) -> ReaderReport | None:
        """The report; None where the file ended the process, as a sandbox would see it."""
        child = self._child or subprocess.Popen(
            [sys.executable, "-m", "tests.readers.apart"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._child = child
        assert child.stdin is not None
        assert child.stdout is not None
        send(child.stdin, card.canonical())
        send(child.stdin, file)
        if (report := receive(child.stdout)) is not None:
            return read_report(report)
        self._end()
        return None

    def _end(self) -> None:
        if self._child is not None:
            self._child.communicate()
            self._child = None


def send(pipe: IO[bytes], data: bytes) -> None:
    """Write one frame."""
    pipe.write(len(data).to_bytes(4, "big") + data)
    pipe.flush()


def receive(pipe: IO[bytes]) -> bytes | None:
    """Read one frame; None at the end."""
    head = pipe.read(4)
    return pipe.read(int.from_bytes(head, "big")) if len(head) == 4 else None


def main() -> None:
    """Answer until the pipe ends."""
    from tests.readers.tables import PARAMETERS, read

    while (card := receive(sys.stdin.buffer)) is not None and (file := receive(sys.stdin.buffer)) is not None:
        outputs = read.run({"data": memoryview(file), "card": card}, PARAMETERS)
        send(sys.stdout.buffer, outputs["report.json"])


if __name__ == "__main__":
    main()
