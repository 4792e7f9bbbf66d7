"""``sealmarket oracle post``: put what nodes signed on chain from an account that pays for gas, apart from their keys.

Releases of jobs whose shares were reported missing, and answers to challenges of results.
"""

from __future__ import annotations

import logging
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sealmarket.chain import Chain, ChainError, Sender
from sealmarket.operate.challenges import ChallengePoster, ask_challenge
from sealmarket.operate.releases import ReleasePoster, ask_node
from sealmarket.protocol.book import AddressBook
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle import keys

_POLL_SECONDS = 2.0
MOST_BLOCKS = 10_000
"""Blocks whose events are read at once."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Posted:
    """What was put on chain for one job: releases, and whether a challenge was answered."""

    releases: int
    answered: bool


def post(book: AddressBook, rpc: str, key: Path, job: str, *, development: bool = False) -> Posted:
    """Post the releases of one job, and the answer to its challenge.

    Raises:
        KeyFileRefused: the key file is absent, open to others, or holds no key.
        ChainError: the chain cannot be read.
    """
    job_id = JobId(Bytes32.parse(job))
    with closing(Chain(book, rpc)) as chain:
        releases, challenges = _posters(chain, key, development=development)
        return Posted(releases.post(job_id), challenges.post(job_id))


def follow(book: AddressBook, rpc: str, key: Path, *, development: bool = False) -> None:
    """Post for each job that reports missing shares or is challenged, what came before included. Raises as
    :func:`post`."""
    with closing(Chain(book, rpc)) as chain:
        due = Due(*_posters(chain, key, development=development), int(book.deployed_at))
        while True:
            reads_on = False
            try:
                head = chain.head()
                reads_on = not due.read(int(chain.final().number), int(head.number))
                if not reads_on:
                    due.post(head.timestamp)
            except ChainError as error:
                log.warning("the chain cannot be read now: %s", error)
            if not reads_on:
                time.sleep(_POLL_SECONDS)


class Due:
    """The jobs for which something may be posted, as events from a first block on name them."""

    def __init__(self, releases: ReleasePoster, challenges: ChallengePoster, first: int) -> None:
        self._releases, self._challenges, self._next = releases, challenges, first
        self._missing: dict[JobId, int] = {}
        self._challenged: dict[JobId, int] = {}

    def read(self, final: int, head: int) -> bool:
        """Read on, at most :data:`MOST_BLOCKS` blocks; whether all are read. What is not final is read again later.

        Raises:
            ChainError: the chain cannot be read; the same blocks are read again.
        """
        last = min(head, self._next + MOST_BLOCKS - 1)
        if self._next <= last:
            self._missing |= self._releases.reported(self._next, last)
            self._challenged |= self._challenges.challenged(self._next, last)
            self._next = max(self._next, min(last, final) + 1)
        return last == head

    def post(self, now: int) -> None:
        """Post what nodes signed for each job whose time is not over at a block time.

        Raises:
            ChainError: the chain cannot be read.
        """
        self._missing = {job_id: until for job_id, until in self._missing.items() if until >= now}
        self._challenged = {job_id: until for job_id, until in self._challenged.items() if until >= now}
        for job_id in self._missing:
            self._releases.post(job_id)
        self._challenged = {job: until for job, until in self._challenged.items() if not self._challenges.post(job)}


def _posters(chain: Chain, key: Path, *, development: bool) -> tuple[ReleasePoster, ChallengePoster]:
    sender = Sender(chain, keys.account(key), development=development)
    return ReleasePoster(chain, sender.send, ask_node), ChallengePoster(chain, sender.send, ask_challenge)
