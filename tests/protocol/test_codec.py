"""One spelling for each value, and nothing else is read."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket_enclave.protocol.codec import (
    Address,
    Bytes32,
    MicroEpsilon,
    Shape,
    Uint,
    Wei,
    canonical_json,
    decode,
    decode_canonical,
)
from sealmarket_enclave.protocol.errors import MalformedDocument, NotCanonical


class Payment(Shape, frozen=True, kw_only=True):
    """A shape for these tests."""

    paid_to: Address
    amount: Wei
    memo: Bytes32


GOOD = Payment(paid_to=Address(b"\x11" * 20), amount=Wei(7), memo=Bytes32(b"\x22" * 32)).canonical()


@pytest.mark.parametrize(
    ("what", "old", "new"),
    [
        ("an unknown field", b'"amount"', b'"bonus":"1","amount"'),
        ("an absent field", b'"amount":"7",', b""),
        ("money as a number", b'"7"', b"7"),
        ("money with a leading zero", b'"7"', b'"07"'),
        ("negative money", b'"7"', b'"-7"'),
        ("money of more than 128 bits", b'"7"', b'"340282366920938463463374607431768211456"'),
        ("upper-case hex", b"0x11", b"0xAA"),
        ("spaces between the bytes of hex", b"0x11", b"0x11 "),
        ("half a byte", b"0x11", b"0x1"),
        ("a letter that is no digit", b"0x11", b"0x1g"),
        ("a digit of another script", b"0x11", "0x1\u0661".encode()),
        ("hex without prefix", b"0x11", b"11"),
        ("an address that is too short", b"0x1111", b"0x11"),
        ("not JSON", b"{", b"["),
        ("bytes after the document", b"}", b"} x"),
    ],
)
def test_a_document_with_another_spelling_is_refused(what: str, old: bytes, new: bytes) -> None:
    with pytest.raises(MalformedDocument):
        decode(Payment, GOOD.replace(old, new))


@pytest.mark.parametrize(
    "raw", [b" " + GOOD, GOOD.replace(b",", b", "), GOOD.replace(b'"amount":"7"', b'"amount":"9","amount":"7"')]
)
def test_a_second_spelling_of_a_canonical_document_is_refused(raw: bytes) -> None:
    with pytest.raises(NotCanonical):
        decode_canonical(Payment, raw)


@given(st.binary(min_size=20, max_size=20), st.integers(0, 2**128 - 1), st.binary(min_size=32, max_size=32))
def test_every_document_reads_back_from_its_canonical_form(account: bytes, amount: int, memo: bytes) -> None:
    document = Payment(paid_to=Address(account), amount=Wei(amount), memo=Bytes32(memo))
    assert decode_canonical(Payment, document.canonical()) == document


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_read_or_be_refused(raw: bytes) -> None:
    with contextlib.suppress(MalformedDocument):
        assert isinstance(decode(Payment, raw), Payment)


@pytest.mark.parametrize(("kind", "bits"), [(Wei, 128), (MicroEpsilon, 64), (Uint, 256)])
def test_a_number_beyond_its_bits_cannot_be_made(kind: type[Uint], bits: int) -> None:
    assert kind(2**bits - 1) == 2**bits - 1
    for outside in (-1, 2**bits):
        with pytest.raises(MalformedDocument):
            kind(outside)


def test_an_address_is_shown_to_people_with_its_checksum() -> None:
    # EIP-55's own example.
    assert Address.parse("0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed").checksum == (
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    )


def test_fields_travel_in_camel_case_and_sorted() -> None:
    assert canonical_json(decode(Payment, GOOD)).startswith(b'{"amount":"7","memo":"0x')
