"""A proxy before an enclave in one process, for tests that ask it as programs do: ``program.py STATE [MODEL ...]``.

With a model's file, the folder of a workload and that of its environment, the workload is the real one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from sealmarket.inference.proxy import Proxy, ProxyRules
from sealmarket.inference.serve import serve
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.local_session import LocalSession
from tests.inference.enclave import Answer, FakeEnclave, Workload


class Served:
    """A workload's process as an enclave's workload; its units are known when its bytes are."""

    def __init__(self, session: LocalSession) -> None:
        self._session = session

    def __call__(self, endpoint: str, body: bytes, most: int) -> Answer:
        pieces = list(self._session.ask(endpoint, body, most))
        used = self._session.used
        assert used is not None
        return pieces, used.prompt_units, used.output_units


def workload(stack: ExitStack, words: list[str]) -> Workload:
    """The real workload, or one that counts."""
    if not words:
        return counting
    model, folder, environment = map(Path, words)
    bundle = read_bundle(folder)
    values = bundle.manifest.check_parameters({"context": 1024})
    return Served(stack.enter_context(LocalSession(bundle, environment, {"model": model.read_bytes()}, values)))


def counting(endpoint: str, body: bytes, most: int) -> Answer:
    """Streams three events, or answers whole."""
    if endpoint == "models":
        return [b'{"object":"list","data":[{"id":"m","object":"model","created":0,"owned_by":"x"}]}'], 0, 0
    if b"stream" in body:
        return _events(), 1, 3
    choice = b'{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"one two three"}}'
    return [b'{"id":"1","object":"chat.completion","created":0,"model":"m","choices":[' + choice + b"]}"], 1, 3


def _events() -> Iterator[bytes]:
    head = b'{"id":"1","object":"chat.completion.chunk","created":0,"model":"m","choices":[{"index":0,"delta":'
    for word in (b"one", b" two", b" three"):
        yield b"data: " + head + b'{"content":"' + word + b'"},"finish_reason":null}]}\n\n'
    yield b"data: [DONE]\n\n"


def main(state: str, *words: str) -> None:
    """Serve until a signal."""
    with ExitStack() as stack:
        asker = FakeEnclave(workload(stack, list(words))).asker(Path(state), cap=100_000, budget=1_000_000)
        serve(Proxy(asker, ProxyRules()), "127.0.0.1", 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
