"""How a host ends: it drains first, and stops after a bounded time or at the second signal.

Draining, it quotes no further job. A job that it has not quoted is left in the journal for the next start; one that it
has quoted runs to its end, since only its enclave can do it. Stopped, it leaves every job where it stands.
"""

from __future__ import annotations

import logging
import os
import signal
import threading

log = logging.getLogger(__name__)


class Ending:
    """The two events of an end. ``seconds``: how long jobs that are quoted may take once the host drains; 0 is none."""

    def __init__(self, seconds: float) -> None:
        self.drain, self.stop = threading.Event(), threading.Event()
        self._seconds = seconds

    def begin(self) -> None:
        """Drain; called again, stop."""
        if self.drain.is_set() or not self._seconds:
            self.drain.set()
            self.stop.set()
            return
        log.warning("draining: quoted jobs have %g s to end, no other job is begun; ask again to stop", self._seconds)
        self.drain.set()
        timer = threading.Timer(self._seconds, self.stop.set)
        timer.daemon = True
        timer.start()

    def begin_on_signals(self) -> None:
        """Let SIGTERM and SIGINT begin the end. Call it in the main thread.

        The handler writes a byte to a pipe and takes no lock, since the thread that it interrupts may hold one.
        """
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os.write(writer, b"!"))
        threading.Thread(target=self._listen, args=(reader,), name="signals", daemon=True).start()

    def _listen(self, reader: int) -> None:
        while os.read(reader, 1):
            self.begin()
