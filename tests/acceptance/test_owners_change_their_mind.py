"""Owners revoke and tighten between the steps of a job; nothing on chain loosens what their shares allow."""

from __future__ import annotations

import msgspec
import pytest

from sealmarket.chain import Fault, Reverted
from sealmarket.chain.contracts import AssetOffer, Match
from sealmarket.chain.events import JobDecided
from sealmarket.client import SealedAsset
from sealmarket.client.nodes import node_status
from sealmarket.protocol.merkle import allowed_leaf
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import Bytes32, Wei
from sealmarket_enclave.protocol.numbers import JobId, Tee
from tests.acceptance import workloads
from tests.acceptance.market import Rehearsal, changes, names_of
from tests.patience import until


@pytest.fixture
def asset(rehearsal: Rehearsal) -> SealedAsset:
    """One that a test may spoil."""
    return rehearsal.publish("north")


def _matched_while_the_worker_is_away(rehearsal: Rehearsal, asset: SealedAsset) -> JobId:
    rehearsal.kill("worker")
    return rehearsal.job(asset, rehearsal.sealed["south"])


@pytest.mark.parametrize("change", ["revoke", "replace the list"])
def test_what_an_owner_takes_back_between_match_and_decision_is_refused_and_refunded(
    change: str, rehearsal: Rehearsal, asset: SealedAsset
) -> None:
    before = rehearsal.still()
    job_id = _matched_while_the_worker_is_away(rehearsal, asset)
    owner = rehearsal.owners["north"]
    if change == "revoke":
        rehearsal.settle_block(owner.revoke(asset.asset_id, asset.version))
    else:
        leaf: Bytes32 = allowed_leaf(Tee.TDX, rehearsal.measurement.digest(), rehearsal.reach.digest)
        rehearsal.settle_block(owner.replace_allow_list(asset.asset_id, asset.version, [leaf]))
    rehearsal.start("worker")
    record = rehearsal.reach_status(job_id, Status.REFUSED)
    assert record.fault is Fault.TERMS_REFUSED
    assert names_of(record.reasons) == {"asset_revoked" if change == "revoke" else "terms_tightened"}
    assert changes(before, rehearsal.balances()) == {"consumer": -rehearsal.fees(2)}


def test_a_dearer_price_between_match_and_decision_leaves_the_job_standing_at_its_own_price(
    rehearsal: Rehearsal, asset: SealedAsset
) -> None:
    before = rehearsal.still()
    job_id = _matched_while_the_worker_is_away(rehearsal, asset)
    dearer = Wei(2 * asset.terms.price)
    rehearsal.settle_block(rehearsal.owners["north"].tighten(asset.asset_id, asset.version, price=dearer))
    rehearsal.start("worker")
    rehearsal.reach_status(job_id, Status.SETTLED)
    assert changes(before, rehearsal.balances())["north"] == asset.terms.price


def test_a_revocation_between_decision_and_release_stops_the_job_and_harms_nobody(
    rehearsal: Rehearsal, asset: SealedAsset
) -> None:
    """The decision is on chain and not yet final when the owner revokes, so no node has released."""
    before = rehearsal.still()
    chain = rehearsal.chain
    job_id = rehearsal.job(asset)
    spec = rehearsal.read(job_id).spec
    until("an acceptance at the head", lambda: chain.at(chain.head()).job(spec.request_hash).status is Status.ACCEPTED)
    chain.rpc.call("evm_setIntervalMining", 0)
    accepted = next(e for e in chain.events(0, chain.head().number) if isinstance(e, JobDecided) and e.job_id == job_id)
    assert chain.final().number < accepted.at.block_number, "the decision was final before the chain could be held"
    chain.rpc.call("evm_setAutomine", True)
    rehearsal.owners["north"].revoke(asset.asset_id, asset.version)
    chain.rpc.call("evm_setAutomine", False)
    chain.rpc.call("anvil_setIntervalMining", 1)
    record = rehearsal.reach_status(job_id, Status.STOPPED)
    assert record.fault is Fault.STOPPED_BEFORE_RELEASE
    assert names_of(record.reasons) == {"asset_revoked"}
    for member in rehearsal.market.book.committees[0].members:
        status = node_status(member.url, job_id)
        assert status.release is None
        assert status.state == "stopped"
    assert changes(before, rehearsal.balances()) == {"consumer": -rehearsal.fees(2)}


def test_an_owners_price_cannot_be_lowered_nor_a_purpose_added_under_old_shares(
    rehearsal: Rehearsal, asset: SealedAsset
) -> None:
    owner = rehearsal.owners["north"]
    for looser in ({"price": Wei(1)}, {"purposes": 15}, {"expiry": asset.terms.expiry + 1}, {"max_uses": 10**6}):
        with pytest.raises(Reverted):
            owner.tighten(asset.asset_id, asset.version, **looser)
    assert rehearsal.chain.at(rehearsal.chain.head()).asset(asset.asset_id, 1).terms == asset.terms


def test_a_wider_allow_list_on_chain_opens_nothing_that_the_shares_were_not_made_for(
    rehearsal: Rehearsal, asset: SealedAsset
) -> None:
    """The owner's account itself, or whoever stole it, puts the greedy workload onto the list on chain."""
    greedy = workloads.other(rehearsal.workload, rehearsal.folder / "greedy", workloads.GREEDY)
    leaf: Bytes32 = allowed_leaf(Tee.TDX, rehearsal.measurement.digest(), greedy.digest)
    rehearsal.settle_block(rehearsal.owners["north"].replace_allow_list(asset.asset_id, asset.version, [leaf]))
    before = rehearsal.still()
    record = rehearsal.reach_status(rehearsal.job(asset, workload=greedy), Status.REFUSED)
    assert record.fault is Fault.REQUEST_REFUSED
    assert "workload_not_allowed" in names_of(record.reasons)
    hold = int(record.spec.hold_fee)
    assert changes(before, rehearsal.balances()) == {"consumer": -rehearsal.fees(2) - hold, "burned": hold}


def test_a_match_with_an_edited_price_is_refused_by_the_contract(rehearsal: Rehearsal) -> None:
    handle = rehearsal.request(post=False)
    compute = rehearsal.api.orders.compute_orders()[0]
    cheaper = msgspec.structs.replace(compute, order=msgspec.structs.replace(compute.order, price=Wei(1)))
    deal = Match(request=handle.signed, compute=cheaper, offers=tuple(AssetOffer() for _ in handle.request.assets))
    with pytest.raises(Reverted):
        rehearsal.market.purses["consumer"].sender.send(rehearsal.chain.market.match(deal))
