"""Signatures: one spelling, one signer."""

import contextlib

import coincurve
import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.protocol.signatures import require_signer
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.signing import SignatureRefused, recover, sign

KEY = coincurve.PrivateKey(b"\x07" * 32)
DIGEST = Bytes32(b"\x42" * 32)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def test_the_high_s_twin_of_a_signature_is_refused() -> None:
    good = sign(DIGEST, KEY)
    s = ORDER - int.from_bytes(good[32:64], "big")
    twin = good[:32] + s.to_bytes(32, "big") + bytes([55 - good[64]])
    with pytest.raises(SignatureRefused, match="high s"):
        recover(DIGEST, twin)


@pytest.mark.parametrize("v", [0, 1, 26, 29, 255])
def test_another_v_than_27_or_28_is_refused(v: int) -> None:
    with pytest.raises(SignatureRefused):
        recover(DIGEST, sign(DIGEST, KEY)[:64] + bytes([v]))


@given(st.binary(max_size=70))
def test_no_bytes_do_anything_but_recover_or_be_refused(raw: bytes) -> None:
    with contextlib.suppress(SignatureRefused):
        assert len(recover(DIGEST, raw)) == 20


def test_somebody_elses_signature_is_refused_by_name() -> None:
    with pytest.raises(SignatureRefused, match="the quote must be signed by 0x11"):
        require_signer(DIGEST, sign(DIGEST, KEY), Address(b"\x11" * 20), "the quote")


@given(st.binary(min_size=32, max_size=32))
def test_wallets_make_the_same_signatures(digest: bytes) -> None:
    ours = sign(Bytes32(digest), KEY)
    assert bytes(Account.unsafe_sign_hash(digest, KEY.secret).signature) == ours
    assert recover(Bytes32(digest), ours).checksum == Account.from_key(KEY.secret).address
