"""A job as lines for people and as JSON for programs: where it stands, what an ending means, where the money went."""

from __future__ import annotations

from typing import Any

from sealmarket.client.explain import ending_of, meaning
from sealmarket.client.jobs import JobRecord, reasons_in_words
from sealmarket.client.statement import Statement
from sealmarket.protocol.amounts import written
from sealmarket.protocol.moments import beside, moment


def status_payload(record: JobRecord) -> dict[str, Any]:
    """Where a job stands."""
    return {
        "jobId": str(record.job_id),
        "status": record.status.name.lower(),
        "meaning": meaning(record),
        "deadline": record.slot.deadline,
        "block": record.at.number,
        "provider": record.spec.provider.checksum,
        "reasons": [{"reason": r.word, "remedy": r.remedy} for r in reasons_in_words(record.reasons)],
        "fault": record.fault.name.lower(),
        "history": [{"event": type(e).__name__, "block": e.at.block_number} for e in record.history],
    }


def status_lines(record: JobRecord) -> list[str]:
    """Where a job stands, its events, and the reasons of the oracle nodes."""
    lines = [f"job {record.job_id} is {record.status.name.lower()}", f"  {meaning(record)}"]
    if ending_of(record) is None and record.slot.deadline:
        lines.append(f"  until {beside(record.slot.deadline, record.at.timestamp)}")
    lines.append(f"  read at final block {record.at.number}, {moment(record.at.timestamp)}")
    lines += [f"  {type(event).__name__:<12} block {event.at.block_number}" for event in record.history]
    for reason in reasons_in_words(record.reasons):
        lines += [f"  reason: {reason.word}", f"    what to do: {reason.remedy}"]
    return lines


def explain_lines(record: JobRecord, statement: Statement) -> list[str]:
    """What a job's standing or ending means, and its money to the smallest unit."""
    ending = ending_of(record)
    lines = status_lines(record)
    if ending is not None:
        lines += [f"  who bears it: {ending.bears}", f"  what to do: {ending.remedy}"]
    return [*lines, *money_lines(record, statement)]


def money_lines(record: JobRecord, statement: Statement) -> list[str]:
    """Each party with its total, and below it what that total consists of."""
    token = record.spec.token
    lines = ["the money of this job, which sums to zero:"]
    for who, account, total in statement.parties():
        lines.append(f"{_signed(written(total, token))}  {who}{f' {account.checksum}' if account else ''}")
        own = [e for e in statement.entries if (e.who, e.account) == (who, account)]
        if len(own) > 1:
            lines += [f"    {_signed(written(e.amount, token))}  {e.why}" for e in own]
        else:
            lines[-1] += f": {own[0].why}"
    return lines


def explain_payload(record: JobRecord, statement: Statement) -> dict[str, Any]:
    """For programs: amounts as decimal strings in the token's smallest unit, negative where a party gives."""
    ending = ending_of(record)
    return status_payload(record) | {
        "bears": ending.bears if ending else None,
        "remedy": ending.remedy if ending else None,
        "token": record.spec.token.checksum,
        "money": [
            {
                "who": str(entry.who),
                "account": entry.account.checksum if entry.account else None,
                "amount": str(entry.amount),
                "why": entry.why,
            }
            for entry in statement.entries
        ],
    }


def _signed(text: str) -> str:
    return text if text.startswith("-") else f"+{text}"
