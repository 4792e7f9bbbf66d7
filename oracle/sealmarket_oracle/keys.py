"""A node's two keys: secp256k1 for what it signs, HPKE for what is sealed to it. Never printed, logged or pickled."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import coincurve
import msgspec

from sealmarket.private_files import NotPrivate, passphrase_forms, read_private
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, parse_json
from sealmarket_enclave.protocol.eip712 import TypedShape
from sealmarket_enclave.protocol.signing import address_of, personal_digest, sign
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_oracle.errors import KeyFileRefused

if TYPE_CHECKING:
    from sealmarket.eth import LocalAccount


class NodeSigner(Protocol):
    """The signing key of a node, in this process or in another program."""

    address: Address

    def sign_statement(self, statement: TypedShape, chain_id: int, market: Address) -> HexBytes:
        """65 bytes r, s, v over a structure for one market."""

    def sign_text(self, message: bytes) -> HexBytes:
        """65 bytes r, s, v over a message by EIP-191."""


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """The keys of one node. The repr names public parts only."""

    signer: NodeSigner
    hpke: PrivateKey


class Signer:
    """A key in this process. Signatures are deterministic (RFC 6979), low s."""

    __slots__ = ("_key", "address")

    def __init__(self, secret: bytes) -> None:
        """Raises :class:`KeyFileRefused` unless the bytes are a secp256k1 private key."""
        try:
            self._key = coincurve.PrivateKey(secret)
        except ValueError:
            raise KeyFileRefused("the signing key is not a secp256k1 private key of 32 bytes") from None
        self.address: Address = address_of(self._key.public_key)

    def sign(self, digest: Bytes32) -> HexBytes:
        """65 bytes r, s, v over a digest."""
        return sign(digest, self._key)

    def sign_statement(self, statement: TypedShape, chain_id: int, market: Address) -> HexBytes:
        """See :class:`NodeSigner`."""
        return self.sign(statement.digest(chain_id, market))

    def sign_text(self, message: bytes) -> HexBytes:
        """See :class:`NodeSigner`."""
        return self.sign(personal_digest(message))

    def __repr__(self) -> str:
        return f"Signer({self.address})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a signing key is not pickled")


def account(path: Path) -> LocalAccount:
    """An account that sends transactions, from a file with its key in hex. Raises :class:`KeyFileRefused`."""
    from sealmarket.eth import Account, LocalAccount

    try:
        found = Account.from_key(_hex(path))
    except ValueError:
        raise KeyFileRefused(f"{path} holds no account's key", remedy="put 32 bytes of hex into it") from None
    assert isinstance(found, LocalAccount)
    return found


def advisory_key(path: Path, word: Callable[[], str]) -> coincurve.PrivateKey:
    """The key of an issuer of advisories, from a keystore or a file with it in hex. ``word``: a keystore's passphrase.

    Raises:
        KeyFileRefused: the file is absent, open to others, holds no key, or is under another passphrase.
    """
    if not path.exists():
        raise KeyFileRefused(
            f"{path} does not exist",
            remedy="make the issuer's account: `sealmarket account new`",
        )
    raw = read(path)
    if raw.lstrip().startswith(b"{"):
        if (secret := unlocked(raw, word())) is None:
            raise KeyFileRefused(f"{path} is no keystore, or under another passphrase", remedy="give its passphrase")
        return coincurve.PrivateKey(secret)
    try:
        return coincurve.PrivateKey(_hex(path))
    except ValueError:
        raise KeyFileRefused(f"{path} holds no account's key", remedy="put 32 bytes of hex into it") from None


def unlocked(keystore: bytes, passphrase: str) -> bytes | None:
    """The key in a Web3 keystore (version 3); None if it is none, or under another passphrase."""
    from sealmarket.eth import Account

    try:
        parsed: dict[str, Any] = parse_json(keystore, dict[str, Any])
        for form in passphrase_forms(passphrase):
            with suppress(ValueError):
                return bytes(Account.decrypt(parsed, form))
    except (ValueError, LookupError, TypeError, msgspec.MsgspecError):
        pass  # The library's message may quote what it read.
    return None


def read(path: Path) -> bytes:
    """The bytes of a file that only its holder can read. Raises :class:`KeyFileRefused`."""
    try:
        return read_private(path)
    except NotPrivate as error:
        raise KeyFileRefused(error.message, remedy=error.remedy) from error
    except OSError as error:
        raise KeyFileRefused(
            f"{path} cannot be read: {error.strerror}",
            remedy="make keys with `sealmarket oracle init`, or put them back with `sealmarket oracle restore`",
        ) from error


def _hex(path: Path) -> bytes:
    text = read(path).decode("ascii", errors="replace").strip()
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise KeyFileRefused(f"{path} holds no hex key", remedy="put 32 bytes of hex into it, mode 0600") from None
