"""What a provider does with money and orders: stake, offer compute, collect. Running jobs is the worker's business."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealmarket.chain import IN_MEMORY, Account, Chain, Mined, Sending
from sealmarket.client.party import Party
from sealmarket.market_api.client import MarketApi
from sealmarket.protocol.orders import ComputeOrder
from sealmarket.protocol.salts import Generations, new_salt
from sealmarket.protocol.wire import SignedComputeOrder
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, Bytes32, Uint64, Wei
from sealmarket_enclave.protocol.numbers import Grade, Kind, Tee

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

DAY = 86_400
NOTHING = Wei(0)
_STAKE_FACTOR = 1 << 20
_LONGEST = (1 << 32) - 1
_MOST_BYTES = Uint64(1 << 40)


class Provider:
    """One provider's account on one market."""

    def __init__(
        self,
        chain: Chain,
        account: LocalAccount,
        api: MarketApi,
        *,
        development: bool = False,
        sending: Sending = IN_MEMORY,
    ) -> None:
        """``development``: the caller has started this chain, so its well-known keys may be used.

        ``sending``: where transactions are remembered, and the most that is paid for gas.
        """
        self._chain = chain
        self._api = api
        self._party = Party(chain, account, development=development, sending=sending)

    @property
    def address(self) -> Address:
        """The provider's account."""
        return self._party.address

    def balances(self, token: Address = ZERO_ADDRESS) -> Account:
        """What is free and what is staked now."""
        return self._chain.at(self._chain.head()).account(token, self.address)

    def stake(self, amount: Wei, token: Address = ZERO_ADDRESS) -> tuple[Mined, Mined]:
        """Deposit an amount and stake it: it backs jobs, and pays owners if a job is lost by the provider's fault."""
        market = self._chain.market
        return self._party.give(market.deposit(token, amount)), self._party.give(market.stake(token, amount))

    def offer(
        self,
        *,
        tee: Tee,
        grade: Grade,
        price: Wei,
        penalty: Wei,
        volume: int,
        unit_price: Wei = NOTHING,
        valid_for: int = 30 * DAY,
        token: Address = ZERO_ADDRESS,
        consumers: Bytes32 = ZERO_HASH,
    ) -> ComputeOrder:
        """Sign a compute order and put it into the book. ``valid_for`` in seconds; ``consumers`` 0 admits anyone."""
        self._party.require_market()
        head = self._chain.head()
        order = ComputeOrder(
            kind=Kind.BATCH,
            provider=self.address,
            token=token,
            tee=tee,
            grade=grade,
            price=price,
            unit_price=unit_price,
            penalty=penalty,
            max_stake=Wei(penalty * _STAKE_FACTOR),
            timeout_fee=price,
            min_quote_window=0,
            min_settle_window=0,
            max_hold=_LONGEST,
            max_run_seconds=_LONGEST,
            max_read_seconds=_LONGEST,
            max_validate_seconds=_LONGEST,
            max_decoded_bytes=_MOST_BYTES,
            capability_hash=ZERO_HASH,
            volume=volume,
            expiry=head.timestamp + valid_for,
            consumers=consumers,
            salt=new_salt(Generations(self._chain.at(head).account(token, self.address).generation)),
        )
        self._api.orders.post_compute_order(SignedComputeOrder(order=order, signature=self._party.sign(order)))
        return order

    def cancel(self, order: ComputeOrder) -> Mined:
        """Void one compute order on chain."""
        return self._party.take(self._chain.market.cancel_order(order.struct_hash()))

    def unstake(self, amount: Wei, token: Address = ZERO_ADDRESS) -> Mined:
        """Begin to unbond stake; it backs no further job."""
        return self._party.take(self._chain.market.unstake(token, amount))

    def finish_unstake(self, token: Address = ZERO_ADDRESS) -> Mined:
        """Move what has unbonded to the free balance."""
        return self._party.take(self._chain.market.finish_unstake(token))

    def withdraw(self, amount: Wei | None = None, token: Address = ZERO_ADDRESS, to: Address | None = None) -> Mined:
        """Take free balance out; all of it unless an amount is named."""
        free = self.balances(token).free
        return self._party.take(
            self._chain.market.withdraw(token, free if amount is None else amount, to or self.address)
        )
