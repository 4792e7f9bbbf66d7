"""Wallet keys from files that only their holder can read."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from sealmarket.client.errors import ClientError
from sealmarket.client.remote import RemoteSigner, SignerFile
from sealmarket.client.signing import Signer
from sealmarket.private_files import NotPrivate, normalised, passphrase_forms, read_private, write_private
from sealmarket_enclave.protocol.codec import Address
from sealmarket_enclave.protocol.errors import MalformedDocument

if TYPE_CHECKING:
    from sealmarket.eth import LocalAccount


class AccountFileRefused(ClientError):
    """The file holds no account that can be read."""

    def __init__(self, path: Path, detail: str, remedy: str) -> None:
        super().__init__(f"{path} is no account file: {detail}", remedy=remedy)
        self.path, self.detail = path, detail


def load_account(path: Path, passphrase: str | None = None) -> LocalAccount:
    """Read an account: a hex private key in a file of mode 0600, or an encrypted keystore (Web3 Secret Storage).

    Raises:
        AccountFileRefused: not there, readable by others, of neither form, or another passphrase.
    """
    raw = _read(path)
    try:
        if raw.lstrip().startswith(b"{"):
            if remote_in(path) is not None:
                raise AccountFileRefused(path, "it names a program that holds the key", "use a keystore or a key file")
            if passphrase is None:
                raise AccountFileRefused(path, "it is encrypted and no passphrase was given", "give its passphrase")
            return _decrypted(msgspec.json.decode(raw), passphrase)
        return _account(bytes.fromhex(raw.decode("ascii").strip().removeprefix("0x")))
    except (ValueError, LookupError, TypeError, msgspec.MsgspecError):
        # The library's message may quote what it read.
        raise AccountFileRefused(
            path, "it holds no key, or the passphrase is another", "use a keystore file, or 64 hex digits"
        ) from None


def load_signer(path: Path, passphrase: str | None = None) -> Signer:
    """Read an account to sign with: one of :func:`load_account`, or a file that names a program which holds the key.

    Raises:
        AccountFileRefused, SignerRefused: as :func:`load_account`; or its URL lets others read along.
    """
    found = remote_in(path)
    return found or load_account(path, passphrase)


def remote_in(path: Path) -> RemoteSigner | None:
    """The signer that a file names; None for a file that holds a key. Asks it nothing."""
    raw = _read(path)
    if not raw.lstrip().startswith(b"{") or b'"signer"' not in raw:
        return None
    try:
        named = msgspec.json.decode(raw, type=SignerFile)
        return RemoteSigner(named.signer, Address.parse(named.address.lower()), named.dialect)
    except (msgspec.MsgspecError, MalformedDocument) as error:
        raise AccountFileRefused(
            path, f"it names no signer: {error}", "make it with `sealmarket account remote`"
        ) from error


def keep_signer(path: Path, signer: RemoteSigner) -> None:
    """Write an account's file that names the program which holds its key. Raises :class:`AccountFileRefused`."""
    named = SignerFile(signer=signer.url, address=signer.address, dialect=signer.dialect)
    try:
        write_private(path, msgspec.json.encode(named))
    except FileExistsError:
        raise AccountFileRefused(path, "it exists", "choose another path: keys are never overwritten") from None


def _decrypted(keystore: dict[str, Any], passphrase: str) -> LocalAccount:
    from sealmarket.eth import Account

    *earlier, last = passphrase_forms(passphrase)
    for form in earlier:
        with suppress(ValueError):
            return _account(bytes(Account.decrypt(keystore, form)))
    return _account(bytes(Account.decrypt(keystore, last)))


def create_account(path: Path, passphrase: str | None = None) -> LocalAccount:
    """Make a new account and write it to a new file of mode 0600: a keystore, or the key in clear without a passphrase.

    Raises:
        AccountFileRefused: the file exists.
    """
    account = _account(secrets.token_bytes(32))
    keep_account(path, account, passphrase)
    return account


def keep_account(path: Path, account: LocalAccount, passphrase: str | None) -> None:
    """Write an account as :func:`create_account` does, and read it back."""
    key = bytes(account.key)
    if passphrase is None:
        raw = f"0x{key.hex()}\n".encode()
    else:
        from sealmarket.eth import Account

        raw = msgspec.json.encode(dict(Account.encrypt(key, normalised(passphrase), kdf="scrypt")))
    try:
        write_private(path, raw)
    except FileExistsError:
        raise AccountFileRefused(path, "it exists", "choose another path: keys are never overwritten") from None
    if load_account(path, passphrase).address != account.address:
        raise AccountFileRefused(path, "it does not hold what was written", "check the disk")


def address_in(path: Path) -> Address | None:
    """The address that a keystore names in the clear; None for a key in clear, which has to be read for it."""
    raw = _read(path)
    try:
        named = msgspec.json.decode(raw, type=_Keystore).address if raw.lstrip().startswith(b"{") else ""
        return Address.parse("0x" + named.lower().removeprefix("0x")) if named else None
    except (msgspec.MsgspecError, MalformedDocument) as error:
        raise AccountFileRefused(path, "it is no keystore", "use a file of Web3 Secret Storage") from error


class _Keystore(msgspec.Struct):
    address: str = ""


def _account(key: bytes) -> LocalAccount:
    from sealmarket.eth import Account, LocalAccount

    account = Account.from_key(key)
    assert isinstance(account, LocalAccount)
    return account


def _read(path: Path) -> bytes:
    try:
        return read_private(path)
    except NotPrivate as error:
        raise AccountFileRefused(path, error.found, error.remedy) from error
    except OSError as error:
        raise AccountFileRefused(path, error.strerror or "it cannot be opened", "check the path") from error
