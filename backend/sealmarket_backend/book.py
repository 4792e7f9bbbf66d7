"""The order book: signed orders, kept until they are matched, cancelled or out of date.

An order is accepted when its signature holds and it could be matched now or later; then it is on disk. The book
cannot forge, change or hide an order's meaning: contracts check every signature again, and anyone may submit a match
around it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from sealmarket.protocol.fitting import Rules, Unmet, unmet_by_order, unmet_by_request
from sealmarket.protocol.limits import MAXIMUM_PARAMETERS
from sealmarket.protocol.wire import PostedRequest, SignedAssetOrder, SignedComputeOrder, SignedRequest
from sealmarket.serving.rates import UNKNOWN_PEER
from sealmarket_backend.errors import NotFound, Rejected, TooLarge
from sealmarket_backend.index import IndexedAsset
from sealmarket_backend.signatures import Signatures
from sealmarket_backend.tables import Database, readable
from sealmarket_enclave.protocol.codec import Address, Bytes32, Uint, canonical_json, decode
from sealmarket_enclave.protocol.job import Parameters, parameters_digest

T = TypeVar("T")
MAX_OPEN_ORDERS_PER_ACCOUNT = 1000
_EXPIRY = {"requests": "$.request.expiry", "compute_orders": "$.order.expiry", "asset_orders": "$.order.expiry"}
"""Where each table's documents say until when they hold."""
_FIELD = "CASE WHEN json_valid(CAST(body AS TEXT)) THEN json_extract(CAST(body AS TEXT), ?) END"


@dataclass(frozen=True, slots=True)
class RequestState:
    """Where a request stands. ``explanation`` says why it is not matched yet, a line for each reason."""

    request_hash: Bytes32
    state: str
    explanation: tuple[str, ...]
    job_id: Bytes32 | None


