"""What a quote rests on: chain, store and book as they were read at one head. Plain values."""

from __future__ import annotations

from dataclasses import dataclass

from sealmarket.attestation.policy.owners import OwnersPolicy
from sealmarket.attestation.policy.promises import Promise
from sealmarket.chain.model import Account, AssetState
from sealmarket.protocol.cards import NO_CARD, Card
from sealmarket.protocol.fitting import Prover, Rules
from sealmarket.protocol.orders import AssetLimit
from sealmarket.protocol.wire import SignedAssetOrder, SignedComputeOrder
from sealmarket_enclave.protocol.card import Card as PromisedCard
from sealmarket_enclave.protocol.codec import Bytes32, Wei
from sealmarket_enclave.protocol.terms import Seal


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetFacts:
    """One asset of a request. ``seal`` is the published one, held against the registry; None where no event shows it.

    ``policy`` None: the store has none that reads, and ``missing`` says so. ``lacking`` names what else of the asset
    the store lacks. ``pairs`` are the leaves behind the allow-list on chain, None where they are unknown. ``card`` is
    the data card, empty where there is none; ``promise`` what it promises, None for nothing, and ``broken`` why a card
    that claims to promise does not read. ``strange`` names readers and validators of the owner that do not come with
    Sealmarket. ``orders`` are the owner's open ones by the book.
    """

    limit: AssetLimit
    state: AssetState
    seal: Seal | None = None
    policy: OwnersPolicy | None = None
    missing: str = ""
    lacking: tuple[str, ...] = ()
    pairs: frozenset[Bytes32] | None = None
    card: Card = NO_CARD
    promise: PromisedCard | None = None
    broken: str = ""
    strange: tuple[str, ...] = ()
    orders: tuple[SignedAssetOrder, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferFacts:
    """An open compute order of the book, and what the chain says of its provider.

    ``promise`` is the capability document that the order names, None without one, or where the store has none.
    """

    signed: SignedComputeOrder
    provider: Account
    used: int
    promise: Promise | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketFacts:
    """Everything that a quote reads. Amounts in the token's smallest unit; ``gas`` is what a deposit costs in coin.

    ``payer`` is the account that pays. ``fee`` is one oracle signature, ``hold`` the hold fee of this request.
    """

    now: int
    rules: Rules
    assets: tuple[AssetFacts, ...]
    offers: tuple[OfferFacts, ...]
    payer: Account
    hold: Wei
    gas: Wei
    paused: bool = False
    prove: Prover
