"""Services as the commands show and choose them: what the market lists, held against the chain, by a user's tabs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sealmarket.cli._asking import progress
from sealmarket.cli._infer_service import Named, service_option, wish_of
from sealmarket.client.offered_services import OfferedService, ServiceFinder, ServiceNotOffered, ServiceWish
from sealmarket.protocol.amounts import written
from sealmarket.protocol.moments import beside, duration
from sealmarket.service.errors import ItemNotFound
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS

if TYPE_CHECKING:
    from sealmarket.chain import Chain
    from sealmarket.market_api.client import MarketApi
    from sealmarket_enclave.protocol.codec import Address
    from sealmarket_enclave.protocol.numbers import JobId

MOST_REPLICAS = 8
"""Services of one model that a proxy asks by itself."""
LONGEST_WAIT = 86_400
"""Seconds for which a rest may stay locked after a close, at a service that is chosen and not named."""


def places(
    named: Named,
    chain: Chain,
    api: MarketApi,
    account: Address,
    *,
    simulated: bool,
    model: tuple[object, ...] | None = None,
) -> dict[JobId, str]:
    """Where each service that the user means is reached, in the order in which they are verified.

    Args:
        model: the one that is asked already (:func:`~sealmarket.client.offered_services.model_of`), whatever else is
            cheaper by now; None chooses it.

    Raises:
        Usage: what is named is none.
        ServiceNotOffered: no service of the model has a tab of this account, or an address does not hold.
        ChainError, ServiceError: chain or backend do not answer.
    """
    finder = ServiceFinder(chain, api)
    if named.service is None:
        wish = wish_of(named.asset, named.workload, simulated=simulated)
        return _with_tab(finder, chain, account, wish, model)
    jobs = [service_option(service) for service in named.service]
    if named.provider is None:
        return {job_id: address_of(finder, job_id) for job_id in jobs}
    return dict(zip(jobs, named.provider, strict=True))


def address_of(finder: ServiceFinder, job_id: JobId) -> str:
    """Where one service is reached. Raises :class:`ServiceNotOffered`, ChainError, ServiceUnavailable."""
    try:
        return finder.of(job_id).url
    except ItemNotFound as error:
        remedy = "ask its provider, and name --provider URL"
        raise ServiceNotOffered(f"address of service {job_id}", "one in the market", "none", remedy) from error


def cheapest(finder: ServiceFinder, chain: Chain, account: Address, wish: ServiceWish) -> OfferedService:
    """The cheapest service at which an account can open a tab, and has none. Raises as :func:`places`.

    Prices of several tokens do not compare: those in the chain's own coin alone count. A provider sets how long a rest
    stays locked, up to 30 days: one beyond :data:`LONGEST_WAIT` is taken by its id only.
    """
    offered = [one for one in finder.find(wish) if one.takes_tabs and one.state.token == ZERO_ADDRESS]
    found = [one for one in offered if one.state.redemption_window <= LONGEST_WAIT]
    tabs = chain.sessions_at(chain.head())
    for one in found:
        if not tabs.tab(one.job_id, account).limit:
            return one
    why = f"a tab at each of {len(found)} already" if found else "none"
    raise ServiceNotOffered("services that take a tab of yours", "one or more", why, "see: sealmarket infer services")


def _with_tab(
    finder: ServiceFinder, chain: Chain, account: Address, wish: ServiceWish, model: tuple[object, ...] | None
) -> dict[JobId, str]:
    """Services of one model at which the account has an open tab; without a model, of the cheapest one's."""
    found, tabs = finder.find(wish), chain.sessions_at(chain.head())
    held = [(one, tabs.tab(one.job_id, account)) for one in found]
    usable = [one for one, tab in held if tab.left >= one.state.unit_price and not tab.closing]
    if not usable:
        raise ServiceNotOffered(
            "services of it with an open tab of yours",
            "one or more",
            f"none of {len(found)}",
            "open one with the same --asset: sealmarket consumer tab open 1coin",
        )
    chosen = [one for one in usable if one.model == (model or usable[0].model)][:MOST_REPLICAS]
    for one in chosen if model is None else ():
        progress(f"service {one.job_id} at {one.url}, {written(one.state.unit_price, one.state.token)} a unit")
    return {one.job_id: one.url for one in chosen}


def service_lines(found: OfferedService) -> list[str]:
    """One service, for people."""
    spec, state = found.spec, found.state
    price, royalties = (written(amount, state.token) for amount in (state.unit_price, state.royalties))
    lines = [
        f"service {found.job_id}",
        f"  {price} for each unit, of which {royalties} to the owners",
        f"  provider {spec.provider.checksum}, at {found.url}",
        f"  workload {spec.workload_digest}",
        *(f"  asset {use.asset_id} version {use.version}" for use in spec.assets),
        f"  {spec.tee.slug}, {spec.min_grade.slug} or better; until {beside(state.end, found.now)}",
        f"  the rest of a tab returns within {duration(state.redemption_window)} of a confirmed close",
        f"  a lease of {state.lease} units; {state.redeemed} units paid for so far",
    ]
    if not found.takes_tabs:
        lines.append("  takes no new tab now: its bond is too small")
    return lines


def service_payload(found: OfferedService) -> dict[str, Any]:
    """For programs. Amounts are in the token's smallest unit."""
    spec, state = found.spec, found.state
    return {
        "service": str(found.job_id),
        "url": found.url,
        "provider": spec.provider.checksum,
        "workload": str(spec.workload_digest),
        "assets": [{"asset": str(use.asset_id), "version": use.version} for use in spec.assets],
        "unitPrice": str(int(state.unit_price)),
        "royalties": str(int(state.royalties)),
        "token": state.token.checksum,
        "tee": spec.tee.slug,
        "minGrade": spec.min_grade.slug,
        "end": state.end,
        "redemptionWindow": state.redemption_window,
        "lease": int(state.lease),
        "redeemed": int(state.redeemed),
        "takesTabs": found.takes_tabs,
    }
