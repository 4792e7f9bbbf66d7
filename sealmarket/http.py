"""The one HTTP boundary: whatever this product asks of a server is bounded here, in bytes and in time.

1. Only the identity encoding is asked for and taken, so that no answer grows after it has left the wire.
2. A body is counted while it arrives, an error's body too; the caller names the most that it takes.
3. A request has one deadline for all of it: connecting, TLS, sending, headers, body. A server that sends a byte now
   and then gains nothing by it. A large transfer may add a pace, in bytes per second, that it has to keep up.
4. Redirects are not followed.
5. A server on this machine's loopback interface is asked without a proxy; any other as the environment says
   (``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``).
6. Nothing of one answer goes into the next request: no cookie is kept. What would keep some, follow redirects or read
   the user's files (``httpx.Client``) is left out, and a request goes straight to its transport.
7. Messages name a server by :func:`redacted`: user names, paths and queries of URLs may hold keys.

Looking up a host's name is the operating system's, with its own time limit.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from sealmarket_enclave.protocol.errors import SealmarketError

MAXIMUM_ERROR_BODY = 64 << 10
"""Bytes that are read of an error's body."""
_MAXIMUM_ADDRESSES = 4
_HEADERS = {"accept": "*/*", "accept-encoding": "identity", "user-agent": f"python-httpx/{httpx.__version__}"}


class HttpError(SealmarketError):
    """A server gave no answer that can be taken."""


class NoAnswer(HttpError):
    """The server gives no complete answer."""

    def __init__(self, url: str, detail: str) -> None:
        super().__init__(f"{redacted(url)} gives no answer: {detail}", remedy="check the URL, and that the server runs")
        self.url, self.detail = redacted(url), detail


class DeadlineExceeded(NoAnswer):
    """The request did not end within its time."""

    def __init__(self, url: str, seconds: float) -> None:
        super().__init__(url, f"it was not complete after {seconds:g} s")
        self.remedy = "try again, or ask another server: this one is overloaded, or holds its callers up"


class AnswerTooLarge(HttpError):
    """The answer has more bytes than the caller takes."""

    def __init__(self, url: str, limit: int) -> None:
        remedy = "ask for less, or ask another server"
        super().__init__(f"{redacted(url)} answers with more than {limit} bytes", remedy=remedy)
        self.url, self.limit = redacted(url), limit


class EncodedAnswer(HttpError):
    """The answer has a content encoding that the request did not offer."""

    def __init__(self, url: str, encoding: str) -> None:
        super().__init__(
            f"{redacted(url)} answers with the content encoding {encoding[:80]!r}, which was not asked for",
            remedy="ask another server, or turn compression off in the proxy before this one",
        )
        self.url, self.encoding = redacted(url), encoding


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and headers, with the body still on the wire. ``limit`` is the most that is read of it."""

    url: str
    status: int
    headers: httpx.Headers
    limit: int
    _stream: Iterable[bytes]

    @property
    def is_success(self) -> bool:
        """Whether the status is one of 200 to 299."""
        return 200 <= self.status < 300

    def pieces(self) -> Iterator[bytes]:
        """The body as it arrives. Raises :class:`EncodedAnswer`, :class:`AnswerTooLarge`."""
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise EncodedAnswer(self.url, encoding)
        seen = 0
        for piece in self._stream:
            seen += len(piece)
            if seen > self.limit:
                raise AnswerTooLarge(self.url, self.limit)
            yield piece

    def body(self) -> bytes:
        """The whole body. Raises as :meth:`pieces`."""
        whole = bytearray()
        for piece in self.pieces():
            whole += piece
        return bytes(whole)

    def error_body(self) -> bytes:
        """The beginning of an error's body; empty when it cannot be taken."""
        whole = bytearray()
        try:
            for piece in self.pieces():
                whole += piece
                if len(whole) >= MAXIMUM_ERROR_BODY:
                    break
        except (AnswerTooLarge, EncodedAnswer):
            pass  # the status says what matters
        return bytes(whole[:MAXIMUM_ERROR_BODY])


