"""A receipt is walked step by step; each lie fails at its own step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as change
from typing import Any
from unittest.mock import Mock

import coincurve
import pytest
from msgspec.structs import replace

from sealmarket.attestation import registry
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.chain.events import JobChallenged
from sealmarket.client.errors import ProofInvalid
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import EvidencePackage, SignedDecision
from sealmarket.receipts import evidence, steps
from sealmarket.receipts.bundle import MAX_VALUES, ProofBundle, SignedSettlement, read_proof, write_proof
from sealmarket.receipts.model import Check, Conclusion, Report, State, Trusted
from sealmarket.receipts.steps import settled_commitment
from sealmarket.receipts.verify import verify_receipt
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, Wei
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId, Tee
from sealmarket_enclave.protocol.signing import recover, sign
from tests.client.bundles import DETAIL, Case

CASE = Case()
STRANGER = coincurve.PrivateKey()


def failed(report: Report) -> set[str]:
    return {step.name for step in report.steps if step.state is State.FAILED}


def _other_receipt(**changes: Any) -> Callable[[ProofBundle], ProofBundle]:
    return lambda bundle: replace(bundle, receipt=CASE.receipt(CASE.result(), **changes))


def _with_core(**changes: Any) -> Callable[[ProofBundle], ProofBundle]:
    def lie(bundle: ProofBundle) -> ProofBundle:
        core = CASE.core(**changes)
        return replace(bundle, core=core, decisions=CASE.decisions(core))

    return lie


def _resigned(**changes: Any) -> Callable[[ProofBundle], ProofBundle]:
    def lie(bundle: ProofBundle) -> ProofBundle:
        assert bundle.settlement is not None
        settlement = replace(bundle.settlement.settlement, **changes)
        return replace(
            bundle,
            settlement=SignedSettlement(settlement=settlement, signature=sign(CASE.digest(settlement), CASE.enclave)),
        )

    return lie


def _forged_settlement(bundle: ProofBundle) -> ProofBundle:
    assert bundle.settlement is not None
    statement = bundle.settlement.settlement
    return replace(
        bundle, settlement=SignedSettlement(settlement=statement, signature=sign(CASE.digest(statement), STRANGER))
    )


def _strangers_release(bundle: ProofBundle) -> ProofBundle:
    first = replace(bundle.releases[0], signature=bundle.releases[1].signature)
    return replace(bundle, releases=(first, *bundle.releases[1:]))


def _looser_policy(bundle: ProofBundle) -> ProofBundle:
    policy = replace(CASE.policy, workloads=(keccak(b"another"), *CASE.policy.workloads))
    return replace(bundle, policies=(policy,))


def _one_signature_twice(bundle: ProofBundle) -> ProofBundle:
    return replace(bundle, decisions=(bundle.decisions[0], bundle.decisions[0]))


def _other_detail(bundle: ProofBundle) -> ProofBundle:
    first = bundle.decisions[0]
    claimed = replace(first, detail=replace(first.detail, tcb_status="Revoked"))
    return replace(bundle, decisions=(claimed, *bundle.decisions[1:]))


LIES: list[tuple[str, Callable[[ProofBundle], ProofBundle], str]] = [
    ("a policy that was loosened afterwards", _looser_policy, "policy"),
    (
        "another asset's seal",
        lambda b: replace(b, seals=(replace(b.seals[0], epoch=1, share_root=keccak(b"x")),)),
        "policy",
    ),
    ("a policy left out", lambda b: replace(b, policies=()), "policy"),
    ("another consumer", lambda b: replace(b, spec=replace(b.spec, consumer=Address(b"\x0f" * 20))), "match"),
    ("a lower price", lambda b: replace(b, spec=replace(b.spec, compute_price=Wei(1))), "match"),
    ("a refusal shown as a receipt", _with_core(outcome=Outcome.REQUEST_REFUSED), "decision"),
    ("another enclave in the decision", _with_core(enclave_signer=Address(b"\x0e" * 20)), "receipt"),
    ("terms that the nodes did not bind", _with_core(terms_digest=keccak(b"x")), "decision"),
    ("a grade below what the owners demand", _with_core(grade=0), "policy"),
    ("one signature counted twice", _one_signature_twice, "decision"),
    ("one node's signature alone", lambda b: replace(b, decisions=b.decisions[:1]), "decision"),
    ("other findings than were signed", _other_detail, "decision"),
    ("a release that its node did not sign", _strangers_release, "release"),
    ("a release of a node that had refused", lambda b: replace(b, decisions=b.decisions[1:]), "release"),
    ("a receipt by another key", lambda b: replace(b, receipt=CASE.receipt(CASE.result(), STRANGER)), "receipt"),
    ("a receipt for another workload", _other_receipt(workload_digest=keccak(b"x")), "receipt"),
    ("a receipt for other parameters", _other_receipt(parameters_digest=keccak(b"x")), "receipt"),
    ("a receipt of another chain", _other_receipt(chain_id=1), "receipt"),
    ("a receipt without inputs", _other_receipt(inputs=()), "receipt"),
    ("a receipt that hides that it is simulated", _other_receipt(platform="tdx"), "receipt"),
    ("a receipt that is no document", lambda b: replace(b, receipt=HexBytes(b"{}")), "receipt"),
    ("another result", lambda b: replace(b, result=HexBytes(CASE.result().canonical())), "result"),
    ("a result that is no document", lambda b: replace(b, result=HexBytes(b"{}")), "result"),
    ("a settlement signed by another key", _forged_settlement, "result"),
    ("a settlement for another result", _resigned(result_hash=keccak(b"x")), "result"),
    ("another usage", _resigned(units=3), "result"),
]


@pytest.mark.parametrize(("lie", "step"), [entry[1:] for entry in LIES], ids=[entry[0] for entry in LIES])
def test_a_bundle_with_a_lie_in_it_is_refuted(lie: Callable[[ProofBundle], ProofBundle], step: str) -> None:
    report = verify_receipt(lie(CASE.bundle()), Trusted(book=CASE.book))
    assert step in failed(report)
    assert report.conclusion is Conclusion.REFUTED


def test_a_market_that_the_reader_does_not_know_is_refuted() -> None:
    mine = replace(CASE.book, market=Address(b"\x99" * 20))
    report = verify_receipt(CASE.bundle(), Trusted(book=mine))
    assert failed(report) == {"match"}


def test_a_committee_that_the_reader_does_not_know_is_refuted() -> None:
    other = Case()
    mine = replace(CASE.book, committees=other.book.committees)
    assert "decision" in failed(verify_receipt(CASE.bundle(), Trusted(book=mine)))


CONTRADICTIONS: list[tuple[str, Callable[[Any], Any], str]] = [
    ("another job", lambda r: change(r, spec=replace(r.spec, epoch=2)), "match"),
    ("other evidence", lambda r: change(r, quoted=change(r.quoted, evidence_hash=keccak(b"x"))), "evidence"),
    ("evidence posted after the decision", lambda r: change(r, quoted=change(r.quoted, at=r.settled.at)), "evidence"),
    ("another decision", lambda r: change(r, decided=change(r.decided, core=CASE.core(expiry=1))), "decision"),
    ("no settlement", lambda r: change(r, settled=None), "settlement"),
    ("another receipt", lambda r: change(r, settled=change(r.settled, receipt_hash=keccak(b"x"))), "settlement"),
    ("another slot", lambda r: change(r, slot=change(r.slot, commitment=bytes(26))), "settlement"),
    ("a job that was lost", lambda r: change(r, slot=change(r.slot, status=Status.EXPIRED)), "settlement"),
    ("a provider who is paid more", lambda r: change(r, settled=change(r.settled, payable=Wei(12))), "settlement"),
]


@pytest.mark.parametrize(
    ("lie", "step"), [entry[1:] for entry in CONTRADICTIONS], ids=[entry[0] for entry in CONTRADICTIONS]
)
def test_what_the_chain_contradicts_is_refuted(lie: Callable[[Any], Any], step: str) -> None:
    bundle = CASE.bundle()
    facts = CASE.facts(bundle)
    claimed = change(facts, record=lie(facts.record))
    report = verify_receipt(bundle, Trusted(book=CASE.book, facts=claimed))
    assert step in failed(report)


def test_another_committee_on_chain_is_refuted() -> None:
    bundle = CASE.bundle()
    facts = CASE.facts(bundle, committee_hash=keccak(b"others"))
    assert failed(verify_receipt(bundle, Trusted(book=CASE.book, facts=facts))) == {"decision"}


def _package(tee: Tee) -> EvidencePackage:
    return EvidencePackage(
        job_id=CASE.job_id,
        tee=tee,
        quote=HexBytes(b"evidence"),
        collateral="-----BEGIN CERTIFICATE-----",
        enclave_signer=CASE.core().enclave_signer,
        enclave_key=HexBytes(b"enclave key"),
        block_number=3,
        block_hash=keccak(b"block"),
    )


def _evidence_checks(bundle: ProofBundle) -> dict[str, Check]:
    report = verify_receipt(bundle, Trusted(roots=TrustAnchors.production()))
    return {check.what: check for step in report.steps if step.name == "evidence" for check in step.checks}


@pytest.mark.parametrize("tee", [Tee.CCA, Tee.NVIDIA, Tee.NITRO])
def test_evidence_of_a_tee_without_a_verifier_is_refused_and_its_collateral_is_not_read_as_another_tees(
    tee: Tee, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {known: module for known, module in registry.MODULES.items() if known is not tee}
    monkeypatch.setattr(registry, "MODULES", rows)
    checks = _evidence_checks(CASE.bundle(evidence=_package(tee)))
    (judged,) = (check for what, check in checks.items() if what.startswith("authentic"))
    assert judged.state is State.FAILED
    assert f"found {tee.slug}" in judged.found


def test_evidence_of_another_tee_than_the_job_promises_is_refuted() -> None:
    named = _evidence_checks(CASE.bundle(evidence=_package(Tee.CCA)))["it is of the promised kind of TEE"]
    assert (named.state, named.expected, named.found) == (State.FAILED, "TDX", "CCA")


def _with_contents(*contents: Bytes32 | None) -> ProofBundle:
    """A bundle whose nodes say that they opened these packages."""
    core, signed = CASE.core(), []
    for place, content in enumerate(contents):
        detail = DETAIL if content is None else replace(DETAIL, evidence_content=content)
        mine = replace(core, detail=keccak(detail.canonical()))
        signature = sign(CASE.digest(mine), CASE.nodes[place])
        signed.append(SignedDecision(decision=mine, index=place, signature=signature, detail=detail))
    return replace(CASE.bundle(evidence=_package(Tee.TDX)), decisions=tuple(signed))


CONTENT = keccak(b"the sealed bytes that this reader opened")


@pytest.mark.parametrize("shown", [keccak(b"another package"), None])
def test_a_package_that_no_quorum_opened_is_not_what_the_nodes_judged_by(shown: Bytes32 | None) -> None:
    """The hash on chain covers the quote alone: a provider can show auditors other collateral than the nodes."""
    report = verify_receipt(_with_contents(CONTENT, shown), Trusted(evidence_content=CONTENT))
    (check,) = (one for one in report.checks_that_are(State.UNKNOWN) if one.what == "a quorum opened this package")
    assert (check.expected, check.found) == (f"2 nodes that opened {CONTENT}", "1 of 2 that signed")


@pytest.mark.parametrize(
    "other", [{"job_id": JobId(keccak(b"another job"))}, {"collateral": "spoilt"}, {"tee": Tee.CCA}]
)
def test_a_package_that_is_put_after_the_decision_refutes_no_honest_job(other: dict[str, Any]) -> None:
    """The provider signs it with the same quote: the reader learns nothing of what the nodes judged by."""
    bundle = _with_contents(keccak(b"what the nodes opened"), keccak(b"what the nodes opened"))
    assert bundle.evidence is not None
    put_later = replace(bundle, evidence=replace(bundle.evidence, **other))
    report = verify_receipt(put_later, Trusted(evidence_content=CONTENT))
    (step,) = (step for step in report.steps if any(one.what == "a quorum opened this package" for one in step.checks))
    assert not [one for one in step.checks if one.state is State.FAILED]
    assert step.state is State.UNKNOWN


def test_one_node_that_claims_another_package_refutes_no_job() -> None:
    report = verify_receipt(_with_contents(CONTENT, CONTENT, keccak(b"a lie")), Trusted(evidence_content=CONTENT))
    assert "a quorum opened this package" not in {check.what for check in report.failures}


def test_a_detail_that_its_node_did_not_sign_counts_for_no_package() -> None:
    true = _with_contents(CONTENT, None)
    lie = replace(true.decisions[1], detail=replace(DETAIL, evidence_content=CONTENT))
    report = verify_receipt(replace(true, decisions=(true.decisions[0], lie)), Trusted(evidence_content=CONTENT))
    assert "node 1: its detail is the one that it signed" in {check.what for check in report.failures}


def test_a_package_that_a_party_passed_on_is_compared_with_no_sealed_bytes() -> None:
    report = verify_receipt(_with_contents(CONTENT, None), Trusted())
    assert not any("opened this package" in check.what for step in report.steps for check in step.checks)


def test_offline_a_true_bundle_is_consistent_and_not_proven() -> None:
    report = verify_receipt(CASE.bundle(), Trusted())
    assert report.failures == ()
    assert report.conclusion is Conclusion.CONSISTENT
    assert "not proven" in report.conclusion.value


def test_a_chain_in_a_market_that_nobody_named_confirms_nothing() -> None:
    bundle = CASE.bundle()
    report = verify_receipt(bundle, Trusted(facts=CASE.facts(bundle)))
    assert report.conclusion is Conclusion.CONSISTENT


def test_a_block_that_is_not_final_confirms_nothing() -> None:
    bundle = CASE.bundle()
    report = verify_receipt(bundle, Trusted(book=CASE.book, facts=CASE.facts(bundle, final=False)))
    assert report.conclusion is not Conclusion.CONFIRMED


def test_the_chain_confirms_a_true_bundle_and_without_its_evidence_a_storage_proof_proves_no_more() -> None:
    bundle = CASE.bundle()
    for slot_proven in (False, True):
        facts = CASE.facts(bundle, slot_proven=slot_proven)
        report = verify_receipt(bundle, Trusted(book=CASE.book, facts=facts))
        assert (report.failures, report.conclusion) == ((), Conclusion.CONFIRMED)
        assert [check.what for check in report.checks_that_are(State.UNDISCLOSED)] == ["the evidence itself"]


LEFT_OUT: dict[str, tuple[dict[str, Any], str]] = {
    "decisions": ({"decisions": ()}, "a quorum signed it"),
    "releases": ({"releases": ()}, "enough nodes released"),
    "result": ({"result": None}, "the sealed result itself"),
    "settlement": ({"settlement": None}, "the enclave's settlement"),
}


@pytest.mark.parametrize(("without", "named"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_a_bundle_from_which_a_part_was_stripped_is_incomplete_and_names_it(
    without: dict[str, Any], named: str
) -> None:
    """Case p8: such a bundle was called proven."""
    bundle = CASE.bundle()
    facts = CASE.facts(bundle, slot_proven=True)
    report = verify_receipt(replace(bundle, **without), Trusted(book=CASE.book, facts=facts))
    assert (report.failures, report.conclusion) == ((), Conclusion.INCOMPLETE)
    assert named in {check.what for check in report.checks_that_are(State.UNKNOWN)}


def test_a_challenge_is_in_the_slot_from_then_on() -> None:
    bundle = CASE.bundle()
    facts = CASE.facts(bundle)
    challenger = Address(b"\x0c" * 20)
    event = JobChallenged(facts.record.matched.at, CASE.job_id, challenger, Wei(1), 0)
    claimed = change(facts, record=change(facts.record, history=(event,)))
    assert failed(verify_receipt(bundle, Trusted(book=CASE.book, facts=claimed))) == {"settlement"}
    slot = change(facts.record.slot, commitment=settled_commitment(bundle, claimed.record))
    claimed = change(claimed, record=change(claimed.record, slot=slot))
    assert verify_receipt(bundle, Trusted(book=CASE.book, facts=claimed)).failures == ()


def test_everything_simulated_says_so() -> None:
    assert verify_receipt(CASE.bundle(), Trusted()).simulated


def test_a_bundle_survives_its_file(tmp_path: Any) -> None:
    path = tmp_path / "job.sealproof.json"
    write_proof(path, CASE.bundle())
    assert read_proof(path).job_id == CASE.job_id


def test_a_file_that_is_no_bundle_is_refused(tmp_path: Any) -> None:
    path = tmp_path / "job.sealproof.json"
    path.write_text('{"version": "sealmarket/proof/1"}')
    with pytest.raises(ProofInvalid):
        read_proof(path)


@pytest.mark.parametrize(("part", "most"), [("policies", 16), ("seals", 16), ("decisions", 255), ("releases", 255)])
def test_a_bundle_of_more_parts_than_a_job_has_is_refused(part: str, most: int, tmp_path: Any) -> None:
    path, bundle = tmp_path / "job.sealproof.json", CASE.bundle()
    parts = (getattr(bundle, part) * (most + 1))[: most + 1]
    path.write_bytes(CASE.bundle(**{part: parts}).canonical())
    with pytest.raises(ProofInvalid, match=f"at most {most} {part}, found {most + 1}"):
        read_proof(path)


def test_a_bundle_of_very_many_values_is_refused_before_it_is_read(tmp_path: Any) -> None:
    path = tmp_path / "job.sealproof.json"
    path.write_bytes(b"[" + b"1," * MAX_VALUES + b"1]")
    with pytest.raises(ProofInvalid, match=f"at most {MAX_VALUES} values"):
        read_proof(path)


def test_each_signature_in_a_bundle_is_looked_at_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = CASE.bundle()
    again = CASE.bundle(decisions=bundle.decisions[:1] * 200, releases=bundle.releases[:1] * 200)
    counted = Mock(side_effect=recover)
    monkeypatch.setattr(evidence, "recover", counted)
    monkeypatch.setattr(steps, "recover", counted)
    verify_receipt(again, Trusted())
    assert counted.call_count <= 200 * 3 + 10
