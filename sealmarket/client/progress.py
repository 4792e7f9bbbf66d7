"""What the one-call methods tell while they work: each step when it starts and when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

StepName = Literal["seal", "publish", "quote", "request", "match", "run", "open", "acknowledge", "stake", "offer"]
"""The steps of all calls, each call's in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One message. ``about`` is for people; ``facts`` are for programs: hashes and ids as hex, a job's status."""

    step: StepName
    state: Literal["started", "changed", "done"]
    about: str
    facts: tuple[tuple[str, str], ...] = ()


OnProgress = Callable[[Progress], None]
"""Called in the thread of the call; what it raises ends the call after the step that it was called for."""


def quiet(_progress: Progress) -> None:
    """Tell no one."""


class StepReport:
    """One step that is under way; what is found in it is reported when it is done."""

    def __init__(self, on_progress: OnProgress, step: StepName, about: str) -> None:
        self._on_progress, self._step, self._about = on_progress, step, about
        self._facts: dict[str, str] = {}

    def found(self, **facts: object) -> None:
        """Note what the step made."""
        self._facts |= {name: str(value) for name, value in facts.items()}

    def changed(self, about: str, **facts: object) -> None:
        """Tell of a change at once, inside the step."""
        self.found(**facts)
        self._report("changed", about)

    def reach(self, state: Literal["started", "done"]) -> None:
        """Tell that the step starts, or that it is done."""
        self._report(state, self._about)

    def _report(self, state: Literal["started", "changed", "done"], about: str) -> None:
        facts = tuple(self._facts.items())
        self._on_progress(Progress(step=self._step, state=state, about=about, facts=facts))


@contextmanager
def step(on_progress: OnProgress, name: StepName, about: str) -> Iterator[StepReport]:
    """Tell of a step before and after it; one that raises is not reported as done."""
    report = StepReport(on_progress, name, about)
    report.reach("started")
    yield report
    report.reach("done")
