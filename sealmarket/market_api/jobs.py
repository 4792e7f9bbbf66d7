"""Jobs as the backend has indexed them from final blocks, and acknowledgements of their results."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from sealmarket.protocol.orders import Acknowledgement
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import JobView, SignedAcknowledgement
from sealmarket.service.connection import Connection
from sealmarket_enclave.protocol.codec import Address, HexBytes
from sealmarket_enclave.protocol.numbers import JobId


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
        before: JobId | None = None,
        limit: int | None = None,
    ) -> tuple[JobView, ...]:
        """Jobs that fit all that is given, newest first, at most 200; those older than ``before``, if it is named."""
        wanted: Mapping[str, object | None] = {
            "provider": provider,
            "consumer": consumer,
            "status": status.name.lower() if status is not None else None,
            "before": before,
            "limit": limit,
        }
        query = httpx.QueryParams({name: str(value) for name, value in wanted.items() if value is not None})
        return self._http.read(f"/v1/jobs?{query}", tuple[JobView, ...], what="jobs")

    def view(self, job_id: JobId) -> JobView:
        """One job."""
        return self._http.read(f"/v1/jobs/{job_id}", JobView, what="job")

    def post_acknowledgement(self, statement: Acknowledgement, signature: bytes) -> None:
        """Post the consumer's statement that the result arrived; the backend's keeper submits it to the chain."""
        signed = SignedAcknowledgement(acknowledgement=statement, signature=HexBytes(signature))
        self._http.send("POST", "/v1/acknowledgements", signed, what="acknowledgement")
