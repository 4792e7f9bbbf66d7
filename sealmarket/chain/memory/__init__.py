"""The twin of a chain in memory, for tests: the same reads, blocks made by hand, no process and no network.

Each change is one call that mines one block with its events (:meth:`MemoryChain.publish`, :meth:`match`,
:meth:`quote`, ...). It keeps books as the contracts would where a reader can see it (status, deadlines, terms
versions) and moves no money. :meth:`reorganise` takes blocks back, :meth:`rewrite` replaces them,
:meth:`fall_silent` makes it unavailable.

The market's rules stand in :mod:`market`, what a reader sees of the chain in :mod:`reader` and of one block's state in
:mod:`view`, the blocks themselves in :mod:`blocks`.
"""

from __future__ import annotations

from sealmarket.chain.memory.market import MemoryChain
from sealmarket.chain.memory.view import FINALITY_SECONDS, TRANSFER_SECONDS, MemoryView

__all__ = ["FINALITY_SECONDS", "TRANSFER_SECONDS", "MemoryChain", "MemoryView"]
