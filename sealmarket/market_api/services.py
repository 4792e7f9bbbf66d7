"""Services of one market, and where they are reached. The server is not trusted: readers check signature and chain."""

from __future__ import annotations

from sealmarket.market_api.paging import MARKET_API, page_of
from sealmarket.protocol.market import ServicePage
from sealmarket.protocol.services import SignedServiceAddress
from sealmarket.service.connection import Connection
from sealmarket.service.errors import ServiceRefused
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import AssetId, JobId


class Services:
    """The services of one market. Every method may raise ItemNotFound, ServiceUnavailable and ServiceRefused."""

    def __init__(self, connection: Connection) -> None:
        self._http = connection

    def post(self, signed: SignedServiceAddress) -> None:
        """Say where a service is reached. Twice is the same as once."""
        self._http.send("POST", "/v1/services", signed, what="address of a service")

    def list(
        self, *, asset: AssetId | None = None, workload: Bytes32 | None = None, cursor: str | None = None
    ) -> ServicePage:
        """One page of the services that fit all that is given, newest first, unchecked."""
        wanted = {"asset": asset, "workload": workload, "cursor": cursor}
        page: ServicePage = page_of(self._http, "/v1/services", ServicePage, wanted, what="services")
        return page

    def address(self, job_id: JobId) -> SignedServiceAddress:
        """Where one service is reached; its signature is unchecked. Raises ServiceRefused for another than that."""
        what = "address of a service"
        found = self._http.read(f"/v1/services/{job_id}", SignedServiceAddress, what=what)
        if found.address.job_id != job_id:
            raise ServiceRefused(MARKET_API, what, f"it is about {found.address.job_id}", "name the address yourself")
        return found
