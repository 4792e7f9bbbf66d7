"""HPKE: keys of the wrong form, altered messages and other contexts are refused."""

from __future__ import annotations

import pickle

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.sealed.contexts import NoticeInfo, ResultInfo
from sealmarket_enclave.sealed.errors import InvalidHpkeKey, NotOpened
from sealmarket_enclave.sealed.hpke import PRIVATE_KEY_BYTES, PUBLIC_KEY_BYTES, PrivateKey, PublicKey

OVERHEAD_BYTES = 1120 + 16
NODE = PrivateKey(b"\x07" * PRIVATE_KEY_BYTES)
INFO = NoticeInfo(chain_id=1, market=Address(bytes(20)), job_id=Bytes32(bytes(32)), key=NODE.public.digest)
SEALED = NODE.public.seal(b"a quote", INFO)


@pytest.mark.parametrize("size", [0, 32, PUBLIC_KEY_BYTES - 1, PUBLIC_KEY_BYTES + 1])
def test_a_public_key_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(InvalidHpkeKey):
        PublicKey(bytes(size))


def test_bytes_that_encode_no_lattice_key_are_refused() -> None:
    with pytest.raises(InvalidHpkeKey):
        PublicKey(b"\xff" * PUBLIC_KEY_BYTES)


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31)])
def test_a_key_with_a_point_of_small_order_is_none(point: bytes) -> None:
    with pytest.raises(InvalidHpkeKey):
        PublicKey(NODE.public.raw[:-32] + point)


def test_a_private_key_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidHpkeKey):
        PrivateKey(bytes(PRIVATE_KEY_BYTES - 1))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_flipped_bit_of_a_message_is_refused(data: st.DataObject) -> None:
    altered = bytearray(SEALED)
    altered[data.draw(st.integers(0, len(SEALED) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(NotOpened):
        NODE.open(bytes(altered), INFO)


@pytest.mark.parametrize("size", [0, 1, OVERHEAD_BYTES - 1, len(SEALED) - 1])
def test_a_message_cut_short_is_refused(size: int) -> None:
    with pytest.raises(NotOpened):
        NODE.open(SEALED[:size], INFO)


def test_a_message_for_one_purpose_does_not_open_for_another() -> None:
    other = ResultInfo(
        chain_id=1,
        market=Address(bytes(20)),
        job_id=Bytes32(bytes(32)),
        content_root=Bytes32(bytes(32)),
        result_key=NODE.public.digest,
    )
    with pytest.raises(NotOpened) as refusal:
        NODE.open(SEALED, other)
    assert refusal.value.purpose == "ResultInfo"
    with pytest.raises(NotOpened):
        NODE.open(SEALED, msgspec.structs.replace(INFO, chain_id=2))


def test_another_key_does_not_open() -> None:
    with pytest.raises(NotOpened):
        PrivateKey.generate().open(SEALED, INFO)


def test_a_private_key_does_not_pickle() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(NODE)


def test_keys_and_messages_survive_the_wire() -> None:
    assert PrivateKey(NODE.secret_bytes()) == NODE
    assert PublicKey(NODE.public.raw) == NODE.public
    assert NODE.public.digest == keccak(NODE.public.raw)
    assert len(SEALED) == len(b"a quote") + OVERHEAD_BYTES
    assert NODE.open(SEALED, INFO) == b"a quote"
    assert NODE.public.seal(b"a quote", INFO) != SEALED
