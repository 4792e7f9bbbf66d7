"""The backend as one object: store, book, index and keeper over one database and one folder."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sealmarket.chain import Chain, ChainError, Sender
from sealmarket.chain.erc1271 import contract_accepts
from sealmarket.client.nodes import POLL_PATIENCE_SECONDS, Nodes
from sealmarket.client.rules import rules_of
from sealmarket.protocol.fitting import Rules
from sealmarket.protocol.orders import ComputeOrder, EvidenceSeal, Request
from sealmarket.protocol.proposals import SignedProposal
from sealmarket.protocol.salts import generations_of
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import (
    PostedResult,
    SignedAcknowledgement,
    SignedAssetOrder,
    SignedRequest,
)
from sealmarket.sealing.evidence import read_evidence
from sealmarket.service.errors import ServiceError
from sealmarket.serving.rates import UNKNOWN_PEER, Rates
from sealmarket_backend.blobs import Blobs, Kind
from sealmarket_backend.book import OrderBook
from sealmarket_backend.bucket import Objects
from sealmarket_backend.catalogue import Catalogue
from sealmarket_backend.database.leadership import Leadership
from sealmarket_backend.database.notices import EVERYTHING, JOBS, ORDERS, Notices
from sealmarket_backend.errors import Deposed, NotFound, Rejected, StorageFailed
from sealmarket_backend.expiring import Expiring
from sealmarket_backend.honesty import Honesty
from sealmarket_backend.index import Index
from sealmarket_backend.keeper import Keeper
from sealmarket_backend.ledger import Ledger, StoreLimits
from sealmarket_backend.orphans import Orphans
from sealmarket_backend.parameters import require_digest, require_size
from sealmarket_backend.platforms import Platforms
from sealmarket_backend.proposals import Proposals
from sealmarket_backend.quotas import Quotas
from sealmarket_backend.retention import forget
from sealmarket_backend.service_addresses import ServiceAddresses
from sealmarket_backend.sessions import Sessions
from sealmarket_backend.sets import Sets
from sealmarket_backend.signatures import Signatures
from sealmarket_backend.spending import KeeperSettings, Spending
from sealmarket_backend.sweep import sweep
from sealmarket_backend.tables import Database
from sealmarket_backend.uploads import Uploads
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Bytes32, HexBytes, canonical_json, decode
from sealmarket_enclave.protocol.job import Parameters

UNREADABLE_CHAIN = ("the chain cannot be read just now", "try again later; the operator's log says why")
"""For strangers: an error of the chain may name its endpoint, and that a key."""
DATABASE_AWAY = "the database cannot be used just now; the operator's log says why"
SWEEP_SECONDS = 3600.0
LOOKS_PER_SECOND, LOOK_BURST, LOOK_SECONDS = 1.0, 10, 1.0
"""How often one peer may have the chain read for a request that the book does not know, and how long that may wait."""
FILE = "backend.sqlite"
"""Of the state folder, where no other database is named."""
MOST_ENVELOPES = 16
"""How many evidence packages one job may have."""

_KEPT = "SELECT body FROM envelopes WHERE job_id = ? AND evidence_hash = ?"
_ENVELOPE = """
INSERT INTO envelopes (job_id, evidence_hash, body, peer, bytes, stored_at, sequence)
VALUES (?, ?, ?, ?, ?, ?, (SELECT COALESCE(MAX(sequence), 0) + 1 FROM envelopes WHERE job_id = ?))
ON CONFLICT (job_id, evidence_hash) DO UPDATE SET body = excluded.body, sequence = excluded.sequence,
    peer = excluded.peer, bytes = excluded.bytes, stored_at = excluded.stored_at
