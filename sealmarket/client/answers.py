"""What an owner has inspected and signed on this machine, a file each.

A server that loses answers hides nothing from the owner's own record. What was never inspected here is not approved:
a party that exchanges a file or a hash between inspection and approval is noticed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sealmarket.client.pending import Pending
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.proposals import SignedAnswer
from sealmarket_enclave.protocol.codec import Address, Bytes32
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


class InspectedProposals:
    """The proposals of one market that were shown on this machine, by their hashes."""

    def __init__(self, home: Path, book: AddressBook) -> None:
        self._folder = home / "inspected" / f"{book.chain_id}-{book.market}"

    def keep(self, proposal_hash: Bytes32) -> None:
        """Note that a proposal was shown."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self._folder / str(proposal_hash)).touch(mode=0o600)

    def __contains__(self, proposal_hash: Bytes32) -> bool:
        return (self._folder / str(proposal_hash)).is_file()
