"""What leaves the tables, and when: the leader looks each hour.

1. A request or offer that is over and was not matched goes ``closed_seconds`` after its expiry, with its parameters.
   The newest of each table stays, since its number is what the next one is counted from.
2. A job's evidence goes ``evidence_seconds`` after it came. Before that, a package of other evidence than the chain
   names for the job goes as soon as a final block names it.
3. A matched request counts for no peer's quota any more: its match was paid for.

Jobs, assets and events stay: the chain has them, and each cost gas. So do results and acknowledgements, of which a job
has one each, and the parameters of a matched request.
"""

from __future__ import annotations

import json
import logging

from sealmarket_backend.database.schema import ORDERS
from sealmarket_backend.ledger import StoreLimits
from sealmarket_backend.tables import Connection, Database
from sealmarket_enclave.protocol.codec import Bytes32

log = logging.getLogger(__name__)
AT_ONCE = 1_000
"""Rows that leave one table in one transaction, so that no order waits for long."""
_OVER = "state NOT IN ('open', 'matched')"
_SEVERAL = (
    "SELECT job_id, facts FROM jobs WHERE job_id IN (SELECT job_id FROM envelopes GROUP BY job_id HAVING COUNT(*) > 1)"
    " LIMIT ?"
)


def forget(database: Database, limits: StoreLimits, now: int) -> int:
    """Delete what is old enough; returns how many rows. Call it while the index is up to date.

    Raises:
        Deposed: another process leads.
    """
    gone = sum(_orders(database, table, now - limits.closed_seconds) for table in ORDERS)
    gone += _evidence(database, now - limits.evidence_seconds)
    if gone:
        log.info("%d rows that are over are gone", gone)
    _uncount_matched(database)
    return gone


def _orders(database: Database, table: str, before: int) -> int:
    gone = 0
    while True:
        with database.lead() as connection:
            found = _some_orders(connection, table, before)
        gone += found
        if found < AT_ONCE:
            return gone


def _some_orders(connection: Connection, table: str, before: int) -> int:
    key = ORDERS[table]
    rows = connection.execute(
        f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE {_OVER} AND expiry <= ?"  # noqa: S608 - ours
        f" AND sequence < (SELECT MAX(sequence) FROM {table}) LIMIT ?) RETURNING {key} AS key",
        (before, AT_ONCE),
    ).fetchall()
    if table == "requests":
        for other in ("parameters", "senders"):
            connection.executemany(f"DELETE FROM {other} WHERE request_hash = ?", [(row["key"],) for row in rows])  # noqa: S608
    return len(rows)


def _evidence(database: Database, before: int) -> int:
    rows = database.rows(_SEVERAL, AT_ONCE)
    with database.lead() as connection:
        gone = int(connection.execute("DELETE FROM envelopes WHERE stored_at <= ?", (before,)).rowcount)
        for row in rows:
            if named := json.loads(row["facts"]).get("evidenceHash"):
                others = "DELETE FROM envelopes WHERE job_id = ? AND evidence_hash <> ?"
                gone += connection.execute(others, (row["job_id"], Bytes32.parse(named))).rowcount
    return gone


def _uncount_matched(database: Database) -> None:
    with database.lead() as connection:
        connection.execute(
            "DELETE FROM senders WHERE request_hash IN (SELECT request_hash FROM requests WHERE state = 'matched')"
        )
