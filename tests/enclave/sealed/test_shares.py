"""Shares: a false one is named, too few tell nothing, and what the owner dealt wrongly is the owner's fault."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket.sealing.shares import Dealing, deal, open_share, release_share, share_context, split
from sealmarket_enclave.protocol.codec import Address, Bytes32, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.sealed.contexts import ReleaseInfo
from sealmarket_enclave.sealed.errors import (
    DuplicateShare,
    InvalidSharing,
    NotOpened,
    ShareRootMismatch,
    TooFewShares,
    WrongKey,
    WrongShare,
)
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.sealed.shares import Commitments, Share, ShareSet, join, key_commitment, open_released

KEY = bytes(range(100, 132))
VECTORS = Path(__file__).resolve().parents[3] / "docs/spec/vectors/shares.json"
DEALING = Dealing(
    chain_id=31337,
    registry=Address(b"\x01" * 20),
    asset_id=Bytes32(b"\x02" * 32),
    asset_version=1,
    content_root=Bytes32(b"\x03" * 32),
    policy_hash=Bytes32(b"\x04" * 32),
    epoch=5,
)
NODES = tuple(PrivateKey(bytes([i]) * 96) for i in (1, 2, 3))
COMMITTEE = tuple((Address(bytes([i]) * 20), node.public) for i, node in enumerate(NODES, 1))


def release_info(enclave: PrivateKey, **changes: Any) -> ReleaseInfo:
    info = ReleaseInfo(
        chain_id=31337,
        market=Address(b"\x09" * 20),
        job_id=Bytes32(b"\x0a" * 32),
        asset_id=DEALING.asset_id,
        asset_version=1,
        evidence_hash=Bytes32(b"\x0b" * 32),
        terms_digest=Bytes32(b"\x0c" * 32),
        epoch=5,
        index=1,
        enclave_key=enclave.public.digest,
    )
    return msgspec.structs.replace(info, **changes)


def test_a_wrong_share_is_named_by_its_index_even_when_it_is_not_needed() -> None:
    shares, commitments = split(KEY, 2, 3)
    wrong = replace(shares[2], value=bytes(32))
    with pytest.raises(WrongShare) as refusal:
        join([shares[0], shares[1], wrong], commitments)
    assert refusal.value.index == 3


def test_a_share_under_another_index_or_salt_is_wrong() -> None:
    shares, commitments = split(KEY, 2, 3)
    for wrong in (replace(shares[0], index=2), replace(shares[0], salt=bytes(32))):
        with pytest.raises(WrongShare):
            commitments.check_share(wrong)
    with pytest.raises(InvalidSharing):
        commitments.check_share(replace(shares[0], index=0))


def test_a_share_given_twice_does_not_count_twice() -> None:
    shares, commitments = split(KEY, 2, 3)
    with pytest.raises(DuplicateShare):
        join([shares[0], shares[0]], commitments)


def test_too_few_shares_do_not_join() -> None:
    shares, commitments = split(KEY, 3, 5)
    with pytest.raises(TooFewShares) as refusal:
        join(shares[:2], commitments)
    assert (refusal.value.got, refusal.value.expected) == (2, 3)


def test_shares_that_match_but_do_not_join_are_the_dealers_fault() -> None:
    shares, honest = split(KEY, 2, 3)
    salt = honest.key_salt
    dishonest = msgspec.structs.replace(honest, key=key_commitment(bytes(32), salt))
    with pytest.raises(WrongKey):
        join(shares, dishonest)
    stray = Share(3, bytes(32), bytes(32))
    crooked = msgspec.structs.replace(honest, shares=(*honest.shares[:2], stray.commitment))
    with pytest.raises(WrongKey):
        join([shares[0], stray], crooked)


@pytest.mark.parametrize(("threshold", "total"), [(1, 3), (0, 3), (4, 3), (2, 256), (1, 1)])
def test_a_threshold_that_protects_nothing_or_cannot_be_met_is_refused(threshold: int, total: int) -> None:
    with pytest.raises(InvalidSharing):
        split(KEY, threshold, total)


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidSharing):
        split(KEY[:16], 2, 3)


def test_a_share_set_under_another_root_is_refused() -> None:
    share_set, _ = deal(KEY, 2, COMMITTEE, DEALING)
    with pytest.raises(ShareRootMismatch):
        ShareSet.load(share_set.canonical(), bytes(32))


def test_a_share_set_that_says_two_things_is_refused() -> None:
    share_set, _ = deal(KEY, 2, COMMITTEE, DEALING)
    fields = json.loads(share_set.canonical())
    for change in (
        {"members": fields["members"][:2]},
        {"members": [fields["members"][0]] * 3},
        {"commitments": {**fields["commitments"], "threshold": 1}},
    ):
        raw = json.dumps({**fields, **change}, sort_keys=True, separators=(",", ":")).encode()
        with pytest.raises(InvalidSharing):
            ShareSet.load(raw, keccak(raw))
    raw = json.dumps({**fields, "more": 1}, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(MalformedDocument):
        ShareSet.load(raw, keccak(raw))


def test_a_node_cannot_open_the_share_of_another_node() -> None:
    share_set, sealed = deal(KEY, 2, COMMITTEE, DEALING)
    with pytest.raises(NotOpened):
        open_share(NODES[1], share_set, 1, sealed[0])
    with pytest.raises(NotOpened):
        open_share(NODES[1], share_set, 2, sealed[0])


@pytest.mark.parametrize("field", ["content_root", "policy_hash", "asset_id"])
def test_a_share_does_not_open_under_another_policy_content_or_asset(field: str) -> None:
    share_set, sealed = deal(KEY, 2, COMMITTEE, DEALING)
    other = msgspec.structs.replace(share_set, **{field: Bytes32(b"\xff" * 32)})
    with pytest.raises(NotOpened):
        open_share(NODES[0], other, 1, sealed[0])


@pytest.mark.parametrize("field", ["chain_id", "asset_version", "epoch"])
def test_a_share_does_not_open_on_another_chain_or_for_another_version_or_epoch(field: str) -> None:
    share_set, sealed = deal(KEY, 2, COMMITTEE, DEALING)
    other = msgspec.structs.replace(share_set, **{field: 77})
    with pytest.raises(NotOpened):
        open_share(NODES[0], other, 1, sealed[0])


def test_a_misdealt_share_shows_when_its_node_opens_it() -> None:
    share_set, _ = deal(KEY, 2, COMMITTEE, DEALING)
    misdealt = NODES[0].public.seal(bytes(64), share_context(share_set, 1))
    with pytest.raises(WrongShare):
        open_share(NODES[0], share_set, 1, misdealt)
    short = NODES[0].public.seal(b"", share_context(share_set, 1))
    with pytest.raises(InvalidSharing):
        open_share(NODES[0], share_set, 1, short)


def test_a_share_is_not_released_to_another_key_or_index_than_the_context_names() -> None:
    shares, _ = split(KEY, 2, 3)
    enclave, stranger = PrivateKey.generate(), PrivateKey.generate()
    with pytest.raises(InvalidSharing):
        release_share(shares[0], stranger.public, release_info(enclave))
    with pytest.raises(InvalidSharing):
        release_share(shares[1], enclave.public, release_info(enclave))


@pytest.mark.parametrize("field", ["job_id", "evidence_hash", "terms_digest"])
def test_a_release_replayed_for_another_job_evidence_or_terms_does_not_open(field: str) -> None:
    shares, commitments = split(KEY, 2, 3)
    enclave = PrivateKey.generate()
    sealed = release_share(shares[0], enclave.public, release_info(enclave))
    with pytest.raises(NotOpened):
        open_released(enclave, commitments, release_info(enclave, **{field: Bytes32(bytes(32))}), sealed)


def test_a_secret_does_not_show_in_a_repr() -> None:
    shares, _ = split(KEY, 2, 3)
    assert shares[0].value.hex() not in repr(shares[0])
    assert repr(shares[0].value) not in repr(shares[0])
    assert NODES[0].secret_bytes().hex()[:16] not in repr(NODES[0])


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_any_threshold_of_the_shares_joins_to_the_key(data: st.DataObject) -> None:
    key = data.draw(st.binary(min_size=32, max_size=32))
    total = data.draw(st.integers(2, 7))
    threshold = data.draw(st.integers(2, total))
    shares, commitments = split(key, threshold, total)
    chosen = data.draw(st.permutations(shares))[: data.draw(st.integers(threshold, total))]
    assert join(chosen, commitments) == key


def test_shares_travel_from_owner_over_nodes_to_the_enclave() -> None:
    share_set, sealed = deal(KEY, 2, COMMITTEE, DEALING)
    loaded = ShareSet.load(share_set.canonical(), share_set.root)
    assert loaded == share_set
    enclave = PrivateKey.generate()
    arrived = []
    for index in (3, 1):
        assert loaded.members[index - 1].sealed == keccak(sealed[index - 1])
        share = open_share(NODES[index - 1], loaded, index, sealed[index - 1])
        info = release_info(enclave, index=index)
        arrived.append(open_released(enclave, loaded.commitments, info, release_share(share, enclave.public, info)))
    assert join(arrived, loaded.commitments) == KEY


def test_a_node_finds_its_index_and_a_stranger_does_not() -> None:
    share_set, _ = deal(KEY, 2, COMMITTEE, DEALING)
    assert share_set.index_of(COMMITTEE[1][0]) == 1
    with pytest.raises(InvalidSharing):
        share_set.index_of(bytes(20))


def test_the_published_vectors_open_and_join() -> None:
    published = json.loads(VECTORS.read_text())
    share_set = ShareSet.load(published["share_set"].encode(), bytes.fromhex(published["share_root"][2:]))
    arrived = []
    for case in published["members"]:
        node = PrivateKey(bytes.fromhex(case["private_key"][2:]))
        sealed = bytes.fromhex(case["sealed"][2:])
        assert share_context(share_set, case["index"]).canonical().decode() == case["info"]
        share = open_share(node, share_set, case["index"], sealed)
        assert share.encode().hex() == case["share"][2:]
        assert str(share.commitment) == case["commitment"]
        arrived.append(share)
    assert join(arrived[1:], share_set.commitments).hex() == published["data_key"][2:]
    assert decode_canonical(Commitments, share_set.commitments.canonical()) == share_set.commitments
