"""What a node writes into its audit log, how often, and what of it a decision names."""

from __future__ import annotations

from sealmarket_enclave.protocol.codec import ZERO_HASH
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle.keys import NodeKeys
from sealmarket_oracle.log.entries import EntryKind
from tests.oracle.signers import Counting
from tests.oracle.world import Agreeing, World

JOB = JobId(keccak(b"job"))


def test_what_clients_ask_again_is_not_signed_again(world: World) -> None:
    signer = Counting(world.keys[0].signer)
    world.keys[0] = NodeKeys(signer, world.keys[0].hpke)
    world.match(world.publish())
    world.quote()
    node = world.node()
    world.decided(node)
    signed = signer.count
    first = node.status(world.job_id)
    assert node.status(world.job_id) == first
    assert signer.count == signed


def test_a_refusal_to_act_is_recorded_once_for_each_reason_and_16_times_for_a_job(world: World) -> None:
    journal = world.journal()
    for number in range(20):
        reason = f"the store has no document {number // 2}"
        journal.defer(JOB, reason, keccak(reason.encode()), (1, ZERO_HASH))
    assert journal.head().size == 10
    for number in range(40):
        journal.defer(JOB, str(number), keccak(b"%d" % number), (1, ZERO_HASH))
    entries = journal.entries(0, 100)
    assert [entry.kind for entry in entries] == [EntryKind.DEFERRED] * 16
    assert b"document" not in b"".join(entry.canonical() for entry in entries)


def test_a_job_that_waits_for_a_document_is_a_refusal_in_the_log(world: World) -> None:
    world.match(world.publish(keep_policy=False))
    world.quote()
    node = world.node()
    node.tick()
    node.tick()
    assert node.status(world.job_id).state == "waiting"
    kinds = [(entry.kind, entry.job_id) for entry in world.journal().entries(0, 10)]
    assert kinds == [(EntryKind.START, JobId(ZERO_HASH)), (EntryKind.DEFERRED, world.job_id)]


def test_a_decision_names_the_log_before_it_and_an_entry_records_it(world: World) -> None:
    world.match(world.publish())
    world.quote()
    node = world.node()
    world.decided(node)
    signed = node.status(world.job_id).decision
    assert signed is not None
    assert signed.detail.log is not None
    journal = world.journal()
    entry = journal.entries(signed.detail.log.size, 1)[0]
    assert (entry.kind, entry.job_id, entry.rules) == (EntryKind.DECISION, world.job_id, signed.decision.detail)
    assert journal.root_at(signed.detail.log.size) == signed.detail.log.root
    assert node.status(world.job_id).state == "decided"
    assert Agreeing().confirmed == 255