class HttpClient:
    """Connections to servers. Threads may share it.

    Args:
        seconds: for a whole request.
        retries: how often a connection that cannot be made is tried again.
        transport: for tests, what stands where the network would be.
    """

    def __init__(
        self,
        *,
        seconds: float,
        retries: int = 0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._seconds, self._retries, self._transport = seconds, retries, transport
        self._transports: dict[str | None, httpx.BaseTransport] = {None: self._made("", None)}
        self._lock = threading.Lock()

    @contextmanager
    def ask(
        self,
        method: str,
        url: str,
        *,
        limit: int,
        pace: int | None = None,
        content: bytes | Iterable[bytes] | None = None,
        headers: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
    ) -> Iterator[Answer]:
        """One request; the answer's body is read inside the ``with``.

        Args:
            limit: bytes of body.
            pace: bytes per second. Each byte that moves adds its time to the deadline; None adds none.

        Raises:
            NoAnswer, DeadlineExceeded, AnswerTooLarge, EncodedAnswer.
        """
        transport = self._transport_of(url)
        deadline = _Deadline(self._seconds, pace)
        timeouts = dict.fromkeys(("connect", "read", "write"), deadline) | {"pool": self._seconds}
        try:
            with _unreadable_names():
                asked = httpx.Request(
                    method,
                    _url(url),
                    content=content,
                    headers=_HEADERS | (headers or {}),
                    params=params,
                    extensions={"timeout": timeouts},
                )
                _authorise(asked)
                answered = transport.handle_request(asked)
            with closing(answered) as response:
                assert isinstance(response.stream, httpx.SyncByteStream)
                yield Answer(url, response.status_code, response.headers, limit, response.stream)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if isinstance(error, httpx.TimeoutException) or deadline.left <= 0:
                raise DeadlineExceeded(url, self._seconds) from error
            raise _no_answer(url, error) from error

    def _transport_of(self, url: str) -> httpx.BaseTransport:
        try:
            proxy = None if self._transport else _proxy_of(url)
        except ValueError as error:
            raise NoAnswer(url, "it is no URL") from error
        with self._lock:
            if proxy not in self._transports:
                self._transports[proxy] = self._made(url, proxy)
            return self._transports[proxy]

    def _made(self, url: str, proxy: str | None) -> httpx.BaseTransport:
        try:
            return self._transport or _Transport(proxy=proxy, retries=self._retries)
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            detail = f"the environment's proxy {redacted(proxy or '')} cannot be used; http:// and https:// proxies can"
            raise NoAnswer(url, detail) from error

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            for transport in self._transports.values():
                transport.close()
            self._transports.clear()


@lru_cache(maxsize=64)
def _url(text: str) -> httpx.URL:
    """A URL, read once: programs ask few of them, often. Raises ``httpx.InvalidURL``."""
    return httpx.URL(text)


@contextmanager
def _unreadable_names() -> Iterator[None]:
    """A host's name that IDNA does not read makes a URL invalid; a caller's own errors stay what they are."""
    try:
        yield
    except UnicodeError as error:
        raise httpx.InvalidURL(str(error)) from error


def _authorise(asked: httpx.Request) -> None:
    """Name and password of a URL go into the request's header."""
    if asked.url.userinfo:
        next(httpx.BasicAuth(asked.url.username, asked.url.password).auth_flow(asked))


def _no_answer(url: str, error: Exception) -> NoAnswer:
    found = NoAnswer(url, f"{type(error).__name__}: {error}")
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        found.remedy = "where the server's certificate is your own authority's, name its PEM file in SSL_CERT_FILE"
    return found


NO_URL = "(no URL)"
"""What :func:`redacted` says of a text without a scheme or a host, or with a port that is none."""


def redacted(url: str) -> str:
    """A URL as it may be printed: scheme, host and port, and ``/…`` where more follows, which may be a key."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        return NO_URL
    if not parts.scheme or not host:
        return NO_URL
    shown = f"[{host}]" if ":" in host else host
    rest = "/…" if parts.path.strip("/") or parts.query or parts.fragment else ""
    return f"{parts.scheme}://{shown}{f':{port}' if port else ''}{rest}"


def is_loopback(url: str) -> bool:
    """Whether the URL names this machine by its loopback interface."""
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:  # no URL at all
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _proxy_of(url: str) -> str | None:
    # A proxy from the environment has no business between us and a server on this machine.
    parts = urlsplit(url)
    if is_loopback(url) or proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


# --- the deadline, below httpcore -------------------------------------------------------------------------------


class _Deadline(float):
    """The timeout of every step of one request. httpcore hands it down unread; the network stream asks what is left."""

    _end: float
    _pace: int | None

    def __new__(cls, seconds: float, pace: int | None) -> _Deadline:
        made = super().__new__(cls, seconds)
        made._end, made._pace = time.monotonic() + seconds, pace
        return made

    @property
    def left(self) -> float:
        return self._end - time.monotonic()

    def moved(self, size: int) -> None:
        if self._pace:
            self._end += size / self._pace


def _left(timeout: float | None) -> float | None:
    if not isinstance(timeout, _Deadline):
        return timeout
    if (left := timeout.left) <= 0:
        raise httpcore.ReadTimeout("the request's time is up")
    return left


def _moved(timeout: float | None, size: int) -> None:
    if isinstance(timeout, _Deadline):
        timeout.moved(size)


class _Stream(httpcore.NetworkStream):
    """A stream whose every step has what is left of the request's time."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        piece = self._stream.read(max_bytes, _left(timeout))
        _moved(timeout, len(piece))
        return piece

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # Small pieces: the stream below starts its clock anew for each part of a buffer that it gets rid of.
        for start in range(0, len(buffer), 1 << 16):
            piece = buffer[start : start + (1 << 16)]
            self._stream.write(piece, _left(timeout))
            _moved(timeout, len(piece))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Network(httpcore.SyncBackend):
    """Connections by TCP, with the deadline for all addresses of a host together."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from error
        problem: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in list(dict.fromkeys(str(entry[4][0]) for entry in found))[:_MAXIMUM_ADDRESSES]:
            try:
                return _Stream(super().connect_tcp(address, port, _left(timeout), local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = error
        raise problem


@cache
def _trusted(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    """The authorities that the environment names: one for all clients, reading them takes 20 ms."""
    return httpx.create_ssl_context()


class _Transport(httpx.HTTPTransport):
    """httpx's transport over :class:`_Network`. httpx has no public way to name one; without it nothing starts."""

    def __init__(self, *, proxy: str | None, retries: int) -> None:
        trusted = _trusted(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        super().__init__(verify=trusted, proxy=proxy, retries=retries)
        if not isinstance(getattr(self._pool, "_network_backend", None), httpcore.NetworkBackend):
            raise RuntimeError("this release of httpx or httpcore has no network backend to bound: install another")
        self._pool._network_backend = _Network()  # noqa: SLF001
