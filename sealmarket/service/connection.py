"""An HTTP connection to one service of the market: bounded answers, and problems as typed errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx

from sealmarket.protocol.wire import Problem
from sealmarket.service.errors import AnswerTooLong, ItemNotFound, ServiceRefused, ServiceUnavailable
from sealmarket_enclave.protocol.codec import Shape, canonical_json, decode
from sealmarket_enclave.protocol.errors import MalformedDocument

T = TypeVar("T")

MAX_JSON = 8 << 20
TIMEOUT_SECONDS = 30.0
_OTHER_VERSION = "the server speaks another version; update one of the two"
_LATER = {408, 425, 429, 500, 502, 503, 504}


class Connection:
    """Requests to one base URL. ``service`` names it in errors. Threads may share a connection."""

    def __init__(
        self, base: str, *, service: str, timeout: float = TIMEOUT_SECONDS, transport: httpx.BaseTransport | None = None
    ):
        self.base, self.service = base.rstrip("/"), service
        self._client = httpx.Client(
            timeout=timeout, transport=transport, trust_env=not _is_local(self.base), follow_redirects=False
        )

    def get(self, path: str, *, what: str, limit: int = MAX_JSON) -> bytes:
        """The body of a GET, at most ``limit`` bytes.

        Raises:
            ItemNotFound, ServiceRefused, ServiceUnavailable.
        """
        return b"".join(self.stream(path, what=what, limit=limit))

    def stream(self, path: str, *, what: str, limit: int) -> Iterator[bytes]:
        """The body of a GET piece by piece, at most ``limit`` bytes of it."""
        seen = 0
        with self._sent("GET", path, what) as response:
            for piece in response.iter_bytes():
                seen += len(piece)
                if seen > limit:
                    raise AnswerTooLong(self.service, what, limit)
                yield piece

    def send(self, method: str, path: str, body: bytes | Iterable[bytes] | Shape, *, what: str) -> bytes:
        """Send a body (a shape goes as canonical JSON); returns the answer's."""
        json = isinstance(body, Shape)
        content = canonical_json(body) if isinstance(body, Shape) else body
        headers = {"content-type": "application/json" if json else "application/octet-stream"}
        with self._sent(method, path, what, content, headers) as response:
            return response.read()

    def has(self, path: str, *, what: str) -> bool:
        """Whether something is there, asked by a HEAD without reading it.

        Raises:
            ServiceRefused, ServiceUnavailable: the answer is neither yes (200) nor no (404).
        """
        try:
            with self._sent("HEAD", path, what) as response:
                if response.status_code != 200:
                    raise ServiceRefused(self.service, what, f"HTTP {response.status_code}", _OTHER_VERSION)
                return True
        except ItemNotFound:
            return False

    def read(self, path: str, kind: type[T], *, what: str, limit: int = MAX_JSON) -> T:
        """A document of a known shape. Raises :class:`ServiceRefused` for one of another shape."""
        try:
            return decode(kind, self.get(path, what=what, limit=limit))
        except MalformedDocument as error:
            raise ServiceRefused(self.service, what, error.message, _OTHER_VERSION) from error

    @contextmanager
    def _sent(
        self,
        method: str,
        path: str,
        what: str,
        content: bytes | Iterable[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Iterator[httpx.Response]:
        try:
            with self._client.stream(method, self.base + path, content=content, headers=headers) as response:
                if not response.is_success:
                    self._refuse(response, what, path)
                yield response
        except httpx.HTTPError as error:
            raise ServiceUnavailable(self.service, self.base, f"{type(error).__name__}: {error}") from error

    def _refuse(self, response: httpx.Response, what: str, path: str) -> None:
        body = response.read()
        try:
            problem = decode(Problem, body)
        except MalformedDocument:
            problem = Problem(title=f"HTTP {response.status_code}", detail=body[:200].decode("utf-8", "replace"))
        said = ": ".join(part for part in (problem.title, problem.detail) if part)
        if response.status_code == 404:
            raise ItemNotFound(self.service, what, path.rsplit("/", 1)[-1])
        if response.status_code in _LATER:
            raise ServiceUnavailable(self.service, self.base, f"HTTP {response.status_code}, {said}")
        raise ServiceRefused(self.service, what, said, problem.remedy)

    def close(self) -> None:
        """Close the sockets."""
        self._client.close()


def _is_local(url: str) -> bool:
    return httpx.URL(url).host in {"127.0.0.1", "localhost", "::1"}
