"""Proposals in the backend: whose are kept, how many, and in which order an owner sees them."""

from __future__ import annotations

from typing import Any

import coincurve
import pytest
from msgspec.structs import replace

from sealmarket.protocol.proposals import Proposal, ProposedAsset, SignedAnswer, SignedProposal
from sealmarket_backend import proposals as rules
from sealmarket_backend.errors import NotFound, Rejected, TooMany
from sealmarket_backend.index import IndexedAsset
from sealmarket_backend.listing import Listings
from sealmarket_backend.proposals import Proposals
from sealmarket_backend.signatures import Signatures
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, Uint, decode
from sealmarket_enclave.protocol.numbers import AssetId
from sealmarket_enclave.protocol.signing import sign
from tests.backend.orders import ASSET, BOOK, CONSUMER, OWNER, STRANGER, account, indexed
from tests.protocol import test_proposals as samples
from tests.protocol.test_proposals import NOW


class _Index:
    """Knows two versions of one asset."""

    def asset(self, asset_id: Bytes32, version: int) -> IndexedAsset:
        if asset_id != ASSET or version not in (1, 2):
            raise NotFound("no such version", remedy="check it")
        return indexed()


def kept(database: Database, poor: frozenset[Address] = frozenset()) -> Proposals:
    signatures = Signatures(BOOK, lambda _signer, _digest, _signature: False)
    return Proposals(database, signatures, _Index(), lambda one: one not in poor)  # type: ignore[arg-type]


def proposal(key: coincurve.PrivateKey = CONSUMER, **changes: Any) -> SignedProposal:
    made = samples.proposal(consumer=account(key), **changes)
    return SignedProposal(proposal=made, detail=samples.DETAIL, signature=signature(made, key))


def signature(made: Any, key: coincurve.PrivateKey) -> HexBytes:
    return sign(made.digest(BOOK.chain_id, BOOK.market), key)


def answered(of: SignedProposal, key: coincurve.PrivateKey = OWNER, **changes: Any) -> Any:
    made = samples.answer(of.proposal, **changes)
    return replace(made, signature=signature(made.answer, key))


def listed(database: Database, now: int = NOW) -> tuple[list[Proposal], int | None]:
    """The first page of an owner's proposals, and where the second begins."""
    found, _, place = Listings(database).proposals(account(OWNER), now, None, 0, 100)
    return [signed.proposal for signed in found], place


def given(database: Database) -> list[SignedAnswer]:
    """An owner's answers."""
    documents = Listings(database).answers_about(account(OWNER), None, 100).documents
    return [decode(SignedAnswer, document) for document in documents]


def test_what_its_consumer_did_not_sign_is_not_kept(database: Database) -> None:
    forged = replace(proposal(), signature=signature(proposal().proposal, STRANGER))
    with pytest.raises(Rejected, match="expected a signature by"):
        kept(database).add(forged, NOW)


def test_a_detail_that_was_exchanged_is_not_kept(database: Database) -> None:
    with pytest.raises(Rejected, match="the detail"):
        kept(database).add(replace(proposal(), detail=replace(samples.DETAIL, note="other")), NOW)


def test_a_version_that_nobody_published_has_no_proposals(database: Database) -> None:
    unknown = (ProposedAsset(asset_id=AssetId(Bytes32(b"\x01" * 32)), version=1),)
    with pytest.raises(Rejected, match="no such version"):
        kept(database).add(proposal(assets=unknown), NOW)


def test_an_account_without_coin_in_the_market_proposes_nothing(database: Database) -> None:
    with pytest.raises(Rejected, match="deposit some first"):
        kept(database, frozenset({account(CONSUMER)})).add(proposal(), NOW)


def test_one_account_and_one_peer_have_so_many_open_proposals(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "MOST_OF_ACCOUNT", 3)
    monkeypatch.setattr(rules, "MOST_OF_PEER", 4)
    backend = kept(database)
    for salt in range(3):
        backend.add(proposal(salt=Uint(salt)), NOW, "10.0.0.1")
    with pytest.raises(TooMany, match=account(CONSUMER).checksum):
        backend.add(proposal(salt=Uint(3)), NOW, "10.0.0.2")
    backend.add(proposal(STRANGER), NOW, "10.0.0.1")
    with pytest.raises(TooMany, match=r"10\.0\.0\.1"):
        backend.add(proposal(STRANGER, salt=Uint(9)), NOW, "10.0.0.1")


