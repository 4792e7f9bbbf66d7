"""A served application on loopback, and connections that misbehave."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sealmarket.serving.connections import Connections, State
from sealmarket.serving.limits import ServerLimits
from sealmarket.serving.requests import BoundedRequests
from sealmarket.serving.start import listen, server_settings, url_of
from tests.patience import PATIENCE

LONG = 10 * PATIENCE
PATIENT = ServerLimits(header_seconds=LONG, idle_seconds=LONG, body_seconds=LONG, stall_seconds=LONG)
"""No connection is given up while a test waits: what a test is about is shortened in it, and nothing else."""


@dataclass
class Served:
    """A running server. ``body`` is what its application read of the last request."""

    url: str
    connections: Connections
    server: uvicorn.Server
    thread: threading.Thread

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", int(self.url.rsplit(":", 1)[1])

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "the server did not stop"

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=PATIENCE)

    def sent(self, raw: bytes) -> socket.socket:
        made = self.connect()
        made.sendall(raw)
        return made

    def get(self, path: str = "/healthz", **options: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=PATIENCE, trust_env=False, **options)


@contextmanager
def served(app: Any, limits: ServerLimits, tls: ssl.SSLContext | None = None) -> Iterator[Served]:
    """Serve an application in a thread, as the programs do."""
    connections = Connections(limits, H11Protocol, tls)
    config = uvicorn.Config(BoundedRequests(app, connections), **server_settings(limits, connections))
    with closing(listen("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        found = Served(url_of(listener, tls=tls is not None), connections, server, thread)
        try:
            yield found
        finally:
            found.stop()


def busy(found: Served) -> int:
    """How many connections have sent the headers of a request that is not answered yet."""
    return sum(one.state is State.BUSY for one in list(found.connections._open.values()))


def read_to_end(one: socket.socket) -> bytes:
    """What the server answers until it hangs up; a reset counts as the end."""
    answer = b""
    with one:
        try:
            while piece := one.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
    return answer
