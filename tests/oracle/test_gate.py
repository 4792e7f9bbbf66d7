"""The gate: every rule, broken once, is refused with its reason, its row of the fault table, and words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import coincurve
import pytest
from msgspec.structs import replace

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.reasons import Reason
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.merkle import account_leaf, allowed_leaf
from sealmarket.protocol.merkle import root as merkle_root
from sealmarket.protocol.orders import Purpose
from sealmarket.protocol.reasons import JobReason, reason_codes
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import EvidencePackage
from sealmarket.sealing.evidence import read_evidence
from sealmarket_devices.measurements import tdx_measurement
from sealmarket_devices.tdx import VirtualTdx
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, Bytes32, HexBytes, MicroEpsilon, Wei
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import report_data, terms_digest
from sealmarket_enclave.protocol.numbers import Grade, JobId, Tee
from sealmarket_enclave.protocol.policy import CommitteeRef
from sealmarket_enclave.sealed.hpke import PrivateKey, PublicKey
from sealmarket_oracle.release import core_of
from tests.oracle.world import (
    CONSUMER,
    LAUNCH,
    NOW,
    OTHER_LAUNCH,
    OTHER_WORKLOAD,
    WORKLOAD,
    Dealt,
    Enclave,
    World,
    rules,
    terms,
)


def _expect(decision: Decision, outcome: Outcome, *reasons: JobReason | Reason) -> None:
    assert decision.outcome is outcome
    assert set(reason_codes(decision.reasons)) == {reason.code for reason in reasons}
    if outcome is not Outcome.ACCEPTED:
        assert (decision.enclave_signer, decision.enclave_key_hash, decision.grade) == (ZERO_ADDRESS, ZERO_HASH, 0)


# --- the evidence -----------------------------------------------------------------------------------------------


def test_evidence_that_is_not_on_chain_at_a_final_block_is_not_looked_at(world: World) -> None:
    job = world.match(world.publish())
    world.post(world.package(job))
    world.chain.finalise()
    node = world.node()
    node.tick()
    status = node.status(job)
    assert (status.state, status.decision) == ("waiting", None)
    assert "no evidence hash is on chain at a final block" in status.reason


def test_evidence_whose_hash_is_on_chain_but_not_final_is_not_looked_at(world: World) -> None:
    job = world.match(world.publish())
    world.chain.finalise()
    package = world.package(job)
    world.post(package)
    world.chain.quote(job, world.hash_of(package))
    node = world.node()
    node.tick()
    assert node.status(job).decision is None
    world.chain.finalise()
    assert world.decided(node).outcome is Outcome.ACCEPTED


PLATFORM: dict[str, tuple[Callable[[World, VirtualTdx], dict[str, Any]], JobReason | Reason]] = {
    "a root that nobody trusts": (lambda w, s: {"device": s}, Reason.UNTRUSTED_ROOT),
    "no collateral": (lambda w, s: {"collateral": ""}, Reason.ENDORSEMENT_MISSING),
    "collateral that is none": (lambda w, s: {"collateral": "{}"}, Reason.ENDORSEMENT_MALFORMED),
    "bytes that are no evidence": (lambda w, s: {"quote": HexBytes(b"nothing")}, Reason.UNSUPPORTED_FORMAT),
    "another kind of TEE than promised": (lambda w, s: {"tee": Tee.SGX}, Reason.TEE_MISMATCH),
    "a block from before the match": (lambda w, s: {"named": w.chain.block(1)}, JobReason.BLOCK_NOT_RECENT),
    "a block that is not on this chain": (
        lambda w, s: {"named": _other_hash(w)},
        JobReason.BLOCK_NOT_RECENT,
    ),
}


def _other_hash(world: World) -> Any:
    import dataclasses

    return dataclasses.replace(world.chain.head(), hash=Bytes32(b"\x66" * 32))


@pytest.mark.parametrize("case", PLATFORM)
def test_evidence_with_is_refused_as_the_platforms_fault(case: str, world: World, stranger: VirtualTdx) -> None:
    wrong, reason = PLATFORM[case]
    world.match(world.publish())
    world.quote(**wrong(world, stranger))
    _expect(world.decided(world.node()), Outcome.PLATFORM_REFUSED, reason)


def test_a_debug_enclave_is_refused(world: World) -> None:
    world.match(world.publish())
    world.quote(debug=True)
    decision = world.decided(world.node())
    assert decision.outcome is Outcome.PLATFORM_REFUSED
    assert Reason.DEBUG.code in reason_codes(decision.reasons)


def test_an_image_that_no_owner_allows_charges_no_party_where_the_provider_promised_none(world: World) -> None:
    world.match(world.publish())
    world.quote(launch=OTHER_LAUNCH)
    _expect(world.decided(world.node()), Outcome.TERMS_REFUSED, Reason.MEASUREMENT_NOT_ALLOWED)


def test_a_block_named_long_before_the_quote_is_refused(world: World) -> None:
    world.match(world.publish(evidence=rules(maximum_age_seconds=86_400)), quote_window=86_400)
    named = world.chain.head()
    world.chain.mine(1, seconds=3700)
    world.quote(named=named)
    _expect(world.decided(world.node()), Outcome.PLATFORM_REFUSED, JobReason.BLOCK_NOT_RECENT)


def test_evidence_older_than_an_owner_allows_is_refused(world: World) -> None:
    world.match(world.publish(evidence=rules(maximum_age_seconds=60)))
    named = world.chain.head()
    world.chain.mine(1, seconds=61)
    world.quote(named=named)
    _expect(world.decided(world.node()), Outcome.TERMS_REFUSED, Reason.EVIDENCE_STALE)


def test_an_enclave_key_that_is_no_key_is_refused(world: World) -> None:
    job, enclave = world.match(world.publish()), world.enclave
    key = HexBytes(bytes(enclave.hpke.public.raw)[:-1])
    data = report_data(job, enclave.address, keccak(key), world.chain.head().hash)
    world.quote(enclave_key=key, report=data)
    _expect(world.decided(world.node()), Outcome.PLATFORM_REFUSED, Reason.MALFORMED)


def test_an_encoding_of_evidence_is_refused(world: World) -> None:
    job = world.match(world.publish())
    raw = world.package(job).quote
    world.quote(quote=HexBytes(raw.hex().encode()))
    _expect(world.decided(world.node()), Outcome.PLATFORM_REFUSED, Reason.UNSUPPORTED_FORMAT)


@pytest.mark.parametrize("what", ["another job", "another signer", "another key", "another block", "other padding"])
def test_evidence_made_for_is_refused(what: str, world: World) -> None:
    asset = world.publish()
    job = world.match(asset)
    head, enclave = world.chain.head(), world.enclave
    key_hash = keccak(enclave.hpke.public.raw)
    other = JobId(Bytes32(b"\x01" * 32))
    data = {
        "another job": report_data(other, enclave.address, key_hash, head.hash),
        "another signer": report_data(job, Enclave().address, key_hash, head.hash),
        "another key": report_data(job, enclave.address, keccak(Enclave().hpke.public.raw), head.hash),
        "another block": report_data(job, enclave.address, key_hash, world.chain.block(1).hash),
        "other padding": report_data(job, enclave.address, key_hash, head.hash)[:32] + b"\x01" * 32,
    }[what]
    world.quote(report=data, named=head)
    reasons = (JobReason.EVIDENCE_NOT_FOR_JOB, Reason.REPORT_DATA_MISMATCH)
    _expect(world.decided(world.node()), Outcome.PLATFORM_REFUSED, *reasons)


def test_the_host_cannot_replay_another_jobs_evidence(world: World) -> None:
    asset = world.publish()
    yesterday = world.quote(world.match(asset))
    job = world.match(asset)
    world.chain.quote(job, world.hash_of(yesterday))
    world.post(replace(yesterday, job_id=job))
    world.chain.finalise()
    decision = world.decided(world.node(), job)
    assert decision.outcome is Outcome.PLATFORM_REFUSED
    assert JobReason.EVIDENCE_NOT_FOR_JOB.code in reason_codes(decision.reasons)


HARDWARE: dict[str, tuple[Outcome, tuple[JobReason | Reason, ...]]] = {
    "request": (Outcome.PLATFORM_REFUSED, (Reason.GRADE_TOO_LOW,)),
    "chain": (Outcome.TERMS_REFUSED, (JobReason.TERMS_TIGHTENED,)),
    "policy": (Outcome.TERMS_REFUSED, (JobReason.TERMS_TIGHTENED,)),
    "node": (Outcome.REQUEST_REFUSED, (Reason.GRADE_TOO_LOW,)),
    "evidence rules": (Outcome.TERMS_REFUSED, (Reason.GRADE_TOO_LOW,)),
}


@pytest.mark.parametrize("who", HARDWARE)
def test_simulated_evidence_is_refused_when_hardware_is_demanded_by(who: str, world: World) -> None:
    hardware = terms(min_grade=Grade.HARDWARE)
    asset = world.publish(
        policy_terms=hardware if who == "policy" else None,
        chain_terms=hardware if who in ("chain", "policy") else None,
        evidence=rules(lowest_grade="hardware") if who == "evidence rules" else None,
    )
    world.match(asset, min_grade=Grade.HARDWARE if who == "request" else Grade.SIMULATED)
    world.quote()
    node = world.node(grade_floor=Grade.HARDWARE if who == "node" else Grade.SIMULATED)
    outcome, reasons = HARDWARE[who]
    _expect(world.decided(node), outcome, *reasons)


def test_a_production_node_trusts_no_development_root(world: World) -> None:
    world.match(world.publish())
    world.quote()
    node = world.node(roots=TrustAnchors.production(), grade_floor=Grade.HARDWARE)
    _expect(world.decided(node), Outcome.PLATFORM_REFUSED, Reason.UNTRUSTED_ROOT)


def test_a_public_detail_does_not_name_the_machine(world: World) -> None:
    from sealmarket.attestation.policy.rules import PlatformRule

    named = PlatformRule(tee="tdx", digest=Bytes32(b"\x01" * 32))
    world.match(world.publish(evidence=rules(platforms=(named,))))
    world.quote()
    node = world.node()
    _expect(world.decided(node), Outcome.TERMS_REFUSED, Reason.PLATFORM_NOT_ALLOWED)
    signed = node.status(world.job_id).decision
    assert signed is not None
    assert "left out" in signed.detail.findings[0].found


# --- evidence that is not shown -----------------------------------------------------------------------------------


Shown = Callable[[World, EvidencePackage, Bytes32], bytes | None]
"""What the store has for a package and its evidence hash."""


def _another_package(world: World, package: EvidencePackage, posted: Bytes32) -> bytes:
    return world.sealed(package.job_id, posted, world.package(package.job_id, enclave=Enclave()).canonical()).raw


def _without(world: World, package: EvidencePackage, posted: Bytes32) -> bytes:
    sealed = world.sealed(package.job_id, posted, package.canonical())
    wraps = tuple((name, bytes(len(wrapped))) for name, wrapped in sealed.wraps)
    return world.signed(dataclasses.replace(sealed, wraps=wraps)).raw


def _to_fewer(world: World, package: EvidencePackage, posted: Bytes32) -> bytes:
    readers = [keys.hpke.public for keys in world.keys[:-1]]
    return world.sealed(package.job_id, posted, package.canonical(), readers).raw


WITHHELD: dict[str, Shown] = {
    "nothing": lambda w, p, h: None,
    "another package": _another_package,
    "wrapped by other bytes": _without,
    "sealed to this node and not to another": _to_fewer,
    "no package": lambda w, p, h: w.sealed(p.job_id, h, b"{}").raw,
    "sealed for another job": lambda w, p, h: w.sealed(JobId(keccak(b"job")), h, p.canonical()).raw,
    "sealed for other evidence": lambda w, p, h: w.sealed(p.job_id, keccak(b"evidence"), p.canonical()).raw,
    "signed by a stranger": lambda w, p, h: w.sealed(p.job_id, h, p.canonical(), signer=coincurve.PrivateKey()).raw,
    "without a signature": lambda w, p, h: w.sealed(p.job_id, h, p.canonical()).raw[:-65],
    "cut short": lambda w, p, h: w.sealed(p.job_id, h, p.canonical()).raw[:-66],
}


@pytest.mark.parametrize("how", WITHHELD)
def test_evidence_that_is_withheld_is_awaited_and_then_refused(how: str, world: World) -> None:
    job = world.match(world.publish())
    package = world.package(job)
    posted = world.hash_of(package)
    world.chain.quote(job, posted)
    if (raw := WITHHELD[how](world, package, posted)) is not None:
        world.post(package, raw=raw)
    world.chain.finalise()
    node = world.node()
    node.tick()
    assert node.status(job).decision is None
    assert "evidence_withheld" in node.status(job).reason
    world.chain.mine(3, seconds=200)
    _expect(world.decided(node), Outcome.EVIDENCE_WITHHELD, JobReason.EVIDENCE_WITHHELD)


def _audited(world: World, key: bytes) -> Dealt:
    return world.publish(edit_policy=lambda policy: replace(policy, auditors=(HexBytes(key),)))


def _show(world: World, package: EvidencePackage, *more: PublicKey) -> None:
    """The provider quotes, and shows the nodes and these readers its evidence."""
    posted = world.hash_of(package)
    world.chain.quote(package.job_id, posted)
    readers = [*(keys.hpke.public for keys in world.keys), *more]
    world.post(package, raw=world.sealed(package.job_id, posted, package.canonical(), readers).raw)
    world.chain.finalise()


def test_evidence_that_is_not_sealed_to_an_owners_auditor_counts_as_withheld(world: World) -> None:
    world.match(_audited(world, PrivateKey.generate().public.raw))
    _show(world, world.package(world.job_id), PrivateKey.generate().public)
    node = world.node()
    node.tick()
    assert "evidence_withheld" in node.status(world.job_id).reason
    world.chain.mine(3, seconds=200)
    _expect(world.decided(node), Outcome.EVIDENCE_WITHHELD, JobReason.EVIDENCE_WITHHELD)


def test_a_provider_that_lacked_the_policy_does_not_answer_for_its_auditor(world: World) -> None:
    asset = _audited(world, PrivateKey.generate().public.raw)
    world.match(asset)
    _show(world, replace(world.package(world.job_id), missing=(asset.policy.digest(),)))
    _expect(world.decided(world.node()), Outcome.INPUT_REFUSED, JobReason.MATERIAL_LATE)


def test_a_key_of_an_auditor_that_is_none_binds_no_provider(world: World) -> None:
    world.match(_audited(world, b"no key"))
    _show(world, world.package(world.job_id))
    _expect(world.decided(world.node()), Outcome.ACCEPTED)


def test_evidence_that_an_owners_auditor_reads_as_well_is_accepted(world: World) -> None:
    auditor = PrivateKey.generate()
    world.match(_audited(world, auditor.public.raw))
    _show(world, world.package(world.job_id), auditor.public)
    _expect(world.decided(world.node()), Outcome.ACCEPTED)


def test_each_node_says_which_package_it_opened(world: World) -> None:
    job = world.match(world.publish())
    package = world.quote(job)
    content = read_evidence(world.store.packages[job, world.hash_of(package)]).content_hash
    nodes = [world.node(place) for place in range(2)]
    for node in nodes:
        world.decided(node)
    details = [status.decision.detail for node in nodes if (status := node.status(job)).decision is not None]
    assert [detail.evidence_content for detail in details] == [content, content]


def test_evidence_that_comes_late_is_still_looked_at(world: World) -> None:
    job = world.match(world.publish())
    package = world.package(job)
    world.chain.quote(job, world.hash_of(package))
    world.chain.finalise()
    node = world.node()
    node.tick()
    world.post(package)
    _expect(world.decided(node), Outcome.ACCEPTED)


# --- the request --------------------------------------------------------------------------------------------------


def test_a_workload_that_the_owners_never_allowed_is_the_requests_fault(world: World) -> None:
    world.match(world.publish(), workload_digest=OTHER_WORKLOAD)
    world.quote()
    node = world.node()
    _expect(world.decided(node), Outcome.REQUEST_REFUSED, JobReason.WORKLOAD_NOT_ALLOWED)
    signed = node.status(world.job_id).decision
    assert signed is not None
    (finding,) = signed.detail.findings
    assert finding.found == str(OTHER_WORKLOAD)
    assert finding.remedy


def test_one_owner_among_several_is_enough_to_refuse_a_workload(world: World) -> None:
    generous = world.publish(1, workloads=(WORKLOAD, OTHER_WORKLOAD))
    world.match(generous, world.publish(2), workload_digest=OTHER_WORKLOAD)
    world.quote()
    assert world.decided(world.node()).outcome is Outcome.REQUEST_REFUSED


@pytest.mark.parametrize("purpose", [int(Purpose.QUERY), int(Purpose.TRAIN | Purpose.QUERY), 0])
def test_a_purpose_that_the_terms_do_not_name_is_the_requests_fault(purpose: int, world: World) -> None:
    world.match(world.publish(), purpose=purpose)
    world.quote()
    _expect(world.decided(world.node()), Outcome.REQUEST_REFUSED, JobReason.PURPOSE_NOT_ALLOWED)


def test_a_provider_without_a_working_enclave_does_not_escape_by_a_bad_request(world: World) -> None:
    world.match(world.publish(), workload_digest=OTHER_WORKLOAD)
    world.quote(debug=True)
    decision = world.decided(world.node())
    assert decision.outcome is Outcome.PLATFORM_REFUSED
    assert Reason.DEBUG.code in reason_codes(decision.reasons)


# --- the terms ----------------------------------------------------------------------------------------------------


def test_a_revoked_asset_is_refused_whatever_else_is_wrong(world: World) -> None:
    asset = world.publish()
    world.match(asset, workload_digest=OTHER_WORKLOAD)
    world.chain.revoke(asset.asset_id)
    world.quote(launch=OTHER_LAUNCH)
    node = world.node()
    _expect(world.decided(node), Outcome.TERMS_REFUSED, JobReason.ASSET_REVOKED)
    signed = node.status(world.job_id).decision
    assert signed is not None
    named = {finding.reason for finding in signed.detail.findings}
    assert named >= {"asset_revoked", "workload_not_allowed", "measurement_not_allowed"}


def test_terms_tightened_after_the_match_are_refused(world: World) -> None:
    asset = world.publish()
    world.match(asset)
    world.chain.tighten(asset.asset_id, 1, terms(allow_root=Bytes32(b"\x66" * 32)))
    world.quote()
    _expect(world.decided(world.node()), Outcome.TERMS_REFUSED, JobReason.TERMS_TIGHTENED)


LATER_ONLY = {
    "a price": lambda world, asset: world.chain.tighten(asset.asset_id, 1, terms(price=Wei(11))),
    "fewer uses": lambda world, asset: world.chain.tighten(asset.asset_id, 1, terms(max_uses=4)),
    "a shorter hold": lambda world, asset: world.chain.tighten(asset.asset_id, 1, terms(max_hold=1)),
    "a suspension": lambda world, asset: world.chain.suspend(asset.asset_id, 1, world.job_id),
}


@pytest.mark.parametrize("what", LATER_ONLY)
def test_what_concerns_later_matches_alone_leaves_a_job_standing(what: str, world: World) -> None:
    asset = world.publish()
    world.match(asset)
    LATER_ONLY[what](world, asset)
    world.quote()
    node = world.node()
    decision = world.decided(node)
    assert decision.outcome is Outcome.ACCEPTED
    world.accept(core_of(decision))
    node.tick()
    assert node.status(world.job_id).state == "released"


def test_terms_that_have_expired_are_refused(world: World) -> None:
    asset = world.publish(policy_terms=terms(expiry=NOW))
    world.match(asset)
    world.chain.mine(1, seconds=120)
    world.quote()
    _expect(world.decided(world.node()), Outcome.TERMS_REFUSED, JobReason.ASSET_EXPIRED)


def test_a_revocation_is_decided_at_once_though_papers_are_missing(world: World) -> None:
    asset = world.publish(keep_policy=False, keep_shares=False)
    world.match(asset)
    world.chain.revoke(asset.asset_id)
    world.quote()
    _expect(world.decided(world.node()), Outcome.TERMS_REFUSED, JobReason.ASSET_REVOKED)


def test_a_pair_that_was_off_the_list_at_the_match_is_refused_when_the_list_shows_it(world: World) -> None:
    other = allowed_leaf(Tee.TDX, tdx_measurement(LAUNCH).digest(), OTHER_WORKLOAD)
    third = Bytes32(b"\x03" * 32)
    reduced = merkle_root([other, third])
    asset = world.publish(chain_terms=terms(allow_root=reduced), workloads=(WORKLOAD, OTHER_WORKLOAD))
    world.store.lists[reduced] = frozenset({other, third})
    world.match(asset)
    world.quote()
    _expect(world.decided(world.node()), Outcome.REQUEST_REFUSED, JobReason.PAIR_NOT_ON_CHAIN)


def test_an_owner_takes_a_workload_off_the_list_by_its_new_root_alone(world: World) -> None:
    measured = tdx_measurement(LAUNCH).digest()
    only_other = allowed_leaf(Tee.TDX, measured, OTHER_WORKLOAD)
    asset = world.publish(workloads=(WORKLOAD, OTHER_WORKLOAD), chain_terms=terms(allow_root=only_other))
    world.match(asset)
    world.quote()
    _expect(world.decided(world.node()), Outcome.REQUEST_REFUSED, JobReason.PAIR_NOT_ON_CHAIN)
    world.match(asset, workload_digest=OTHER_WORKLOAD)
    world.quote()
    _expect(world.decided(world.node()), Outcome.ACCEPTED)


def test_an_allow_list_on_chain_that_nobody_can_show_is_awaited_and_then_refused(world: World) -> None:
    asset = world.publish(chain_terms=terms(allow_root=Bytes32(b"\x0d" * 32)))
    world.match(asset)
    world.quote()
    node = world.node()
    node.tick()
    assert node.status(world.job_id).decision is None
    world.chain.mine(3, seconds=200)
    _expect(world.decided(node), Outcome.REQUEST_REFUSED, JobReason.PAIR_NOT_ON_CHAIN)


def test_a_wider_list_on_chain_does_not_loosen_what_the_shares_were_made_for(world: World) -> None:
    measured = tdx_measurement(LAUNCH).digest()
    leaves = frozenset(allowed_leaf(Tee.TDX, measured, workload) for workload in (WORKLOAD, OTHER_WORKLOAD))
    wide = merkle_root(leaves)
    world.store.lists[wide] = leaves
    asset = world.publish(chain_terms=terms(allow_root=wide))
    world.match(asset, workload_digest=OTHER_WORKLOAD)
    world.quote()
    _expect(world.decided(world.node()), Outcome.REQUEST_REFUSED, JobReason.WORKLOAD_NOT_ALLOWED)
    world.match(asset)
    world.quote()
    _expect(world.decided(world.node()), Outcome.ACCEPTED)


LOOSER: dict[str, dict[str, Any]] = {
    "expiry": {"expiry": NOW + 90_000},
    "uses": {"max_uses": 6},
    "purposes": {"purposes": int(Purpose.TRAIN | Purpose.QUERY)},
    "hold": {"max_hold": 31 * 86_400},
    "time-out": {"timeout_share": 99},
    "token": {"token": Address(b"\x0e" * 20)},
    "budget": {"budget": MicroEpsilon(1)},
}


@pytest.mark.parametrize("field", LOOSER)
def test_terms_on_chain_looser_than_the_policy_are_refused_in(field: str, world: World) -> None:
    world.match(world.publish(policy_terms=terms(), chain_terms=terms(**LOOSER[field])))
    world.quote()
    _expect(world.decided(world.node()), Outcome.INPUT_REFUSED, JobReason.POLICY_INVALID)


def test_a_consumer_whom_the_policy_does_not_admit_is_refused_though_the_chain_does(world: World) -> None:
    admitted = frozenset({account_leaf(ZERO_ADDRESS), Bytes32(b"\x05" * 32)})
    world.store.lists[merkle_root(admitted)] = admitted
    closed = terms(consumer_root=merkle_root(admitted))
    world.match(world.publish(policy_terms=closed, chain_terms=terms(consumer_root=account_leaf(CONSUMER))))
    world.quote()
    _expect(world.decided(world.node()), Outcome.INPUT_REFUSED, JobReason.POLICY_INVALID)


def test_a_consumer_in_both_sets_is_admitted(world: World) -> None:
    admitted = frozenset({account_leaf(CONSUMER), Bytes32(b"\x05" * 32)})
    world.store.lists[merkle_root(admitted)] = admitted
    closed = terms(consumer_root=merkle_root(admitted))
    world.match(world.publish(policy_terms=closed, chain_terms=terms(consumer_root=account_leaf(CONSUMER))))
    world.quote()
    _expect(world.decided(world.node()), Outcome.ACCEPTED)


# --- the documents ------------------------------------------------------------------------------------------------


def test_a_share_dealt_to_another_node_shows_before_anybody_is_charged(world: World) -> None:
    asset = world.publish(edit_sealed=lambda sealed: [sealed[1], sealed[0], sealed[2]])
    world.match(asset, workload_digest=OTHER_WORKLOAD)
    world.quote(launch=OTHER_LAUNCH)
    _expect(world.decided(world.node()), Outcome.INPUT_REFUSED, JobReason.SHARE_MISDEALT)


def test_a_job_over_another_seal_than_was_published_is_refused(world: World) -> None:
    asset = world.publish()
    other = Dealt(**{**vars(asset), "seal": replace(asset.seal, content_root=Bytes32(b"\x0f" * 32))})
    world.match(other)
    world.quote()
    _expect(world.decided(world.node()), Outcome.INPUT_REFUSED, JobReason.SHARE_MISDEALT)


def test_shares_dealt_to_another_epoch_are_refused(world: World) -> None:
    world.match(world.publish(seal_epoch=2))
    world.quote()
    _expect(world.decided(world.node()), Outcome.INPUT_REFUSED, JobReason.EPOCH_MISMATCH)


def test_shares_dealt_to_other_members_are_refused(world: World) -> None:
    first, second, third = world.committee.members
    world.match(world.publish(committee=replace(world.committee, members=(first, third, second))))
    world.quote()
    _expect(world.decided(world.node()), Outcome.INPUT_REFUSED, JobReason.SHARE_MISDEALT)


def test_another_policy_under_the_policys_name_is_refused(world: World) -> None:
    asset, other = world.publish(1), world.publish(2)
    world.store.documents[asset.seal.policy_hash] = other.policy.canonical()
    world.match(asset)
    world.quote()
    _expect(world.decided(world.node()), Outcome.INPUT_REFUSED, JobReason.POLICY_INVALID)


def test_a_policy_that_names_a_measurement_twice_is_refused(world: World) -> None:
    def edit(document: Any) -> Any:
        return replace(document, evidence={**document.evidence, "measurements": document.evidence["measurements"] * 2})

    world.match(world.publish(edit_policy=edit))
    world.quote()
    _expect(world.decided(world.node()), Outcome.INPUT_REFUSED, JobReason.POLICY_INVALID)


def test_a_grade_on_chain_below_the_policys_is_refused(world: World) -> None:
    world.match(world.publish(policy_terms=terms(min_grade=Grade.HARDWARE), chain_terms=terms()))
    world.quote()
    _expect(world.decided(world.node()), Outcome.INPUT_REFUSED, JobReason.POLICY_INVALID)


def test_a_job_that_names_no_asset_is_never_accepted(world: World) -> None:
    world.publish()
    world.match()
    world.quote()
    node = world.node()
    node.tick()
    assert node.status(world.job_id).decision is None
    assert "no asset" in node.status(world.job_id).reason


def test_after_a_quorum_missing_documents_are_awaited_for_good(world: World) -> None:
    from sealmarket_oracle.release import core_of

    world.match(world.publish())
    world.quote()
    accepter = world.decided(world.node(1))
    world.chain.mine(1, seconds=200)
    world.accept(core_of(accepter))
    kept = dict(world.store.documents)
    world.store.documents.clear()
    world.chain.mine(3, seconds=95)
    late = world.node(0)
    late.tick()
    assert late.status(world.job_id).decision is None
    world.store.documents.update(kept)
    _expect(world.decided(late), Outcome.ACCEPTED)


@pytest.mark.parametrize("what", ["another committee on chain", "another key of this node", "a stranger's node"])
def test_a_node_decides_nothing_for_a_committee_with(what: str, world: World) -> None:
    from sealmarket.chain.committees import members_hash
    from sealmarket_oracle.keys import NodeKeys, Signer

    world.match(world.publish())
    world.quote()
    if what == "another committee on chain":
        fewer = replace(world.committee, members=world.committee.members[:2])
        world.chain.set_committee(1, members_hash(fewer))
        world.chain.finalise()
    elif what == "another key of this node":
        world.keys[0] = NodeKeys(world.keys[0].signer, PrivateKey.generate())
    else:
        world.keys[0] = NodeKeys(Signer(b"\x07" * 32), world.keys[0].hpke)
    node = world.node(0)
    node.tick()
    status = node.status(world.job_id)
    assert status.decision is None
    assert "committee of epoch 1 is not usable" in status.reason


def test_shares_of_another_threshold_than_the_committees_are_refused(world: World) -> None:
    world.match(world.publish(committee=replace(world.committee, threshold=3)))
    world.quote()
    reasons = (JobReason.SHARE_MISDEALT, JobReason.POLICY_INVALID)
    _expect(world.decided(world.node()), Outcome.INPUT_REFUSED, *reasons)


def test_a_share_set_of_another_asset_is_refused(world: World) -> None:
    other, asset = world.publish(2), world.publish(1, keep_shares=False)
    world.store.documents[asset.seal.share_root] = other.share_set.canonical()
    world.match(asset)
    world.quote()
    _expect(world.decided(world.node()), Outcome.INPUT_REFUSED, JobReason.SHARE_MISDEALT)


def test_assets_of_another_epoch_are_refused(world: World) -> None:
    world.match(world.publish(edit_policy=lambda d: replace(d, dealing=CommitteeRef(epoch=2, threshold=2, members=3))))
    world.quote()
    _expect(world.decided(world.node()), Outcome.INPUT_REFUSED, JobReason.POLICY_INVALID)


def test_a_policy_of_another_version_is_refused(world: World) -> None:
    world.match(world.publish(edit_policy=lambda d: replace(d, asset_version=2)))
    world.quote()
    _expect(world.decided(world.node()), Outcome.INPUT_REFUSED, JobReason.POLICY_INVALID)


def test_a_policy_with_a_rule_that_nobody_knows_is_refused(world: World) -> None:
    def edit(document: Any) -> Any:
        return replace(document, evidence={**document.evidence, "trustMe": True})

    world.match(world.publish(edit_policy=edit))
    world.quote()
    _expect(world.decided(world.node()), Outcome.INPUT_REFUSED, JobReason.POLICY_INVALID)


def test_a_policy_that_names_no_measurement_is_refused(world: World) -> None:
    world.match(world.publish(edit_policy=lambda d: replace(d, evidence={**d.evidence, "measurements": []})))
    world.quote()
    _expect(world.decided(world.node()), Outcome.INPUT_REFUSED, JobReason.POLICY_INVALID)


@pytest.mark.parametrize(
    ("missing", "reason"),
    [("keep_policy", JobReason.POLICY_MISSING), ("keep_shares", JobReason.SHARE_MISSING)],
)
def test_documents_missing_from_the_store_are_awaited_and_then_refused(
    missing: str, reason: JobReason, world: World
) -> None:
    world.match(world.publish(keep_policy=missing != "keep_policy", keep_shares=missing != "keep_shares"))
    world.quote()
    node = world.node()
    node.tick()
    assert reason.value in node.status(world.job_id).reason
    assert node.status(world.job_id).decision is None
    world.chain.mine(3, seconds=200)
    _expect(world.decided(node), Outcome.INPUT_REFUSED, reason)


def test_a_store_that_gives_no_answer_never_leads_to_a_decision(world: World) -> None:
    world.match(world.publish())
    world.quote()
    world.store.fall_silent()
    world.chain.mine(3, seconds=200)
    node = world.node()
    node.tick()
    assert node.status(world.job_id).decision is None
    world.store.fall_silent(False)
    _expect(world.decided(node), Outcome.ACCEPTED)


def test_a_chain_view_that_is_old_never_leads_to_a_decision(world: World) -> None:
    from sealmarket_oracle.errors import StaleChain

    world.match(world.publish())
    world.quote()
    world.time += 100_000
    node = world.node()
    with pytest.raises(StaleChain):
        node.tick()
    assert node.status(world.job_id).decision is None


def test_a_decision_is_not_made_after_its_time(world: World) -> None:
    world.match(world.publish())
    world.quote()
    world.chain.mine(3, seconds=400)
    node = world.node()
    node.tick()
    assert node.status(world.job_id).decision is None
    assert "the time for deciding has passed" in node.status(world.job_id).reason


# --- what passes --------------------------------------------------------------------------------------------------


def test_an_allowed_enclave_over_two_owners_is_accepted(world: World) -> None:
    first, second = world.publish(1), world.publish(2)
    job = world.match(first, second)
    package = world.quote()
    decision = world.decided(world.node())
    _expect(decision, Outcome.ACCEPTED)
    assert decision.job_id == job
    assert decision.evidence_hash == world.hash_of(package)
    assert decision.enclave_signer == world.enclave.address
    assert decision.enclave_key_hash == keccak(world.enclave.hpke.public.raw)
    assert decision.terms_digest == terms_digest(world.spec.assets, [first.seal, second.seal])
    assert (decision.epoch, decision.grade) == (1, Grade.SIMULATED)


def test_honest_nodes_sign_one_core_though_they_look_at_different_blocks(world: World) -> None:
    from sealmarket_oracle.release import core_of

    world.match(world.publish())
    world.quote()
    first = world.decided(world.node(0))
    world.chain.mine(5, seconds=7)
    second = world.decided(world.node(1))
    assert core_of(first) == core_of(second)
    assert first.detail != second.detail


def test_the_decision_expires_with_the_window_or_with_the_terms(world: World) -> None:
    asset = world.publish(policy_terms=terms(expiry=NOW + 30))
    world.match(asset)
    world.quote()
    assert world.decided(world.node()).expiry == NOW + 30
    assert world.chain.at(world.chain.final()).job(world.spec.request_hash).status is Status.QUOTED


@pytest.mark.parametrize("number", [3, 21])
def test_the_gate_itself_refuses_a_block_outside_match_and_quote(number: int, world: World) -> None:
    from types import SimpleNamespace

    from sealmarket.chain.model import Block
    from sealmarket_enclave.protocol.numbers import BlockNumber
    from sealmarket_oracle.gate.evidence_rules import _about_block
    from sealmarket_oracle.gate.inputs import EventBlock

    named = Block(BlockNumber(number), Bytes32(b"\x01" * 32), 100, ZERO_HASH)
    case: Any = SimpleNamespace(
        matched=EventBlock(number=4, hash=ZERO_HASH, timestamp=90),
        quoted=EventBlock(number=20, hash=ZERO_HASH, timestamp=110),
    )
    shown: Any = SimpleNamespace(named=named, package=SimpleNamespace(block_hash=named.hash, block_number=named.number))
    assert [finding.code for finding in _about_block(case, shown)] == [JobReason.BLOCK_NOT_RECENT.code]
