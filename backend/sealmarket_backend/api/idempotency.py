"""Idempotency keys: a client that lost an answer sends the same request again under the same key, and gets it.

1. A key is 1 to 64 visible ASCII characters, and belongs to one route and one body for :data:`KEPT_SECONDS`.
2. The same key and body give the same answer; another body is refused. Which body a key belongs to is on disk before
   anything is done, the answer some time after it, and no client waits for that: a crash between the two lets the
   request be done again, and each of them is the same twice as once.
3. What was refused was not done: its key is free again.
4. Where several processes share a database, one holds a key while its request is under way, for at most
   :data:`HELD_SECONDS`: a process that died frees it by then. A database of one process needs no such hold.
5. Keys and answers that come while the disk is written go to it together, and with orders.
6. At most :data:`MOST_OF_PEER` keys of one peer are kept, and :data:`MOST_KEYS` in all; the oldest go first.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from sealmarket_backend.database.dialects import Row
from sealmarket_backend.database.schema import NEVER
from sealmarket_backend.errors import KeyInUse, KeyReused
from sealmarket_backend.tables import Connection, Database
from sealmarket_backend.together import Together
from sealmarket_enclave.protocol.errors import MalformedDocument

HEADER = "Idempotency-Key"
LONGEST = 64
KEPT_SECONDS = 86_400
HELD_SECONDS = 60
"""Longer than a request takes."""
MOST_OF_PEER = 1000
MOST_KEYS = 100_000


_SPAN = "SELECT (SELECT MAX(id) FROM idempotency_keys) - (SELECT MIN(id) FROM idempotency_keys)"
"""At least as many keys as this would have to be kept before there are too many: numbers of others are gone."""
_FORGET_OLDEST = (
    "DELETE FROM idempotency_keys WHERE id IN"  # noqa: S608 - ours
    f" (SELECT id FROM idempotency_keys ORDER BY id DESC LIMIT {NEVER} OFFSET ?)"
)


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What a request was answered with."""

    status: int
    body: bytes


class Idempotency:
    """The keys of one backend. ``clock`` gives seconds since 1970. Threads may share it."""

    def __init__(self, database: Database, clock: Callable[[], float], together: Together | None = None) -> None:
        """``together``: with whose changes those of keys go to the disk; by default they go alone."""
        self._together, self._clock = together or Together(database, nullcontext), clock
        self._holder = secrets.token_hex(8) if database.dialect.is_shared else ""
        self._lock = threading.Lock()
        self._under_way: set[bytes] = set()
        self._unwritten: dict[bytes, tuple[bytes, KeptAnswer]] = {}
        """Answers, with what their bodies hash to, until they are on disk."""

    def once(self, route: str, key: str | None, body: bytes, peer: str, do: Callable[[], KeptAnswer]) -> KeptAnswer:
        """Do something unless it was done under this key; without a key, do it.

        Raises:
            MalformedDocument: the key is none.
            KeyReused, KeyInUse: and nothing was done.
            and what ``do`` itself raises, after which the key is free again.
        """
        if key is None:
            return do()
        name, fingerprint = _name_of(route, key), hashlib.sha256(body).digest()
        with self._alone(name):
            if (kept := self._begin(name, fingerprint, peer)) is not None:
                return kept
            try:
                made = do()
            except Exception:
                self._forget(name)
                raise
            self._keep(name, fingerprint, made)
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
        if (unwritten := self._unwritten.get(name)) is not None:
            if unwritten[0] != fingerprint:
                raise KeyReused
            return unwritten[1]
        now = int(self._clock())
        claim = _Claim(name, fingerprint, peer, self._holder, now)
        row = self._together.write(lambda connection: _claimed(connection, claim))
        if row is None:
            return None
        if row["fingerprint"] != fingerprint:
            raise KeyReused
        if row["status"] is None and row["holder"] != self._holder and row["held_until"] > now:
            raise KeyInUse
        return None if row["status"] is None else KeptAnswer(row["status"], bytes(row["answer"]))

    def _keep(self, name: bytes, fingerprint: bytes, made: KeptAnswer) -> None:
        query = "UPDATE idempotency_keys SET status = ?, answer = ? WHERE name = ?"
        self._unwritten[name] = fingerprint, made
        self._together.later(
            lambda connection: connection.execute(query, (made.status, made.body, name)),
            lambda: self._written(name),
        )

    def _written(self, name: bytes) -> None:
        self._unwritten.pop(name, None)

    def _forget(self, name: bytes) -> None:
        query = "DELETE FROM idempotency_keys WHERE name = ? AND status IS NULL"
        self._together.write(lambda connection: connection.execute(query, (name,)))


@dataclass(frozen=True, slots=True)
class _Claim:
    """A key that a request comes under, with who carries it out."""

    name: bytes
    fingerprint: bytes
    peer: str
    holder: str
    now: int


def _claimed(connection: Connection, claim: _Claim) -> Row | None:
    """The row of a key that is known, which is held from now on if no other process holds it; else write it down, and
    make room for it."""
    connection.execute("DELETE FROM idempotency_keys WHERE expires <= ?", (claim.now,))
    query = "SELECT fingerprint, status, answer, holder, held_until FROM idempotency_keys WHERE name = ?"
    row: Row | None = connection.execute(query, (claim.name,)).fetchone()
    if row is not None:
        connection.execute(
            "UPDATE idempotency_keys SET holder = ?, held_until = ?"
            " WHERE name = ? AND fingerprint = ? AND status IS NULL AND (holder = ? OR held_until <= ?)",
            (claim.holder, claim.now + HELD_SECONDS, claim.name, claim.fingerprint, claim.holder, claim.now),
        )
        return row
    connection.execute(
        "INSERT INTO idempotency_keys (name, fingerprint, peer, expires, holder, held_until) VALUES (?, ?, ?, ?, ?, ?)",
        (claim.name, claim.fingerprint, claim.peer, claim.now + KEPT_SECONDS, claim.holder, claim.now + HELD_SECONDS),
    )
    connection.execute(
        "DELETE FROM idempotency_keys WHERE id IN"  # noqa: S608 - ours
        f" (SELECT id FROM idempotency_keys WHERE peer = ? ORDER BY id DESC LIMIT {NEVER} OFFSET ?)",
        (claim.peer, MOST_OF_PEER),
    )
    if connection.execute(_SPAN).fetchone()[0] >= MOST_KEYS:
        connection.execute(_FORGET_OLDEST, (MOST_KEYS,))
    return None


def _name_of(route: str, key: str) -> bytes:
    if not (0 < len(key) <= LONGEST and all("!" <= letter <= "~" for letter in key)):
        raise MalformedDocument(
            f"an {HEADER} has 1 to {LONGEST} visible ASCII characters", remedy="draw 32 random hex digits"
        )
    return hashlib.sha256(f"{route}\n{key}".encode()).digest()
