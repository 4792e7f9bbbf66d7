"""A SQLite file that its owner shares between threads, and whose transactions are on disk when they end."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

BUSY_SECONDS = 5.0
"""How long a statement waits for another process that writes."""


def open_durable(path: Path | str, schema: str, *, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """Open or make a file with these tables; transactions begin and end by statements.

    Raises:
        sqlite3.Error: the file cannot be opened, or is none; it is closed again.
    """
    opened = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=busy_seconds)
    try:
        opened.execute("PRAGMA journal_mode = WAL")
        opened.execute("PRAGMA synchronous = FULL")
        opened.executescript(schema)
    except BaseException:
        opened.close()
        raise
    return opened


class SqliteFile:
    """The owner of such a file: holds its lock, and closes it."""

    def __init__(self, path: Path | str, schema: str) -> None:
        self._lock = threading.RLock()
        self._db = open_durable(path, schema)
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        """What a kind of file does once it is open."""

    def close(self) -> None:
        """Close the file, once the present transaction has ended."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
