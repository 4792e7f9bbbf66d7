"""The file of a committee, made of what nodes say of themselves: what is refused, by the place that said it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import coincurve
import pytest
from msgspec.structs import replace

from sealmarket.operate.committees import CommitteeRefused
from sealmarket.operate.gathering import Found, Gathered, committee_lines, gather, look_at
from sealmarket.protocol.book import Committee, Member
from sealmarket.protocol.members import MOST_MEMBERS, SignedMember, member_text
from sealmarket.protocol.wire import NodeInfo
from sealmarket_enclave.protocol.codec import Address, HexBytes, decode
from sealmarket_enclave.protocol.numbers import Grade
from sealmarket_enclave.protocol.signing import address_of, personal_digest, sign
from sealmarket_enclave.sealed.hpke import PrivateKey
from tests.cli.test_market_commands import run
from tests.client.test_owner import BOOK


@dataclass(frozen=True)
class Seat:
    """A node's keys."""

    key: coincurve.PrivateKey
    hpke: bytes

    @classmethod
    def new(cls) -> Seat:
        return cls(coincurve.PrivateKey(), PrivateKey.generate().public.raw)

    def says(self, url: str, epoch: int = 2) -> SignedMember:
        member = Member(signer=address_of(self.key.public_key), hpke_public_key=HexBytes(self.hpke), url=url)
        signature = sign(personal_digest(member_text(epoch, member)), self.key)
        return SignedMember(epoch=epoch, member=member, signature=signature)


SEATS = [Seat.new() for _ in range(3)]
URLS = [f"https://oracle-{number}.example.org" for number in range(3)]


def runs(place: str, said: SignedMember, **changes: object) -> Found:
    """A node that runs, at the URL that it says."""
    info = NodeInfo(
        signer=said.member.signer,
        hpke_public_key=said.member.hpke_public_key,
        chain_id=BOOK.chain_id,
        market=BOOK.market,
        grade_floor=Grade.HARDWARE,
    )
    return Found(place, said, replace(info, **changes))


def honest() -> list[Found]:
    return [runs(url, seat.says(url)) for url, seat in zip(URLS, SEATS, strict=True)]


def gathered(found: list[Found], threshold: int = 2) -> Gathered:
    by_place = {one.place: one for one in found}
    return gather([one.place for one in found], threshold, by_place.__getitem__)


def with_second(second: Callable[[str], Found]) -> list[Found]:
    first, _, third = honest()
    return [first, second(URLS[1]), third]


def _altered(url: str, **changes: object) -> Found:
    """A member whose text was changed after the node signed it."""
    said = SEATS[1].says(url)
    return runs(url, replace(said, member=replace(said.member, **changes)))


