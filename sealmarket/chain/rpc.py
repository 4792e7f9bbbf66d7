"""JSON-RPC over HTTP: one request at a time, bounded, with errors told apart by what a caller can do about them.

The library speaks the wire protocol itself, with ``eth_abi`` for encoding: every read here is one of a dozen
methods, each pinned to a block, and what a node answers is checked before it is used.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from sealmarket.chain.errors import ChainUnavailable, NodeDistrusted, RpcRefused

TIMEOUT_SECONDS = 20.0
_RETRY_CODES = {-32005, -32002, 429}
"""Rate limited, resource unavailable, too many requests: later, not no."""
_QUANTITY = re.compile(r"0x(?:0|[1-9a-f][0-9a-f]{0,63})", re.IGNORECASE)
_DATA = re.compile(r"0x(?:[0-9a-f]{2})*", re.IGNORECASE)


class Rpc:
    """One node, by URL."""

    def __init__(self, url: str, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self.url = url
        self._numbers = itertools.count(1)
        # A proxy from the environment has no business between us and a node on this machine.
        self._http = httpx.Client(timeout=timeout, trust_env=not is_loopback(url))

    def call(self, method: str, *params: object) -> Any:
        """The result of one method.

        Raises:
            ChainUnavailable: no answer, a broken one, or "later".
            RpcRefused: the node answered with an error.
        """
        number = next(self._numbers)
        body = {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}
        try:
            response = self._http.post(
                self.url, content=msgspec.json.encode(body), headers={"content-type": "application/json"}
            )
        except httpx.HTTPError as error:
            raise ChainUnavailable(self.url, f"{type(error).__name__}: {error}") from error
        return self._result(method, response)

    def _result(self, method: str, response: httpx.Response) -> Any:
        try:
            answer = msgspec.json.decode(response.content)
        except msgspec.MsgspecError as error:
            raise ChainUnavailable(self.url, f"HTTP {response.status_code}, not JSON") from error
        if not isinstance(answer, dict):
            raise ChainUnavailable(self.url, f"HTTP {response.status_code}, not a JSON-RPC answer")
        problem = answer.get("error")
        if isinstance(problem, dict):
            code, detail = int(problem.get("code", 0)), str(problem.get("message", ""))
            if code in _RETRY_CODES or response.status_code == 429:
                raise ChainUnavailable(self.url, detail)
            raise RpcRefused(method, code, detail[:500], problem.get("data"))
        if response.status_code != 200 or "result" not in answer:
            raise ChainUnavailable(self.url, f"HTTP {response.status_code} without a result")
        return answer["result"]

    def replace_transport(self, transport: httpx.BaseTransport) -> None:
        """Send requests elsewhere: to a twin of a node."""
        self._http.close()
        self._http = httpx.Client(transport=transport)

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()


def is_loopback(url: str) -> bool:
    """Whether the URL names this machine by its loopback interface."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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
