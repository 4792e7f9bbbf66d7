"""What all jobs of a host share, and how a job waits: for the chain, for others, until a deadline in chain time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sealmarket.chain import BlockGone, ChainReader, ChainUnavailable, JobSlot
from sealmarket.chain.model import Interruption
from sealmarket.protocol.capability import Capability
from sealmarket.protocol.orders import EvidenceSeal
from sealmarket.protocol.transitions import Status
from sealmarket.service.errors import ContentMismatch, ItemNotFound, ServiceUnavailable
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import HexBytes
from sealmarket_enclave.protocol.numbers import JobId, Kind
from sealmarket_worker.drivers.interface import Driver
from sealmarket_worker.errors import InputMissing
from sealmarket_worker.journal import JobEntry, Journal
from sealmarket_worker.limits import OperatorLimits
from sealmarket_worker.materials import MaterialStore
from sealmarket_worker.nodes import Nodes
from sealmarket_worker.progress import Listener, ProgressReporter
from sealmarket_worker.serving_job import Services
from sealmarket_worker.transactions import ProviderTransactions
from sealmarket_worker.why import why_over

_T = TypeVar("_T")
LATER = (
    ChainUnavailable,
    BlockGone,
    ServiceUnavailable,
    ItemNotFound,
    ContentMismatch,
    sqlite3.OperationalError,
)
"""Errors after which the same step may succeed. SQLite's is a journal or an outbox on a disk without room."""
_GRACE_SECONDS = 120
"""How long past its deadline a job may stay unclosed before the host stops waiting for the closing transaction."""


class Stopping(Exception):
    """The host was asked to end; the journal says where the job stood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostContext:
    """What all jobs of a host share. ``sign`` is the provider's signature over a sealed package's typed data.

    ``capability`` is what this host promises; its orders name the document. ``drain`` is set when no further job may be
    quoted, ``stop`` when every job is left where it stands (:mod:`sealmarket_worker.ending`).
    """

    chain: ChainReader
    transactions: ProviderTransactions
    store: Store
    nodes: Nodes
    driver: Driver
    materials: MaterialStore
    journal: Journal
    sign: Callable[[EvidenceSeal], HexBytes]
    state: Path
    stop: threading.Event
    drain: threading.Event = field(default_factory=threading.Event)
    listeners: tuple[Listener, ...] = ()
    poll_seconds: float = 0.3
    settle_patience_seconds: float = 20.0
    prepare_share_of_window: float = 0.5
    limits: OperatorLimits = field(default_factory=OperatorLimits)
    capability: Capability | None = None
    services: Services | None = None
    """Of a host whose image is for services; any other takes batch jobs."""

    @property
    def kind(self) -> Kind:
        """The kind of job that this host takes."""
        return Kind.BATCH if self.services is None else Kind.SESSION


class JobSteps:
    """Steps of one job that wait for others."""

    def __init__(self, host: HostContext, job_id: JobId, progress: ProgressReporter) -> None:
        self._host, self._job_id, self._progress = host, job_id, progress
        self._quoted = True
        """Whether the chain may have this host's quote: until then another start of the host can do the job as well."""

    def _slot(self, entry: JobEntry) -> JobSlot:
        """The job at the newest final block; waits while the chain is silent."""
        chain = self._host.chain
        return self._patiently(lambda: chain.at(chain.final()).job(entry.spec.request_hash), None)

    def _head(self, entry: JobEntry) -> JobSlot:
        chain = self._host.chain
        return self._patiently(lambda: chain.at(chain.head()).job(entry.spec.request_hash), None)

    def _wait_for(
        self,
        entry: JobEntry,
        arrived: Callable[[JobSlot], bool],
        read: Callable[[JobEntry], JobSlot] | None = None,
    ) -> JobSlot:
        """Wait at the newest final block, or wherever ``read`` looks."""
        while not arrived(slot := (read or self._slot)(entry)):
            self._require_time(slot.deadline + _GRACE_SECONDS, f"the end of {slot.status.name.lower()}")
            self._pause()
        return slot

    def _patiently(self, step: Callable[[], _T], deadline: int | None, *also: type[Exception]) -> _T:
        """Do something that may have to wait for others; ``deadline`` is in the chain's time."""
        reported = ""
        later: tuple[type[Exception], ...] = (*LATER, *also)
        while True:
            try:
                return step()
            except later as error:
                if str(error) != reported:
                    reported = str(error)
                    self._progress.note(reported)
                if deadline is not None:
                    self._require_time(deadline, reported)
            self._pause()

    def _require_time(self, deadline: int, what: str) -> None:
        if self._is_over(deadline):
            raise InputMissing(what, "its time is over")

    def _interruption(self, entry: JobEntry) -> Interruption:
        """Where the job's course was interrupted, at the head."""
        chain = self._host.chain
        return chain.at(chain.head()).interruption(entry.spec.request_hash)

    def _return_unspent(self, entry: JobEntry) -> None:
        """Take back what was set aside for nodes that did not post, where that is due. Any account may do it later."""
        found = self._interruption(entry)
        if found.unspent and self._host.chain.head().timestamp > found.shares_deadline:
            self._host.transactions.return_unspent(entry.spec)

    def _is_over(self, deadline: int) -> bool:
        try:
            return self._host.chain.head().timestamp > deadline
        except ChainUnavailable:
            return False

    def _pause(self) -> None:
        self._host.stop.wait(self._host.poll_seconds)
        self._require_going_on()

    def _require_going_on(self) -> None:
        """Raises :class:`Stopping` where the host ends, or drains and has not quoted this job."""
        if self._host.stop.is_set() or (self._host.drain.is_set() and not self._quoted):
            raise Stopping

    def _why(self, entry: JobEntry, status: Status) -> str:
        return self._patiently(lambda: why_over(self._host.chain, entry, status), None)
