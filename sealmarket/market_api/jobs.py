"""Jobs as the backend has indexed them from final blocks, and acknowledgements of their results."""

from __future__ import annotations

from sealmarket.market_api.paging import page_of
from sealmarket.protocol.market import JobPage, TimesTaken
from sealmarket.protocol.orders import Acknowledgement
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import JobView, SignedAcknowledgement
from sealmarket.service.connection import Connection
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes
from sealmarket_enclave.protocol.numbers import JobId, Tee


class Jobs:
    """The jobs of one market."""

    def __init__(self, connection: Connection) -> None:
        self._http = connection

    def list(
        self,
        *,
        provider: Address | None = None,
        consumer: Address | None = None,
        status: Status | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> JobPage:
        """One page of the jobs that fit all that is given, newest first, at most 200 on it."""
        wanted = {
            "provider": provider,
            "consumer": consumer,
            "status": status.name.lower() if status is not None else None,
            "cursor": cursor,
            "limit": limit,
        }
        page: JobPage = page_of(self._http, "/v1/jobs", JobPage, wanted, what="jobs")
        return page

    def times_taken(self, workload: Bytes32, tee: Tee, provider: Address | None = None) -> TimesTaken:
        """How long jobs of a workload, and of a provider, took on one kind of TEE; by the backend's index."""
        wanted = {"workload": workload, "tee": tee.slug, "provider": provider}
        found: TimesTaken = page_of(self._http, "/v1/times-taken", TimesTaken, wanted, what="times of jobs")
        return found

    def view(self, job_id: JobId) -> JobView:
        """One job."""
        return self._http.read(f"/v1/jobs/{job_id}", JobView, what="job")

    def post_acknowledgement(self, statement: Acknowledgement, signature: bytes) -> None:
        """Post the consumer's statement that the result arrived; the backend's keeper submits it to the chain."""
        signed = SignedAcknowledgement(acknowledgement=statement, signature=HexBytes(signature))
        self._http.send("POST", "/v1/acknowledgements", signed, what="acknowledgement")
