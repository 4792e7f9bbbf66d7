"""What posting what oracle nodes signed has in common: nodes have no account on chain, so any account may post."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from typing import Protocol, TypeVar

from sealmarket.chain.calls import Call
from sealmarket.chain.contracts import MarketContract
from sealmarket.chain.errors import ChainUnavailable, Reverted, RpcRefused
from sealmarket.chain.events import ChainEvent
from sealmarket.chain.interface import ViewReader
from sealmarket.chain.model import Block
from sealmarket.protocol.book import AddressBook, Committee, Member
from sealmarket.service.connection import Connection
from sealmarket.service.errors import ServiceError
from sealmarket_enclave.protocol.codec import Bytes32, Shape
from sealmarket_enclave.protocol.numbers import JobId

log = logging.getLogger(__name__)
_SECONDS = 5.0
Answer = TypeVar("Answer", bound=Shape)


class PostingChain(Protocol):
    """What posting reads of a chain."""

    @property
    def book(self) -> AddressBook:
        """Where the market is."""

    def head(self) -> Block:
        """The newest block."""

    def at(self, block: Block) -> ViewReader:
        """The state at one block."""

    def events(self, first: int, last: int) -> list[ChainEvent]:
        """The events of the market in a range of blocks."""

    def about_job(self, job_id: Bytes32, last: Block) -> list[ChainEvent]:
        """All events of one job."""


class Poster:
    """``send`` sends one transaction and raises as ``Sender.send``."""

    def __init__(self, chain: PostingChain, send: Callable[[Call], object]) -> None:
        self._chain, self._send = chain, send
        self._market = MarketContract(chain.book.market, chain.book.chain_id)

    def _sent(self, call: Call, what: str) -> bool:
        """Whether a call is on chain now; why not is in the log, and it can be tried again."""
        try:
            self._send(call)
        except (Reverted, RpcRefused, ChainUnavailable) as error:
            log.warning("%s is not posted: %s", what, error)
            return False
        log.info("posted %s", what)
        return True


def committee_of(book: AddressBook, epoch: int, job_id: JobId) -> Committee | None:
    """The committee of a job's epoch; None, with a warning, where the address book is older than the epoch."""
    found = next((committee for committee in book.committees if committee.epoch == epoch), None)
    if found is None:
        log.warning("the address book has no epoch %d: update it, nothing is posted for job %s", epoch, job_id)
    return found


def ask(member: Member, path: str, kind: type[Answer], what: str) -> Answer | None:
    """What a node answers over HTTP, unchecked; None where it does not."""
    with closing(Connection(member.url, service="oracle node", timeout=_SECONDS)) as connection:
        try:
            return connection.read(path, kind, what=what)
        except ServiceError as error:
            log.warning("node %s does not answer about %s: %s", member.url, path, error)
            return None
