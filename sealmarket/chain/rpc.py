"""JSON-RPC to a chain by one node or several: each is asked where the one before fails.

1. A node's chain id is compared before any other answer of it is used, and again after it did not answer.
2. A node that does not answer, follows another chain or contradicts itself is left for the next one. What was sent to
   a node as a transaction is sent to no other: the sender alone knows what may be sent twice.
3. Answers that must fit each other come from one node: :meth:`Rpc.on_one`.
4. A node that asks for patience gets it for a bounded time. One that refuses without saying why is asked again as
   often; for logs it is not, of which fewer are asked for instead. So is one that shows nothing where a block is:
   behind one address several replicas answer, and the next one may have it.
5. What other nodes say beside the one that is asked: :meth:`Rpc.elsewhere`. :mod:`sealmarket.chain.agreement` compares.
6. A *look* at the chain (:meth:`Rpc.begin_look`, one for each thread) gives each node :data:`LOOK_SECONDS` in all. One
   that took more is asked no more in it while enough others answered in time, and rests: the longer, the more often. So
   one that gives each answer just in time slows the looks of a while once, and never all of them.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from sealmarket.chain.endpoints import endpoints_of
from sealmarket.chain.errors import (
    ChainError,
    ChainUnavailable,
    NodeDistrusted,
    NodeRefused,
    RateLimited,
    RpcRefused,
    TooSlow,
    WrongChain,
)
from sealmarket.chain.node import TIMEOUT_SECONDS, RpcNode
from sealmarket.http import is_loopback
from sealmarket_enclave.protocol.codec import Bytes32

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
WAITS = (0.25, 0.5, 1.0)
"""Seconds before a request is repeated that came too often, or was refused without a reason."""
LONGEST_WAIT = 5.0
"""Seconds; a node that asks for more is left."""
REST_SECONDS = 60.0
"""For how long a node that failed is not asked beside another one: it must not hold up each comparison."""
LOOK_SECONDS = 30.0
"""For all answers of one node in one look, where others do without it."""
LONGEST_REST = 960.0
"""Seconds that a node rests which was too slow for several looks; the first time :data:`REST_SECONDS`, then doubled."""
_MOST_DOUBLED = 4
"""How often: more than that is beyond :data:`LONGEST_REST`, and at last beyond any number of seconds."""
_REMEMBERED = 3600.0
"""Seconds after which a node's earlier slowness counts no more."""
_SENDING, _LOGS, _BLOCK = "eth_sendRawTransaction", "eth_getLogs", "eth_getBlockByNumber"
_QUANTITY = re.compile(r"0x(?:0|[1-9a-f][0-9a-f]{0,63})", re.IGNORECASE)
_DATA = re.compile(r"0x(?:[0-9a-f]{2})*+", re.IGNORECASE)
log = logging.getLogger(__name__)


class _Look(threading.local):
    """One thread's look, by URL: the seconds that each node took, which answered, which answered in time in the look
    before and were not asked yet, which were found slow; and how many must answer.
    """

    least: int = 0
    spent: dict[str, float]
    answered: set[str]
    before: set[str]
    slow: set[str]

    def begin(self, least: int) -> None:
        self.before = {url for url in self.answered if self.spent[url] <= LOOK_SECONDS} if self.least else set()
        self.least, self.spent, self.answered, self.slow = least, {}, set(), set()

    def note(self, url: str, seconds: float, *, answered: bool) -> None:
        if self.least:
            self.spent[url] = self.spent.get(url, 0.0) + seconds
            self.before.discard(url)
            (self.answered.add if answered else self.answered.discard)(url)

    def is_over(self, url: str) -> bool:
        """Whether a node took more than its share, and enough others answered within theirs."""
        if not self.least or self.spent.get(url, 0.0) <= LOOK_SECONDS:
            return False
        in_time = {other for other in self.answered if self.spent[other] <= LOOK_SECONDS}
        return len((in_time | self.before) - {url}) >= self.least

    def is_new(self, url: str) -> bool:
        """Whether a node was not yet found slow in this look."""
        known = url in self.slow
        self.slow.add(url)
        return not known


