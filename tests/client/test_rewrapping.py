"""The next version over the same ciphertext: what must not come back or loosen in passing, and what may change."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from msgspec.structs import replace

from sealmarket.attestation.core.errors import InvalidRules
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.chain.committees import members_hash
from sealmarket.chain.memory import MemoryChain
from sealmarket.client import Owner, SealedAsset
from sealmarket.client.approvals import Allowed, ListUnknown, pairs_in_force
from sealmarket.client.assets import asset_state
from sealmarket.client.errors import AlreadyPublished, OtherSealing, PolicyMismatch
from sealmarket.client.rewrapping import Changes, enclaves_in_force, next_policy, without_enclaves
from sealmarket.protocol.book import Committee, Member
from sealmarket.protocol.merkle import allowed_leaf
from sealmarket.sealing.keyfile import KeyFileMalformed, KeyKind, read_key_file
from sealmarket.sealing.shares import open_share
from sealmarket_devices.measure import LaunchMeasurement
from sealmarket_devices.measurements import tdx_measurement
from sealmarket_enclave.protocol.codec import (
    Address,
    Bytes32,
    HexBytes,
    MicroEpsilon,
    Wei,
    from_builtins,
    to_builtins,
)
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.sealed.shares import join
from tests.client.bundles import MEASUREMENT, WORKLOAD
from tests.client.test_owner import BOOK, DATA, chain, draft, owner

__all__ = ["chain", "owner"]
NEW = tdx_measurement(LaunchMeasurement(image=b"\x07" * 48, runtime=b"\x08" * 48, command=b"\x09" * 48))
OTHER = Bytes32(b"\x99" * 32)
FRESH = [PrivateKey.generate() for _ in range(2)]


@pytest.fixture
def both(owner: Owner, chain: MemoryChain, tmp_path: Path) -> SealedAsset:
    """A published version that allows two enclaves and two workloads."""
    rules = AppraisalPolicy(measurements=(MEASUREMENT, NEW), platforms="any", lowest_grade="simulated")
    wanted = replace(draft(), evidence=to_builtins(rules), workloads=(WORKLOAD, OTHER))
    sealed = owner.seal(DATA, wanted, tmp_path / "both", confirm_unencrypted_key=True)
    chain.publish(sealed.asset_id, owner.address, sealed.seal, sealed.terms)
    return sealed


def _pair(measurement: object, workload: Bytes32) -> Bytes32:
    return allowed_leaf(measurement.tee, measurement.digest(), workload)  # type: ignore[attr-defined]


def _listed(owner: Owner, chain: MemoryChain, sealed: SealedAsset, *pairs: Bytes32) -> None:
    chain.replace_allow_list(sealed.asset_id, 1, owner._store.put_list(pairs))


def _measurements(sealed: SealedAsset) -> tuple[object, ...]:
    return from_builtins(AppraisalPolicy, sealed.policy.evidence).measurements


def test_an_enclave_that_was_withdrawn_does_not_come_back_with_another_change(
    owner: Owner, chain: MemoryChain, both: SealedAsset, tmp_path: Path
) -> None:
    _listed(owner, chain, both, _pair(NEW, WORKLOAD), _pair(NEW, OTHER))
    made = owner.rewrap(both, tmp_path / "next", Changes(workloads=(WORKLOAD,)))
    assert (_measurements(made), made.policy.workloads) == ((NEW,), (WORKLOAD,))
    assert made.terms.allow_root == _pair(NEW, WORKLOAD)


def test_a_workload_that_was_withdrawn_does_not_come_back_with_another_change(
    owner: Owner, chain: MemoryChain, both: SealedAsset, tmp_path: Path
) -> None:
    _listed(owner, chain, both, _pair(NEW, OTHER), _pair(MEASUREMENT, OTHER))
    assert owner.rewrap(both, tmp_path / "next").policy.workloads == (OTHER,)


def test_a_list_that_no_policy_says_is_not_loosened_to_one(
    owner: Owner, chain: MemoryChain, both: SealedAsset, tmp_path: Path
) -> None:
    _listed(owner, chain, both, _pair(NEW, OTHER), _pair(MEASUREMENT, WORKLOAD))
    with pytest.raises(PolicyMismatch, match="one without 2 of 4"):
        owner.rewrap(both, tmp_path / "next", Changes(enclaves=(NEW,)))
    assert not (tmp_path / "next").exists()


def test_a_list_that_no_store_has_is_taken_for_nothing(
    owner: Owner, chain: MemoryChain, both: SealedAsset, tmp_path: Path
) -> None:
    chain.replace_allow_list(both.asset_id, 1, Bytes32(b"\x33" * 32))
    with pytest.raises(ListUnknown):
        owner.rewrap(both, tmp_path / "next")


def test_no_version_is_made_without_an_enclave(owner: Owner, both: SealedAsset, tmp_path: Path) -> None:
    with pytest.raises(InvalidRules):
        owner.rewrap(both, tmp_path / "next", Changes(enclaves=()))


def test_a_version_that_has_a_next_one_leaves_no_second_folder_with_its_key(
    owner: Owner, chain: MemoryChain, both: SealedAsset, tmp_path: Path
) -> None:
    made = owner.rewrap(both, tmp_path / "next")
    chain.publish(made.asset_id, owner.address, made.seal, made.terms, version=2)
    with pytest.raises(AlreadyPublished, match="version 2 of") as refused:
        owner.rewrap(both, tmp_path / "again")
    assert "the newest's folder" in refused.value.remedy
    assert not (tmp_path / "again").exists()


def test_a_new_runtime_opens_the_same_ciphertext_under_shares_of_its_own(
    owner: Owner, chain: MemoryChain, tmp_path: Path
) -> None:
    first = owner.seal(DATA, draft(), tmp_path / "first", confirm_unencrypted_key=True)
    chain.publish(first.asset_id, owner.address, first.seal, first.terms)
    made = owner.rewrap(first, tmp_path / "next", Changes(enclaves=(MEASUREMENT, NEW)))
    assert (made.seal.content_root, made.seal.content_version) == (first.seal.content_root, 1)
    assert made.container.read_bytes() == first.container.read_bytes()
    assert made.seal.share_root != first.seal.share_root
    assert (made.version, _measurements(made)) == (2, (MEASUREMENT, NEW))
    assert made.policy.workloads == first.policy.workloads
    assert replace(made.terms, allow_root=first.terms.allow_root) == first.terms


def test_shares_move_to_a_new_committee_and_join_to_the_same_key(
    owner: Owner, chain: MemoryChain, both: SealedAsset, tmp_path: Path
) -> None:
    members = tuple(
        Member(signer=Address(bytes([9, n] * 10)), hpke_public_key=HexBytes(key.public.raw), url="http://fresh")
        for n, key in enumerate(FRESH)
    )
    committee = Committee(epoch=2, threshold=2, members=members)
    chain.book = replace(BOOK, committees=(*BOOK.committees, committee))
    chain.set_committee(2, members_hash(committee))
    chain.mine(1)
    made = owner.rewrap(both, tmp_path / "next")
    assert (made.seal.epoch, made.policy.dealing.epoch, len(made.share_set.members)) == (2, 2, 2)
    shares = [
        open_share(key, made.share_set, n, (made.folder / f"share-{n}.bin").read_bytes())
        for n, key in enumerate(FRESH, 1)
    ]
    keys = [read_key_file(one.folder / "data.key", KeyKind.DATA_KEY)[0] for one in (both, made)]
    assert keys == [join(shares, made.share_set.commitments)] * 2


def test_a_folder_that_was_sealed_and_not_published_is_not_dealt_anew(
    owner: Owner, chain: MemoryChain, both: SealedAsset, tmp_path: Path
) -> None:
    nexts = [
        owner.seal(DATA, draft(), tmp_path / name, confirm_unencrypted_key=True, successor_of=both)
        for name in ("published", "left")
    ]
    chain.publish(both.asset_id, owner.address, nexts[0].seal, nexts[0].terms, version=2)
    with pytest.raises(OtherSealing, match="left holds a sealing"):
        owner.rewrap(nexts[1], tmp_path / "next")
    assert not (tmp_path / "next").exists()
    assert owner.rewrap(nexts[0], tmp_path / "next").version == 3


def test_a_key_file_of_another_sealing_is_not_dealt(owner: Owner, both: SealedAsset, tmp_path: Path) -> None:
    other = owner.seal(DATA, draft(), tmp_path / "other", confirm_unencrypted_key=True)
    (other.folder / "data.key").replace(both.folder / "data.key")
    with pytest.raises(KeyFileMalformed, match="another key"):
        owner.rewrap(both, tmp_path / "next")
    assert not (tmp_path / "next").exists()


def test_new_terms_may_be_looser_since_the_shares_are_new(owner: Owner, both: SealedAsset, tmp_path: Path) -> None:
    made = owner.rewrap(both, tmp_path / "next", Changes(terms={"price": Wei(1), "max_uses": 500}))
    assert (made.terms.price, made.terms.max_uses) == (1, 500)
    assert made.terms.expiry == both.terms.expiry


def test_a_privacy_budget_that_was_spent_does_not_come_back_with_a_next_version(
    owner: Owner, chain: MemoryChain, both: SealedAsset
) -> None:
    found = asset_state(chain, chain.head(), both.asset_id, 1)
    terms = replace(found.terms, budget=MicroEpsilon(900))
    state = dataclasses.replace(found, terms=terms, budget_taken=MicroEpsilon(300))
    allowed = Allowed(both.policy, state, pairs_in_force(owner._store, both.policy, terms.allow_root))
    committee = chain.book.committees[0]
    assert next_policy(allowed, Changes(), committee).terms.budget == 600
    assert next_policy(allowed, Changes(terms={"budget": MicroEpsilon(50)}), committee).terms.budget == 50


def test_withdrawing_an_enclave_leaves_the_pairs_of_the_others(
    owner: Owner, chain: MemoryChain, both: SealedAsset
) -> None:
    state = asset_state(chain, chain.head(), both.asset_id, 1)
    allowed = Allowed(both.policy, state, pairs_in_force(owner._store, both.policy, state.terms.allow_root))
    assert enclaves_in_force(allowed) == (MEASUREMENT, NEW)
    left = without_enclaves(allowed, (MEASUREMENT,))
    assert left == {_pair(NEW, WORKLOAD), _pair(NEW, OTHER)}
    assert enclaves_in_force(dataclasses.replace(allowed, pairs=left)) == (NEW,)
    assert without_enclaves(allowed, (MEASUREMENT, NEW)) == frozenset()
    with pytest.raises(ListUnknown):
        without_enclaves(dataclasses.replace(allowed, pairs=None), (NEW,))
