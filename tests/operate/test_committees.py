"""The next committee of a market: what is refused before it is announced, and that it is announced once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from sealmarket.chain.committees import members_hash
from sealmarket.operate.committees import Announced, CommitteeRefused, announce, read_next_committee
from sealmarket.protocol.book import Committee, Member
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes
from tests.client.test_owner import BOOK, COMMITTEE

FIRST = COMMITTEE.members[0]


def _member(number: int) -> Member:
    key = HexBytes(bytes([number]) * len(FIRST.hpke_public_key))
    return Member(signer=Address(bytes([number]) * 20), hpke_public_key=key, url="https://node")


NEXT = Committee(epoch=2, threshold=2, members=tuple(map(_member, (11, 12, 13))))
REFUSED = {
    "the present epoch": replace(NEXT, epoch=1),
    "an epoch that leaves one out": replace(NEXT, epoch=3),
    "a threshold that its nodes never reach": replace(NEXT, threshold=4),
    "a signer of the epoch before": replace(
        NEXT, members=(replace(NEXT.members[0], signer=FIRST.signer), *NEXT.members[1:])
    ),
    "an HPKE key of the epoch before": replace(
        NEXT, members=(replace(NEXT.members[0], hpke_public_key=FIRST.hpke_public_key), *NEXT.members[1:])
    ),
    "a member that stands there twice": replace(NEXT, members=(*NEXT.members, NEXT.members[0])),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_committee_is_refused_with(case: str, tmp_path: Path) -> None:
    (tmp_path / "committee.json").write_bytes(REFUSED[case].canonical())
    with pytest.raises(CommitteeRefused) as refused:
        read_next_committee(tmp_path / "committee.json", BOOK)
    assert refused.value.remedy


@pytest.mark.parametrize("raw", [None, b"", b"[]", b'{"epoch": 2}'])
def test_a_file_that_is_no_committee_is_refused(raw: bytes | None, tmp_path: Path) -> None:
    if raw is not None:
        (tmp_path / "committee.json").write_bytes(raw)
    with pytest.raises(CommitteeRefused):
        read_next_committee(tmp_path / "committee.json", BOOK)


class Twin:
    """A chain with a committee contract, and the party that sends to it."""

    def __init__(self, *, stores: Committee | None = None, announced: Committee | None = None) -> None:
        self.stores, self.announced, self.sent, self.book = stores, announced, 0, BOOK
        self.committee_contract = SimpleNamespace(announce=lambda *arguments: arguments)

    def head(self) -> None:
        return None

    def at(self, _block: object) -> SimpleNamespace:
        return SimpleNamespace(committee=lambda _epoch: self._state())

    def take(self, call: tuple[list[Address], list[Bytes32], int]) -> SimpleNamespace:
        assert call[0] == [member.signer for member in NEXT.members]
        self.sent, self.announced = self.sent + 1, self.stores
        return SimpleNamespace(block=None)

    def _state(self) -> SimpleNamespace | None:
        found = self.announced
        if found is None:
            return None
        return SimpleNamespace(members_hash=members_hash(found), threshold=found.threshold, active_at=99)

    def announce(self) -> Announced:
        return announce(cast(Any, self), cast(Any, self), NEXT)


OTHER = {"other members": replace(NEXT, members=NEXT.members[:2]), "another threshold": replace(NEXT, threshold=3)}


@pytest.mark.parametrize("case", OTHER)
def test_no_address_book_is_made_where_the_chain_has(case: str) -> None:
    """Another call of the same owner was first, or the chain did not do what was sent."""
    for twin in (Twin(announced=OTHER[case]), Twin(stores=OTHER[case]), Twin()):
        with pytest.raises(CommitteeRefused, match="other members"):
            twin.announce()


def test_a_committee_is_announced_once_and_a_repeated_call_makes_the_same_address_book() -> None:
    twin = Twin(stores=NEXT)
    first, again = twin.announce(), twin.announce()
    assert twin.sent == 1
    assert (first.sent, again.sent, first.active_at) == (True, False, 99)
    assert first.book == again.book == replace(BOOK, committees=(COMMITTEE, NEXT))
