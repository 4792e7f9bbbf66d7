"""A job that ended without a result is held against the enclave's word, the row of the fault table and its amounts."""

from __future__ import annotations

from dataclasses import replace as change
from typing import Any

import pytest
from msgspec.structs import replace

from sealmarket.chain.events import JobDecided, JobEnded, JobFailed, JobStopped, SharesReportedMissing
from sealmarket.chain.model import Fault, Payout
from sealmarket.client.jobs import JobRecord
from sealmarket.protocol.capability import Capability
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.payouts import ROWS
from sealmarket.protocol.transitions import TRANSITIONS, Status
from sealmarket.receipts.bundle import ProofBundle, SignedFailure
from sealmarket.receipts.endings import OUTCOMES, SIGNED_ROWS
from sealmarket.receipts.model import Conclusion, Report, State, Trusted
from sealmarket.receipts.verify import verify_receipt
from sealmarket_enclave.protocol.codec import HexBytes, Uint, Uint64, Wei, to_builtins
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import Failure
from sealmarket_enclave.protocol.numbers import FailureCause, Tee
from sealmarket_enclave.protocol.signing import sign
from tests.client.bundles import MEASUREMENT, Case
from tests.client.test_verify import STRANGER, failed

CASE = Case()
FEES_HELD, FEES_USED = 9, 6
UNITS = 2


def failed_bundle(cause: FailureCause, **changes: Any) -> ProofBundle:
    """A job whose enclave signed a failure."""
    receipt = CASE.receipt(CASE.result(), outcome=OUTCOMES[cause])
    word = Failure(job_id=CASE.job_id, cause=cause, asset_index=0, units=UNITS, receipt_hash=keccak(receipt))
    word = replace(word, **changes)
    signed = SignedFailure(failure=word, signature=sign(CASE.digest(word), CASE.enclave))
    return CASE.bundle(receipt=receipt, result=None, settlement=None, failure=signed)


def silent_bundle() -> ProofBundle:
    """A job whose enclave signed nothing that is kept."""
    return CASE.bundle(receipt=None, result=None, settlement=None)


def payout(fault: Fault, units: int = 0) -> Payout:
    due = ROWS[fault.name](CASE.spec, units, FEES_USED)
    owners = frozenset({0}) if due.owners else frozenset()
    payer, provider, stake, burned, sum_of_owners = map(Wei, due)
    return Payout(payer, provider, stake, burned, sum_of_owners, owners)


def ended(bundle: ProofBundle, fault: Fault, *, units: int = 0, moved: Payout | None = None) -> JobRecord:
    """What an honest chain says of such a job."""
    record = CASE.facts(CASE.bundle()).record
    status = next(row.after for row in TRANSITIONS if row.fault.upper() == fault.name.replace("_", ""))
    at = record.matched.at
    told = None
    if bundle.failure:
        word = bundle.failure.failure
        told = JobFailed(at, CASE.job_id, int(word.cause), word.asset_index, word.units, word.receipt_hash)
    return change(
        record,
        slot=change(record.slot, status=status),
        matched=change(record.matched, fees_held=Wei(FEES_HELD)),
        decided=JobDecided(
            record.decided.at if record.decided else at,
            CASE.job_id,
            CASE.core(),
            (0, 1),
            Outcome.ACCEPTED,
            fees_returned=Wei(FEES_HELD - FEES_USED + CASE.spec.hold_fee),
        ),
        settled=None,
        failed=told,
        ended=JobEnded(at, CASE.job_id, status, fault, payout=moved or payout(fault, units)),
    )


def report(bundle: ProofBundle, record: JobRecord) -> Report:
    facts = change(CASE.facts(CASE.bundle()), record=record)
    return verify_receipt(bundle, Trusted(book=CASE.book, facts=facts))


@pytest.mark.parametrize("cause", list(FailureCause))
def test_a_failure_that_the_enclave_signed_is_confirmed_with_the_amounts_of_its_row(cause: FailureCause) -> None:
    bundle = failed_bundle(cause)
    found = report(bundle, ended(bundle, SIGNED_ROWS[cause], units=UNITS))
    assert (found.failures, found.conclusion) == ((), Conclusion.CONFIRMED)


def test_a_failure_by_another_row_than_its_cause_is_refuted() -> None:
    bundle = failed_bundle(FailureCause.WORKLOAD_TIME)
    assert failed(report(bundle, ended(bundle, Fault.WORKLOAD_FAILED, units=UNITS))) == {"settlement"}


