"""A quote names every clause that would refuse a request, by the rules that apply later, and prices it to the wei."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as change
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sealmarket.attestation.policy.owners import OwnersPolicy
from sealmarket.attestation.policy.promises import Promise, promise_or_reason
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.chain.model import Account, AssetState
from sealmarket.client.draft import DraftTerms, PolicyDraft, policy_document
from sealmarket.client.errors import RequestInvalid
from sealmarket.client.market_facts import AssetFacts, MarketFacts, OfferFacts
from sealmarket.client.quote import NEAREST, Quote, quote_of
from sealmarket.client.requests import UnsignedRequest
from sealmarket.protocol.capability import Capability
from sealmarket.protocol.cards import Card
from sealmarket.protocol.fitting import Rules, Side, lone_member, why_not
from sealmarket.protocol.merkle import account_leaf
from sealmarket.protocol.orders import Purpose, Request
from sealmarket.protocol.wire import SignedAssetOrder, SignedComputeOrder
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.wheels import build
from sealmarket_devices.measure import LaunchMeasurement
from sealmarket_devices.measurements import tdx_measurement
from sealmarket_enclave.protocol.card import Card as PromisedCard
from sealmarket_enclave.protocol.card import Column, Dialect, ReaderRef
from sealmarket_enclave.protocol.codec import (
    ZERO_ADDRESS,
    ZERO_HASH,
    Address,
    Bytes32,
    HexBytes,
    MicroEpsilon,
    Uint,
    Uint64,
    Wei,
    to_builtins,
)
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import Parameters
from sealmarket_enclave.protocol.numbers import AssetId, Grade, Tee
from sealmarket_enclave.protocol.policy import OutputRules, Validator
from sealmarket_enclave.protocol.terms import Seal
from sealmarket_enclave.workload.bundle import Bundle
from sealmarket_enclave.workload.needs import ColumnNeed, Needs
from tests import samples
from tests.client.bundles import MEASUREMENT
from tests.client.test_owner import BOOK, COMMITTEE
from tests.enclave.workload.bundles import bundle

NOW = 1_700_000_000
FEE = 3
SIGNATURE = HexBytes(bytes(65))
RULES = Rules(
    timing=BOOK.timing,
    committees={1: COMMITTEE},
    fee_of=lambda token: FEE if token == ZERO_ADDRESS else None,
    ends_of=lambda _: 0,
)
OUTPUT = OutputRules(media_types=("application/json", "text/csv"), max_outputs=9, max_bytes=1 << 20, bucket_bytes=4096)
KEY = b"result key"
OWNERS = (Address(b"\x0a" * 20), Address(b"\x0b" * 20))
ASSETS = tuple(AssetId(keccak(b"asset %d" % n)) for n in range(2))


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A request over two assets that would be taken, and what is known about it."""

    unsigned: UnsignedRequest
    facts: MarketFacts

    @property
    def quote(self) -> Quote:
        """What the client says."""
        return quote_of(self.unsigned, self.facts)

    @property
    def codes(self) -> set[str]:
        """The codes of the clauses that refuse."""
        return {clause.code for clause in self.quote.clauses}

    def asking(self, **changes: Any) -> World:
        """The same with another request."""
        request = replace(self.unsigned.request, **changes)
        return change(self, unsigned=change(self.unsigned, request=request))

    def knowing(self, **changes: Any) -> World:
        """The same with other facts."""
        return change(self, facts=change(self.facts, **changes))

    def asset(self, place: int = 0, **changes: Any) -> World:
        """The same with another asset."""
        assets = list(self.facts.assets)
        assets[place] = change(assets[place], **changes)
        return self.knowing(assets=tuple(assets))

    def state(self, place: int = 0, **changes: Any) -> World:
        """The same with other terms or another state of an asset."""
        state = self.facts.assets[place].state
        terms = {name: changes.pop(name) for name in list(changes) if name in state.terms.__struct_fields__}
        return self.asset(place, state=change(state, terms=replace(state.terms, **terms), **changes))

    def policy(self, place: int = 0, **changes: Any) -> World:
        """The same with another policy document."""
        policy = self.facts.assets[place].policy
        assert policy is not None
        return self.asset(place, policy=OwnersPolicy(replace(policy.document, **changes), policy.rules))

    def offer(self, **changes: Any) -> World:
        """The same with another offer, or something else behind it."""
        (offer,) = self.facts.offers
        behind = {name: changes.pop(name) for name in list(changes) if name in ("provider_account", "used", "promise")}
        if "provider_account" in behind:
            behind["provider"] = behind.pop("provider_account")
        signed = SignedComputeOrder(order=replace(offer.signed.order, **changes), signature=SIGNATURE)
        return self.knowing(offers=(change(offer, signed=signed, **behind),))


