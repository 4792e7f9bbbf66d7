"""What the backend says to people about where a job stands."""

from __future__ import annotations

from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import InterruptionView

_WAITING = {
    Status.MATCHED: "the provider: start an enclave and post its evidence hash",
    Status.QUOTED: "the oracle nodes: appraise the evidence and sign a decision",
    Status.ACCEPTED: "the provider: compute and post the sealed result",
    Status.SETTLED: "the consumer: acknowledge the result, or challenge it while the window is open",
    Status.CHALLENGED: "the oracle nodes: say whether the ciphertext is available",
}


_STOPPED = "no party: the oracle nodes will not release; the job ends by that unless a result comes before its deadline"
_MISSING = "the oracle nodes: put their releases on chain; with too few of them the job ends, at no party's cost"


def waiting_for(status: Status, interruption: InterruptionView | None = None) -> str:
    """Whose turn it is and what they have to do; empty when the job has ended."""
    if status is Status.ACCEPTED and interruption:
        return _STOPPED if interruption.stopped else _MISSING
    return _WAITING.get(status, "")
