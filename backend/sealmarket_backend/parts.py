"""Which part of the keeper's gas is an account's own: as much as its settled jobs are of all of the last week.

The oracle nodes were paid for each of these jobs, and their payers do not get that back. So an account cannot make its
part larger by being many accounts, and a job that only takes gas (matched and left, or refused in its block) gives
none.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Address

WINDOW_SECONDS = 7 * 86_400
LOOK_SECONDS = 60.0
"""How old the counts may be."""
MOST = 10_000
"""Accounts that have a part: those with the most jobs. A smaller part would not pay for one step."""
ALL = "SELECT COUNT(*) AS jobs FROM jobs WHERE settled_at > ? AND settled_at > 0"
"""Without the last condition SQLite does not see that its index has all rows that are meant."""
PARTIES = """
SELECT account, COUNT(*) AS jobs FROM (
    SELECT consumer AS account FROM jobs WHERE settled_at > ? AND settled_at > 0
    UNION ALL SELECT provider AS account FROM jobs WHERE settled_at > ? AND settled_at > 0
) AS counted GROUP BY account ORDER BY COUNT(*) DESC, account LIMIT ?
"""


class Parts:
    """Reads the index. Any thread may ask."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock
        self._read_at = float("-inf")
        self._jobs: Mapping[bytes, int] = {}
        self._all = 0
        self._reading = threading.Lock()

    def of(self, account: Address, whole: int) -> int:
        """The part of ``whole`` that is this account's own, rounded down. Raises :class:`StorageFailed`."""
        with self._reading:
            if not 0 <= self._clock() - self._read_at <= LOOK_SECONDS:
                self._read()
            return whole * self._jobs.get(bytes(account), 0) // max(self._all, 1)

    def _read(self) -> None:
        now = self._clock()
        since = max(0, int(now) - WINDOW_SECONDS)
        rows = self._database.rows(PARTIES, since, since, MOST)
        counted = self._database.row(ALL, since)
        self._jobs = {bytes(row["account"]): int(row["jobs"]) for row in rows}
        self._all = 2 * int(counted["jobs"]) if counted else 0
        self._read_at = now
