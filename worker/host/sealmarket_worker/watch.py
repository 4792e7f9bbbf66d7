"""Watches, in a thread of its own, whether what another thread waits for is of any use still."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

_LEAST_SECONDS = 0.05


class Watch:
    """Asks ``useless`` again and again until the block ends; the first reason is kept in ``why`` and calls ``end``."""

    def __init__(self, useless: Callable[[], str | None], end: Callable[[], None], poll_seconds: float) -> None:
        self._useless, self._end, self._poll = useless, end, max(poll_seconds, _LEAST_SECONDS)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self.why: str | None = None

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._poll):
            if (why := self._useless()) is not None:
                self.why = why
                self._end()
                return
