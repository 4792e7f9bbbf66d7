"""One market's API over HTTP."""

from __future__ import annotations

import httpx

from sealmarket.market_api.jobs import Jobs
from sealmarket.market_api.orders import Orders
from sealmarket.market_api.proposals import Proposals
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.wire import AssetPage
from sealmarket.service.connection import TIMEOUT_SECONDS, Connection

MARKET_API = "market's API"
"""How errors name the service."""


class MarketApi:
    """``orders``, ``jobs`` and ``proposals`` of one backend. ``timeout`` in seconds. Threads may share it.

    Every method may raise ItemNotFound, ServiceUnavailable and ServiceRefused.
    """

    def __init__(
        self, url: str, *, timeout: float = TIMEOUT_SECONDS, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._http = Connection(url, service=MARKET_API, timeout=timeout, transport=transport)
        self.orders = Orders(self._http)
        self.jobs = Jobs(self._http)
        self.proposals = Proposals(self._http)

    @property
    def url(self) -> str:
        """The base URL."""
        return self._http.base

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def book(self) -> AddressBook:
        """The address book that this server works with. Never rely on it without comparing."""
        return self._http.read("/v1/book", AddressBook, what="address book")

    def assets(self) -> tuple[dict[str, object], ...]:
        """The assets that the backend has indexed, as it describes them; read the chain before relying on one."""
        return self._http.read("/v1/assets", tuple[dict[str, object], ...], what="assets")

    def catalogue(self, **wanted: object) -> AssetPage:
        """Search the assets on sale: one page.

        Args:
            wanted: text, column, purpose, kind, owner, least and most (prices), before and limit; those that are None
                are not asked. The backend's ``catalogue`` says what each means.
        """
        query = httpx.QueryParams({name: str(value) for name, value in wanted.items() if value is not None})
        return self._http.read(f"/v1/catalogue?{query}", AssetPage, what="catalogue")
