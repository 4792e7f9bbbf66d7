"""Who is signed in: nonces that count once, and sessions that end.

1. A nonce (:mod:`.nonces`) counts once: it is used up before the signature is looked at, whatever comes of it.
2. A message counts if it is to this server (domain and URI of its own URL), for its chain, written in the last
   :data:`SKEW_SECONDS`, not over, and signed by the account that it names: its key, or its contract (ERC-1271).
3. A session ends with its message, and after :data:`SESSION_SECONDS` at the latest. Its token is 32 random bytes; the
   database holds their SHA-256 alone. Its account can end it, or all of its own.
4. At most :data:`MOST_OF_ACCOUNT` sessions of an account are open: the oldest go first.
5. At most :data:`MOST_SESSIONS` are open in all. When there are more, peers lose their oldest by turns, those with the
   most first: the newest session of a peer goes after every one that another peer has besides its own newest.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable

from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.sign_in import Nonce, Session, SignedMessage, SignInMessage, domain_of, read_message, uri_of
from sealmarket_backend.database.schema import NEVER
from sealmarket_backend.errors import SignatureWrong, SignInNeeded, SignInRefused
from sealmarket_backend.nonces import Nonces
from sealmarket_backend.signatures import Signatures
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Address
from sealmarket_enclave.protocol.signing import personal_digest

SKEW_SECONDS = 300
"""Clocks may differ by it; a message is written behind its nonce."""
SESSION_SECONDS = 3600
MOST_OF_ACCOUNT = 16
MOST_SESSIONS, ENDED_AT_ONCE = 65_536, 4_096
"""About 10 MB of the database, and how many end together when there are more."""
_TOKEN_BYTES = 32
LONGEST_TOKEN = 100
_END_BY_TURNS = """
DELETE FROM sessions WHERE id IN (
    SELECT id FROM (SELECT id, ROW_NUMBER() OVER (PARTITION BY peer ORDER BY id DESC) AS turn FROM sessions) AS placed
    ORDER BY turn DESC, id LIMIT ?
)
"""


class Sessions:
    """The sign-ins of one backend. ``clock`` gives seconds since 1970. Threads may share it."""

    def __init__(
        self, database: Database, signatures: Signatures, book: AddressBook, clock: Callable[[], float]
    ) -> None:
        self._database, self._signatures, self._clock = database, signatures, clock
        self._nonces = Nonces(database, clock)
        self._domain, self._uri, self._chain_id = domain_of(book.backend), uri_of(book.backend), book.chain_id

    def nonce(self) -> Nonce:
        """A nonce for one sign-in."""
        return self._nonces.give()

    def sign_in(self, signed: SignedMessage, peer: str) -> Session:
        """Open a session for the account that signed.

        Raises:
            MalformedDocument: no message.
            SignInRefused: of another server or chain, out of time, a nonce that counts no more, or another's signature.
            TooMany: this peer signs in too often, or as :meth:`Signatures.require`.
            ChainError: as there.
        """
        message, now = read_message(signed.message), int(self._clock())
        if not self._nonces.take(message.nonce, peer):
            raise SignInRefused("a nonce counts once", "a nonce that this server gave and that waits", message.nonce)
        self._require_ours(message, now)
        try:
            digest = personal_digest(signed.message.encode())
            self._signatures.require_digest(digest, signed.signature, message.account, peer)
        except SignatureWrong as error:
            raise SignInRefused("the account signs the message", error.expected, error.found) from error
        return self._open(message.account, peer, min(message.expiration, now + SESSION_SECONDS), now)

    def account(self, token: str) -> Address:
        """Whose session a token is. Raises :class:`SignInNeeded`."""
        if token and len(token) <= LONGEST_TOKEN:
            row = self._database.row(
                "SELECT account FROM sessions WHERE digest = ? AND expires > ?", _digest(token), int(self._clock())
            )
            if row is not None:
                return Address(row["account"])
        raise SignInNeeded

    def end(self, token: str) -> None:
        """End a session. Raises :class:`SignInNeeded` where there is none."""
        self.account(token)
        with self._database.write() as connection:
            connection.execute("DELETE FROM sessions WHERE digest = ?", (_digest(token),))

    def end_all(self, token: str) -> None:
        """End every session of the account whose session this is. Raises :class:`SignInNeeded`."""
        account = self.account(token)
        with self._database.write() as connection:
            connection.execute("DELETE FROM sessions WHERE account = ?", (account,))

    def _require_ours(self, message: SignInMessage, now: int) -> None:
        for rule, expected, found in (
            ("a message is to this server", self._domain, message.domain),
            ("a message is to this server", self._uri, message.uri),
            ("a message is for this chain", self._chain_id, message.chain_id),
        ):
            if expected != found:
                raise SignInRefused(rule, expected, found)
        if abs(message.issued_at - now) > SKEW_SECONDS:
            raise SignInRefused("a message is new", f"within {SKEW_SECONDS} s of {now}", message.issued_at)
        if message.expiration <= now:
            raise SignInRefused("a message is not over", f"later than {now}", message.expiration)

    def _open(self, account: Address, peer: str, expires: int, now: int) -> Session:
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        with self._database.write() as connection:
            connection.execute("DELETE FROM sessions WHERE expires <= ?", (now,))
            connection.execute(
                "INSERT INTO sessions (digest, account, peer, expires) VALUES (?, ?, ?, ?)",
                (_digest(token), account, peer, expires),
            )
            connection.execute(
                "DELETE FROM sessions WHERE id IN"  # noqa: S608 - ours
                f" (SELECT id FROM sessions WHERE account = ? ORDER BY id DESC LIMIT {NEVER} OFFSET ?)",
                (account, MOST_OF_ACCOUNT),
            )
            if connection.execute("SELECT COUNT(*) FROM sessions").fetchone()[0] > MOST_SESSIONS:
                connection.execute(_END_BY_TURNS, (ENDED_AT_ONCE,))
        return Session(token=token, account=account, expires=expires)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
