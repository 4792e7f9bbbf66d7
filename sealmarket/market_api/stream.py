"""Changes of jobs, requests and offers as a backend sends them, taken up again by the id of the last one.

A stream comes in parts of at most :data:`PART_SECONDS`: each is one bounded request, and the next goes on behind the
last id. So neither a cut line nor a server that stops loses a change or gives one twice. The server is not trusted:
what it says is a hint to read the subject itself.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass

import httpx

from sealmarket.http import AnswerTooLarge, EncodedAnswer, HttpClient, NoAnswer, redacted
from sealmarket.market_api.paging import MARKET_API
from sealmarket.protocol.market import StreamReason, SubjectState
from sealmarket.protocol.problems import Problem
from sealmarket.service.errors import ServiceRefused, ServiceUnavailable
from sealmarket_enclave.protocol.codec import Bytes32, decode
from sealmarket_enclave.protocol.errors import MalformedDocument

TOPICS = ("jobs", "requests", "compute-orders", "asset-orders")
PART_SECONDS = 60.0
PART_BYTES = 4 << 20
LONGEST_LINE = 4096
_ID = re.compile("[!-~]{0,40}")
"""An id goes back to the server in a header."""
MOST_FAILURES = 8
"""Parts in a row that fail, before a reader gives up."""
_LONGEST_PAUSE = 30.0
_QUIET_PAUSE = 1.0
"""Seconds before the next part, behind one without a change: a server that stops ends each at once."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A subject and the state that it has now. ``id`` is where a stream goes on behind it."""

    id: str
    topic: str
    subject: Bytes32
    state: str


@dataclass(frozen=True, slots=True)
class Missed:
    """The server no longer knows what came since the last id: read the lists again. The stream goes on from now."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Message:
    id: str
    event: str
    data: str


class ChangeStream:
    """The streams of one backend. ``pause`` waits for some seconds."""

    def __init__(
        self,
        url: str,
        *,
        seconds: float = PART_SECONDS,
        transport: httpx.BaseTransport | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url, self._pause = url.rstrip("/"), pause
        self._http = HttpClient(seconds=seconds, transport=transport)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def follow(
        self, topics: Iterable[str] = TOPICS, subject: Bytes32 | None = None, last_id: str | None = None
    ) -> Generator[Changed | Missed, None, None]:
        """Each change of these topics, once and in order, for ever; those of one subject alone where it is named.

        Begins now, or behind ``last_id``.

        Raises:
            ServiceUnavailable: the first part fails, or :data:`MOST_FAILURES` in a row.
            ServiceRefused: the server refuses, or sends what is no such stream.
        """
        query = {"topics": ",".join(topics)} | ({} if subject is None else {"subject": str(subject)})
        position, failures = last_id or "", MOST_FAILURES - 1
        while True:
            heard, quiet, why = False, True, "it ends the stream at once"
            try:
                for message in self._part(query, position):
                    heard, position = True, message.id or position
                    if (found := _change(message)) is not None:
                        quiet = False
                        yield found
            except AnswerTooLarge:
                pass  # a part is over
            except NoAnswer as error:
                why = error.detail
            failures = 0 if heard else failures + 1
            if failures >= MOST_FAILURES:
                raise ServiceUnavailable(MARKET_API, redacted(self._url), why)
            self._pause(max(_QUIET_PAUSE if quiet else 0.0, min(_LONGEST_PAUSE, 2.0**failures - 1)))

    def _part(self, query: dict[str, str], position: str) -> Iterator[_Message]:
        headers = {"Last-Event-ID": position} if position else {}
        try:
            with self._http.ask(
                "GET", f"{self._url}/v1/events", limit=PART_BYTES, headers=headers, params=query
            ) as answer:
                if answer.status in (429, 502, 503, 504):
                    raise NoAnswer(self._url, f"HTTP {answer.status}")
                if not answer.is_success:
                    raise _refusal(answer.status, answer.error_body())
                yield from messages(answer.pieces())
        except EncodedAnswer as error:
            raise ServiceRefused(MARKET_API, "events", error.message, error.remedy) from error


def _refusal(status: int, body: bytes) -> ServiceRefused:
    """What the server says is wrong with the question, as its problem document has it."""
    try:
        problem = decode(Problem, body)
    except MalformedDocument:
        problem = Problem(title=f"HTTP {status}", detail=body[:200].decode("utf-8", "replace"))
    said = ": ".join(part for part in (problem.title, problem.detail) if part)
    return ServiceRefused(MARKET_API, "events", said, problem.remedy)


def messages(pieces: Iterable[bytes]) -> Iterator[_Message]:
    """The messages of an event stream; one without data has an id alone. Each byte is looked at once.

    Raises:
        ServiceRefused: a line is longer than any, or no text; an id is not of at most 40 visible ASCII characters.
    """
    found: dict[str, str] = {}
    for line in _lines(pieces):
        if not line:
            if found:
                yield _Message(_id(found.get("id", "")), found.get("event", ""), found.get("data", ""))
            found = {}
            continue
        name, _, value = line.partition(":")
        if name in ("id", "event", "data"):
            found[name] = value.removeprefix(" ")


def _id(text: str) -> str:
    if _ID.fullmatch(text) is None:
        raise ServiceRefused(MARKET_API, "events", f"an id that is none: {text[:40]!r}", "ask another server")
    return text


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    left = b""
    for piece in pieces:
        *whole, left = (left + piece).split(b"\n")
        for line in whole:
            yield _text(line)
        if len(left) > LONGEST_LINE:
            raise ServiceRefused(MARKET_API, "events", f"a line of over {LONGEST_LINE} bytes", "ask another server")


def _text(line: bytes) -> str:
    try:
        return line.removesuffix(b"\r")[:LONGEST_LINE].decode()
    except UnicodeDecodeError:
        raise ServiceRefused(MARKET_API, "events", "a line that is no text", "ask another server") from None


def _change(message: _Message) -> Changed | Missed | None:
    if message.event in ("", "end"):
        return None
    try:
        if message.event == "reset":
            return Missed(message.id, decode(StreamReason, message.data).reason)
        found = decode(SubjectState, message.data)
    except MalformedDocument as error:
        raise ServiceRefused(MARKET_API, "events", error.message, "ask another server") from error
    return Changed(message.id, message.event, found.subject, found.state)
