"""The life of a job as the market contract runs it: one row for each way from one state to the next.

`contracts/interfaces/IJobs.sol` draws the same table; a test holds the two equal, and another holds the chain to it.
The fault is the row of the fault table by which the money moves when a job ends.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Status(IntEnum):
    """Where a job stands. Success is Matched, Quoted, Accepted, Settled, Matured."""

    NONE = 0
    MATCHED = 1
    QUOTED = 2
    ACCEPTED = 3
    SETTLED = 4
    MATURED = 5
    CHALLENGED = 6
    REFUSED = 7
    STOPPED = 8
    FAILED = 9
    EXPIRED = 10
    CANCELLED = 11


class Transition(NamedTuple):
    """``step`` is the contract's function. ``fault`` is the name of the ending, empty while a job goes on.

    A step that leaves an accepted job accepted records something about it: an interruption, or a node's release.
    """

    before: Status
    step: str
    after: Status
    fault: str = ""


REFUSALS = ("PlatformRefused", "RequestRefused", "TermsRefused", "InputRefused", "EvidenceWithheld")
FAILURES = ("InputFailed", "WorkloadFailed", "WorkloadTimedOut", "ValidatorTimedOut", "ReaderTimedOut")
INTERRUPTED = ((Status.STOPPED, "StoppedBeforeRelease"), (Status.EXPIRED, "SharesMissing"))

TRANSITIONS = frozenset(
    {
        Transition(Status.NONE, "matchJob", Status.MATCHED),
        Transition(Status.MATCHED, "quote", Status.QUOTED),
        Transition(Status.QUOTED, "decide", Status.ACCEPTED),
        Transition(Status.ACCEPTED, "settle", Status.SETTLED),
        Transition(Status.MATCHED, "cancel", Status.CANCELLED, "Withdrawn"),
        Transition(Status.MATCHED, "close", Status.EXPIRED, "NoQuote"),
        *(Transition(Status.QUOTED, "decide", Status.REFUSED, refusal) for refusal in REFUSALS),
        Transition(Status.QUOTED, "close", Status.EXPIRED, "CommitteeSilent"),
        Transition(Status.ACCEPTED, "settle", Status.MATURED, "None"),
        *(Transition(Status.ACCEPTED, step, Status.ACCEPTED) for step in ("stop", "reportMissing", "postRelease")),
        *(Transition(Status.ACCEPTED, "fail", Status.FAILED, failure) for failure in FAILURES),
        *(Transition(Status.ACCEPTED, step, *ending) for step in ("close", "endInterrupted") for ending in INTERRUPTED),
        Transition(Status.ACCEPTED, "close", Status.EXPIRED, "ProviderSilent"),
        Transition(Status.SETTLED, "settle", Status.MATURED, "None"),
        Transition(Status.SETTLED, "acknowledge", Status.MATURED, "None"),
        Transition(Status.SETTLED, "mature", Status.MATURED, "None"),
        Transition(Status.SETTLED, "challenge", Status.CHALLENGED),
        Transition(Status.CHALLENGED, "answerChallenge", Status.MATURED, "None"),
        Transition(Status.CHALLENGED, "answerChallenge", Status.EXPIRED, "ResultWithheld"),
        Transition(Status.CHALLENGED, "closeChallenge", Status.MATURED, "None"),
    }
)

ENDS = frozenset({Status.MATURED, Status.REFUSED, Status.STOPPED, Status.FAILED, Status.EXPIRED, Status.CANCELLED})
"""States that are never left."""
