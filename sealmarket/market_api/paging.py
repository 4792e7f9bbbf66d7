"""Lists that come in pages, of which a client reads a bounded number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import httpx

from sealmarket.service.connection import Connection
from sealmarket.service.errors import ServiceRefused

MARKET_API = "market's API"
"""How errors name the service."""
MOST_PAGES = 400
"""Of one list: a server that always names another page is not followed for ever."""
T_co = TypeVar("T_co", covariant=True)


class Page(Protocol[T_co]):
    """Some items, and the cursor of the following page."""

    @property
    def items(self) -> tuple[T_co, ...]:
        """What is on it."""

    @property
    def next(self) -> str | None:
        """Where the following one goes on."""


def page_of(
    http: Connection,
    path: str,
    kind: type[Any],
    wanted: Mapping[str, object | None],
    *,
    what: str,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """One page. What of ``wanted`` is None is not asked."""
    query = httpx.QueryParams({name: str(value) for name, value in wanted.items() if value is not None})
    return http.read(f"{path}?{query}" if query else path, kind, what=what, headers=headers)


def all_of(
    http: Connection,
    path: str,
    kind: type[Page[T_co]],
    wanted: Mapping[str, object | None],
    *,
    what: str,
    headers: Mapping[str, str] | None = None,
) -> tuple[T_co, ...]:
    """The items of all pages.

    Raises:
        ServiceRefused: among others where the pages do not end.
    """
    found: list[T_co] = []
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page: Page[T_co] = page_of(http, path, kind, {**wanted, "cursor": cursor}, what=what, headers=headers)
        found += page.items
        if (cursor := page.next) is None:
            return tuple(found)
    raise ServiceRefused(MARKET_API, what, f"the list has more than {MOST_PAGES} pages", "ask for less of it")
