"""What changed, in order: triggers write a line for each request, offer and job whose state is another one.

A line has a number that only grows, and a reader goes on behind the last one that it has seen. The last ``KEPT`` lines
(:mod:`sealmarket_backend.database.triggers`) stay. They are written with the change itself, so none is missed, and
taken back changes are changes too. ``epoch`` tells one database's numbers from another's.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sealmarket.protocol.transitions import Status
from sealmarket_backend.database.dialects import Row
from sealmarket_backend.database.triggers import GONE
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Bytes32

TOPICS = ("jobs", "requests", "compute-orders", "asset-orders")


@dataclass(frozen=True, slots=True)
class Change:
    """One line. ``state`` is the book's, or the job's status; ``gone`` after a reorganisation without it."""

    id: int
    topic: str
    subject: Bytes32
    state: str


class Changes:
    """Reads the lines of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.epoch = epoch_of(database)

    def newest(self) -> int:
        """The number of the last line; 0 before the first."""
        row = self._database.row("SELECT COALESCE(MAX(id), 0) AS newest FROM changes")
        return int(row["newest"]) if row else 0

    def reaches(self, number: int) -> bool:
        """Whether every line behind this one is still there."""
        row = self._database.row("SELECT MIN(id) AS oldest, MAX(id) AS newest FROM changes")
        if row is None or row["oldest"] is None:
            return number == 0
        return bool(row["oldest"] - 1 <= number <= row["newest"])

    def after(self, number: int, limit: int) -> list[Change]:
        """Lines behind this one, oldest first."""
        rows = self._database.rows("SELECT * FROM changes WHERE id > ? ORDER BY id LIMIT ?", number, limit)
        return [_change(row) for row in rows]


def epoch_of(database: Database) -> str:
    """What tells one database from another: eight hex digits that it keeps."""
    with database.write() as connection:
        connection.execute(
            "INSERT INTO changes_epoch (id, epoch) VALUES (1, ?) ON CONFLICT DO NOTHING", (secrets.token_hex(4),)
        )
    row = database.row("SELECT epoch FROM changes_epoch")
    assert row is not None
    return str(row["epoch"])


def _change(row: Row) -> Change:
    state = str(row["state"])
    if row["topic"] == "jobs" and state != GONE:
        state = Status(int(state)).name.lower()
    return Change(row["id"], row["topic"], Bytes32(row["subject"]), state)
