"""How the seconds that a request grants to a stage are divided among the steps in it. Pure.

Each step has a fair share, which follows from public sizes
(:func:`~sealmarket_enclave.workload.timing.seconds_for_step`). If the request grants the sum of them, each step may use
what no later one needs for its share: so no owner's step can take the time of another's, and one that does not finish
answers for itself. If it grants less, any step may use what is left, and the request answers.
"""

from __future__ import annotations

from dataclasses import dataclass

from sealmarket_enclave.sandbox import FailureKind

UNFINISHED = frozenset({FailureKind.OUT_OF_TIME, FailureKind.OUT_OF_MEMORY, FailureKind.CRASHED})
"""Ends of a step that a machine may be to blame for."""


@dataclass(frozen=True, slots=True)
class Grant:
    """``granted`` seconds of a stage for steps whose fair shares are ``shares``, in the order in which they run."""

    granted: int
    shares: tuple[int, ...]

    @property
    def fair(self) -> bool:
        """Whether every step has its share."""
        return self.granted >= sum(self.shares)

    def seconds(self, place: int, left: float) -> float:
        """How long the step at ``place`` may take, with ``left`` seconds of the stage left."""
        return left - sum(self.shares[place + 1 :]) if self.fair else left
