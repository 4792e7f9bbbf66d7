"""One HTTP connection to a server of the market: bounded answers, and problems as typed errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx

from sealmarket.client.errors import NotInStore, StoreRefused, StoreUnavailable
from sealmarket.http import Answer, AnswerTooLarge, EncodedAnswer, HttpClient, NoAnswer
from sealmarket.protocol.wire import Problem
from sealmarket_enclave.protocol.codec import Shape, canonical_json, decode
from sealmarket_enclave.protocol.errors import MalformedDocument

T = TypeVar("T")

MAX_JSON = 8 << 20
TIMEOUT_SECONDS = 30.0
TRANSFER_PACE = 128 << 10
"""Bytes per second that a large transfer has to keep up, beyond the time of a request."""
_LATER = {408, 425, 429, 500, 502, 503, 504}


class Http:
    """Requests to one base URL. Threads may share it."""

    def __init__(self, base: str, *, timeout: float = TIMEOUT_SECONDS, transport: httpx.BaseTransport | None = None):
        self.base = base.rstrip("/")
        self._client = HttpClient(seconds=timeout, base=self.base, transport=transport)

    def get(self, path: str, *, what: str, limit: int = MAX_JSON, pace: int | None = None) -> bytes:
        """The body of a GET, at most ``limit`` bytes.

        Raises:
            NotInStore, StoreRefused, StoreUnavailable.
        """
        with self._sent("GET", path, what, limit=limit, pace=pace) as answer:
            return answer.body()

    def stream(self, path: str, *, what: str, limit: int) -> Iterator[bytes]:
        """The body of a GET piece by piece, at most ``limit`` bytes of it; it has to keep up ``TRANSFER_PACE``."""
        with self._sent("GET", path, what, limit=limit, pace=TRANSFER_PACE) as answer:
            yield from answer.pieces()

    def send(self, method: str, path: str, body: bytes | Iterable[bytes] | Shape, *, what: str) -> bytes:
        """Send a body (a shape goes as canonical JSON); returns the answer's."""
        json = isinstance(body, Shape)
        content = canonical_json(body) if isinstance(body, Shape) else body
        headers = {"content-type": "application/json" if json else "application/octet-stream"}
        with self._sent(method, path, what, content, headers, pace=TRANSFER_PACE) as answer:
            return answer.body()

    def read(self, path: str, kind: type[T], *, what: str) -> T:
        """A document of a known shape. Raises :class:`StoreRefused` for one of another shape."""
        try:
            return decode(kind, self.get(path, what=what))
        except MalformedDocument as error:
            raise StoreRefused(
                what, error.message, "the server speaks another version; update one of the two"
            ) from error

    @contextmanager
    def _sent(
        self,
        method: str,
        path: str,
        what: str,
        content: bytes | Iterable[bytes] | None = None,
        headers: dict[str, str] | None = None,
        *,
        limit: int = MAX_JSON,
        pace: int | None = None,
    ) -> Iterator[Answer]:
        try:
            with self._client.ask(
                method, self.base + path, limit=limit, pace=pace, content=content, headers=headers
            ) as answer:
                if not answer.is_success:
                    self._refuse(answer, what, path)
                yield answer
        except NoAnswer as error:
            raise StoreUnavailable(self.base, error.detail) from error
        except AnswerTooLarge as error:
            raise StoreRefused(what, f"the answer is longer than {error.limit} bytes", "ask another server") from error
        except EncodedAnswer as error:
            raise StoreRefused(what, error.message, error.remedy) from error

    def _refuse(self, answer: Answer, what: str, path: str) -> None:
        body = answer.error_body()
        try:
            problem = decode(Problem, body)
        except MalformedDocument:
            problem = Problem(title=f"HTTP {answer.status}", detail=body[:200].decode("utf-8", "replace"))
        said = ": ".join(part for part in (problem.title, problem.detail) if part)
        if answer.status == 404:
            raise NotInStore(what, path.rsplit("/", 1)[-1])
        if answer.status in _LATER:
            raise StoreUnavailable(self.base, f"HTTP {answer.status}, {said}")
        raise StoreRefused(what, said, problem.remedy)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()
