"""A node accepts a service only under terms that it has read, and that every owner's policy allows."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.reasons import JobReason, reason_codes
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, Uint64, Wei
from sealmarket_enclave.protocol.numbers import Kind
from sealmarket_enclave.protocol.policy import Serving
from sealmarket_enclave.protocol.session import SessionTerms
from sealmarket_enclave.protocol.signing import address_of
from tests.enclave.session.services import RULES, terms_of
from tests.oracle.world import World

LEASE = Uint64(10)
"""A lease of it costs what the world's asset does."""
SERVES: Serving | UnsetType = RULES


def requested(world: World, serving: Serving | UnsetType = SERVES, **changes: Any) -> SessionTerms:
    """A matched service of the provider's own; its terms."""
    asset = world.publish(1, edit_policy=lambda document: replace(document, serving=serving))
    offered = replace(terms_of(asset.asset_id), lease=changes.pop("lease", LEASE))
    own = address_of(world.provider.public_key)
    fields: dict[str, Any] = {
        "kind": Kind.SESSION,
        "extension_hash": offered.struct_hash(),
        "consumer": own,
        "payer": own,
        "compute_price": Wei(0),
    }
    world.match(asset, **(fields | changes))
    return offered


def refused(world: World, shown: bytes) -> list[str]:
    """Why a node refuses, showing these bytes as terms; each finding is about a service. Empty: it accepts."""
    world.quote(session_terms=HexBytes(shown))
    node = world.node()
    decision = world.decided(node)
    if decision.outcome is Outcome.ACCEPTED:
        return []
    assert decision.outcome is Outcome.REQUEST_REFUSED
    assert reason_codes(decision.reasons) == (JobReason.SERVING_UNMET.code,)
    return ["serving_unmet"]


def test_a_service_whose_terms_are_not_shown_is_refused(world: World) -> None:
    requested(world)
    assert refused(world, b"")


def test_bytes_that_are_no_terms_are_refused(world: World) -> None:
    requested(world)
    assert refused(world, b"{}")


def test_an_opening_price_below_a_lease_of_royalties_is_refused(world: World) -> None:
    assert refused(world, requested(world, lease=Uint64(11)).canonical())


def test_other_terms_than_the_request_signed_are_refused(world: World) -> None:
    offered = requested(world)
    assert refused(world, replace(offered, bucket=Uint64(11)).canonical())


@pytest.mark.parametrize("serving", [UNSET, replace(RULES, max_lease=Uint64(9)), replace(RULES, per_unit=Wei(2))])
def test_a_service_that_an_owners_policy_does_not_allow_is_refused(world: World, serving: Serving | UnsetType) -> None:
    assert refused(world, requested(world, serving).canonical())


@pytest.mark.parametrize("changes", [
    {"consumer": Address(b"\x07" * 20)}, {"payer": Address(b"\x07" * 20)}, {"compute_price": Wei(1)},
])  # fmt: skip
def test_a_service_for_another_account_or_with_a_compute_price_is_refused(
    world: World, changes: dict[str, Any]
) -> None:
    assert refused(world, requested(world, **changes).canonical())


METER = Bytes32(b"\x4d" * 32)


def test_a_service_whose_meter_is_not_in_the_store_is_awaited_and_then_its_owners_fault(world: World) -> None:
    offered = requested(world, replace(RULES, meter=METER))
    world.quote(session_terms=HexBytes(offered.canonical()))
    with pytest.raises(AssertionError, match="content_missing"):
        world.decided(world.node())
    world.chain.mine(3, seconds=200)
    decision = world.decided(world.node())
    assert decision.outcome is Outcome.INPUT_REFUSED
    assert reason_codes(decision.reasons) == (JobReason.CONTENT_MISSING.code,)


def test_a_service_whose_meter_is_in_the_store_is_accepted(world: World) -> None:
    world.store.blobs.add(("workloads", METER))
    assert refused(world, requested(world, replace(RULES, meter=METER)).canonical()) == []


def test_a_service_under_terms_that_every_owner_allows_is_accepted(world: World) -> None:
    assert refused(world, requested(world).canonical()) == []
