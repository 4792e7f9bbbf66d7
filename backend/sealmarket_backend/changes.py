"""What changed, in order: triggers write a line for each request, offer and job whose state is another one.

A line has a number that only grows, and a reader goes on behind the last one that it has seen. The last
:data:`KEPT` lines stay. They are written with the change itself, so none is missed, and taken back changes are
changes too. ``epoch`` tells one database's numbers from another's.
"""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import dataclass

from sealmarket.protocol.transitions import Status
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Bytes32

KEPT = 10_000
"""Lines, at least; a multiple of it is looked at now and then."""
TOPICS = ("jobs", "requests", "compute-orders", "asset-orders")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS changes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, subject BLOB NOT NULL, state TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS changes_epoch (id INTEGER PRIMARY KEY CHECK (id = 1), epoch TEXT NOT NULL);
"""
_FOLLOWED = (
    ("requests", "requests", "request_hash", "state"),
    ("compute-orders", "compute_orders", "order_hash", "state"),
    ("asset-orders", "asset_orders", "order_hash", "state"),
    ("jobs", "jobs", "job_id", "status"),
)
"""Topic, table, and the columns of subject and state."""
_GONE = "gone"
"""The state of what a reorganisation took away."""


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
        with database.write() as connection:
            _prepare(connection)
        row = database.row("SELECT epoch FROM changes_epoch")
        assert row is not None
        self.epoch: str = row["epoch"]

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


def _change(row: sqlite3.Row) -> Change:
    state = str(row["state"])
    if row["topic"] == "jobs" and state != _GONE:
        state = Status(int(state)).name.lower()
    return Change(row["id"], row["topic"], Bytes32(row["subject"]), state)


def _prepare(connection: sqlite3.Connection) -> None:
    for statement in _SCHEMA.split(";"):
        connection.execute(statement)
    connection.execute("INSERT OR IGNORE INTO changes_epoch (id, epoch) VALUES (1, ?)", (secrets.token_hex(4),))
    for topic, table, subject, state in _FOLLOWED:
        written = f"INSERT INTO changes (topic, subject, state) VALUES ('{topic}', "  # noqa: S608 - names are ours
        conditions = {
            "insert": ("INSERT", "", f"{written}NEW.{subject}, NEW.{state})"),
            "update": (
                f"UPDATE OF {state}",
                f"WHEN NEW.{state} != OLD.{state}",
                f"{written}NEW.{subject}, NEW.{state})",
            ),
            "delete": ("DELETE", "", f"{written}OLD.{subject}, '{_GONE}')"),
        }
        for name, (action, when, statement) in conditions.items():
            connection.execute(f"DROP TRIGGER IF EXISTS change_{name}_{table}")
            connection.execute(
                f"CREATE TRIGGER change_{name}_{table} AFTER {action} ON {table} {when} BEGIN {statement}; END"
            )
    connection.execute("DROP TRIGGER IF EXISTS changes_kept")
    connection.execute(
        f"CREATE TRIGGER changes_kept AFTER INSERT ON changes WHEN NEW.id % {KEPT} = 0"  # noqa: S608 - ours
        f" BEGIN DELETE FROM changes WHERE id <= NEW.id - {KEPT}; END"
    )
