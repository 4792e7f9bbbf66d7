"""What ends soon, or holds no more: terms, offers, requests, the promises that offers name, and epochs of committees.

Of an asset's versions the newest that is not revoked counts: those before it are superseded, and nothing is
said of them.

An account reads its own (:meth:`Expiring.of`); operators see counts without names (:meth:`Expiring.count`). What is
said rests on the index and the book, and of platforms on the word of oracle nodes. A bounded number of rows is looked
at for one answer, the soonest first.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache

from sealmarket.protocol.market import MOST_WARNINGS, WARNS_AHEAD_SECONDS, Expiry, ExpiryKind
from sealmarket.protocol.wire import SignedComputeOrder
from sealmarket_backend.blobs import Blobs, Kind
from sealmarket_backend.database.dialects import Row
from sealmarket_backend.event_rows import event_of
from sealmarket_backend.index import IndexedAsset, asset_of
from sealmarket_backend.platforms import Platforms
from sealmarket_backend.tables import Database, readable
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, decode
from sealmarket_enclave.protocol.terms import Terms

log = logging.getLogger(__name__)
MOST_VERSIONS = 1_000
"""Versions of one owner that are looked at, the newest."""
MOST_COUNTED = 100_000
"""Versions that an operator's counts look at, the newest."""
_SUPERSEDED = (
    "EXISTS (SELECT 1 FROM assets AS later WHERE later.asset_id = {one}.asset_id AND later.version > {one}.version"
    " AND later.revoked = 0)"
)
"""Of a version: its owner has published another one behind it, and nothing has to be done about it any more."""
_CURRENT = f"revoked = 0 AND NOT {_SUPERSEDED.format(one='assets')}"
_ORDERS = {
    "request": ("requests", "request_hash", "account = ?", "sign a new request"),
    "compute_offer": ("compute_orders", "order_hash", "account = ?", "sign a new one: sealmarket provider offer"),
    "asset_offer": (
        "asset_orders",
        "order_hash",
        f"asset_id IN (SELECT asset_id FROM assets WHERE owner = ?) AND NOT {_SUPERSEDED.format(one='asset_orders')}",  # noqa: S608
        "sign a new one, or let the standing terms hold",
    ),
}
"""Of each kind: table, key, whose it is, and what to do."""


