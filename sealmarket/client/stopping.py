"""Waits that another thread can end: how an asynchronous call that was cancelled stops (:mod:`sealmarket.client.aio`).

A wait between two looks at the chain is the one place where a call may stop: nothing is signed, and nothing that was
sent is left without its end. What does not wait runs on to its end.
"""

from __future__ import annotations

import threading
import time
from contextvars import ContextVar

from sealmarket_enclave.protocol.errors import SealmarketError

STOP: ContextVar[threading.Event | None] = ContextVar("STOP", default=None)
"""Set in a thread's context by who may end its waits."""


class CallCancelled(SealmarketError):
    """The caller cancelled while a call waited."""

    def __init__(self) -> None:
        super().__init__(
            "the call was cancelled while it waited",
            remedy="what was signed before stays signed: call again to go on, or void the request",
        )


def pause(seconds: float) -> None:
    """Sleep, unless the caller cancels.

    Raises:
        CallCancelled: at once when it does.
    """
    stop = STOP.get()
    if stop is None:
        time.sleep(seconds)
    elif stop.wait(seconds):
        raise CallCancelled
