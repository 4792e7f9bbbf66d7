"""A journal without a market around it, and what a test writes into it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from sealmarket.chain.model import Block
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.numbers import BlockNumber, JobId
from sealmarket_oracle.journal import Journal, JournalIdentity, NewPromise
from sealmarket_oracle.mark import TailMark
from sealmarket_oracle.storage.databases import Database
from tests.patience import PATIENCE

ONE = Bytes32(b"\x01" * 32)
BLOCK = Block(BlockNumber(1), ONE, 1, ONE)
IDENTITY = JournalIdentity(
    chain_id=1, market=Address(bytes(20)), signer=Address(bytes(20)), hpke_key=ONE, epoch=1, name=ONE
)


def job(number: int) -> JobId:
    """The name of a job."""
    return JobId(Bytes32(number.to_bytes(32, "big")))


def release(journal: Journal, number: int) -> None:
    """Promise the release of a job."""
    journal.promise(NewPromise(job(number), "release", b'{"job":%d}' % number, BLOCK))


def opened(database: Database, mark: Path | None = None) -> Journal:
    """The journal of :data:`IDENTITY`."""
    return Journal(database, IDENTITY, TailMark(mark) if mark is not None else None, clock=lambda: 5)


class Member(threading.Thread):
    """Runs one piece of work and keeps what it raised."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def end(self) -> BaseException | None:
        """What it raised; None where it did its work."""
        self.join(PATIENCE)
        assert not self.is_alive()
        return self.error
