"""The progress of a host's work, for people and programs: one event for each beginning and end of a stage."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from sealmarket_enclave.protocol.numbers import JobId

log = logging.getLogger(__name__)

StageName = Literal[
    "match",
    "prepare",
    "quote",
    "decision",
    "release",
    "load",
    "open",
    "compute",
    "validate",
    "serve",
    "seal",
    "settle",
]


@dataclass(frozen=True, slots=True)
class JobProgress:
    """One event. ``seconds`` is how long the stage took, once it is over; ``at`` is Unix time."""

    job_id: str
    stage: StageName
    state: Literal["started", "done", "failed", "note"]
    message: str
    at: float
    seconds: float | None = None

    def line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))


Listener = Callable[[JobProgress], None]


class ProgressLog:
    """A listener that appends JSON lines to a file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path, self._lock = path, threading.Lock()

    def __call__(self, event: JobProgress) -> None:
        try:
            with self._lock, self._path.open("a") as file:
                file.write(event.line() + "\n")
        except OSError as error:
            # A full disk must not cost a job: what matters is in the journal.
            log.warning("%s cannot be written: %s", self._path.name, error)


class ProgressReporter:
    """Reports the stages of one job in order; each begins where the one before ended."""

    def __init__(self, job_id: JobId, listeners: tuple[Listener, ...]) -> None:
        self._job_id, self._listeners = str(job_id), listeners
        self._stage: StageName | None = None
        self._started = 0.0

    def begin(self, stage: StageName, message: str = "") -> None:
        """End the stage before, and begin the next."""
        self.end()
        self._stage, self._started = stage, time.monotonic()
        self._report(stage, "started", message)

    def end(self, message: str = "") -> None:
        """The stage is done."""
        if self._stage is not None:
            self._report(self._stage, "done", message, time.monotonic() - self._started)
            self._stage = None

    def fail(self, message: str) -> None:
        """The stage failed, and with it the job on this host."""
        seconds = time.monotonic() - self._started if self._stage else None
        self._report(self._stage or "settle", "failed", message, seconds)
        self._stage = None

    def note(self, message: str) -> None:
        """A remark within a stage."""
        self._report(self._stage or "match", "note", message)

    def _report(
        self,
        stage: StageName,
        state: Literal["started", "done", "failed", "note"],
        message: str,
        seconds: float | None = None,
    ) -> None:
        rounded = None if seconds is None else round(seconds, 4)
        event = JobProgress(self._job_id, stage, state, message, time.time(), rounded)
        for listener in self._listeners:
            listener(event)
