"""A match that failed in its block names the party that alone could bring that about, and never a bystander."""

from __future__ import annotations

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


def blamed(name: str, *contracts: Address, **arguments: object) -> set[str]:
    found = at_fault(Reverted(name, arguments, "refused", "-"), FOUND, lambda one: one in contracts)
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
        assert blamed(name, **{argument: party}) == {role}
    for bystander in (OWNER, STRANGER):
        assert blamed(name, **{argument: account(bystander)}) == set()


def test_a_provider_that_cancelled_its_offer_is_named_and_one_whose_offer_others_used_up_is_not() -> None:
    assert blamed("OrderFilled", order_hash=OFFER, used=CANCELLED, volume=1) == {"provider"}
    assert blamed("OrderFilled", order_hash=OFFER, used=1, volume=1) == set()
    assert blamed("OrderFilled", order_hash=Bytes32(b"\x01" * 32), used=CANCELLED, volume=1) == set()


@pytest.mark.parametrize("name", ["RequestUsed", "NotInSet", "PriceTooHigh", "EpochEnds"])
def test_what_others_can_bring_about_names_no_party(name: str) -> None:
    everyone = dict(zip(("party", "holder", "signer"), PARTIES.values(), strict=True))
    assert blamed(name, *PARTIES.values(), **everyone) == set()


@pytest.mark.parametrize("name", ["", "NotEnoughGas"])
def test_where_the_gas_is_used_up_the_contracts_among_the_parties_are_named(name: str) -> None:
    assert blamed(name) == set()
    assert blamed(name, PARTIES["consumer"], account(STRANGER)) == {"consumer"}
