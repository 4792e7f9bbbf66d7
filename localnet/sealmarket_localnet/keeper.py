"""``python -m sealmarket_localnet.keeper FOLDER``: one process that keeps a local market, and ends with all of it.

1. It holds the folder's lock, so that two never run on one state.
2. It starts the chain, new or as it was kept, and makes its blocks.
3. On a new chain it makes the market; on a kept one it waits until blocks made now are final, since Anvil has no older
   states any more, and starts the parties on their keys and journals.
4. It watches, and ends all when one of them ends. SIGTERM and Ctrl-C end the parties first, the chain last.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from sealmarket.client import Offer, Provider
from sealmarket.market_api.client import MarketApi
from sealmarket.serving.lock import only_process
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Wei
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.numbers import Grade, Tee
from sealmarket_localnet import chains
from sealmarket_localnet.blocks import BlockProducer
from sealmarket_localnet.market import ETHER, LocalMarket
from sealmarket_localnet.processes import ProcessError, Supervisor
from sealmarket_localnet.programs import ProgramNotFound
from sealmarket_localnet.state import Folder, Kept, Running

YOU, PROVIDER = "you", "provider"
READY = "ready"
STEP = "step: "
STAKE = Wei(50 * ETHER)
OFFER = Offer(
    tee=Tee.TDX, grade=Grade.SIMULATED, price=Wei(ETHER // 10), penalty=Wei(ETHER // 2), volume=10_000,
    max_stake=Wei(10 * ETHER),
)  # fmt: skip
OFFER_MARGIN_SECONDS = 86_400
WATCH_SECONDS = 0.5
FINAL_WAIT_SECONDS = 60.0


class Keeper:
    """The processes of one folder."""

    def __init__(self, folder: Folder, programs: Supervisor, said: Callable[[str], None]) -> None:
        self._folder, self._programs, self._said = folder, programs, said

    def run(self, stop: threading.Event) -> None:
        """Keep the market until ``stop`` is set. Raises when a process ends by itself."""
        self._folder.report(None)
        kept = self._folder.kept() if self._folder.exists() else self._folder.make_anew()
        again = self._folder.exists()
        self._said("the chain starts" + (" where it stopped" if again else ""))
        state = self._folder.chain if again else None
        chain = chains.paced_anvil(self._programs, port=kept.chain_port, state=state)
        blocks = BlockProducer(chain.url, self._folder.chain)
        blocks.start()
        try:
            market = self._resume(chain.url, blocks) if again else self._make(chain)
            self._serve(market, kept)
            self._folder.report(_running(market, self._programs))
            self._said(READY)
            while not stop.wait(WATCH_SECONDS):
                self._programs.require_running()
                if blocks.failed is not None:
                    raise blocks.failed
        finally:
            self._folder.report(None)
            self._end(blocks)

    def _make(self, chain: chains.Chain) -> LocalMarket:
        return LocalMarket.start(
            self._programs, self._folder.market, chain.url, finality=chain.finality,
            final_seconds=chain.final_seconds, said=self._said,
        )  # fmt: skip

    def _resume(self, url: str, blocks: BlockProducer) -> LocalMarket:
        market = LocalMarket.resume(self._programs, self._folder.market, url)
        first = market.chain.head().number
        deadline, pause = FINAL_WAIT_SECONDS, threading.Event()
        while market.chain.final().number <= first and blocks.failed is None and deadline > 0:
            pause.wait(WATCH_SECONDS)
            deadline -= WATCH_SECONDS
        self._said("backend, oracle nodes and virtual TEE device start")
        market.start_parties()
        return market

    def _serve(self, market: LocalMarket, kept: Kept) -> None:
        """A provider with a worker, and an account with coin for the user."""
        self._said("a provider offers its enclave")
        market.purse(YOU)
        purse = market.purse(PROVIDER)
        api = MarketApi(market.book.backend)
        try:
            provider = Provider(market.chain, purse.account, api)
            head = market.chain.head()
            if not market.chain.at(head).account(ZERO_ADDRESS, provider.address).staked:
                provider.stake(STAKE)
            if kept.offered_until < head.timestamp + OFFER_MARGIN_SECONDS:
                order = provider.offer(OFFER)
                self._folder.keep(Kept(chain_port=kept.chain_port, offered_until=int(order.expiry)))
        finally:
            api.close()
        wheels = self._folder.market / "wheels"
        wheels.mkdir(exist_ok=True)
        market.start_worker(purse, wheels)

    def _end(self, blocks: BlockProducer) -> None:
        """The parties first, the newest one foremost; then the last block, then the chain."""
        while len(self._programs.processes) > 1:
            self._programs.processes.pop().stop()
        blocks.stop()
        self._programs.stop()


def _running(market: LocalMarket, programs: Supervisor) -> Running:
    return Running(
        keeper=os.getpid(),
        rpc=market.rpc,
        backend=market.book.backend,
        processes={process.name: process.pid for process in programs.processes},
    )


def main(arguments: list[str]) -> int:
    """Keep the market in a folder until SIGTERM or Ctrl-C; 1 where it could not be kept."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    folder = Folder(Path(arguments[0]))
    try:
        with only_process(folder.path), Supervisor(folder.logs) as programs:
            Keeper(folder, programs, lambda step: print(f"{STEP}{step}", flush=True)).run(stop)
    except (SealmarketError, ProcessError, ProgramNotFound, OSError) as error:
        print(f"failed: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
