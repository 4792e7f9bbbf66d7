"""The blocks of a chain that outlives its processes: each one is on disk before the next one is made.

Anvil keeps its chain in memory. So it makes no block by itself here: :class:`BlockProducer` asks for one, writes the
whole chain to a file in place of the last one, and only then asks for the next. Whatever ends the processes, at most
one block is lost, and a block that others call final (two blocks deep) never is: to every party an end by SIGKILL looks
like a reorganisation one block deep, which all of them live with.

A block comes each second while something is sent and for a while after it, and rarely on a chain where nothing happens.
"""

from __future__ import annotations

import gzip
import threading
import time
from pathlib import Path

from sealmarket.chain.errors import ChainError
from sealmarket.chain.rpc import Rpc, quantity
from sealmarket.private_files import replace_private

BLOCK_SECONDS = 1.0
IDLE_SECONDS = 5.0
"""Between blocks where nothing is sent; well below the age at which oracle nodes call a chain stale."""
BUSY_SECONDS = 30.0
"""After something was sent blocks come each second for so long, so that it is final and parties react to it."""
POLL_SECONDS = 0.1
TRIES = 5
"""A machine with much other work may leave the chain without an answer for a while."""


class BlockProducer(threading.Thread):
    """Makes blocks until it is stopped. ``failed`` holds the error that ended it."""

    def __init__(self, url: str, state: Path) -> None:
        super().__init__(name="blocks", daemon=True)
        self._rpc, self._state = Rpc(url), state
        self._stopping = threading.Event()
        self._busy_until = time.monotonic() + BUSY_SECONDS
        self.failed: Exception | None = None

    def run(self) -> None:
        """Make blocks, each once the one before it is on disk."""
        failures, on_disk = 0, True
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                if on_disk:
                    on_disk = False  # also where no answer says whether there is a block
                    self._rpc.call("evm_mine")
                self.keep()
                on_disk, failures = True, 0
                self._wait(began)
            except ChainError as error:
                failures += 1
                if failures >= TRIES:
                    self.failed = error
                    return
            except OSError as error:
                self.failed = error
                return

    def stop(self) -> None:
        """End with the block under way on disk."""
        self._stopping.set()
        self.join()
        self._rpc.close()

    def keep(self) -> None:
        """Write the chain to its file: states of accounts, blocks, transactions."""
        dumped = self._rpc.call("anvil_dumpState")
        if not isinstance(dumped, str):
            raise OSError("the chain gives no state that could be kept")
        replace_private(self._state, gzip.decompress(bytes.fromhex(dumped.removeprefix("0x"))))

    def _wait(self, began: float) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            now = time.monotonic()
            if self._pending():
                self._busy_until = now + BUSY_SECONDS
            if now >= began + (BLOCK_SECONDS if now < self._busy_until else IDLE_SECONDS):
                return

    def _pending(self) -> bool:
        found = self._rpc.call("txpool_status")
        return isinstance(found, dict) and quantity(found.get("pending", "0x0"), "waiting transactions") > 0
