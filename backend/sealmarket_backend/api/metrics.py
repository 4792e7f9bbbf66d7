"""Metrics for Prometheus. Labels come from bounded sets: the routes, their methods and statuses; never an address."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from sealmarket.protocol.market import Readiness
from sealmarket.serving.requests import App, Message, Receive, Scope, Send

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
OTHER = "other"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Metrics:
    """The metrics of one application, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        made: dict[str, Any] = {"registry": self._registry, "namespace": "sealmarket"}
        self._requests = Counter("http_requests", "Requests answered.", ("method", "route", "status"), **made)
        self._seconds = Histogram(
            "http_request_seconds", "Time of an answer, files and streams too.", ("route",), buckets=SECONDS, **made
        )
        self._streams = Gauge("streams", "Streams of changes that are open.", **made)
        self._ready = Gauge("ready", "1 where the backend can do its work.", **made)
        self._leader = Gauge("leader", "1 where this process matches and keeps.", **made)
        self._age = Gauge("chain_head_age_seconds", "Age of the chain's newest block; -1 if unknown.", **made)
        self._lag = Gauge("index_lag_blocks", "Final blocks that the index has not read; -1 if unknown.", **made)
        self._gas = Gauge("keeper_gas_gwei", "Gas that the keeper gave today (UTC), and may give.", ("what",), **made)
        self._ending = Gauge("ends_soon", "What ends within a week, or holds no more, an hour ago.", ("kind",), **made)
        self._store = Gauge("store_bytes", "Bytes of the store.", ("what",), **made)
        self._children: dict[tuple[str, str, int], Callable[[], None]] = {}
        self._times: dict[str, Callable[[float], None]] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """One answered request. ``route`` is the path of a route, or :data:`OTHER`."""
        key = (method if method in METHODS else OTHER, route, status)
        if (add := self._children.get(key)) is None:
            add = self._children[key] = self._requests.labels(*map(str, key)).inc
        add()
        if (observe := self._times.get(route)) is None:
            observe = self._times[route] = self._seconds.labels(route).observe
        observe(seconds)

    def text(
        self, found: Readiness, streams: int, store: dict[str, int], gas: dict[str, int], ending: dict[str, int]
    ) -> bytes:
        """All of them, in the text format of Prometheus. ``gas``: what the keeper ``spent`` and its ``limit``;
        ``ending``: what ends soon, by its kind."""
        for kind, count in ending.items():
            self._ending.labels(kind).set(count)
        for name, gwei in gas.items():
            self._gas.labels(name).set(gwei)
        self._streams.set(streams)
        self._ready.set(found.ready)
        self._leader.set(found.leader)
        self._age.set(-1 if found.head_age_seconds is None else found.head_age_seconds)
        self._lag.set(-1 if found.index_lag_blocks is None else found.index_lag_blocks)
        for name, size in store.items():
            self._store.labels(name.removeprefix("bytes").lower()).set(size)
        return generate_latest(self._registry)


class Counted:
    """An application whose answers are counted."""

    def __init__(self, app: App, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), [500]

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", OTHER)
            self._metrics.count(scope["method"], route, status[0], time.perf_counter() - began)