def test_strangers_who_fill_an_owners_list_give_way_to_another_sender(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "MOST_ABOUT_OWNER", 4)
    backend = kept(database)
    flood = [backend.add(proposal(STRANGER, salt=Uint(salt)), NOW, "10.0.0.66") for salt in range(4)]
    honest = backend.add(proposal(), NOW, "10.0.0.1")
    page, _ = listed(database)
    assert {one.struct_hash() for one in page} == {*flood[:3], honest}
    with pytest.raises(TooMany, match="open proposals already"):
        backend.add(proposal(STRANGER, salt=Uint(77)), NOW, "10.0.0.66")
    assert backend.proposal(honest).proposal.consumer == account(CONSUMER)


def test_an_owners_pages_take_the_senders_by_turns_and_end(database: Database) -> None:
    backend = kept(database)
    honest = backend.add(proposal(), NOW, "10.0.0.1")
    flood = [backend.add(proposal(STRANGER, salt=Uint(salt)), NOW, "10.0.0.66") for salt in range(5)]
    lists = Listings(database)
    first, newest, place = lists.proposals(account(OWNER), NOW, None, 0, 3)
    assert honest in [one.proposal.struct_hash() for one in first[:2]]
    assert place == 3
    backend.add(proposal(salt=Uint(99)), NOW, "10.0.0.1")
    second, _, end = lists.proposals(account(OWNER), NOW, newest, place, 3)
    assert end is None
    every = [one.proposal.struct_hash() for one in (*first, *second)]
    assert (len(every), set(every)) == (6, {honest, *flood})
    assert lists.proposals(account(CONSUMER), NOW, None, 0, 3)[0] == []


def test_what_is_over_is_listed_no_more_and_gone_with_the_next(database: Database) -> None:
    backend = kept(database)
    old = backend.add(proposal(), NOW)
    later = proposal().proposal.expiry
    assert listed(database, later) == ([], None)
    backend.add(proposal(salt=Uint(8), expiry=later + 10), later)
    with pytest.raises(NotFound):
        backend.proposal(old)


def test_posting_twice_is_the_same_as_once(database: Database) -> None:
    backend = kept(database)
    assert backend.add(proposal(), NOW) == backend.add(proposal(), NOW)
    assert len(listed(database)[0]) == 1


@pytest.mark.parametrize(
    ("changes", "key", "said"),
    [
        ({}, CONSUMER, "expected a signature by"),
        ({"workload_digest": Bytes32(b"\x01" * 32)}, OWNER, "workload_digest"),
        ({"version": 2}, OWNER, "does not name version 2"),
        ({"purpose": 4}, OWNER, "purpose"),
    ],
)
def test_an_answer_that_is_not_the_owners_about_this_proposal_is_not_kept(
    database: Database, changes: dict[str, Any], key: coincurve.PrivateKey, said: str
) -> None:
    backend = kept(database)
    backend.add(proposal(), NOW)
    with pytest.raises(Rejected, match=said):
        backend.add_answer(answered(proposal(), key, **changes))
    assert backend.answers(proposal().proposal.struct_hash()) == ()


def test_an_owner_may_change_their_mind_and_an_older_answer_does_not_come_back(database: Database) -> None:
    backend = kept(database)
    key = backend.add(proposal(), NOW)
    yes = answered(proposal())
    no = answered(proposal(), approved=False, allowed_version=0, signed_at=NOW + 5)
    backend.add_answer(yes)
    backend.add_answer(no)
    with pytest.raises(Rejected, match="a later answer"):
        backend.add_answer(yes)
    assert backend.answers(key) == (no,)
    assert given(database) == [no]


def test_answers_outlive_their_proposal_for_the_owners_records(database: Database) -> None:
    backend = kept(database)
    backend.add(proposal(), NOW)
    backend.add_answer(answered(proposal()))
    later = proposal().proposal.expiry
    backend.add(proposal(salt=Uint(8), expiry=later + 10), later)
    assert len(given(database)) == 1


def test_of_an_owners_answers_the_newest_are_kept(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MOST_ANSWERS", 2)
    backend = kept(database)
    for salt in range(4):
        backend.add(proposal(salt=Uint(salt)), NOW)
        backend.add_answer(answered(proposal(salt=Uint(salt)), signed_at=NOW + salt))
    assert [one.answer.signed_at for one in given(database)] == [NOW + 3, NOW + 2]
