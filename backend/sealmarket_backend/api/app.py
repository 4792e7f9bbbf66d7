"""The application over one backend: every resource under one set of errors, keys and cursors."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse

from sealmarket.protocol.book import AddressBook
from sealmarket_backend.api import catalogue, events, jobs, orders, problems, proposals, sign_in, store
from sealmarket_backend.api.answers import Recent, answer
from sealmarket_backend.api.documents import document, gives
from sealmarket_backend.api.idempotency import Idempotency
from sealmarket_backend.api.posting import Posting
from sealmarket_backend.api.streams import Streams
from sealmarket_backend.api.web import market_page
from sealmarket_backend.changes import Changes
from sealmarket_backend.listing import Listings
from sealmarket_backend.service import Backend

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


def create_app(backend: Backend, streams: Streams | None = None) -> FastAPI:
    """The application over one backend. Who ends ``streams`` when the server stops hands them in."""
    app = FastAPI(
        title="Sealmarket backend",
        version="1",
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    posting = Posting(Idempotency(backend.database, backend.clock), backend.wake)
    listings = Listings(backend.database)
    problems.handle_errors(app)
    problems.add_types(app)
    store.add_routes(app, backend)
    orders.add_routes(app, backend, posting, listings)
    catalogue.add_routes(app, backend)
    jobs.add_routes(app, backend, posting, listings)
    sign_in.add_routes(app, backend.sessions)
    proposals.add_routes(app, backend, posting, listings)
    events.add_routes(app, streams or Streams(Changes(backend.database)))
    _market(app, backend)
    document(app)
    return app


def _market(app: FastAPI, backend: Backend) -> None:
    book = answer(backend.addresses)

    @app.get("/healthz", tags=["operation"], summary="Whether the backend works")
    def health() -> dict[str, Any]:
        """Up to which block it has read, what keeps it from working, and the store's room in bytes."""
        return backend.health()

    @app.get("/v1/book", tags=["market"], summary="The address book", responses=gives(AddressBook))
    async def get_book() -> Response:
        """The address book that this server works with. Never rely on it without comparing."""
        return book

    whole_page = Recent(lambda: market_page(backend))

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def page() -> HTMLResponse:
        return HTMLResponse(whole_page.get(), headers=_SECURITY)
