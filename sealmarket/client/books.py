"""Address books from files."""

from __future__ import annotations

from pathlib import Path

from sealmarket.client.errors import AddressBookRefused
from sealmarket.files import read_file
from sealmarket.protocol.book import AddressBook
from sealmarket_enclave.protocol.codec import decode
from sealmarket_enclave.protocol.errors import MalformedDocument


def load_book(path: Path) -> AddressBook:
    """Read a market's address book.

    Raises:
        AddressBookRefused: not there, or not an address book.
    """
    try:
        return decode(AddressBook, read_file(path))
    except OSError as error:
        raise AddressBookRefused(path, error.strerror or "it cannot be read") from error
    except MalformedDocument as error:
        raise AddressBookRefused(path, error.message) from error
