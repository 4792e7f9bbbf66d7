"""What each node signed with a decision that took effect, from the transaction that carried it out.

The event names the common core; each node's own detail hash and signature are in the transaction's data: a call of
``decide``, alone or in a ``batch``. A transaction through another contract shows neither, and gives nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sealmarket.chain import abi
from sealmarket.chain.chain import Chain
from sealmarket.chain.errors import AbiMismatch, NodeDistrusted
from sealmarket.chain.events import JobDecided
from sealmarket.chain.rpc import data
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes

_MARKET = "Market"
_MAXIMUM_DATA = 1 << 20


@dataclass(frozen=True, slots=True)
class SignedDetail:
    """One node's part in a decision: its place in the committee, its detail's hash, its signature."""

    place: int
    detail: Bytes32
    signature: HexBytes


def signed_details(chain: Chain, event: JobDecided) -> tuple[SignedDetail, ...]:
    """What the nodes signed, unchecked: the caller recovers each signature. Empty where the data does not show it.

    Raises:
        ChainUnavailable, NodeDistrusted: no answer, or one that is no transaction.
    """
    found = chain.rpc.call("eth_getTransactionByHash", str(event.at.transaction))
    if not isinstance(found, dict):
        raise NodeDistrusted("transaction", str(event.at.transaction), str(found)[:80])
    raw = data(found.get("input"), "transaction's data")
    if len(raw) > _MAXIMUM_DATA:
        return ()
    for call in _calls(raw):
        if call["key"]["job_id"] == event.job_id:
            return tuple(_detail(one) for one in call["signatures"])
    return ()


def _calls(raw: bytes) -> Iterator[dict[str, Any]]:
    """The calls of ``decide`` in a transaction's data."""
    market = abi.load(_MARKET)
    decide, batch = market.function("decide", 5), market.function("batch", 2)
    parts: tuple[bytes, ...] = (raw,)
    if raw[:4] == batch.selector:
        parts = _decoded(batch, raw).get("calls", ())
    for part in parts:
        if part[:4] == decide.selector and (found := _decoded(decide, part)):
            yield found


def _decoded(entry: abi.Entry, raw: bytes) -> dict[str, Any]:
    try:
        return dict(abi.decode(entry.inputs, raw[4:], entry.name))
    except AbiMismatch:
        return {}


def _detail(one: dict[str, Any]) -> SignedDetail:
    return SignedDetail(int(one["index"]), one["detail"], _signature(one))


def _signature(one: dict[str, Any]) -> HexBytes:
    """The 65 bytes behind the compact spelling (EIP-2098): the highest bit of the second word is the parity."""
    r, word = bytes(one["r"]), bytearray(one["vs"])
    parity = word[0] >> 7
    word[0] &= 0x7F
    return HexBytes(r + bytes(word) + bytes([27 + parity]))
