"""Owners' rules for services: of each the strictest holds, and terms that miss one of them are refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from sealmarket_enclave.protocol.agreement import Document, serving_differences
from sealmarket_enclave.protocol.codec import Address, Bytes32, Uint64, Wei
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import AssetId, Kind
from sealmarket_enclave.protocol.policy import PolicyRefused, Serving, strictest_serving
from sealmarket_enclave.protocol.session import Royalty, SessionTerms
from sealmarket_enclave.protocol.steps import policy_steps
from tests.client.bundles import Case

RULE = Serving(
    per_unit=Wei(3),
    max_lease=Uint64(1000),
    max_prompt_units=Uint64(400),
    max_answer_units=Uint64(100),
    unit_bytes=64,
    endpoints=("chat", "models"),
)
ASSETS = tuple(AssetId(Bytes32(bytes([place]) * 32)) for place in (1, 2))
TERMS = SessionTerms(
    sessions=Address(b"\x05" * 20),
    lease=Uint64(1000),
    lease_seconds=60,
    redemption_window=600,
    end=2_000_000_000,
    bucket=Uint64(10),
    unit_price=Wei(10),
    least_tab=Wei(100),
    renewal_fee=Wei(1),
    royalties=tuple(Royalty(asset_id=asset, per_unit=Wei(3)) for asset in ASSETS),
)


def spec(terms: SessionTerms = TERMS, price: int = 3000) -> JobSpec:
    """A service's specification over both assets."""
    made = Case().spec
    uses = tuple(replace(made.assets[0], asset_id=asset, price=Wei(price)) for asset in ASSETS)
    return replace(made, kind=Kind.SESSION, extension_hash=terms.struct_hash(), assets=uses)


def fields(terms: SessionTerms = TERMS, *rules: Serving | UnsetType, price: int = 3000) -> list[tuple[Document, str]]:
    """What differs."""
    found = serving_differences(spec(terms, price), terms, rules or (RULE, RULE))
    return [(one.document, one.field) for one in found]


def test_a_service_without_assets_has_no_rules_and_is_refused() -> None:
    with pytest.raises(PolicyRefused):
        strictest_serving(())


def test_owners_without_an_endpoint_in_common_refuse_the_service() -> None:
    with pytest.raises(PolicyRefused, match="no endpoint in common"):
        strictest_serving((RULE, replace(RULE, endpoints=("score",))))
    assert fields(TERMS, RULE, replace(RULE, endpoints=("score",))) == [(Document.SESSION_TERMS, "endpoints")]


def test_other_terms_than_the_requests_are_refused() -> None:
    found = list(serving_differences(spec(), replace(TERMS, end=1), (RULE, RULE)))
    assert [one.field for one in found] == ["hash"]


def test_an_asset_whose_policy_says_nothing_of_services_takes_part_in_none() -> None:
    assert fields(TERMS, RULE, UNSET) == [(Document.POLICY, "serving")]


def test_royalties_of_other_assets_or_in_another_order_are_refused() -> None:
    for royalties in (TERMS.royalties[::-1], TERMS.royalties[:1], (*TERMS.royalties, TERMS.royalties[0])):
        assert fields(replace(TERMS, royalties=royalties)) == [(Document.SESSION_TERMS, "royalties")]


def test_a_royalty_below_an_owners_least_is_refused() -> None:
    assert fields(TERMS, RULE, replace(RULE, per_unit=Wei(4))) == [(Document.SESSION_TERMS, "per_unit")]


def test_a_lease_above_an_owners_most_is_refused() -> None:
    assert fields(TERMS, replace(RULE, max_lease=Uint64(999)), RULE) == [(Document.SESSION_TERMS, "lease")]


def test_an_opening_price_that_does_not_cover_the_lease_is_refused_for_each_asset() -> None:
    assert fields(price=2999) == [(Document.SESSION_TERMS, "price")] * 2


METER = Bytes32(b"\x4d" * 32)


@pytest.mark.parametrize(("first", "second"), [(METER, UNSET), (UNSET, METER), (METER, Bytes32(b"\x4e" * 32))])
def test_owners_that_do_not_name_one_meter_refuse_the_service(
    first: Bytes32 | UnsetType, second: Bytes32 | UnsetType
) -> None:
    rules = (replace(RULE, meter=first), replace(RULE, meter=second))
    assert fields(TERMS, *rules) == [(Document.POLICY, "meter")]
    with pytest.raises(PolicyRefused, match="different meters"):
        strictest_serving(rules)


def test_the_meter_that_all_owners_name_counts() -> None:
    rules = (replace(RULE, meter=METER),) * 2
    assert fields(TERMS, *rules) == []
    assert strictest_serving(rules).meter == METER


def test_rules_without_a_meter_have_the_spelling_that_they_had_before() -> None:
    assert b"meter" not in RULE.canonical()


def test_a_meter_is_a_step_of_a_service_and_of_no_batch_job() -> None:
    policy = replace(Case().bundle().policies[0], serving=replace(RULE, meter=METER))
    assert METER in policy_steps([policy], [None], Kind.SESSION)
    assert METER not in policy_steps([policy], [None], Kind.BATCH)


def test_terms_that_every_owner_allows_differ_in_nothing() -> None:
    assert fields() == []


RULES = st.builds(
    Serving,
    per_unit=st.integers(0, 1 << 100).map(Wei),
    max_lease=st.integers(0, 1 << 60).map(Uint64),
    max_prompt_units=st.integers(0, 1 << 60).map(Uint64),
    max_answer_units=st.integers(0, 1 << 60).map(Uint64),
    unit_bytes=st.integers(1, 1 << 20),
    endpoints=st.sets(st.sampled_from(("completions", "models", "score"))).map(lambda more: ("chat", *sorted(more))),
)


@given(st.lists(RULES, min_size=1, max_size=5))
def test_no_owner_is_granted_less_than_they_asked_for(rules: list[Serving]) -> None:
    joined = strictest_serving(tuple(rules))
    for one in rules:
        assert joined.per_unit >= one.per_unit
        assert joined.max_lease <= one.max_lease
        assert joined.max_prompt_units <= one.max_prompt_units
        assert joined.max_answer_units <= one.max_answer_units
        assert joined.unit_bytes <= one.unit_bytes
        assert set(joined.endpoints) <= set(one.endpoints)
