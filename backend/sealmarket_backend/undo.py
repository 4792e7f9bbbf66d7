"""Takes back what final blocks changed, to one of the last cursors: the index's way through a reorganisation.

While a range of blocks is stored, triggers write down how each change is undone, under the range's last block, as
statements with the database's own quoting of the old values. Nothing is written down for changes that come from
elsewhere. Events are rows that never change: those of later blocks are deleted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sealmarket.chain.follow import Cursor
from sealmarket_backend.database.dialects import Row
from sealmarket_backend.tables import Connection
from sealmarket_enclave.protocol.codec import Bytes32

KEPT_BLOCKS = 256
"""How far below the newest cursor a rewind may lead; what is older is read anew from the start."""


@contextmanager
def recorded(connection: Connection, end: Cursor) -> Iterator[None]:
    """Write down how to undo what happens inside, which belongs to the blocks up to ``end``."""
    connection.execute("INSERT INTO recording (id, block) VALUES (1, ?)", (end.number,))
    yield
    connection.execute("DELETE FROM recording")
    connection.execute(
        "INSERT INTO cursors (block, hash) VALUES (?, ?) ON CONFLICT (block) DO UPDATE SET hash = excluded.hash",
        (end.number, end.hash),
    )
    oldest = connection.execute("SELECT max(block) FROM cursors WHERE block <= ?", (end.number - KEPT_BLOCKS,))
    before = oldest.fetchone()[0]
    if before is not None:
        connection.execute("DELETE FROM cursors WHERE block < ?", (before,))
        connection.execute("DELETE FROM undo WHERE block <= ?", (before,))


def back_to(connection: Connection, block: int) -> bool:
    """Undo what came after one of the kept cursors; False, and nothing is done, where there is no cursor at a block."""
    if connection.execute("SELECT 1 FROM cursors WHERE block = ?", (block,)).fetchone() is None:
        return False
    for row in connection.execute("SELECT statement FROM undo WHERE block > ? ORDER BY id DESC", (block,)).fetchall():
        connection.execute(row[0])
    for table in ("undo", "cursors", "events"):
        connection.execute(f"DELETE FROM {table} WHERE block > ?", (block,))  # noqa: S608 - names are ours
    return True


def forget(connection: Connection) -> None:
    """Keep no cursor and no change."""
    connection.execute("DELETE FROM undo")
    connection.execute("DELETE FROM cursors")


def cursors(rows: Sequence[Row]) -> list[Cursor]:
    """Rows of the table of cursors."""
    return [Cursor(row["block"], Bytes32(row["hash"])) for row in rows]
