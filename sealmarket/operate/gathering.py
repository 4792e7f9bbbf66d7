"""The file of a committee, of what its nodes say of themselves: at a URL, or in the file that a node's operator sent.

A place is taken if

1. it can be read, and says a signed member;
2. the member's own signing key made the signature;
3. shares can be sealed to its HPKE key;
4. its URL is one at which a node is reached, and the one that was asked;
5. of a node that runs: what it serves as itself is this member.

All members together are a committee if

6. they are of one epoch;
7. no two have a signing key, an HPKE key or a URL in common;
8. those that run are of one market on one chain;
9. they are at most 11, and the threshold is one that they reach.

No document shows whose keys these are: a party that exchanged a file or answers at a URL holds that seat. So people
compare each address with what the node's operator says elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sealmarket.files import read_file
from sealmarket.http import redacted
from sealmarket.operate.committees import CommitteeRefused, require_workable
from sealmarket.protocol.book import Committee, is_reachable
from sealmarket.protocol.members import MAXIMUM_MEMBER, MOST_MEMBERS, SignedMember
from sealmarket.protocol.wire import NodeInfo
from sealmarket.service.connection import Connection
from sealmarket_enclave.protocol.codec import Address, decode
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError
from sealmarket_enclave.sealed.hpke import PublicKey

_SECONDS = 10.0
_MARKETS = "nodes of a next epoch run with the address book of the market that it is for"


@dataclass(frozen=True, slots=True)
class Found:
    """What stands at one place. ``info``: who the node is; None of a file."""

    place: str
    said: SignedMember
    info: NodeInfo | None = None


@dataclass(frozen=True, slots=True)
class Gathered:
    """A committee, and the market of its nodes that run; None where all members came in files."""

    committee: Committee
    chain_id: int | None
    market: Address | None


def gather(places: Sequence[str], threshold: int, look: Callable[[str], Found] | None = None) -> Gathered:
    """Make a committee of the members at these places, in this order. ``look``: reads one place.

    Raises:
        CommitteeRefused: a place or the whole is not as the module says; every place that is wrong is named.
    """
    if len(places) > MOST_MEMBERS:
        raise CommitteeRefused(f"a committee has at most {MOST_MEMBERS} members, found {len(places)}", remedy="")
    found: list[Found] = []
    wrong: list[str] = []
    for place in places:
        try:
            one = (look or look_at)(place)
            _require_member(one)
            found.append(one)
        except (SealmarketError, OSError) as error:
            wrong.append(f"{_named(place)}: {_why(error)}")
    if wrong:
        raise CommitteeRefused(
            "no committee was made: " + "; ".join(wrong),
            remedy="name what `sealmarket oracle init` or `rotate` printed, or the URL of a node that runs",
        )
    return _together(found, threshold)


def look_at(place: str) -> Found:
    """Read what a node says of itself, from its URL or from a file.

    Raises:
        SealmarketError: no node answers there, or no member is there.
        OSError: the file cannot be read.
    """
    if "://" not in place:
        return Found(place, decode(SignedMember, read_file(Path(place), MAXIMUM_MEMBER)))
    with closing(Connection(place, service="oracle node", timeout=_SECONDS)) as node:
        said = node.read("/v1/member", SignedMember, what="its member", limit=MAXIMUM_MEMBER)
        info = node.read("/v1/node", NodeInfo, what="who it is", limit=MAXIMUM_MEMBER)
    return Found(place, said, info)


def _require_member(found: Found) -> None:
    """Steps 2 to 5."""
    said, info = found.said, found.info
    member = said.member
    if (signer := said.recovered()) != member.signer:
        raise CommitteeRefused(f"signed by {signer.checksum}, expected its signer {member.signer.checksum}", remedy="")
    PublicKey(member.hpke_public_key)
    if not is_reachable(member.url):
        raise CommitteeRefused("its URL is none at which a node is reached", remedy="")
    if info is None:
        return
    if member.url.rstrip("/") != found.place.rstrip("/"):
        raise CommitteeRefused(f"it says that it is reached at {redacted(member.url)}", remedy="")
    if (info.signer, info.hpke_public_key) != (member.signer, member.hpke_public_key):
        raise CommitteeRefused(f"it runs as {info.signer.checksum}, and says it is {member.signer.checksum}", remedy="")


def _together(found: Sequence[Found], threshold: int) -> Gathered:
    """Steps 6 to 9."""
    members = tuple(one.said.member for one in found)
    epochs = sorted({one.said.epoch for one in found})
    if len(epochs) != 1:
        raise CommitteeRefused(
            "members of one committee are of one epoch, found " + ", ".join(_each(found, lambda one: one.said.epoch)),
            remedy="ask for the members that `sealmarket oracle rotate` made for the next epoch",
        )
    _require_distinct(found)
    markets = {(one.info.chain_id, one.info.market) for one in found if one.info is not None}
    if len(markets) > 1:
        running = [one for one in found if one.info is not None]
        raise CommitteeRefused(
            "the nodes are of several markets: " + ", ".join(_each(running, _market_of)), remedy=_MARKETS
        )
    committee = Committee(epoch=epochs[0], threshold=threshold, members=members)
    require_workable(committee)
    chain_id, market = next(iter(markets), (None, None))
    return Gathered(committee, chain_id, market)


def _require_distinct(found: Sequence[Found]) -> None:
    parts: tuple[tuple[str, Callable[[Found], object]], ...] = (
        ("signing key", lambda one: one.said.member.signer),
        ("HPKE key", lambda one: one.said.member.hpke_public_key),
        ("URL", lambda one: one.said.member.url.rstrip("/")),
    )
    for what, part in parts:
        first: dict[object, str] = {}
        for one in found:
            if (before := first.setdefault(part(one), one.place)) is not one.place:
                raise CommitteeRefused(
                    f"{_named(before)} and {_named(one.place)} have the same {what}",
                    remedy="name each node once: one that holds two seats counts twice",
                )


def committee_lines(gathered: Gathered) -> Iterator[str]:
    """A committee for the person who forms it: its members, and what the threshold protects from."""
    made = gathered.committee
    t, n = made.threshold, len(made.members)
    yield f"epoch {made.epoch}: {t} of {n} nodes decide"
    yield (
        "no node was asked: all came in files"
        if gathered.market is None
        else f"those that run are of market {gathered.market.checksum} on chain {gathered.chain_id}"
    )
    yield from (f"  {member.signer.checksum}  {member.url}" for member in made.members)
    yield "compare each address with what the node's operator tells you by another way: it stands for key and URL"
    yield f"any {t} corrupt nodes together open every key that is dealt to this epoch; fewer learn nothing"
    yield f"its jobs stand still while {n - t + 1} or more of its {n} nodes are away or corrupt"


def _market_of(found: Found) -> str:
    assert found.info is not None
    return f"{found.info.market.checksum} on chain {found.info.chain_id}"


def _each(found: Iterable[Found], part: Callable[[Found], object]) -> Iterator[str]:
    return (f"{_named(one.place)} of {part(one)}" for one in found)


def _named(place: str) -> str:
    """A place for people: a URL without what may be a secret in it."""
    return redacted(place) if "://" in place else place


def _why(error: SealmarketError | OSError) -> str:
    if isinstance(error, MalformedDocument):
        return f"no signed member: {error.message}"
    return error.message if isinstance(error, SealmarketError) else str(error.strerror)
