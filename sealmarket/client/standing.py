"""What is known of a hash that may be a job's or a request's: the job by the chain, or where the request stands."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sealmarket.chain import Chain
from sealmarket.client.errors import JobNotFound
from sealmarket.client.jobs import JobRecord, read_job
from sealmarket.client.quote import Quote
from sealmarket.client.reading import Reading
from sealmarket.client.requests import RequestHandle, UnsignedRequest
from sealmarket.client.sent import SentRequests, State, state_of
from sealmarket.client.statement import Statement, statement_of
from sealmarket.client.waiting import POLL_SECONDS, find_job
from sealmarket.market_api.client import MarketApi
from sealmarket.protocol.transitions import Status
from sealmarket.service.errors import ItemNotFound, ServiceError
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.job import key_names
from sealmarket_enclave.protocol.numbers import JobId

_OVER = ("voided", "expired")
"""States of a request that no match can use any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestStanding:
    """A request without a final job. ``explanation`` is the backend's statement.

    ``state`` is the chain's, "unknown" where the request was not signed here. ``quote`` says what refuses an open
    request now; None where that could not be read.
    """

    request_hash: Bytes32
    state: State | Literal["unknown"]
    explanation: tuple[str, ...] = ()
    quote: Quote | None = None


class Standing:
    """Looks one hash up. ``sent`` are the requests that were signed here."""

    def __init__(self, chain: Chain, store: Store, api: MarketApi, sent: SentRequests | None) -> None:
        self._chain, self._store, self._api, self._sent = chain, store, api, sent

    def find(self, name: Bytes32) -> JobRecord | RequestStanding:
        """A job by its id or by its request's hash, else where the request stands.

        Raises:
            JobNotFound: neither chain nor book nor this machine knows the hash.
            ChainError: the chain cannot be read.
        """
        try:
            return read_job(self._chain, JobId(name))
        except JobNotFound:
            handle = self._sent.find(name) if self._sent else None
            job_id = self._job_of(name, handle)
            return read_job(self._chain, job_id) if job_id else self._request(name, handle)

    def until_matched(
        self,
        name: Bytes32,
        timeout: float,
        on_wait: Callable[[RequestStanding], None],
        pause: Callable[[float], None] = time.sleep,
    ) -> JobRecord | RequestStanding:
        """As :meth:`find`, once the request has a job at a final block, can have none any more, or the time is over.

        ``on_wait`` hears where the request stands, each time that this changes.
        """
        deadline, heard = time.monotonic() + timeout, None
        while isinstance(found := self.find(name), RequestStanding):
            if found.state in _OVER or time.monotonic() > deadline:
                return found
            if (found.state, found.explanation) != heard:
                heard = found.state, found.explanation
                on_wait(found)
            pause(POLL_SECONDS)
        return found

    def _job_of(self, name: Bytes32, handle: RequestHandle | None) -> JobId | None:
        if self._chain.at(self._chain.final()).job(name).status is Status.NONE:
            return None
        if handle is not None:
            return find_job(self._chain, handle.request.consumer, name, handle.since)
        try:
            job_id = self._api.orders.request(name).job_id
        except ServiceError:
            return None
        found = read_job(self._chain, JobId(job_id)) if job_id else None
        return found.job_id if found and found.spec.request_hash == name else None

    def _request(self, name: Bytes32, handle: RequestHandle | None) -> RequestStanding:
        try:
            book = self._api.orders.request(name)
        except ItemNotFound:
            book = None
        except ServiceError as error:
            return RequestStanding(request_hash=name, state=self._state(name, handle), explanation=(error.message,))
        if book is None and handle is None:
            if self._chain.at(self._chain.head()).job(name).status is Status.CANCELLED:
                return RequestStanding(request_hash=name, state="voided")
            raise JobNotFound(name)
        state = self._state(name, handle)
        said = book.explanation if book else ("it is not in the book",)
        quote = self._quote(handle) if handle and state == "open" else None
        return RequestStanding(request_hash=name, state=state, explanation=said, quote=quote)

    def _state(self, name: Bytes32, handle: RequestHandle | None) -> State | Literal["unknown"]:
        if handle is not None:
            return state_of(self._chain, handle)
        status = self._chain.at(self._chain.head()).job(name).status
        return "voided" if status is Status.CANCELLED else "unknown" if status is Status.NONE else "matched"

    def _quote(self, handle: RequestHandle) -> Quote | None:
        try:
            names = key_names(self._store.document(handle.request.result_keys_hash))
            keys = tuple(self._store.document(key) for key in names)
            unsigned = UnsignedRequest(
                request=handle.request,
                parameters=handle.parameters,
                workload=self._store.workload(handle.request.workload_digest),
                capabilities=(),
                result_keys=keys,
                at=self._chain.head(),
            )
            return Reading(self._chain, self._store, self._api).quote(unsigned, 0)
        except ServiceError:
            return None


def money_of(chain: Chain, record: JobRecord) -> Statement:
    """The money of a job at the block of its record. Raises :class:`ChainError`."""
    epoch = record.spec.epoch
    committee = next((known for known in chain.book.committees if known.epoch == epoch), None)
    return statement_of(record, committee, chain.at(record.at).interruption(record.spec.request_hash))
