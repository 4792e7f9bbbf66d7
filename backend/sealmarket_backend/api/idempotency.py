"""Idempotency keys: a client that lost an answer sends the same request again under the same key, and gets it.

1. A key is 1 to 64 visible ASCII characters, and belongs to one route and one body for :data:`KEPT_SECONDS`.
2. The same key and body give the same answer; another body is refused.
3. What is done in one transaction has its key and its answer in that one (:meth:`Idempotency.within`). Of all else
   (:meth:`Idempotency.once`) it is on disk which body a key belongs to before anything is done, the answer some time
   after it, and no client waits for that: a crash between the two lets the request be done again, and each of them is
   the same twice as once.
4. What was refused was not done: its key is free again.
5. Where several processes share a database, :meth:`Idempotency.once` holds a key while its request is under way, for at
   most :data:`HELD_SECONDS`: a process that died frees it by then. A database of one process needs no such hold.
6. Keys and answers that come while the disk is written go to it together, and with orders.
7. At most :data:`MOST_OF_PEER` keys of one peer are kept, and :data:`MOST_KEYS` in all, which is looked at once a
   second; the oldest go first.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

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
_FORGET_OF_PEER = (
    "DELETE FROM idempotency_keys WHERE id IN"  # noqa: S608 - ours
    f" (SELECT id FROM idempotency_keys WHERE peer = ? ORDER BY id DESC LIMIT {NEVER} OFFSET ?)"
)
_FORGET_OLDEST = (
    "DELETE FROM idempotency_keys WHERE id IN"  # noqa: S608 - ours
    f" (SELECT id FROM idempotency_keys ORDER BY id DESC LIMIT {NEVER} OFFSET ?)"
)
_CLAIM = (
    "INSERT INTO idempotency_keys (name, fingerprint, peer, expires, holder, held_until) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until"
    " WHERE idempotency_keys.fingerprint = excluded.fingerprint AND idempotency_keys.status IS NULL"
    " AND (idempotency_keys.holder = excluded.holder OR idempotency_keys.held_until <= ?) RETURNING id"
)
"""Holds a key that is new, or that no other process holds; returns nothing of any other."""
_KEEP = (
    "INSERT INTO idempotency_keys (name, fingerprint, peer, expires, holder, held_until, status, answer)"
    " VALUES (?, ?, ?, ?, ?, 0, ?, ?) ON CONFLICT (name) DO UPDATE"
    " SET status = excluded.status, answer = excluded.answer"
    " WHERE idempotency_keys.fingerprint = excluded.fingerprint RETURNING id"
)
"""Keeps a key with its answer; returns nothing where it belongs to another body."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What a request was answered with."""

    status: int
    body: bytes


Keep = Callable[[Connection, KeptAnswer], None]
"""Keeps an answer under its key, in a transaction."""


class Idempotency:
    """The keys of one backend. ``clock`` gives seconds since 1970. Threads may share it."""

    def __init__(self, database: Database, clock: Callable[[], float], together: Together | None = None) -> None:
        """``together``: with whose changes those of keys go to the disk; by default they go alone."""
        self._database, self._clock = database, clock
        self._together = together or Together(database, nullcontext)
        self._holder = secrets.token_hex(8) if database.dialect.is_shared else ""
        self._lock = threading.Lock()
        self._under_way: set[bytes] = set()
        self._unwritten: dict[bytes, tuple[bytes, KeptAnswer]] = {}
        """Answers, with what their bodies hash to, until they are on disk."""
        self._swept = -1
        """The second in which keys that ended were last forgotten."""

    def within(
        self, route: str, key: str | None, body: bytes, peer: str, do: Callable[[Keep], KeptAnswer]
    ) -> KeptAnswer:
        """Do something in one transaction, in which ``do`` keeps the answer, unless it was done under this key; without
        a key, do it. Raises as :meth:`once`."""
        if key is None:
            return do(lambda _connection, _made: None)
        name, fingerprint = _name_of(route, key), hashlib.sha256(body).digest()
        with self._alone(name):
            query = "SELECT fingerprint, status, answer FROM idempotency_keys WHERE name = ? AND expires > ?"
            row = self._database.row(query, name, int(self._clock()))
            if row is not None and row["fingerprint"] != fingerprint:
                raise KeyReused
            if row is not None and row["status"] is not None:
                return KeptAnswer(row["status"], bytes(row["answer"]))
            return do(partial(self._note, name, fingerprint, peer))

    def _note(self, name: bytes, fingerprint: bytes, peer: str, connection: Connection, made: KeptAnswer) -> None:
        now = int(self._clock())
        self._sweep(connection, now)
        values = (name, fingerprint, peer, now + KEPT_SECONDS, self._holder, made.status, made.body)
        if not connection.execute(_KEEP, values).fetchall():
            raise KeyReused  # by another process, since it was looked up
        connection.later(_FORGET_OF_PEER, (peer, MOST_OF_PEER))

    def _sweep(self, connection: Connection, now: int) -> None:
        """Forget what ended, and what is too much, once a second."""
        if now == self._swept:
            return
        self._swept = now
        connection.execute("DELETE FROM idempotency_keys WHERE expires <= ?", (now,))
        if (connection.execute(_SPAN).fetchone()[0] or 0) + 1 >= MOST_KEYS:
            connection.later(_FORGET_OLDEST, (MOST_KEYS,))

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
        row = self._together.write(lambda connection: self._claimed(connection, name, fingerprint, peer, now))
        if row is None:
            return None
        if row["fingerprint"] != fingerprint:
            raise KeyReused
        if row["status"] is None:
            raise KeyInUse
        return KeptAnswer(row["status"], bytes(row["answer"]))

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

    def _claimed(self, connection: Connection, name: bytes, fingerprint: bytes, peer: str, now: int) -> Row | None:
        """None where a key is held from now on, by this process and for this body; else its row."""
        self._sweep(connection, now)
        values = (name, fingerprint, peer, now + KEPT_SECONDS, self._holder, now + HELD_SECONDS, now)
        if connection.execute(_CLAIM, values).fetchall():
            connection.later(_FORGET_OF_PEER, (peer, MOST_OF_PEER))
            return None
        query = "SELECT fingerprint, status, answer, holder, held_until FROM idempotency_keys WHERE name = ?"
        row: Row = connection.execute(query, (name,)).fetchone()
        return row


def _name_of(route: str, key: str) -> bytes:
    if not (0 < len(key) <= LONGEST and all("!" <= letter <= "~" for letter in key)):
        raise MalformedDocument(
            f"an {HEADER} has 1 to {LONGEST} visible ASCII characters", remedy="draw 32 random hex digits"
        )
    return hashlib.sha256(f"{route}\n{key}".encode()).digest()
