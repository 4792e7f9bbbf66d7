"""A session with one market's API: the client signs in by itself where something private is asked for.

The message is written here, for the server that is asked and the chain of the address book; nothing but a nonce of
letters and digits comes from the server, so none has its caller sign for another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sealmarket.protocol.sign_in import (
    ROUTE,
    Nonce,
    Session,
    SignedMessage,
    SignInMessage,
    domain_of,
    is_nonce,
    uri_of,
)
from sealmarket.service.connection import Connection
from sealmarket.service.errors import ServiceRefused
from sealmarket_enclave.protocol.codec import Address, HexBytes, decode
from sealmarket_enclave.protocol.errors import MalformedDocument

SESSION_SECONDS = 900
RENEW_SECONDS = 30
WHAT = "sign-in"
T = TypeVar("T")
SignText = Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signs in: an account on a chain, and how it signs a text (EIP-191)."""

    account: Address
    chain_id: int
    sign: SignText


class ApiSession:
    """The session of one client. ``clock`` gives seconds since 1970. Threads may share it."""

    def __init__(self, connection: Connection, clock: Callable[[], float] = time.time) -> None:
        self._http, self._clock = connection, clock
        self._lock = threading.Lock()
        self._identity: Identity | None = None
        self._session: Session | None = None

    def use(self, identity: Identity) -> None:
        """Sign in as this account where it is needed; nothing is asked now."""
        with self._lock:
            self._identity, self._session = identity, None

    def headers(self) -> dict[str, str]:
        """What a request for something private carries; nothing where no account was named.

        Raises:
            ServiceUnavailable, ServiceRefused: the server does not let it in.
        """
        with self._lock:
            if self._identity is None:
                return {}
            if self._session is None or self._session.expires - RENEW_SECONDS < self._clock():
                self._session = self._opened(self._identity)
            return {"Authorization": f"Bearer {self._session.token}"}

    def end(self) -> None:
        """End the session, if there is one."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            headers = {"Authorization": f"Bearer {session.token}"}
            self._http.send("DELETE", ROUTE, b"", what=WHAT, headers=headers)

    def _opened(self, identity: Identity) -> Session:
        nonce = self._read(Nonce, self._http.send("POST", f"{ROUTE}/nonces", b"", what=WHAT)).nonce
        if not is_nonce(nonce):
            raise ServiceRefused(self._http.service, WHAT, "its nonce is none", "ask another server")
        now = int(self._clock())
        message = SignInMessage(
            domain=domain_of(self._http.base),
            account=identity.account,
            uri=uri_of(self._http.base),
            chain_id=identity.chain_id,
            nonce=nonce,
            issued_at=now,
            expiration=now + SESSION_SECONDS,
        ).text()
        signed = SignedMessage(message=message, signature=HexBytes(identity.sign(message)))
        return self._read(Session, self._http.send("POST", ROUTE, signed, what=WHAT))

    def _read(self, kind: type[T], raw: bytes) -> T:
        try:
            return decode(kind, raw)
        except MalformedDocument as error:
            raise ServiceRefused(self._http.service, WHAT, error.message, "update one of the two") from error
