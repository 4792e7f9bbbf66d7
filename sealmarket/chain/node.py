"""One JSON-RPC endpoint: a request, an answer, and errors typed by what a caller can do.

web3 spells requests; :mod:`sealmarket.http` and :func:`require_shallow` bound the answers. Nothing is retried here.
Words in an answer may hold bytes that are no text: those are written out. Providers answer with codes that are null or
words, and with pages for people: what its code does not distinguish from "later" is recognised by its text.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import msgspec

from sealmarket.chain.endpoints import EndpointAddress
from sealmarket.chain.errors import (
    AccessDenied,
    AnswerTooLong,
    ChainError,
    ChainUnavailable,
    NodeDistrusted,
    NodeRefused,
    NotAnEndpoint,
    RateLimited,
    RpcRefused,
    TooSlow,
)
from sealmarket.http import Answer, AnswerTooLarge, DeadlineExceeded, HttpClient, HttpError, NoAnswer, redacted
from sealmarket_enclave.protocol.codec import require_shallow

if TYPE_CHECKING:
    import httpx
    from web3.providers import JSONBaseProvider
    from web3.types import RPCEndpoint

TIMEOUT_SECONDS = 20.0
"""For a whole request."""
MAXIMUM_ANSWER = 64 << 20
"""Bytes of an answer; the logs of one full block are far fewer."""
_LATER = {-32005, -32002, 429}
"""Rate limited, resource unavailable, too many requests: later, not no."""
_RATE = re.compile(r"rate.?limit|too many request|slow down|throttl|per second|compute units|request limit|quota")
_RANGE = re.compile(r"result|range|response|blocks|logs")
_KEY = re.compile(r"api.?key|unauthori[sz]ed|authenticat|forbidden|access denied|project id|invalid (?:key|token)")
_NUMBER = re.compile(r"-?[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class _Heard:
    """What came over HTTP; ``body`` is the beginning only where the status is an error."""

    status: int
    kind: str
    wait: float
    body: bytes

    def shown(self) -> str:
        if not self.body.strip():
            return f"HTTP {self.status} with an empty body"
        what = "a page in HTML" if b"<html" in self.body[:1000].lower() else f"{self.kind or 'something'}"
        return f"HTTP {self.status} with {what}"


class RpcNode:
    """One node."""

    def __init__(self, address: EndpointAddress, timeout: float = TIMEOUT_SECONDS) -> None:
        self.url = redacted(address.url)
        """As it may be printed."""
        self.confirmed = False
        """Whether the node has said that it follows the expected chain."""
        self.rests_until = float("-inf")
        """Until when it is not asked beside another node (monotonic seconds)."""
        self.slow, self.slow_at = 0, float("-inf")
        """How often it was too slow for a look of late, and when it was last (monotonic seconds)."""
        self.left_until = float("-inf")
        """Until when it is asked nothing, since it was found to lie (monotonic seconds)."""
        self._address = address
        self._timeout = timeout
        self._http = HttpClient(seconds=timeout)

    # web3 takes a while to import: a program that only reads types, files or proofs does without it.

    @cached_property
    def _json_rpc(self) -> JSONBaseProvider:
        from sealmarket import eth

        return eth.json_rpc()

    def call(self, method: str, params: list[object]) -> Any:
        """The result of one method.

        Raises:
            ChainUnavailable: no answer, a broken one, or "later"; the subclasses say more.
            AnswerTooLong: more than ``MAXIMUM_ANSWER`` bytes.
            RpcRefused: the node answered with an error.
            NodeDistrusted: its answer has half a character, which nothing that keeps or shows it could spell.
        """
        request = self._json_rpc.encode_rpc_request(cast("RPCEndpoint", method), params)
        return self._result(method, self._post(request))

    def mount(self, transport: httpx.BaseTransport) -> None:
        """Send requests elsewhere: to a twin of a node."""
        self._http.close()
        self._http = HttpClient(seconds=self._timeout, transport=transport)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _post(self, request: bytes) -> _Heard:
        headers = {**self._address.headers, "content-type": "application/json"}
        try:
            with self._http.ask(
                "POST", self._address.url, limit=MAXIMUM_ANSWER, content=request, headers=headers
            ) as answer:
                return _heard(answer)
        except AnswerTooLarge as error:
            raise AnswerTooLong(self.url, error.limit) from error
        except DeadlineExceeded as error:
            raise TooSlow(self.url, error.detail) from error
        except HttpError as error:
            detail = error.detail if isinstance(error, NoAnswer) else error.message
            raise ChainUnavailable(self.url, detail) from error

    def _result(self, method: str, heard: _Heard) -> Any:
        if heard.status in (401, 403):
            raise AccessDenied(self.url, f"HTTP {heard.status}")
        if heard.status == 429:
            raise RateLimited(self.url, "HTTP 429", heard.wait)
        answer = _document(heard.body)
        if isinstance(answer, dict) and answer.get("error") is not None:
            raise self._problem(method, answer["error"])
        if heard.status in (404, 405, 410) or 300 <= heard.status < 400:
            raise NotAnEndpoint(self.url, heard.shown())
        if not 200 <= heard.status < 300:
            raise NodeRefused(self.url, f"HTTP {heard.status}")
        if not isinstance(answer, dict) or "result" not in answer:
            raise NotAnEndpoint(self.url, heard.shown())
        _require_characters(method, answer["result"], heard.body)
        return answer["result"]

    def _problem(self, method: str, said: object) -> ChainError:
        problem = said if isinstance(said, dict) else {"message": said}
        code, detail, data = problem.get("code"), _text(problem.get("message", ""))[:500], problem.get("data")
        number = _number(code)
        refused = RpcRefused(method, number or 0, detail, data)
        words = f"{code if number is None else ''} {detail}".lower()
        if data is not None or "revert" in words:
            return refused  # a contract's own words say nothing about the node
        if number in _LATER and not _RANGE.search(words):
            return RateLimited(self.url, detail)
        if _RATE.search(words):
            return RateLimited(self.url, detail)
        if _KEY.search(words):
            return AccessDenied(self.url, detail)
        return refused if number is not None else NodeRefused(self.url, detail or "an error without a code")


def _heard(answer: Answer) -> _Heard:
    body = answer.body() if answer.is_success else answer.error_body()
    kind = _text(answer.headers.get("content-type", "").split(";")[0].strip()[:60])
    wait = answer.headers.get("retry-after", "")
    return _Heard(answer.status, kind, float(wait) if re.fullmatch(r"[0-9]{1,6}", wait) else 0.0, body)


def _document(raw: bytes) -> object:
    """The JSON value of a body; None for anything else."""
    try:
        require_shallow(raw)
        return json.loads(raw.decode("utf-8", "replace"))  # msgspec takes no half characters
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _require_characters(method: str, result: object, body: bytes) -> None:
    """Refuse half characters, which JSON can only escape. Everything behind this may encode what a node said."""
    if b"\\u" not in body:
        return
    try:
        json.dumps(result, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise NodeDistrusted(f"answer to {method}", "characters", "half a character") from error


def _number(code: object) -> int | None:
    if isinstance(code, int) and not isinstance(code, bool):
        return code
    return int(code) if isinstance(code, str) and _NUMBER.fullmatch(code) else None


def _text(value: object) -> str:
    """Words of a node, with half characters written out: journals and terminals take nothing else."""
    return str(value).encode("utf-8", "backslashreplace").decode()
