"""A request gets the cheapest offer that fits, or is told every reason why none does."""

from dataclasses import replace
from typing import Any

import pytest

from sealmarket.protocol import merkle
from sealmarket.protocol.fitting import Side, lone_member, why_not, windows_of
from sealmarket.protocol.matching import AssetKey, NoMatch, OnSale, Proposal, propose
from sealmarket.protocol.moments import moment
from sealmarket.protocol.timing import longest_hold
from sealmarket.protocol.wire import SignedAssetOrder, SignedComputeOrder
from sealmarket_backend.index import IndexedAsset
from sealmarket_enclave.protocol.codec import Address, Bytes32, Uint64, Wei
from sealmarket_enclave.protocol.numbers import Grade, Tee
from tests.backend.orders import (
    ASSET,
    CONSUMER,
    NOW,
    OWNER,
    PROVIDER,
    RULES,
    account,
    asset_order,
    compute,
    indexed,
    signed_request,
)

OTHER_TOKEN = Address(b"\x77" * 20)
STRANGERS = merkle.account_leaf(Address(b"\x66" * 20))
KEY: AssetKey = (ASSET, 1)
LIMIT = signed_request().request.assets[0]


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
    return propose(signed_request(**request), given, OnSale(assets, {KEY: list(offers)}), RULES, NOW)


@pytest.mark.parametrize(
    ("because", "result"),
    [
        ("the request: expiry is", outcome(expiry=NOW)),
        ("it is not published at a final block", outcome(published=False)),
        ("it is revoked", outcome(asset=indexed(revoked=True))),
        ("it is suspended", outcome(asset=indexed(suspended=True))),
        ("expected after", outcome(asset=indexed(expiry=NOW))),
        ("the terms version in force is 2, expected 1", outcome(asset=indexed(terms_version=2))),
        ("the token of its price is", outcome(asset=indexed(token=OTHER_TOKEN))),
        ("purpose is train, expected fine_tune", outcome(asset=indexed(purposes=2))),
        ("the consumer is", outcome(asset=indexed(consumer_root=STRANGERS))),
        ("(maxHold of terms) is 1000, expected at most 999", outcome(asset=indexed(max_hold=999))),
        ("its price is 101 wei, expected at most 100 wei", outcome(asset=indexed(price=Wei(101)))),
        ("no provider offers compute yet", outcome(computes=())),
        ("expiry is", outcome(computes=(compute(expiry=NOW),))),
        ("token is", outcome(computes=(compute(token=OTHER_TOKEN),))),
        ("tee is SNP, expected TDX", outcome(computes=(compute(tee=Tee.SNP),))),
        ("grade is simulated, expected hardware", outcome(min_grade=Grade.HARDWARE)),
        ("as the owners' terms demand", outcome(asset=indexed(min_grade=Grade.HARDWARE))),
        ("expected among the providers that the request allows", outcome(providers=STRANGERS)),
        ("expected among those whom it serves", outcome(computes=(compute(consumers=STRANGERS),))),
        ("expected among those that the request accepts", outcome(capabilities=STRANGERS)),
        ("compute price is 51 wei, expected at most 50 wei", outcome(computes=(compute(price=Wei(51)),))),
        ("unit price is 6 wei, expected at most 5 wei", outcome(computes=(compute(unit_price=Wei(6)),))),
        (
            "timeoutLimit (timeoutFee, and timeoutShare of terms) is 150 wei, expected at least 151 wei",
            outcome(computes=(compute(timeout_fee=Wei(71)),)),
        ),
        (
            "is 150 wei, expected at least 152 wei",
            outcome(computes=(compute(timeout_fee=Wei(111)),), asset=indexed(timeout_share=51)),
        ),
        ("penalty is 10 wei, expected at least 11 wei", outcome(min_penalty=Wei(11))),
        ("(for the oracle's fees) is 6 wei, expected at least 7 wei", outcome(computes=(compute(penalty=Wei(6)),))),
        ("(maxStake) is 90 wei, expected at most 89 wei", outcome(computes=(compute(max_stake=Wei(89)),))),
        ("(minQuoteWindow) is 200, expected at least 201", outcome(computes=(compute(min_quote_window=201),))),
        ("(minSettleWindow) is 200, expected at least 201", outcome(computes=(compute(min_settle_window=201),))),
        ("(maxHold) is 1400, expected at most 1399", outcome(computes=(compute(max_hold=1399),))),
        ("(maxRunSeconds) is 60, expected at most 59", outcome(computes=(compute(max_run_seconds=59),))),
        ("(maxReadSeconds) is 30, expected at most 29", outcome(computes=(compute(max_read_seconds=29),))),
        ("(maxValidateSeconds) is 10, expected at most 9", outcome(computes=(compute(max_validate_seconds=9),))),
        ("(maxDecodedBytes) is", outcome(computes=(compute(max_decoded_bytes=Uint64(1)),))),
        ("settleWindow is 104, expected at least 105", outcome(settle_window=104)),
        ("quoteWindow is 4, expected at least 5", outcome(quote_window=4)),
    ],
)
def test_a_request_without_match_is_told_why(because: str, result: Proposal | NoMatch) -> None:
    assert isinstance(result, NoMatch)
    assert any(because in reason for reason in result.reasons), result.reasons


