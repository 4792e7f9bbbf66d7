"""JSON-RPC over HTTP through web3's provider: one request at a time, with errors told apart by what a caller can do.

Only the transport is web3's. Reads are a dozen methods, each pinned to a block, and what a node answers is checked here
before it is used; web3's own retries are off, since the callers know what may be asked twice.
"""

from __future__ import annotations

import ipaddress
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sealmarket.chain.errors import ChainUnavailable, NodeDistrusted, RpcRefused

if TYPE_CHECKING:
    import requests
    from requests.adapters import BaseAdapter
    from web3 import HTTPProvider

TIMEOUT_SECONDS = 20.0
_RETRY_CODES = {-32005, -32002, 429}
"""Rate limited, resource unavailable, too many requests: later, not no."""
_QUANTITY = re.compile(r"0x(?:0|[1-9a-f][0-9a-f]{0,63})", re.IGNORECASE)
_DATA = re.compile(r"0x(?:[0-9a-f]{2})*", re.IGNORECASE)


class Rpc:
    """One node, by URL."""

    def __init__(self, url: str, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self.url = url
        self._timeout = timeout

    # web3 takes a second to import: whoever only reads types, files or proofs of this package does without it.

    @cached_property
    def _session(self) -> requests.Session:
        import requests

        session = requests.Session()
        # A proxy from the environment has no business between us and a node on this machine.
        session.trust_env = not is_loopback(self.url)
        return session

    @cached_property
    def _provider(self) -> HTTPProvider:
        from web3 import HTTPProvider

        return HTTPProvider(
            self.url,
            request_kwargs={"timeout": self._timeout},
            session=self._session,
            exception_retry_configuration=None,
        )

    def call(self, method: str, *params: object) -> Any:
        """The result of one method.

        Raises:
            ChainUnavailable: no answer, a broken one, or "later".
            RpcRefused: the node answered with an error.
        """
        from requests import RequestException
        from web3.exceptions import Web3Exception
        from web3.types import RPCEndpoint

        try:
            answer: object = self._provider.make_request(RPCEndpoint(method), list(params))
        except (RequestException, Web3Exception, ValueError) as error:
            raise ChainUnavailable(self.url, _why(error)) from error
        if not isinstance(answer, dict):
            raise ChainUnavailable(self.url, "not a JSON-RPC answer")
        problem = answer.get("error")
        if isinstance(problem, dict):
            code, detail = int(problem.get("code", 0)), str(problem.get("message", ""))
            if code in _RETRY_CODES:
                raise ChainUnavailable(self.url, detail)
            raise RpcRefused(method, code, detail[:500], problem.get("data"))
        if "result" not in answer:
            raise ChainUnavailable(self.url, "an answer without a result")
        return answer["result"]

    def mount(self, adapter: BaseAdapter) -> None:
        """Send requests elsewhere: to a twin of a node."""
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)

    def close(self) -> None:
        """Give the connections back."""
        self._session.close()


def _why(error: BaseException) -> str:
    """The innermost error: what libraries wrap around it tells their story, not the caller's."""
    while error.__context__ is not None:
        error = error.__context__
    return f"{type(error).__name__}: {error}"


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
