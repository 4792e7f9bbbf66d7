"""What a host sends to `Sessions` for its services: opening, bond, statements, nodes' fees, and what returns.

Each step reads the head of the chain and sends what is missing there, so a host that was killed at any moment sends
nothing twice: what the chain has is left out, and what was sent and is in no block is gone on with by the sender's
journal. A service's record lies in the state folder until nothing of its money is left on chain.

1. The service is opened once its job is accepted. The bond is filled up to what opening a tab asks.
2. A statement that the chain has already counts as posted.
3. Nodes are paid for a renewal where half a lease has passed since the last one, and the bond then still lets tabs
   open.
4. Of a service that is not served here any more, each account's last entry is posted while statements count; an end
   that the chain does not know is reported; royalties are paid out, and the bond returns once the chain gives it back.
   Nothing is forgotten before the chain has every entry, or takes none any more.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sealmarket.chain import ChainError, ChainReader, Enclave, Reverted
from sealmarket.chain.calls import Call
from sealmarket.chain.contracts import MarketContract
from sealmarket.chain.errors import NoSessions
from sealmarket.chain.sessions import ServiceState, SessionsContract
from sealmarket.client.renewals import SignedRenewals
from sealmarket.protocol.book import Committee
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import Address, Bytes32, Shape, Wei, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.session import Renewal, SessionTerms, SignedStatement
from sealmarket_worker.hosting import StatementLog

log = logging.getLogger(__name__)
RECORDS, STATEMENTS = "services", "statements"
TEND_SECONDS = 5.0
"""How often services that are over are looked at."""
Send = Callable[[Call], object]


class ServiceRecord(Shape, frozen=True, kw_only=True):
    """A service whose enclave served once: what its money on chain is found and moved by."""

    spec: JobSpec
    terms: SessionTerms
    evidence_hash: Bytes32
    enclave_signer: Address
    enclave_key_hash: Bytes32

    @property
    def enclave(self) -> Enclave:
        """The enclave that was accepted for the job."""
        return Enclave(self.evidence_hash, self.enclave_signer, self.enclave_key_hash)


class ServiceMoney:
    """The money of one service (:class:`sealmarket_worker.hosting.Money`). ``send``: from the provider's account."""

    def __init__(self, chain: ChainReader, send: Send, record: ServiceRecord, statements: StatementLog) -> None:
        """Raises :class:`NoSessions` where the market has none."""
        book = chain.book
        if book.sessions is None:
            raise NoSessions(book.market)
        self._chain, self._send, self._record, self._statements = chain, send, record, statements
        self._contract = SessionsContract(book.sessions, MarketContract(book.market, book.chain_id))
        self._job_id = record.spec.job_id(book.chain_id, book.market)

    def open(self) -> bool:
        """Rule 1. Whether users can open tabs now; False is tried again."""
        try:
            service = self._service()
            if not service.exists:
                self._send(self._contract.open_service(self._record.spec, self._record.enclave, self._record.terms))
                service = self._service()
            lacking = service.least_bond - service.bond
            if lacking > 0:
                self._send(self._contract.bond(service.token, self._job_id, Wei(lacking)))
        except ChainError as error:
            log.warning("service %s is not open yet: %s", self._job_id, error)
            return False
        return True

    def post(self, signed: SignedStatement) -> bool:
        """Rule 2. Whether the chain has it."""
        try:
            self._send(self._contract.redeem(signed))
        except Reverted as error:
            if error.name == "NothingToDo":
                return True
            log.warning("the chain does not take a statement of service %s: %s", self._job_id, error)
            return False
        except ChainError as error:
            log.warning("a statement of service %s is posted later: %s", self._job_id, error)
            return False
        return True

    def claim(self, found: SignedRenewals, committee: Committee) -> None:
        """Rule 3. A refusal of the chain costs nothing: the next renewal is claimed in its place."""
        if not self._record.terms.renewal_fee:
            return
        renewal = found.read()
        try:
            if not self._is_cheap(renewal, committee):
                return
            removed = self._chain.at(self._chain.head()).removed_members(committee.epoch)
            self._send(self._contract.claim_renewal(found.by_place(), committee, removed))
        except ChainError as error:
            log.warning("nodes are paid for a later renewal of service %s: %s", self._job_id, error)

    def _is_cheap(self, renewal: Renewal, committee: Committee) -> bool:
        service, now = self._service(), self._chain.head().timestamp
        fees = committee.threshold * service.renewal_fee
        waited = now >= service.renewed_at + service.lease_seconds // 2
        return waited and renewal.block_number > service.renewed_block and service.bond - fees >= service.least_bond

    def wind_up(self) -> bool:
        """Rule 4. Whether nothing is left to do for this service, for good. Raises :class:`ChainError`."""
        service = self._service()
        accepted = self._status() is Status.ACCEPTED
        if not service.exists:
            return not accepted
        posted = self._post_last(service)
        service, now = self._service(), self._chain.head().timestamp
        if service.redeemed > service.credited:
            self._send(self._contract.pay_royalties(self._record.spec, self._record.terms))
        if service.end > now and not accepted:
            self._send(self._contract.end_service(self._record.spec))
        if not (service.last and posted) and now <= service.last_second:
            return False
        if service.bond:
            self._send(self._contract.take_bond(self._job_id, service.bond))
        return True

    def _post_last(self, service: ServiceState) -> bool:
        """Post what the chain may still need. Whether it has all of that."""
        if self._chain.head().timestamp > service.last_second:
            return False
        posted = True
        for signed in reversed(self._statements.needed()):
            posted = self.post(signed) and posted
        return posted

    def _service(self) -> ServiceState:
        return self._chain.sessions_at(self._chain.head()).service(self._job_id)

    def _status(self) -> Status:
        return self._chain.at(self._chain.head()).job(self._record.spec.request_hash).status


