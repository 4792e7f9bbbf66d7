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
    EndpointsDisagree,
    FeeAboveLimit,
    NodeDistrusted,
    NotMined,
    OutboxUnusable,
    Replaced,
    Reverted,
    RpcRefused,
    SendRefused,
    WrongChain,
)
from sealmarket.chain.events import ChainEvent
from sealmarket.chain.fees import FeeLimits
from sealmarket.chain.interface import ChainReader, ViewReader
from sealmarket.chain.model import Account, AssetState, Block, Enclave, EventRef, Fault, Interruption, JobSlot, Payout
from sealmarket.chain.outbox import per_user_folder
from sealmarket.chain.outcomes import Mined
from sealmarket.chain.sender import IN_MEMORY, Sender, Sending
from sealmarket.chain.view import View

__all__ = [
    "IN_MEMORY",
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
    "EndpointsDisagree",
    "EventRef",
    "Fault",
    "FeeAboveLimit",
    "FeeLimits",
    "Interruption",
    "JobSlot",
    "Mined",
    "NodeDistrusted",
    "NotMined",
    "OutboxUnusable",
    "Payout",
    "Replaced",
    "Reverted",
    "RpcRefused",
    "SendRefused",
    "Sender",
    "Sending",
    "View",
    "ViewReader",
    "WrongChain",
    "per_user_folder",
]
