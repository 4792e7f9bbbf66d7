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
from sealmarket.protocol.book import AddressBook, Committee, Member, is_reachable
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, decode
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.sealed.errors import InvalidHpkeKey
from sealmarket_enclave.sealed.hpke import PublicKey
from sealmarket_enclave.sealed.shares import MIN_THRESHOLD


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
        CommitteeRefused: no committee, another epoch's, one that can never work (:func:`require_workable`), or another
            epoch's keys.
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
    require_workable(found)
    _require_new_keys(found, book)
    return found


def require_workable(committee: Committee) -> None:
    """Refuse a committee that no key can be dealt to: nothing takes back what was announced.

    Raises:
        CommitteeRefused: a threshold that no key is dealt at; a member without an account, a key that shares can be
            sealed to, or a URL that others reach; two members that are one.
    """
    members = committee.members
    if not MIN_THRESHOLD <= committee.threshold <= len(members):
        raise CommitteeRefused(
            f"keys are dealt at a threshold of {MIN_THRESHOLD} or more that the nodes reach, found"
            f" {committee.threshold} of {len(members)}",
            remedy="name at least two nodes, and a threshold that they reach",
        )
    for place, member in enumerate(members, start=1):
        if wrong := _wrong_with(member):
            raise CommitteeRefused(
                f"member {place}, {member.signer}, {wrong}", remedy="name the member as its node printed it"
            )
    for what, found in (
        ("signing key", {member.signer for member in members}),
        ("HPKE key", {member.hpke_public_key for member in members}),
        ("URL", {member.url.rstrip("/").lower() for member in members}),
    ):
        if len(found) != len(members):
            raise CommitteeRefused(
                f"two members have the same {what}", remedy="name each node once: one on two places counts twice"
            )


def _wrong_with(member: Member) -> str:
    if member.signer == ZERO_ADDRESS:
        return "has no signing key"
    if not is_reachable(member.url):
        return f"has no URL where others reach a node: {member.url!r:.200}"
    try:
        PublicKey(member.hpke_public_key)
    except InvalidHpkeKey as error:
        return f"has no HPKE key that shares can be sealed to: {error.message}"
    return ""


def _require_new_keys(committee: Committee, book: AddressBook) -> None:
    """Keys are for one epoch: destroying those of an epoch has to leave nothing that opens its shares."""
    before = [member for one in book.committees for member in one.members]
    signers = {member.signer for member in before}
    keys = {member.hpke_public_key for member in before}
    for member in committee.members:
        if member.signer in signers or member.hpke_public_key in keys:
            raise CommitteeRefused(
                f"the keys of {member.signer} are of another epoch",
                remedy="name the member that `sealmarket oracle rotate` printed",
            )


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
