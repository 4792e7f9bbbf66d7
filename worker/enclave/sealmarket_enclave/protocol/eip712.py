"""EIP-712 typed data: the one way in which signed or on-chain structures are hashed.

A structure names its own type string in ``EIP712``; that string is what the specification prints and what contracts
hash, so it is written out and never derived. Only what the market uses is here: static values, strings and arrays of
structures. Checked against ``eth-account``, Solidity and ``viem`` by the vectors in ``docs/spec/vectors``.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, ClassVar

from sealmarket_enclave.protocol.codec import Address, Bytes32, Shape
from sealmarket_enclave.protocol.hashing import keccak, word, words

_DOMAIN_TYPE = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
_NAME = keccak(b"Sealmarket")
_VERSION = keccak(b"1")


class TypedShape(Shape, frozen=True, kw_only=True):
    """A document that is also an EIP-712 structure."""

    EIP712: ClassVar[str] = ""
    PARTS: ClassVar[tuple[type[TypedShape], ...]] = ()

    def struct_hash(self) -> Bytes32:
        """``hashStruct`` of EIP-712."""
        return hash_struct(self)

    def digest(self, chain_id: int, market: Address) -> Bytes32:
        """What a wallet signs: the structure under the market's domain."""
        return keccak(b"\x19\x01" + domain_separator(chain_id, market) + self.struct_hash())


@cache
def domain_separator(chain_id: int, market: Address) -> Bytes32:
    """The EIP-712 domain of one market on one chain."""
    return keccak(words(_DOMAIN_TYPE, _NAME, _VERSION, chain_id, market))


def encode_type(kind: type[TypedShape]) -> str:
    """``encodeType`` of EIP-712: the type, then the types that it refers to, sorted by name."""
    return kind.EIP712 + "".join(sorted(part.EIP712 for part in kind.PARTS))


@cache
def _type_hash(kind: type[TypedShape]) -> Bytes32:
    return keccak(encode_type(kind).encode())


@cache
def _members(kind: type[TypedShape]) -> tuple[str, ...]:
    inside = kind.EIP712[kind.EIP712.index("(") + 1 : -1]
    return tuple(_snake(member.split(" ")[1]) for member in inside.split(","))


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def hash_struct(value: TypedShape) -> Bytes32:
    """``hashStruct`` of EIP-712: the type's hash, then each member as one word."""
    kind = type(value)
    return keccak(b"".join([_type_hash(kind), *[_encode(getattr(value, name)) for name in _members(kind)]]))


def _encode(value: Any) -> bytes:
    if isinstance(value, str):
        return keccak(value.encode())
    if isinstance(value, tuple):
        return keccak(b"".join(hash_struct(item) for item in value))
    return word(value)
