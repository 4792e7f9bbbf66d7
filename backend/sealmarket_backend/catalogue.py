"""Search over what is on sale: by the words of owners' policies and data cards, by purpose, price, owner and kind.

A page looks at a bounded number of versions for a bounded time, and says where the next one goes on. What it says is
for orientation: readers hold it against the chain and against the documents, which they find by their hashes.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sealmarket.protocol.cards import NO_CARD, Card, read_card
from sealmarket.protocol.limits import MAXIMUM_POLICY
from sealmarket.protocol.orders import Purpose
from sealmarket.protocol.wire import AssetView
from sealmarket_backend.blobs import Blobs, Kind
from sealmarket_backend.database.dialects import Row
from sealmarket_backend.index import IndexedAsset, asset_of
from sealmarket_backend.tables import Database, readable
from sealmarket_enclave.protocol.codec import Address, Bytes32, decode_canonical
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.numbers import AssetId
from sealmarket_enclave.protocol.policy import PolicyDocument

MOST_ASSETS = 100
"""On one page."""
MOST_LOOKED = 500
LOOK_SECONDS = 0.25
"""For how many versions, and how long, one page looks."""
MOST_DESCRIBED = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetQuery:
    """What to look for; what is empty or None is not asked. Prices in the token's smallest unit.

    ``text`` stands in the title, in any case of its letters; ``purpose`` is a purpose's name, or a code of the data
    card; ``before`` is where the page before this one ended.
    """

    text: str = ""
    column: str = ""
    purpose: str = ""
    kind: str = ""
    owner: Address | None = None
    least: int = 0
    most: int | None = None
    before: int | None = None
    limit: int = 20


@dataclass(frozen=True, slots=True)
class Described:
    """What owners' documents say of one version."""

    title: str
    card: Card


class Catalogue:
    """Searches one backend's index and store. Threads may share it."""

    def __init__(self, database: Database, blobs: Blobs, clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._blobs, self._clock = database, blobs, clock
        self._lock = threading.Lock()
        self._described: OrderedDict[Bytes32, Described] = OrderedDict()

    def search(self, query: AssetQuery) -> tuple[tuple[AssetView, ...], int | None]:
        """One page, the newest versions first, and the place behind which the next one goes on; None at the end."""
        found: list[AssetView] = []
        end, place = self._clock() + LOOK_SECONDS, None
        rows = self._rows(query)
        for row in rows:
            place = row["sequence"]
            found += (view for view in readable([row], self._view) if matches(view, query))
            if len(found) >= min(query.limit, MOST_ASSETS) or self._clock() > end:
                return tuple(found), place
        return tuple(found), place if len(rows) == MOST_LOOKED else None

    def _rows(self, query: AssetQuery) -> list[Row]:
        given: list[object] = [query.before if query.before is not None else 2**62]
        where = "sequence < ?"
        if query.owner is not None:
            where, given = f"{where} AND owner = ?", [*given, query.owner]
        sql = f"SELECT * FROM assets WHERE {where} ORDER BY sequence DESC LIMIT {MOST_LOOKED}"  # noqa: S608 - ours
        return self._database.rows(sql, *given)

    def _view(self, row: Row) -> AssetView:
        asset = asset_of(row)
        described = self._describe(asset)
        return AssetView(
            asset_id=AssetId(asset.asset_id),
            version=asset.version,
            owner=asset.owner,
            seal=asset.seal,
            terms=asset.terms,
            terms_version=asset.terms_version,
            revoked=asset.revoked,
            suspended=asset.suspended,
            title=described.title,
            kind=described.card.kind,
            columns=described.card.columns,
            purposes=described.card.purposes,
        )

    def _describe(self, asset: IndexedAsset) -> Described:
        key = asset.seal.policy_hash
        if (held := self._described.get(key)) is not None:
            return held
        raw = self._document(key)
        try:
            policy = decode_canonical(PolicyDocument, raw) if raw else None
        except SealmarketError:
            policy = None
        if policy is None:
            return Described("", NO_CARD)  # it may still come
        card = self._document(policy.data_card)
        found = Described(policy.title[:200], read_card(card) if card else NO_CARD)
        with self._lock:
            self._described[key] = found
            if len(self._described) > MOST_DESCRIBED:
                self._described.popitem(last=False)
        return found

    def _document(self, name: Bytes32) -> bytes | None:
        if not self._blobs.has(Kind.DOCUMENTS, name):
            return None
        with self._blobs.path(Kind.DOCUMENTS, name).open("rb") as file:
            raw = file.read(MAXIMUM_POLICY + 1)
        return raw if len(raw) <= MAXIMUM_POLICY else None


def matches(view: AssetView, query: AssetQuery) -> bool:
    """Whether a version is what was asked for. Pure."""
    return all(_answers(view, query))


def _answers(view: AssetView, query: AssetQuery) -> Iterator[bool]:
    yield query.text.casefold() in view.title.casefold()
    yield not query.column or query.column.casefold() in {column.casefold() for column in view.columns}
    yield not query.kind or query.kind.casefold() == view.kind.casefold()
    yield not query.purpose or query.purpose in view.purposes or _is_sold_for(view, query.purpose)
    yield query.owner in (None, view.owner)
    yield query.least <= view.terms.price
    yield query.most is None or view.terms.price <= query.most


def _is_sold_for(view: AssetView, name: str) -> bool:
    purpose = Purpose.__members__.get(name.upper())
    return purpose is not None and bool(view.terms.purposes & purpose)
