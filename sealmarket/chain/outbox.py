"""The journal of what one account sends on one chain: SQLite, so that processes share it and a crash loses nothing.

Each signed transaction is written here before any node sees it::

    (nothing) -> pending -> mined | replaced
                 pending <-> refused       a node would not take it; its nonce is free for the next one

A ``mined`` one goes back to ``pending`` when a reorganisation takes its block away. Choosing a nonce, signing and
writing the row are one transaction of the database, so no two processes sign the same nonce for two things.

``reported`` says that the caller who sent it has learnt its end. A caller who wants the same before that gets this one.

A session is one open outbox. It holds a lock on a file of its own until its process ends, however that ends; so others
see which pending rows have no caller that waits.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import sqlite3
import stat
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from sealmarket.chain.errors import NodeDistrusted, OutboxUnusable
from sealmarket.sqlite_file import open_durable
from sealmarket_enclave.protocol.codec import Address, Bytes32

log = logging.getLogger(__name__)

KEPT = 1_000
"""Rows of what is done with, the newest."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS identity (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS sent (
    hash TEXT PRIMARY KEY, nonce INTEGER NOT NULL, intent TEXT NOT NULL, what TEXT NOT NULL, fields TEXT NOT NULL,
    raw TEXT NOT NULL, state TEXT NOT NULL, claim TEXT NOT NULL, made INTEGER NOT NULL,
    reported INTEGER NOT NULL DEFAULT 0, final INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS by_nonce ON sent (nonce);
CREATE INDEX IF NOT EXISTS by_intent ON sent (intent);
"""


class State(StrEnum):
    """What is known of a signed transaction."""

    PENDING = "pending"
    MINED = "mined"
    REPLACED = "replaced"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One signed transaction. ``intent`` is the hash of what it does: two with one intent do the same."""

    hash: Bytes32
    nonce: int
    intent: Bytes32
    what: str
    fields: dict[str, Any]
    raw: str
    state: State = State.PENDING
    resumed: bool = False


def per_user_folder() -> Path:
    """Where commands keep outboxes: below ``XDG_STATE_HOME``, or ``~/.local/state``."""
    named = os.environ.get("XDG_STATE_HOME", "")
    base = Path(named) if Path(named).is_absolute() else Path.home() / ".local" / "state"
    return base / "sealmarket" / "outbox"


def open_outbox(folder: Path | None, *, chain_id: int, account: Address) -> Outbox:
    """The outbox in a folder; in memory, and said so, where the folder cannot be written."""
    if folder is None:
        return Outbox(None, chain_id=chain_id, account=account)
    try:
        return Outbox(folder, chain_id=chain_id, account=account)
    except OSError as error:
        log.warning(
            "%s cannot be written (%s): transactions are remembered only until this program ends; "
            "before you send one again, look up what became of the last",
            folder,
            error.strerror,
        )
        return Outbox(None, chain_id=chain_id, account=account)


