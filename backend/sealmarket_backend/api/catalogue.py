"""Search over the assets on sale."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Response

from sealmarket.protocol.market import AssetPage
from sealmarket_backend.api.answers import answer
from sealmarket_backend.api.cursors import cursor_of, places_in
from sealmarket_backend.api.documents import Account, PageCursor, gives
from sealmarket_backend.catalogue import MOST_ASSETS, AssetQuery
from sealmarket_backend.service import Backend
from sealmarket_enclave.protocol.codec import Address
from sealmarket_enclave.protocol.errors import MalformedDocument

_Word = Annotated[str, Query(max_length=200)]
_Price = Annotated[str, Query(max_length=39, description="An amount in the token's smallest unit.")]


def add_routes(app: FastAPI, backend: Backend) -> None:
    """The route of the search."""

    @app.get("/v1/catalogue", tags=["assets"], summary="Search the assets on sale", responses=gives(AssetPage))
    def get_catalogue(
        text: _Word = "",
        column: _Word = "",
        purpose: _Word = "",
        kind: _Word = "",
        owner: Account | None = None,
        least: _Price = "0",
        most: _Price | None = None,
        cursor: PageCursor = None,
        limit: Annotated[int, Query(ge=1, le=MOST_ASSETS, description="Most items of the page.")] = 20,
    ) -> Response:
        """A page, the newest versions first. It may hold less than was asked for, and go on."""
        query = ("catalogue", text, column, purpose, kind, owner, least, most)
        places = places_in(cursor, query)
        wanted = AssetQuery(
            text=text,
            column=column,
            purpose=purpose,
            kind=kind,
            owner=Address.parse(owner) if owner else None,
            least=_price(least),
            most=None if most is None else _price(most),
            before=places[0] if places else None,
            limit=limit,
        )
        found, place = backend.catalogue.search(wanted)
        return answer(AssetPage(items=found, next=None if place is None else cursor_of(query, place)))


def _price(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise MalformedDocument(f"expected an amount in the smallest unit, found {text[:40]!r}")
    return int(text)
