"""Requests and offers: what is posted into the book, where each stands, and what can be matched."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Request, Response

from sealmarket.protocol.market import (
    MOST_ORDERS,
    Accepted,
    AcceptedOrder,
    AcceptedRequest,
    AssetOrderPage,
    ComputeOrderPage,
    OrderState,
    RequestState,
)
from sealmarket.protocol.wire import PostedRequest, SignedAssetOrder, SignedComputeOrder
from sealmarket_backend.api.answers import MAX_POSTED, answer, now, page_of
from sealmarket_backend.api.cursors import cursor_of, places_in
from sealmarket_backend.api.documents import Hash, PageCursor, QueryHash, Tags, gives, reads
from sealmarket_backend.api.gathered import Gathered
from sealmarket_backend.api.posting import CREATED, Note, Posting
from sealmarket_backend.errors import NotFound
from sealmarket_backend.listing import Listed, Listings
from sealmarket_backend.service import Backend
from sealmarket_backend.states import MOST_ASKED
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.job import Parameters

_Limit = Annotated[int, Query(ge=1, le=MOST_ORDERS, description="Most items of the page.")]
DEFAULT_LIMIT = 100
PAGES_AT_ONCE = 4
"""Different pages that are read one after the other before any of them is answered."""
TAGS: Tags = ["orders"]


def add_routes(app: FastAPI, backend: Backend, posting: Posting, listings: Listings) -> None:
    """The routes of requests, offers and parameters."""
    _requests(app, backend, posting)
    _parameters(app, backend, posting)
    _offers(app, backend, posting)
    _lists(app, listings)


def _requests(app: FastAPI, backend: Backend, posting: Posting) -> None:
    @app.post(
        "/v1/requests",
        status_code=CREATED,
        tags=TAGS,
        summary="Post a signed request with its parameters",
        openapi_extra=reads(PostedRequest),
        responses=gives(AcceptedRequest, CREATED),
    )
    async def post_request(request: Request) -> Response:
        """Request and parameters are both kept, or neither. Twice is the same as once."""

        def add(posted: PostedRequest, peer: str, note: Note) -> dict[str, str]:
            return named(backend.orders.add_request(posted, now(), peer, lambda at, key: note(at, named(key))))

        def named(key: Bytes32) -> dict[str, str]:
            return {"requestHash": str(key)}

        return await posting.post_in_one(request, PostedRequest, add, MAX_POSTED)

    states = Gathered(backend.orders.request_states, MOST_ASKED, "request-states")

    @app.get("/v1/requests/{request_hash}", tags=TAGS, summary="Where a request stands", responses=gives(RequestState))
    async def get_request(request_hash: Hash) -> Response:
        """And why it is not matched yet, a sentence for each reason."""
        if (state := await states.get(Bytes32.parse(request_hash))) is None:
            raise NotFound(f"no request {request_hash}", remedy="post it first")
        return answer(RequestState(state=state.state, explanation=state.explanation, job_id=state.job_id))


def _parameters(app: FastAPI, backend: Backend, posting: Posting) -> None:
    @app.post(
        "/v1/parameters/{request_hash}",
        status_code=CREATED,
        tags=TAGS,
        summary="Post the parameters of a request that was matched elsewhere",
        openapi_extra=reads(Parameters),
        responses=gives(Accepted, CREATED),
    )
    async def post_parameters(request_hash: Hash, request: Request) -> Response:
        """They are kept if their digest is the one that the consumer signed."""
        name = Bytes32.parse(request_hash)

        def add(parameters: Parameters, peer: str) -> None:
            backend.add_parameters(name, parameters, peer)

        return await posting.post(request, Parameters, add, MAX_POSTED)

    @app.get(
        "/v1/parameters/{request_hash}", tags=TAGS, summary="The parameters of a request", responses=gives(Parameters)
    )
    def get_parameters(request_hash: Hash) -> Response:
        """As they were posted."""
        return answer(backend.orders.parameters.of(Bytes32.parse(request_hash)))


def _offers(app: FastAPI, backend: Backend, posting: Posting) -> None:
    @app.post(
        "/v1/compute-orders",
        status_code=CREATED,
        tags=TAGS,
        summary="Post a provider's signed offer",
        openapi_extra=reads(SignedComputeOrder),
        responses=gives(AcceptedOrder, CREATED),
    )
    async def post_compute_order(request: Request) -> Response:
        """It is kept if its provider signed it by key and has staked the penalty, and it is not used up."""

        def add(signed: SignedComputeOrder, peer: str, note: Note) -> dict[str, str]:
            return named(backend.orders.add_compute_order(signed, now(), lambda at, key: note(at, named(key)), peer))

        def named(key: Bytes32) -> dict[str, str]:
            return {"orderHash": str(key)}

        return await posting.post_in_one(request, SignedComputeOrder, add)

    @app.post(
        "/v1/asset-orders",
        status_code=CREATED,
        tags=TAGS,
        summary="Post an owner's signed offer",
        openapi_extra=reads(SignedAssetOrder),
        responses=gives(AcceptedOrder, CREATED),
    )
    async def post_asset_order(request: Request) -> Response:
        """At most at the price of the version's terms."""

        def add(signed: SignedAssetOrder, peer: str) -> dict[str, str]:
            return {"orderHash": str(backend.add_asset_order(signed, now(), peer))}

        return await posting.post(request, SignedAssetOrder, add)

    states = Gathered(backend.orders.order_states, MOST_ASKED, "order-states")

    @app.get("/v1/orders/{order_hash}", tags=TAGS, summary="Where an offer stands", responses=gives(OrderState))
    async def get_order(order_hash: Hash) -> Response:
        """Of either kind; and why it cannot be matched, now or ever."""
        if (state := await states.get(Bytes32.parse(order_hash))) is None:
            raise NotFound(f"no order {order_hash}", remedy="post it first")
        return answer(OrderState(state=state.state, reason=state.reason))


def _lists(app: FastAPI, listings: Listings) -> None:
    def ask(asked: list[tuple[int, int]]) -> dict[tuple[int, int], Listed]:
        return {place: listings.compute_orders(*place) for place in asked}

    pages = Gathered(ask, PAGES_AT_ONCE, "offer-pages")

    @app.get(
        "/v1/compute-orders",
        tags=TAGS,
        summary="Offers of compute that can be matched",
        responses=gives(ComputeOrderPage),
    )
    async def get_compute_orders(cursor: PageCursor = None, limit: _Limit = DEFAULT_LIMIT) -> Response:
        """A page of them, oldest first."""
        query = ("compute-orders",)
        (after,) = places_in(cursor, query) or (0,)
        found = await pages.get((after, limit))
        assert found is not None
        return page_of(found.documents, None if found.place is None else cursor_of(query, found.place))

    @app.get(
        "/v1/asset-orders",
        tags=TAGS,
        summary="Owners' open offers of one version of an asset",
        responses=gives(AssetOrderPage),
    )
    def get_asset_orders(
        asset: QueryHash,
        version: Annotated[int, Query(ge=1, le=2**32 - 1, description="Which version of the asset.")],
        cursor: PageCursor = None,
        limit: _Limit = DEFAULT_LIMIT,
    ) -> Response:
        """A page of them, oldest first."""
        query = ("asset-orders", asset, version)
        (after,) = places_in(cursor, query) or (0,)
        found = listings.asset_orders(Bytes32.parse(asset), version, after, limit)
        return page_of(found.documents, None if found.place is None else cursor_of(query, found.place))
