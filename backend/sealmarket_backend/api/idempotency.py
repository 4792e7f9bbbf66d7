"""Idempotency keys: a client that lost an answer sends the same request again under the same key, and gets it.

1. A key is 1 to 64 visible ASCII characters, and belongs to one route and one body for :data:`KEPT_SECONDS`.
2. The same key and body give the same answer; another body is refused. Which body a key belongs to is on disk before
   anything is done, the answer after it: a crash between the two lets the request be done again, and each of them is
   the same twice as once.
3. What was refused was not done: its key is free again.
4. At most :data:`MOST_OF_PEER` keys of one peer are kept, and :data:`MOST_KEYS` in all; the oldest go first.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sealmarket_backend.errors import KeyInUse, KeyReused
from sealmarket_backend.tables import Database
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
        self._database, self._clock = database, clock
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
        with self._database.write() as connection:
            connection.execute("DELETE FROM idempotency_keys WHERE expires <= ?", (now,))
            row = connection.execute(
                "SELECT fingerprint, status, answer FROM idempotency_keys WHERE name = ?", (name,)
            ).fetchone()
            if row is None:
                connection.execute(
                    "INSERT INTO idempotency_keys (name, fingerprint, peer, expires) VALUES (?, ?, ?, ?)",
                    (name, fingerprint, peer, now + KEPT_SECONDS),
                )
                for where, given, most in (("peer = ?", (peer,), MOST_OF_PEER), ("1 = 1", (), MOST_KEYS)):
                    connection.execute(
                        f"DELETE FROM idempotency_keys WHERE name IN (SELECT name FROM idempotency_keys WHERE {where}"  # noqa: S608 - ours
                        " ORDER BY expires DESC, name = ? DESC LIMIT -1 OFFSET ?)",
                        (*given, name, most),
                    )
        if row is None:
            return None
        if row["fingerprint"] != fingerprint:
            raise KeyReused
        return None if row["status"] is None else KeptAnswer(row["status"], bytes(row["answer"]))

    def _keep(self, name: bytes, made: KeptAnswer) -> None:
        with self._database.write() as connection:
            connection.execute(
                "UPDATE idempotency_keys SET status = ?, answer = ? WHERE name = ?", (made.status, made.body, name)
            )

    def _forget(self, name: bytes) -> None:
        with self._database.write() as connection:
            connection.execute("DELETE FROM idempotency_keys WHERE name = ? AND status IS NULL", (name,))


def _name_of(route: str, key: str) -> bytes:
    if not (0 < len(key) <= LONGEST and all("!" <= letter <= "~" for letter in key)):
        raise MalformedDocument(
            f"an {HEADER} has 1 to {LONGEST} visible ASCII characters", remedy="draw 32 random hex digits"
        )
    return hashlib.sha256(f"{route}\n{key}".encode()).digest()
