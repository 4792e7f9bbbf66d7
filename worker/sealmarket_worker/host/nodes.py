"""Ask the oracle nodes for their releases. One that is silent or talks nonsense holds up nobody."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from sealmarket.client.errors import ClientError
from sealmarket.client.http import Http
from sealmarket.protocol.book import Member
from sealmarket.protocol.numbers import JobId
from sealmarket.protocol.wire import NodeStatus

TIMEOUT_SECONDS = 5.0


class Nodes(Protocol):
    """The nodes of a committee."""

    def statuses(self, members: Sequence[Member], job_id: JobId) -> list[NodeStatus | None]:
        """What each says of a job, in their order; None from one that did not answer properly."""


class HttpNodes:
    """Nodes by their URLs in the address book. They are asked side by side."""

    def __init__(self) -> None:
        self._https: dict[str, Http] = {}
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="nodes")

    def statuses(self, members: Sequence[Member], job_id: JobId) -> list[NodeStatus | None]:
        """As :meth:`Nodes.statuses`."""
        for member in members:
            if member.url not in self._https:
                self._https[member.url] = Http(member.url, timeout=TIMEOUT_SECONDS)
        return list(self._pool.map(lambda member: self._ask(member.url, job_id), members))

    def close(self) -> None:
        """Give the connections back."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for http in self._https.values():
            http.close()

    def _ask(self, url: str, job_id: JobId) -> NodeStatus | None:
        try:
            status = self._https[url].read(f"/v1/jobs/{job_id}", NodeStatus, what="node's status")
        except ClientError:
            return None
        return status if status.job_id == job_id else None


def releases_of(statuses: Iterable[NodeStatus | None]) -> list[bytes]:
    """The releases among them, as canonical JSON; the enclave checks them."""
    return [status.release.canonical() for status in statuses if status is not None and status.release is not None]