class OrderBook:
    """Adds, lists and closes orders of one market."""

    def __init__(self, database: Database, signatures: Signatures, rules: Rules) -> None:
        self._database = database
        self._signatures = signatures
        self._rules = rules

    def add_request(self, posted: PostedRequest, now: int, peer: str = UNKNOWN_PEER) -> Bytes32:
        """Accept a request with its parameters: both are kept, or neither. Posting it twice is the same as once, also
        after it was matched or has expired. ``peer`` is who sent it.

        Raises:
            Rejected: parameters of another digest, out of date, outside what this market takes of any request, or not
                signed by its consumer and payer.
            TooMany: as :meth:`Signatures.require`, for every method that adds an order.
        """
        signed = posted.request
        request = signed.request
        require_digest(posted.parameters, request.parameters_digest)
        key = request.struct_hash()
        if self._is_known(key):
            return key
        self._require_current(request.expiry, now)
        _require_kept(unmet_by_request(request, self._rules, now))
        by_contract = self._signatures.require(request, signed.signature, request.consumer, peer)
        if request.payer != request.consumer:
            self._signatures.require(request, signed.payer_signature, request.payer, peer)
        salt = request.salt if by_contract else None
        self._insert("requests", "request_hash", key, signed, request.consumer, salt, posted.parameters)
        return key

    def _is_known(self, request_hash: Bytes32) -> bool:
        """Whether request and parameters are both kept."""
        query = "SELECT 1 FROM requests JOIN parameters USING (request_hash) WHERE request_hash = ?"
        return self._database.row(query, request_hash) is not None

    def add_compute_order(self, signed: SignedComputeOrder, now: int, peer: str = UNKNOWN_PEER) -> Bytes32:
        """Accept a provider's offer. Raises :class:`Rejected`, also for what this market takes of no order."""
        self._require_current(signed.order.expiry, now)
        _require_kept(unmet_by_order(signed.order, self._rules, now))
        by_contract = self._signatures.require(signed.order, signed.signature, signed.order.provider, peer)
        key = signed.order.struct_hash()
        salt = signed.order.salt if by_contract else None
        self._insert("compute_orders", "order_hash", key, signed, signed.order.provider, salt)
        return key

    def add_asset_order(
        self, signed: SignedAssetOrder, asset: IndexedAsset, now: int, peer: str = UNKNOWN_PEER
    ) -> Bytes32:
        """Accept an owner's offer of a version at most at the price of its terms. Raises :class:`Rejected`."""
        order = signed.order
        self._require_current(order.expiry, now)
        if order.price > asset.terms.price:
            raise Rejected(
                f"the order's price is {order.price}, expected at most the standing price, {asset.terms.price}",
                remedy="tighten the terms to raise the standing price",
            )
        self._signatures.require(order, signed.signature, asset.owner, peer)
        key = order.struct_hash()
        with self._database.write() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO asset_orders (order_hash, asset_id, version, body, sequence)"
                " VALUES (?, ?, ?, ?, (SELECT COALESCE(MAX(sequence), 0) + 1 FROM asset_orders))",
                (key, order.asset_id, order.version, canonical_json(signed)),
            )
            count = connection.execute(
                "SELECT COUNT(*) FROM asset_orders WHERE asset_id = ? AND state = 'open'", (order.asset_id,)
            ).fetchone()[0]
            _require_room(count, f"asset {order.asset_id}")
        return key

    def add_parameters(self, request_hash: Bytes32, parameters: Parameters) -> None:
        """Keep a request's parameters; their reader compares them with the digest that the consumer signed."""
        with self._database.write() as connection:
            _keep_parameters(connection, request_hash, parameters)

    def has_parameters(self, request_hash: Bytes32) -> bool:
        """Whether a request's parameters are kept."""
        return self._database.row("SELECT 1 FROM parameters WHERE request_hash = ?", request_hash) is not None

    def parameters(self, request_hash: Bytes32) -> Parameters:
        """A request's parameters. Raises :class:`NotFound`."""
        row = self._database.row("SELECT body FROM parameters WHERE request_hash = ?", request_hash)
        if row is None:
            raise NotFound(f"no parameters for request {request_hash}", remedy="ask the consumer to post them")
        return decode(Parameters, row["body"])

    def open_requests(self) -> list[SignedRequest]:
        """Requests that wait for a match, oldest first."""
        rows = self._database.rows("SELECT body FROM requests WHERE state = 'open' ORDER BY sequence")
        return list(readable(rows, partial(_body, SignedRequest)))

    def open_compute_orders(self) -> list[SignedComputeOrder]:
        """Offers of providers, oldest first."""
        rows = self._database.rows("SELECT body FROM compute_orders WHERE state = 'open' ORDER BY sequence")
        return list(readable(rows, partial(_body, SignedComputeOrder)))

    def open_asset_orders(self, asset_id: Bytes32, version: int) -> list[SignedAssetOrder]:
        """Offers for one version of an asset, oldest first."""
        rows = self._database.rows(
            "SELECT body FROM asset_orders WHERE asset_id = ? AND version = ? AND state = 'open' ORDER BY sequence",
            asset_id,
            version,
        )
        return list(readable(rows, partial(_body, SignedAssetOrder)))

    def close_expired(self, now: int) -> None:
        """``open -> expired`` for what no match can use any more, so that it neither counts nor costs a look."""
        with self._database.write() as connection:
            for table, path in _EXPIRY.items():
                connection.execute(
                    f"UPDATE {table} SET state = 'expired' WHERE state = 'open'"  # noqa: S608 - the tables are ours
                    f" AND CAST({_FIELD} AS INTEGER) <= ?",
                    (path, now),
                )

    def explain(self, request_hash: Bytes32, lines: tuple[str, ...]) -> None:
        """Say why an open request is not matched yet."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE requests SET explanation = ? WHERE request_hash = ? AND state = 'open'",
                (json.dumps(lines), request_hash),
            )

    def request_state(self, request_hash: Bytes32) -> RequestState:
        """Where a request stands. Raises :class:`NotFound`."""
        row = self._database.row("SELECT * FROM requests WHERE request_hash = ?", request_hash)
        if row is None:
            raise NotFound(f"no request {request_hash}", remedy="post it first")
        job_id = row["job_id"]
        explanation = tuple(json.loads(row["explanation"]))
        if row["state"] == "expired":
            explanation += ("the request expired before it was matched: sign a new one",)
        return RequestState(request_hash, row["state"], explanation, Bytes32(job_id) if job_id else None)

    def _insert(
        self,
        table: str,
        key_column: str,
        key: Bytes32,
        body: object,
        account: Address,
        salt: Uint | None,
        parameters: Parameters | None = None,
    ) -> None:
        with self._database.write() as connection:
            if salt is not None:
                _require_new_salt(connection, table, key_column, key, account, salt)
            # Table and column are ours; only values come from outside.
            connection.execute(
                f"INSERT OR IGNORE INTO {table} ({key_column}, body, account, sequence)"  # noqa: S608
                f" VALUES (?, ?, ?, (SELECT COALESCE(MAX(sequence), 0) + 1 FROM {table}))",
                (key, canonical_json(body), account),
            )
            if parameters is not None:
                _keep_parameters(connection, key, parameters)
            count = connection.execute(
                f"SELECT COUNT(*) FROM {table} WHERE account = ? AND state = 'open'",  # noqa: S608
                (account,),
            ).fetchone()[0]
            _require_room(count, account.checksum)

    def _require_current(self, expiry: int, now: int) -> None:
        if expiry <= now:
            raise Rejected(f"the order expired at {expiry}, and it is {now}", remedy="sign one that lasts longer")


def _require_kept(unmet: Iterator[Unmet]) -> None:
    if (first := next(unmet, None)) is not None:
        raise Rejected(str(first), remedy="sign one within these limits: no match could use this one")


def _require_room(count: int, whose: str) -> None:
    if count > MAX_OPEN_ORDERS_PER_ACCOUNT:
        raise Rejected(
            f"{whose} has {MAX_OPEN_ORDERS_PER_ACCOUNT} open orders already",
            remedy="cancel some, or wait until they are matched or expire",
        )


def _require_new_salt(
    connection: sqlite3.Connection, table: str, key_column: str, key: Bytes32, account: Address, salt: Uint
) -> None:
    """One order a salt for contracts: what one of them accepts may be more than it meant to sign."""
    found = connection.execute(
        f"SELECT 1 FROM {table} WHERE account = ? AND state = 'open' AND {key_column} != ?"  # noqa: S608 - ours
        f" AND {_FIELD} = ?",
        (account, key, _EXPIRY[table].replace("expiry", "salt"), str(salt)),
    ).fetchone()
    if found:
        raise Rejected(
            f"{account.checksum} has an open order with salt {salt} already", remedy="cancel it, or use another salt"
        )


def _body(kind: type[T], row: sqlite3.Row) -> T:
    return decode(kind, row["body"])


def require_size(parameters: Parameters) -> None:
    """Raise :class:`TooLarge` for parameters that no node would read."""
    if (length := len(canonical_json(parameters))) > MAXIMUM_PARAMETERS:
        raise TooLarge(f"parameters have at most {MAXIMUM_PARAMETERS} bytes, found {length}")


def require_digest(parameters: Parameters, expected: Bytes32) -> None:
    """Return if these are the parameters that a consumer signed. Raises :class:`TooLarge`, :class:`Rejected`."""
    require_size(parameters)
    found = parameters_digest(parameters.salt, canonical_json(parameters.values))
    if found != expected:
        raise Rejected(f"expected parameters with digest {expected}, found {found}", remedy="post what was signed")


def _keep_parameters(connection: sqlite3.Connection, request_hash: Bytes32, parameters: Parameters) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO parameters (request_hash, body) VALUES (?, ?)",
        (request_hash, canonical_json(parameters)),
    )
