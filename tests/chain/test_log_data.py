"""An event's data has one encoding; whatever else a node sends is refused, and what is read is what `eth_abi` reads."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import decode as eth_decode
from eth_abi.abi import encode as eth_encode
from eth_abi.exceptions import DecodingError
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket.chain import abi
from sealmarket.chain.abi import Parameter
from sealmarket.chain.errors import AbiMismatch
from sealmarket.chain.log_data import read_data
from sealmarket_enclave.protocol.codec import Address


def part(kind: str, *parts: Parameter, name: str = "a") -> Parameter:
    return Parameter(name, kind, False, parts)


def word(number: int) -> bytes:
    return number.to_bytes(32)


def read(raw: bytes, *kinds: Parameter) -> list[Any]:
    named = tuple(Parameter(str(place), one.kind, False, one.parts) for place, one in enumerate(kinds))
    return list(read_data(named, raw, "Event").values())


PAIR = part("tuple", part("uint8", name="x"), part("bytes", name="y"))
REFUSED: dict[str, tuple[bytes, tuple[Parameter, ...]]] = {
    "nothing": (b"", (part("uint8"),)),
    "half a word": (bytes(31), (part("uint8"),)),
    "a word too many": (bytes(64), (part("uint8"),)),
    "a number of more bits": (word(256), (part("uint8"),)),
    "an address of more bytes": (word(1 << 160), (part("address"),)),
    "a truth value of two": (word(2), (part("bool"),)),
    "four bytes and one": (b"\1" * 5 + bytes(27), (part("bytes4"),)),
    "an offset that leads back": (word(0) + word(0), (part("bytes"),)),
    "an offset that leaves a gap": (word(64) + bytes(64), (part("bytes"),)),
    "two values at one place": (word(64) + word(64) + word(0), (part("bytes"), part("bytes"))),
    "padding that is none": (word(32) + word(1) + b"\1" * 32, (part("bytes"),)),
    "a length beyond the end": (word(32) + word(33) + bytes(32), (part("bytes"),)),
    "a length beyond everything": (word(32) + word(2**256 - 1), (part("bytes"),)),
    "a list beyond everything": (word(32) + word(2**255), (part("bytes32[]"),)),
    "a list of lists beyond everything": (word(32) + word(2**200) + bytes(64), (part("bytes[]"),)),
    "a structure that ends early": (word(32) + word(1), (PAIR,)),
}


@pytest.mark.parametrize(("raw", "kinds"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_the_one_encoding_is_refused(raw: bytes, kinds: tuple[Parameter, ...]) -> None:
    with pytest.raises(AbiMismatch, match="does not decode"):
        read(raw, *kinds)


def test_what_each_type_is_read_as() -> None:
    raw = eth_encode(
        ["address", "bool", "bytes4", "string", "(uint8,bytes)[]"],
        ["0x" + "11" * 20, True, b"\1\2\3\4", 'ä"', [(1, b"a"), (2, b"")]],
    )
    found = read(raw, *map(part, ("address", "bool", "bytes4", "string")), part("tuple[]", *PAIR.parts))
    assert found == [Address(b"\x11" * 20), True, b"\1\2\3\4", 'ä"', ({"x": 1, "y": b"a"}, {"x": 2, "y": b""})]
    assert isinstance(found[0], Address)


EVENTS = [entry for name in ("AssetRegistry", "OracleCommittee", "Market", "Sessions")
          for entry in abi.load(name).events.values()]  # fmt: skip


def value_of(one: Parameter) -> st.SearchStrategy[Any]:
    if one.kind.endswith("[]"):
        return st.lists(value_of(Parameter("", one.kind[:-2], False, one.parts)), max_size=3).map(tuple)
    if one.kind == "tuple":
        return st.tuples(*map(value_of, one.parts))
    if one.kind == "address":
        return st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
    if one.kind == "bool":
        return st.booleans()
    if one.kind in ("string", "bytes"):
        return st.text(max_size=40) if one.kind == "string" else st.binary(max_size=70)
    if one.kind.startswith("uint"):
        return st.integers(0, 2 ** int(one.kind[4:]) - 1)
    return st.binary(min_size=int(one.kind[5:]), max_size=int(one.kind[5:]))


def plain(value: Any) -> Any:
    """As `eth_abi` gives it."""
    if isinstance(value, dict):
        return tuple(map(plain, value.values()))
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    return str(value) if isinstance(value, Address) else value


@settings(max_examples=150, deadline=None)
@given(data=st.data(), entry=st.sampled_from(EVENTS))
def test_it_reads_what_eth_abi_reads_and_takes_nothing_that_eth_abi_reads_otherwise(
    data: st.DataObject, entry: abi.Entry
) -> None:
    rest = tuple(one for one in entry.inputs if not one.indexed)
    kinds = [one.canonical for one in rest]
    raw = eth_encode(kinds, [data.draw(value_of(one)) for one in rest])
    assert tuple(map(plain, read_data(rest, raw, "Event").values())) == eth_decode(kinds, raw)
    damaged = bytearray(raw)
    for place in data.draw(st.lists(st.integers(0, max(0, len(raw) - 1)), min_size=1, max_size=3)):
        damaged[place : place + 1] = data.draw(st.binary(max_size=2))
    try:
        found = tuple(map(plain, read_data(rest, bytes(damaged), "Event").values()))
    except AbiMismatch:
        return
    try:
        expected = eth_decode(kinds, bytes(damaged))
    except UnicodeDecodeError:
        return  # text for people, which is shown as escapes
    except DecodingError:
        pytest.fail("eth_abi takes it for no encoding")
    assert found == expected
