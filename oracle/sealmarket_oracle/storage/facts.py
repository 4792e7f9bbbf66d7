"""Rows that never change, kept in memory once they are on disk, and documents by their bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

from sealmarket_enclave.protocol.codec import Shape, decode

K = TypeVar("K")
V = TypeVar("V")
S = TypeVar("S", bound=Shape)
MOST_FACTS = 1024


class Facts(Generic[K, V]):
    """The rows of one table by their key; the least recently used goes first. Threads may share it.

    What is not in here may be in the table: only what *is* there is known.
    """

    def __init__(self, most: int = MOST_FACTS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._held: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """What is kept under a key."""
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
            return found

    def keep(self, key: K, value: V) -> None:
        """Keep what is on disk."""
        with self._lock:
            self._held[key] = value
            self._held.move_to_end(key)
            if len(self._held) > self._most:
                self._held.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()


class Documents(Generic[S]):
    """Documents of one kind by their canonical bytes. Threads may share it.

    It says nothing about what a table holds: bytes that were read from one are not decoded again, no more than those
    that this process wrote.
    """

    def __init__(self, kind: type[S], most: int = MOST_FACTS) -> None:
        self._kind = kind
        self._held: Facts[bytes, S] = Facts(most)

    def bytes_of(self, document: S) -> bytes:
        """The canonical bytes of a document, to be written."""
        raw = document.canonical()
        self._held.keep(raw, document)
        return raw

    def read(self, raw: bytes) -> S:
        """The document of bytes that were written. Raises :class:`MalformedDocument`."""
        found = self._held.get(raw)
        if found is None:
            found = decode(self._kind, raw)
            self._held.keep(raw, found)
        return found