def _policy(place: int, workload: Bytes32) -> OwnersPolicy:
    rules = AppraisalPolicy(measurements=(MEASUREMENT,), platforms="any", lowest_grade="simulated")
    draft = PolicyDraft(
        title=f"rows {place}",
        evidence=to_builtins(rules),
        workloads=(workload,),
        terms=DraftTerms(price=Wei(10), expiry=NOW + 9999, max_uses=5, purposes=("train",), min_grade="simulated"),
        output=OUTPUT,
        data_card={},
    )
    return OwnersPolicy(policy_document(draft, ASSETS[place], 1, COMMITTEE, ZERO_HASH, 86_400 * 9), rules)


def _asset(place: int, policy: OwnersPolicy) -> AssetFacts:
    state = AssetState(
        owner=OWNERS[place],
        seal_hash=ZERO_HASH,
        epoch=1,
        terms=policy.document.terms,
        terms_version=1,
        revoked=False,
        suspended=False,
        strict_version=1,
        uses_taken=0,
        budget_taken=MicroEpsilon(0),
    )
    limit = samples.asset_limit(asset_id=ASSETS[place])
    seal = Seal(content_root=ZERO_HASH, content_version=1, share_root=ZERO_HASH, policy_hash=ZERO_HASH, epoch=1)
    return AssetFacts(limit=limit, state=state, seal=seal, policy=policy, card=Card(columns=("a", "b")))


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    tree = bundle(tmp_path_factory.mktemp("quote") / "workload")
    (tree / "environment.json").write_bytes(build(b"", []).canonical())
    return read_bundle(Path(tree))


@pytest.fixture(scope="module")
def world(workload: Bundle) -> World:
    assets = tuple(_asset(place, _policy(place, workload.digest)) for place in range(2))
    request = samples.request(
        *(asset.limit for asset in assets),
        workload_digest=workload.digest,
        timeout_limit=Wei(10_000),
        **(dict.fromkeys(samples.WINDOWS, 900) | {"settle_window": 2000, "challenge_window": 86_400}),
    )
    unsigned = UnsignedRequest(
        request=request,
        parameters=Parameters(salt=ZERO_HASH, values={"target": "a"}),
        workload=workload,
        capabilities=(),
        result_keys=(KEY,),
        at=None,  # type: ignore[arg-type]  # only what reads the chain looks at it
    )
    order = samples.compute_order(penalty=Wei(100))
    signed = SignedComputeOrder(order=order, signature=SIGNATURE)
    facts = MarketFacts(
        now=NOW,
        rules=RULES,
        assets=assets,
        offers=(OfferFacts(signed=signed, provider=Account(Wei(0), Wei(10**6)), used=0),),
        payer=Account(Wei(10**6), Wei(0)),
        hold=Wei(1000),
        gas=Wei(5),
        prove=lone_member,
    )
    return World(unsigned=unsigned, facts=facts)


WITHHOLDING = replace(OUTPUT, validators=(Validator(media_type="text/csv", digest=ZERO_HASH, rules={}, withheld=100),))
SOLO = OutputRules(media_types=("text/plain",), max_outputs=1, max_bytes=1, bucket_bytes=1)
OTHER_MEASUREMENT = tdx_measurement(LaunchMeasurement(image=b"\x09" * 48, runtime=b"\x02" * 48, command=b"\x03" * 48))


