"""The next committee of a market: what is refused before it is announced, and that it is announced once."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from sealmarket.chain.committees import members_hash
from sealmarket.chain.model import CommitteeState
from sealmarket.operate.committees import Announced, CommitteeRefused, announce, read_next_committee
from sealmarket.protocol.book import Committee, Member
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Bytes32, HexBytes
from sealmarket_enclave.sealed.hpke import PrivateKey
from tests.client.test_owner import BOOK, COMMITTEE

FIRST = COMMITTEE.members[0]


def _member(number: int) -> Member:
    key = HexBytes(PrivateKey.generate().public.raw)
    return Member(signer=Address(bytes([number]) * 20), hpke_public_key=key, url=f"https://node-{number}.example.org")


def _with(committee: Committee, **changes: Any) -> Committee:
    """A committee whose first member is another."""
    return replace(committee, members=(replace(committee.members[0], **changes), *committee.members[1:]))


NEXT = Committee(epoch=2, threshold=2, members=tuple(map(_member, (11, 12, 13))))
SMALL_ORDER = HexBytes(NEXT.members[0].hpke_public_key[:-32] + bytes(32))
REFUSED = {
    "the present epoch": replace(NEXT, epoch=1),
    "an epoch that leaves one out": replace(NEXT, epoch=3),
    "a threshold that its nodes never reach": replace(NEXT, threshold=4),
    "a threshold at which no key is dealt": replace(NEXT, threshold=1),
    "one node": replace(NEXT, threshold=1, members=NEXT.members[:1]),
    "a signer of the epoch before": _with(NEXT, signer=FIRST.signer),
    "an HPKE key of the epoch before": _with(NEXT, hpke_public_key=FIRST.hpke_public_key),
    "a member that stands there twice": replace(NEXT, members=(*NEXT.members, NEXT.members[0])),
    "two members with one signing key": _with(NEXT, signer=NEXT.members[1].signer),
    "two members with one HPKE key": _with(NEXT, hpke_public_key=NEXT.members[1].hpke_public_key),
    "two members at one URL": _with(NEXT, url=NEXT.members[1].url + "/"),
    "a member that is no account": _with(NEXT, signer=ZERO_ADDRESS),
    "a member without an HPKE key": _with(NEXT, hpke_public_key=HexBytes(b"")),
    "an HPKE key that is none": _with(NEXT, hpke_public_key=HexBytes(b"\xff" * 1216)),
    "an HPKE key to which nothing can be sealed": _with(NEXT, hpke_public_key=SMALL_ORDER),
    "a URL that is none": _with(NEXT, url="nowhere"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_committee_is_refused_with(case: str, tmp_path: Path) -> None:
    (tmp_path / "committee.json").write_bytes(REFUSED[case].canonical())
    with pytest.raises(CommitteeRefused) as refused:
        read_next_committee(tmp_path / "committee.json", BOOK)
    assert refused.value.remedy


def test_a_committee_that_can_work_is_read_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "committee.json").write_bytes(NEXT.canonical())
    assert read_next_committee(tmp_path / "committee.json", BOOK) == NEXT


@pytest.mark.parametrize("raw", [None, b"", b"[]", b'{"epoch": 2}'])
def test_a_file_that_is_no_committee_is_refused(raw: bytes | None, tmp_path: Path) -> None:
    if raw is not None:
        (tmp_path / "committee.json").write_bytes(raw)
    with pytest.raises(CommitteeRefused):
        read_next_committee(tmp_path / "committee.json", BOOK)


Epochs = dict[int, CommitteeState]


def _state(committee: Committee, **changes: Any) -> CommitteeState:
    named = CommitteeState(
        members_hash=members_hash(committee, changes.get("removed", frozenset())),
        active_at=99,
        members=len(committee.members),
        threshold=committee.threshold,
        removed=frozenset(),
        ends_at=0,
    )
    return dataclasses.replace(named, **changes)


class Twin:
    """A chain whose committee contract numbers epochs itself, and the party that sends to it.

    Blocks are the epochs that they have. ``lag``: how many blocks behind the newest the head is that it shows.
    """

    def __init__(self, *committees: Committee, stores: Committee | None = None) -> None:
        first = {number: _state(one) for number, one in enumerate((COMMITTEE, *committees), start=1)}
        self.blocks: list[Epochs] = [first]
        self.sent, self.lag, self.unfinal, self.book, self.stores = 0, 0, 0, BOOK, stores
        self.committee_contract = SimpleNamespace(announce=lambda *arguments: arguments)

    def head(self) -> int:
        return len(self.blocks) - 1 - self.lag

    def final(self) -> int:
        return len(self.blocks) - 1 - self.unfinal

    def at(self, block: int) -> SimpleNamespace:
        return SimpleNamespace(committee=self.blocks[block].get, block=SimpleNamespace(number=block))

    def mine(self, committee: Committee, *, unfinal: bool = False) -> None:
        """An announcement in a new block. The contract gives the next number, whatever its sender thought of."""
        self.blocks.append(self.blocks[-1] | {max(self.blocks[-1]) + 1: _state(committee)})
        self.unfinal = int(unfinal)

    def take(self, call: tuple[list[Address], list[Bytes32], int], *, final: bool = False) -> None:
        assert call[0] == [member.signer for member in NEXT.members]
        self.sent += 1
        self.mine(self.stores or NEXT, unfinal=not final)

    def announce(self, committee: Committee = NEXT) -> Announced:
        return announce(cast(Any, self), cast(Any, self), committee)


OTHER = {"other members": replace(NEXT, members=NEXT.members[:2]), "another threshold": replace(NEXT, threshold=3)}


@pytest.mark.parametrize("case", OTHER)
def test_no_address_book_is_made_where_the_chain_has(case: str) -> None:
    """Another call of the same owner was first, or the chain did not do what was sent."""
    for twin in (Twin(OTHER[case]), Twin(stores=OTHER[case])):
        with pytest.raises(CommitteeRefused, match="other members"):
            twin.announce()


def test_a_committee_that_the_contract_would_number_otherwise_is_not_sent() -> None:
    twin = Twin()
    with pytest.raises(CommitteeRefused, match="epoch 2 is not on chain") as refused:
        twin.announce(replace(NEXT, epoch=3))
    twin.book = replace(BOOK, committees=(COMMITTEE, replace(NEXT, members=NEXT.members[:2])))
    with pytest.raises(CommitteeRefused, match="epoch 2 is not on chain"):
        twin.announce(replace(NEXT, epoch=3))
    assert "nothing was sent" in refused.value.message
    assert twin.sent == 0


def test_a_committee_after_one_that_is_not_as_the_address_book_names_it_is_not_sent() -> None:
    twin = Twin()
    twin.book = replace(BOOK, committees=(replace(COMMITTEE, threshold=3),))
    with pytest.raises(CommitteeRefused, match="epoch 1 is not on chain as the address book names it"):
        twin.announce()
    assert twin.sent == 0


@pytest.mark.parametrize("announced", [NEXT, OTHER["other members"]])
def test_an_announcement_that_is_not_final_yet_is_not_sent_again(announced: Committee) -> None:
    twin = Twin()
    twin.mine(announced, unfinal=True)
    with pytest.raises(CommitteeRefused, match="not final yet; nothing was sent") as refused:
        twin.announce()
    assert "repeat" in refused.value.remedy
    assert twin.sent == 0


def test_a_call_repeated_while_the_head_lags_sends_nothing() -> None:
    twin = Twin()
    twin.announce()
    twin.lag = 1
    assert not twin.announce().sent
    assert (twin.sent, max(twin.blocks[-1])) == (1, 2)


def test_an_announcement_of_another_process_in_between_gives_no_address_book() -> None:
    """Both become epochs: only a parameter of the contract could stop that. No address book names the wrong one."""
    twin = Twin()
    take = twin.take

    def after_another(call: tuple[list[Address], list[Bytes32], int], *, final: bool = False) -> None:
        twin.mine(OTHER["other members"])
        take(call, final=final)

    twin.take = after_another  # type: ignore[method-assign]
    with pytest.raises(CommitteeRefused, match="other members"):
        twin.announce()


def test_a_committee_follows_one_of_which_a_member_was_removed() -> None:
    twin = Twin()
    twin.blocks[0][1] = _state(COMMITTEE, removed=frozenset({1}))
    assert twin.announce().sent


def test_a_committee_is_announced_once_and_a_repeated_call_makes_the_same_address_book() -> None:
    twin = Twin()
    first, again = twin.announce(), twin.announce()
    assert twin.sent == 1
    assert (first.sent, again.sent, first.active_at) == (True, False, 99)
    assert first.book == again.book == replace(BOOK, committees=(COMMITTEE, NEXT))
