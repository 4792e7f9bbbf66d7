"""JSON-RPC over the HTTP boundary: one request at a time, with errors typed by what a caller can do.

web3 spells requests; :mod:`sealmarket.http` and :func:`require_shallow` bound the answers. Reads are a dozen methods,
each pinned to a block, and what a node answers is checked here before it is used. Nothing is retried here, since the
callers know what may be asked twice. Words in an answer may hold bytes that are no text: those are written out.
"""

from __future__ import annotations

import json
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from sealmarket.chain.errors import AnswerTooLong, ChainUnavailable, NodeDistrusted, RpcRefused
from sealmarket.http import AnswerTooLarge, HttpClient, HttpError
from sealmarket_enclave.protocol.codec import require_shallow

if TYPE_CHECKING:
    import httpx
    from web3.providers import JSONBaseProvider

TIMEOUT_SECONDS = 20.0
"""For a whole request."""
MAXIMUM_ANSWER = 64 << 20
"""Bytes of an answer; the logs of one full block are far fewer."""
_RETRY_CODES = {-32005, -32002, 429}
"""Rate limited, resource unavailable, too many requests: later, not no."""
_QUANTITY = re.compile(r"0x(?:0|[1-9a-f][0-9a-f]{0,63})", re.IGNORECASE)
_DATA = re.compile(r"0x(?:[0-9a-f]{2})*+", re.IGNORECASE)


class Rpc:
    """One node, by URL."""

    def __init__(self, url: str, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self.url = url
        self._timeout = timeout
        self._http = HttpClient(seconds=timeout, base=url)

    # web3 takes a second to import: a program that only reads types, files or proofs does without it.

    @cached_property
    def _json_rpc(self) -> JSONBaseProvider:
        from web3.providers import JSONBaseProvider

        return JSONBaseProvider()

    def call(self, method: str, *params: object) -> Any:
        """The result of one method.

        Raises:
            ChainUnavailable: no answer, a broken one, or "later".
            AnswerTooLong: more than ``MAXIMUM_ANSWER`` bytes.
            RpcRefused: the node answered with an error.
        """
        from web3.types import RPCEndpoint

        request = self._json_rpc.encode_rpc_request(RPCEndpoint(method), list(params))
        answer = self._read(self._post(request))
        if not isinstance(answer, dict):
            raise ChainUnavailable(self.url, "not a JSON-RPC answer")
        problem = answer.get("error")
        if isinstance(problem, dict):
            code, detail = problem.get("code"), _text(problem.get("message", ""))[:500]
            if code in _RETRY_CODES:
                raise ChainUnavailable(self.url, detail)
            raise RpcRefused(method, code if isinstance(code, int) else 0, detail, problem.get("data"))
        if "result" not in answer:
            raise ChainUnavailable(self.url, "an answer without a result")
        return answer["result"]

    def _post(self, request: bytes) -> bytes:
        headers = {"content-type": "application/json"}
        try:
            with self._http.ask("POST", self.url, limit=MAXIMUM_ANSWER, content=request, headers=headers) as answer:
                if not answer.is_success:
                    raise ChainUnavailable(self.url, f"HTTP {answer.status}")
                return answer.body()
        except AnswerTooLarge as error:
            raise AnswerTooLong(self.url, error.limit) from error
        except HttpError as error:
            raise ChainUnavailable(self.url, error.message) from error

    def _read(self, raw: bytes) -> object:
        try:
            require_shallow(raw)
            return json.loads(raw.decode("utf-8", "replace"))  # msgspec takes no half characters
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise ChainUnavailable(self.url, f"not JSON: {str(error)[:200]}") from error

    def mount(self, transport: httpx.BaseTransport) -> None:
        """Send requests elsewhere: to a twin of a node."""
        self._http.close()
        self._http = HttpClient(seconds=self._timeout, transport=transport)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _text(value: object) -> str:
    """Words of a node, with half characters written out: journals and terminals take nothing else."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def quantity(value: object, what: str) -> int:
    """A JSON-RPC quantity as a number; raises :class:`NodeDistrusted` for anything else."""
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise NodeDistrusted(what, "a 0x quantity", repr(value)[:80])
    return int(value, 16)


def data(value: object, what: str) -> bytes:
    """JSON-RPC data as bytes; raises :class:`NodeDistrusted` for anything else."""
    if not isinstance(value, str) or not _DATA.fullmatch(value):
        raise NodeDistrusted(what, "0x hex", repr(value)[:80])
    return bytes.fromhex(value[2:])
