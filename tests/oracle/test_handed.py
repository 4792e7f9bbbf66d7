"""Evidence that a provider hands to a node itself: who may, how much, and that a store cannot hide it any more."""

from __future__ import annotations

import dataclasses

import coincurve
import httpx
import pytest
from msgspec.structs import replace

from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.problems import Problem
from sealmarket.protocol.wire import SEALED_HEADER, SIGNATURE_HEADER
from sealmarket.sealing.evidence import SealedEvidence, read_evidence
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32, HexBytes, decode
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle.documents import with_promise
from sealmarket_oracle.gate.inputs import EvidenceOpened, EvidenceUnavailable, JobDocuments
from sealmarket_oracle.handed import HandedEvidence
from sealmarket_oracle.service import Node
from tests.oracle.test_api import Client, _client
from tests.oracle.world import World


@pytest.fixture
def hidden(world: World) -> SealedEvidence:
    """What the provider of a quoted job posted, and the store shows to nobody."""
    world.match(world.publish())
    world.quote()
    return read_evidence(world.store.packages.pop((world.job_id, world.hash_of_posted())))


def hand_in(client: Client, sealed: SealedEvidence, body: bytes | None = None) -> httpx.Response:
    """As a provider does, to the first node; ``body`` are other bytes under its headers."""
    path = f"/v1/jobs/{sealed.job_id}/evidence/{sealed.evidence_hash}"
    headers = {SIGNATURE_HEADER: str(HexBytes(sealed.signature)), SEALED_HEADER: str(sealed.sealed_hash)}
    return client.send("PUT", path, content=sealed.raw if body is None else body, headers=headers)


def looked(node: Node) -> tuple[Node, Client]:
    """A node that has seen the chain."""
    node.tick()
    return node, _client(node)[0]


def test_a_stranger_hands_in_nothing(world: World, hidden: SealedEvidence) -> None:
    node, client = looked(world.node())
    answer = hand_in(client, world.signed(hidden, coincurve.PrivateKey()))
    assert answer.status_code == 409
    assert str(world.spec.provider) in decode(Problem, answer.content).detail
    assert node.handed.find(world.job_id) is None


@pytest.mark.parametrize("signature", ["", "0x", "0x00", "0x" + "00" * 65, "signed", "0x" + "ff" * 65])
def test_a_signature_that_is_none_is_refused(signature: str, world: World, hidden: SealedEvidence) -> None:
    node, client = looked(world.node())
    path = f"/v1/jobs/{hidden.job_id}/evidence/{hidden.evidence_hash}"
    headers = {SIGNATURE_HEADER: signature, SEALED_HEADER: str(hidden.sealed_hash)}
    assert client.send("PUT", path, content=b"x", headers=headers).status_code in (409, 422)
    assert node.handed.find(world.job_id) is None


def test_evidence_of_another_hash_than_the_chains_is_refused(world: World, hidden: SealedEvidence) -> None:
    _, client = looked(world.node())
    other = Bytes32(b"e" * 32)
    answer = hand_in(client, world.signed(dataclasses.replace(hidden, evidence_hash=other)))
    assert answer.status_code == 409
    assert str(hidden.evidence_hash) in decode(Problem, answer.content).detail


def test_before_a_node_has_seen_the_quote_evidence_is_to_be_handed_in_later(
    world: World, hidden: SealedEvidence
) -> None:
    node = world.node()
    client = _client(node)[0]
    assert hand_in(client, hidden).status_code == 404
    node.tick()
    assert hand_in(client, hidden).status_code == 204


def test_after_a_node_has_decided_it_takes_nothing(world: World, hidden: SealedEvidence) -> None:
    node, client = looked(world.node())
    assert hand_in(client, hidden).status_code == 204
    world.decided(node)
    assert hand_in(client, hidden).status_code == 409


def test_a_store_that_hides_evidence_cannot_have_a_platform_refused(world: World, hidden: SealedEvidence) -> None:
    node, client = looked(world.node())
    assert node.status(world.job_id).decision is None
    assert hand_in(client, hidden).status_code == 204
    assert world.decided(node).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize("garbage", [b"", b"no package"])
def test_garbage_that_is_handed_in_is_refused(garbage: bytes, world: World, hidden: SealedEvidence) -> None:
    node, client = looked(world.node())
    assert hand_in(client, hidden, garbage).status_code == 422
    assert node.handed.find(world.job_id) is None


def test_who_copies_the_providers_signature_hands_in_no_other_bytes(world: World, hidden: SealedEvidence) -> None:
    """The signature once named the quote alone: whoever read it in the store replaced the provider's package by it."""
    node, client = looked(world.node())
    assert hand_in(client, hidden).status_code == 204
    other = world.sealed(hidden.job_id, hidden.evidence_hash, b"another", signer=coincurve.PrivateKey())
    answer = hand_in(client, hidden, dataclasses.replace(other, signature=hidden.signature).raw)
    assert answer.status_code == 409
    assert str(hidden.sealed_hash) in decode(Problem, answer.content).detail
    assert node.handed.find(world.job_id) == hidden.raw
    assert world.decided(node).outcome is Outcome.ACCEPTED


def test_what_is_handed_in_leaves_with_its_job(world: World, hidden: SealedEvidence) -> None:
    node, client = looked(world.node())
    hand_in(client, hidden)
    node.handed.keep_only(set())
    assert node.handed.find(world.job_id) is None


def test_beyond_the_room_the_largest_package_leaves(world: World) -> None:
    held = HandedEvidence(world.journal(), world.node().market, limit=100)
    jobs = [JobId(Bytes32(bytes([place]) * 32)) for place in range(4)]
    for job_id, size in zip(jobs, (40, 50, 10, 45), strict=True):
        held.keep(job_id, bytes(size))
    assert [len(held.find(job_id) or b"") for job_id in jobs] == [40, 0, 10, 45]
    held.keep(jobs[0], bytes(20))
    held.keep(jobs[1], bytes(25))
    assert [len(held.find(job_id) or b"") for job_id in jobs] == [20, 25, 10, 45]
    held.keep(jobs[2], bytes(101))
    assert [len(held.find(job_id) or b"") for job_id in jobs] == [20, 25, 0, 45]


def test_a_capability_document_that_the_store_hides_is_taken_from_the_package(world: World) -> None:
    world.match(world.publish())
    package, document = world.quote(), HexBytes(b"a promise")
    spec = replace(world.spec, capability_hash=keccak(document))
    none = JobDocuments(policies={}, share_sets={}, sealed_shares={}, lists={})

    def found(shown: EvidenceOpened | EvidenceUnavailable) -> bytes | None:
        return with_promise(none, spec, shown).capability

    opened = EvidenceOpened(package=replace(package, capability=document), content=ZERO_HASH)
    assert found(opened) == document
    other = EvidenceOpened(package=replace(package, capability=HexBytes(b"another")), content=ZERO_HASH)
    assert found(other) is None
    assert found(EvidenceUnavailable("nothing")) is None
    assert with_promise(none, replace(spec, capability_hash=ZERO_HASH), opened).capability is None
