"""Accounts of this process: what they sign is, byte for byte, what ``eth_account`` signs with the same key."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.chain.accounts import KeyAccount
from sealmarket.client.signing import sign_text
from sealmarket_enclave.protocol.codec import Address, Bytes32

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
ACCOUNT = KeyAccount(b"\x07" * 32)
LEGACY: dict[str, Any] = {"gasPrice": 9, "gas": 21_000, "nonce": 0, "value": 0, "chainId": 31337}
FEE_MARKET: dict[str, Any] = {
    "maxFeePerGas": 9, "maxPriorityFeePerGas": 2, "gas": 21_000, "nonce": 3, "value": 7, "chainId": 1
}  # fmt: skip

SECRETS = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32))
AMOUNTS = st.integers(0, 2**256 - 1)
COUNTS = st.integers(0, 2**64 - 1)
CHAINS = st.integers(1, 2**53)
FEES = st.one_of(
    st.fixed_dictionaries({"gasPrice": AMOUNTS}),
    st.tuples(AMOUNTS, AMOUNTS).map(lambda two: {"maxFeePerGas": max(two), "maxPriorityFeePerGas": min(two)}),
)
BODIES = st.fixed_dictionaries(
    {"value": AMOUNTS, "gas": COUNTS, "nonce": COUNTS, "chainId": CHAINS, "data": st.binary(max_size=300)},
    optional={"to": st.binary(min_size=20, max_size=20).map(lambda raw: Address(raw).checksum)},
)


@pytest.mark.parametrize("secret", [b"", b"\x01", b"\x01" * 31, b"\x01" * 33, bytes(32), ORDER.to_bytes(32)])
def test_what_is_no_private_key_is_refused(secret: bytes) -> None:
    with pytest.raises(ValueError):
        KeyAccount(secret)


@pytest.mark.parametrize("whole", [LEGACY, FEE_MARKET], ids=["legacy", "fee market"])
def test_a_transaction_without_one_of_its_fields_is_refused(whole: dict[str, Any]) -> None:
    for name in whole:
        with pytest.raises(ValueError, match="fields"):
            ACCOUNT.sign_transaction({key: value for key, value in whole.items() if key != name})


@pytest.mark.parametrize("name", ["accessList", "authorizationList", "from", "maxFeePerBlobGas", "type", "v"])
def test_a_field_that_would_not_be_signed_is_refused(name: str) -> None:
    for whole in (LEGACY, FEE_MARKET):
        with pytest.raises(ValueError, match=name):
            ACCOUNT.sign_transaction({**whole, name: 1})


def test_a_transaction_of_two_kinds_is_refused() -> None:
    with pytest.raises(ValueError, match="maxFeePerGas"):
        ACCOUNT.sign_transaction({**LEGACY, **FEE_MARKET})


@pytest.mark.parametrize("name", ["value", "gas", "nonce"])
def test_a_number_below_zero_is_refused(name: str) -> None:
    with pytest.raises(OverflowError):
        ACCOUNT.sign_transaction({**FEE_MARKET, name: -1})


def test_the_key_is_neither_printed_nor_pickled() -> None:
    assert ACCOUNT.key.hex() not in f"{ACCOUNT!r} {ACCOUNT}"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(ACCOUNT)


@given(SECRETS, BODIES, FEES)
def test_a_transaction_is_signed_as_wallets_sign_it(secret: bytes, body: dict[str, Any], fees: dict[str, int]) -> None:
    fields = {**body, **fees, "data": "0x" + body["data"].hex()}
    ours, theirs = KeyAccount(secret).sign_transaction(fields), Account.sign_transaction(fields, secret)
    assert (ours.raw_transaction, ours.hash) == (bytes(theirs.raw_transaction), bytes(theirs.hash))


@given(SECRETS, st.binary(min_size=32, max_size=32))
def test_a_digest_is_signed_as_wallets_sign_it(secret: bytes, digest: bytes) -> None:
    ours, theirs = KeyAccount(secret), Account.from_key(secret)
    assert ours.address == theirs.address
    assert ours.sign_digest(Bytes32(digest)) == bytes(theirs.unsafe_sign_hash(digest).signature)


def test_an_account_of_eth_account_signs_for_the_market_too() -> None:
    theirs = Account.from_key(ACCOUNT.key)
    assert sign_text(theirs, "words") == sign_text(ACCOUNT, "words")
