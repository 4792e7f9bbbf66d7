"""What comes before the first request: a bound socket, enough descriptors, the server's own settings."""

from __future__ import annotations

import resource
import socket
from typing import Any

from sealmarket.serving.connections import Connections
from sealmarket.serving.errors import AddressTaken, TooFewDescriptors
from sealmarket.serving.limits import ServerLimits

BACKLOG = 1024
"""Connections that wait in the system until they are accepted."""
ACCEPTED_AT_ONCE = 8
"""So many are accepted before the server reads from those that it has. asyncio accepts as many as may wait, and then
every request waits for a thousand newcomers at each of its steps."""
SPARE_DESCRIPTORS = 256
"""For files, databases, the chain and other services."""


class Listener(socket.socket):
    """A bound socket. asyncio names one number for what may wait and for what is accepted at once; only the latter is
    its own to choose."""

    def listen(self, _accepted_at_once: int = BACKLOG) -> None:
        """Take connections, of which ``BACKLOG`` may wait."""
        super().listen(BACKLOG)


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections from now on; port 0 chooses one. Raises :class:`AddressTaken`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = Listener(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen()
    except OSError as error:
        made.close()
        raise AddressTaken(host, port, error.strerror or str(error)) from error
    return made


def url_of(listener: socket.socket, *, tls: bool = False) -> str:
    """Where a listener is reached."""
    host, port = listener.getsockname()[:2]
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def require_descriptors(limits: ServerLimits) -> None:
    """Raise the soft limit of open files to what the limits need. Raises :class:`TooFewDescriptors`."""
    needed = limits.connections + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise TooFewDescriptors(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def server_settings(limits: ServerLimits, connections: Connections) -> dict[str, Any]:
    """The settings of a uvicorn server that keeps to the limits. It believes no header about who the peer is."""
    return {
        "http": connections.protocol,
        "ws": "none",
        "h11_max_incomplete_event_size": limits.header_bytes,
        "timeout_keep_alive": max(1, round(limits.idle_seconds)),
        "timeout_graceful_shutdown": max(1, round(limits.shutdown_seconds)),
        "backlog": ACCEPTED_AT_ONCE,
        "proxy_headers": False,
        "server_header": False,
        "log_config": None,
        "log_level": "warning",
        "access_log": False,
    }
