"""Why a job ended as it did, from the events on chain."""

from __future__ import annotations

from sealmarket.attestation.core.reasons import Reason
from sealmarket.chain import ChainReader
from sealmarket.chain.events import JobDecided, JobEnded, JobStopped
from sealmarket.protocol.reasons import job_reason, reason_codes
from sealmarket.protocol.transitions import Status
from sealmarket_worker.journal import JobEntry

_EVIDENCE = {reason.code: reason.value for reason in Reason}


def why_over(chain: ChainReader, entry: JobEntry, status: Status) -> str:
    """The status, the reasons that the committee signed, and the row of the fault table."""
    words = [status.name.lower()]
    for event in chain.events(entry.matched_block, chain.final().number):
        if isinstance(event, JobDecided) and event.job_id == entry.job_id:
            words += [event.outcome.name.lower(), *_words(event.core.reasons)]
        if isinstance(event, JobStopped) and event.job_id == entry.job_id:
            words += _words(event.reasons)
        if isinstance(event, JobEnded) and event.job_id == entry.job_id:
            words.append(event.fault.name.lower())
    return ", ".join(dict.fromkeys(words))


def _words(bits: int) -> list[str]:
    found = []
    for code in reason_codes(bits):
        reason = job_reason(code)
        found.append(str(reason.value) if reason is not None else str(_EVIDENCE.get(code, code)))
    return found
