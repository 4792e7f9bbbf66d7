"""Where orders stand, of many at once: one statement answers for all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sealmarket_backend.database.dialects import Row
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Bytes32

MOST_ASKED = 64
"""Orders of one question."""
_SIZES = (1, 4, 16, MOST_ASKED)
"""How many a statement asks for: few statements, which the database keeps prepared."""


@dataclass(frozen=True, slots=True)
class RequestState:
    """Where a request stands. ``explanation`` says why it is not matched yet, a line for each reason."""

    request_hash: Bytes32
    state: str
    explanation: tuple[str, ...]
    job_id: Bytes32 | None


@dataclass(frozen=True, slots=True)
class OrderState:
    """Where an offer stands: ``open``, ``filled``, ``cancelled`` or ``expired``. ``reason`` says why it cannot be
    matched, now or ever."""

    order_hash: Bytes32
    state: str
    reason: str


def order_states(database: Database, keys: Sequence[Bytes32]) -> dict[Bytes32, OrderState]:
    """Where offers of either kind stand; those that are not kept are left out."""
    found: dict[Bytes32, OrderState] = {}
    for table in ("compute_orders", "asset_orders"):
        query = f"SELECT order_hash AS key, state, reason FROM {table} WHERE order_hash IN"  # noqa: S608 - ours
        if asked := [key for key in keys if key not in found]:
            for row in _rows(database, query, asked):
                key = Bytes32(row["key"])
                found[key] = OrderState(key, row["state"], row["reason"])
    return found


def request_states(database: Database, keys: Sequence[Bytes32]) -> dict[Bytes32, RequestState]:
    """Where requests stand; those that are not kept are left out."""
    query = "SELECT request_hash AS key, state, explanation, job_id FROM requests WHERE request_hash IN"
    found = (_request_in(row) for row in _rows(database, query, keys))
    return {one.request_hash: one for one in found}


def _request_in(row: Row) -> RequestState:
    explanation = tuple(json.loads(row["explanation"]))
    if row["state"] == "expired":
        explanation += ("the request expired before it was matched: sign a new one",)
    job_id = row["job_id"]
    return RequestState(Bytes32(row["key"]), row["state"], explanation, Bytes32(job_id) if job_id else None)


def _rows(database: Database, query: str, keys: Sequence[Bytes32]) -> Iterator[Row]:
    for first in range(0, len(keys), MOST_ASKED):
        asked = keys[first : first + MOST_ASKED]
        size = next(size for size in _SIZES if size >= len(asked))
        places = ", ".join("?" * size)
        yield from database.rows(f"{query} ({places})", *asked, *[asked[-1]] * (size - len(asked)))
