"""Run with command lines in JSON on standard input: calls each in a process of its own, with its output; prints JSON.

The groups are imported once and each call is forked, so that hundreds of calls take seconds.
"""

from __future__ import annotations

import gc
import io
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import typer.rich_utils

from sealmarket.cli import main
from tests.cli.commands import all_commands


def _ascii() -> None:
    os.environ["COLUMNS"] = "40"
    sys.stdout = io.TextIOWrapper(open(1, "wb", closefd=False), encoding="ascii")  # noqa: SIM115
    sys.stderr = io.TextIOWrapper(open(2, "wb", closefd=False), encoding="ascii")  # noqa: SIM115


def _no_terminal() -> None:
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.setsid()


def _full() -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def _closed() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.dup2(writing, 1)


OUTPUTS: dict[str, Callable[[], None]] = {
    "ascii": _ascii,
    "full": _full,
    "closed": _closed,
    "no terminal": _no_terminal,
}


def _call(prepare: Callable[[], None], words: list[str]) -> tuple[int, bytes, bytes]:
    """Exit code, output and errors of one call in a child."""
    files = [os.memfd_create(name) for name in ("out", "err")]
    child = os.fork()
    if child == 0:
        for place, file in enumerate(files, 1):
            os.dup2(file, place)
        try:
            prepare()
            main.main(words)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            os._exit(code)
        except BaseException:  # noqa: BLE001 - what a command lets through is what the test asks for
            os.write(2, traceback.format_exc().encode())
            os._exit(99)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    contents = [Path(f"/proc/self/fd/{file}").read_bytes() for file in files]
    for file in files:
        os.close(file)
    return os.waitstatus_to_exitcode(status), contents[0], contents[1]


if __name__ == "__main__":
    all_commands()
    gc.freeze()  # no child copies what all have in common
    gc.disable()
    assert typer.rich_utils.STYLE_HELPTEXT is not None  # imported once, for all children
    for output, words in json.load(sys.stdin):
        code, out, err = _call(OUTPUTS[output], words)
        shown = {"output": output, "words": words, "code": code, "out": out.decode(), "err": err.decode()}
        print(json.dumps(shown), flush=True)