OTHER = Seat.new()
REFUSED: dict[str, tuple[Callable[[str], Found], str]] = {
    "another's HPKE key under the node's signature": (
        lambda url: _altered(url, hpke_public_key=HexBytes(OTHER.hpke)),
        "signed by 0x",
    ),
    "another signer than the one who signed": (
        lambda url: _altered(url, signer=address_of(OTHER.key.public_key)),
        "signed by 0x",
    ),
    "a signature for another epoch": (
        lambda url: runs(url, replace(SEATS[1].says(url, epoch=1), epoch=2)),
        "signed by 0x",
    ),
    "no signature": (lambda url: runs(url, replace(SEATS[1].says(url), signature=HexBytes())), "expected 65 bytes"),
    "an HPKE key to which nothing can be sealed": (
        lambda url: runs(url, Seat(SEATS[1].key, bytes(1216)).says(url)),
        "oracle-1.example.org: ",
    ),
    "what another node says, passed on": (
        lambda url: runs(url, OTHER.says("https://other.example.org")),
        "says that it is reached at https://other.example.org",
    ),
    "a node that runs under other keys": (
        lambda url: runs(url, SEATS[1].says(url), signer=address_of(OTHER.key.public_key)),
        "and says it is",
    ),
    "keys of another epoch": (lambda url: runs(url, SEATS[1].says(url, epoch=1)), "are of one epoch.*of 1"),
    "a signing key that has a seat already": (
        lambda url: runs(url, Seat(SEATS[0].key, OTHER.hpke).says(url)),
        "the same signing key",
    ),
    "an HPKE key that has a seat already": (
        lambda url: runs(url, Seat(SEATS[1].key, SEATS[0].hpke).says(url)),
        "the same HPKE key",
    ),
    "a URL that has a seat already": (lambda _url: Found("member.json", SEATS[1].says(URLS[0])), "the same URL"),
    "a URL at which no one is reached": (lambda _url: Found("m.json", SEATS[1].says("file:///etc/passwd")), "its URL"),
    "a node of another chain": (lambda url: runs(url, SEATS[1].says(url), chain_id=5), "several markets.*on chain 5"),
    "a node of another market": (
        lambda url: runs(url, SEATS[1].says(url), market=Address(b"\x55" * 20)),
        "several markets",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_no_committee_is_made_with(case: str) -> None:
    second, why = REFUSED[case]
    with pytest.raises(CommitteeRefused, match=why):
        gathered(with_second(second))


@pytest.mark.parametrize("threshold", [0, 1, 4])
def test_a_threshold_that_the_nodes_never_reach_is_refused(threshold: int) -> None:
    with pytest.raises(CommitteeRefused, match=f"found {threshold} of 3"):
        gathered(honest(), threshold)


def test_more_members_than_the_contract_takes_are_refused_before_any_is_asked() -> None:
    def asked(_place: str) -> Found:
        raise AssertionError("it was asked")

    with pytest.raises(CommitteeRefused, match=f"at most {MOST_MEMBERS}"):
        gather([f"http://node-{number}" for number in range(MOST_MEMBERS + 1)], 2, asked)


@pytest.mark.loopback
def test_every_place_that_is_wrong_is_named_at_once_and_no_secret_of_a_url(tmp_path: Path) -> None:
    (tmp_path / "plain.json").write_bytes(SEATS[0].says(URLS[0]).member.canonical())
    (tmp_path / "large.json").write_bytes(b" " * (17 << 10))
    places = [str(tmp_path / name) for name in ("absent.json", "plain.json", "large.json")]
    with pytest.raises(CommitteeRefused) as refused:
        gather([*places, "http://user:word@127.0.0.1:9/key"], 2)
    said = refused.value.message
    assert all(place in said for place in places)
    assert "absent.json: No such file" in said
    assert "plain.json: no signed member" in said
    assert "127.0.0.1:9" in said
    assert "does not answer" in said
    assert "word" not in said


def test_a_committee_is_what_its_nodes_say_in_the_order_in_which_they_are_named() -> None:
    made = gathered(honest())
    members = tuple(seat.says(url).member for url, seat in zip(URLS, SEATS, strict=True))
    assert made == Gathered(Committee(epoch=2, threshold=2, members=members), BOOK.chain_id, BOOK.market)
    said = "\n".join(committee_lines(made))
    assert all(member.signer.checksum in said and member.url in said for member in members)
    assert "any 2 corrupt nodes together open" in said
    assert "while 2 or more of its 3 nodes are away" in said


def test_a_committee_of_a_market_that_does_not_exist_yet_is_made_of_files_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = []
    for number, (url, seat) in enumerate(zip(URLS, SEATS, strict=True)):
        places.append(tmp_path / f"member-{number}.json")
        places[-1].write_bytes(seat.says(url, epoch=1).canonical())
        assert look_at(str(places[-1])).info is None
    out = tmp_path / "committee.json"
    words = ["chain", "committee", *map(str, places), "--threshold", "2", "--out", str(out)]
    code, said, error = run([*words, "--json"], capsys)
    assert code == 0, error
    made = decode(Committee, out.read_bytes())
    assert [str(one.signer) for one in made.members] == [one["signer"] for one in json.loads(said)["members"]]
    assert (made.epoch, made.threshold) == (1, 2)
    code, _, error = run(words, capsys)
    assert code == 2
    assert "exists" in error
