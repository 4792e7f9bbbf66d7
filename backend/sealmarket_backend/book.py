"""The order book: signed orders, kept until they are matched, cancelled or out of date.

An order is accepted when its signature holds and it could be matched now or later; then it is on disk. The book
cannot forge, change or hide an order's meaning: contracts check every signature again, and anyone may submit a match
around it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.wire import PostedRequest, SignedAssetOrder, SignedComputeOrder, SignedRequest
from sealmarket_backend.errors import NotFound, Rejected
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Address, Bytes32, canonical_json, decode
from sealmarket_enclave.protocol.eip712 import TypedShape
from sealmarket_enclave.protocol.job import Parameters, parameters_digest
from sealmarket_enclave.protocol.signing import SignatureRefused, recover

MAX_OPEN_ORDERS_PER_ACCOUNT = 1000
_EXPIRY = {"requests": "$.request.expiry", "compute_orders": "$.order.expiry", "asset_orders": "$.order.expiry"}
"""Where each table's documents say until when they hold."""


@dataclass(frozen=True, slots=True)
class RequestState:
    """Where a request stands. ``explanation`` says why it is not matched yet, a line for each reason."""

    request_hash: Bytes32
    state: str
    explanation: tuple[str, ...]
    job_id: Bytes32 | None


class OrderBook:
    """Adds, lists and closes orders of one market."""

    def __init__(self, database: Database, addresses: AddressBook, *, is_contract: Callable[[Address], bool]) -> None:
        self._database = database
        self._addresses = addresses
        self._is_contract = is_contract

    def add_request(self, posted: PostedRequest, now: int) -> Bytes32:
        """Accept a request with its parameters: both are kept, or neither. Posting it twice is the same as once, also
        after it was matched or has expired.

        Raises:
            Rejected: parameters of another digest, out of date, without assets, or not signed by its consumer and
                payer.
        """
        signed = posted.request
        request = signed.request
        require_digest(posted.parameters, request.parameters_digest)
        key = request.struct_hash()
        if self._is_known(key):
            return key
        self._require_current(request.expiry, now)
        if not request.assets:
            raise Rejected("a request names at least one asset", remedy="choose an asset")
        self._require_signature(request, signed.signature, request.consumer)
        if request.payer != request.consumer:
            self._require_signature(request, signed.payer_signature, request.payer)
        self._insert("requests", "request_hash", key, signed, request.consumer, posted.parameters)
        return key

    def _is_known(self, request_hash: Bytes32) -> bool:
        """Whether request and parameters are both kept."""
        query = "SELECT 1 FROM requests JOIN parameters USING (request_hash) WHERE request_hash = ?"
        return self._database.row(query, request_hash) is not None

    def add_compute_order(self, signed: SignedComputeOrder, now: int) -> Bytes32:
        """Accept a provider's offer. Raises :class:`Rejected`."""
        self._require_current(signed.order.expiry, now)
        self._require_signature(signed.order, signed.signature, signed.order.provider)
        key = signed.order.struct_hash()
        self._insert("compute_orders", "order_hash", key, signed, signed.order.provider)
        return key

    def add_asset_order(self, signed: SignedAssetOrder, owner: Address, now: int) -> Bytes32:
        """Accept an owner's offer beside the standing terms. Raises :class:`Rejected`."""
        order = signed.order
        self._require_current(order.expiry, now)
        self._require_signature(order, signed.signature, owner)
        key = order.struct_hash()
        with self._database.write() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO asset_orders (order_hash, asset_id, version, body, sequence)"
                " VALUES (?, ?, ?, ?, (SELECT COALESCE(MAX(sequence), 0) + 1 FROM asset_orders))",
                (key, order.asset_id, order.version, canonical_json(signed)),
            )
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
        return [decode(SignedRequest, row["body"]) for row in rows]

    def open_compute_orders(self) -> list[SignedComputeOrder]:
        """Offers of providers, oldest first."""
        rows = self._database.rows("SELECT body FROM compute_orders WHERE state = 'open' ORDER BY sequence")
        return [decode(SignedComputeOrder, row["body"]) for row in rows]

    def open_asset_orders(self, asset_id: Bytes32, version: int) -> list[SignedAssetOrder]:
        """Offers for one version of an asset, oldest first."""
        rows = self._database.rows(
            "SELECT body FROM asset_orders WHERE asset_id = ? AND version = ? AND state = 'open' ORDER BY sequence",
            asset_id,
            version,
        )
        return [decode(SignedAssetOrder, row["body"]) for row in rows]

    def close_expired(self, now: int) -> None:
        """``open -> expired`` for what no match can use any more, so that it neither counts nor costs a look."""
        with self._database.write() as connection:
            for table, path in _EXPIRY.items():
                connection.execute(
                    f"UPDATE {table} SET state = 'expired' WHERE state = 'open'"  # noqa: S608 - the tables are ours
                    " AND CAST(json_extract(CAST(body AS TEXT), ?) AS INTEGER) <= ?",
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
        parameters: Parameters | None = None,
    ) -> None:
        with self._database.write() as connection:
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
            if count > MAX_OPEN_ORDERS_PER_ACCOUNT:
                raise Rejected(
                    f"{account.checksum} has {MAX_OPEN_ORDERS_PER_ACCOUNT} open orders already",
                    remedy="cancel some, or wait until they are matched or expire",
                )

    def _require_current(self, expiry: int, now: int) -> None:
        if expiry <= now:
            raise Rejected(f"the order expired at {expiry}, and it is {now}", remedy="sign one that lasts longer")

    def _require_signature(self, order: TypedShape, signature: bytes, signer: Address) -> None:
        digest = order.digest(self._addresses.chain_id, self._addresses.market)
        try:
            found = recover(digest, signature)
        except SignatureRefused:
            found = None
        if found == signer or self._is_contract(signer):
            return  # a contract wallet's signature (ERC-1271) is checked where it counts: when the match is simulated
        raise Rejected(
            f"expected a signature by {signer.checksum}, found one by {found.checksum if found else 'no key'}",
            remedy=f"sign for chain {self._addresses.chain_id} and market {self._addresses.market.checksum}",
        )


def require_digest(parameters: Parameters, expected: Bytes32) -> None:
    """Raise :class:`Rejected` unless these are the parameters that a consumer signed."""
    found = parameters_digest(parameters.salt, canonical_json(parameters.values))
    if found != expected:
        raise Rejected(f"expected parameters with digest {expected}, found {found}", remedy="post what was signed")


def _keep_parameters(connection: sqlite3.Connection, request_hash: Bytes32, parameters: Parameters) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO parameters (request_hash, body) VALUES (?, ?)",
        (request_hash, canonical_json(parameters)),
    )