@pytest.mark.parametrize("slack", [-1, 0])
def test_a_job_that_could_outlast_its_committee_is_told_when_that_ends(slack: int) -> None:
    ends_at = NOW + longest_hold(windows_of(signed_request().request)) + slack
    rules = replace(RULES, ends_of={1: ends_at, 2: NOW}.__getitem__)
    found = propose(signed_request(), (compute(),), OnSale({KEY: indexed()}, {}), rules, NOW)
    if slack == 0:
        assert isinstance(found, Proposal)
        return
    assert isinstance(found, NoMatch)
    (reason,) = found.reasons
    assert reason.startswith(f"the committee of epoch 1: its end is {moment(ends_at)}, expected {moment(ends_at + 1)}")
    unmet = why_not(signed_request().request, compute().order, [Side(LIMIT, indexed())], rules, NOW)
    assert str(unmet) == reason


def test_an_epoch_is_over_once_the_shortest_job_would_outlast_it() -> None:
    shortest = longest_hold(RULES.timing.windows)
    rules = replace(RULES, ends_of={1: NOW + shortest, 2: 0}.__getitem__)
    assert [rules.is_over(1, NOW), rules.is_over(1, NOW + 1), rules.is_over(2, NOW + 10**9)] == [False, True, False]


def test_every_reason_is_named_at_once() -> None:
    result = outcome(asset=indexed(revoked=True, price=Wei(101)), computes=(compute(tee=Tee.SGX),))
    assert isinstance(result, NoMatch)
    assert len(result.reasons) == 3


def test_an_order_for_another_provider_is_left_aside() -> None:
    result = outcome(offers=(asset_order(providers=STRANGERS),))
    assert isinstance(result, Proposal)
    assert result.offers == (None,)


def test_a_provider_for_whom_an_owner_is_cheaper_wins_with_both_prices_together() -> None:
    cheap, dear = compute(price=Wei(30)), compute(price=Wei(40), provider=account(OWNER))
    for_dear = asset_order(price=Wei(60), providers=merkle.account_leaf(account(OWNER)))
    result = outcome(computes=(cheap, dear), offers=(for_dear,))
    assert isinstance(result, Proposal)
    assert (result.compute, result.offers) == (dear, (for_dear,))


def test_a_set_of_several_is_matched_where_its_list_is_known() -> None:
    tree = merkle.Tree([merkle.account_leaf(account(PROVIDER)), STRANGERS])
    request = signed_request(providers=tree.root)
    on_sale = OnSale({KEY: indexed()}, {})
    assert isinstance(propose(request, [compute()], on_sale, RULES, NOW), NoMatch)

    def prove(root: Bytes32, leaf: Bytes32) -> tuple[Bytes32, ...] | None:
        return tree.proof(leaf) if root == tree.root else lone_member(root, leaf)

    assert isinstance(propose(request, [compute()], on_sale, RULES, NOW, prove), Proposal)


def test_the_first_limit_is_named_as_the_market_would() -> None:
    side = Side(signed_request().request.assets[0], indexed(suspended=True))
    order = compute(tee=Tee.SNP, max_stake=Wei(1)).order
    why = [why_not(signed_request(quote_window=q).request, order, [side], RULES, NOW) for q in (200, 1)]
    assert [one and one.limit for one in why] == ["tee", "quoteWindow"]
    assert why_not(signed_request().request, compute().order, [replace(side, version=indexed())], RULES, NOW) is None


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
