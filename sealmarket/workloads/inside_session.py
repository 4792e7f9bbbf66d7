"""Stands in the runtime's place for a workload of kind session: the same ``session`` object, over two pipes.

Started as ``interpreter -P -s -S -B inside_session.py SETTINGS`` with the requests on standard input. Messages go both
ways as ``kind (1) || u32 length || payload``:

- in: ``Q`` JSON ``{endpoint, mostUnits}``, then ``B`` with the body of that request;
- out: ``L`` when the entry point is loaded; ``S`` bytes of a response; ``D`` JSON ``{promptUnits, outputUnits,
  engine}`` when a request is done; ``E`` the text of an error, after which nothing follows.

What the workload prints goes to standard error. Standard library only.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

REQUEST, BODY, LOADED, SENT, DONE, FAILED = b"Q", b"B", b"L", b"S", b"D", b"E"
_SHOWN_CHARACTERS = 16_384


class Request:
    """One request, as the runtime gives it."""

    def __init__(self, out: IO[bytes], endpoint: str, most_units: int, body: bytes) -> None:
        self._out, self.endpoint, self.most_units, self.body = out, endpoint, most_units, body
        self.ended = False

    def send(self, data: bytes) -> None:
        """Bytes of the response, in order."""
        if self.ended:
            raise RuntimeError("this request is done: nothing more can be sent")
        write(self._out, SENT, bytes(data))

    def done(self, prompt_units: int, output_units: int, engine: Mapping[str, Any]) -> None:
        """The request is answered; the runtime makes the receipt."""
        if self.ended:
            raise RuntimeError("this request is done already")
        self.ended = True
        used = {"promptUnits": int(prompt_units), "outputUnits": int(output_units), "engine": dict(engine)}
        write(self._out, DONE, json.dumps(used).encode())


class Session:
    """What the entry point is given."""

    def __init__(
        self, files: Mapping[str, int], parameters: Mapping[str, Any], asks: IO[bytes], out: IO[bytes]
    ) -> None:
        self._files, self._asks, self._out = files, asks, out
        self.parameters = dict(parameters)

    @property
    def inputs(self) -> dict[str, memoryview]:
        """Each input as read-only memory."""
        import mmap

        return {name: memoryview(mmap.mmap(one, 0, access=mmap.ACCESS_READ)) for name, one in self._files.items()}

    def path(self, name: str) -> str:
        """A path that a library can map."""
        return f"/proc/self/fd/{self._files[name]}"

    def requests(self) -> Iterator[Request]:
        """One request after the other, until there are no more."""
        while (message := read(self._asks)) is not None:
            asked = json.loads(message[1])
            body = read(self._asks)
            if body is None:
                return
            request = Request(self._out, asked["endpoint"], asked["mostUnits"], body[1])
            yield request
            if not request.ended:
                raise RuntimeError("a request was left without done()")


def write(out: IO[bytes], kind: bytes, payload: bytes) -> None:
    """One message."""
    out.write(kind + len(payload).to_bytes(4, "big") + payload)
    out.flush()


def read(source: IO[bytes]) -> tuple[bytes, bytes] | None:
    """The next message, or None at the end."""
    head = source.read(5)
    if len(head) < 5:
        return None
    size = int.from_bytes(head[1:], "big")
    payload = source.read(size)
    return (head[:1], payload) if len(payload) == size else None


def main() -> None:
    """Load the entry point, serve, and say how it ended."""
    settings = json.loads(Path(sys.argv[1]).read_bytes())
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the workload prints is no message
    try:
        sys.path[:0] = [settings["code"], settings["environment"]]
        module, _, function = settings["entryPoint"].partition(":")
        entry = getattr(importlib.import_module(module), function)
        files = {name: os.open(path, os.O_RDONLY) for name, path in settings["inputs"].items()}
        write(out, LOADED, b"")
        entry(Session(files, settings["parameters"], sys.stdin.buffer, out))
    except BaseException:  # noqa: BLE001 - reported to the author, whose data it is
        write(out, FAILED, traceback.format_exc()[-_SHOWN_CHARACTERS:].encode("utf-8", "replace"))


if __name__ == "__main__":
    main()
