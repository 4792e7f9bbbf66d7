"""A transaction's bytes, as an account signs them: legacy with a chain id (EIP-155), or with a fee market (EIP-1559).

Its fields have the names of JSON-RPC: numbers are ``int``, bytes ``0x`` hex. There is never an access list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import coincurve
import rlp

from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.signing import sign

FEE_MARKET = 2
"""The type of a transaction with a fee market: the first byte of its encoding."""
LEGACY_FIELDS = ("nonce", "gasPrice", "gas", "to", "value", "data")
FEE_MARKET_FIELDS = (
    "chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas", "to", "value", "data", "accessList"
)  # fmt: skip
_BYTES, _OPTIONAL = frozenset({"to", "data"}), frozenset({"to", "data", "accessList"})


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A transaction as a node takes it, and its hash."""

    raw_transaction: bytes
    hash: Bytes32


def item_of(name: str, fields: Mapping[str, Any]) -> bytes | list[Any]:
    """What stands for a field in a transaction's list. A creation has no ``to``. Raises :class:`KeyError`."""
    if name == "accessList":
        return []
    if name in _BYTES:
        return bytes.fromhex(str(fields.get(name) or "").removeprefix("0x"))
    return number(int(fields[name]))


def number(value: int) -> bytes:
    """A number as RLP spells it. Raises :class:`OverflowError` for one below zero."""
    return value.to_bytes((value.bit_length() + 7) // 8)


def signing_digest(items: Sequence[Any], chain_id: int, *, fee_market: bool) -> Bytes32:
    """What is signed for the items of a transaction without its signature."""
    if fee_market:
        return keccak(bytes([FEE_MARKET]) + rlp.encode(list(items)))
    return keccak(rlp.encode([*items, number(chain_id), b"", b""]))


def sign_transaction(fields: Mapping[str, Any], key: coincurve.PrivateKey) -> SignedTransaction:
    """Sign a transaction; the kind is that of its fees.

    Raises:
        ValueError: a field is absent, or is one that its kind does not have.
    """
    fee_market = "gasPrice" not in fields
    names = FEE_MARKET_FIELDS if fee_market else LEGACY_FIELDS
    expected = {*names, "chainId"} - _OPTIONAL
    if not expected <= fields.keys() <= expected | (_OPTIONAL - {"accessList"}):
        raise ValueError(f"a transaction has the fields {sorted(expected)}, to and data; found {sorted(fields)}")
    items, chain_id = [item_of(name, fields) for name in names], int(fields["chainId"])
    signature = sign(signing_digest(items, chain_id, fee_market=fee_market), key)
    parity = signature[64] - 27
    v = parity if fee_market else 35 + 2 * chain_id + parity
    r, s = (int.from_bytes(half) for half in (signature[:32], signature[32:64]))
    encoded = rlp.encode([*items, *map(number, (v, r, s))])
    raw = bytes([FEE_MARKET]) + encoded if fee_market else encoded
    return SignedTransaction(raw, keccak(raw))
