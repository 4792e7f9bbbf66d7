"""One market's API over HTTP."""

from __future__ import annotations

import httpx

from sealmarket.market_api.jobs import Jobs
from sealmarket.market_api.orders import Orders
from sealmarket.market_api.paging import MARKET_API, page_of
from sealmarket.market_api.proposals import Proposals
from sealmarket.market_api.services import Services
from sealmarket.market_api.session import ApiSession, Identity
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.market import AssetPage, Expiry, Warnings
from sealmarket.service.connection import TIMEOUT_SECONDS, Connection
from sealmarket_enclave.protocol.codec import Address


class MarketApi:
    """``orders``, ``jobs``, ``services`` and ``proposals`` of a backend. ``timeout`` in seconds. Threads may share it.

    Every method may raise ItemNotFound, ServiceUnavailable and ServiceRefused.
    """

    def __init__(
        self, url: str, *, timeout: float = TIMEOUT_SECONDS, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._http = Connection(url, service=MARKET_API, timeout=timeout, transport=transport)
        self.orders = Orders(self._http)
        self.jobs = Jobs(self._http)
        self.services = Services(self._http)
        self._session = ApiSession(self._http)
        self.proposals = Proposals(self._http, self._session)

    @property
    def url(self) -> str:
        """The base URL."""
        return self._http.base

    def sign_in_as(self, identity: Identity) -> None:
        """Sign in as an account as soon as something private to it is asked for."""
        self._session.use(identity)

    def sign_out(self) -> None:
        """End the session, if there is one."""
        self._session.end()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def book(self) -> AddressBook:
        """The address book that this server works with. Never rely on it without comparing."""
        return self._http.read("/v1/book", AddressBook, what="address book")

    def warnings(self, account: Address) -> tuple[Expiry, ...]:
        """What of an account's ends within a week, or holds no more. Private to the account: it is for the one that
        :meth:`sign_in_as` named."""
        headers = self._session.headers()
        wanted = {"account": account}
        page: Warnings = page_of(self._http, "/v1/warnings", Warnings, wanted, what="warnings", headers=headers)
        return page.items

    def catalogue(self, **wanted: object) -> AssetPage:
        """Search the assets on sale: one page.

        Args:
            wanted: text, column, purpose, kind, owner, least and most (prices), cursor and limit; those that are None
                are not asked. The backend's ``catalogue`` says what each means.
        """
        page: AssetPage = page_of(self._http, "/v1/catalogue", AssetPage, wanted, what="catalogue")
        return page
