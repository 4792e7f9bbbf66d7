"""Challenges: whether a challenged result is available, answered once and served to the consumer.

Rules (docs/spec/oracle.md, "Challenges"):

1. The challenge is at a final block, and the proven slot is ``Challenged`` under exactly this result and challenger.
2. A node that holds the whole ciphertext answers "available", and serves it.
3. A node answers "not available" only where the store says that it has not got the result, or has other bytes under its
   name, and only after half of the time for an answer, by the time of final blocks.
4. Where nothing can be said (the store gives no answer, the container is too large, the disk is full) it stays silent.
5. An answer is journaled before it is signed, with an entry of the audit log, and never changes.
6. A challenge of a job of another epoch is left to the nodes of that epoch: nothing is looked for or answered.
"""

from __future__ import annotations

import logging

from sealmarket.chain.bargain import commitment
from sealmarket.chain.errors import ChainUnavailable, NodeDistrusted
from sealmarket.chain.interface import ProvableView
from sealmarket.protocol.decisions import ChallengeAnswer
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import ChallengeStatus
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.hashing import keccak, words
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle.chain_record import ChallengeRecord
from sealmarket_oracle.errors import JournalTaken, JournalUnwritable
from sealmarket_oracle.journal import Journal
from sealmarket_oracle.results import Absent, Found, Kept, KeptResults

_log = logging.getLogger("sealmarket.oracle")


def judge_challenge(found: Found, record: ChallengeRecord, now: int) -> bool | str:
    """Rules 2 to 4: the answer, or why there is none yet. ``now`` is the time of a final block."""
    if isinstance(found, Kept):
        return True
    patient_until = record.since + (record.deadline - record.since) // 2
    if isinstance(found, Absent):
        return False if now >= patient_until else f"{found.why}; waiting until {patient_until}"
    return found.why


def require_challenged(record: ChallengeRecord, view: ProvableView) -> None:
    """Rule 1. Raises :class:`NodeDistrusted` where the slot contradicts the events."""
    slot, result = view.job(record.spec.request_hash), record.result
    stage = keccak(words(result.result_hash, result.receipt_hash, result.units, record.challenger))
    expected = commitment(record.spec, record.job_id, stage)
    if slot.status is not Status.CHALLENGED or slot.commitment != expected:
        found = f"{slot.status.name.lower()} 0x{slot.commitment.hex()}"
        raise NodeDistrusted("job's slot", f"challenged 0x{expected.hex()}", found)


class ChallengeAnswers:
    """One node's answers. :meth:`tick` is called by the thread that decides; :meth:`status` by any."""

    def __init__(self, journal: Journal, results: KeptResults) -> None:
        self._journal, self._results = journal, results
        self._reasons: dict[JobId, str] = {}

    def tick(self, view: ProvableView) -> None:
        """Answer what can be answered at a final block. An error in one challenge leaves the others alone."""
        epoch = self._journal.identity.epoch
        records = [
            record
            for record in self._journal.open_challenges()
            if record.spec.epoch == epoch and view.block.timestamp <= record.deadline
        ]
        if records:
            view.prepare([record.spec for record in records])
        for record in records:
            try:
                self._attend(record, view)
            except (ChainUnavailable, OSError, JournalUnwritable, JournalTaken):
                raise  # not about this challenge
            except SealmarketError as error:
                self._wait(record.job_id, error.message)
            except Exception as error:  # noqa: BLE001 - an error in one challenge must not keep the others unanswered
                self._wait(record.job_id, f"unexpected {type(error).__name__}, nothing was answered")
        still_open = {record.job_id for record in records}
        for ended in self._reasons.keys() - still_open:
            del self._reasons[ended]
        self._results.forget(still_open)

    def status(self, job_id: JobId) -> tuple[ChallengeStatus, ChallengeAnswer | None, int]:
        """What this node says of a challenge, the answer to sign if there is one, and the job's epoch."""
        record = self._journal.challenge(job_id)
        if record is None:
            return ChallengeStatus(job_id=job_id, state="none", reason="no final block challenges this job"), None, 0
        if record.spec.epoch != (epoch := self._journal.identity.epoch):
            reason = f"the nodes of epoch {record.spec.epoch} answer, and this node's keys are for epoch {epoch}"
            return ChallengeStatus(job_id=job_id, state="none", reason=reason), None, 0
        if record.available is None:
            over = "the challenge is over" if record.closed else "the challenge was not looked at yet"
            reason = self._reasons.get(job_id, over)
            return ChallengeStatus(job_id=job_id, state="waiting", reason=reason[:4096]), None, record.spec.epoch
        answer = _answer(record, record.available)
        return ChallengeStatus(job_id=job_id, state="answered", reason=""), answer, record.spec.epoch

    def _attend(self, record: ChallengeRecord, view: ProvableView) -> None:
        require_challenged(record, view)
        found = self._results.look(record.job_id, record.result.result_hash)
        judged = judge_challenge(found, record, view.block.timestamp)
        if isinstance(judged, str):
            self._wait(record.job_id, judged)
            return
        self._journal.answer_challenge(_answer(record, judged), view.block)
        _log.info("job %s: the challenged result is %savailable", record.job_id, "" if judged else "not ")

    def _wait(self, job_id: JobId, reason: str) -> None:
        if self._reasons.get(job_id) != reason:
            _log.info("challenge of job %s: %s", job_id, reason)
        self._reasons[job_id] = reason


def _answer(record: ChallengeRecord, available: bool) -> ChallengeAnswer:
    return ChallengeAnswer(job_id=record.job_id, result_hash=record.result.result_hash, available=available)
