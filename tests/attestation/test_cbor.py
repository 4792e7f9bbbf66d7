"""CBOR from outside has one spelling and bounds; COSE signatures verify under the algorithm of their key alone."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket.attestation.core.cbor import MAXIMUM_DEPTH, MAXIMUM_ITEMS, read_cbor
from sealmarket.attestation.core.cose import point_on, read_sign1, verify_sign1
from sealmarket.attestation.core.errors import EvidenceRefused
from sealmarket.attestation.core.reasons import Reason
from tests.forge.nitro import cose_sign


def refusal(raw: bytes, **settings: Any) -> Reason:
    with pytest.raises(EvidenceRefused) as caught:
        read_cbor(raw, "a document", **settings)
    return caught.value.finding.reason


@pytest.mark.parametrize("text", ["a201010102", "a2616101616102", "a1 01 a2 02 00 02 00", "82 a0 a2 41 00 00 41 00 01"])
def test_a_key_that_comes_twice_is_refused(text: str) -> None:
    assert refusal(bytes.fromhex(text)) is Reason.DUPLICATE_KEY


@pytest.mark.parametrize(
    "text",
    [
        "1801", "1817", "1900ff", "1a0000ffff", "1b00000000ffffffff", "3800", "5800", "590001 00", "7800",
        "9800", "9900010 0", "b800", "d812 00", "81 1801", "a1 1801 00",
    ],
)  # fmt: skip
def test_a_longer_form_than_the_shortest_is_refused(text: str) -> None:
    assert refusal(bytes.fromhex(text.replace(" ", "")), tags=(18,)) is Reason.NON_CANONICAL


@pytest.mark.parametrize("text", ["9fff", "5f4100ff", "7f6161ff", "bfff", "81bfff", "5f41004100ff"])
def test_lengths_that_are_not_given_are_refused(text: str) -> None:
    assert refusal(bytes.fromhex(text)) is Reason.NON_CANONICAL


@pytest.mark.parametrize("text", ["bf01ff", "9fff", "bf01ffff", "bf5f4100ff00ff"])
def test_where_maps_may_be_endless_they_are_whole_and_nothing_else_is_endless(text: str) -> None:
    assert refusal(bytes.fromhex(text), endless_map=True) is not None
    assert read_cbor(bytes.fromhex("bf0102ff"), "a document", endless_map=True) == {1: 2}
    assert read_cbor(bytes.fromhex("bf01a0ff"), "a document", endless_map=True) == {1: {}}
    assert refusal(bytes.fromhex("bf01bfffff"), endless_map=True) is Reason.NON_CANONICAL


@pytest.mark.parametrize("text", ["", "18", "19 01", "82 00", "a1 00", "41", "43 0000", "5b 7fffffffffffffff", "d2"])
def test_what_ends_early_is_refused(text: str) -> None:
    assert refusal(bytes.fromhex(text), tags=(18,)) is Reason.TRUNCATED


@pytest.mark.parametrize("text", ["0000", "a000", "4100 ff", "d20000"])
def test_bytes_behind_the_item_are_refused(text: str) -> None:
    assert refusal(bytes.fromhex(text), tags=(18,)) is Reason.TRAILING_BYTES


@pytest.mark.parametrize("text", ["f97e00", "fb3ff199999999999a", "f7", "e0", "f820"])
def test_floats_and_other_simple_values_are_refused(text: str) -> None:
    assert refusal(bytes.fromhex(text)) is Reason.MALFORMED


@pytest.mark.parametrize("text", ["a1 80 00", "a1 a0 00", "a1 f6 00", "a1 f5 00", "a1 d2 00 00"])
def test_keys_that_are_neither_numbers_nor_strings_are_refused(text: str) -> None:
    assert refusal(bytes.fromhex(text), tags=(18,)) is Reason.MALFORMED


@pytest.mark.parametrize("tag", [0, 1, 2, 4, 19, 28, 29, 35, 36, 37, 256, 258, 260, 55799])
def test_a_tag_that_the_caller_does_not_name_is_refused_before_it_means_anything(tag: int) -> None:
    assert refusal(cbor2.dumps(cbor2.CBORTag(tag, "(a+)+b")), tags=(18,)) is Reason.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("text", ["61ff", "62c328"])
def test_text_that_is_not_utf_8_is_refused(text: str) -> None:
    assert refusal(bytes.fromhex(text)) is Reason.MALFORMED


@pytest.mark.parametrize("piece", [b"\x81", b"\xd2", b"\xa1\x00"])
def test_nesting_is_bounded(piece: bytes) -> None:
    assert refusal(piece * 100_000 + b"\x00", tags=(18,)) is Reason.MALFORMED
    assert refusal(piece * (MAXIMUM_DEPTH + 1) + b"\x00", tags=(18,)) is Reason.MALFORMED
    read_cbor(piece * MAXIMUM_DEPTH + b"\x00", "a document", tags=(18,))


def test_the_number_of_items_is_bounded() -> None:
    assert refusal(cbor2.dumps([0] * MAXIMUM_ITEMS)) is Reason.MALFORMED
    assert refusal(b"\x9b" + (1 << 62).to_bytes(8) + bytes(100_000)) is Reason.TRUNCATED
    assert len(read_cbor(cbor2.dumps([0] * (MAXIMUM_ITEMS - 1)), "a document")) == MAXIMUM_ITEMS - 1


KEYS = st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=5) | st.binary(max_size=5)
VALUES = st.recursive(
    KEYS | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)


@given(VALUES)
@settings(deadline=None)
def test_what_is_encoded_in_the_shortest_form_is_read_as_it_was(value: object) -> None:
    assert read_cbor(cbor2.dumps(value), "a document") == value


@given(st.binary(max_size=64))
@settings(deadline=None, max_examples=500)
def test_any_bytes_are_refused_in_a_typed_way_or_have_one_spelling(raw: bytes) -> None:
    try:
        value = read_cbor(raw, "a document")
    except EvidenceRefused:
        return
    assert cbor2.dumps(value) == raw


# COSE.

P256, P384, P521 = (ec.generate_private_key(curve()) for curve in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1))


@pytest.mark.parametrize("algorithm", [-7, -36, -37, -257, 0, None, "ES384", True, 5, -39])
def test_a_token_under_another_algorithm_than_its_keys_is_refused(algorithm: object) -> None:
    header = {} if algorithm is None else {1: algorithm}
    token = read_sign1(read_cbor(cose_sign(P384, b"x", header, None), "a token"), "a token")
    with pytest.raises(EvidenceRefused) as caught:
        verify_sign1(token, P384.public_key(), "a token")
    assert caught.value.finding.reason is Reason.SIGNATURE_ALGORITHM


def test_a_header_that_is_no_map_is_refused() -> None:
    for header in (b"\x01", b"\x80", b"\xa1\x01"):
        with pytest.raises(EvidenceRefused):
            read_sign1(cbor2.loads(cose_sign(P384, b"x", header, None)), "a token")


@pytest.mark.parametrize("key", [P256, P521])
def test_a_key_of_another_curve_than_the_algorithms_is_refused(key: ec.EllipticCurvePrivateKey) -> None:
    token = read_sign1(read_cbor(cose_sign(P384, b"x", {1: -35}, None), "a token"), "a token")
    with pytest.raises(EvidenceRefused) as caught:
        verify_sign1(token, key.public_key(), "a token")
    assert caught.value.finding.reason is Reason.SIGNATURE_ALGORITHM


def test_a_point_that_is_not_on_its_curve_is_refused() -> None:
    numbers = P384.public_key().public_numbers()
    x, y = numbers.x.to_bytes(48), numbers.y.to_bytes(48)
    assert point_on(ec.SECP384R1(), x, y, "a key").public_numbers() == numbers
    for pair in (
        (x, y[:-1] + bytes([y[-1] ^ 1])),
        (bytes(48), bytes(48)),
        (x[1:], y),
        (x, b"\0" + y),
        (y, b"\xff" * 48),
    ):
        with pytest.raises(EvidenceRefused) as caught:
            point_on(ec.SECP384R1(), *pair, "a key")
        assert caught.value.finding.reason is Reason.KEY_INVALID
