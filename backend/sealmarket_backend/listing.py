"""Pages of what the backend keeps: each listed thing has a place, a number that only grows and that nothing changes.

What is listed after a place was not listed before it, so a page neither repeats nor leaves out what stood when the
first one was read. A reorganisation takes the newest jobs and assets away; what comes instead has new places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from sealmarket.protocol.proposals import SignedProposal
from sealmarket.protocol.services import SignedServiceAddress
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import SignedAssetOrder, SignedComputeOrder
from sealmarket_backend.database.dialects import Row
from sealmarket_backend.tables import Database, readable
from sealmarket_enclave.protocol.codec import Address, Bytes32, decode

T = TypeVar("T")
Document = bytes
_NEWEST = 2**62
MOST_READ = 4096
"""Documents, of about 1 KB each, that are known to read."""
_BY_TURNS = """
SELECT body, place FROM (
    SELECT body, ROW_NUMBER() OVER (ORDER BY turn, sequence DESC) AS place FROM (
        SELECT body, sequence, ROW_NUMBER() OVER (PARTITION BY peer ORDER BY sequence DESC) AS turn FROM proposals
        WHERE expiry > ? AND sequence <= ? AND proposal_hash IN
            (SELECT proposal_hash FROM proposed WHERE owner = ?)
    ) AS in_turns
) AS placed WHERE place > ? ORDER BY place LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Listed:
    """Some of a list. ``place`` is that of the last one that was looked at, None where nothing follows."""

    documents: tuple[Document, ...]
    place: int | None


class Listings:
    """The lists of one backend."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def compute_orders(self, after: int, limit: int) -> Listed:
        """Offers that can be matched, oldest first."""
        rows = self._database.rows(
            "SELECT body, sequence AS place FROM compute_orders WHERE state = 'open' AND reason = '' AND sequence > ?"
            " ORDER BY sequence LIMIT ?",
            after,
            limit + 1,
        )
        return _listed(rows, limit, _COMPUTE_ORDER)

    def asset_orders(self, asset_id: Bytes32, version: int, after: int, limit: int) -> Listed:
        """Open offers of one version, oldest first."""
        rows = self._database.rows(
            "SELECT body, sequence AS place FROM asset_orders WHERE asset_id = ? AND version = ? AND state = 'open'"
            " AND sequence > ? ORDER BY sequence LIMIT ?",
            asset_id,
            version,
            after,
            limit + 1,
        )
        return _listed(rows, limit, _ASSET_ORDER)

    def jobs(
        self,
        view: Callable[[Bytes32], Document],
        before: int | None,
        limit: int,
        *,
        provider: Address | None = None,
        consumer: Address | None = None,
        status: Status | None = None,
    ) -> Listed:
        """Jobs that fit all that is given, newest first. ``view`` makes the document of one."""
        wanted = (("provider", provider), ("consumer", consumer), ("status", None if status is None else int(status)))
        given = [(column, value) for column, value in wanted if value is not None]
        where = "".join(f" AND {column} = ?" for column, _ in given)
        rows = self._database.rows(
            f"SELECT job_id, sequence AS place FROM jobs WHERE sequence < ?{where} ORDER BY sequence DESC LIMIT ?",  # noqa: S608 - ours
            _NEWEST if before is None else before,
            *(value for _, value in given),
            limit + 1,
        )
        return _listed(rows, limit, lambda row: view(Bytes32(row["job_id"])))

    def services(
        self, before: int | None, limit: int, *, asset_id: Bytes32 | None = None, workload: Bytes32 | None = None
    ) -> Listed:
        """Addresses of services whose job is accepted, and that fit all that is given, newest first."""
        of_asset, of_workload = "job_id IN (SELECT job_id FROM served_assets WHERE asset_id = ?)", "workload = ?"
        given = [(rule, value) for rule, value in ((of_asset, asset_id), (of_workload, workload)) if value is not None]
        where = "".join(f" AND services.{rule}" for rule, _ in given)
        rows = self._database.rows(
            "SELECT body, services.sequence AS place FROM services JOIN jobs USING (job_id)"  # noqa: S608 - ours
            f" WHERE jobs.status = ? AND services.sequence < ?{where} ORDER BY services.sequence DESC LIMIT ?",
            int(Status.ACCEPTED),
            _NEWEST if before is None else before,
            *(value for _, value in given),
            limit + 1,
        )
        return _listed(rows, limit, _as_kept(SignedServiceAddress))

    def proposals(
        self, owner: Address, now: int, newest: int | None, after: int, limit: int
    ) -> tuple[list[SignedProposal], int, int | None]:
        """Open proposals about an owner's assets, senders by turns, of those up to ``newest``: the proposals, what
        ``newest`` is for the following pages, and the place behind which they go on."""
        if newest is None:
            row = self._database.row("SELECT COALESCE(MAX(sequence), 0) AS newest FROM proposals")
            newest = int(row["newest"]) if row else 0
        rows = self._database.rows(_BY_TURNS, now, newest, owner, after, limit + 1)
        found = list(readable(rows[:limit], lambda row: decode(SignedProposal, row["body"])))
        return found, newest, rows[limit - 1]["place"] if len(rows) > limit else None

    def answers_about(self, owner: Address, before: int | None, limit: int) -> Listed:
        """The answers that one owner has given, the last posted first."""
        rows = self._database.rows(
            "SELECT body, sequence AS place FROM answers WHERE owner = ? AND sequence < ?"
            " ORDER BY sequence DESC LIMIT ?",
            owner,
            _NEWEST if before is None else before,
            limit + 1,
        )
        return _listed(rows, limit, lambda row: bytes(row["body"]))


def _listed(rows: list[Row], limit: int, document: Callable[[Row], Document]) -> Listed:
    shown: Iterable[Row] = rows[:limit]
    return Listed(tuple(readable(shown, document)), rows[limit - 1]["place"] if len(rows) > limit else None)


def _as_kept(kind: type[T]) -> Callable[[Row], Document]:
    @lru_cache(MOST_READ)
    def reads(body: Document) -> None:
        """Raises what :func:`decode` raises; of what is listed again and again, once."""
        decode(kind, body)

    def document(row: Row) -> Document:
        body = bytes(row["body"])
        reads(body)
        return body

    return document


_COMPUTE_ORDER, _ASSET_ORDER = _as_kept(SignedComputeOrder), _as_kept(SignedAssetOrder)
