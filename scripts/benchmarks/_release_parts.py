"""What a node does for a release, for `scripts/bench release`: how often it signs, recovers, opens and seals; and which
part of it takes how much processor time (`--parts`).

Each part is a function of the product; its time is that of the thread which runs it, less that of the parts inside.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import coincurve

from sealmarket.chain.follow import Follower
from sealmarket_enclave.sealed.hpke import PrivateKey, PublicKey
from sealmarket_oracle import releasing
from sealmarket_oracle.answers import Answers
from sealmarket_oracle.keys import Signer
from sealmarket_oracle.mark import TailMark
from sealmarket_oracle.peers import Peers
from sealmarket_oracle.releasing import Releasing
from sealmarket_oracle.service import Node
from sealmarket_oracle.storage.databases import SqliteDatabase
from sealmarket_oracle.storage.store import JournalStore

PARTS: tuple[tuple[Any, str, str], ...] = (
    (releasing, "seal_release", "share opened, sealed and signed"),
    (Answers, "take_tail", "tails of peers: read, recovered, kept"),
    (SqliteDatabase, "commit", "commits"),
    (TailMark, "keep", "mark"),
    (Releasing, "keep", "promise and log entry written"),
    (Peers, "tell", "own tail signed and shown to peers"),
    (Follower, "advance", "events read and written"),
    (Node, "_step", "case: slot, events, terms, committee"),
    (Releasing, "heads", "heads read"),
    (Releasing, "judge", "judged at the heads"),
    (Releasing, "prepare", "documents; the promise made"),
    (Node, "status", "answered: written as JSON"),
    (JournalStore, "_rows", "other reads of the journal"),
    (Node, "tick", "the rest of a look at the chain"),
)


CRYPTOGRAPHY: tuple[tuple[Any, str], ...] = (
    (Signer, "sign"),
    (coincurve.PublicKey, "from_signature_and_message"),
    (PrivateKey, "open"),
    (PublicKey, "seal"),
)
"""Everything of a node's that is cryptography with a key, as the products' packages do it."""


@dataclass(frozen=True, slots=True)
class Done:
    """How often a node did each."""

    signed: int = 0
    recovered: int = 0
    opened: int = 0
    sealed: int = 0


class Counter:
    """Counts the cryptography of this process while :attr:`on`."""

    def __init__(self) -> None:
        self.on = False
        self._calls = dict.fromkeys((name for _, name in CRYPTOGRAPHY), 0)
        self._lock = threading.Lock()

    def counted(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same work, whose calls are counted."""

        @functools.wraps(work)
        def run(*given: Any, **named: Any) -> Any:
            if self.on:
                with self._lock:
                    self._calls[name] += 1
            return work(*given, **named)

        return run

    def take(self) -> Done:
        """What was done since this was asked last."""
        with self._lock:
            done = Done(*self._calls.values())
            self._calls = dict.fromkeys(self._calls, 0)
        return done


@contextmanager
def counting() -> Iterator[Counter]:
    """Count the cryptography of this process until the block ends, while the counter is on."""
    counter = Counter()
    with ExitStack() as patched:
        for owner, name in CRYPTOGRAPHY:
            patched.enter_context(patch.object(owner, name, counter.counted(name, getattr(owner, name))))
        yield counter


class Meter:
    """Processor seconds of each part while :attr:`on`."""

    def __init__(self) -> None:
        self.on = False
        self.seconds: dict[str, float] = defaultdict(float)
        self._inside = threading.local()
        self._lock = threading.Lock()

    def metered(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same work, whose time is noted."""

        @functools.wraps(work)
        def run(*given: Any, **named: Any) -> Any:
            if not self.on:
                return work(*given, **named)
            outer, self._inside.seconds = getattr(self._inside, "seconds", 0.0), 0.0
            began = time.thread_time()
            try:
                return work(*given, **named)
            finally:
                whole = time.thread_time() - began
                with self._lock:
                    self.seconds[part] += whole - self._inside.seconds
                self._inside.seconds = outer + whole

        return run


@contextmanager
def metering() -> Iterator[Meter]:
    """Meter all parts until the block ends."""
    meter = Meter()
    with ExitStack() as patched:
        for owner, name, part in PARTS:
            patched.enter_context(patch.object(owner, name, meter.metered(part, getattr(owner, name))))
        yield meter