def test_a_failure_signed_by_another_key_is_refuted() -> None:
    bundle = failed_bundle(FailureCause.WORKLOAD)
    assert bundle.failure is not None
    forged = replace(
        bundle, failure=replace(bundle.failure, signature=sign(CASE.digest(bundle.failure.failure), STRANGER))
    )
    assert failed(report(forged, ended(forged, Fault.WORKLOAD_FAILED, units=UNITS))) == {"result"}


def test_a_receipt_that_calls_a_failure_completed_is_refuted() -> None:
    bundle = failed_bundle(FailureCause.INPUT)
    receipt = CASE.receipt(CASE.result())
    assert "receipt" in failed(report(replace(bundle, receipt=receipt), ended(bundle, Fault.INPUT_FAILED)))


@pytest.mark.parametrize("part", Payout.__slots__[:5])
def test_an_amount_that_is_not_the_rows_is_refuted(part: str) -> None:
    bundle = failed_bundle(FailureCause.WORKLOAD_TIME)
    right = payout(Fault.WORKLOAD_TIMED_OUT)
    more: dict[str, Any] = {part: Wei(getattr(right, part) + 1)}
    wrong = change(right, **more)
    assert failed(report(bundle, ended(bundle, Fault.WORKLOAD_TIMED_OUT, moved=wrong))) == {"settlement"}


def test_missing_shares_end_a_job_at_nobodys_cost_once_they_were_reported() -> None:
    bundle, record = silent_bundle(), ended(silent_bundle(), Fault.SHARES_MISSING)
    assert failed(report(bundle, record)) == {"settlement"}
    told = SharesReportedMissing(record.matched.at, CASE.job_id, (), 1, 2, Wei(3))
    assert report(bundle, change(record, history=(told,))).conclusion is Conclusion.CONFIRMED


def test_a_stop_ends_a_job_at_nobodys_cost_once_it_is_on_chain() -> None:
    bundle, record = silent_bundle(), ended(silent_bundle(), Fault.STOPPED_BEFORE_RELEASE)
    assert failed(report(bundle, record)) == {"settlement"}
    stopped = JobStopped(record.matched.at, CASE.job_id, CASE.core().evidence_hash, Uint(1), (0, 1))
    assert report(bundle, change(record, stopped=stopped)).conclusion is Conclusion.CONFIRMED


def test_a_provider_who_was_silent_pays_the_owners_and_the_fees_of_the_acceptance() -> None:
    bundle = silent_bundle()
    paid = payout(Fault.PROVIDER_SILENT)
    assert paid.burned == CASE.spec.penalty - FEES_USED
    assert report(bundle, ended(bundle, Fault.PROVIDER_SILENT)).conclusion is Conclusion.CONFIRMED


def test_a_job_that_runs_is_not_taken_for_one_that_ended() -> None:
    record = change(ended(silent_bundle(), Fault.PROVIDER_SILENT), ended=None)
    running = change(record, slot=change(record.slot, status=Status.ACCEPTED))
    assert "settlement" in failed(report(silent_bundle(), running))


def test_every_end_of_an_accepted_job_that_did_not_settle_has_its_row() -> None:
    rows = {row.fault.upper() for row in TRANSITIONS if row.before is Status.ACCEPTED and row.fault}
    rows -= {row.fault.upper() for row in TRANSITIONS if row.step == "settle"}
    assert {name.replace("_", "") for name in ROWS} == rows - {"NONE"}


def test_a_capability_document_is_the_one_that_the_job_names() -> None:
    document = Capability(
        tee=Tee.TDX,
        measurements=(to_builtins(MEASUREMENT),),
        platform_classes=(),
        memory_bytes=Uint64(1),
        threads=1,
        environments=(),
        ciphertext_bytes=Uint64(1),
    )
    spec = replace(CASE.spec, capability_hash=document.digest())

    def checked(raw: bytes | None) -> set[State]:
        bundle = CASE.bundle(spec=spec, capability=None if raw is None else HexBytes(raw))
        checks = verify_receipt(bundle, Trusted(book=CASE.book)).steps[2].checks
        return {check.state for check in checks if "promise" in check.what}

    assert checked(document.canonical()) == {State.OK}
    assert checked(None) == {State.UNKNOWN}
    assert State.FAILED in checked(b"{}")


def test_a_job_without_time_for_its_stages_is_refuted() -> None:
    short = replace(CASE.spec, settle_window=60)
    facts = CASE.facts(CASE.bundle())
    claimed = change(facts, record=change(facts.record, spec=short))
    found = verify_receipt(CASE.bundle(spec=short), Trusted(book=CASE.book, facts=claimed))
    assert any("time for every stage" in check.what for check in found.failures)
