"""Idempotency keys: a client that lost an answer sends the same request again under the same key, and gets it.

1. A key is 1 to 64 visible ASCII characters, and belongs to one route and one body for :data:`KEPT_SECONDS`.
2. The same key and body give the same answer; another body is refused. Which body a key belongs to is on disk before
   anything is done, the answer after it: a crash between the two lets the request be done again, and each of them is
   the same twice as once.
3. What was refused was not done: its key is free again.
4. Keys that come while the disk is written go to it together.
5. At most :data:`MOST_OF_PEER` keys of one peer are kept, and :data:`MOST_KEYS` in all; the oldest go first.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from sealmarket_backend.errors import KeyInUse, KeyReused
from sealmarket_backend.tables import Database
from sealmarket_backend.together import Together
from sealmarket_enclave.protocol.errors import MalformedDocument

HEADER = "Idempotency-Key"
LONGEST = 64
KEPT_SECONDS = 86_400
MOST_OF_PEER = 1000
MOST_KEYS = 100_000


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What a request was answered with."""

    status: int
    body: bytes


class Idempotency:
    """The keys of one backend. ``clock`` gives seconds since 1970. Threads may share it."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._together, self._clock = Together(database, nullcontext), clock
        self._lock = threading.Lock()
        self._under_way: set[bytes] = set()

    def once(self, route: str, key: str | None, body: bytes, peer: str, do: Callable[[], KeptAnswer]) -> KeptAnswer:
        """Do something unless it was done under this key; without a key, do it.

        Raises:
            MalformedDocument: the key is none.
            KeyReused, KeyInUse: and nothing was done.
            and what ``do`` itself raises, after which the key is free again.
        """
        if key is None:
            return do()
        name = _name_of(route, key)
        with self._alone(name):
            if (kept := self._begin(name, hashlib.sha256(body).digest(), peer)) is not None:
                return kept
            try:
                made = do()
            except Exception:
                self._forget(name)
                raise
            self._keep(name, made)
            return made

    @contextmanager
    def _alone(self, name: bytes) -> Iterator[None]:
        with self._lock:
            if name in self._under_way:
                raise KeyInUse
            self._under_way.add(name)
        try:
            yield
        finally:
            with self._lock:
                self._under_way.discard(name)

    def _begin(self, name: bytes, fingerprint: bytes, peer: str) -> KeptAnswer | None:
        now = int(self._clock())
        row = self._together.write(lambda connection: _claimed(connection, name, fingerprint, peer, now))
        if row is None:
            return None
        if row["fingerprint"] != fingerprint:
            raise KeyReused
        return None if row["status"] is None else KeptAnswer(row["status"], bytes(row["answer"]))

    def _keep(self, name: bytes, made: KeptAnswer) -> None:
        query = "UPDATE idempotency_keys SET status = ?, answer = ? WHERE name = ?"
        self._together.write(lambda connection: connection.execute(query, (made.status, made.body, name)))

    def _forget(self, name: bytes) -> None:
        query = "DELETE FROM idempotency_keys WHERE name = ? AND status IS NULL"
        self._together.write(lambda connection: connection.execute(query, (name,)))


def _claimed(
    connection: sqlite3.Connection, name: bytes, fingerprint: bytes, peer: str, now: int
) -> sqlite3.Row | None:
    """The row of a key that is known; else write it down, and make room for it."""
    connection.execute("DELETE FROM idempotency_keys WHERE expires <= ?", (now,))
    query = "SELECT fingerprint, status, answer FROM idempotency_keys WHERE name = ?"
    row: sqlite3.Row | None = connection.execute(query, (name,)).fetchone()
    if row is None:
        connection.execute(
            "INSERT INTO idempotency_keys (name, fingerprint, peer, expires) VALUES (?, ?, ?, ?)",
            (name, fingerprint, peer, now + KEPT_SECONDS),
        )
        connection.execute(
            "DELETE FROM idempotency_keys WHERE id IN"
            " (SELECT id FROM idempotency_keys WHERE peer = ? ORDER BY id DESC LIMIT -1 OFFSET ?)",
            (peer, MOST_OF_PEER),
        )
        connection.execute(
            "DELETE FROM idempotency_keys WHERE id <= (SELECT MAX(id) FROM idempotency_keys) - ?", (MOST_KEYS,)
        )
    return row


def _name_of(route: str, key: str) -> bytes:
    if not (0 < len(key) <= LONGEST and all("!" <= letter <= "~" for letter in key)):
        raise MalformedDocument(
            f"an {HEADER} has 1 to {LONGEST} visible ASCII characters", remedy="draw 32 random hex digits"
        )
    return hashlib.sha256(f"{route}\n{key}".encode()).digest()