def promise(memory: int = 1 << 40, measurement: Any = MEASUREMENT) -> Promise:
    """What a provider promised."""
    document = Capability(
        tee=Tee.TDX,
        measurements=(to_builtins(measurement),),
        platform_classes=(),
        memory_bytes=Uint64(memory),
        threads=9,
        environments=(),
        ciphertext_bytes=Uint64(1),
    )
    found = promise_or_reason(document.canonical())
    assert isinstance(found, Promise)
    return found


def promising(w: World, found: Promise | None) -> World:
    """The same with an offer that names a promise, which the request accepts."""
    return w.offer(promise=found, capability_hash=found.document.digest() if found else keccak(b"a promise"))


PROMISED = PromisedCard(
    kind="table",
    media_type="text/csv",
    reader=ReaderRef(name="tables", digest=ZERO_HASH),
    dialect=Dialect(),
    columns=(Column(name="a", type="integer"), Column(name="b", type="text")),
)


def needing(w: World, **values: Any) -> World:
    """The same with a workload that needs a column of numbers, the one that parameter `target` names, of each asset."""
    needs = Needs(kind="table", columns=(ColumnNeed(parameter="target", types=("integer",)),))
    manifest = w.unsigned.workload.manifest
    slots = tuple(replace(slot, needs=needs, media_type="text/csv") for slot in manifest.inputs)
    workload = change(w.unsigned.workload, manifest=replace(manifest, inputs=slots))
    parameters = replace(w.unsigned.parameters, values=w.unsigned.parameters.values | values)
    return change(w, unsigned=change(w.unsigned, workload=workload, parameters=parameters))


