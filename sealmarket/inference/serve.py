"""Runs the local proxy until a signal ends it; answers that run are read to their end first."""

from __future__ import annotations

import ipaddress
from contextlib import closing
from typing import Any

from sealmarket.inference.errors import InferenceError
from sealmarket.inference.proxy import Proxy
from sealmarket.serving.connections import Connections
from sealmarket.serving.limits import ServerLimits, from_environment
from sealmarket.serving.requests import BoundedRequests
from sealmarket.serving.start import listen, require_descriptors, server_settings, url_of
from sealmarket_enclave.sealed.session import MAX_BODY

_ANSWER_SECONDS = 3600.0
_RATE = 10_000.0
LIMITS = ServerLimits(
    body_bytes=MAX_BODY,
    body_seconds=_ANSWER_SECONDS,
    requests_per_second=_RATE,
    request_burst=int(_RATE),
    writes_per_second=_RATE,
    write_burst=int(_RATE),
)
"""Its callers are programs of this machine: their number is bounded by the grants, and not by a rate."""


class ServerMissing(InferenceError):
    """The server's library is not installed."""

    def __init__(self) -> None:
        super().__init__("there is no uvicorn here", remedy="run `pip install 'sealmarket[proxy]'`")


class OpenAddress(InferenceError):
    """An address that other machines reach, without a token."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"the proxy would listen on {host} without a token, expected 127.0.0.1",
            remedy="leave --host out, or give --token-file, and a proxy with TLS before it",
        )


def require_address(host: str, token: str | None) -> None:
    """Refuse an address beyond this machine where no token is needed. Raises :class:`OpenAddress`."""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback and token is None:
        raise OpenAddress(host)


def serve(proxy: Proxy, host: str, port: int) -> None:
    """Serve until a signal ends it; prints the address once it listens. Raises :class:`ServerMissing`."""
    try:
        import uvicorn
        from uvicorn.protocols.http.h11_impl import H11Protocol
    except ImportError:
        raise ServerMissing from None
    limits = from_environment(LIMITS)
    require_descriptors(limits)
    with closing(listen(host, port)) as listener:
        connections = Connections(limits, H11Protocol)
        app: Any = BoundedRequests(proxy, connections)
        server = uvicorn.Server(uvicorn.Config(app, **server_settings(limits, connections)))
        print(f"proxy serves on {url_of(listener)}/v1", flush=True)
        try:
            server.run([listener])
        finally:
            proxy.close()
