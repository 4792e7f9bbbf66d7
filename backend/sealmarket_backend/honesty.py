"""Keeps the book honest: orders are looked at again when the chain says something about what stands behind them.

Events name accounts, orders and versions; those are looked up at the newest block, a bounded number a turn, and the
orders that they concern alone. After a restart, and where final blocks changed, every account with open orders is.

An order leaves for good by what a final block says. What the newest block alone says keeps it from being matched, and
it is looked at again once that block is final, or is none of the chain's any more. Where final blocks changed, what
left by their word is looked at again too.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from sealmarket.chain import ChainError, Reverted
from sealmarket.chain.events import AssetRevoked, ChainEvent, JobEnded, JobMatched, JobSettled
from sealmarket.chain.interface import ChainReader, ViewReader
from sealmarket.chain.ledger_events import AllOrdersCancelled, OrderCancelled, OrderUsed, Staked, UnstakeBegun, Unstaked
from sealmarket.protocol.orders import AssetOrder
from sealmarket_backend.book import OrderBook
from sealmarket_backend.errors import Deposed, NotFound, StorageFailed
from sealmarket_backend.index import Index, IndexedAsset
from sealmarket_backend.standing import Standing, asset_standing, compute_standing
from sealmarket_enclave.protocol.codec import Address, Bytes32

LOOKS = 32
"""Accounts, orders and versions that one turn looks at."""
NOT_FINAL = "; the block that says so is not final yet"
log = logging.getLogger(__name__)


class Honesty:
    """Hears the index, and looks at orders again. It may hear from one thread and look from another."""

    def __init__(self, chain: ChainReader, orders: OrderBook) -> None:
        self._chain, self._orders = chain, orders
        self._due: OrderedDict[Address | Bytes32, None] = OrderedDict()
        self._lock = threading.Lock()
        self._later: dict[Address | Bytes32, int] = {}
        """What the newest block alone closed, and the number of that block."""
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
                case Staked() | UnstakeBegun() | Unstaked():
                    self.suspect(event.holder)
                case AllOrdersCancelled():
                    self.suspect(event.signer)
                case OrderUsed() | OrderCancelled():
                    self.suspect(event.order_hash)

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
            for key in self._orders.reopen():
                self.suspect(key)
            self._orders.load()
            self._stale = False
        self._look_later(index.position())
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

    def _look_later(self, final: int) -> None:
        due = [subject for subject, number in self._later.items() if number <= final]
        for subject in due:
            del self._later[subject]
            self.suspect(subject)

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
        known = self._orders.compute_orders_of(account)
        offers = [(signed, used) for signed, used in known if signed.order.struct_hash() not in self._later]

        def standings(at: ViewReader) -> dict[Bytes32, Standing]:
            accounts = {token: at.account(token, account) for token in {signed.order.token for signed, _ in offers}}
            return {
                signed.order.struct_hash(): compute_standing(signed.order, accounts[signed.order.token], used)
                for signed, used in offers
            }

        self._orders.stand("compute_orders", self._confirmed(view, standings, account))
        for asset_id in self._orders.assets_offered_by(account):
            self.suspect(asset_id)

    def _confirmed(
        self, view: ViewReader, standings: Callable[[ViewReader], dict[Bytes32, Standing]], subject: Address | Bytes32
    ) -> dict[Bytes32, Standing]:
        """What the newest block says; what it closes, as far as a final block does."""
        found = standings(view)
        closing = [key for key, standing in found.items() if standing.state != "open"]
        if closing:
            final = standings(self._chain.at(self._chain.final()))
            for key in closing:
                if final[key].state != found[key].state:
                    self._later[subject] = view.block.number
                    found[key] = Standing(reason=f"{found[key].reason}{NOT_FINAL}", used=0)
        return found

    def _look_at_order(self, view: ViewReader, index: Index, key: Bytes32) -> bool:
        """One order of either kind; false where there is none that is open or rests."""
        if (compute := self._orders.compute_order(key)) is not None:
            order = compute.order

            def standings(at: ViewReader) -> dict[Bytes32, Standing]:
                account, used = at.account(order.token, order.provider), at.order_used(order.provider, key)
                return {key: compute_standing(order, account, used)}

            self._orders.stand("compute_orders", self._confirmed(view, standings, key))
        elif (offered := self._orders.asset_order(key)) is not None:
            if (owner := index.owner_of(offered.order.asset_id)) is not None:
                self._stand_of_asset(view, index, offered.order.asset_id, key, owner)
        else:
            return self._orders.offers.take(key)  # an event by its signer has closed it
        return True

    def _look_at_others(self, view: ViewReader, index: Index, subject: Bytes32) -> None:
        if (provider := index.provider_of(subject)) is not None:
            self.suspect(provider)
        else:
            self._stand_of_asset(view, index, subject)

    def _stand_of_asset(
        self,
        view: ViewReader,
        index: Index,
        asset_id: Bytes32,
        key: Bytes32 | None = None,
        owner: Address | None = None,
    ) -> None:
        """All of its owner's offers of an asset, by generation and version; and ``key`` by how often it was used."""
        offers: list[tuple[Bytes32, AssetOrder, IndexedAsset]] = []
        for signed in self._orders.asset_orders_of(asset_id):
            try:
                version = index.asset(asset_id, signed.order.version)
            except NotFound:
                continue  # its publication is final no more: it comes again, or its orders expire
            one = signed.order.struct_hash()
            if one == key or one not in self._later:
                offers.append((one, signed.order, version))

        def standings(at: ViewReader) -> dict[Bytes32, Standing]:
            used = at.order_used(owner, key) if key is not None and owner is not None else 0
            return {
                one: asset_standing(
                    order, at.account(version.terms.token, version.owner), used if one == key else 0,
                    revoked=version.revoked,
                )
                for one, order, version in offers
            }  # fmt: skip

        self._orders.stand("asset_orders", self._confirmed(view, standings, key or asset_id))
