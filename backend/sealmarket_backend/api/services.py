"""Services that can be asked, and where."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Request, Response

from sealmarket.protocol.market import MOST_SERVICES, Accepted, ServicePage
from sealmarket.protocol.services import SignedServiceAddress
from sealmarket_backend.api.answers import answer, now, page_of
from sealmarket_backend.api.cursors import cursor_of, places_in
from sealmarket_backend.api.documents import Hash, PageCursor, QueryHash, Tags, gives, reads
from sealmarket_backend.api.posting import CREATED, Posting
from sealmarket_backend.listing import Listings
from sealmarket_backend.service import Backend
from sealmarket_enclave.protocol.codec import Bytes32

TAGS: Tags = ["services"]


def add_routes(app: FastAPI, backend: Backend, posting: Posting, listings: Listings) -> None:
    """The routes of services."""

    @app.post(
        "/v1/services",
        status_code=CREATED,
        tags=TAGS,
        summary="Say where a service is reached",
        openapi_extra=reads(SignedServiceAddress),
        responses=gives(Accepted, CREATED),
    )
    async def post_address(request: Request) -> Response:
        """Signed by the provider of an accepted service. What it signs later replaces it."""

        def add(signed: SignedServiceAddress, peer: str) -> None:
            backend.service_addresses.add(signed, now(), peer)

        return await posting.post(request, SignedServiceAddress, add)

    @app.get("/v1/services", tags=TAGS, summary="Services that can be asked", responses=gives(ServicePage))
    def get_services(
        asset: QueryHash | None = None,
        workload: QueryHash | None = None,
        cursor: PageCursor = None,
        limit: Annotated[int, Query(ge=1, le=MOST_SERVICES, description="Most items of the page.")] = MOST_SERVICES,
    ) -> Response:
        """A page of those that fit all that is given and whose address is known, newest first."""
        query = ("services", asset, workload)
        places = places_in(cursor, query)
        found = listings.services(
            places[0] if places else None,
            limit,
            asset_id=Bytes32.parse(asset) if asset else None,
            workload=Bytes32.parse(workload) if workload else None,
        )
        return page_of(found.documents, None if found.place is None else cursor_of(query, found.place))

    @app.get(
        "/v1/services/{job_id}", tags=TAGS, summary="Where a service is reached", responses=gives(SignedServiceAddress)
    )
    def get_address(job_id: Hash) -> Response:
        """As its provider signed it."""
        return answer(backend.service_addresses.of(Bytes32.parse(job_id)))
