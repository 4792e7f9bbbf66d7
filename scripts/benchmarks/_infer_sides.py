"""The processes that `scripts/bench infer` puts side by side; each prints its address and serves until it is ended.

``enclave WORKLOAD`` opens sealed requests, has a sandboxed workload answer them and a meter count them, and seals
frames and a signed receipt; ``proxy URL`` is the user's proxy before it. ``server WORKLOAD`` answers plainly by the
same sandboxed workload; ``forward URL`` is a plain proxy before that. The enclave's side is the tests' own, in one
process with its host.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import coincurve
import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from scripts.models import smollm2
from scripts.toolchain import ROOT
from sealmarket.inference.host import ServiceHost
from sealmarket.inference.proxy import Proxy, ProxyRules
from sealmarket.inference.serve import serve
from sealmarket.serving.start import listen, url_of
from sealmarket.workloads.cache import WorkloadCache
from sealmarket.workloads.fetch import lock_environment
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.local_session import LocalSession
from sealmarket.workloads.meters import make_meter
from sealmarket.workloads.templates import create
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_worker.gateway import Gateway, Hosted
from sealmarket_worker.listener import Server
from tests.inference.enclave import Answer, FakeEnclave
from tests.validators import models

KEPT = WorkloadCache(ROOT / "build/workloads")
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"word"},"finish_reason":null}]}\n\n'
_PATHS = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/score": "score",
    "/v1/models": "models",
}
_MOST_UNITS = 8192


class Workload:
    """A sandboxed workload of a template, or ``echo``, which streams three events at once; perhaps with its meter."""

    def __init__(self, stack: ExitStack, name: str, *, metered: bool = False) -> None:
        before = children()
        self._session = None if name == "echo" else stack.enter_context(session_of(stack, name))
        self._meter = stack.enter_context(meter_of(stack, name)) if metered else None
        self.process_ids = sorted(children() - before)
        """Of the workload's process and the meter's, as far as there are any."""

    def pieces(self, endpoint: str, body: bytes, most: int) -> Iterator[bytes]:
        """The bytes of an answer as they come; a meter counts the prompt before them, and all of them at the end."""
        self._count("prompt", endpoint, body, b"")
        sent = bytearray()
        for piece in iter([EVENT] * 3) if self._session is None else self._session.ask(endpoint, body, most):
            sent += piece
            yield piece
        self._count("answer", endpoint, body, bytes(sent))

    def used(self) -> tuple[int, int]:
        """What the last answer took."""
        session = self._meter or self._session
        done = session.used if session else None
        return (done.prompt_units, done.output_units) if done else (1, 3)

    def _count(self, what: str, endpoint: str, body: bytes, sent: bytes) -> None:
        if self._meter is not None:
            for _ in self._meter.ask(f"{what}/{endpoint}", len(body).to_bytes(4) + body + sent, 0):
                raise RuntimeError("a meter sends nothing")


def children() -> set[int]:
    """The processes that this one has started and that have not ended."""
    found = (path.read_text().split() for path in Path("/proc/self/task").glob("*/children"))
    return {int(one) for line in found for one in line}


def bundle_of(stack: ExitStack, template: str) -> tuple[Any, Path, Path]:
    """A template's bundle, its folder, and its environment."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / template
    create(folder, template)
    lock_environment(folder, KEPT.wheels(folder))
    bundle = read_bundle(folder)
    return bundle, folder, KEPT.environment(bundle, folder)


def session_of(stack: ExitStack, template: str) -> LocalSession:
    """A template in the sandbox, with the model of the bench."""
    bundle, _, environment = bundle_of(stack, template)
    given = {"context": 1024} if template == "gguf-chat" else {}
    return LocalSession(bundle, environment, {"model": model_of(template)}, bundle.manifest.check_parameters(given))


