"""Orders are kept in their canonical bytes, however fast these are made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.protocol.orders import AssetOrder, ComputeOrder, Request
from sealmarket.protocol.wire import SignedAssetOrder, SignedComputeOrder, SignedRequest
from sealmarket_backend.spelling import SignedOrder, order_json
from sealmarket_enclave.protocol.codec import LARGEST_INTEGER, HexBytes, Uint, canonical_json, decode
from tests.protocol.typed_data import example

SIGNED: dict[type[SignedOrder], tuple[str, type[Any]]] = {
    SignedRequest: ("request", Request),
    SignedComputeOrder: ("order", ComputeOrder),
    SignedAssetOrder: ("order", AssetOrder),
}


def leaves(kind: msgspec.inspect.Type) -> Iterator[msgspec.inspect.Type]:
    """The types of all values in a document."""
    match kind:
        case msgspec.inspect.StructType():
            for field in kind.fields:
                assert field.encode_name.isascii()
                yield from leaves(field.type)
        case msgspec.inspect.VarTupleType():
            yield from leaves(kind.item_type)
        case _:
            yield kind


@pytest.mark.parametrize("signed", SIGNED, ids=lambda kind: kind.__name__)
def test_no_order_holds_what_is_spelt_in_another_way(signed: type[SignedOrder]) -> None:
    for kind in leaves(msgspec.inspect.type_info(signed)):
        match kind:
            case msgspec.inspect.CustomType():
                assert issubclass(kind.cls, HexBytes | Uint), kind
            case msgspec.inspect.IntType():
                assert kind.le is not None, kind
                assert kind.le <= LARGEST_INTEGER, kind
            case msgspec.inspect.EnumType():
                assert all(isinstance(one.value, int) for one in kind.cls), kind
            case _:
                pytest.fail(f"{signed.__name__} holds a {kind}: order_json has to be held against RFC 8785 anew")


@given(st.sampled_from(sorted(SIGNED, key=str)), st.text(max_size=4), st.binary(max_size=70))
def test_an_order_is_spelt_as_rfc_8785_has_it(signed: type[SignedOrder], seed: str, signature: bytes) -> None:
    name, kind = SIGNED[signed]
    fields: dict[str, Any] = {
        field: HexBytes(signature) for field in signed.__struct_fields__ if field.endswith("signature")
    }
    fields[name] = example(kind, seed.encode("utf-8", "replace").decode())
    made = signed(**fields)
    assert order_json(made) == canonical_json(made)
    assert decode(signed, order_json(made)) == made
