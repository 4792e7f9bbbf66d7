"""The committee of the next epoch: announced on chain by the committee's owner, and named by a new address book.

Announced twice is announced once: a call that was interrupted is repeated, and goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from sealmarket.chain import Chain
from sealmarket.chain.committees import members_hash
from sealmarket.client.party import Party
from sealmarket.files import read_file
from sealmarket.protocol.book import AddressBook, Committee
from sealmarket_enclave.protocol.codec import decode
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError
from sealmarket_enclave.protocol.hashing import keccak


class CommitteeRefused(SealmarketError):
    """A committee that cannot be the next one of this market."""


@dataclass(frozen=True, slots=True)
class Announced:
    """``active_at``: from when on jobs can be matched under it, in seconds since 1970; ``sent``: by this call."""

    book: AddressBook
    active_at: int
    sent: bool


def read_next_committee(path: Path, book: AddressBook) -> Committee:
    """Read the committee of the epoch after the book's newest: ``{"epoch", "threshold", "members"}``.

    Raises:
        CommitteeRefused: no committee, another epoch's, or keys that are another member's or another epoch's.
    """
    try:
        found = decode(Committee, read_file(path))
    except OSError as error:
        raise CommitteeRefused(f"{path} cannot be read: {error.strerror}", remedy="name a file") from error
    except MalformedDocument as error:
        raise CommitteeRefused(
            f"{path} is no committee: {error.message}",
            remedy="make it with `sealmarket chain committee`, of what each node printed",
        ) from error
    newest = max(one.epoch for one in book.committees)
    if found.epoch != newest + 1:
        raise CommitteeRefused(
            f"{path} is of epoch {found.epoch}, expected {newest + 1}: the address book's newest is {newest}",
            remedy="let each operator run `sealmarket oracle rotate`, or use the newest address book",
        )
    if found.threshold > len(found.members):
        raise CommitteeRefused(
            f"{found.threshold} of {len(found.members)} nodes can never agree",
            remedy="name a threshold that they reach",
        )
    _require_new_keys(found, book)
    return found


def _require_new_keys(committee: Committee, book: AddressBook) -> None:
    """Keys are one member's, for one epoch: destroying those of an epoch has to leave nothing that opens its shares."""
    before = [member for one in book.committees for member in one.members]
    signers = [member.signer for member in before]
    keys = [member.hpke_public_key for member in before]
    for member in committee.members:
        if member.signer in signers or member.hpke_public_key in keys:
            raise CommitteeRefused(
                f"the keys of {member.signer} are another member's, or of another epoch",
                remedy="name the member that `sealmarket oracle rotate` printed, once",
            )
        signers.append(member.signer)
        keys.append(member.hpke_public_key)


def announce(chain: Chain, party: Party, committee: Committee) -> Announced:
    """Announce a committee, unless the chain has it already, and name it in a copy of the address book.

    Raises:
        CommitteeRefused: the chain's next epoch is another, or has other members.
        ChainError: as :meth:`Party.take`; only the committee's owner can.
    """
    state = chain.at(chain.head()).committee(committee.epoch)
    if sent := state is None:
        hashes = [keccak(member.hpke_public_key) for member in committee.members]
        signers = [member.signer for member in committee.members]
        mined = party.take(chain.committee_contract.announce(signers, hashes, committee.threshold))
        state = chain.at(mined.block).committee(committee.epoch)
    if state is None or (state.members_hash, state.threshold) != (members_hash(committee), committee.threshold):
        raise CommitteeRefused(
            f"the chain's epoch {committee.epoch} has other members than this committee, or is not there",
            remedy="use the address book that names all epochs of the chain: `sealmarket chain status` compares them",
        )
    return Announced(replace(chain.book, committees=(*chain.book.committees, committee)), state.active_at, sent)
