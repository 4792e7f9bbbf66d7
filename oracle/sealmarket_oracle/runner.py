"""Runs a node: ticks in a thread of its own until :meth:`Runner.stop`, with backoff while the chain is unavailable."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Literal

from msgspec.structs import replace

from sealmarket_enclave.protocol.codec import Shape
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_oracle.errors import JournalTaken
from sealmarket_oracle.service import Node

_log = logging.getLogger("sealmarket.oracle")
_LONGEST_WAIT = 5.0


class Health(Shape, frozen=True, kw_only=True):
    """How a node is: ``ok``, or ``waiting`` with the problem that keeps it from deciding.

    ``alarms``: endpoints of the chain that do not count now, and why. ``proofs``: whether state is proven, or believed
    (``none``). Events are believed either way, as far as no proven slot contradicts them.
    """

    status: Literal["starting", "ok", "waiting"]
    problem: str
    final_block: int
    ticks: int
    alarms: tuple[str, ...] = ()
    proofs: Literal["required", "none"] = "required"


class Runner:
    """Owns the thread in which a node ticks."""

    def __init__(self, node: Node, poll_seconds: float) -> None:
        self._node, self._poll = node, poll_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="oracle", daemon=True)
        self._health = Health(status="starting", problem="", final_block=0, ticks=0)
        self._leave: Callable[[], None] = self._stop.set
        self.taken: JournalTaken | None = None
        """Why this process signs nothing any more: another one of the node does."""

    def start(self, leave: Callable[[], None] | None = None) -> None:
        """Begin to tick. ``leave`` is called once another process writes the journal: this one is to end then."""
        self._leave = leave or self._leave
        self._thread.start()

    def stop(self) -> None:
        """End after the present tick; waits for it, at most a few seconds: a tick may end anywhere."""
        self._stop.set()
        self._thread.join(_LONGEST_WAIT)

    @property
    def health(self) -> Health:
        """How the last tick went. ``waiting`` as well when the thread is gone."""
        found = self._health
        if found.status != "starting" and not self._thread.is_alive():
            found = Health(status="waiting", problem="stopped", final_block=found.final_block, ticks=0)
        return replace(found, alarms=self._node.alarms, proofs=self._node.proofs)

    def _run(self) -> None:
        wait = self._poll
        while not self._stop.wait(wait):
            wait = min(_LONGEST_WAIT, wait * 2) if not self._tick() else self._poll

    def _tick(self) -> bool:
        ticks = self._health.ticks + 1
        try:
            final = self._node.tick()
        except JournalTaken as error:
            self.taken = error
            self._stop.set()
            self._leave()
            return self._waiting(str(error), ticks)
        except SealmarketError as error:
            return self._waiting(str(error), ticks)
        except OSError as error:
            return self._waiting(f"the journal's disk takes no writes: {error} (make room in the state folder)", ticks)
        except Exception as error:  # noqa: BLE001 - an unexpected error stops deciding until a later tick succeeds
            return self._waiting(f"unexpected {type(error).__name__}", ticks)
        if self._health.status == "waiting":
            _log.info("deciding again")
        self._health = Health(status="ok", problem="", final_block=final.number, ticks=ticks)
        return True

    def _waiting(self, problem: str, ticks: int) -> bool:
        if self._health.problem != problem:
            _log.warning("nothing is decided for now: %s", problem)
        self._health = Health(status="waiting", problem=problem, final_block=self._health.final_block, ticks=ticks)
        return False
