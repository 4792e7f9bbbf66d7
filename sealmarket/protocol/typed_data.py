"""A structure as ``eth_signTypedData_v4`` takes it, for programs that sign and show what they sign."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Any

from sealmarket_enclave.protocol.codec import Address
from sealmarket_enclave.protocol.eip712 import TypedShape

DOMAIN = (("name", "string"), ("version", "string"), ("chainId", "uint256"), ("verifyingContract", "address"))
_TYPE = re.compile(r"(\w{1,64})\(([^()]{0,4096})\)")


def typed_data(statement: TypedShape, chain_id: int, market: Address) -> dict[str, Any]:
    """A structure for one market on one chain. All numbers but the chain id are strings."""
    kind = type(statement)
    types = {"EIP712Domain": DOMAIN} | {part.EIP712.partition("(")[0]: _members(part) for part in (kind, *kind.PARTS)}
    return {
        "types": {name: [{"name": n, "type": t} for n, t in members] for name, members in types.items()},
        "primaryType": kind.EIP712.partition("(")[0],
        "domain": {
            "name": "Sealmarket",
            "version": "1",
            "chainId": chain_id,
            "verifyingContract": market.checksum,
        },
        "message": _message(statement),
    }


def _members(kind: type[TypedShape]) -> tuple[tuple[str, str], ...]:
    """Names and types, in their order in the type's own string."""
    found = _TYPE.fullmatch(kind.EIP712)
    assert found is not None
    pairs = (member.split(" ") for member in found[2].split(","))
    return tuple((name, of) for of, name in pairs)


def _message(statement: TypedShape) -> dict[str, Any]:
    names = [name for name, _ in _members(type(statement))]
    return {name: _plain(getattr(statement, re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower())) for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_message(item) for item in value]
    if isinstance(value, Address):
        return value.checksum
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, bool):
        return value
    return str(int(value) if isinstance(value, IntEnum) else value)