class Outbox:
    """One account's journal on one chain. Threads and processes may share it."""

    def __init__(self, folder: Path | None, *, chain_id: int, account: Address) -> None:
        """Open or make it; ``folder`` None keeps it in memory.

        Raises:
            OSError: the folder cannot be made or written.
            OutboxUnusable: others may write into it, or it is damaged.
        """
        self._name = f"{chain_id}-{account}"
        self._lock = threading.RLock()
        self._session = _Session(folder)
        self._folder = folder
        path = ":memory:" if folder is None else str(folder / f"{self._name}.sqlite")
        try:
            self._db = open_durable(path, _SCHEMA, busy_seconds=30)
        except sqlite3.DatabaseError as error:
            raise OutboxUnusable(path, str(error)) from error
        self._db.row_factory = sqlite3.Row
        weakref.finalize(self, self._db.close)

    def bind(self, genesis: str, *, development: bool) -> None:
        """Hold the journal to one chain, by its first block. A development chain that began anew empties it.

        Raises:
            NodeDistrusted: another chain under the same chain id.
        """
        with self._writing():
            self._db.execute("INSERT INTO identity VALUES ('genesis', ?) ON CONFLICT DO NOTHING", (genesis,))
            (known,) = self._db.execute("SELECT value FROM identity WHERE name = 'genesis'").fetchone()
            if known == genesis:
                return
            if not development:
                raise NodeDistrusted("first block", known, genesis)
            self._db.execute("DELETE FROM sent")
            self._db.execute("UPDATE identity SET value = ? WHERE name = 'genesis'", (genesis,))

    # --- writing ------------------------------------------------------------------------------------------------

    def adopt(self, intent: Bytes32) -> Entry | None:
        """Claim a transaction that does this, whose end is not reported and that no caller waits for."""
        with self._writing():
            return self._adopt(intent)

    def reserve(self, intent: Bytes32, mined: int, free_from: int, sign: Callable[[int], Entry]) -> Entry:
        """Adopt, or else sign for the next free nonce and write it down.

        A refused transaction of the same intent gives its nonce: then at most one of the two can ever count.
        ``mined`` and ``free_from`` are the node's counts of this account's transactions, without and with the pending.
        """
        with self._writing():
            if found := self._adopt(intent):
                return found
            rows = self._rows("state = 'refused' AND intent = ? AND nonce >= ?", str(intent), mined)
            entry = sign(rows[0]["nonce"] if rows else self._free(free_from))
            self._insert(entry)
            return entry

    def fill(self, nonce: int, sign: Callable[[int], Entry]) -> Entry | None:
        """Sign for a nonce that a later one waits for; None where it has a pending transaction by now."""
        with self._writing():
            if self._rows("state IN ('pending', 'mined') AND nonce = ?", nonce):
                return None
            entry = sign(nonce)
            self._insert(entry)
            return entry

    def add(self, entry: Entry) -> None:
        """Write down a replacement: another transaction of the same intent and nonce."""
        with self._writing():
            self._insert(entry)

    def mined(self, entry: Entry, *, final: bool, reported: bool) -> None:
        """It is in a block; others of its nonce are replaced. ``reported``: its caller learns so now."""
        with self._writing():
            self._db.execute("UPDATE sent SET state = 'replaced' WHERE nonce = ?", (entry.nonce,))
            change = "UPDATE sent SET state = 'mined', reported = max(reported, ?), final = ? WHERE hash = ?"
            self._db.execute(change, (reported, final, str(entry.hash)))
            newest = "SELECT hash FROM sent WHERE state <> 'pending' ORDER BY nonce DESC LIMIT ?"
            done = f"DELETE FROM sent WHERE state <> 'pending' AND hash NOT IN ({newest})"  # noqa: S608 - ours
            self._db.execute(done, (KEPT,))

    def report(self, entries: Collection[Entry]) -> None:
        """The callers of all of them learn their ends now: of all at once, or of none."""
        with self._writing():
            for entry in entries:
                self._db.execute("UPDATE sent SET reported = 1 WHERE hash = ?", (str(entry.hash),))

    def mark(self, entry: Entry, state: State) -> None:
        """Set a transaction's state."""
        with self._writing():
            self._db.execute("UPDATE sent SET state = ? WHERE hash = ?", (state, str(entry.hash)))

    def release(self, entry: Entry) -> None:
        """No caller here waits for it any more: the next one who wants the same goes on with it."""
        with self._writing():
            self._db.execute("UPDATE sent SET claim = '' WHERE nonce = ?", (entry.nonce,))

    # --- reading ------------------------------------------------------------------------------------------------

    def family(self, entry: Entry) -> list[Entry]:
        """All transactions of its nonce that do the same: at most one of them can count."""
        with self._lock:
            return [_entry(row) for row in self._rows("nonce = ? AND intent = ?", entry.nonce, str(entry.intent))]

    def refused(self, intent: Bytes32) -> list[Entry]:
        """Refused transactions that do this."""
        with self._lock:
            return [_entry(row) for row in self._rows("state = 'refused' AND intent = ?", str(intent))]

    def pending(self) -> list[Entry]:
        """Pending transactions, by nonce."""
        with self._lock:
            return [_entry(row) for row in self._rows("state = 'pending'")]

    def awaited(self, entry: Entry) -> bool:
        """Whether a caller waits for it, here or in another process."""
        with self._lock:
            rows = self._rows("hash = ?", str(entry.hash))
            return bool(rows) and self._session.holds(rows[0]["claim"])

    def unsettled(self, mined: int) -> list[Entry]:
        """What was mined and is not known to be final, or has no place among the ``mined`` that the chain counts."""
        with self._lock:
            return [_entry(row) for row in self._rows("state = 'mined' AND (final = 0 OR nonce >= ?)", mined)]

    def find(self, transaction: Bytes32) -> Entry | None:
        """One transaction by its hash."""
        with self._lock:
            rows = self._rows("hash = ?", str(transaction))
            return _entry(rows[0]) if rows else None

    # --- inside a transaction -----------------------------------------------------------------------------------

    def _adopt(self, intent: Bytes32) -> Entry | None:
        for row in self._rows("state IN ('pending', 'mined') AND reported = 0 AND intent = ?", str(intent)):
            if not self._session.holds(row["claim"]):
                self._db.execute("UPDATE sent SET claim = ? WHERE nonce = ?", (self._session.name, row["nonce"]))
                return replace(_entry(row), resumed=True)
        return None

    def _free(self, first: int) -> int:
        rows = self._rows("state IN ('pending', 'mined') AND nonce >= ?", first)
        taken = {row["nonce"] for row in rows}
        while first in taken:
            first += 1
        return first

    def _insert(self, entry: Entry) -> None:
        self._db.execute(
            "INSERT INTO sent (hash, nonce, intent, what, fields, raw, state, claim, made)"
            " VALUES (?, ?, ?, ?, ?, ?, 'pending', ?, ?)"
            " ON CONFLICT (hash) DO UPDATE SET state = 'pending', claim = excluded.claim",
            (
                *(str(entry.hash), entry.nonce, str(entry.intent), entry.what),
                *(json.dumps(entry.fields), entry.raw, self._session.name, int(time.time())),
            ),
        )

    def _rows(self, condition: str, *values: object) -> list[sqlite3.Row]:
        query = f"SELECT * FROM sent WHERE {condition} ORDER BY nonce, rowid"  # noqa: S608 - conditions are ours
        return self._db.execute(query, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


class _Session:
    """A lock that lives as long as its process keeps the outbox open."""

    def __init__(self, folder: Path | None) -> None:
        self.name = secrets.token_hex(8)
        self._folder = folder and folder / "sessions"
        if folder is None or self._folder is None:
            return
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_private(folder)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path = self._folder / self.name
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        weakref.finalize(self, _end_session, handle, path)

    def holds(self, claim: str) -> bool:
        """Whether the session of a claim still runs."""
        if not claim or claim == self.name:
            return bool(claim)
        if self._folder is None:
            return False
        try:
            handle = os.open(self._folder / claim, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        (self._folder / claim).unlink(missing_ok=True)
        return False


def _end_session(handle: int, path: Path) -> None:
    path.unlink(missing_ok=True)
    os.close(handle)


def _require_private(folder: Path) -> None:
    """An account that may write here could hide a payment, and have it made twice."""
    found = folder.stat()
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
        raise OutboxUnusable(str(folder), "other accounts of this machine may write there")


def _entry(row: sqlite3.Row) -> Entry:
    return Entry(
        hash=Bytes32.parse(row["hash"]),
        nonce=row["nonce"],
        intent=Bytes32.parse(row["intent"]),
        what=row["what"],
        fields=json.loads(row["fields"]),
        raw=row["raw"],
        state=State(row["state"]),
    )
