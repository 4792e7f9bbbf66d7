"""The demo's path across real processes, with a workload small enough to repeat."""

from __future__ import annotations

import json

from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.numbers import Grade, JobId
from tests.acceptance.market import COMPUTE_PRICE, OWNERS, PRICES, Rehearsal, changes
from tests.acceptance.money import assert_conserved
from tests.acceptance.proofs import altered, audit, failed, prove

LIES: list[tuple[tuple[str | int, ...], str]] = [
    (("spec", "workloadDigest"), "match"),
    (("seals", 0, "contentRoot"), "policy"),
    (("policies", 1, "workloads", 0), "policy"),
    (("evidenceHash",), "evidence"),
    (("evidence", "quote"), "evidence"),
    (("core", "enclaveSigner"), "decision"),
    (("releases", 0, "sent", 0, "sentHash"), "release"),
    (("receipt",), "receipt"),
    (("result",), "result"),
    (("settlement", "settlement", "resultHash"), "result"),
    (("settlement", "signature"), "result"),
]
"""A value of a proof file -> a step in which it must be noticed."""


def test_a_proof_with_one_digit_changed_is_refuted_wherever_that_is(rehearsal: Rehearsal) -> None:
    job_id = rehearsal.job()
    rehearsal.reach_status(job_id, Status.SETTLED)
    proof = prove(rehearsal, job_id)
    for place, step in LIES:
        status, report = audit(rehearsal, altered(proof, place))
        assert (status, report["conclusion"]) == (1, "refuted"), place
        assert step in failed(report), place
    status, report = audit(rehearsal, altered(proof, ("jobId",)), online=False)  # no chain knows such a job
    assert (status, "match" in failed(report)) == (1, True)
    assert audit(rehearsal, proof)[0] == 0
    status, report = audit(rehearsal, proof, endpoints=3)
    checks = [check["what"] for check in report["steps"][-1]["checks"]]
    assert (status, report["conclusion"]) == (0, "proven")
    assert "slot and events are proven under blocks on which 2 of your endpoints agree" in checks


def test_the_proof_of_one_job_does_not_pass_for_another(rehearsal: Rehearsal) -> None:
    jobs = [rehearsal.job(), rehearsal.job()]
    for job_id in jobs:
        rehearsal.reach_status(job_id, Status.SETTLED)
    mine, other = (json.loads(prove(rehearsal, job_id).read_text()) for job_id in jobs)
    path = rehearsal.folder / "mixed.sealproof.json"
    for part, step in (("receipt", "receipt"), ("result", "result"), ("settlement", "result"), ("core", "decision")):
        path.write_text(json.dumps(mine | {part: other[part]}))
        status, report = audit(rehearsal, path)
        assert (status, step in failed(report)) == (1, True), part


def test_a_job_goes_from_sealing_to_payment_and_every_coin_is_where_it_belongs(rehearsal: Rehearsal) -> None:
    before = rehearsal.still()
    job_id = rehearsal.job()
    record = rehearsal.reach_status(job_id, Status.SETTLED)
    assert record.decision is not None
    assert record.decision.grade == Grade.SIMULATED
    model = json.loads(rehearsal.consumer.open_result(job_id, rehearsal.result_key)["model.json"])
    assert model["rows"] == 5
    assert 1.8 < model["slope"] < 2.1
    rehearsal.consumer.acknowledge(job_id)
    rehearsal.reach_status(job_id, Status.MATURED)
    moved = changes(before, rehearsal.balances())
    fees = -sum(moved.values())
    assert {name: moved[name] for name in OWNERS} == {name: int(PRICES[name]) for name in OWNERS}
    assert moved["provider"] == COMPUTE_PRICE
    assert fees == 2 * (rehearsal.chain.at(rehearsal.chain.head()).signature_fee(record.spec.token) or 0)
    assert assert_conserved(rehearsal.chain).locked == 0
    _convinces_an_auditor(rehearsal, job_id)


def _convinces_an_auditor(rehearsal: Rehearsal, job_id: JobId) -> None:
    """Every step is looked at, and none is left unknown; without a chain nothing is called proven."""
    proof = prove(rehearsal, job_id)
    status, report = audit(rehearsal, proof)
    assert (status, report["job"], report["conclusion"], report["simulated"]) == (0, str(job_id), "proven", True)
    assert [step["state"] for step in report["steps"]] == ["ok"] * 8
    status, report = audit(rehearsal, proof, root=False)
    assert (status, report["conclusion"]) == (3, "confirmed by the chain")
    assert {step["name"] for step in report["steps"] if step["state"] != "ok"} == {"evidence"}
    status, report = audit(rehearsal, proof, online=False)
    assert (status, report["conclusion"]) == (3, "consistent, not proven")
