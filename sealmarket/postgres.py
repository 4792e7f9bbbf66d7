"""What programs that write to a PostgreSQL share: how a session is set up, a value written, and what is a loss.

Statements are written once, in the SQL that SQLite reads as well, with ``?`` for each value.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

SESSION = (
    "-c idle_in_transaction_session_timeout=30000 -c lock_timeout=30000 -c client_connection_check_interval=2000"
    " -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
)
"""A process that hangs in a transaction keeps the others from writing for half a minute at most."""
_AWAY = ("08", "57P", "53300")
"""SQLSTATEs: the connection failed, the server stops or starts, it has no room for another connection."""


@lru_cache(maxsize=1024)
def translated(query: str) -> bytes:
    """psycopg's placeholders; no statement with values has a ``?`` or ``%`` of its own."""
    return query.replace("?", "%s").encode()


def plain(value: object) -> object:
    """As one of the types that a column has: what is derived of it, and truth, are the same to SQLite."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    return str(value) if isinstance(value, str) else value


def is_away(error: Exception) -> bool:
    """Whether a connection is gone, or cannot be had now; a statement that is refused is neither."""
    import psycopg

    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    state: Any = error.sqlstate
    return state is None or str(state).startswith(_AWAY)
