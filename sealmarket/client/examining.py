"""Reads what :mod:`sealmarket.client.doctor` judges: chain, market, book, store, account, offers, this machine.

What cannot be read is a failed check, and the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sealmarket.attestation.collateral.store import CollateralStore, default_store
from sealmarket.attestation.core.errors import AttestationError
from sealmarket.chain import Block, Chain
from sealmarket.chain.fees import FeeLimits, suggest
from sealmarket.client.doctor import (
    DEVICES,
    Check,
    State,
    clock_check,
    device_checks,
    gas_check,
    no_offer_check,
    offer_checks,
    ok,
    worker_check,
)
from sealmarket.client.rules import rules_of
from sealmarket.client.verified import VerifiedMarket
from sealmarket.market_api.client import MarketApi
from sealmarket.protocol.moments import duration
from sealmarket.protocol.orders import ComputeOrder
from sealmarket.protocol.transitions import Status
from sealmarket.serving.lock import holder_of
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address
from sealmarket_enclave.protocol.errors import SealmarketError

RECENT_JOBS = 50
"""How many of the newest jobs are looked at for one that waits for an enclave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whose set-up is examined: the account, and the worker's state folder where it is named."""

    provider: Address
    state: Path | None = None
    now: Callable[[], float] = time.time


def examine(chain: Chain, store: Store, api: MarketApi, subject: Subject) -> Iterator[Check]:
    """Every check, in the order in which a new provider would mend them."""
    yield from _guarded("chain", lambda: _chain_checks(chain, subject))
    yield from _guarded("market", lambda: _market_checks(chain))
    yield from _guarded("store", lambda: _store_checks(store))
    orders: list[ComputeOrder] = []
    yield from _guarded("book", lambda: _book_checks(chain, api, subject.provider, orders))
    yield from _guarded("account", lambda: _account_checks(chain, subject.provider))
    yield from _guarded("offers", lambda: _offer_checks(chain, subject.provider, orders))
    yield from device_checks(orders, {path for path in DEVICES.values() if Path(path).exists()})
    yield from _guarded("worker", lambda: _worker_checks(chain, subject))
    yield from _collateral_checks(default_store(), datetime.fromtimestamp(subject.now(), UTC))


def _guarded(name: str, checks: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from checks()
    except SealmarketError as error:
        yield Check(name, State.FAILED, error.message, error.remedy)


def _chain_checks(chain: Chain, subject: Subject) -> Iterator[Check]:
    head, final = chain.head(), chain.final()
    behind = duration(head.timestamp - final.timestamp)
    yield ok("chain", f"{chain.chain_id}, head {head.number}, final {final.number}, {behind} behind it")
    yield clock_check(int(subject.now()), head.timestamp)


def _market_checks(chain: Chain) -> Iterator[Check]:
    VerifiedMarket(chain).require()
    if chain.at(chain.head()).paused():
        yield Check("market", State.WARNING, "matching is paused by its guardian", "running jobs go on; wait")
    else:
        yield ok("market", f"{chain.book.market.checksum}, as the address book describes it")


def _store_checks(store: Store) -> Iterator[Check]:
    store.has("workloads", ZERO_HASH)
    yield ok("store", f"{store.url} answers")


def _book_checks(chain: Chain, api: MarketApi, provider: Address, orders: list[ComputeOrder]) -> Iterator[Check]:
    found = api.book()
    if (found.chain_id, found.market) != (chain.book.chain_id, chain.book.market):
        remedy = "the address book names the backend of another market: get it again"
        yield Check("book", State.FAILED, f"it serves market {found.market.checksum}", remedy)
        return
    orders += [one.order for one in api.orders.compute_orders() if one.order.provider == provider]
    yield ok("book", f"{api.url} answers, with {len(orders)} open offers of yours")


def _account_checks(chain: Chain, provider: Address) -> Iterator[Check]:
    price = max(suggest(chain.rpc, FeeLimits()).values())
    yield ok("account", provider.checksum)
    yield gas_check(chain.balance(provider, chain.head()), price)


def _offer_checks(chain: Chain, provider: Address, orders: list[ComputeOrder]) -> Iterator[Check]:
    head, rules = chain.head(), rules_of(chain)
    if (none := no_offer_check(orders)) is not None:
        yield none
    for order in orders:
        view = chain.at(head)
        used = view.order_used(provider, order.struct_hash())
        yield from offer_checks(order, view.account(order.token, provider), used, rules, head.timestamp)


def _worker_checks(chain: Chain, subject: Subject) -> Iterator[Check]:
    holder = "" if subject.state is None else holder_of(subject.state)
    yield worker_check(holder, _waiting(chain, chain.final(), subject.provider))


def _waiting(chain: Chain, block: Block, provider: Address) -> int:
    """Jobs that wait for an enclave while half of their quote window is over."""
    view, found = chain.at(block), 0
    for job in chain.jobs_of(provider, chain.book.deployed_at, block)[-RECENT_JOBS:]:
        slot = view.job(job.spec.request_hash)
        late = slot.deadline - block.timestamp < job.spec.quote_window // 2
        found += slot.status is Status.MATCHED and late
    return found


def _collateral_checks(kept: CollateralStore, now: datetime) -> Iterator[Check]:
    remedy = "sealmarket collateral fetch"
    try:
        kinds = sorted({entry.kind for entry in kept.entries()})
        best = [(kind, kept.best(kind, now)) for kind in kinds]
    except (AttestationError, OSError) as error:
        yield Check("collateral", State.FAILED, str(error), remedy)
        return
    if not best:
        yield ok("collateral", "none is kept here; the worker fetches what its platform needs")
    for kind, entry in best:
        name = f"collateral {kind.tee.slug} {kind.fmspc}"
        if entry is None:
            yield Check(name, State.FAILED, "expired", remedy)
        elif entry.state(now) != "fresh":
            yield Check(name, State.WARNING, f"{entry.state(now)}, holds until {entry.expires.isoformat()}", remedy)
        else:
            yield ok(name, f"holds until {entry.expires.isoformat()}")