class Rpc:
    """The nodes of one chain. Threads may share it.

    Args:
        where: as :func:`~sealmarket.chain.endpoints.endpoints_of` takes it.
        chain_id: what each node must say; None where it is not known yet.

    Raises:
        EndpointsRefused: ``where`` names no nodes.
    """

    def __init__(
        self,
        where: str,
        *,
        chain_id: int | None = None,
        timeout: float = TIMEOUT_SECONDS,
        pause: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic, self._look = monotonic, _Look()
        self._nodes = [RpcNode(address, timeout) for address in endpoints_of(where)]
        for place, node in enumerate(self._nodes):
            if node.url in {before.url for before in self._nodes[:place]}:
                node.url += f" ({place + 1})"  # keys are not shown, so that two accounts at one provider look alike
        self._chain_id = chain_id
        self._pause = pause
        self._current = 0
        self._own = threading.local()

    @property
    def url(self) -> str:
        """A node as it may be printed: the first, or one that is not on this machine where there is one."""
        return next((node.url for node in self._nodes if not is_loopback(node.url)), self._nodes[0].url)

    @property
    def asked(self) -> str:
        """The node that is asked now, as it may be printed."""
        return (self._pinned or self._nodes[self._current]).url

    @property
    def names(self) -> tuple[str, ...]:
        """All nodes as they may be printed, in the order in which they were named; no two alike."""
        return tuple(node.url for node in self._nodes)

    @property
    def count(self) -> int:
        """How many nodes there are."""
        return len(self._nodes)

    @property
    def several(self) -> bool:
        """Whether there is another node to ask."""
        return len(self._nodes) > 1

    def call(self, method: str, *params: object) -> Any:
        """The result of one method.

        Raises:
            ChainUnavailable: no node answers; the error is the first one's.
            NodeDistrusted: as above, where it follows another chain.
            RpcRefused: a node answered with an error.
        """
        return self._anywhere(lambda node: self._ask(node, method, list(params)), again=method != _SENDING)

    def confirm(self) -> None:
        """Compare the chain id. Raises :class:`WrongChain`, :class:`ChainUnavailable`."""
        self._anywhere(self._confirm)

    def on_one(self, read: Callable[[], T]) -> T:
        """What ``read`` returns, with every call in it answered by one node; it runs again where that node fails."""
        if self._pinned is not None:
            return read()

        def pinned(node: RpcNode) -> T:
            with self._only(node):
                return read()

        return self._anywhere(pinned)

    def elsewhere(self, read: Callable[[], T]) -> list[T]:
        """What ``read`` returns at each node but the one that is asked now. One that fails is left out."""
        asked = self._pinned or self._nodes[self._current]
        found = []
        for node in self._nodes:
            if node is asked or self._monotonic() < node.rests_until:
                continue
            try:
                with self._only(node):
                    found.append(read())
            except (ChainUnavailable, NodeDistrusted, RpcRefused) as error:
                node.rests_until = self._monotonic() + REST_SECONDS
                log.warning("%s; it is not compared with for %g seconds", error, REST_SECONDS)
        return found

    def everywhere(
        self, read: Callable[[], T], least: int, failed: Callable[[str, ChainError], None]
    ) -> list[tuple[str, T]]:
        """What ``read`` returns at each node, by URL. One that fails is left out and handed to ``failed``. For a while
        it is asked only where fewer than ``least`` others answer.

        Raises:
            ChainUnavailable, NodeDistrusted, RpcRefused: of the first node, where none answers.
        """
        found: list[tuple[str, T]] = []
        first: ChainError | None = None
        now = self._monotonic()
        for node in sorted(self._heard(), key=lambda node: now < node.rests_until):
            if now < node.rests_until and len(found) >= least:
                continue
            try:
                with self._only(node):
                    found.append((node.url, read()))
            except (ChainUnavailable, NodeDistrusted, RpcRefused) as error:
                first = first or error
                node.rests_until = max(node.rests_until, self._monotonic() + REST_SECONDS)
                failed(node.url, error)
                continue
            if self._look.is_over(node.url):
                failed(node.url, self._too_slow(node))
            else:
                node.rests_until = float("-inf")
        if not found and first is not None:
            raise first
        return found

    def begin_look(self, least: int) -> None:
        """Count what each node takes from now on, for this thread. ``least``: how many do without the others."""
        self._look.begin(least)

    def rests(self, url: str) -> float:
        """For how many more seconds a node rests; 0 where it does not."""
        until = next(node.rests_until for node in self._nodes if node.url == url)
        return max(0.0, until - self._monotonic())

    def in_turn(self) -> list[str]:
        """The nodes that are not left out, in the order in which they are asked, those that rest last; named as
        :meth:`everywhere` does."""
        now = self._monotonic()
        return [node.url for _, node in sorted(self._in_turn(), key=lambda one: now < one[1].rests_until)]

    def at(self, url: str, read: Callable[[], T]) -> T:
        """What ``read`` returns at one node, named as :meth:`everywhere` names it."""
        with self._only(next(node for node in self._nodes if node.url == url)):
            return read()

    def prefer(self, url: str) -> None:
        """Ask this node first from now on."""
        self._current = next(place for place, node in enumerate(self._nodes) if node.url == url)

    def leave_out(self, url: str, seconds: float) -> None:
        """Ask a node nothing for a while, unless all are left out."""
        for node in self._nodes:
            if node.url == url:
                node.left_until = self._monotonic() + seconds

    def _heard(self) -> list[RpcNode]:
        now = self._monotonic()
        return [node for node in self._nodes if now >= node.left_until] or self._nodes

    def mount(self, transport: httpx.BaseTransport) -> None:
        """Send requests elsewhere: to a twin of a node."""
        for node in self._nodes:
            node.mount(transport)

    def close(self) -> None:
        """Close the connections."""
        for node in self._nodes:
            node.close()

    @contextmanager
    def _only(self, node: RpcNode) -> Iterator[None]:
        before, self._own.node = self._pinned, node
        try:
            yield
        finally:
            self._own.node = before

    @property
    def _pinned(self) -> RpcNode | None:
        return getattr(self._own, "node", None)

    def _anywhere(self, read: Callable[[RpcNode], T], *, again: bool = True) -> T:
        if (pinned := self._pinned) is not None:
            return read(pinned)
        first: ChainUnavailable | NodeDistrusted | None = None
        for index, node in self._in_turn():
            try:
                return read(node)
            except (ChainUnavailable, NodeDistrusted) as error:
                self._leave(index, error)
                first = first or error
                if not again:
                    break
        assert first is not None
        raise first

    def _in_turn(self) -> Iterator[tuple[int, RpcNode]]:
        start, heard = self._current, self._heard()
        for step in range(len(self._nodes)):
            index = (start + step) % len(self._nodes)
            if self._nodes[index] in heard:
                yield index, self._nodes[index]

    def _leave(self, index: int, error: ChainUnavailable | NodeDistrusted) -> None:
        if isinstance(error, ChainUnavailable):
            self._nodes[index].confirmed = False  # what comes back there may be another
        if self.several and self._current == index:
            self._current = (index + 1) % len(self._nodes)
            log.warning("%s; asking %s from now on", error, self._nodes[self._current].url)

    def _ask(self, node: RpcNode, method: str, params: list[object]) -> Any:
        if self._look.is_over(node.url):
            raise self._too_slow(node)
        begun, answered = self._monotonic(), False
        try:
            self._confirm(node)
            found = self._patiently(node, method, params)
            answered = True
        finally:
            self._look.note(node.url, self._monotonic() - begun, answered=answered)
        return found

    def _too_slow(self, node: RpcNode) -> TooSlow:
        """Let a node rest that took more than its share of a look: once for each look, the longer the more often."""
        now = self._monotonic()
        if self._look.is_new(node.url):
            node.slow = node.slow + 1 if now - node.slow_at < _REMEMBERED else 0
            node.slow_at = now
            node.rests_until = now + min(LONGEST_REST, REST_SECONDS * 2 ** min(node.slow, _MOST_DOUBLED))
        spent = f"{self._look.spent[node.url]:.0f} s for one look at the chain, expected at most {LOOK_SECONDS:g} s"
        return TooSlow(node.url, spent)

    def _confirm(self, node: RpcNode) -> None:
        if self._chain_id is None or node.confirmed:
            return
        found = quantity(self._patiently(node, "eth_chainId", []), "chain id")
        if found != self._chain_id:
            raise WrongChain(self._chain_id, found)
        node.confirmed = True

    def _patiently(self, node: RpcNode, method: str, params: list[object]) -> Any:
        for wait in WAITS if method != _SENDING else ():
            try:
                found = node.call(method, params)
                if found is not None or method != _BLOCK:
                    return found
                self._pause(wait)
            except RateLimited as error:
                if error.wait > LONGEST_WAIT:
                    raise
                self._pause(max(wait, error.wait))
            except NodeRefused:
                if method == _LOGS:
                    raise
                self._pause(wait)
        return node.call(method, params)


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


def word(value: object, what: str) -> Bytes32:
    """JSON-RPC data of 32 bytes; raises :class:`NodeDistrusted` for anything else."""
    raw = data(value, what)
    if len(raw) != Bytes32.length:
        raise NodeDistrusted(what, "32 bytes", f"{len(raw)} bytes")
    return Bytes32(raw)
