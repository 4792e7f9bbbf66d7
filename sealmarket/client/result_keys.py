"""The key to which a job's result is sealed: made with its backup, read back from its file."""

from __future__ import annotations

from pathlib import Path

from sealmarket.sealing.keyfile import KeyKind, read_key_file, write_key_file
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.sealed.hpke import PrivateKey


def create_result_key(
    path: Path, *, passphrase: str | None = None, confirm_unencrypted: bool = False, about: str = ""
) -> PrivateKey:
    """Make a result key and write its backup to a new file (mode 0600) before anything is sealed to it.

    Raises:
        KeyFileUnconfirmed: neither a passphrase nor a confirmation.
        KeyFileExists.
    """
    key = PrivateKey.generate()
    notes = {"publicKey": str(keccak(key.public.raw)), **({"about": about} if about else {})}
    write_key_file(
        path,
        KeyKind.RESULT_KEY,
        key.secret_bytes(),
        about=notes,
        passphrase=passphrase,
        confirm_unencrypted=confirm_unencrypted,
    )
    return key


def load_result_key(path: Path, *, passphrase: str | None = None) -> PrivateKey:
    """Read a result key back from its file. Raises :class:`KeyFileError`."""
    secret, _ = read_key_file(path, KeyKind.RESULT_KEY, passphrase=passphrase)
    return PrivateKey(secret)
