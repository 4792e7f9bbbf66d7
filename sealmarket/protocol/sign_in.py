"""Sign-In with Ethereum (EIP-4361): the one form of message that this market signs and takes.

    market.example wants you to sign in with your Ethereum account:
    0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed

    Read what is private to this account.

    URI: https://market.example/v1/sign-in
    Version: 1
    Chain ID: 1
    Nonce: 9f2c…
    Issued At: 2026-11-29T01:00:00Z
    Expiration Time: 2026-11-29T02:00:00Z

A client writes the message by itself and takes nothing but the nonce from the server, so that no server has it sign
for another one. Optional lines of EIP-4361 (not before, request id, resources) are not taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from sealmarket_enclave.protocol.codec import Address, HexBytes, Shape
from sealmarket_enclave.protocol.errors import MalformedDocument

STATEMENT = "Read what is private to this account."
ROUTE = "/v1/sign-in"
LONGEST_MESSAGE = 1000
LONGEST_SIGNATURE = 16 << 10
"""Bytes: contracts take more than keys make."""
_WANTS = " wants you to sign in with your Ethereum account:"
_LABELS = ("URI: ", "Version: ", "Chain ID: ", "Nonce: ", "Issued At: ", "Expiration Time: ")
_FIRST_LABEL, _LINES = 5, 11
_MOMENT = "%Y-%m-%dT%H:%M:%SZ"
_LEAST_NONCE, _MOST_NONCE = 8, 64


class Nonce(Shape, frozen=True, kw_only=True):
    """A nonce for one sign-in. ``expires`` in seconds since 1970."""

    nonce: Annotated[str, Meta(max_length=_MOST_NONCE)]
    expires: int


class SignedMessage(Shape, frozen=True, kw_only=True):
    """A message, and the account's signature over it (EIP-191, or what its contract takes)."""

    message: Annotated[str, Meta(max_length=LONGEST_MESSAGE)]
    signature: HexBytes


class Session(Shape, frozen=True, kw_only=True):
    """What a sign-in gives: a token for the header ``Authorization: Bearer``. ``expires`` in seconds since 1970."""

    token: Annotated[str, Meta(max_length=100)]
    account: Address
    expires: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInMessage:
    """A message by its parts. Times in seconds since 1970."""

    domain: str
    account: Address
    uri: str
    chain_id: int
    nonce: str
    issued_at: int
    expiration: int

    def text(self) -> str:
        """The message as it is signed."""
        return "\n".join(
            (
                f"{self.domain}{_WANTS}",
                self.account.checksum,
                "",
                STATEMENT,
                "",
                f"URI: {self.uri}",
                "Version: 1",
                f"Chain ID: {self.chain_id}",
                f"Nonce: {self.nonce}",
                f"Issued At: {_spelt(self.issued_at)}",
                f"Expiration Time: {_spelt(self.expiration)}",
            )
        )


def domain_of(url: str) -> str:
    """The domain of a server's URL: its host, and its port where it names one."""
    return urlsplit(url).netloc.rpartition("@")[2].lower()


def uri_of(url: str) -> str:
    """What a message to the server at this URL names as its URI."""
    return url.rstrip("/") + ROUTE


def is_nonce(text: str) -> bool:
    """Whether EIP-4361 takes it: at least 8 letters and digits."""
    return _LEAST_NONCE <= len(text) <= _MOST_NONCE and text.isascii() and text.isalnum()


def read_message(text: str) -> SignInMessage:
    """The parts of a message. Raises :class:`MalformedDocument` for any other spelling of one."""
    lines = text.split("\n", _LINES) if len(text) <= LONGEST_MESSAGE else []
    if len(lines) != _LINES:
        raise _refused(f"a message has {_LINES} lines and at most {LONGEST_MESSAGE} characters")
    values = []
    for label, line in zip(_LABELS, lines[_FIRST_LABEL:], strict=True):
        if not line.startswith(label):
            raise _refused(f"expected a line that begins with {label!r}, found {line[:40]!r}")
        values.append(line.removeprefix(label))
    uri, _version, chain_id, nonce, issued_at, expiration = values
    if not (chain_id.isascii() and chain_id.isdigit() and len(chain_id) <= 20 and is_nonce(nonce)):
        raise _refused("the chain id is a number, and the nonce 8 to 64 letters and digits")
    made = SignInMessage(
        domain=lines[0].removesuffix(_WANTS),
        account=_account(lines[1]),
        uri=uri,
        chain_id=int(chain_id),
        nonce=nonce,
        issued_at=_moment(issued_at),
        expiration=_moment(expiration),
    )
    if made.text() != text:
        raise _refused("it is spelt otherwise: statement, version, checksum or times")
    return made


def _account(text: str) -> Address:
    return Address.parse(text.lower())


def _spelt(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime(_MOMENT)


def _moment(text: str) -> int:
    try:
        return int(datetime.strptime(text[:40], _MOMENT).replace(tzinfo=UTC).timestamp())
    except ValueError as error:
        raise _refused(f"expected a time as 2026-11-29T01:00:00Z, found {text[:40]!r}") from error


def _refused(why: str) -> MalformedDocument:
    return MalformedDocument(f"no sign-in message: {why}", remedy="write it as docs/spec/api.md says")
