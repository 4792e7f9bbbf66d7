"""An HTTP connection to one service of the market: bounded answers, and problems as typed errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import urlsplit

import httpx

from sealmarket.http import Answer, AnswerTooLarge, EncodedAnswer, HttpClient, NoAnswer, redacted
from sealmarket.protocol.problems import Problem
from sealmarket.service.errors import AnswerTooLong, ItemNotFound, ServiceRefused, ServiceUnavailable
from sealmarket_enclave.protocol.codec import Shape, canonical_json, decode
from sealmarket_enclave.protocol.errors import MalformedDocument

T = TypeVar("T")

MAX_JSON = 8 << 20
TIMEOUT_SECONDS = 30.0
TRANSFER_PACE = 128 << 10
"""Bytes per second that a large transfer has to keep up, beyond the time of a request."""
_OTHER_VERSION = "the server speaks another version; update one of the two"
_LATER = {408, 425, 429, 500, 502, 503, 504}


class Connection:
    """Requests to one base URL; with an empty one, paths are URLs. ``service`` names it. Threads may share it."""

    def __init__(
        self, base: str, *, service: str, timeout: float = TIMEOUT_SECONDS, transport: httpx.BaseTransport | None = None
    ):
        self.base, self.service = base.rstrip("/"), service
        self._client = HttpClient(seconds=timeout, transport=transport)

    def get(
        self,
        path: str,
        *,
        what: str,
        limit: int = MAX_JSON,
        pace: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """The body of a GET, at most ``limit`` bytes.

        Raises:
            ItemNotFound, ServiceRefused, ServiceUnavailable.
        """
        with self._sent("GET", path, what, None, dict(headers or {}), limit=limit, pace=pace) as answer:
            return answer.body()

    @contextmanager
    def ask(
        self,
        method: str,
        path: str,
        *,
        what: str,
        limit: int,
        content: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[Answer]:
        """One request whose answer's headers count, read inside the ``with``. It has to keep up ``TRANSFER_PACE``.

        Raises:
            ItemNotFound, ServiceRefused, ServiceUnavailable: there, or while the answer is read.
        """
        with self._sent(method, path, what, content, dict(headers or {}), limit=limit, pace=TRANSFER_PACE) as answer:
            yield answer

    def send(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | Shape,
        *,
        what: str,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Send a body (a shape goes as canonical JSON); returns the answer's."""
        json = isinstance(body, Shape)
        content = canonical_json(body) if isinstance(body, Shape) else body
        kind = {"content-type": "application/json" if json else "application/octet-stream"}
        with self._sent(method, path, what, content, kind | dict(headers or {}), pace=TRANSFER_PACE) as answer:
            return answer.body()

    def has(self, path: str, *, what: str) -> bool:
        """Whether something is there, asked by a HEAD without reading it.

        Raises:
            ServiceRefused, ServiceUnavailable: the answer is neither yes (200) nor no (404).
        """
        try:
            with self._sent("HEAD", path, what, limit=0) as answer:
                if answer.status != 200:
                    raise ServiceRefused(self.service, what, f"HTTP {answer.status}", _OTHER_VERSION)
                return True
        except ItemNotFound:
            return False

    def read(
        self,
        path: str,
        kind: type[T],
        *,
        what: str,
        limit: int = MAX_JSON,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """A document of a known shape. Raises :class:`ServiceRefused` for one of another shape."""
        try:
            return decode(kind, self.get(path, what=what, limit=limit, headers=headers))
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
            raise ServiceUnavailable(self.service, redacted(self.base or path), error.detail) from error
        except AnswerTooLarge as error:
            raise AnswerTooLong(self.service, what, error.limit) from error
        except EncodedAnswer as error:
            raise ServiceRefused(self.service, what, error.message, error.remedy) from error

    def _refuse(self, answer: Answer, what: str, path: str) -> None:
        body = answer.error_body()
        try:
            problem = decode(Problem, body)
        except MalformedDocument:
            problem = Problem(title=f"HTTP {answer.status}", detail=body[:200].decode("utf-8", "replace"))
        said = ": ".join(part for part in (problem.title, problem.detail) if part)
        if answer.status == 404:
            raise ItemNotFound(
                self.service, what, urlsplit(path).path.rsplit("/", 1)[-1]
            )  # a query may hold a signature
        if answer.status in _LATER:
            raise ServiceUnavailable(self.service, redacted(self.base or path), f"HTTP {answer.status}, {said}")
        raise ServiceRefused(self.service, what, said, problem.remedy)

    def close(self) -> None:
        """Close the sockets."""
        self._client.close()
