"""A request gets the cheapest offer that fits, or is told every reason why none does."""

from typing import Any

import pytest

from sealmarket.protocol import merkle
from sealmarket.protocol.wire import SignedAssetOrder, SignedComputeOrder
from sealmarket_backend.index import IndexedAsset
from sealmarket_backend.matching import AssetKey, NoMatch, Proposal, propose
from sealmarket_enclave.protocol.codec import Address, Wei
from sealmarket_enclave.protocol.numbers import Grade, Tee
from tests.backend.orders import ASSET, CONSUMER, NOW, PROVIDER, account, asset_order, compute, indexed, signed_request

OTHER_TOKEN = Address(b"\x77" * 20)
STRANGERS = merkle.account_leaf(Address(b"\x66" * 20))
KEY: AssetKey = (ASSET, 1)


def outcome(
    *,
    computes: tuple[SignedComputeOrder, ...] | None = None,
    asset: IndexedAsset | None = None,
    offers: tuple[SignedAssetOrder, ...] = (),
    published: bool = True,
    **request: Any,
) -> Proposal | NoMatch:
    assets = {KEY: asset or indexed()} if published else {}
    given = (compute(),) if computes is None else computes
    return propose(signed_request(**request), given, assets, {KEY: offers}, NOW)


@pytest.mark.parametrize(
    ("because", "result"),
    [
        ("request expired", outcome(expiry=NOW)),
        ("is not published at a final block", outcome(published=False)),
        ("was revoked", outcome(asset=indexed(revoked=True))),
        ("expired at", outcome(asset=indexed(expiry=NOW))),
        ("terms version 2, the request saw 1", outcome(asset=indexed(terms_version=2))),
        ("is priced in", outcome(asset=indexed(token=OTHER_TOKEN))),
        ("does not allow purpose 1", outcome(asset=indexed(purposes=2))),
        ("costs 101, the request pays at most 100", outcome(asset=indexed(price=Wei(101)))),
        ("no provider offers compute yet", outcome(computes=())),
        ("the offer expired", outcome(computes=(compute(expiry=NOW),))),
        ("is paid in", outcome(computes=(compute(token=OTHER_TOKEN),))),
        ("runs SNP, the request wants TDX", outcome(computes=(compute(tee=Tee.SNP),))),
        ("offers simulated evidence, the request wants hardware", outcome(min_grade=Grade.HARDWARE)),
        ("not among the providers", outcome(providers=STRANGERS)),
        ("does not serve this consumer", outcome(computes=(compute(consumers=STRANGERS),))),
        ("asks 51 a job", outcome(computes=(compute(price=Wei(51)),))),
        ("asks 6 a unit", outcome(computes=(compute(unit_price=Wei(6)),))),
    ],
)
def test_a_request_without_match_is_told_why(because: str, result: Proposal | NoMatch) -> None:
    assert isinstance(result, NoMatch)
    assert any(because in reason for reason in result.reasons), result.reasons


def test_every_reason_is_named_at_once() -> None:
    result = outcome(asset=indexed(revoked=True, price=Wei(101)), computes=(compute(tee=Tee.SGX),))
    assert isinstance(result, NoMatch)
    assert len(result.reasons) == 3


def test_the_cheapest_offer_at_the_unit_cap_wins() -> None:
    flat, metered = compute(price=Wei(45), unit_price=Wei(0)), compute(price=Wei(20), unit_price=Wei(3))
    result = outcome(computes=(metered, flat))
    assert isinstance(result, Proposal)
    assert result.compute is flat


def test_among_equal_offers_the_oldest_wins() -> None:
    first, second = compute(), compute(penalty=Wei(11))
    result = outcome(computes=(first, second))
    assert isinstance(result, Proposal)
    assert result.compute is first


def test_an_owners_cheaper_order_beats_the_standing_terms() -> None:
    cheap = asset_order()
    result = outcome(offers=(asset_order(price=Wei(70)), cheap))
    assert isinstance(result, Proposal)
    assert result.offers == (cheap,)


def test_an_owners_dearer_order_is_left_aside() -> None:
    result = outcome(offers=(asset_order(price=Wei(90)),))
    assert isinstance(result, Proposal)
    assert result.offers == (None,)


def test_an_order_for_this_consumer_alone_is_used() -> None:
    mine = merkle.account_leaf(account(CONSUMER))
    chosen = asset_order(consumers=mine)
    result = outcome(
        offers=(chosen,), computes=(compute(consumers=mine),), providers=merkle.account_leaf(account(PROVIDER))
    )
    assert isinstance(result, Proposal)
    assert result.offers == (chosen,)
