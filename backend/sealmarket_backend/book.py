"""The order book: signed orders, kept until they are matched, cancelled or out of date.

An order is accepted when its signature holds and it could be matched now or later; then it is on disk. The book
cannot forge, change or hide an order's meaning: contracts check every signature again, and anyone may submit a match
around it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from sealmarket.protocol.fitting import Rules, Unmet, unmet_by_order, unmet_by_request
from sealmarket.protocol.orders import ComputeOrder, Request
from sealmarket.protocol.wire import PostedRequest, SignedAssetOrder, SignedComputeOrder, SignedRequest
from sealmarket.serving.rates import UNKNOWN_PEER
from sealmarket_backend.database.dialects import Row
from sealmarket_backend.database.schema import NEVER, ORDERS
from sealmarket_backend.decoded import Decoded
from sealmarket_backend.ended import over, require_current
from sealmarket_backend.errors import Rejected
from sealmarket_backend.index import IndexedAsset
from sealmarket_backend.ledger import StoreLimits
from sealmarket_backend.offers.clauses import Key, key_of, row_of
from sealmarket_backend.offers.clauses import Row as OfferRow
from sealmarket_backend.offers.resting import RestingOffers
from sealmarket_backend.parameters import KeptParameters, require_digest
from sealmarket_backend.quotas import Count, Counted, count_nothing
from sealmarket_backend.rota import Waiting
from sealmarket_backend.signatures import Signatures
from sealmarket_backend.standing import Standing
from sealmarket_backend.states import OrderState, RequestState, order_states, request_states
from sealmarket_backend.tables import Connection, Database, readable
from sealmarket_backend.together import Together
from sealmarket_enclave.protocol.codec import Address, Bytes32, Uint, canonical_json, decode
from sealmarket_enclave.protocol.errors import SealmarketError

T = TypeVar("T")
MAX_OPEN_ORDERS_PER_ACCOUNT = 1000
_NO_CONTRACTS = "a provider whose account is a contract can show no evidence: oracle nodes take what a key signed"
_MATCHABLE = (
    "SELECT order_hash AS key, body, sequence, used FROM compute_orders WHERE state = 'open' AND reason = ''"
    " ORDER BY sequence"
)
_ONE = "SELECT body, sequence, used FROM compute_orders WHERE order_hash = ? AND state = 'open' AND reason = ''"
_OFFERED = "INSERT INTO offer_senders (order_hash, peer, bytes) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
LOOKED_AT_AGAIN = "it is looked at again, since final blocks changed"
NEW_EACH = 4096
"""Orders of other processes that one turn takes up."""
_NEW = (
    "SELECT order_hash AS key, sequence, used, state = 'open' AND reason = '' AS open FROM compute_orders"
    " WHERE sequence > ? ORDER BY sequence LIMIT ?"
)
_ADDED = {
    table: f"INSERT INTO {table} ({ORDERS[table]}, body, account, expiry, salt, sequence) SELECT ?, ?, ?, ?, ?,"  # noqa: S608 - ours
    f" (SELECT COALESCE(MAX(sequence), 0) + 1 FROM {table})"
    f" WHERE (SELECT COUNT(*) FROM {table} WHERE account = ? AND state = 'open') < ?"
    " ON CONFLICT DO NOTHING RETURNING sequence"
    for table in ("requests", "compute_orders")
}
"""Keeps an order, and gives its place; nothing where it is kept already, and where its account has too many."""
WAITING: Final = (
    "SELECT sequence, request_hash, peer FROM requests LEFT JOIN senders USING (request_hash)"
    " WHERE state = 'open' AND sequence > ? ORDER BY sequence LIMIT ?"
)
Note = Callable[[Connection, Bytes32], None]
"""Writes more about an order, by its hash, in the transaction that keeps it."""


def _no_note(_connection: Connection, _order_hash: Bytes32) -> None:
    """Nothing more to write."""


class OrderBook:
    """Adds, lists and closes orders of one market."""

    def __init__(
        self,
        database: Database,
        signatures: Signatures,
        rules: Rules,
        require_backed: Callable[[ComputeOrder], int] = lambda _order: 0,
        *,
        leading: bool = True,
        tell: Callable[[Connection], None] = lambda _connection: None,
        count: Count = count_nothing,
        limits: StoreLimits = StoreLimits(),  # noqa: B008 - frozen
    ) -> None:
        """``require_backed`` refuses an offer behind which there is no stake, or that is used up, and returns how many
        jobs it was used for: it may raise Rejected and ChainError. One that is not ``leading`` lets no offer rest.
        ``tell`` says, in a transaction, that orders came. ``count`` counts bytes of a peer, and may raise StoreFull. Of
        ``limits`` those of open orders hold here."""
        self._database = database
        self._signatures = signatures
        self._rules = rules
        self._require_backed = require_backed
        self._requests = Decoded(SignedRequest)
        self._computes = Decoded(SignedComputeOrder)
        self._assets = Decoded(SignedAssetOrder)
        self.offers = RestingOffers()
        """The offers that can be matched, as in the table: each change goes to both, or to neither."""
        self.together = Together(database, self.offers.change)
        """What changes the tables and the offers; other small changes may go with it."""
        self.parameters = KeptParameters(database, count)
        self._tell, self._count, self._limits = tell, count, limits
        self._leading, self._seen = False, 0
        self._own: set[bytes] = set()
        """Offers that this process let rest as it accepted them, and that :meth:`take_new` has not come to."""
        self._unsure: set[Bytes32] = set()
        """Offers of which it is unknown whether they are kept: :meth:`take_new` may have passed them as its own."""
        if leading:
            self.load()

    def add_request(self, posted: PostedRequest, now: int, peer: str = UNKNOWN_PEER, note: Note = _no_note) -> Bytes32:
        """Accept a request with its parameters: both are kept, or neither. Posting it twice is the same as once, also
        after it was matched or has expired. ``peer`` is who sent it.

        Raises:
            Rejected: parameters of another digest, out of date, outside what this market takes of any request, or not
                signed by its consumer and payer.
            TooMany: as :meth:`Signatures.require`, for every method that adds an order.
            StoreFull: the peer's quota of the tables has no room.
        """
        signed = posted.request
        request = signed.request
        require_digest(posted.parameters, request.parameters_digest)
        key = request.struct_hash()
        document = canonical_json(posted.parameters)
        size = len(document) + len(signed.canonical())

        is_known, by_contract = self._is_known(key), False
        try:
            by_contract = self._require_acceptable(signed, key, now, peer)
        except SealmarketError:
            if not is_known:
                raise
        if is_known:
            self.together.write(lambda connection: note(connection, key))
            return key
        self._require_few_open(peer)

        def keep_rest(connection: Connection, sequence: int) -> None:
            counted.written = sequence > 0  # or another thread kept it meanwhile
            self.parameters.keep(connection, key, document, peer, size)
            note(connection, key)

        with self._count(peer, size) as counted:
            self._insert("requests", key, signed, request, request.consumer, by_contract, keep_rest)
        return key

    def _require_few_open(self, peer: str) -> None:
        """Outside of the transaction, which others wait for: posts of the same moment may come beside."""
        most = self._limits.open_per_peer
        query = (
            "SELECT 1 FROM senders JOIN requests USING (request_hash) WHERE peer = ? AND state = 'open'"
            " LIMIT 1 OFFSET ?"
        )
        if self._database.row(query, peer, most - 1) is not None:
            raise _no_room(peer, most)

    def _require_acceptable(self, signed: SignedRequest, key: Bytes32, now: int, peer: str) -> bool:
        """Refuse a request that could not be matched; returns whether a contract signed it."""
        request = signed.request
        require_current(request.expiry, now, self._limits.ahead_seconds)
        _require_kept(unmet_by_request(request, self._rules, now))
        by_contract = self._signatures.require(request, signed.signature, request.consumer, peer, key)
        if request.payer != request.consumer:
            self._signatures.require(request, signed.payer_signature, request.payer, peer)
        return by_contract

    def _is_known(self, request_hash: Bytes32) -> bool:
        """Whether request and parameters are both kept."""
        query = "SELECT 1 FROM requests JOIN parameters USING (request_hash) WHERE request_hash = ?"
        return self._database.row(query, request_hash) is not None

    def add_compute_order(
        self, signed: SignedComputeOrder, now: int, note: Note = _no_note, peer: str = UNKNOWN_PEER
    ) -> Bytes32:
        """Accept a provider's offer. Raises :class:`StoreFull`, and :class:`Rejected`, also for what this market takes
        of no order, and where the provider has not staked the penalty, or is a contract: oracle nodes take evidence
        that a key signed, so that such a provider could show none, and would lose its stake job by job."""
        require_current(signed.order.expiry, now, self._limits.ahead_seconds)
        _require_kept(unmet_by_order(signed.order, self._rules, now))
        key = signed.order.struct_hash()
        self._signatures.require_key(signed.order, signed.signature, signed.order.provider, _NO_CONTRACTS)
        used = 0 if key in self.offers else self._used_of(signed.order, key)

        mine: list[Bytes32] = []

        def rest(connection: Connection, sequence: int) -> None:
            note(connection, key)
            counted.written = sequence > 0
            if sequence:
                connection.later(_OFFERED, (key, peer, size))
            if sequence and used:
                connection.later("UPDATE compute_orders SET used = ? WHERE order_hash = ?", (used, key))
            if sequence and self._leading:
                mine.append(key)
                self._own.add(key)
                self._rest(signed.order, key, sequence, used)

        size = len(signed.canonical())
        try:
            with self._count_offer("compute_orders", key, peer, size) as counted:
                self._insert("compute_orders", key, signed, signed.order, signed.order.provider, False, rest)
        except BaseException:
            self._own.difference_update(mine)  # it rests no more, and is taken up where it is kept all the same
            self._unsure.update(mine)
            raise
        return key

    def _used_of(self, order: ComputeOrder, key: Bytes32) -> int:
        """For how many jobs an order was used; one that is kept already, and over, is as it is."""
        try:
            return self._require_backed(order)
        except Rejected:
            if self._database.row("SELECT 1 FROM compute_orders WHERE order_hash = ?", key) is None:
                raise
            return 0

    def load(self) -> None:
        """Let the offers rest that the table says can be matched, and no others: this process leads."""
        self._seen, self._leading = self._newest(), True
        self.offers.refill(readable(self._database.each(_MATCHABLE), _offer_in))

    def follow(self) -> None:
        """Let no offer rest: another process leads."""
        self._leading = False
        self.offers.refill(())

    def take_new(self) -> int:
        """Let the offers rest that other processes accepted since the last time; returns how many were looked at. Call
        it before a turn matches anything."""
        found = self._database.rows(_NEW, self._seen, NEW_EACH)
        for key in tuple(self._unsure):
            if row := self._database.row(_ONE, key):
                self._rest(decode(SignedComputeOrder, row["body"]).order, key, row["sequence"], row["used"])
            self._unsure.discard(key)
        for row in found:
            key = Bytes32(row["key"])
            if key in self._own:
                self._own.discard(key)  # it rests since it was accepted, or was matched since
            elif row["open"] and (signed := self.compute_order(key)) is not None:
                self._rest(signed.order, key, row["sequence"], row["used"])
            self._seen = row["sequence"]
        return len(found)

    def _newest(self) -> int:
        row = self._database.row("SELECT COALESCE(MAX(sequence), 0) FROM compute_orders")
        return int(row[0]) if row else 0

    def _rest(self, order: ComputeOrder, key: Bytes32, sequence: int, used: int) -> None:
        if self._leading:
            self.offers.put(*_offer_of(order, key, sequence, used))

    def stand(self, table: str, standings: Mapping[Bytes32, Standing]) -> None:
        """Note what the chain says of open orders. What can be matched rests among the offers, and nothing else."""
        with self.offers.change(), self._database.lead() as connection:
            for key, standing in standings.items():
                changed = connection.execute(
                    f"UPDATE {table} SET state = ?, reason = ? WHERE order_hash = ? AND state = 'open' RETURNING *",  # noqa: S608 - ours
                    (standing.state, standing.reason, key),
                ).fetchone()
                if table == "compute_orders":
                    self._follow(connection, key, standing, changed)

    def _follow(self, connection: Connection, key: Bytes32, standing: Standing, row: Row | None) -> None:
        if row is None or not standing.matchable:
            self.offers.take(key)
            return
        connection.execute("UPDATE compute_orders SET used = ? WHERE order_hash = ?", (standing.used, key))
        order = decode(SignedComputeOrder, row["body"]).order
        self._rest(order, key, row["sequence"], standing.used)
        self.offers.set_left(key, order.volume - standing.used)

    def reopen(self) -> list[Bytes32]:
        """Open again what left by the word of final blocks, which changed; returns each order of which such a block may
        have said something: these are looked at."""
        found: list[Bytes32] = []
        with self._database.lead() as connection:
            for table in ("compute_orders", "asset_orders"):
                rows = connection.execute(
                    f"UPDATE {table} SET state = 'open', reason = ? WHERE state IN ('filled', 'cancelled')"  # noqa: S608 - ours
                    " RETURNING order_hash",
                    (LOOKED_AT_AGAIN,),
                ).fetchall()
                found += [Bytes32(row[0]) for row in rows]
            known = "SELECT order_hash FROM compute_orders WHERE state = 'open' AND (used > 0 OR reason != '')"
            return list(dict.fromkeys([*found, *(Bytes32(row[0]) for row in connection.execute(known).fetchall())]))

    def accounts(self) -> list[Address]:
        """Who has open offers, of compute or of an asset's use."""
        rows = self._database.rows(
            "SELECT DISTINCT account FROM compute_orders WHERE state = 'open'"
            " UNION SELECT DISTINCT owner FROM assets JOIN asset_orders USING (asset_id) WHERE state = 'open'"
        )
        return [Address(row["account"]) for row in rows if len(row["account"]) == Address.length]

    def compute_orders_of(self, account: Address) -> list[tuple[SignedComputeOrder, int]]:
        """A provider's open offers, oldest first, and for how many jobs each was used."""
        rows = self._database.rows(
            "SELECT order_hash AS key, body, used FROM compute_orders WHERE account = ? AND state = 'open'"
            " ORDER BY sequence",
            account,
        )
        return [(signed, row["used"]) for row in rows for signed in self._computes.of([row])]

    def compute_order(self, key: Bytes32) -> SignedComputeOrder | None:
        """An open offer that reads."""
        query = "SELECT order_hash AS key, body FROM compute_orders WHERE order_hash = ? AND state = 'open'"
        return next(self._computes.of(self._database.rows(query, key)), None)

    def asset_order(self, key: Bytes32) -> SignedAssetOrder | None:
        """An owner's open offer that reads."""
        query = "SELECT order_hash AS key, body FROM asset_orders WHERE order_hash = ? AND state = 'open'"
        return next(self._assets.of(self._database.rows(query, key)), None)

    def asset_orders_of(self, asset_id: Bytes32) -> list[SignedAssetOrder]:
        """Open offers of all versions of an asset, oldest first."""
        query = (
            "SELECT order_hash AS key, body FROM asset_orders WHERE asset_id = ? AND state = 'open' ORDER BY sequence"
        )
        return list(self._assets.of(self._database.rows(query, asset_id)))

    def assets_offered_by(self, owner: Address) -> list[Bytes32]:
        """Assets of an owner of which an order is open."""
        rows = self._database.rows(
            "SELECT DISTINCT asset_id FROM assets JOIN asset_orders USING (asset_id)"
            " WHERE owner = ? AND state = 'open'",
            owner,
        )
        return [Bytes32(row["asset_id"]) for row in rows]

    def order_states(self, keys: Sequence[Bytes32]) -> dict[Bytes32, OrderState]:
        """Where offers of either kind stand; those that are not kept are left out."""
        return order_states(self._database, keys)

    def add_asset_order(
        self, signed: SignedAssetOrder, asset: IndexedAsset, now: int, peer: str = UNKNOWN_PEER
    ) -> Bytes32:
        """Accept an owner's offer of a version at most at the price of its terms. Raises :class:`Rejected`,
        :class:`StoreFull`."""
        order = signed.order
        require_current(order.expiry, now, self._limits.ahead_seconds)
        if order.price > asset.terms.price:
            raise Rejected(
                f"the order's price is {order.price}, expected at most the standing price, {asset.terms.price}",
                remedy="tighten the terms to raise the standing price",
            )
        if self._rules.is_over(asset.epoch, now):
            raise Rejected(
                over(asset.epoch, self._rules.ends_of(asset.epoch)),
                remedy="make the next version, for the committee that follows: sealmarket owner rewrap",
            )
        self._signatures.require(order, signed.signature, asset.owner, peer)
        key, body = order.struct_hash(), signed.canonical()
        with (
            self._count_offer("asset_orders", key, peer, len(body)) as counted,
            self._database.write() as connection,
        ):
            added = connection.execute(
                "INSERT INTO asset_orders (order_hash, asset_id, version, body, expiry, sequence)"
                " VALUES (?, ?, ?, ?, ?, (SELECT COALESCE(MAX(sequence), 0) + 1 FROM asset_orders))"
                " ON CONFLICT DO NOTHING",
                (key, order.asset_id, order.version, body, min(order.expiry, NEVER)),
            ).rowcount
            counted.written = added > 0
            if added:
                connection.execute(_OFFERED, (key, peer, len(body)))
            count = connection.execute(
                "SELECT COUNT(*) FROM asset_orders WHERE asset_id = ? AND state = 'open'", (order.asset_id,)
            ).fetchone()[0]
            if count > MAX_OPEN_ORDERS_PER_ACCOUNT:
                raise _no_room(f"asset {order.asset_id}")
        return key

    def _count_offer(self, table: str, key: Bytes32, peer: str, size: int) -> Counted:
        """What is kept already counts no second time, and is refused for no lack of room."""
        query = f"SELECT 1 FROM {table} WHERE order_hash = ?"  # noqa: S608 - ours
        return count_nothing(peer, size) if self._database.row(query, key) else self._count(peer, size)

    def waiting(self, after: int, most: int) -> list[Waiting]:
        """Requests behind a place that wait for a match, oldest first, and who posted each; so many at most."""
        rows = self._database.rows(WAITING, after, most)
        return [Waiting(row["sequence"], Bytes32(row["request_hash"]), row["peer"] or UNKNOWN_PEER) for row in rows]

    def request(self, request_hash: Bytes32) -> SignedRequest | None:
        """An open request that reads."""
        query = "SELECT request_hash AS key, body FROM requests WHERE request_hash = ? AND state = 'open'"
        return next(self._requests.of(self._database.rows(query, request_hash)), None)

    def open_requests(self) -> list[SignedRequest]:
        """Requests that wait for a match, oldest first."""
        found = (self.request(waiting.request_hash) for waiting in self.waiting(0, NEVER))
        return [request for request in found if request is not None]

    def open_compute_orders(self) -> list[SignedComputeOrder]:
        """Offers of providers that can be matched, oldest first."""
        return list(self._computes.of(self._database.rows(_MATCHABLE)))

    def open_asset_orders(self, asset_id: Bytes32, version: int) -> list[SignedAssetOrder]:
        """Offers for one version of an asset, oldest first."""
        rows = self._database.rows(
            "SELECT order_hash AS key, body FROM asset_orders WHERE asset_id = ? AND version = ? AND state = 'open'"
            " ORDER BY sequence",
            asset_id,
            version,
        )
        return list(self._assets.of(rows))

    def close_expired(self, now: int) -> None:
        """``open -> expired`` for what no match can use any more, so that it neither counts nor costs a look."""
        with self.offers.change(), self._database.lead() as connection:
            for table, key in ORDERS.items():
                expired = connection.execute(
                    f"UPDATE {table} SET state = 'expired' WHERE state = 'open' AND expiry <= ? RETURNING {key} AS key",  # noqa: S608 - ours
                    (now,),
                )
                for row in expired.fetchall():
                    self.offers.take(row["key"])

    def explain(self, request_hash: Bytes32, lines: tuple[str, ...]) -> None:
        """Say why an open request is not matched yet."""
        with self._database.lead() as connection:
            connection.execute(
                "UPDATE requests SET explanation = ? WHERE request_hash = ? AND state = 'open'",
                (json.dumps(lines), request_hash),
            )

    def request_states(self, keys: Sequence[Bytes32]) -> dict[Bytes32, RequestState]:
        """Where requests stand; those that are not kept are left out."""
        return request_states(self._database, keys)

    def _insert(
        self,
        table: str,
        key: Bytes32,
        body: SignedRequest | SignedComputeOrder | SignedAssetOrder,
        order: Request | ComputeOrder,
        account: Address,
        by_contract: bool,
        then: Callable[[Connection, int], None],
    ) -> None:
        """Keep an order with what belongs to it, unless it is kept already: ``then`` gets its place, or 0."""
        values = (key, body.canonical(), account, min(order.expiry, NEVER), str(order.salt))

        def keep(connection: Connection) -> Rejected | None:
            if by_contract and _has_salt(connection, table, key, account, order.salt):
                return _salt_taken(account, order.salt)
            kept = connection.execute(_ADDED[table], (*values, account, MAX_OPEN_ORDERS_PER_ACCOUNT)).fetchall()
            if not kept and not _has(connection, table, key):
                return _no_room(account.checksum)
            then(connection, kept[0][0] if kept else 0)
            self._tell(connection)
            return None

        if refusal := self.together.write(keep):
            raise refusal


