"""Address books from files."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path

from sealmarket.client.errors import AddressBookChanged, AddressBookRefused
from sealmarket.files import read_file
from sealmarket.protocol.book import AddressBook
from sealmarket_enclave.protocol.codec import Bytes32, decode
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak

_PINNED: ContextVar[Mapping[Path, Bytes32]] = ContextVar("pinned address books")


def load_book(path: Path) -> AddressBook:
    """Read a market's address book.

    Raises:
        AddressBookRefused: not there, or not an address book.
        AddressBookChanged: it was pinned, and is another one now.
    """
    try:
        book = decode(AddressBook, read_file(path))
    except OSError as error:
        raise AddressBookRefused(path, error.strerror or "it cannot be read") from error
    except MalformedDocument as error:
        raise AddressBookRefused(path, error.message) from error
    expected = _PINNED.get({}).get(path.absolute())
    if expected is not None and digest_of(book) != expected:
        raise AddressBookChanged(path, str(expected), str(digest_of(book)))
    return book


def pin_book(path: Path, digest: Bytes32) -> None:
    """Have :func:`load_book` refuse, from here on in this context, another book at this path."""
    _PINNED.set({**_PINNED.get({}), path.absolute(): digest})


def digest_of(book: AddressBook) -> Bytes32:
    """Keccak-256 of a book's canonical form: blanks and the order of names in its file do not matter."""
    return keccak(book.canonical())