class Expiring:
    """Looks at one backend's tables and store."""

    def __init__(
        self, database: Database, blobs: Blobs, ends_of: Callable[[int], int], platforms: Platforms | None = None
    ) -> None:
        """``ends_of``: the last second of an epoch; 0 where no end is announced. ``platforms``: what oracle nodes
        foresee; without it nothing is said of platforms."""
        self._database, self._blobs, self._ends_of, self._platforms = database, blobs, ends_of, platforms

    def of(self, account: Address, now: int, within: int = WARNS_AHEAD_SECONDS) -> tuple[Expiry, ...]:
        """What of an account's ends within so many seconds, or holds no more; the soonest first."""
        found = [
            *self._orders(account, now, within),
            *self._resting(account),
            *self._promises(account),
            *self._versions(account, now, within),
            *(self._platforms.of(account, now + within) if self._platforms is not None else ()),
        ]
        return tuple(sorted(found, key=lambda one: one.until))[:MOST_WARNINGS]

    def count(self, now: int, within: int = WARNS_AHEAD_SECONDS) -> dict[str, int]:
        """How many there are of each kind, of all accounts."""
        found: Counter[str] = Counter(dict.fromkeys(("terms", "epoch", "resting", *_ORDERS), 0))
        for kind, (table, _, _, _) in _ORDERS.items():
            query = f"SELECT COUNT(*) FROM {table} WHERE state = 'open' AND expiry > ? AND expiry <= ?"  # noqa: S608
            found[kind] = self._database.rows(query, now, now + within)[0][0]
        found["resting"] = self._database.rows(
            "SELECT COUNT(*) FROM compute_orders WHERE state = 'open' AND reason <> ''"
        )[0][0]
        if self._platforms is not None:
            found["platform"] = self._platforms.count(now + within)
        newest, _ = self._newest_epoch()
        ends_of = cache(self._ends_of)
        rows = self._database.each(
            f"SELECT * FROM assets WHERE {_CURRENT} ORDER BY sequence DESC LIMIT ?",  # noqa: S608 - ours
            MOST_COUNTED,
        )
        for asset in readable(rows, asset_of):
            found["terms"] += _ends(asset.terms, now, within)
            found["epoch"] += asset.epoch < newest or ends_of(asset.epoch) != 0
        return dict(found)

    def _orders(self, account: Address, now: int, within: int) -> Iterator[Expiry]:
        for kind, (table, key, whose, remedy) in _ORDERS.items():
            query = (
                f"SELECT {key} AS subject, expiry FROM {table} WHERE state = 'open' AND {whose}"  # noqa: S608 - ours
                " AND expiry > ? AND expiry <= ? ORDER BY expiry LIMIT ?"
            )
            for row in self._database.rows(query, account, now, now + within, MOST_WARNINGS):
                yield _expiry(kind, row["subject"], row["expiry"], f"the {kind.replace('_', ' ')} ends", remedy)

    def _resting(self, account: Address) -> Iterator[Expiry]:
        query = (
            "SELECT order_hash, reason FROM compute_orders WHERE state = 'open' AND account = ? AND reason <> ''"
            " ORDER BY sequence LIMIT ?"
        )
        for row in self._database.rows(query, account, MOST_WARNINGS):
            remedy = "stake what is missing, or cancel the offer"
            text = f"nothing is matched with the offer: {row['reason']}"
            yield _expiry("resting", row["order_hash"], 0, text, remedy)

    def _promises(self, account: Address) -> Iterator[Expiry]:
        query = "SELECT body FROM compute_orders WHERE state = 'open' AND account = ? ORDER BY sequence LIMIT ?"
        rows = self._database.rows(query, account, MOST_WARNINGS)
        offers = readable(rows, lambda row: decode(SignedComputeOrder, row["body"]).order)
        for name in dict.fromkeys(offer.capability_hash for offer in offers):
            if name != ZERO_HASH and not self._blobs.has(Kind.DOCUMENTS, name):
                text = "the store lacks the capability document that an offer names: no request can ask for it"
                yield _expiry("promise", name, 0, text, "put it into the store again: sealmarket provider offer")

    def _versions(self, account: Address, now: int, within: int) -> Iterator[Expiry]:
        newest, active_at = self._newest_epoch()
        ends_of = cache(self._ends_of)
        query = f"SELECT * FROM assets WHERE owner = ? AND {_CURRENT} ORDER BY sequence DESC LIMIT ?"  # noqa: S608 - ours
        rows = self._database.rows(query, account, MOST_VERSIONS)
        for asset in readable(rows, asset_of):
            if _ends(asset.terms, now, within):
                yield _of_version(
                    "terms", asset, asset.terms.expiry, "its terms end, and nothing is matched with it then"
                )
            if ends_at := ends_of(asset.epoch):
                text = (
                    f"the committee of epoch {asset.epoch}, to which it is sealed, ends: no job over it may last longer"
                )
                yield _of_version("epoch", asset, ends_at, text)
            elif asset.epoch < newest:
                text = f"it is sealed to the committee of epoch {asset.epoch}, and epoch {newest} follows"
                yield _of_version("epoch", asset, active_at, text)

    def _newest_epoch(self) -> tuple[int, int]:
        """Of the committees that final blocks announced: number, and the time from which it counts."""
        rows = self._database.rows("SELECT * FROM events WHERE name = 'EpochAnnounced' ORDER BY block DESC LIMIT 1")
        for row in readable(rows, _announced):
            return row
        return 0, 0


def _announced(row: Row) -> tuple[int, int]:
    event = event_of(row).event
    return getattr(event, "epoch"), getattr(event, "active_at")  # noqa: B009 - the query names the type


def _ends(terms: Terms, now: int, within: int) -> bool:
    return now < terms.expiry <= now + within


def _of_version(kind: ExpiryKind, asset: IndexedAsset, until: int, text: str) -> Expiry:
    ending = ' --expiry "in 90 days"' if kind == "terms" else ""
    remedy = f"make the next version, without encrypting anew: sealmarket owner rewrap FOLDER --out NEXT{ending}"
    return Expiry(
        kind=kind, subject=Bytes32(asset.asset_id), version=asset.version, until=until, text=text, remedy=remedy
    )


def _expiry(kind: str, subject: bytes, until: int, text: str, remedy: str) -> Expiry:
    named: ExpiryKind = kind  # type: ignore[assignment]
    return Expiry(kind=named, subject=Bytes32(subject), until=until, text=text, remedy=remedy)
