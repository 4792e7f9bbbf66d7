"""One market on one chain: reads pinned to a block, typed events, and sending with refusals in words.

chain = Chain(book, "http://127.0.0.1:8545")
view = chain.at(chain.final())
slot = view.job(request_hash)
mined = Sender(chain, account).send(chain.market.quote(spec, evidence_hash))
"""

from __future__ import annotations

from sealmarket.chain.chain import Chain
from sealmarket.chain.errors import (
    AbiMismatch,
    BlockGone,
    ChainError,
    ChainUnavailable,
    DevelopmentKeyRefused,
    NodeDistrusted,
    NotMined,
    Reverted,
    RpcRefused,
    WrongChain,
)
from sealmarket.chain.events import ChainEvent
from sealmarket.chain.interface import ChainReader, ViewReader
from sealmarket.chain.model import Account, AssetState, Block, Enclave, EventRef, Fault, JobSlot, Payout
from sealmarket.chain.sender import Mined, Sender
from sealmarket.chain.view import View

__all__ = [
    "AbiMismatch",
    "Account",
    "AssetState",
    "Block",
    "BlockGone",
    "Chain",
    "ChainError",
    "ChainEvent",
    "ChainReader",
    "ChainUnavailable",
    "DevelopmentKeyRefused",
    "Enclave",
    "EventRef",
    "Fault",
    "JobSlot",
    "Mined",
    "NodeDistrusted",
    "NotMined",
    "Payout",
    "Reverted",
    "RpcRefused",
    "Sender",
    "View",
    "ViewReader",
    "WrongChain",
]
