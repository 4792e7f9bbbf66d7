"""Wallet keys from files that only their holder can read."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sealmarket.client.errors import ClientError

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

_MAX_BYTES = 1 << 16


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
    from eth_account import Account

    raw = _read(path)
    try:
        if raw.lstrip().startswith(b"{"):
            if passphrase is None:
                raise AccountFileRefused(path, "it is encrypted and no passphrase was given", "give its passphrase")
            return _account(bytes(Account.decrypt(msgspec.json.decode(raw), passphrase)))
        return _account(bytes.fromhex(raw.decode("ascii").strip().removeprefix("0x")))
    except (ValueError, UnicodeDecodeError, msgspec.MsgspecError):
        # The library's message may quote what it read.
        raise AccountFileRefused(
            path, "it holds no key, or the passphrase is another", "use a keystore file, or 64 hex digits"
        ) from None


def create_account(path: Path) -> LocalAccount:
    """Make a new account and write its key to a new file of mode 0600."""
    account = _account(secrets.token_bytes(32))
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise AccountFileRefused(path, "it exists", "choose another path: keys are never overwritten") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(("0x" + bytes(account.key).hex() + "\n").encode())
        file.flush()
        os.fsync(descriptor)
    return account


def _account(key: bytes) -> LocalAccount:
    from eth_account import Account
    from eth_account.signers.local import LocalAccount

    account = Account.from_key(key)
    assert isinstance(account, LocalAccount)
    return account


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise AccountFileRefused(path, error.strerror or "it cannot be opened", "check the path") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
            raise AccountFileRefused(path, f"mode {stat.S_IMODE(status.st_mode):04o}", f"run `chmod 600 {path}`")
        return file.read(_MAX_BYTES)
