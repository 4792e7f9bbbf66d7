"""Signed orders for the backend's tests."""

from __future__ import annotations

from typing import Any

import coincurve

from sealmarket.chain.deploy import timing
from sealmarket.protocol.book import AddressBook, Committee, FinalityRule, Member, Windows
from sealmarket.protocol.fitting import Rules
from sealmarket.protocol.orders import AssetOrder, Request
from sealmarket.protocol.wire import PostedRequest, SignedAssetOrder, SignedComputeOrder, SignedRequest
from sealmarket_backend.book import OrderBook
from sealmarket_backend.index import IndexedAsset
from sealmarket_backend.signatures import Signatures
from sealmarket_backend.states import OrderState, RequestState
from sealmarket_enclave.protocol.codec import (
    ZERO_ADDRESS,
    ZERO_HASH,
    Address,
    Bytes32,
    HexBytes,
    MicroEpsilon,
    Uint,
    Wei,
    canonical_json,
)
from sealmarket_enclave.protocol.eip712 import TypedShape
from sealmarket_enclave.protocol.job import Parameters, parameters_digest
from sealmarket_enclave.protocol.numbers import AssetId, Grade
from sealmarket_enclave.protocol.signing import address_of, sign
from sealmarket_enclave.protocol.terms import Seal, Terms
from tests import samples

NOW = 1_700_000_000
CONSUMER, PROVIDER, OWNER, STRANGER = (coincurve.PrivateKey(bytes([n]) * 32) for n in (1, 2, 3, 4))
NODES = tuple(coincurve.PrivateKey(bytes([n]) * 32) for n in (11, 12, 13))
ASSET = AssetId(Bytes32(b"\xa5" * 32))


def account(key: coincurve.PrivateKey) -> Address:
    """The account of a key."""
    return address_of(key.public_key)


COMMITTEE = Committee(
    epoch=1,
    threshold=2,
    members=tuple(
        Member(signer=account(key), hpke_public_key=HexBytes(b"\x01"), url=f"http://127.0.0.1:{9000 + n}")
        for n, key in enumerate(NODES)
    ),
)
PARAMETERS = Parameters(salt=Bytes32(b"\x05" * 32), values={"target": "a"})
TIMING = timing(1, transfer_allowance=1, windows=Windows(quote=5, decide=5, settle=10, challenge=5))
BOOK = AddressBook(
    chain_id=31337,
    registry=Address(b"\x0a" * 20),
    committee=Address(b"\x0b" * 20),
    market=Address(b"\x0c" * 20),
    endings=Address(b"\xe1" * 20),
    extension=Address(b"\xe2" * 20),
    deployed_at=0,
    finality=FinalityRule(kind="finalized"),
    timing=TIMING,
    store="http://127.0.0.1:8400",
    backend="http://127.0.0.1:8400",
    committees=(COMMITTEE,),
)


RULES = Rules(
    timing=TIMING,
    committees={1: COMMITTEE},
    fee_of=lambda token: 1 if token == ZERO_ADDRESS else None,
    ends_of=lambda _: 0,
)
"""One oracle signature costs 1, so that the least penalty is 2 * 2 + 3."""


def keys_only() -> Signatures:
    """Signatures on a chain without contracts."""
    return Signatures(BOOK, lambda _signer, _digest, _signature: False)


def signature(word: TypedShape, key: coincurve.PrivateKey, book: AddressBook = BOOK) -> HexBytes:
    """A signature over typed data under a market's domain."""
    return sign(word.digest(book.chain_id, book.market), key)


def request(**changes: Any) -> Request:
    """A request that the other defaults here satisfy."""
    digest = parameters_digest(PARAMETERS.salt, canonical_json(PARAMETERS.values))
    fields: dict[str, Any] = {
        "consumer": account(CONSUMER),
        "parameters_digest": digest,
        **dict.fromkeys(samples.WINDOWS, 200),
    }
    return samples.request(samples.asset_limit(asset_id=ASSET), **(fields | changes))


def signed_request(key: coincurve.PrivateKey = CONSUMER, **changes: object) -> SignedRequest:
    """A request with its consumer's signature, or another's."""
    made = request(**changes)
    return SignedRequest(request=made, signature=signature(made, key))


def posted_request(key: coincurve.PrivateKey = CONSUMER, **changes: object) -> PostedRequest:
    """A signed request and its parameters, as they are posted."""
    return PostedRequest(request=signed_request(key, **changes), parameters=PARAMETERS)


def compute(key: coincurve.PrivateKey = PROVIDER, **changes: object) -> SignedComputeOrder:
    """A provider's signed offer."""
    order = samples.compute_order(**({"provider": account(PROVIDER)} | changes))
    return SignedComputeOrder(order=order, signature=signature(order, key))


def asset_order(key: coincurve.PrivateKey = OWNER, **changes: object) -> SignedAssetOrder:
    """An owner's signed offer below the standing price."""
    base: dict[str, object] = {
        "asset_id": ASSET,
        "version": 1,
        "price": Wei(60),
        "volume": 2**32 - 1,
        "expiry": NOW + 1000,
        "consumers": ZERO_HASH,
        "providers": ZERO_HASH,
        "salt": Uint(0),
    }
    order = AssetOrder(**{**base, **changes})  # type: ignore[arg-type]
    return SignedAssetOrder(order=order, signature=signature(order, key))


def state_of(book: OrderBook, request_hash: Bytes32) -> RequestState:
    """Where a request stands that the book keeps."""
    return book.request_states([request_hash])[request_hash]


def offer_state(book: OrderBook, order_hash: Bytes32) -> OrderState:
    """Where an offer of either kind stands that the book keeps."""
    return book.order_states([order_hash])[order_hash]


def indexed(*, terms_version: int = 1, revoked: bool = False, suspended: bool = False, **terms: object) -> IndexedAsset:
    """An asset as the index knows it."""
    base: dict[str, object] = {
        "token": ZERO_ADDRESS,
        "price": Wei(80),
        "expiry": NOW + 1000,
        "max_uses": 10,
        "purposes": 1,
        "min_grade": Grade.SIMULATED,
        "budget": MicroEpsilon(0),
        "per_job_cap": MicroEpsilon(0),
        "allow_root": Bytes32(b"\x01" * 32),
        "consumer_root": ZERO_HASH,
        "max_hold": 30 * 86_400,
        "timeout_share": 100,
    }
    seal = Seal(content_root=ZERO_HASH, content_version=1, share_root=ZERO_HASH, policy_hash=ZERO_HASH, epoch=1)
    made = Terms(**{**base, **terms})  # type: ignore[arg-type]
    return IndexedAsset(ASSET, 1, account(OWNER), seal, made, terms_version, revoked, suspended)
