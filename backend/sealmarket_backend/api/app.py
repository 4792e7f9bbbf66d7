"""The application over one backend: every resource under one set of errors, keys and cursors."""

from __future__ import annotations

from fastapi import FastAPI, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import HTMLResponse

from sealmarket.protocol.book import AddressBook
from sealmarket_backend.api import (
    catalogue,
    events,
    jobs,
    operation,
    orders,
    problems,
    proposals,
    services,
    sign_in,
    store,
)
from sealmarket_backend.api.answers import Recent, answer
from sealmarket_backend.api.documents import document, gives
from sealmarket_backend.api.idempotency import HEADER, Idempotency
from sealmarket_backend.api.metrics import Counted, Metrics
from sealmarket_backend.api.posting import Posting
from sealmarket_backend.api.settings import ApiSettings
from sealmarket_backend.api.streams import Streams
from sealmarket_backend.api.web import market_page
from sealmarket_backend.changes import Changes
from sealmarket_backend.listing import Listings
from sealmarket_backend.service import Backend

PAGE_SECONDS = 0.5
"""How old the page may be."""
_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
}
_ABOUT = (
    "The order book, the index and the store of one market. Nothing that it says is to be trusted: orders and results "
    "are signed, blobs are named by their hashes, and the chain decides. Amounts are decimal strings in the token's "
    "smallest unit, times are seconds since 1970 or lengths in seconds, hashes and accounts are lower-case hex."
)


def create_app(
    backend: Backend,
    streams: Streams | None = None,
    settings: ApiSettings = ApiSettings(),  # noqa: B008 - frozen
) -> FastAPI:
    """The application over one backend. ``streams``: those that the caller ends when the server stops."""
    metrics, streams = Metrics(), streams or Streams(Changes(backend.database))
    app = FastAPI(
        title="Sealmarket backend",
        version="1",
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    posting = Posting(Idempotency(backend.database, backend.clock, backend.orders.together), backend.wake)
    listings = Listings(backend.database)
    problems.handle_errors(app)
    # A request is held against the routes in this order: those that are asked for most come first.
    orders.add_routes(app, backend, posting, listings)
    jobs.add_routes(app, backend, posting, listings)
    catalogue.add_routes(app, backend)
    store.add_routes(app, backend)
    events.add_routes(app, streams)
    sign_in.add_routes(app, backend.sessions)
    proposals.add_routes(app, backend, posting, listings)
    services.add_routes(app, backend, posting, listings)
    operation.add_routes(app, backend, settings, metrics, streams)
    problems.add_types(app)
    _market(app, backend)
    document(app)
    app.add_middleware(Counted, metrics=metrics)
    if settings.cors_origins:
        _let_pages_read(app, settings.cors_origins)
    return app


def _let_pages_read(app: FastAPI, origins: tuple[str, ...]) -> None:
    """Pages of these origins may read answers, by a token of their own; no cookie counts anywhere here."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Last-Event-ID", HEADER, "Upload-Offset", "Upload-Token"],
        expose_headers=["Retry-After", "Upload-Offset"],
        max_age=600,
    )


def _market(app: FastAPI, backend: Backend) -> None:
    book = answer(backend.addresses)

    @app.get("/v1/book", tags=["market"], summary="The address book", responses=gives(AddressBook))
    async def get_book() -> Response:
        """The address book that this server works with. Never rely on it without comparing."""
        return book

    whole_page = Recent(lambda: market_page(backend), PAGE_SECONDS)

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def page() -> HTMLResponse:
        return HTMLResponse(whole_page.get(), headers=_SECURITY)
