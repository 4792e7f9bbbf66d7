"""By whose doing a match failed that held when it was simulated: who alone could bring that about.

A party is named where its coin, its signature or its order is what is gone, or its stake that it withdrew itself. What
others can bring about (an order or a stake that another match used up, terms that an owner tightened) names no party,
so that no stranger can have a provider named.
"""

from __future__ import annotations

from collections.abc import Callable

from sealmarket.chain import Reverted
from sealmarket.protocol.matching import Proposal
from sealmarket_backend.standing import CANCELLED
from sealmarket_enclave.protocol.codec import Address

_STAKE = "InsufficientStake"
_OF_HOLDER = {"InsufficientBalance": "holder", _STAKE: "holder"}
_OF_SIGNER = {"BadSignature": "signer", "WrongGeneration": "signer"}
_NAMING = _OF_HOLDER | _OF_SIGNER
WITHOUT_REASON = frozenset({"", "NotEnoughGas"})
"""An entry that ran out of gas: a wallet's contract may use up what it gets."""


def at_fault(
    error: Reverted, found: Proposal, has_code: Callable[[Address], bool], leaving: Callable[[Address, Address], int]
) -> frozenset[Address]:
    """The parties of a match that made it fail. Without a reason these are those that are contracts.

    ``leaving``: how much of a token an account withdraws from its stake now. Where that is less than what lacks,
    matches of others may have used the stake up.

    Raises:
        ChainError: whether a party is a contract, or what it withdraws, cannot be read.
    """
    request, order = found.request.request, found.compute.order
    parties = frozenset({request.consumer, request.payer, order.provider})
    if error.name in WITHOUT_REASON:
        return frozenset(one for one in parties if has_code(one))
    if error.name == "OrderFilled":
        cancelled = error.arguments.get("used") == CANCELLED
        own = error.arguments.get("order_hash") == order.struct_hash()
        return frozenset({order.provider} if cancelled and own else ())
    if error.name == _STAKE and leaving(order.token, order.provider) < _lacking(error):
        return frozenset()
    named = error.arguments.get(_NAMING.get(error.name, ""))
    return frozenset(one for one in parties if one == named)


def _lacking(error: Reverted) -> int:
    """At least 1, of what was needed."""
    needed, got = (error.arguments.get(name) for name in ("needed", "got"))
    return max(1, needed - got) if isinstance(needed, int) and isinstance(got, int) else 1
