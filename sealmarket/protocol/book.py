"""The address book: where a market lives on one chain. One file per chain id, read by every tool."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta

from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, Shape, Uint64
from sealmarket_enclave.protocol.numbers import U32, Positive8, Seconds
from sealmarket_enclave.protocol.policy import CommitteeRef

LONGEST_URL = 256
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9][A-Za-z0-9._-]{0,252})(:[0-9]{1,5})?")
"""A name, an IPv4 address or an IPv6 address in brackets, and a port."""


class FinalityRule(Shape, frozen=True, kw_only=True):
    """When a block counts: the chain's own ``finalized`` tag, or an explicit depth where a chain has none.

    With ``depth``, a block is final when ``depth`` blocks follow it, at least one.
    """

    kind: Literal["finalized", "depth"]
    depth: U32 = 0

    def describe(self) -> str:
        """For receipts and people."""
        return "the chain's finalized block" if self.kind == "finalized" else f"{self.depth} blocks deep"


class Member(Shape, frozen=True, kw_only=True):
    """One oracle node as its committee names it."""

    signer: Address
    hpke_public_key: HexBytes
    url: str


def is_reachable(url: str) -> bool:
    """Whether others can ask a node or a store at a URL: it stands in every address book, and cannot be changed there.

    http or https, a host, no user, query or fragment; nothing that a terminal or a header reads as something else.
    """
    plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= LONGEST_URL
    if not plain or any(mark in url for mark in "@?#\\"):
        return False
    try:
        parts = urlsplit(url)
        if parts.netloc.startswith("["):
            IPv6Address(parts.hostname or "")
        return parts.scheme in ("http", "https") and bool(_HOST.fullmatch(parts.netloc)) and parts.port != 0
    except ValueError:  # an IPv6 address that is none, a port beyond 65535
        return False


class Committee(Shape, frozen=True, kw_only=True):
    """One epoch's committee."""

    epoch: U32
    threshold: Positive8
    members: Annotated[tuple[Member, ...], Meta(min_length=1)]

    @property
    def ref(self) -> CommitteeRef:
        """Epoch and size, as policies and share sets name them."""
        return CommitteeRef(epoch=self.epoch, threshold=self.threshold, members=len(self.members))

    @property
    def refusal_threshold(self) -> int:
        """Signatures that refusing takes: max(t, n - t + 1)."""
        return max(self.threshold, self.stop_threshold)

    @property
    def stop_threshold(self) -> int:
        """Nodes that must have kept their shares for a release to be impossible: n - t + 1."""
        return len(self.members) - self.threshold + 1


class Windows(Shape, frozen=True):
    """The windows of a job in seconds, each counted from the transition before it."""

    quote: Seconds
    decide: Seconds
    settle: Seconds
    challenge: Seconds


class Timing(Shape, frozen=True, kw_only=True):
    """What a deployment fixes of time, in seconds, and of its price.

    ``finality_seconds`` is how long a block takes to become final, ``transfer_allowance`` what every settle window
    keeps for moving bytes, ``windows`` the shortest that a request may ask for. Holding an amount costs ``hold_rate``
    parts of 10**18 of it each second.
    """

    finality_seconds: Seconds
    transfer_allowance: Seconds
    windows: Windows
    hold_rate: Uint64


class AddressBook(Shape, frozen=True, kw_only=True):
    """Everything that a tool must know to use one market on one chain.

    ``endings`` and ``extension`` are the contracts whose code the market runs beside its own. ``sessions`` keeps the
    money of services; a market without it has none.
    """

    version: Literal["sealmarket/address-book/1"] = "sealmarket/address-book/1"
    chain_id: int
    registry: Address
    committee: Address
    market: Address
    endings: Address
    extension: Address
    sessions: Address | None = None
    deployed_at: int
    deployed_hash: Bytes32 | None = None
    """The hash of block ``deployed_at``. Without it nothing of value is given to the market."""
    finality: FinalityRule
    timing: Timing
    store: str
    backend: str
    committees: tuple[Committee, ...]
