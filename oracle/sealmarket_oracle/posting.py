"""``sealmarket oracle post``: put releases on chain from an account that pays for gas, apart from every node's keys."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from pathlib import Path

from sealmarket.chain import Chain, ChainError, Sender
from sealmarket.operate.releases import ReleasePoster, ask_node
from sealmarket.protocol.book import AddressBook
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle import keys

_POLL_SECONDS = 2.0
log = logging.getLogger(__name__)


def post(book: AddressBook, rpc: str, key: Path, job: str, *, development: bool = False) -> int:
    """Post the releases of one job. Returns how many were posted.

    Raises:
        KeyFileRefused: the key file is absent, open to others, or holds no key.
        ChainError: the chain cannot be read.
    """
    with closing(Chain(book, rpc)) as chain:
        return _poster(chain, key, development=development).post(JobId(Bytes32.parse(job)))


def follow(book: AddressBook, rpc: str, key: Path, *, development: bool = False) -> None:
    """Post the releases of each job that reports missing shares from now on. Raises as :func:`post`."""
    with closing(Chain(book, rpc)) as chain:
        poster, first = _poster(chain, key, development=development), int(chain.head().number)
        jobs: dict[JobId, int] = {}
        while True:
            try:
                head = chain.head()
                jobs |= poster.reported(first, head.number)
                first = head.number + 1
                jobs = {job_id: until for job_id, until in jobs.items() if until >= head.timestamp}
                for job_id in jobs:
                    poster.post(job_id)
            except ChainError as error:
                log.warning("the chain cannot be read now: %s", error)
            time.sleep(_POLL_SECONDS)


def _poster(chain: Chain, key: Path, *, development: bool) -> ReleasePoster:
    sender = Sender(chain, keys.account(key), development=development)
    return ReleasePoster(chain, sender.send, ask_node)
