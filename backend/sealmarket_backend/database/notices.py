"""What changed, said to all processes on one database: on PostgreSQL by NOTIFY, else within the process.

A notice is a topic alone. Who hears one reads the tables again, and may hear one for nothing; notices may be lost
while a connection is, and then every listener hears :data:`EVERYTHING`. So nothing depends on a notice but how soon
something is seen.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from sealmarket_backend.database.dialects import Postgres
from sealmarket_backend.tables import Connection, Database

log = logging.getLogger(__name__)
ORDERS, JOBS, EVERYTHING = "orders", "jobs", "everything"
_CHANNEL = "sealmarket"
_AGAIN_SECONDS = 0.5
_LOOK_SECONDS = 0.2

Listener = Callable[[str], None]


class Notices:
    """Tells and hears. Listeners are called from any thread, and raise nothing."""

    def __init__(self, database: Database) -> None:
        self._dialect = database.dialect
        self._listeners: list[Listener] = []
        self._stopped = threading.Event()
        self.listening = threading.Event()
        """Set while what other processes tell is heard."""
        self._thread: threading.Thread | None = None
        if isinstance(self._dialect, Postgres):
            self._thread = threading.Thread(target=self._listen, args=(self._dialect,), name="notices", daemon=True)
            self._thread.start()
        else:
            self.listening.set()

    def subscribe(self, hear: Listener) -> Callable[[], None]:
        """Hear what changes from now on; returns what ends it."""
        self._listeners.append(hear)
        return lambda: self._listeners.remove(hear)

    def tell(self, connection: Connection, topic: str) -> None:
        """Say that this transaction changes something; it is heard once that is committed."""
        if topic in connection.notified:
            return
        connection.notified.add(topic)
        if self._thread is None:
            connection.after.append(lambda: self._spread(topic))
        else:
            connection.later(f"SELECT pg_notify('{_CHANNEL}_' || current_schema(), ?)", (topic,))

    def close(self) -> None:
        """Hear no more."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _spread(self, topic: str) -> None:
        for hear in tuple(self._listeners):
            hear(topic)

    def _listen(self, dialect: Postgres) -> None:
        import psycopg

        while not self._stopped.is_set():
            try:
                session = dialect.open()
                try:
                    self._hear(session)
                finally:
                    self.listening.clear()
                    session.close()
            except psycopg.Error as error:
                if not self._stopped.is_set():
                    log.warning("notices are heard again after a while: %s", error)
                self._stopped.wait(_AGAIN_SECONDS)

    def _hear(self, session: Any) -> None:
        channel = session.execute(f"SELECT quote_ident('{_CHANNEL}_' || current_schema())".encode()).fetchone()[0]
        session.execute(f"LISTEN {channel}".encode())
        self.listening.set()
        self._spread(EVERYTHING)
        while not self._stopped.is_set():
            for notice in session.notifies(timeout=_LOOK_SECONDS, stop_after=1):
                self._spread(notice.payload)
