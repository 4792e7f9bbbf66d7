"""The public half of an HPKE key as a file: one line of hex, which an auditor sends and an owner's policy names."""

from __future__ import annotations

from pathlib import Path

from sealmarket.client.errors import ClientError
from sealmarket.files import read_file
from sealmarket_enclave.protocol.codec import HexBytes
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.sealed.errors import InvalidHpkeKey
from sealmarket_enclave.sealed.hpke import PublicKey

MAXIMUM_FILE = 8 << 10
"""Bytes. A key has 1,216."""


class PublicKeyRefused(ClientError):
    """A file or text is no public key to which something can be sealed."""

    def __init__(self, what: object, why: str) -> None:
        super().__init__(
            f"{what} is no public key: {why}",
            remedy="ask for the file that `sealmarket auditor key new` wrote beside the key",
        )


def write_public_key(path: Path, key: PublicKey) -> None:
    """Write the public half of a key to a new file. Raises :class:`FileExistsError`."""
    with path.open("x", encoding="ascii") as file:
        file.write(f"{key.raw}\n")


def public_key_in(path: Path) -> PublicKey:
    """Read the public half of a key.

    Raises:
        PublicKeyRefused: the file has something else.
        OSError: it cannot be read.
    """
    try:
        raw = HexBytes.parse(read_file(path, MAXIMUM_FILE).decode("ascii").strip())
        return PublicKey(raw)
    except (MalformedDocument, InvalidHpkeKey) as error:
        raise PublicKeyRefused(path, error.message) from error
    except ValueError as error:
        raise PublicKeyRefused(path, "expected a line of hex") from error