@dataclass(frozen=True, slots=True)
class Treasury:
    """The money of all services of a host."""

    chain: ChainReader
    send: Send
    state: Path

    def of(self, record: ServiceRecord) -> ServiceMoney:
        """The money of a service; its record is on disk before anything is sent."""
        folder, job_id = self.state / RECORDS, self._job_id(record)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{job_id.hex()}.json"
        written = path.with_suffix(".new")
        with written.open("wb") as file:
            file.write(record.canonical())
            file.flush()
            os.fsync(file.fileno())
        written.replace(path)
        return self._money(record)

    def tend(self, is_served: Callable[[JobId], bool]) -> None:
        """Wind up each service that is not served here any more; forget those of which nothing is left."""
        for path in sorted((self.state / RECORDS).glob("*.json")):
            try:
                record = decode_canonical(ServiceRecord, path.read_bytes())
                if not is_served(self._job_id(record)) and self._money(record).wind_up():
                    self._statements(record).remove()
                    path.unlink()
            except (ChainError, MalformedDocument, OSError) as error:
                log.warning("the money of service %s stays where it is for now: %s", path.stem, error)

    def _money(self, record: ServiceRecord) -> ServiceMoney:
        return ServiceMoney(self.chain, self.send, record, self._statements(record))

    def _statements(self, record: ServiceRecord) -> StatementLog:
        return StatementLog(self.state / STATEMENTS, self._job_id(record))

    def _job_id(self, record: ServiceRecord) -> JobId:
        return record.spec.job_id(self.chain.book.chain_id, self.chain.book.market)


class Tending:
    """Tends a treasury in a thread of its own, and once more when it ends: usable as a context manager."""

    def __init__(self, treasury: Treasury, is_served: Callable[[JobId], bool], seconds: float = TEND_SECONDS) -> None:
        self._treasury, self._is_served, self._seconds = treasury, is_served, seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="service money", daemon=True)

    def __enter__(self) -> Tending:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._treasury.tend(self._is_served)

    def _run(self) -> None:
        while not self._over.wait(self._seconds):
            self._treasury.tend(self._is_served)
