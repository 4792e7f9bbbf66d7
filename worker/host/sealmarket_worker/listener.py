"""The listener of a gateway, behind the limits of every listener. Importing it takes a server along."""

from __future__ import annotations

import asyncio
import threading

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sealmarket.serving.connections import Connections
from sealmarket.serving.limits import ServerLimits, from_environment
from sealmarket.serving.requests import BoundedRequests
from sealmarket.serving.start import listen, require_descriptors, server_settings, url_of
from sealmarket_enclave.sealed.session import MAX_SEALED
from sealmarket_worker.gateway import Gateway

ANSWER_SECONDS = 3600.0
"""How long one answer may take."""
_LIMITS = ServerLimits(body_bytes=MAX_SEALED, body_seconds=ANSWER_SECONDS, bytes_a_request=1 << 20)


class Server:
    """A gateway at an address, in a thread of its own: usable as a context manager."""

    def __init__(self, gateway: Gateway, host: str, port: int, limits: ServerLimits | None = None) -> None:
        limits = limits or from_environment(_LIMITS)
        require_descriptors(limits)
        self._socket = listen(host, port)
        self.url = url_of(self._socket)
        connections = Connections(limits, H11Protocol)
        app = BoundedRequests(gateway, connections)
        settings = server_settings(limits, connections)
        self._server = uvicorn.Server(uvicorn.Config(app, **settings, lifespan="off"))
        self._thread = threading.Thread(target=self._run, name="gateway", daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))
