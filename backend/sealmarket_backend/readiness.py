"""Whether a backend can do its work now: its database, the chain, its index, its keeper, and whether it leads."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sealmarket.chain import ChainError
from sealmarket.protocol.market import Readiness
from sealmarket_backend.errors import StorageFailed

if TYPE_CHECKING:
    from sealmarket_backend.service import Backend

log = logging.getLogger(__name__)


def readiness(backend: Backend, most_head_age: int, most_lag: int) -> Readiness:
    """Look once. Ages in seconds, lag in blocks; None where it cannot be known."""
    database = _database_answers(backend)
    age, lag = _chain(backend, database=database)
    keeper = not backend.trouble
    near = age is not None and lag is not None and age <= most_head_age and lag <= most_lag
    return Readiness(
        ready=database and near and keeper,
        database=database,
        head_age_seconds=age,
        index_lag_blocks=lag,
        keeper=keeper,
        leader=backend.leads(),
    )


def _database_answers(backend: Backend) -> bool:
    try:
        return backend.database.row("SELECT 1") is not None
    except StorageFailed as error:
        log.warning("the database does not answer: %s", error.detail)
        return False


def _chain(backend: Backend, *, database: bool) -> tuple[int | None, int | None]:
    try:
        age = max(0, int(backend.clock()) - backend.chain.head().timestamp)
        lag = max(0, backend.chain.final().number - backend.index.position()) if database else None
    except ChainError as error:
        log.warning("the chain does not answer: %s", error)
        return None, None
    return age, lag
