"""A deposit that may have been sent already is looked for in the ledger before another one is sent."""

from __future__ import annotations

from sealmarket.chain import Chain, Mined
from sealmarket.chain.errors import ChainUnavailable
from sealmarket.client.errors import DepositUncertain
from sealmarket.client.party import Party
from sealmarket.client.pending import Pending, PendingDeposit
from sealmarket_enclave.protocol.codec import Address, Wei


def deposit(
    chain: Chain, party: Party, amount: Wei, token: Address, pending: Pending[PendingDeposit] | None = None
) -> Mined | None:
    """Deposit an amount; None when an earlier call's deposit has arrived meanwhile, and nothing was sent.

    Raises:
        MarketNotVerified: nothing was sent.
        DepositUncertain: it, or an earlier one, was perhaps sent, and is not in the ledger.
    """
    party.require_market()
    free = _free(chain, party, token)
    if pending is None:
        return party.give(chain.market.deposit(token, amount))
    if (earlier := pending.read()) is not None:
        _look_for(chain, party, earlier, pending)
        return None
    pending.write(PendingDeposit(token=token, amount=amount, free=free))
    try:
        mined = party.give(chain.market.deposit(token, amount))
    except ChainUnavailable as error:
        raise DepositUncertain(amount, free, pending.path, error.message) from error
    except Exception:
        pending.clear()  # refused: nothing was sent, or it was refused in its block
        raise
    pending.clear()
    return mined


def _look_for(chain: Chain, party: Party, earlier: PendingDeposit, pending: Pending[PendingDeposit]) -> None:
    free = _free(chain, party, earlier.token)
    if free < earlier.free + earlier.amount:
        detail = f"the ledger shows {free} now"
        raise DepositUncertain(earlier.amount, earlier.free, pending.path, detail)
    pending.clear()


def _free(chain: Chain, party: Party, token: Address) -> Wei:
    return chain.at(chain.head()).account(token, party.address).free
