"""Documents of rows, decoded once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from sealmarket_backend.database.dialects import Row
from sealmarket_backend.tables import readable
from sealmarket_enclave.protocol.codec import Bytes32, decode

T = TypeVar("T")
MOST_DECODED = 20_000
"""Orders that are kept decoded, so that a turn decodes those alone that came since the last one."""


class Decoded(Generic[T]):
    """Documents by their hash, the ones that were asked for longest ago dropped first. Threads may share it."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._held: OrderedDict[Bytes32, T] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, rows: Iterable[Row]) -> Iterator[T]:
        """The documents of rows of ``key`` and ``body``, in order; those that do not read are left out."""
        return readable(rows, self._read)

    def _read(self, row: Row) -> T:
        key = Bytes32(row["key"])
        with self._lock:
            if (held := self._held.get(key)) is not None:
                self._held.move_to_end(key)
                return held
        found = decode(self._kind, row["body"])
        with self._lock:
            self._held[key] = found
            if len(self._held) > MOST_DECODED:
                self._held.popitem(last=False)
        return found
