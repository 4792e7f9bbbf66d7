"""The committee of the next epoch: announced on chain by the committee's owner, and named by a new address book.

Announced twice is announced once: a call that was interrupted is repeated once its block is final, and sends nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from sealmarket.chain import Chain
from sealmarket.chain.committees import members_hash
from sealmarket.chain.model import CommitteeState
from sealmarket.chain.view import View
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
            remedy='write {"epoch": N, "threshold": T, "members": [...]} with what each node printed',
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
    """Announce a committee, unless a final block has it already, and name it in a copy of the address book.

    The contract numbers epochs itself, and nothing takes one back: what the chain would name otherwise is not sent.
    The address book is written from a final block.

    Raises:
        CommitteeRefused: the chain's next epoch is another, has other members, or was announced in no final block yet.
        ChainError: as :meth:`Party.take`; only the committee's owner can.
    """
    final = chain.at(chain.final())
    state = final.committee(committee.epoch)
    if sent := state is None:
        _require_next(final, committee.epoch, chain.book)
        _require_next(chain.at(chain.head()), committee.epoch, chain.book)
        hashes = [keccak(member.hpke_public_key) for member in committee.members]
        signers = [member.signer for member in committee.members]
        party.take(chain.committee_contract.announce(signers, hashes, committee.threshold), final=True)
        state = chain.at(chain.final()).committee(committee.epoch)
    if state is None or not _is(state, committee):
        raise CommitteeRefused(
            f"the chain's epoch {committee.epoch} has other members than this committee, or is not there",
            remedy="use the address book that names all epochs of the chain: `sealmarket chain status` compares them",
        )
    return Announced(replace(chain.book, committees=(*chain.book.committees, committee)), state.active_at, sent)


def _require_next(view: View, epoch: int, book: AddressBook) -> None:
    """Refuse to announce where the contract would give another number than this one, or gave it before."""
    if view.committee(epoch) is not None:
        raise CommitteeRefused(
            f"epoch {epoch} was announced in a block that is not final yet; nothing was sent",
            remedy="repeat the command once that block is final: it compares the members, and sends nothing",
        )
    before = next((one for one in book.committees if one.epoch == epoch - 1), None)
    state = view.committee(epoch - 1)
    if before is None or state is None or not _is(state, before):
        raise CommitteeRefused(
            f"epoch {epoch - 1} is not on chain as the address book names it, at block {view.block.number}, so"
            f" this committee would not be epoch {epoch}; nothing was sent",
            remedy="wait until its announcement is final, or use the address book that names all epochs of the chain:"
            " `sealmarket chain status` compares them",
        )


def _is(state: CommitteeState, committee: Committee) -> bool:
    """Whether the chain has this committee, with those of its members that were removed since."""
    named = members_hash(committee, state.removed)
    return (state.members_hash, state.threshold) == (named, committee.threshold)
