"""What a quote and a search read of a backend counts only where chain, hashes and signatures bear it out."""

from __future__ import annotations

from dataclasses import replace as change
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from msgspec.structs import replace

from sealmarket.chain.model import Account as Balances
from sealmarket.client import AssetWish, Provider, Wanted
from sealmarket.client.browsing import Browser, FoundAsset
from sealmarket.client.provider import Offer
from sealmarket.client.quote import Quote
from sealmarket.client.reading import ENOUGH_OFFERS, Reading
from sealmarket.protocol.cards import NO_CARD
from sealmarket.protocol.market import AssetPage, TimesTaken, TimeTaken
from sealmarket.protocol.wire import AssetView, SignedComputeOrder
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Bytes32, Wei, canonical_json, decode
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import AssetId, Grade, Tee
from sealmarket_enclave.protocol.policy import Validator
from sealmarket_enclave.protocol.terms import Seal
from sealmarket_enclave.workload.timing import seconds_for_step
from tests.client.bundles import policy
from tests.client.test_consumer import ASSET, KEY, LIMITS, SEAL, TERMS, WISHES, Stage
from tests.client.test_owner import COMMITTEE

NAMED, ALIKE = AssetId(Bytes32(b"\x61" * 32)), AssetId(Bytes32(b"\x62" * 32))
PLAIN = Offer(tee=Tee.TDX, grade=Grade.SIMULATED, price=Wei(7), penalty=Wei(100), volume=3)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    made = Stage(tmp_path)
    made.chain.finalise()
    monkeypatch.setattr(type(made.chain), "has_code", lambda _self, _account: False, raising=False)
    return made


def offered(stage: Stage, price: int = 7) -> SignedComputeOrder:
    """An offer in the twin's book, with stake behind it."""
    account = Account.create()
    provider = Provider(stage.chain, account, stage.backend.api())  # type: ignore[arg-type]
    stage.chain.set_account(ZERO_ADDRESS, provider.address, Balances(Wei(0), Wei(1000)))
    provider.offer(change(PLAIN, price=Wei(price)))
    return decode(SignedComputeOrder, stage.backend.posted["compute-orders"][-1])


def quoted(stage: Stage) -> Quote:
    wanted = Wanted(workload=stage.workload, parameters={"target": "a"}, assets=WISHES, limits=LIMITS)
    return stage.consumer.quote(stage.consumer.compose(wanted, KEY))


def codes(quote: Quote) -> set[str]:
    return {clause.code for clause in quote.clauses}


def test_an_offer_that_its_provider_did_not_sign_is_no_offer(stage: Stage) -> None:
    signed = offered(stage)
    assert "no_offer" not in codes(quoted(stage))
    cheaper = replace(signed.order, price=Wei(1))
    forged = SignedComputeOrder(order=cheaper, signature=signed.signature)
    stage.backend.posted["compute-orders"] = [canonical_json(forged)]
    found = quoted(stage)
    assert "no_offer" in codes(found)
    assert found.nearest == ()


def test_cheap_offers_without_stake_hide_no_offer_that_can_be_used(stage: Stage) -> None:
    for _ in range(ENOUGH_OFFERS + 2):
        signed = offered(stage, price=1)
        stage.chain.set_account(ZERO_ADDRESS, signed.order.provider, Balances(Wei(0), Wei(0)))
    offered(stage)
    assert quoted(stage).price.compute == PLAIN.price


def test_an_empty_store_refuses_before_anything_is_signed(stage: Stage) -> None:
    offered(stage)
    assert {"policy_missing", "content_missing", "funds"} <= codes(quoted(stage))
    assert "requests" not in stage.backend.posted


def test_a_policy_of_another_hash_is_none(stage: Stage) -> None:
    reading = Reading(stage.chain, stage.backend.store(), stage.backend.api())  # type: ignore[arg-type]
    raw = policy(ASSET, COMMITTEE).canonical()
    seal = replace(SEAL, policy_hash=keccak(raw))
    assert reading.policy_of(seal) == (None, "not in the store")
    stage.backend.blobs[f"documents/{seal.policy_hash}"] = raw.replace(b"rows", b"cows")
    found, why = reading.policy_of(seal)
    assert found is None
    assert str(seal.policy_hash) in why
    stage.backend.blobs[f"documents/{seal.policy_hash}"] = raw
    found, _ = reading.policy_of(seal)
    assert found is not None
    assert found.document.title == "rows"


def test_a_request_has_time_for_the_validators_that_the_owners_policies_name(stage: Stage) -> None:
    wanted = Wanted(workload=stage.workload, parameters={"target": "a"}, assets=WISHES, limits=LIMITS)
    unknown = stage.consumer.compose(wanted, KEY).request.validate_seconds
    assert unknown == 60 + 30 * len(WISHES)
    (declared,) = stage.workload.manifest.outputs
    check = Validator(media_type=declared.media_type, digest=Bytes32(b"\x07" * 32), rules={})
    checks = tuple(replace(check, rules={"number": number}) for number in range(8))
    base = policy(ASSET, COMMITTEE)
    document = replace(base, output=replace(base.output, validators=checks))
    seal = replace(SEAL, policy_hash=stage.backend.store().put_document(document.canonical()))
    for asset in (NAMED, ALIKE):
        stage.chain.publish(asset, ZERO_ADDRESS, seal, TERMS)
    stage.chain.finalise()
    known = change(wanted, assets=[AssetWish(asset_id=asset, version=1) for asset in (NAMED, ALIKE)])
    assert stage.consumer.compose(known, KEY).request.validate_seconds == 60 + 8 * seconds_for_step(1)
    named = change(known, limits=change(LIMITS, validate_seconds=7))
    assert stage.consumer.compose(named, KEY).request.validate_seconds == 7


def test_what_is_shown_of_an_asset_is_the_chains(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def view(seal: Seal, **changes: Any) -> AssetView:
        fields: dict[str, Any] = {"asset_id": ASSET, "version": 1, "owner": ZERO_ADDRESS, "seal": seal}
        fields |= {"terms": replace(TERMS, price=Wei(1)), "terms_version": 1, "revoked": False, "suspended": False}
        return AssetView(**(fields | changes), title="told by the backend", columns=("told",))

    views = (
        view(SEAL),
        view(replace(SEAL, policy_hash=keccak(b"another"))),
        view(SEAL, version=9),
    )
    api = stage.backend.api()
    monkeypatch.setattr(api, "catalogue", lambda **_wanted: AssetPage(items=views))
    stage.chain.revoke(ASSET)
    (found,), _ = Browser(stage.chain, stage.backend.store(), api).assets({})  # type: ignore[arg-type]
    assert found.state.terms.price == TERMS.price
    assert (found.title, found.card.columns) == ("", ())
    assert list(found.not_on_sale(0)) == ["revoked by its owner"]


def test_a_quote_says_how_long_jobs_took_and_is_made_without_it(stage: Stage) -> None:
    offered(stage)
    assert quoted(stage).took is None
    found = TimesTaken(workload=TimeTaken(jobs=3, median=60, ninetieth=90))
    stage.backend.answers["times-taken/"] = canonical_json(found)
    assert quoted(stage).took == found


def test_a_version_is_not_on_sale_once_its_committee_has_ended(stage: Stage) -> None:
    state = stage.chain.at(stage.chain.head()).asset(ASSET, 1)
    found = FoundAsset(asset_id=ASSET, version=1, state=state, title="", card=NO_CARD, epoch_end=100)
    assert list(found.not_on_sale(99)) == []
    assert list(found.not_on_sale(100)) == ["its committee, of epoch 1, has ended"]
