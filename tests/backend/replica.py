"""One backend of several on one PostgreSQL, as a process: `python -m tests.backend.replica URL FOLDER NAME`.

Its chain is the twin in memory, whose jobs all processes share as rows of a file: a match that is sent is in a block at
once. Where the folder has a file ``hold-NAME``, each simulation waits as long as that is there.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sealmarket import lifeline
from sealmarket.chain.calls import Call
from sealmarket.chain.memory import MemoryChain, MemoryView
from sealmarket.chain.model import Account, Block, JobSlot
from sealmarket.protocol.transitions import Status
from sealmarket_backend.service import Backend
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Bytes32, Wei
from tests.backend.orders import ASSET, BOOK, OWNER, PROVIDER, account, indexed

SCHEMA = "CREATE TABLE IF NOT EXISTS matched (request_hash BLOB NOT NULL, name TEXT NOT NULL)"
POLL_SECONDS = 0.02


class SharedJobs:
    """Which requests were matched, and by whom: one row for each time."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "chain.sqlite"
        with closing(self._opened()) as connection:
            connection.execute(SCHEMA)

    def add(self, requests: Sequence[Bytes32], name: str) -> None:
        with closing(self._opened()) as connection, connection:
            connection.executemany("INSERT INTO matched VALUES (?, ?)", [(one, name) for one in requests])

    def rows(self) -> list[tuple[Bytes32, str]]:
        with closing(self._opened()) as connection:
            return [(Bytes32(row[0]), row[1]) for row in connection.execute("SELECT * FROM matched")]

    def has(self, request_hash: Bytes32) -> bool:
        with closing(self._opened()) as connection:
            query = "SELECT 1 FROM matched WHERE request_hash = ?"
            return connection.execute(query, (request_hash,)).fetchone() is not None

    def _opened(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=60)


class SharedView(MemoryView):
    """A block at which the shared jobs are matched."""

    shared: SharedJobs

    def job(self, request_hash: Bytes32) -> JobSlot:
        if self.shared.has(request_hash):
            return JobSlot(Status.MATCHED, 1 << 40, b"")
        return JobSlot(Status.NONE, 0, b"")


class SharedChain(MemoryChain):
    """The twin with shared jobs. Batches are lists of calls."""

    def __init__(self, shared: SharedJobs) -> None:
        super().__init__(BOOK)
        self.shared = shared
        self.set_account(ZERO_ADDRESS, account(PROVIDER), Account(Wei(0), Wei(10**24)))
        self.publish(ASSET, account(OWNER), indexed().seal, indexed().terms)
        self.finalise()
        pytest.MonkeyPatch().setattr(self.market, "batch", lambda calls, _gas: calls)

    def at(self, block: Block) -> SharedView:
        view = SharedView(self, block, self._states[block.number])
        view.shared = self.shared
        return view


class SharedSender:
    """Sends into the shared jobs."""

    def __init__(self, shared: SharedJobs, folder: Path, name: str) -> None:
        self._shared, self._folder, self._name = shared, folder, name

    def price(self) -> int:
        """Gas costs nothing here."""
        return 0

    def gas_of(self, _call: Call) -> int:
        if (hold := self._folder / f"hold-{self._name}").exists():
            (self._folder / f"held-{self._name}").touch()
            while hold.exists():
                threading.Event().wait(POLL_SECONDS)
        return 200_000

    def submit(self, call: Any) -> Bytes32:
        calls = call if isinstance(call, list) else [call]
        self._shared.add([one.arguments[0]["request"].struct_hash() for one in calls], self._name)
        return Bytes32(bytes(32))

    def look(self, _transaction: Bytes32) -> Any:
        return SimpleNamespace(events=[], cost=0)


class Replica(Backend):
    """Whose store lacks nothing."""

    def _lacking(self, _request: object) -> tuple[str, ...]:
        return ()


def replica(place: str, folder: Path, name: str) -> Replica:
    shared = SharedJobs(folder)
    chain: Any = SharedChain(shared)
    sender: Any = SharedSender(shared, folder, name)
    return Replica(chain, sender, folder / name, pause=0.05, database=place)


def main(place: str, folder: Path, name: str) -> None:
    with replica(place, folder, name) as served:
        served.start()
        (folder / f"ready-{name}").touch()
        threading.Event().wait()


if __name__ == "__main__":
    lifeline.bind_to_parent(int(sys.argv[4]))
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
