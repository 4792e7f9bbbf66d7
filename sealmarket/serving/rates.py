"""Token buckets by peer, in bounded memory. Threads may share them."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache

MOST_PEERS = 10_000
"""Beyond it, the peer that was idle longest starts with a full bucket again."""
UNKNOWN_PEER = "unknown"


class Rates:
    """Lets each peer do ``per_second`` things a second in the long run, and ``burst`` at once."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._burst, self._clock = per_second, float(burst), clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_for(self, peer: str) -> float:
        """Take one token: 0 when there was one, else after how many seconds there is."""
        with self._lock:
            tokens, now = self._tokens(peer)
            taken = tokens >= 1
            self._keep(peer, tokens - 1 if taken else tokens, now)
            return 0.0 if taken else (1 - tokens) / self._per_second

    def charge(self, peer: str, tokens: float) -> None:
        """Take tokens for what a peer was given already; it then waits for at most as long as a whole burst takes."""
        with self._lock:
            left, now = self._tokens(peer)
            self._keep(peer, max(left - tokens, -self._burst), now)

    def _tokens(self, peer: str) -> tuple[float, float]:
        now = self._clock()
        tokens, since = self._buckets.pop(peer, (self._burst, now))
        return min(self._burst, tokens + (now - since) * self._per_second), now

    def _keep(self, peer: str, tokens: float, now: float) -> None:
        self._buckets[peer] = (tokens, now)
        if len(self._buckets) > MOST_PEERS:
            self._buckets.popitem(last=False)


@lru_cache(MOST_PEERS)
def peer_of(address: str) -> str:
    """Who counts as one peer: an IPv4 address, or the /64 of an IPv6 address, of which one host has plenty."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return UNKNOWN_PEER
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found.packed[:8] + bytes(8), 64)))
    return str(found)


def forwarded_peer(socket_address: str, forwarded: str, trusted: tuple[str, ...]) -> str:
    """The peer of a request: the socket's, or behind trusted proxies the last address that is none of them."""
    if socket_address not in trusted:
        return peer_of(socket_address)
    hops = [hop.strip() for hop in forwarded.split(",") if hop.strip()]
    return peer_of(next((hop for hop in reversed(hops) if hop not in trusted), socket_address))
