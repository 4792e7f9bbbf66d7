"""Several endpoints of one chain: which blocks they agree on, and which of them no longer move.

One rule: a block is final where every endpoint that *keeps up* has it under the same hash. State that decides about a
release or about money is read at such a block, pinned to its hash. With one endpoint nothing is compared.

1. An endpoint keeps up while it answers and its newest block is not older than :func:`patience_of`, by our clock.
2. One that keeps up and lacks the block is a little behind: its newest block is compared, and counts, instead.
3. Two hashes at one height are :class:`~sealmarket.chain.errors.EndpointsDisagree`: no endpoint is chosen in silence.
4. One that does not answer, or stands still while another moves, has no say, and is not asked first.
"""

from __future__ import annotations

from collections.abc import Callable

from sealmarket.chain.errors import EndpointsDisagree, NodeDistrusted
from sealmarket.chain.model import Block
from sealmarket.chain.rpc import Rpc
from sealmarket.protocol.book import Timing
from sealmarket_enclave.protocol.codec import Bytes32

LEAST_PATIENCE, MOST_PATIENCE = 15, 120
"""Seconds."""


def patience_of(timing: Timing) -> int:
    """The age in seconds from which a newest block is old: the market's finality, within bounds."""
    return min(MOST_PATIENCE, max(LEAST_PATIENCE, timing.finality_seconds))


class Agreement:
    """The endpoints of one chain; ``block`` reads the block of a tag or number at the one that is asked."""

    def __init__(self, rpc: Rpc, block: Callable[[str], Block], patience: int, clock: Callable[[], float]) -> None:
        self._rpc, self._block, self._patience, self._clock = rpc, block, patience, clock
        self._known: Bytes32 | None = None

    def require_moving(self, head: Block) -> None:
        """Return unless this newest block is old and another endpoint has a newer one.

        Raises:
            NodeDistrusted: the endpoint stands still; the next one is asked.
        """
        if not self._rpc.several or not self._is_old(head):
            return
        newest = max((block.number for block in self._rpc.elsewhere(lambda: self._block("latest"))), default=0)
        if newest > head.number:
            found = f"{head.number}, of {int(self._clock()) - head.timestamp} s ago"
            raise NodeDistrusted("newest block", f"{newest}, as another endpoint has it", found)

    def agreed(self, final: Block) -> Block:
        """A final block; or the newest before it that all who keep up have.

        Raises:
            EndpointsDisagree: another endpoint has another block there.
        """
        if not self._rpc.several or final.hash == self._known:
            return final
        shared = final
        for url, shown in self._rpc.elsewhere(lambda: (self._rpc.asked, self._shown(final))):
            if shown is None:
                continue
            ours = final if shown.number == final.number else self._block(hex(shown.number))
            if ours.hash != shown.hash:
                raise EndpointsDisagree(ours.number, {self._rpc.asked: ours.hash, url: shown.hash})
            shared = min(shared, ours, key=lambda block: block.number)
        self._known = shared.hash if shared is final else None
        return shared

    def _shown(self, final: Block) -> Block | None:
        """What an endpoint has in the place of a final block; None where it does not keep up."""
        newest = self._block("latest")
        if newest.number >= final.number:
            return self._block(hex(final.number))
        return None if self._is_old(newest) else newest

    def _is_old(self, head: Block) -> bool:
        return self._clock() - head.timestamp > self._patience
