"""A node's two keys: secp256k1 for what it signs, HPKE for what is sealed to it. Files of mode 0600, never printed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import coincurve

from sealmarket.private_files import NotPrivate, read_private, write_private
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes
from sealmarket_enclave.protocol.signing import address_of, sign
from sealmarket_enclave.sealed.errors import InvalidHpkeKey
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_oracle.errors import KeyFileRefused

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

SIGNER_FILE = "signer.key"
HPKE_FILE = "hpke.key"


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """The keys of one node. The repr names public parts only."""

    signer: Signer
    hpke: PrivateKey


class Signer:
    """Signs digests with the node's account key. Signatures are deterministic (RFC 6979), low s."""

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

    def __repr__(self) -> str:
        return f"Signer({self.address})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a signing key is not pickled")


def generate(folder: Path) -> NodeKeys:
    """Make both keys in a folder of mode 0700. Existing keys are never overwritten.

    Raises:
        KeyFileRefused: a key file is there already.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in (SIGNER_FILE, HPKE_FILE):
        if (folder / name).exists():
            raise KeyFileRefused(
                f"{folder / name} exists", remedy="keep it: shares are sealed to it; or name another folder"
            )
    made = {HPKE_FILE: PrivateKey.generate().secret_bytes(), SIGNER_FILE: coincurve.PrivateKey().secret}
    for name, secret in made.items():
        write_private(folder / name, f"0x{secret.hex()}\n".encode())
    return load(folder / SIGNER_FILE, folder / HPKE_FILE)


def load(signer_file: Path, hpke_file: Path) -> NodeKeys:
    """Read both keys.

    Raises:
        KeyFileRefused: a file is absent, open to others, or holds no key.
    """
    signer = Signer(_read(signer_file))
    try:
        return NodeKeys(signer, PrivateKey(_read(hpke_file)))
    except InvalidHpkeKey:
        raise KeyFileRefused(f"{hpke_file} is not an HPKE key", remedy="restore it from its backup") from None


def account(path: Path) -> LocalAccount:
    """An account that sends transactions, from a file like a node's keys. Raises :class:`KeyFileRefused`."""
    from eth_account import Account
    from eth_account.signers.local import LocalAccount

    try:
        found = Account.from_key(_read(path))
    except ValueError:
        raise KeyFileRefused(f"{path} holds no account's key", remedy="put 32 bytes of hex into it") from None
    assert isinstance(found, LocalAccount)
    return found


def _read(path: Path) -> bytes:
    try:
        text = read_private(path).decode("ascii", errors="replace").strip()
    except NotPrivate as error:
        raise KeyFileRefused(error.message, remedy=error.remedy) from error
    except OSError as error:
        raise KeyFileRefused(
            f"{path} cannot be read: {error.strerror}", remedy="make keys with `sealmarket oracle init`"
        ) from error
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise KeyFileRefused(f"{path} holds no hex key", remedy="restore it from its backup") from None
