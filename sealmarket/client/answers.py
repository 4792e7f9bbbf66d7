"""The answers that an owner has signed on this machine, a file each: a server that loses them hides nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sealmarket.client.pending import Pending
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.proposals import SignedAnswer
from sealmarket_enclave.protocol.codec import Address
from sealmarket_enclave.protocol.hashing import keccak


class GivenAnswers:
    """The answers of one account on one market."""

    def __init__(self, home: Path, book: AddressBook, account: Address) -> None:
        self._folder = home / "answers" / f"{book.chain_id}-{book.market}-{account}"

    def keep(self, signed: SignedAnswer) -> None:
        """Note an answer, on disk when this returns."""
        self._file(f"{keccak(signed.signature).hex()}.json").write(signed)

    def __iter__(self) -> Iterator[SignedAnswer]:
        for path in sorted(self._folder.glob("*.json")):
            if (found := self._file(path.name).read()) is not None:
                yield found

    def _file(self, name: str) -> Pending[SignedAnswer]:
        return Pending(self._folder / name, SignedAnswer)
