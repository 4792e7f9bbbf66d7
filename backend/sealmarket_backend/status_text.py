"""What the backend says to people about where a job stands."""

from __future__ import annotations

from sealmarket.protocol.transitions import Status

_WAITING = {
    Status.MATCHED: "the provider: start an enclave and post its evidence hash",
    Status.QUOTED: "the oracle nodes: appraise the evidence and sign a decision",
    Status.ACCEPTED: "the provider: compute and post the sealed result",
    Status.SETTLED: "the consumer: acknowledge the result, or challenge it while the window is open",
    Status.CHALLENGED: "the oracle nodes: say whether the ciphertext is available",
}


def waiting_for(status: Status) -> str:
    """Whose turn it is and what they have to do; empty when the job has ended."""
    return _WAITING.get(status, "")
