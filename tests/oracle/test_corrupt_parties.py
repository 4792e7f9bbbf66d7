"""What a corrupt party cannot do with shares that were dealt elsewhere, nor with a committee of its own.

The nodes are real, with real keys, journals and shares; the other parties of the table in docs/threat-model.md have
their tests where the party is.
"""

from __future__ import annotations

from typing import Any

import coincurve
import pytest
from msgspec.structs import replace

from sealmarket.chain.committees import members_hash
from sealmarket.protocol.book import Committee, Member
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.reasons import JobReason, reason_codes
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import Address, HexBytes
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_oracle.errors import ShareMisdealt
from sealmarket_oracle.gate.document_rules import open_own_share
from sealmarket_oracle.keys import NodeKeys, Signer
from sealmarket_oracle.release import core_of
from tests.oracle.world import CHAIN_ID, REGISTRY, Dealt, World

ELSEWHERE: dict[str, dict[str, Any]] = {
    "chain": {"chain_id": CHAIN_ID + 1},
    "registry": {"registry": Address(b"\xf1" * 20)},
    "version": {"asset_version": 2},
}
HERE: dict[str, Any] = {"chain_id": CHAIN_ID, "registry": REGISTRY, "asset_version": 1}


def _refused_as_misdealt(world: World, asset: Dealt) -> None:
    world.match(asset)
    world.quote()
    nodes = [world.node(index) for index in range(3)]
    decisions = [world.decided(node) for node in nodes]
    assert {decision.outcome for decision in decisions} == {Outcome.INPUT_REFUSED}
    assert JobReason.SHARE_MISDEALT.code in reason_codes(decisions[0].reasons)
    world.chain_core = replace(core_of(decisions[0]), outcome=Outcome.ACCEPTED)
    world.accept(world.chain_core)  # as if a quorum of others had accepted
    for node in nodes:
        node.tick()
        assert node.status(world.job_id).release is None


@pytest.mark.parametrize("where", ELSEWHERE)
def test_shares_that_were_copied_from_another_market_are_refused_and_open_nothing(world: World, where: str) -> None:
    """A thief publishes an owner's share set in a registry of its own, under terms of its own, to the same nodes."""
    _refused_as_misdealt(world, world.publish(dealt_for=ELSEWHERE[where]))


@pytest.mark.parametrize("where", ELSEWHERE)
def test_a_copied_share_set_that_says_to_be_of_this_market_opens_nothing_either(world: World, where: str) -> None:
    """Each share is sealed under where it was dealt for; the document beside it changes nothing of that."""
    (name,) = ELSEWHERE[where]
    asset = world.publish(
        dealt_for=ELSEWHERE[where], edit_share_set=lambda share_set: replace(share_set, **{name: HERE[name]})
    )
    _refused_as_misdealt(world, asset)


def test_a_successor_committee_that_the_owner_never_sealed_to_opens_nothing_and_moves_no_node(world: World) -> None:
    """The committee's owner announces an epoch of its own nodes, which accept whatever they are asked."""
    own = [NodeKeys(Signer(coincurve.PrivateKey().secret), PrivateKey.generate()) for _ in range(3)]
    members = tuple(
        Member(signer=keys.signer.address, hpke_public_key=HexBytes(keys.hpke.public.raw), url="http://own")
        for keys in own
    )
    successor = Committee(epoch=2, threshold=2, members=members)
    world.book = world.chain.book = replace(world.book, committees=(world.committee, successor))
    world.chain.set_committee(2, members_hash(successor))
    asset = world.publish()
    world.match(asset)
    world.quote()
    honest = core_of(world.decided(world.node(1)))
    world.match(asset, epoch=2)
    world.quote()
    world.accept(replace(honest, job_id=world.job_id, evidence_hash=world.hash_of_posted(), epoch=2), (0, 1))
    assert world.chain.at(world.chain.final()).job(world.spec.request_hash).status is Status.ACCEPTED
    for index in range(3):
        node = world.node(index)
        node.tick()
        status = node.status(world.job_id)
        assert (status.decision, status.release, status.stop) == (None, None, None)
        assert "keys are for epoch 1" in status.reason
    for keys in own:
        for place, member in enumerate(asset.share_set.members):
            sealed = world.store.documents[member.sealed]
            with pytest.raises(ShareMisdealt):
                open_own_share(asset.share_set, place, sealed, keys.hpke)


def test_a_node_that_starts_anew_between_acceptance_and_release_releases_once_and_to_the_same_enclave(
    world: World,
) -> None:
    asset = world.publish()
    world.match(asset)
    world.quote()
    before = world.node(0)
    world.chain_core = core_of(world.decided(before))
    world.accept(world.chain_core)
    first, second = world.node(0), world.node(0)  # the process was killed; and again, after the release
    first.tick()
    second.tick()
    released = first.status(world.job_id).release
    assert released is not None
    assert second.status(world.job_id).release == released
    assert before.status(world.job_id).release == released
