"""Looks at a market through its backend, and holds what it shows against the chain, the documents and the signatures.

What does not hold is left out. That nothing else is there is the backend's statement, which no reader can check.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sealmarket.chain import Account, AssetState, Chain, Reverted
from sealmarket.client.reading import Reading
from sealmarket.market_api.client import MarketApi
from sealmarket.protocol.cards import Card
from sealmarket.protocol.orders import ComputeOrder
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import AssetView, JobView
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Wei
from sealmarket_enclave.protocol.numbers import AssetId, Grade, Tee


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAsset:
    """One version of an asset: its state on chain, and what the documents that its seal names say."""

    asset_id: AssetId
    version: int
    state: AssetState
    title: str
    card: Card
    epoch_end: int
    """The last second of the committee that holds its shares; 0 where no end is announced."""

    def not_on_sale(self, now: int) -> Iterator[str]:
        """Why no job can use it now; nothing where one can."""
        if 0 < self.epoch_end <= now:
            yield f"its committee, of epoch {self.state.epoch}, has ended"
        if self.state.revoked:
            yield "revoked by its owner"
        if self.state.suspended:
            yield "suspended: an enclave could not open or read it"
        if self.state.terms.expiry <= now:
            yield "expired"
        if self.state.uses_taken >= self.state.terms.max_uses:
            yield "used up"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundProvider:
    """One provider with open offers. Prices and stake in the native coin's smallest unit."""

    address: Address
    tees: tuple[tuple[Tee, Grade], ...]
    cheapest: Wei
    offers: int
    account: Account


class Browser:
    """Looks at one market. Every method may raise ChainError and ServiceError."""

    def __init__(self, chain: Chain, store: Store, api: MarketApi) -> None:
        self._chain, self._api = chain, api
        self._reading = Reading(chain, store, api)

    def assets(self, wanted: Mapping[str, object]) -> tuple[list[FoundAsset], str | None]:
        """One page of a search, and where the next one goes on. ``wanted`` as :meth:`MarketApi.catalogue`."""
        page = self._api.catalogue(**wanted)
        found = [one for one in map(self._checked, page.items) if one is not None]
        return found, page.next

    def _checked(self, view: AssetView) -> FoundAsset | None:
        """A version with the chain's state; None for one whose seal is not the chain's."""
        try:
            state = self._chain.at(self._chain.head()).asset(view.asset_id, view.version)
        except Reverted:
            return None
        if view.seal.hash() != state.seal_hash:
            return None
        policy, _ = self._reading.policy_of(view.seal)
        title = policy.document.title if policy else ""
        card = self._reading.card_of(policy)
        return FoundAsset(
            asset_id=view.asset_id,
            version=view.version,
            state=state,
            title=title,
            card=card,
            epoch_end=self._reading.ends_of(state.epoch),
        )

    def offers(self, tee: str | None, limit: int) -> list[tuple[ComputeOrder, int]]:
        """The cheapest open offers that their providers signed, each with the jobs made under it."""
        signed = [one for one in self._api.orders.compute_orders() if tee is None or one.order.tee.slug == tee]
        cheapest = sorted(signed, key=lambda one: one.order.price)
        orders = [one.order for one in cheapest[: 4 * limit] if self._reading.is_offer(one)][:limit]
        view = self._chain.at(self._chain.head())
        return [(order, view.order_used(order.provider, order.struct_hash())) for order in orders]

    def providers(self, limit: int) -> list[FoundProvider]:
        """Providers with offers that they signed, those with the cheapest first."""
        by_provider: dict[Address, list[ComputeOrder]] = {}
        for one in sorted(self._api.orders.compute_orders(), key=lambda one: one.order.price):
            known = by_provider.get(one.order.provider)
            if (known is not None or len(by_provider) < limit) and self._reading.is_offer(one):
                by_provider.setdefault(one.order.provider, []).append(one.order)
        view = self._chain.at(self._chain.head())
        return [
            FoundProvider(
                address=address,
                tees=tuple(sorted({(order.tee, order.grade) for order in orders})),
                cheapest=min(order.price for order in orders),
                offers=len(orders),
                account=view.account(ZERO_ADDRESS, address),
            )
            for address, orders in by_provider.items()
        ]

    def jobs(
        self,
        *,
        provider: Address | None,
        consumer: Address | None,
        status: Status | None,
        cursor: str | None,
        limit: int,
    ) -> tuple[list[tuple[JobView, Status]], str | None]:
        """Jobs whose id follows from what they are, with the chain's status, the newest first; and where the next page
        goes on."""
        book = self._chain.book
        page = self._api.jobs.list(provider=provider, consumer=consumer, status=status, cursor=cursor, limit=limit)
        genuine = [view for view in page.items if view.spec.job_id(book.chain_id, book.market) == view.job_id]
        at = self._chain.at(self._chain.head())
        states = [(view, at.job(view.spec.request_hash).status) for view in genuine]
        return [(view, found) for view, found in states if found is not Status.NONE], page.next
