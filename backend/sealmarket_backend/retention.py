"""What leaves the tables, and when: the leader looks each hour.

1. A request or offer that is over and was not matched goes ``closed_seconds`` after its expiry, with its parameters.
   The newest of each table stays, since its number is what the next one is counted from.
2. A job's evidence goes ``evidence_seconds`` after it came. Before that, a package of other evidence than the chain
   names for the job goes as soon as a final block names it.
3. A matched request counts for no peer's quota any more: its match was paid for. The same holds for parameters of a
   match that was made around the backend.
4. A process of an earlier release, while replicas are replaced one by one, says neither when evidence came nor how long
   a row is. The leader says so at its next look: the time of evidence counts from then.

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
_UNDATED = "UPDATE envelopes SET stored_at = ?, bytes = LENGTH(body) WHERE stored_at = 0"
_LENGTH = "COALESCE((SELECT LENGTH(body) FROM {table} WHERE {table}.request_hash = senders.request_hash), 0)"
_UNMEASURED = (
    f"UPDATE senders SET bytes = {_LENGTH.format(table='requests')} + {_LENGTH.format(table='parameters')}"  # noqa: S608
    " WHERE bytes = 0"
)
_PAID = (
    "DELETE FROM senders WHERE request_hash IN (SELECT request_hash FROM requests WHERE state = 'matched')"
    " OR request_hash IN (SELECT request_hash FROM jobs)"
)
_SEVERAL = (
    "SELECT job_id, facts FROM jobs WHERE job_id IN (SELECT job_id FROM envelopes GROUP BY job_id HAVING COUNT(*) > 1)"
    " LIMIT ?"
)


def forget(database: Database, limits: StoreLimits, now: int) -> int:
    """Delete what is old enough; returns how many rows. Call it while the index is up to date.

    Raises:
        Deposed: another process leads.
    """
    _complete(database, now)
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
    for other in ("parameters", "senders") if table == "requests" else ("offer_senders",):
        connection.executemany(f"DELETE FROM {other} WHERE {key} = ?", [(row["key"],) for row in rows])  # noqa: S608
    return len(rows)


def _evidence(database: Database, before: int) -> int:
    rows = database.rows(_SEVERAL, AT_ONCE)
    with database.lead() as connection:
        old = "DELETE FROM envelopes WHERE stored_at > 0 AND stored_at <= ?"
        gone = int(connection.execute(old, (before,)).rowcount)
        for row in rows:
            if named := json.loads(row["facts"]).get("evidenceHash"):
                others = "DELETE FROM envelopes WHERE job_id = ? AND evidence_hash <> ?"
                gone += connection.execute(others, (row["job_id"], Bytes32.parse(named))).rowcount
    return gone


def _complete(database: Database, now: int) -> None:
    with database.lead() as connection:
        connection.execute(_UNDATED, (now,))
        connection.execute(_UNMEASURED)


def _uncount_matched(database: Database) -> None:
    with database.lead() as connection:
        connection.execute(_PAID)
