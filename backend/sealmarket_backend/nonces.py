"""Nonces of sign-ins: given to anyone for nothing, and each counts once.

1. A nonce is the time at which it ends, eight random bytes, and an HMAC of both under a key of the backend. Giving one
   writes nothing, so however many strangers ask, none loses the one that it was given.
2. A nonce that was used is written down until it would have ended, by its SHA-256: then it is refused as too late. The
   clock of the process that gave it may be ahead of this one's.
3. A peer uses at most :data:`MOST_OF_PEER` in :data:`NONCE_SECONDS`, and has to wait then. No other peer does.
4. At most :data:`MOST_USED` used nonces are written down. When there are more, those that came first are forgotten, and
   from then on each nonce that ends no later than the last of them is refused, used or not: a row under the peer
   ``"forgotten"`` says until when. So none counts twice, and one that its account uses before so many others are used
   counts, from however many addresses they come. How many there are is read from the span of their numbers, at the same
   cost for however many.
5. The keys lie in the table ``nonces``, under the peer ``""``, so that all processes on one database take each other's
   nonces. A key makes nonces for :data:`KEY_SECONDS` and ends with the last of them. A party that reads it can make
   nonces; a sign-in needs an account's signature all the same.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable

from sealmarket.protocol.sign_in import Nonce
from sealmarket_backend.errors import TooMany
from sealmarket_backend.tables import Connection, Database

NONCE_SECONDS = 300
KEY_SECONDS = 3600
MOST_OF_PEER = 64
MOST_USED, FORGOTTEN_AT_ONCE = 65_536, 8_192
"""About 15 MB of the database, and how many of them go together."""
_KEY_BYTES, _RANDOM_BYTES = 32, 8
_TIME_DIGITS, _MAC_DIGITS = 10, 32
"""Hex digits: of seconds since 1970, and of the first half of an HMAC-SHA-256."""
_UNSIGNED = _TIME_DIGITS + 2 * _RANDOM_BYTES
_OURS = ""
"""In the place of a peer: rows with it are keys."""
_FORGOTTEN = "forgotten"
"""In the place of a peer, and of a digest: the row that says until when nonces may have been forgotten."""


class Nonces:
    """The nonces of one backend. ``clock`` gives seconds since 1970. Threads may share it."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database, self._clock = database, clock
        self._newest = (b"", 0)
        """The key that makes nonces, and when it ends."""

    def give(self) -> Nonce:
        """A nonce for one sign-in."""
        expires = int(self._clock()) + NONCE_SECONDS
        made = f"{expires:0{_TIME_DIGITS}x}{secrets.token_hex(_RANDOM_BYTES)}"
        return Nonce(nonce=made + _mac(self._key(expires), made), expires=expires)

    def take(self, nonce: str, peer: str) -> bool:
        """Whether a nonce counts; it counts no more from now on. Raises :class:`TooMany`."""
        now = int(self._clock())
        ends = self._end_of(nonce, now)
        if now >= ends:
            return False
        with self._database.write() as connection:
            connection.execute("DELETE FROM nonces WHERE expires <= ?", (now,))
            count = connection.execute("SELECT COUNT(*) FROM nonces WHERE peer = ?", (peer,)).fetchone()[0]
            if count >= MOST_OF_PEER:
                raise TooMany(f"{peer} signed in {count} times within {NONCE_SECONDS} s", NONCE_SECONDS)
            if ends <= _forgotten_until(connection):
                return False
            digest = hashlib.sha256(nonce.encode()).digest()
            # Not by ON CONFLICT, which uses up a number: replays would widen the span, and have others forgotten.
            if connection.execute("SELECT 1 FROM nonces WHERE digest = ?", (digest,)).fetchone() is not None:
                return False
            query = "INSERT INTO nonces (digest, peer, expires) VALUES (?, ?, ?)"
            connection.execute(query, (digest, peer, max(ends, now + NONCE_SECONDS)))
            return True

    def _end_of(self, nonce: str, now: int) -> int:
        """When a nonce ends; 0 of one that no process of this database made."""
        if len(nonce) != _UNSIGNED + _MAC_DIGITS or not nonce.isascii():
            return 0
        made, mac = nonce[:_UNSIGNED], nonce[_UNSIGNED:]
        if not any(hmac.compare_digest(_mac(key, made), mac) for key in self._keys(now)):
            return 0
        return int(made[:_TIME_DIGITS], 16)

    def _keys(self, now: int) -> Iterable[bytes]:
        if self._newest[1] > now:
            yield self._newest[0]
        query = "SELECT digest FROM nonces WHERE peer = ? AND expires > ?"
        yield from (bytes(row["digest"]) for row in self._database.rows(query, _OURS, now))

    def _key(self, until: int) -> bytes:
        """A key that lasts until then: the newest that some process wrote down, or a new one."""
        key, ends = self._newest
        if ends >= until:
            return key
        with self._database.write() as connection:
            query = "SELECT digest, expires FROM nonces WHERE peer = ? AND expires >= ? ORDER BY id DESC LIMIT 1"
            row = connection.execute(query, (_OURS, until)).fetchone()
            if row is not None:
                self._newest = bytes(row["digest"]), int(row["expires"])
            else:
                self._newest = secrets.token_bytes(_KEY_BYTES), until + KEY_SECONDS
                query = "INSERT INTO nonces (digest, peer, expires) VALUES (?, ?, ?)"
                connection.execute(query, (self._newest[0], _OURS, self._newest[1]))
            return self._newest[0]


def _forgotten_until(connection: Connection) -> int:
    """Make room for one more used nonce. No nonce that ends later than what this returns was forgotten."""
    mark = _FORGOTTEN.encode()
    row = connection.execute("SELECT expires FROM nonces WHERE digest = ?", (mark,)).fetchone()
    until = int(row[0]) if row is not None else 0
    which = "peer NOT IN (?, ?)"
    first = connection.execute(f"SELECT id FROM nonces WHERE {which} ORDER BY id LIMIT 1", (_OURS, _FORGOTTEN))  # noqa: S608
    oldest = first.fetchone()
    newest = connection.execute("SELECT MAX(id) FROM nonces").fetchone()[0]
    if oldest is None or newest - oldest[0] + 2 < MOST_USED:  # with the row of what was forgotten
        return until
    gone = connection.execute(
        f"DELETE FROM nonces WHERE {which} AND id <= ? RETURNING expires",  # noqa: S608 - ours
        (_OURS, _FORGOTTEN, newest - MOST_USED + FORGOTTEN_AT_ONCE),
    ).fetchall()
    until = max([until, *(int(one[0]) for one in gone)])
    connection.execute(
        "INSERT INTO nonces (digest, peer, expires) VALUES (?, ?, ?)"
        " ON CONFLICT (digest) DO UPDATE SET expires = excluded.expires",
        (mark, _FORGOTTEN, until),
    )
    return until


def _mac(key: bytes, made: str) -> str:
    return hmac.digest(key, made.encode(), "sha256").hex()[:_MAC_DIGITS]
