"""A match that failed in its block names the party that alone could bring that about, and never a bystander."""

from __future__ import annotations

from typing import Any

import pytest

from sealmarket.chain.errors import Reverted
from sealmarket.protocol.matching import Proposal
from sealmarket_backend.blame import at_fault
from sealmarket_backend.standing import CANCELLED
from sealmarket_enclave.protocol.codec import Address, Bytes32
from tests.backend.orders import CONSUMER, OWNER, PROVIDER, STRANGER, account, compute, signed_request

SPONSOR = Address(b"\x51" * 20)
FOUND = Proposal(signed_request(payer=SPONSOR), compute(), (None,))
PARTIES = {"consumer": account(CONSUMER), "payer": SPONSOR, "provider": account(PROVIDER)}
OFFER = FOUND.compute.order.struct_hash()


def blamed(name: str, *contracts: Address, leaving: int = 100, **arguments: object) -> set[str]:
    error = Reverted(name, arguments, "refused", "-")
    found = at_fault(error, FOUND, lambda one: one in contracts, lambda _token, _holder: leaving)
    return {role for role, one in PARTIES.items() if one in found}


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("InsufficientBalance", "holder"),
        ("InsufficientStake", "holder"),
        ("BadSignature", "signer"),
        ("WrongGeneration", "signer"),
    ],
)
def test_who_lacks_coin_stake_or_signature_is_named(name: str, argument: str) -> None:
    for role, party in PARTIES.items():
        named: dict[str, Any] = {argument: party}
        assert blamed(name, **named) == {role}
    for bystander in (OWNER, STRANGER):
        named = {argument: account(bystander)}
        assert blamed(name, **named) == set()


@pytest.mark.parametrize(("leaving", "named"), [(0, set()), (59, set()), (60, {"provider"})])
def test_a_provider_whose_stake_others_may_have_used_up_is_not_named(leaving: int, named: set[str]) -> None:
    lacks: dict[str, Any] = {"holder": PARTIES["provider"], "got": 40, "needed": 100}
    assert blamed("InsufficientStake", leaving=leaving, **lacks) == named


def test_a_provider_that_cancelled_its_offer_is_named_and_one_whose_offer_others_used_up_is_not() -> None:
    assert blamed("OrderFilled", order_hash=OFFER, used=CANCELLED, volume=1) == {"provider"}
    assert blamed("OrderFilled", order_hash=OFFER, used=1, volume=1) == set()
    assert blamed("OrderFilled", order_hash=Bytes32(b"\x01" * 32), used=CANCELLED, volume=1) == set()


@pytest.mark.parametrize("name", ["RequestUsed", "NotInSet", "PriceTooHigh", "EpochEnds"])
def test_what_others_can_bring_about_names_no_party(name: str) -> None:
    everyone: dict[str, Any] = dict(zip(("party", "holder", "signer"), PARTIES.values(), strict=True))
    assert blamed(name, *PARTIES.values(), **everyone) == set()


@pytest.mark.parametrize("name", ["", "NotEnoughGas"])
def test_where_the_gas_is_used_up_the_contracts_among_the_parties_are_named(name: str) -> None:
    assert blamed(name) == set()
    assert blamed(name, PARTIES["consumer"], account(STRANGER)) == {"consumer"}
