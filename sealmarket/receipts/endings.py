"""Checks of an accepted job that ended without a result: the enclave's signed failure, the row, and its amounts.

A job whose shares never came, or whose nodes promised not to release, has no statement of its enclave: its end rests
on the chain alone. That no uses were taken by it is in the registry's state, not in a proof of one job.
"""

from __future__ import annotations

from collections.abc import Iterator

from sealmarket.chain.events import JobMatched, SharesReportedMissing
from sealmarket.chain.model import Fault
from sealmarket.client.jobs import JobRecord
from sealmarket.protocol.payouts import ROWS, Amounts
from sealmarket.receipts.bundle import ProofBundle
from sealmarket.receipts.model import Check, State, holds, same, unknown
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import Failure
from sealmarket_enclave.protocol.numbers import FailureCause
from sealmarket_enclave.protocol.signing import SignatureRefused, recover

OUTCOMES = {
    FailureCause.INPUT: "input_failed",
    FailureCause.WORKLOAD: "workload_failed",
    FailureCause.WORKLOAD_TIME: "workload_timed_out",
    FailureCause.VALIDATOR: "validator_timed_out",
    FailureCause.READER: "reader_timed_out",
}
"""How a receipt spells each cause."""
SIGNED_ROWS = {
    FailureCause.INPUT: Fault.INPUT_FAILED,
    FailureCause.WORKLOAD: Fault.WORKLOAD_FAILED,
    FailureCause.WORKLOAD_TIME: Fault.WORKLOAD_TIMED_OUT,
    FailureCause.VALIDATOR: Fault.VALIDATOR_TIMED_OUT,
    FailureCause.READER: Fault.READER_TIMED_OUT,
}
NO_RESULT = "the job ended without a result"


def failure_checks(bundle: ProofBundle) -> Iterator[Check]:
    """The enclave's own word that it could not finish, if there is one."""
    if bundle.failure is None:
        yield unknown("why there is no result", "the enclave's statement is not in the bundle")
        return
    failure = bundle.failure.failure
    try:
        signer: object = recover(failure.digest(bundle.book.chain_id, bundle.book.market), bundle.failure.signature)
    except SignatureRefused as error:
        signer = error.message
    yield same("the accepted enclave signed the failure", bundle.core.enclave_signer, signer)
    yield same("it is about this job", bundle.job_id, failure.job_id)
    if bundle.receipt is not None:
        yield same("it names this receipt", keccak(bundle.receipt), failure.receipt_hash)


def ended_checks(bundle: ProofBundle, record: JobRecord) -> Iterator[Check]:
    """The end on chain: a row that an accepted job can end by, for the signed cause, with the amounts of that row."""
    if record.ended is None:
        yield Check("the job has ended", State.FAILED, "a settlement, or an end", record.status.name.lower())
        return
    row, fault = ROWS.get(record.fault.name), record.fault
    if row is None:
        yield Check("it is a row of an accepted job", State.FAILED, ", ".join(ROWS).lower(), fault.name.lower())
        return
    failure = bundle.failure.failure if bundle.failure else None
    if failure is not None:
        yield same("it is the row of the signed cause", SIGNED_ROWS[failure.cause].name, fault.name)
        yield from _recorded(failure, record)
    else:
        yield holds(
            "it is a row without a signature of the enclave",
            fault not in SIGNED_ROWS.values(),
            "no failure on chain",
            fault.name.lower(),
        )
    yield from _interrupted(record)
    due = row(bundle.spec, failure.units if failure else 0, _fees_used(record))
    paid = record.ended.payout
    found = Amounts(*map(int, (paid.refunded, paid.paid, paid.stake_returned, paid.burned, paid.owners_total)))
    for what, expected, moved in zip(Amounts._fields, due, found, strict=True):
        yield same(f"{what}: what the row says", expected, moved)


def _recorded(failure: Failure, record: JobRecord) -> Iterator[Check]:
    event = record.failed
    expected = (int(failure.cause), failure.asset_index, failure.units, failure.receipt_hash)
    found = (event.cause, event.asset_index, event.units, event.receipt_hash) if event else None
    yield same("the market recorded this failure", expected, found)


def _interrupted(record: JobRecord) -> Iterator[Check]:
    """A row for missing shares or a stop rests on events before it."""
    if record.fault is Fault.SHARES_MISSING:
        reported = any(isinstance(event, SharesReportedMissing) for event in record.history)
        yield holds("its enclave had reported missing shares", reported, "a report before the end", reported)
    if record.fault is Fault.STOPPED_BEFORE_RELEASE:
        stopped = record.stopped is not None
        yield holds("enough nodes had promised not to release", stopped, "a stop before the end", stopped)


def _fees_used(record: JobRecord) -> int:
    """What the acceptance cost: what was held for it and for holding, less what returned."""
    matched: JobMatched = record.matched
    returned = record.decided.fees_returned if record.decided else 0
    return int(matched.fees_held) + int(record.spec.hold_fee) - int(returned)
