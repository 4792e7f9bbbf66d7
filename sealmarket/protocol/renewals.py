"""What is asked of oracle nodes for a service that goes on (docs/spec/session.md, Nodes)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from sealmarket_enclave.protocol.codec import Address, Bytes32, Shape, Uint64
from sealmarket_enclave.protocol.job import MAX_ASSETS
from sealmarket_enclave.protocol.session import MAX_TABS

MOST_BYTES = 1 << 20
"""Most bytes of a request."""
_PATH_LENGTH = 64
_Path = Annotated[tuple[Bytes32, ...], Meta(max_length=_PATH_LENGTH)]


class RenewalRequest(Shape, frozen=True, kw_only=True):
    """A nonce of the enclave's, the final block that every node is to read, and whose tabs.

    ``proofs`` has for each account one path for each asset of the job, in order; it is empty where every set is open.
    """

    nonce: Bytes32
    block_number: Uint64
    accounts: Annotated[tuple[Address, ...], Meta(max_length=MAX_TABS)]
    proofs: Annotated[
        tuple[Annotated[tuple[_Path, ...], Meta(max_length=MAX_ASSETS)], ...], Meta(max_length=MAX_TABS)
    ] = ()
