"""What the host asks of oracle nodes: :class:`sealmarket.client.nodes.Nodes` over HTTP, or a twin in tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from sealmarket.protocol.book import Member
from sealmarket.protocol.wire import NodeStatus
from sealmarket_enclave.protocol.numbers import JobId


class Nodes(Protocol):
    """The nodes of a committee."""

    def statuses(self, members: Sequence[Member], job_id: JobId) -> list[NodeStatus | None]:
        """What each says of a job, in their order; None from one that did not answer properly."""


def releases_of(statuses: Iterable[NodeStatus | None]) -> list[bytes]:
    """The releases among them, as canonical JSON; the enclave checks them."""
    return [status.release.canonical() for status in statuses if status is not None and status.release is not None]
