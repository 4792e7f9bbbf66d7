"""Asking the oracle nodes what they decided. They are asked side by side; one that is silent holds up nobody."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx

from sealmarket.protocol.book import Member
from sealmarket.protocol.codec import Bytes32, decode
from sealmarket.protocol.errors import MalformedDocument
from sealmarket.protocol.wire import NodeStatus

log = logging.getLogger(__name__)
_MAX_ANSWER = 4 << 20


class Nodes:
    """The oracle nodes of all committees."""

    def __init__(self, *, timeout: float = 5.0) -> None:
        self._client = httpx.Client(timeout=timeout, follow_redirects=False)
        self._pool = ThreadPoolExecutor(max_workers=16, thread_name_prefix="nodes")

    def statuses(self, members: Sequence[Member], job_id: Bytes32) -> list[NodeStatus | None]:
        """What each member says of a job, in their order; None from one that did not answer properly."""
        return list(self._pool.map(lambda member: self._ask(member, job_id), members))

    def close(self) -> None:
        """Let go of the connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _ask(self, member: Member, job_id: Bytes32) -> NodeStatus | None:
        url = f"{member.url}/v1/jobs/{job_id}"
        try:
            answer = self._client.get(url)
            answer.raise_for_status()
            if len(answer.content) > _MAX_ANSWER:
                raise MalformedDocument(f"{len(answer.content)} bytes, expected at most {_MAX_ANSWER}")
            status = decode(NodeStatus, answer.content)
        except (httpx.HTTPError, MalformedDocument) as error:
            log.info("node %s does not answer for job %s: %s", member.url, job_id, error)
            return None
        return status if status.job_id == job_id else None
