"""The limits of one listener. Each can be set in the environment: ``SEALMARKET_SERVER_`` and the name in capitals."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from sealmarket.serving.errors import LimitInvalid

PREFIX = "SEALMARKET_SERVER_"
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """Sizes in bytes, times in seconds, rates in requests a second and peer."""

    connections: int = 512
    """In all. Beyond it, the oldest connection without a request makes room."""
    connections_per_peer: int = 64
    header_seconds: float = 10.0
    """From the connection, or from the first byte of a later request, to the end of its headers."""
    header_bytes: int = 16 << 10
    body_bytes: int = 64 << 10
    """Of one request; a route may take less."""
    body_seconds: float = 30.0
    """A body, and an answer, has this long, and a second more for each ``body_pace`` bytes of it."""
    body_pace: int = 16 << 10
    stall_seconds: float = 15.0
    """The longest pause between two pieces of a body, and between two pieces that a reader takes of an answer."""
    idle_seconds: float = 20.0
    """Between two requests of a connection."""
    requests_per_second: float = 200.0
    request_burst: int = 1000
    bytes_a_request: int = 32 << 10
    """An answer that the server makes counts as one more request for each so many bytes; a file does not."""
    writes_per_second: float = 20.0
    """Of requests that change something (any method but GET and HEAD)."""
    write_burst: int = 200
    bytes_a_write: int = 64 << 10
    """A body that is decoded or checked as a whole counts as one more writing request for each so many bytes."""
    shutdown_seconds: float = 10.0
    """For requests under way when the program has to stop."""
    trusted_proxies: tuple[str, ...] = ()
    """Socket addresses whose ``X-Forwarded-For`` names the peer; none by default. Separated by commas."""


def from_environment(defaults: T, environment: Mapping[str, str] = os.environ, *, prefix: str = PREFIX) -> T:
    """The limits with what the environment sets instead. Raises :class:`LimitInvalid`."""
    changes = {}
    for field in dataclasses.fields(defaults):  # type: ignore[arg-type]
        if (text := environment.get(prefix + field.name.upper())) is not None:
            changes[field.name] = _parsed(prefix + field.name.upper(), text, getattr(defaults, field.name))
    return dataclasses.replace(defaults, **changes)  # type: ignore[type-var]


def _parsed(name: str, text: str, default: object) -> object:
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    try:
        value = type(default)(text)  # type: ignore[call-arg]
    except ValueError:
        raise LimitInvalid(name, text) from None
    if not 0 < value < 2**53:  # type: ignore[operator]
        raise LimitInvalid(name, text)
    return value