def meter_of(stack: ExitStack, template: str) -> LocalSession:
    """The meter of a template's service in the sandbox: of the model's tokens, or of rows."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "meter"
    make_meter(folder, None if template == "onnx-score" else smollm2())
    lock_environment(folder, KEPT.wheels(folder))
    bundle = read_bundle(folder)
    return LocalSession(bundle, KEPT.environment(bundle, folder), {}, {})


def model_of(template: str) -> bytes:
    """The model that a template serves here."""
    if template == "gguf-chat":
        return smollm2().read_bytes()
    return models.spelled(models.forest(models.rows(600), models.cost(models.rows(600))))


def enclave_of(workload: Workload | None) -> FakeEnclave:
    """An enclave with the keys of this bench, which user and enclave both know."""

    def answer(endpoint: str, body: bytes, most: int) -> Answer:
        assert workload is not None
        return workload.pieces(endpoint, body, most), 0, 0

    return FakeEnclave(
        workload=answer,
        used=workload.used if workload else None,
        signer=coincurve.PrivateKey(b"\x01" * 32),
        wallet=coincurve.PrivateKey(b"\x02" * 32),
        private=PrivateKey(bytes(range(96))),
    )


def _served(route: str, pieces: Callable[[Request, bytes], Any], workload: Workload | None) -> None:
    async def answer(request: Request) -> StreamingResponse:
        return StreamingResponse(pieces(request, await request.body()), media_type="application/octet-stream")

    with listen("127.0.0.1", 0) as listener:
        _print(url_of(listener), workload)
        app = Starlette(routes=[Route(route, answer, methods=["POST"])])
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run([listener])


def _print(url: str, workload: Workload | None) -> None:
    print(json.dumps({"url": url, "workload": workload.process_ids if workload else []}), flush=True)


class Link:
    """What a host knows of its enclave. Answers come from a thread of their own, as an enclave's do."""

    def __init__(self, enclave: FakeEnclave) -> None:
        self._enclave, self._thread = enclave, ThreadPoolExecutor(1)

    def ask(self, sealed: bytes, heard: Callable[[bytes | None, bool], None]) -> Link:
        """As :meth:`sealmarket_worker.link.ServiceLink.ask`."""
        self._thread.submit(self._answer, sealed, heard)
        return self

    def _answer(self, sealed: bytes, heard: Callable[[bytes | None, bool], None]) -> None:
        for data, last in self._enclave.answered(sealed):
            heard(data, last)

    def drop(self) -> None:
        """No one leaves here."""


def enclave(name: str) -> None:
    """Sealed requests, answered and metered, behind the host's own gateway and limits."""
    with ExitStack() as stack:
        workload = Workload(stack, name, metered=True)
        made = enclave_of(workload)
        gateway = Gateway()
        link: Any = Link(made)
        gateway.add(made.service.facts.job_id, Hosted(link, lambda: b"", lambda _: b""))
        server = stack.enter_context(Server(gateway, "127.0.0.1", 0))
        _print(server.url, workload)
        signal.pause()


def server(name: str) -> None:
    """Plain requests, answered."""
    with ExitStack() as stack:
        workload = Workload(stack, name)
        _served("/{path:path}", lambda r, body: workload.pieces(_PATHS[r.url.path], body, _MOST_UNITS), workload)


def forward(url: str) -> None:
    """A plain proxy."""
    client = httpx.AsyncClient(timeout=600)

    async def passed(request: Request, body: bytes) -> AsyncIterator[bytes]:
        async with client.stream("POST", url + request.url.path, content=body) as answer:
            async for piece in answer.aiter_raw():
                yield piece

    _served("/{path:path}", passed, None)


def proxy(url: str) -> None:
    """The user's proxy, with grants and receipts on disk as in production."""
    made = enclave_of(None)
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        host = ServiceHost(url, made.service.facts.job_id)
        asker = made.asker(Path(folder), host, cap=10**9, budget=10**12)
        serve(Proxy(asker, ProxyRules(most_units=_MOST_UNITS)), "127.0.0.1", 0)


if __name__ == "__main__":
    asyncio.set_event_loop_policy(None)
    {"enclave": enclave, "server": server, "forward": forward, "proxy": proxy}[sys.argv[1]](sys.argv[2])