"""

log = logging.getLogger(__name__)


class Backend:
    """Everything that the API serves. The tables are a file in ``folder``, unless ``database`` is the URL of others;
    the blobs too, unless they lie in a ``bucket``."""

    def __init__(
        self,
        chain: Chain,
        sender: Sender,
        folder: Path,
        *,
        pause: float = 0.5,
        database: str | None = None,
        bucket: Objects | None = None,
        store: StoreLimits = StoreLimits(),  # noqa: B008 - frozen
        keeping: KeeperSettings = KeeperSettings(),  # noqa: B008 - frozen
    ) -> None:
        self.chain, self.addresses = chain, chain.book
        self._database = self.database = Database(database or folder / FILE)
        self.clock = time.time
        self.blobs = Blobs(folder / "blobs", Ledger(self._database, store, folder), bucket)
        self._signatures = Signatures(chain.book, partial(contract_accepts, chain))
        rules = rules_of(chain)
        self.notices = Notices(self._database)
        self._leadership = Leadership(self._database)
        say = partial(self.notices.tell, topic=ORDERS)
        self._store, self._quotas = store, Quotas(self._database, store, folder)
        kept: dict[str, Any] = {"leading": False, "tell": say, "count": self._quotas.count, "limits": store}
        self.orders = OrderBook(self._database, self._signatures, rules, self._require_backed, **kept)
        self._honesty = Honesty(chain, self.orders)
        say = partial(self.notices.tell, topic=JOBS)
        self.index = Index(self._database, chain, start=chain.book.deployed_at, listener=self._honesty, tell=say)
        self.sessions = Sessions(self._database, self._signatures, chain.book, self.clock)
        self.proposals = Proposals(self._database, self._signatures, self.index, self._has_coin, self._quotas.count)
        self.service_addresses = ServiceAddresses(self._database, self._signatures, self.index)
        self.uploads = Uploads(self.blobs)
        self.catalogue = Catalogue(self._database, self.blobs)
        self._nodes = Nodes(patience=POLL_PATIENCE_SECONDS)
        platforms = Platforms(self._nodes, chain.book.committees, self.index.provider_of)
        self.expiring = Expiring(self._database, self.blobs, rules.ends_of, platforms)
        self.ending: dict[str, int] = {}
        self.spending = Spending(self._database, keeping, sender, self.clock)
        self._keeper = self._keeper_of(sender, rules)
        self._looks = Rates(LOOKS_PER_SECOND, LOOK_BURST)
        self._pause = pause
        self._due, self._stopped = threading.Event(), threading.Event()
        self._trouble, self._next_sweep = "", 0.0
        self._orphans = None if bucket is None else Orphans(self.blobs.ledger, bucket)
        self._term = 0
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self.notices.subscribe(self._hear)
        self._leads()

    def _keeper_of(self, sender: Sender, rules: Rules) -> Keeper:
        return Keeper(
            self.chain,
            sender,
            self._database,
            self.orders,
            self.index,
            self._nodes,
            rules=rules,
            lacking=self._lacking,
            sets=Sets(self.blobs),
            suspect=self._honesty.suspect,
            require_lead=self._leadership.require,
            spending=self.spending,
        )

    def start(self) -> None:
        """Begin to keep: match, decide, settle, close."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the present turn and let go of everything."""
        self._stopped.set()
        self._due.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)
        self._leadership.lose()
        self.notices.close()
        self._nodes.close()
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wake(self) -> None:
        """Something changed: take the next turn at once."""
        self._due.set()

    @property
    def trouble(self) -> str:
        """What keeps the keeper from working; empty where it works."""
        return self._trouble

    def leads(self) -> bool:
        """Whether this process matches and keeps; others on the same database are replicas."""
        return self._leadership.leads

    def health(self) -> dict[str, Any]:
        """Whether the keeper works, up to which block the index was read, what keeps the keeper from working, whether
        this process matches and keeps, and the store's room."""
        return {
            "ok": not self._trouble,
            "block": self.index.position(),
            "trouble": self._trouble,
            "leads": self._leadership.leads,
            "store": self.blobs.ledger.health(),
        }

    def add_asset_order(self, signed: SignedAssetOrder, now: int, peer: str = UNKNOWN_PEER) -> Bytes32:
        """Accept an owner's offer. Raises :class:`Rejected`, or :class:`NotFound` for an unknown asset."""
        asset = self.index.asset(signed.order.asset_id, signed.order.version)
        return self.orders.add_asset_order(signed, asset, now, peer)

    def _require_backed(self, order: ComputeOrder) -> int:
        """Refuse an offer of a provider that has not staked its penalty, or that is used up: it would cost its sender
        nothing, and each request that it fits a look. Returns for how many jobs it was used. Raises :class:`Rejected`,
        :class:`ChainError`."""
        view = self.chain.at(self.chain.head())
        provider = view.account(order.token, order.provider)
        if provider.staked < order.penalty:
            raise Rejected(
                f"{order.provider.checksum} has staked {provider.staked}, expected its penalty, {order.penalty}",
                remedy="stake first, then offer; what running jobs lock does not count",
            )
        if (found := generations_of(order.salt).signer) != provider.generation:
            raise Rejected(
                f"the order is of generation {found}, and {order.provider.checksum} is at {provider.generation}",
                remedy="sign a new one: all orders of before were cancelled",
            )
        if (used := view.order_used(order.provider, order.struct_hash())) >= order.volume:
            raise Rejected(
                f"the order was cancelled, or is used up by {order.volume} jobs", remedy="sign one with another salt"
            )
        return used

    def add_proposal(self, signed: SignedProposal, now: int, peer: str = UNKNOWN_PEER) -> Bytes32:
        """As :meth:`Proposals.add`; for a version that was just published the chain is read on, at a bounded rate."""
        if not self.proposals.knows(signed.proposal) and not self._looks.wait_for(peer):
            self._catch_up()
        return self.proposals.add(signed, now, peer)

    def _catch_up(self) -> None:
        """Read the chain on, for what may be at a final block by now. A replica leaves that to the leader."""
        if self._leadership.leads:
            self.index.catch_up(LOOK_SECONDS)

    def _has_coin(self, account: Address) -> bool:
        """Whether an account has in the market what one oracle signature costs. Raises :class:`ChainError`."""
        view = self.chain.at(self.chain.head())
        return view.account(ZERO_ADDRESS, account).free >= (view.signature_fee(ZERO_ADDRESS) or 1)

    def _lacking(self, request: Request) -> tuple[str, ...]:
        """What no host could fetch if this request were matched now, a sentence for each."""
        wanted = (
            ("parameters", self.orders.parameters.has(request.struct_hash())),
            ("result key", self.blobs.has(Kind.DOCUMENTS, request.result_keys_hash)),
            ("workload", self.blobs.has(Kind.WORKLOADS, request.workload_digest)),
        )
        return tuple(f"the store lacks its {what}: upload it" for what, there in wanted if not there)

    def add_parameters(self, request_hash: Bytes32, parameters: Parameters, peer: str = UNKNOWN_PEER) -> None:
        """Keep a request's parameters, if they are the ones that the consumer signed.

        Raises:
            NotFound: no such request in the book, and no job of it at a final block.
            Rejected: they have another digest.
            TooLarge: no node would read them.
            StoreFull: the peer's quota of the tables has no room.
        """
        require_size(parameters)
        require_digest(parameters, self._parameters_digest(request_hash, peer))
        self.orders.parameters.add(request_hash, parameters, peer)

    def _parameters_digest(self, request_hash: Bytes32, peer: str) -> Bytes32:
        """What the consumer signed: in the book, or on chain when the match was submitted around us.

        Looking further on chain costs calls and a thread, so each peer has few such looks; the keeper reads on anyway.
        """
        if row := self._database.row("SELECT body FROM requests WHERE request_hash = ?", request_hash):
            return decode(SignedRequest, row["body"]).request.parameters_digest
        job_id = self.index.job_id_of(request_hash)
        if job_id is None and not self._looks.wait_for(peer):
            self._catch_up()
            job_id = self.index.job_id_of(request_hash)
        if job_id is None:
            raise NotFound(f"no request {request_hash}", remedy="post it first, or wait until its match is final")
        return self.index.job(job_id).spec.parameters_digest

    def add_evidence(self, job_id: Bytes32, evidence_hash: Bytes32, raw: bytes, peer: str = UNKNOWN_PEER) -> None:
        """Keep the sealed evidence package of a job. Only its provider can write it; a later one replaces it.

        Not once a final block decides on the job: what the nodes judged by stays what auditors open.

        Raises:
            MalformedDocument: it is no sealed package.
            NotFound: no such job at a final block.
            Rejected: about other evidence than it is put for or the job's quote names, not signed by the job's
                provider, another than the one that is kept of a job that is decided, or one of too many.
            StoreFull: the peer's quota of the tables has no room.
        """
        sealed = read_evidence(raw)
        if (sealed.job_id, sealed.evidence_hash) != (job_id, evidence_hash):
            found = f"{sealed.evidence_hash} of job {sealed.job_id}"
            raise Rejected(f"expected evidence {evidence_hash} of job {job_id}, found {found}", remedy="put it there")
        view = self.index.job(job_id)
        if view.evidence_hash not in (None, evidence_hash):
            raise Rejected(f"the quote of job {job_id} names evidence {view.evidence_hash}", remedy="put that one")
        seal = EvidenceSeal(job_id=sealed.job_id, evidence_hash=evidence_hash, sealed_hash=sealed.sealed_hash)
        self._signatures.require(seal, HexBytes(sealed.signature), view.spec.provider, peer)
        same = "SELECT 1 FROM envelopes WHERE job_id = ? AND evidence_hash = ? AND body = ?"
        if self._database.row(same, job_id, evidence_hash, raw) is not None:
            return
        with self._quotas.count(peer, len(raw)), self._database.write() as connection:
            if view.decision is not None and connection.execute(_KEPT, (job_id, evidence_hash)).fetchone() is not None:
                raise Rejected(f"job {job_id} is decided by the evidence that is kept", remedy="put no other")
            row = (job_id, evidence_hash, raw, peer, len(raw), int(self.clock()), job_id)
            connection.execute(_ENVELOPE, row)
            count = connection.execute("SELECT COUNT(*) FROM envelopes WHERE job_id = ?", (job_id,)).fetchone()[0]
            if count > MOST_ENVELOPES:
                raise Rejected(f"job {job_id} has {MOST_ENVELOPES} evidence packages", remedy="post no more of them")

    def evidence(self, job_id: Bytes32, evidence_hash: Bytes32) -> bytes:
        """The sealed evidence package that a job's provider put. Raises :class:`NotFound`."""
        row = self._database.row(_KEPT, job_id, evidence_hash)
        if row is None:
            raise NotFound(f"no evidence {evidence_hash} of job {job_id}", remedy="its provider has not put it yet")
        return bytes(row["body"])

    def add_result(self, posted: PostedResult, peer: str = UNKNOWN_PEER) -> None:
        """Keep what an enclave signed, for the keeper to settle with.

        Raises:
            NotFound: no such job at a final block.
            Rejected: neither or both of a settlement and a failure, or not signed by the accepted enclave.
        """
        signed = posted.settlement or posted.failure
        if signed is None or (posted.settlement and posted.failure):
            raise Rejected("a result is a settlement or a failure", remedy="post the one that the enclave signed")
        view = self.index.job(posted.job_id)
        if view.decision is None or view.status != Status.ACCEPTED.name.lower():
            raise Rejected(f"job {posted.job_id} is {view.status}, expected accepted", remedy="wait until it is final")
        if signed.job_id != posted.job_id:
            raise Rejected(f"signed for job {signed.job_id}, posted for {posted.job_id}", remedy="post it there")
        self._signatures.require(signed, posted.signature, view.decision.enclave_signer, peer)
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO results (job_id, body) VALUES (?, ?)"
                " ON CONFLICT (job_id) DO UPDATE SET body = excluded.body",
                (posted.job_id, canonical_json(posted)),
            )

    def result(self, job_id: Bytes32) -> PostedResult:
        """What an enclave signed for a job. Raises :class:`NotFound`."""
        row = self._database.row("SELECT body FROM results WHERE job_id = ?", job_id)
        if row is None:
            raise NotFound(f"no result of job {job_id}", remedy="its provider has not posted one yet")
        return decode(PostedResult, row["body"])

    def add_acknowledgement(self, signed: SignedAcknowledgement, peer: str = UNKNOWN_PEER) -> None:
        """Store a consumer's statement that they hold the result. Raises :class:`NotFound` and :class:`Rejected`."""
        statement = signed.acknowledgement
        view = self.index.job(statement.job_id)
        self._signatures.require(statement, signed.signature, view.spec.consumer, peer)
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO acknowledgements (job_id, body) VALUES (?, ?)"
                " ON CONFLICT (job_id) DO UPDATE SET body = excluded.body",
                (statement.job_id, canonical_json(signed)),
            )

    def _hear(self, topic: str) -> None:
        """Another process may have accepted an order."""
        if topic in {ORDERS, EVERYTHING}:
            self.wake()

    def _leads(self) -> bool:
        """Whether this process matches and keeps; the book is loaded where it begins to, and empty where it ends."""
        term = self._leadership.term if self._leadership.hold() else 0
        if term != self._term and term:
            self.orders.load()
            self._honesty.begin()
        elif term != self._term:
            self.orders.follow()
        self._term = term
        return bool(term)

    def _keep(self) -> None:
        while not self._stopped.is_set():
            self._due.clear()
            try:
                if self._leads():
                    self._keeper.turn()
                    self._honesty.look(self.index)
                    self._sweep_in_time()
                self._trouble = ""
            except Deposed as error:
                log.warning("%s", error)
                self._leadership.lose()
            except StorageFailed as error:
                self._trouble = DATABASE_AWAY
                log.warning("the keeper waits for the database: %s", error.detail)
            except ChainError as error:
                self._trouble = UNREADABLE_CHAIN[0]
                log.warning("the keeper waits: %s", error)
            except Exception:
                # A keeper that dies silently strands every job: say it loudly and take the next turn.
                self._trouble = "the keeper failed; its log says how"
                log.exception("the keeper failed and goes on")
            self._due.wait(self._pause)

    def _count_what_ends(self) -> None:
        self.ending = self.expiring.count(int(self.clock()))
        if any(self.ending.values()):
            words = ", ".join(f"{count} {kind}" for kind, count in sorted(self.ending.items()) if count)
            log.warning("ends within a week, or holds no more: %s; each account reads its own at /v1/warnings", words)

    def _sweep_in_time(self) -> None:
        """Sweep the store after a turn, when the index is known to be up to date."""
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + SWEEP_SECONDS
            self.uploads.expire()
            self._count_what_ends()
            forget(self._database, self._store, int(self.clock()))
            try:
                sweep(self._database, self.blobs)
                if self._orphans is not None:
                    self._orphans.look()
            except ServiceError as error:
                log.warning("what nothing names stays until the bucket answers: %s", error)
