"""What a transaction did in its block, and why it was refused there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealmarket.chain.errors import (
    ChainError,
    Reverted,
    RpcRefused,
)
from sealmarket.chain.events import ChainEvent
from sealmarket.chain.landing import Landed
from sealmarket.chain.model import Block
from sealmarket.chain.outbox import Entry
from sealmarket.chain.reverts import revert_of
from sealmarket.chain.rpc import quantity
from sealmarket.chain.signing import BODY, as_asked
from sealmarket_enclave.protocol.codec import Address, Bytes32

if TYPE_CHECKING:
    from sealmarket.chain.chain import Chain


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction in a block. ``cost`` is what its gas cost, in wei.

    ``resumed``: it was sent by an earlier call that never reported its end, and nothing was sent now.
    """

    transaction: Bytes32
    block: Block
    gas_used: int
    cost: int
    events: tuple[ChainEvent, ...]
    created: Address | None = None
    resumed: bool = False


def outcome(chain: Chain, sender: Address, entry: Entry, found: Landed) -> Mined:
    """What an entry did in the block where it, or what replaced it, was found.

    Raises:
        Reverted: it was refused there; with the reason, and what its gas cost.
        ChainError: the node does not say.
    """
    receipt, block = found.receipt, found.block
    gas = quantity(receipt.get("gasUsed"), "gas used")
    price = receipt.get("effectiveGasPrice")
    cost = gas * (0 if price is None else quantity(price, "gas price"))
    if not found.succeeded:
        error = _reason(chain, sender, entry, block.number)
        if isinstance(error, Reverted):
            error.cost = cost
        raise error
    made = receipt.get("contractAddress")
    return Mined(
        transaction=found.transaction,
        block=block,
        gas_used=gas,
        cost=cost,
        events=tuple(chain.decode_logs(receipt.get("logs", []), block)),
        created=Address.parse(made.lower()) if isinstance(made, str) else None,
        resumed=entry.resumed,
    )


def _reason(chain: Chain, sender: Address, entry: Entry, number: int) -> ChainError:
    asked = as_asked({name: value for name, value in entry.fields.items() if name in BODY})
    if "to" not in asked or "data" not in asked:
        said = "the contract could not be created, or the receiver refused the coin"
        return Reverted("", {}, said, "read the constructor's requirements; send coin to an account that takes it")
    try:
        chain.rpc.call("eth_call", {**asked, "from": sender.checksum}, hex(number))
    except RpcRefused as error:
        return revert_of(error) or error
    return Reverted(
        "",
        {},
        f"{entry.what} was refused in its block, and no longer says why",
        "another transaction came first; read the present state and try again if it still makes sense",
    )
