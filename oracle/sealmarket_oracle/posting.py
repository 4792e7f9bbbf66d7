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
    """Post for each job that reports missing shares or is challenged from now on. Raises as :func:`post`."""
    with closing(Chain(book, rpc)) as chain:
        releases, challenges = _posters(chain, key, development=development)
        first = int(chain.head().number)
        missing: dict[JobId, int] = {}
        challenged: dict[JobId, int] = {}
        while True:
            try:
                head = chain.head()
                missing |= releases.reported(first, head.number)
                challenged |= challenges.challenged(first, head.number)
                first = head.number + 1
                missing = {job_id: until for job_id, until in missing.items() if until >= head.timestamp}
                challenged = {job_id: until for job_id, until in challenged.items() if until >= head.timestamp}
                for job_id in missing:
                    releases.post(job_id)
                challenged = {job: until for job, until in challenged.items() if not challenges.post(job)}
            except ChainError as error:
                log.warning("the chain cannot be read now: %s", error)
            time.sleep(_POLL_SECONDS)


def _posters(chain: Chain, key: Path, *, development: bool) -> tuple[ReleasePoster, ChallengePoster]:
    sender = Sender(chain, keys.account(key), development=development)
    return ReleasePoster(chain, sender.send, ask_node), ChallengePoster(chain, sender.send, ask_challenge)
