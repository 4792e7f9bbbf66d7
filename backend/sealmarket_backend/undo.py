"""Takes back what final blocks changed, to one of the last cursors: the index's way through a reorganisation.

While a range of blocks is stored, triggers write down how each change is undone, under the range's last block. The
statements are SQLite's own quoting of the old values. Nothing is written down for changes that come from elsewhere.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sealmarket.chain.follow import Cursor
from sealmarket_enclave.protocol.codec import Bytes32

KEPT_BLOCKS = 256
"""How far below the newest cursor a rewind may lead; what is older is read anew from the start."""
_FOLLOWED = ("assets", "jobs", "job_events", "interruptions", "unreadable", "requests", "compute_orders")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS cursors (block INTEGER PRIMARY KEY, hash BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS undo (id INTEGER PRIMARY KEY, block INTEGER NOT NULL, statement TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS recording (id INTEGER PRIMARY KEY CHECK (id = 1), block INTEGER NOT NULL);
"""


def prepare(connection: sqlite3.Connection) -> None:
    """Create what this module needs, beside the tables that it follows."""
    connection.execute("PRAGMA recursive_triggers=ON")  # a REPLACE deletes too
    connection.executescript(_SCHEMA)
    for table in _FOLLOWED:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        for action, statement in _inverses(table, columns).items():
            name = f"undo_{action}_{table}"
            connection.execute(f"DROP TRIGGER IF EXISTS {name}")
            connection.execute(
                f"CREATE TRIGGER {name} AFTER {action} ON {table} WHEN EXISTS (SELECT 1 FROM recording) BEGIN "  # noqa: S608 - names are ours
                f"INSERT INTO undo (block, statement) SELECT block, {statement} FROM recording; END"
            )


@contextmanager
def recorded(connection: sqlite3.Connection, end: Cursor) -> Iterator[None]:
    """Write down how to undo what happens inside, which belongs to the blocks up to ``end``."""
    connection.execute("INSERT INTO recording (id, block) VALUES (1, ?)", (end.number,))
    yield
    connection.execute("DELETE FROM recording")
    connection.execute("INSERT OR REPLACE INTO cursors (block, hash) VALUES (?, ?)", (end.number, end.hash))
    oldest = connection.execute("SELECT max(block) FROM cursors WHERE block <= ?", (end.number - KEPT_BLOCKS,))
    before = oldest.fetchone()[0]
    if before is not None:
        connection.execute("DELETE FROM cursors WHERE block < ?", (before,))
        connection.execute("DELETE FROM undo WHERE block <= ?", (before,))


def back_to(connection: sqlite3.Connection, block: int) -> bool:
    """Undo what came after one of the kept cursors; False, and nothing is done, where there is no cursor at a block."""
    if connection.execute("SELECT 1 FROM cursors WHERE block = ?", (block,)).fetchone() is None:
        return False
    for row in connection.execute("SELECT statement FROM undo WHERE block > ? ORDER BY id DESC", (block,)).fetchall():
        connection.execute(row[0])
    for table in ("undo", "cursors"):
        connection.execute(f"DELETE FROM {table} WHERE block > ?", (block,))  # noqa: S608 - names are ours
    return True


def forget(connection: sqlite3.Connection) -> None:
    """Keep no cursor and no change."""
    connection.execute("DELETE FROM undo")
    connection.execute("DELETE FROM cursors")


def cursors(rows: list[sqlite3.Row]) -> list[Cursor]:
    """Rows of the table of cursors."""
    return [Cursor(row["block"], Bytes32(row["hash"])) for row in rows]


def _inverses(table: str, columns: list[str]) -> dict[str, str]:
    """By action, an SQL expression whose value is the statement that undoes it."""
    values = " || ',' || ".join(f"quote(OLD.{name})" for name in columns)
    assigned = " || ',' || ".join(f"'{name}=' || quote(OLD.{name})" for name in columns)
    restored = f"(rowid,{','.join(columns)}) VALUES ("
    return {
        "INSERT": f"'DELETE FROM {table} WHERE rowid=' || NEW.rowid",  # noqa: S608 - names are ours
        "UPDATE": f"'UPDATE {table} SET ' || {assigned} || ' WHERE rowid=' || OLD.rowid",  # noqa: S608
        "DELETE": f"'INSERT INTO {table} {restored}' || OLD.rowid || ',' || {values} || ')'",
    }
