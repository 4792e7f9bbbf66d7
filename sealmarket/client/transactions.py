"""Holds a transaction that another program signed against what it was asked to sign, field by field.

1. It is one transaction, legacy with a chain id (EIP-155) or with a fee market (EIP-1559), in its one spelling.
2. Chain, nonce, receiver, value, data, gas and fees are those that were asked for; there is no access list.
3. The signature over exactly these fields is the account's, with low s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sealmarket.client.errors import SignerRefused
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.signing import SignatureRefused, recover

MAXIMUM_BYTES = 256 << 10
_FEE_MARKET = 2
_LEGACY = ("nonce", "gasPrice", "gas", "to", "value", "data")
_FEE_MARKET_FIELDS = (
    "chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas", "to", "value", "data", "accessList"
)  # fmt: skip
_BYTES = frozenset({"to", "data"})


def require_signed(raw: bytes, asked: Mapping[str, Any], account: Address) -> Bytes32:
    """Return the hash of a signed transaction that is exactly the one that was asked for.

    Args:
        asked: the fields of the transaction, numbers as ``int``, bytes as ``0x`` hex; ``chainId`` among them.

    Raises:
        SignerRefused: it is none, or another one, or another account's.
    """
    if not 0 < len(raw) <= MAXIMUM_BYTES:
        raise SignerRefused("a signed transaction", f"1 to {MAXIMUM_BYTES} bytes", f"{len(raw)}")
    fee_market = raw[0] == _FEE_MARKET
    names = _FEE_MARKET_FIELDS if fee_market else _LEGACY
    items = _items(raw[1:] if fee_market else raw, len(names) + 3)
    for name, found in zip(names, items, strict=False):
        expected = _expected(name, asked)
        if found != expected:
            raise SignerRefused(f"the transaction's {name}", _shown(expected), _shown(found))
    _require_account(items, len(names), int(asked["chainId"]), account, fee_market=fee_market)
    return keccak(raw)


def _expected(name: str, asked: Mapping[str, Any]) -> bytes | list[Any]:
    if name == "accessList":
        return []
    if name in _BYTES:
        return bytes.fromhex(str(asked.get(name) or "").removeprefix("0x"))
    if name not in asked:
        raise SignerRefused("the transaction's kind", "the kind of fee that was asked for", f"one with {name}")
    return _number(int(asked[name]))


def _require_account(items: list[Any], signed: int, chain_id: int, account: Address, *, fee_market: bool) -> None:
    import rlp

    if not all(isinstance(item, bytes) and len(item) <= 32 for item in items[signed:]):
        raise SignerRefused("the transaction's signature", "three numbers", "something else")
    v, r, s = (int.from_bytes(item) for item in items[signed:])
    if fee_market:
        digest, parity = keccak(bytes([_FEE_MARKET]) + rlp.encode(items[:signed])), v
    else:
        digest, parity = keccak(rlp.encode([*items[:signed], _number(chain_id), b"", b""])), v - 35 - 2 * chain_id
    if parity not in (0, 1):
        raise SignerRefused("the transaction's chain", f"{chain_id}, signed for", f"another (v is {v})")
    try:
        found = recover(digest, r.to_bytes(32) + s.to_bytes(32) + bytes([27 + parity]))
    except SignatureRefused as error:
        raise SignerRefused("the transaction's signature", f"one by {account.checksum}", error.message) from error
    if found != account:
        raise SignerRefused("the transaction's signer", account.checksum, found.checksum)


def _items(raw: bytes, count: int) -> list[Any]:
    """The items of one list, in the one spelling that RLP has for them."""
    import rlp

    try:
        items = rlp.decode(raw)
        right = isinstance(items, list) and len(items) == count and rlp.encode(items) == raw
    except (rlp.exceptions.RLPException, RecursionError) as error:
        raise SignerRefused("a signed transaction", "a list in RLP", type(error).__name__) from error
    if not right:
        raise SignerRefused("a signed transaction", f"a list of {count} items in RLP", "something else")
    return list(items)


def _number(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8)


def _shown(value: bytes | list[Any]) -> str:
    return f"0x{value[:64].hex()}" if isinstance(value, bytes) else f"{str(value)[:80]}"
