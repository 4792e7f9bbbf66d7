"""Files of the owner's data key, the consumer's result key, and an oracle node's HPKE key.

A key file is canonical JSON with mode 0600, never overwritten. With a passphrase the secret is under
AES-256-GCM with a key from scrypt, and everything else in the file is associated data; without one its holder
must confirm that the file itself is the secret. Nothing here prints or logs a key.
"""

from __future__ import annotations

import secrets
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from msgspec import Meta

from sealmarket.private_files import NotPrivate, normalised, passphrase_forms, read_private, write_private
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes, Shape, decode
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError

_SCRYPT_LOG_N = 17


class KeyFileError(SealmarketError):
    """A key backup file was refused."""


class KeyFileUnconfirmed(KeyFileError):
    """an unencrypted key file was asked for without confirmation"""

    def __init__(self) -> None:
        super().__init__(
            "an unencrypted key file was asked for without confirmation",
            remedy="give a passphrase, or confirm that the file will be kept where only you can read it",
        )


class KeyFileExists(KeyFileError):
    """The path exists; a key file is never overwritten."""

    def __init__(self, path: object) -> None:
        super().__init__(
            f"{path} exists, and a key file is never overwritten",
            remedy="choose another path, or move the old file away",
        )
        self.path = path


class KeyFilePermissions(KeyFileError):
    """Other users of the machine may read the key file."""

    def __init__(self, path: object, found: str, remedy: str) -> None:
        super().__init__(f"{path} is {found}, expected a regular file of mode 0600", remedy=remedy)
        self.path, self.found = path, found


class KeyFileMalformed(KeyFileError):
    """The file is not a key file of this purpose."""

    def __init__(self, path: object, got: str, expected: str) -> None:
        super().__init__(
            f"{path} is not a key file for {expected}: {got}",
            remedy="use the file that was written at sealing time",
        )
        self.path, self.got, self.expected = path, got, expected


class WrongPassphrase(KeyFileError):
    """The key file does not open with this passphrase."""

    def __init__(self, path: object) -> None:
        super().__init__(
            f"{path} does not open with this passphrase",
            remedy="try again; a lost passphrase cannot be recovered",
        )
        self.path = path


class KeyKind(StrEnum):
    """What a key file holds."""

    DATA_KEY = "data-key"
    RESULT_KEY = "result-key"
    NODE_KEY = "node-key"


class ScryptSettings(Shape, frozen=True, kw_only=True):
    """scrypt with r = 8 and p = 1; ``log_n`` 17 takes 128 MiB and about half a second."""

    log_n: Annotated[int, Meta(ge=14, le=20)]
    salt: Bytes32


class KeyFile(Shape, frozen=True, kw_only=True):
    """The file. ``secret`` is the key itself, or, when ``scrypt`` is there, ``nonce (12) || ciphertext ||
    tag``.
    """

    version: Literal["sealmarket/key-file/1"] = "sealmarket/key-file/1"
    kind: KeyKind
    about: dict[str, str]
    scrypt: ScryptSettings | None
    secret: HexBytes

    def __repr__(self) -> str:
        return f"KeyFile(kind={self.kind.value}, about={self.about})"

    def bound(self) -> bytes:
        """The associated data: everything but the secret."""
        return KeyFile(kind=self.kind, about=self.about, scrypt=self.scrypt, secret=HexBytes()).canonical()


def write_key_file(
    path: Path,
    kind: KeyKind,
    secret: bytes,
    *,
    about: dict[str, str],
    passphrase: str | None,
    confirm_unencrypted: bool = False,
    log_n: int | None = None,
) -> None:
    """Write a key to a new file and flush it to disk, so that it survives a crash right after.

    Args:
        about: public notes for the holder, such as the asset id; bound to the secret.
        passphrase: None writes the key in clear, which ``confirm_unencrypted`` must say is meant.
        log_n: a lower cost of scrypt, for a passphrase that a machine chose.

    Raises:
        KeyFileUnconfirmed, KeyFileExists.
    """
    if passphrase is None and not confirm_unencrypted:
        raise KeyFileUnconfirmed
    if passphrase is None:
        document = KeyFile(kind=kind, about=about, scrypt=None, secret=HexBytes(secret))
    else:
        settings = ScryptSettings(log_n=log_n or _SCRYPT_LOG_N, salt=Bytes32(secrets.token_bytes(32)))
        bound = KeyFile(kind=kind, about=about, scrypt=settings, secret=HexBytes()).bound()
        nonce = secrets.token_bytes(12)
        sealed = nonce + AESGCM(_stretch(normalised(passphrase), settings)).encrypt(nonce, secret, bound)
        document = KeyFile(kind=kind, about=about, scrypt=settings, secret=HexBytes(sealed))
    _write_new(path, document.canonical())


def read_key_file(path: Path, kind: KeyKind, *, passphrase: str | None = None) -> tuple[bytes, dict[str, str]]:
    """Read a key back. Returns the secret, and the notes written with it.

    Raises:
        KeyFilePermissions: others could read the file.
        KeyFileMalformed: no key file, or one of another kind, or the passphrase is missing.
        WrongPassphrase: the passphrase does not open it, or the file was altered.
    """
    document = _load(path, kind)
    if document.kind is not kind:
        raise KeyFileMalformed(path, f"it holds a {document.kind.value}", f"a {kind.value}")
    if document.scrypt is None:
        return bytes(document.secret), document.about
    if passphrase is None:
        raise KeyFileMalformed(path, "it is encrypted and no passphrase was given", f"a {kind.value}")
    nonce, sealed = bytes(document.secret[:12]), bytes(document.secret[12:])
    for form in passphrase_forms(passphrase):
        try:
            return AESGCM(_stretch(form, document.scrypt)).decrypt(nonce, sealed, document.bound()), document.about
        except (InvalidTag, ValueError):
            continue
    raise WrongPassphrase(path)


def is_encrypted(path: Path, kind: KeyKind) -> bool:
    """Whether a key file takes a passphrase. Raises :class:`KeyFilePermissions`, :class:`KeyFileMalformed`."""
    return _load(path, kind).scrypt is not None


def _load(path: Path, kind: KeyKind) -> KeyFile:
    try:
        raw = read_private(path)
    except NotPrivate as error:
        raise KeyFilePermissions(path, error.found, error.remedy) from error
    try:
        return decode(KeyFile, raw)
    except MalformedDocument:
        # The decoder's message may quote what it read, which may be a key.
        raise KeyFileMalformed(path, "it is not of the right form", f"a {kind.value}") from None


def _write_new(path: Path, raw: bytes) -> None:
    try:
        write_private(path, raw)
    except FileExistsError:
        raise KeyFileExists(path) from None


def _stretch(passphrase: str, settings: ScryptSettings) -> bytes:
    stretch = Scrypt(salt=settings.salt, length=32, n=1 << settings.log_n, r=8, p=1)
    return stretch.derive(passphrase.encode("utf-8"))
