"""Until when an enclave joins keys, by its own clock (docs/spec/enclave.md, "Time").

An enclave sees no chain. It knows when it asked for its evidence, and that the settle window begins later, with the
acceptance. A key that is joined by ``evidence + settleWindow - stages`` therefore serves a job that can still settle,
whatever the host says. The count starts early, so an enclave may refuse shares that come in time after a slow decision;
its host then reports missing shares, and the market moves the deadline by at least as much as the enclave does.
"""

from __future__ import annotations

from sealmarket_enclave.protocol.job import JobSpec


class CutOff:
    """The last moment at which keys are joined. ``began`` and all times are seconds of the enclave's clock."""

    def __init__(self, spec: JobSpec, began: float) -> None:
        self._spec, self._until, self._moved = spec, began + spec.settle_window - spec.stage_seconds, False

    def passed(self, now: float) -> bool:
        """Whether it is too late to join a key."""
        return now > self._until

    def move(self, now: float) -> None:
        """Missing shares are reported under signature: once, the market moves the settle deadline."""
        if not self._moved:
            spec, self._moved = self._spec, True
            self._until = now + spec.decide_window + spec.settle_window - spec.stage_seconds
