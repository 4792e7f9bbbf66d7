"""Where a container's bytes can be read from: any part of them, by their place. Nothing of it is believed.

A source may lie, stop in the middle, ignore which part was asked for, or be exchanged between two questions:
:mod:`sealmarket.store.download` holds each chunk against the content root.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from sealmarket.http import Answer
from sealmarket.service.connection import TRANSFER_PACE, Connection
from sealmarket.service.errors import ItemNotFound, ServiceRefused

MAX_CONTAINER = 64 << 30
"""Bytes of one container that are read from outside."""
PARTIAL_CONTENT = 206
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")


@dataclass(frozen=True, slots=True)
class Part:
    """What a source answers: bytes from ``start`` on, which need not be where the question began.

    ``version`` changes where the source knows that it holds other bytes now; None says nothing.
    """

    start: int
    version: str | None
    pieces: Iterator[bytes]


class SealedSource(Protocol):
    """A place that has one container."""

    @property
    def name(self) -> str:
        """How errors name it: no path, query or key of a URL."""

    def read(self, start: int, stop: int) -> AbstractContextManager[Part]:
        """Bytes ``start`` to ``stop``. Raises :class:`ServiceError`, there or while pieces are taken."""

    def leaves(self, size: int) -> bytes | None:
        """The leaf digests of the container, ``size`` bytes; None where this source has none of that size."""


class HttpSource:
    """A container behind a URL: ``GET`` with ``Range``."""

    def __init__(
        self, connection: Connection, path: str, leaves_path: str | None, *, most: int = MAX_CONTAINER
    ) -> None:
        """``most``: bytes of one answer; more is :class:`AnswerTooLong`."""
        self._http, self._path, self._leaves_path, self._most = connection, path, leaves_path, most

    @property
    def name(self) -> str:
        """As :attr:`SealedSource.name`."""
        return self._http.service

    @contextmanager
    def read(self, start: int, stop: int) -> Iterator[Part]:
        """As :meth:`SealedSource.read`."""
        headers = {"range": f"bytes={start}-{stop - 1}"}
        with self._http.ask("GET", self._path, what="container", limit=self._most, headers=headers) as answer:
            yield Part(self._start(answer, start), answer.headers.get("etag"), answer.pieces())

    def _start(self, answer: Answer, asked: int) -> int:
        if answer.status != PARTIAL_CONTENT:
            return 0  # it ignores ranges, and sends all of it
        text = answer.headers.get("content-range", "")
        found = _CONTENT_RANGE.fullmatch(text)
        if found is None or int(found[1]) != asked:
            detail = f"it answers with the range {text[:80]!r}, and byte {asked} was asked for"
            raise ServiceRefused(self.name, "a part of a container", detail, "use another server")
        return asked

    def leaves(self, size: int) -> bytes | None:
        """As :meth:`SealedSource.leaves`."""
        if self._leaves_path is None:
            return None
        try:
            found = self._http.get(self._leaves_path, what="leaves", limit=size, pace=TRANSFER_PACE)
        except (ItemNotFound, ServiceRefused):
            return None
        return found if len(found) == size else None
