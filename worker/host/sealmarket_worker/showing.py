"""Shows a quote's evidence to the oracle nodes: by the store, and to each node itself, since a store could hide it."""

from __future__ import annotations

import time
from collections.abc import Callable

from sealmarket.protocol.book import Committee
from sealmarket.sealing.evidence import SealedEvidence
from sealmarket.service.errors import ServiceError
from sealmarket_worker.context import HostContext

NODES_FIRST_TURNS = 3
"""So long the store is not asked while a node is left: one that answers slowly holds up the others."""
RESTS = 10
"""A store that failed is left alone for so many times as long as it took."""


class Showing:
    """Brings one sealed package to nodes and store, a :meth:`turn` at a time."""

    def __init__(self, host: HostContext, committee: Committee, sealed: SealedEvidence) -> None:
        self._host, self._sealed = host, sealed
        self._left = dict(enumerate(committee.members))
        """The nodes that have not taken it from this host itself, by their places."""
        self._turns = 0
        self._stored, self._store_again = False, 0.0

    def turn(self, say: Callable[[str], None]) -> None:
        """Hand it to each node that has not taken it, without waiting for a node. What the store refuses is said."""
        hand_in = self._host.nodes.hand_in
        self._left = {place: m for place, m in self._left.items() if not hand_in(m, self._sealed)}
        self._turns += 1
        if not self._left or self._turns > NODES_FIRST_TURNS:
            self.store(say)

    def store(self, say: Callable[[str], None]) -> None:
        """Put it into the store, for nodes that come later, the result keys and auditors, unless it is there."""
        began = time.monotonic()
        if self._stored or began < self._store_again:
            return
        try:
            if self._host.capability is not None:
                self._host.store.put_document(self._host.capability.canonical())
            self._host.store.put_evidence(self._sealed)
        except ServiceError as error:
            now = time.monotonic()
            self._store_again = now + RESTS * (now - began)
            say(f"the store does not have the evidence yet: {error}")
        else:
            self._stored = True