def _require_kept(unmet: Iterator[Unmet]) -> None:
    if (first := next(unmet, None)) is not None:
        raise Rejected(str(first), remedy="sign one within these limits: no match could use this one")


def _no_room(whose: str, most: int = MAX_OPEN_ORDERS_PER_ACCOUNT) -> Rejected:
    return Rejected(
        f"{whose} has {most} open orders already",
        remedy="cancel some, or wait until they are matched or expire",
    )


def _has(connection: Connection, table: str, key: Bytes32) -> bool:
    query = f"SELECT 1 FROM {table} WHERE {ORDERS[table]} = ?"  # noqa: S608 - ours
    return connection.execute(query, (key,)).fetchone() is not None


def _has_salt(connection: Connection, table: str, key: Bytes32, account: Address, salt: Uint) -> bool:
    """Whether an account has another open order with a salt."""
    query = f"SELECT 1 FROM {table} WHERE account = ? AND state = 'open' AND {ORDERS[table]} != ? AND salt = ?"  # noqa: S608 - ours
    return connection.execute(query, (account, key, str(salt))).fetchone() is not None


def _salt_taken(account: Address, salt: Uint) -> Rejected:
    """One order a salt for contracts: what one of them accepts may be more than it meant to sign."""
    return Rejected(
        f"{account.checksum} has an open order with salt {salt} already", remedy="cancel it, or use another salt"
    )


def _offer_in(row: Row) -> tuple[Key, bytes, OfferRow, int]:
    order = decode(SignedComputeOrder, row["body"]).order
    return _offer_of(order, Bytes32(row["key"]), row["sequence"], row["used"])


def _offer_of(order: ComputeOrder, key: Bytes32, sequence: int, used: int) -> tuple[Key, bytes, OfferRow, int]:
    return key_of(order), bytes(order.consumers), row_of(order, key, sequence), order.volume - used
