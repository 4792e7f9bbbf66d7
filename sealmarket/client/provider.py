"""What a provider does with money and orders: stake, offer compute, collect. Running jobs is the worker's business."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from sealmarket.chain import IN_MEMORY, Account, Chain, Mined, Sending
from sealmarket.client.errors import OfferInvalid, WorkerNotInstalled
from sealmarket.client.market import Connected, Market
from sealmarket.client.party import Party
from sealmarket.client.platform_evidence import PlatformEvidence, PlatformNotProven, require_hardware
from sealmarket.client.progress import OnProgress, quiet, step
from sealmarket.client.rules import rules_of
from sealmarket.client.signing import Signer
from sealmarket.client.windows import PROVIDER_STAGES, Stages, order_hold
from sealmarket.market_api.client import MarketApi
from sealmarket.protocol.book import Timing
from sealmarket.protocol.fitting import unmet_by_order
from sealmarket.protocol.orders import ComputeOrder
from sealmarket.protocol.salts import Generations, new_salt
from sealmarket.protocol.wire import SignedComputeOrder
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, Bytes32, Uint, Uint64, Wei
from sealmarket_enclave.protocol.numbers import Grade, Kind, Tee

DAY = 86_400
WORKER = "sealmarket_worker"
"""The worker's package: a distribution of its own, which is started and never imported here."""
NOTHING = Wei(0)
STAKE_MULTIPLE = 10
"""Of its own price, what a job may lock for its owners unless the provider names another limit."""
MOST_BYTES = Uint64(64 << 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a provider offers, and its own limits. Amounts in the token's smallest unit, times in seconds.

    None: it follows. ``max_stake`` is then the penalty and ``STAKE_MULTIPLE`` times the price, ``timeout_fee`` the
    price, and the times follow from the market's (:mod:`sealmarket.client.windows`). ``consumers`` 0 admits anyone.
    ``capability_hash`` names the document of :mod:`sealmarket.protocol.capability`; 0
    promises nothing. ``platform`` is evidence of the provider's own device, from which the grade hardware follows.
    """

    tee: Tee
    grade: Grade
    price: Wei
    penalty: Wei
    volume: int
    unit_price: Wei = NOTHING
    max_stake: Wei | None = None
    timeout_fee: Wei | None = None
    min_quote_window: int | None = None
    min_settle_window: int | None = None
    max_hold: int | None = None
    stages: Stages = PROVIDER_STAGES
    max_decoded_bytes: Uint64 = MOST_BYTES
    capability_hash: Bytes32 = ZERO_HASH
    valid_for: int = 30 * DAY
    token: Address = ZERO_ADDRESS
    consumers: Bytes32 = ZERO_HASH
    platform: PlatformEvidence | None = None

    def order(self, provider: Address, timing: Timing, now: int, salt: Uint) -> ComputeOrder:
        """The order that is signed."""
        usual = {
            "max_stake": Wei(self.penalty + STAKE_MULTIPLE * self.price),
            "timeout_fee": self.price,
            "min_quote_window": timing.windows.quote,
            "min_settle_window": timing.windows.settle,
            "max_hold": order_hold(timing, self.stages),
        }
        same = ("tee", "grade", "price", "penalty", "volume", "unit_price", "token", "consumers", "capability_hash")
        named = {name: getattr(self, name) for name in (*same, "max_decoded_bytes", *usual)}
        chosen = usual | {name: value for name, value in named.items() if value is not None}
        return ComputeOrder(
            kind=Kind.BATCH,
            provider=provider,
            max_run_seconds=self.stages.run,
            max_read_seconds=self.stages.read,
            max_validate_seconds=self.stages.validate,
            expiry=now + self.valid_for,
            salt=salt,
            **chosen,
        )


def _require_grade(offer: Offer) -> None:
    """Hardware is offered on the device's own evidence only; a virtual device is never sold as one."""
    if offer.grade is not Grade.HARDWARE:
        return
    if offer.platform is None:
        raise PlatformNotProven("there is none; `sealmarket worker attest` makes it")
    require_hardware(offer.platform, offer.tee, datetime.now(UTC))


class Serving:
    """An offer in the book and the worker that runs its jobs, until :meth:`stop` or the end of a ``with``."""

    def __init__(self, provider: Provider, order: ComputeOrder, process: subprocess.Popen[bytes]) -> None:
        self._provider = provider
        self.order, self.process = order, process

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the worker ends by itself; its exit code. Raises :class:`subprocess.TimeoutExpired`."""
        return self.process.wait(timeout)

    def stop(self) -> None:
        """Void the offer, so that no further job is matched with it, and end the worker.

        Jobs that were matched before go on as soon as a worker runs on the same state again.
        """
        try:
            self._provider.cancel(self.order)
        finally:
            self.process.terminate()
            self.process.wait()

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Provider(Connected):
    """One provider's account on one market."""

    def __init__(
        self,
        chain: Chain,
        account: Signer,
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

    @classmethod
    def at(cls, market: Market, account: Signer, *, development: bool = False, sending: Sending = IN_MEMORY) -> Self:
        """As :meth:`Connected.at`."""
        return cls(market.chain, account, market.api, development=development, sending=sending)

    @property
    def address(self) -> Address:
        """The provider's account."""
        return self._party.address

    def balances(self, token: Address = ZERO_ADDRESS) -> Account:
        """What is free and what is staked now."""
        return self._chain.at(self._chain.head()).account(token, self.address)

    def stake(self, amount: Wei, token: Address = ZERO_ADDRESS) -> tuple[Mined, Mined]:
        """Deposit an amount and stake it: it backs jobs, and pays owners if a job is lost by the provider's fault.

        A call that was interrupted goes on where it stopped when it is repeated with ``sending`` of the same state.
        """
        market = self._chain.market
        deposited, staked = self._party.give_in_order(market.deposit(token, amount), market.stake(token, amount))
        return deposited, staked

    def offer_and_serve(
        self, offer: Offer, worker: Path, *, stake: Wei = NOTHING, on_progress: OnProgress = quiet
    ) -> Serving:
        """Stake (0: what is staked is enough), put an offer into the book, and start the worker that runs its jobs.

        ``worker`` is its TOML file (:mod:`sealmarket_worker.config`), which names this account. The worker is a process
        of its own, which writes its progress to this one's output.

        Raises:
            WorkerNotInstalled: nothing was staked or offered.
            OfferInvalid, MarketNotVerified, ChainError: as :meth:`stake` and :meth:`offer`.
        """
        if importlib.util.find_spec(WORKER) is None:
            raise WorkerNotInstalled
        if stake:
            with step(on_progress, "stake", f"depositing and staking {stake.coins} coin"):
                self.stake(stake, offer.token)
        with step(on_progress, "offer", "signing the offer, and putting it into the book") as now:
            order = self.offer(offer)
            now.found(offer=order.struct_hash())
        process = subprocess.Popen([sys.executable, "-m", WORKER, "run", "--config", str(worker)])
        return Serving(self, order, process)

    def offer(self, offer: Offer) -> ComputeOrder:
        """Sign a compute order and put it into the book.

        Raises:
            OfferInvalid: the market would make no job of it, for example since its penalty cannot pay the oracle.
            PlatformNotProven: it offers hardware, and no evidence of the device shows any.
            MarketNotVerified: nothing was signed.
        """
        _require_grade(offer)
        self._party.require_market()
        head = self._chain.head()
        generation = self._chain.at(head).account(offer.token, self.address).generation
        order = offer.order(self.address, self._chain.book.timing, head.timestamp, new_salt(Generations(generation)))
        if (unmet := next(unmet_by_order(order, rules_of(self._chain), head.timestamp), None)) is not None:
            raise OfferInvalid(str(unmet))
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
