"""Keeps the book honest: orders are looked at again when the chain says something about what stands behind them.

Events name accounts, orders and versions; those are looked up at the newest block, a bounded number a turn, and the
orders that they concern alone. After a restart, and where final blocks changed, every account with open orders is.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence

from sealmarket.chain import ChainError, Reverted
from sealmarket.chain.events import (
    AssetRevoked,
    ChainEvent,
    JobEnded,
    JobMatched,
    JobSettled,
    OtherEvent,
)
from sealmarket.chain.interface import ChainReader, ViewReader
from sealmarket_backend.book import OrderBook
from sealmarket_backend.errors import Deposed, NotFound, StorageFailed
from sealmarket_backend.index import Index
from sealmarket_backend.standing import Standing, asset_standing, compute_standing
from sealmarket_enclave.protocol.codec import Address, Bytes32

LOOKS = 32
"""Accounts, orders and versions that one turn looks at."""
log = logging.getLogger(__name__)
_NAMED = {
    "Staked": ("holder",),
    "UnstakeBegun": ("holder",),
    "Unstaked": ("holder",),
    "AllOrdersCancelled": ("signer",),
    "OrderUsed": ("order_hash",),
    "OrderCancelled": ("order_hash",),
}
"""What of an event is looked at again."""


class Honesty:
    """Hears the index, and looks at orders again. It may hear from one thread and look from another."""

    def __init__(self, chain: ChainReader, orders: OrderBook) -> None:
        self._chain, self._orders = chain, orders
        self._due: OrderedDict[Address | Bytes32, None] = OrderedDict()
        self._lock = threading.Lock()
        self._all, self._stale = True, False

    def hear(self, events: Sequence[ChainEvent]) -> None:
        """As :meth:`sealmarket_backend.index.Listener.hear`."""
        for event in events:
            match event:
                case JobMatched():
                    self.suspect(event.spec.provider)
                case JobSettled() | JobEnded():
                    self.suspect(event.job_id)
                case AssetRevoked():
                    self.suspect(event.asset_id)
                case OtherEvent():
                    for named in _NAMED.get(event.name, ()):
                        if isinstance(subject := event.fields.get(named), (Address, Bytes32)):
                            self.suspect(subject)

    def begin(self) -> None:
        """Look at everything: this process leads from now on."""
        self._all = True

    def hear_rewind(self) -> None:
        """As :meth:`sealmarket_backend.index.Listener.hear_rewind`."""
        self._all = self._stale = True

    def suspect(self, subject: Address | Bytes32) -> None:
        """Look, in a later turn, at the orders of an account, at an order, at those of an asset or of a job's
        provider."""
        with self._lock:
            self._due[subject] = None

    def look(self, index: Index, most: int = LOOKS) -> int:
        """Look at what is due; returns at how much. What fails stays due.

        Raises:
            ChainError: the chain cannot be read.
        """
        if self._stale:
            self._orders.load()
            self._stale = False
        if self._all:
            for account in self._orders.accounts():
                self.suspect(account)
            self._all = False
        looked = 0
        while looked < most and (subject := self._next()) is not None:
            try:
                self._look_at(self._chain.at(self._chain.head()), index, subject)
            except BaseException:
                self.suspect(subject)
                raise
            looked += 1
        return looked

    def _next(self) -> Address | Bytes32 | None:
        """Take the first that is due: what is heard of it from now on makes it due again."""
        with self._lock:
            return self._due.popitem(last=False)[0] if self._due else None

    def _look_at(self, view: ViewReader, index: Index, subject: Address | Bytes32) -> None:
        """One subject; what fails as nothing foresaw concerns it alone, what the chain or the disk fails to do, all."""
        try:
            if isinstance(subject, Address):
                self._look_at_account(view, subject)
            elif not self._look_at_order(view, index, subject):
                self._look_at_others(view, index, subject)
        except Reverted as error:
            log.warning("the orders of %s are not looked at: %s", subject, error)
        except (ChainError, StorageFailed, Deposed):
            raise
        except Exception:
            log.exception("the orders of %s are not looked at; the others are", subject)

    def _look_at_account(self, view: ViewReader, account: Address) -> None:
        """Its stake and generation, and with them all of its offers; how often each was used is as it was."""
        offers = self._orders.compute_orders_of(account)
        accounts = {token: view.account(token, account) for token in {signed.order.token for signed, _ in offers}}
        standings = {
            signed.order.struct_hash(): compute_standing(signed.order, accounts[signed.order.token], used)
            for signed, used in offers
        }
        self._orders.stand("compute_orders", standings)
        for asset_id in self._orders.assets_offered_by(account):
            self.suspect(asset_id)

    def _look_at_order(self, view: ViewReader, index: Index, key: Bytes32) -> bool:
        """One order of either kind; false where there is none that is open."""
        if (compute := self._orders.compute_order(key)) is not None:
            order = compute.order
            account, used = view.account(order.token, order.provider), view.order_used(order.provider, key)
            self._orders.stand("compute_orders", {key: compute_standing(order, account, used)})
        elif (offered := self._orders.asset_order(key)) is not None:
            if (owner := index.owner_of(offered.order.asset_id)) is not None:
                used = view.order_used(owner, key)
                self._stand_of_asset(view, index, offered.order.asset_id, {key: used})
        else:
            return False
        return True

    def _look_at_others(self, view: ViewReader, index: Index, subject: Bytes32) -> None:
        if (provider := index.provider_of(subject)) is not None:
            self.suspect(provider)
        else:
            self._stand_of_asset(view, index, subject, {})

    def _stand_of_asset(self, view: ViewReader, index: Index, asset_id: Bytes32, used: dict[Bytes32, int]) -> None:
        """All of its owner's offers of an asset, by generation and version."""
        standings: dict[Bytes32, Standing] = {}
        for signed in self._orders.asset_orders_of(asset_id):
            order, key = signed.order, signed.order.struct_hash()
            try:
                version = index.asset(asset_id, order.version)
            except NotFound:
                continue  # its publication is final no more: it comes again, or its orders expire
            owner = view.account(version.terms.token, version.owner)
            standings[key] = asset_standing(order, owner, used.get(key, 0), revoked=version.revoked)
        self._orders.stand("asset_orders", standings)