REFUSALS: dict[str, tuple[Callable[[World], World], set[str]]] = {
    "a version that its owner revoked": (lambda w: w.state(revoked=True), {"limit"}),
    "a suspended version": (lambda w: w.state(suspended=True), {"limit"}),
    "expired terms": (lambda w: w.state(expiry=NOW), {"limit"}),
    "a version whose uses are taken": (lambda w: w.state(uses_taken=5), {"used_up"}),
    "a use that is not ours": (lambda w: w.state(consumer_root=account_leaf(OWNERS[0])), {"limit"}),
    "more privacy loss than a job may take": (
        lambda w: w.asking(
            assets=(samples.asset_limit(asset_id=ASSETS[0], epsilon=MicroEpsilon(1)), w.unsigned.request.assets[1])
        ).asset(limit=samples.asset_limit(asset_id=ASSETS[0], epsilon=MicroEpsilon(1))),
        {"limit", "budget_spent", "output_rules_unmet"},
    ),
    "a workload that no policy lists": (
        lambda w: w.asking(workload_digest=keccak(b"another")),
        {"workload_not_allowed"},
    ),
    "a purpose that is not sold": (lambda w: w.asking(purpose=int(Purpose.QUERY)), {"limit", "purpose_not_allowed"}),
    "a TEE of which no enclave is allowed": (
        lambda w: w.asking(tee=Tee.SNP).offer(tee=Tee.SNP),
        {"tee_not_allowed"},
    ),
    "a pair that is not on chain": (lambda w: w.asset(pairs=frozenset({ZERO_HASH})), {"pair_not_on_chain"}),
    "too few owners": (lambda w: w.policy(output=replace(OUTPUT, minimum_owners=3)), {"output_rules_unmet"}),
    "no format in common": (lambda w: w.policy(output=SOLO), {"output_rules_unmet"}),
    "an output that the owners do not allow": (
        lambda w: w.policy(0, output=SOLO).policy(1, output=SOLO),
        {"outputs_not_allowed"},
    ),
    "an output with differential privacy": (
        lambda w: w.policy(output=replace(OUTPUT, privacy="dp")),
        {"output_rules_unmet"},
    ),
    "an owner's key that the result is not sealed to": (
        lambda w: w.policy(result_keys=(ZERO_HASH,)),
        {"owner_key_missing"},
    ),
    "a policy that is not in the store": (lambda w: w.asset(policy=None), {"policy_missing"}),
    "a policy about another asset": (lambda w: w.policy(asset_id=ASSETS[1]), {"policy_invalid"}),
    "a container that is not in the store": (lambda w: w.asset(lacking=("sealed container",)), {"content_missing"}),
    "a workload that needs what no card promises": (needing, {"needs_unmet"}),
    "a workload that needs another column than the cards promise": (
        lambda w: needing(w.asset(0, promise=PROMISED).asset(1, promise=PROMISED), target="b"),
        {"needs_unmet"},
    ),
    "a workload that takes the original bytes of a table whose rows are withheld": (
        lambda w: w.policy(output=WITHHOLDING),
        {"needs_unmet"},
    ),
    "a data card that breaks its own rules": (lambda w: w.asset(broken="it is none"), {"needs_unmet"}),
    "a committee that ends before the job could be over": (
        lambda w: w.knowing(rules=change(w.facts.rules, ends_of=lambda _: NOW + 1)),
        {"limit"},
    ),
    "an empty book": (lambda w: w.knowing(offers=()), {"no_offer"}),
    "an offer that is too dear": (lambda w: w.offer(price=Wei(51)), {"no_offer"}),
    "an offer of another TEE": (lambda w: w.offer(tee=Tee.SGX), {"no_offer"}),
    "a grade that is not offered": (lambda w: w.asking(min_grade=Grade.HARDWARE), {"no_offer"}),
    "an offer without stake": (lambda w: w.offer(provider_account=Account(Wei(0), Wei(119))), {"no_offer"}),
    "an offer that is used up": (lambda w: w.offer(used=100), {"no_offer"}),
    "an offer of an earlier generation": (lambda w: w.offer(salt=Uint(1 << 192)), {"no_offer"}),
    "a workload beyond the provider's promise": (lambda w: promising(w, promise(memory=1)), {"no_offer"}),
    "a promise that is not in the store": (lambda w: promising(w, None), {"no_offer"}),
    "a promise of enclaves that no owner allows": (
        lambda w: promising(w, promise(measurement=OTHER_MEASUREMENT)),
        {"no_offer"},
    ),
    "a paused market": (lambda w: w.knowing(paused=True), {"paused"}),
    "a payer without coin": (lambda w: w.knowing(payer=Account(Wei(0), Wei(0))), {"funds"}),
    "an asset that is named twice": (
        lambda w: w.asking(assets=(w.unsigned.request.assets[0],) * 2),
        {"limit"},
    ),
    "windows that the market does not take": (lambda w: w.asking(quote_window=1), {"limit"}),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_what_would_be_refused_is_named_with_what_to_do(what: str, world: World) -> None:
    arrange, expected = REFUSALS[what]
    found = arrange(world)
    assert expected <= found.codes
    assert found.codes <= expected | {"limit", "no_offer"}
    assert all(clause.remedy and clause.found and clause.expected for clause in found.quote.clauses)
    with pytest.raises(RequestInvalid):
        found.quote.require()


def test_the_nearest_offers_are_named_with_every_limit_that_they_fail(world: World) -> None:
    (offer,) = world.facts.offers
    orders: list[dict[str, Any]] = [
        {"price": Wei(60)},
        {"price": Wei(60), "tee": Tee.SGX},
        {"price": Wei(60), "tee": Tee.SGX, "expiry": 1},
        {"price": Wei(60), "tee": Tee.SGX, "expiry": 1, "token": OWNERS[0]},
    ]
    signed = [SignedComputeOrder(order=replace(offer.signed.order, **c), signature=SIGNATURE) for c in reversed(orders)]
    nearest = world.knowing(offers=tuple(change(offer, signed=one) for one in signed)).quote.nearest
    assert [len(one.unmet) for one in nearest] == [1, 2, 3]
    assert len(nearest) == NEAREST
    assert str(nearest[0].unmet[0]).endswith("compute price is 60 wei, expected at most 50 wei")


def test_a_workload_whose_needs_every_card_promises_is_taken(world: World) -> None:
    assert needing(world.asset(0, promise=PROMISED).asset(1, promise=PROMISED)).quote.taken


def test_a_column_that_no_data_card_names_is_noted_and_refuses_nothing(world: World) -> None:
    other = world.asset(card=Card(columns=("x",))).quote
    assert other.taken
    assert any("parameter target is 'a'" in note for note in other.notes)
    assert other.columns == (("x",), ("a", "b"))


def test_a_step_that_does_not_come_with_sealmarket_is_noted_and_refuses_nothing(world: World) -> None:
    quote = world.asset(strange=("judge (0x07)",)).quote
    assert quote.taken
    assert any("judge (0x07), which does not come with Sealmarket" in note for note in quote.notes)


def test_purposes_are_named_and_an_unknown_committee_is_noted(world: World) -> None:
    clauses = world.asking(purpose=int(Purpose.QUERY)).quote.clauses
    assert ("query", "train") in {(clause.found, clause.expected) for clause in clauses}
    notes = world.state(0, epoch=9).state(1, epoch=9).quote.notes
    assert any("lacks the committee of epoch 9" in note for note in notes)


def test_what_would_be_taken_is_priced_in_full(world: World) -> None:
    quote = world.asset(pairs=None).quote
    price = quote.price
    assert quote.taken
    quote.require()
    assert [one.price for one in price.owners] == [10, 10]
    assert (price.compute, price.fees, price.gas) == (40, 2 * FEE, 5)
    assert price.total == 10 + 10 + 40 + 2 * FEE
    assert price.most == max(200 + 50 + 50 + 2 * FEE, 2 * FEE + 1000)
    assert price.locked.total == 200 + 50 + 50 + 2 * FEE + 1000
    assert quote.nearest == ()


def test_an_offer_whose_promise_every_owner_and_the_workload_meet_is_taken(world: World) -> None:
    assert promising(world, promise()).quote.taken


def test_an_owners_own_order_lowers_the_price_and_the_cheapest_offer_counts(world: World) -> None:
    order = samples.asset_order(asset_id=ASSETS[0], price=Wei(4))
    (offer,) = world.facts.offers
    dearer = SignedComputeOrder(order=replace(offer.signed.order, price=Wei(45)), signature=SIGNATURE)
    found = world.asset(orders=(SignedAssetOrder(order=order, signature=SIGNATURE),)).knowing(
        offers=(change(offer, signed=dearer), offer)
    )
    assert [(one.price, one.standing) for one in found.quote.price.owners] == [(4, False), (10, True)]
    assert found.quote.price.total == 4 + 10 + 40 + 2 * FEE


amounts = st.integers(0, 60).map(Wei)


@given(
    price=amounts,
    most=amounts,
    standing=st.integers(0, 120).map(Wei),
    stake=st.integers(0, 300).map(Wei),
    free=st.integers(0, 2500).map(Wei),
    purpose=st.sampled_from([1, 2, 3, 8]),
    minimum=st.integers(1, 3),
    taken=st.integers(3, 6),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_a_quote_takes_the_market_takes_and_the_price_is_within_the_limits(
    world: World,
    price: Wei,
    most: Wei,
    standing: Wei,
    stake: Wei,
    free: Wei,
    purpose: int,
    minimum: int,
    taken: int,
) -> None:
    found = (
        world.asking(max_compute_price=most, purpose=purpose)
        .offer(price=price, provider_account=Account(Wei(0), stake))
        .state(price=standing, uses_taken=taken)
        .policy(output=replace(OUTPUT, minimum_owners=minimum))
        .knowing(payer=Account(free, Wei(0)))
    )
    quote, request = found.quote, found.unsigned.request
    expected = (
        price <= most
        and standing <= 100
        and stake >= standing + 10 + 100
        and free >= quote.price.locked.total
        and purpose == 1
        and minimum <= 2
        and taken < 5
    )
    assert quote.taken is expected
    if quote.taken:
        assert _at_the_market(found, request) is None
        assert quote.price.total is not None
        assert quote.price.total <= quote.price.most <= quote.price.locked.total


def _at_the_market(found: World, request: Request) -> object:
    """What the market's own rules say of the request with the offer of the book."""
    sides = [Side(asset.limit, asset.state) for asset in found.facts.assets]
    return why_not(request, found.facts.offers[0].signed.order, sides, RULES, NOW)
