"""What a consumer does: deposit, quote, request, wait, open the result, acknowledge it.

The backend is asked for orientation only. What a job is, where it stands and which result is its own are read from
final blocks; every blob is held against its hash there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain as chained
from pathlib import Path
from typing import Self

from msgspec.structs import replace

from sealmarket.chain import IN_MEMORY, Block, Chain, Mined, Reverted, Sending
from sealmarket.client.errors import NotMatched, PendingElsewhere, RequestInvalid, RequestUncertain, WaitedTooLong
from sealmarket.client.escrow import Escrow, escrow_of, hold_of
from sealmarket.client.explain import ended_otherwise, meaning
from sealmarket.client.job_result import JobResult
from sealmarket.client.jobs import JobRecord, read_job
from sealmarket.client.limits import JobLimits
from sealmarket.client.market import Connected, Market
from sealmarket.client.party import Party
from sealmarket.client.pending import Pending, PendingRequest
from sealmarket.client.progress import OnProgress, quiet, step
from sealmarket.client.quote import Quote
from sealmarket.client.reading import Reading
from sealmarket.client.requests import AssetWish, RequestHandle, UnsignedRequest, Wanted, compose, intent
from sealmarket.client.results import fetch_evidence, fetch_result
from sealmarket.client.rules import rules_of
from sealmarket.client.signing import Signer
from sealmarket.client.stopping import pause
from sealmarket.client.waiting import Waiting, find_job
from sealmarket.market_api.client import MarketApi
from sealmarket.protocol import merkle
from sealmarket.protocol.fitting import Side, unmet_by_epoch, unmet_by_request, unmet_by_version
from sealmarket.protocol.orders import Acknowledgement, Purpose, Request
from sealmarket.protocol.salts import generations_of
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import EvidencePackage, PostedRequest, SignedRequest
from sealmarket.service.errors import ItemNotFound, ServiceUnavailable
from sealmarket.store.blobs import Store
from sealmarket.workloads.folders import read_bundle
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Bytes32, Wei
from sealmarket_enclave.protocol.job import Parameters, result_key_names
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.workload.bundle import Bundle


class Consumer(Connected):
    """One consumer's account on one market."""

    def __init__(
        self,
        chain: Chain,
        account: Signer,
        store: Store,
        api: MarketApi,
        *,
        development: bool = False,
        pause: Callable[[float], None] = pause,
        sending: Sending = IN_MEMORY,
        node_store: Callable[[str], Store] = Store,
    ) -> None:
        """``development``: the caller has started this chain, so its well-known keys may be used.

        ``sending``: where transactions are remembered, and the most that is paid for gas. ``node_store``: how an oracle
        node is asked, by its URL, for a challenged result.
        """
        self._chain = chain
        self._store, self._api, self._node_store = store, api, node_store
        self._party = Party(chain, account, development=development, sending=sending)
        self._waiting = Waiting(chain, pause)
        self._rules = rules_of(chain)
        self._reading = Reading(chain, store, api)

    @classmethod
    def at(cls, market: Market, account: Signer, *, development: bool = False, sending: Sending = IN_MEMORY) -> Self:
        """As :meth:`Connected.at`."""
        return cls(market.chain, account, market.store, market.api, development=development, sending=sending)

    @property
    def address(self) -> Address:
        """The consumer's account."""
        return self._party.address

    # --- money ------------------------------------------------------------------------------------------------

    def deposit(self, amount: Wei, token: Address = ZERO_ADDRESS) -> Mined:
        """Put money into the market's ledger; a match locks it, what is not used returns.

        One whose end an earlier call did not learn is gone on with (``resumed``) and not made again, by any process
        whose ``sending`` has the same state.

        Raises:
            MarketNotVerified: nothing was sent.
            ChainError: as :meth:`Sender.send`.
        """
        return self._party.give(self._chain.market.deposit(token, amount))

    def withdraw(self, amount: Wei | None = None, token: Address = ZERO_ADDRESS, to: Address | None = None) -> Mined:
        """Take free balance out; all of it unless an amount is named."""
        free = self._chain.at(self._chain.head()).account(token, self.address).free
        return self._party.take(
            self._chain.market.withdraw(token, free if amount is None else amount, to or self.address)
        )

    def require_market(self) -> None:
        """Return if this is the market of its address book. Raises :class:`MarketNotVerified`."""
        self._party.require_market()

    # --- before anything is signed ----------------------------------------------------------------------------

    def compose(self, wanted: Wanted, result_key: PrivateKey) -> UnsignedRequest:
        """The request that would be signed for what is wanted; nothing is sent.

        Raises:
            ServiceError: the owners' policies cannot be read, by which their validators get time.
            As :func:`compose`.
        """
        rules = self._reading.output_rules(wanted)
        return compose(wanted, self.address, [bytes(result_key.public.raw)], self._chain, rules)

    def quote(self, unsigned: UnsignedRequest, *, gas_price: int = 0) -> Quote:
        """Price a request, and name each clause that would refuse it. Signs and pays nothing.

        Args:
            gas_price: in wei, for the estimate of a deposit; 0 leaves it out.

        Raises:
            ChainError, ServiceError: chain, store or book cannot be read.
        """
        return self._reading.quote(unsigned, gas_price)

    def escrow(self, request: Request) -> Escrow:
        """The most that a match of a request locks of its payer's money."""
        view = self._chain.at(self._chain.head())
        epoch = view.asset(request.assets[0].asset_id, request.assets[0].version).epoch
        return escrow_of(request, self._rules, epoch, hold_of(request, self._rules, view))

    # --- request ----------------------------------------------------------------------------------------------

    def request_and_fetch(
        self,
        workload: Path | Bundle,
        parameters: Mapping[str, object],
        assets: Sequence[AssetWish],
        limits: JobLimits,
        result_key: PrivateKey,
        *,
        purpose: Purpose = Purpose.TRAIN,
        acknowledge: bool = True,
        match_within: float = 120.0,
        result_within: float = 3600.0,
        note: Path | None = None,
        on_signed: Callable[[RequestHandle], None] = lambda _handle: None,
        on_progress: OnProgress = quiet,
    ) -> JobResult:
        """Request a job, wait for its match and its result, open that, and acknowledge it, which pays the provider.

        What a quote would refuse is refused before anything is signed.

        Args:
            match_within: seconds after which a request without a match is voided, so that it charges nothing later.
            result_within: seconds to wait for the result; the job goes on if they pass.
            note: a file in which the signed request is noted until the result is opened. A call that was interrupted
                goes on with that request when it is repeated with the same file, and pays nothing twice.

        Raises:
            ParametersRefused, RequestInvalid: with every clause that refuses it, and what to do.
            NotMatched: no offer fitted in time; the request is voided.
            JobEndedOtherwise, WaitedTooLong, ItemNotFound, SealedError: as :meth:`wait` and :meth:`open_result`.
            As :meth:`send`.
        """
        noted = None if note is None else Pending(note, PendingRequest)
        bundle = workload if isinstance(workload, Bundle) else read_bundle(workload)
        wanted = Wanted(workload=bundle, parameters=parameters, assets=assets, limits=limits, purpose=purpose)
        with step(on_progress, "quote", "reading the terms, the owners' policies and the book"):
            unsigned = self.compose(wanted, result_key)
            if noted is None or self.earlier(unsigned, noted) is None:
                self.quote(unsigned).require()
        with step(on_progress, "request", "signing the request, and putting it into the book") as now:
            handle = self.send(unsigned, pending=noted, on_signed=on_signed)
            now.found(request=handle.request_hash)
        result = self._fetched(handle, result_key, match_within, result_within, on_progress)
        if acknowledge:
            with step(on_progress, "acknowledge", "confirming that the result arrived, which pays the provider"):
                self.acknowledge(result.job_id)
        if noted is not None:
            noted.clear()
        return result

    def _fetched(
        self, handle: RequestHandle, key: PrivateKey, match_within: float, result_within: float, report: OnProgress
    ) -> JobResult:
        with step(report, "match", "waiting for an offer that fits") as now:
            job_id = self.match_or_void(handle, timeout=match_within)
            now.found(job=job_id)
        with step(report, "run", "the provider's enclave proves itself, computes and settles") as now:
            record = self.wait(job_id, timeout=result_within, on_change=lambda found: now.changed(meaning(found)))
        with step(report, "open", "fetching the result, and opening it"):
            outputs = self.open_result(job_id, key)
        return JobResult(job_id=job_id, outputs=outputs, record=record)

    def match_or_void(self, handle: RequestHandle, *, timeout: float = 120.0) -> JobId:
        """Wait for the match of a request; one without a match in time is voided, so that it charges nothing later.

        Raises:
            NotMatched: it is voided; with the book's explanation why it was not matched.
        """
        try:
            return self.wait_match(handle, timeout=timeout)
        except WaitedTooLong as error:
            if self.cancel_unless_matched(handle):
                raise NotMatched(handle.request_hash, error.detail) from error
            return self.wait_match(handle, timeout=timeout)

    def request(
        self,
        workload: Path | Bundle,
        parameters: Mapping[str, object],
        assets: Sequence[AssetWish],
        limits: JobLimits,
        result_key: PrivateKey,
        *,
        purpose: Purpose = Purpose.TRAIN,
        post: bool = True,
        pending: Pending[PendingRequest] | None = None,
        on_signed: Callable[[RequestHandle], None] = lambda _handle: None,
    ) -> RequestHandle:
        """Sign a request over the terms in force, upload what it needs, and post it.

        Only what the market itself would refuse is checked here; :meth:`quote` checks the owners' policies and the
        book too.

        Args:
            result_key: the result is sealed to it; write its backup first (:func:`create_result_key`).
            post, pending, on_signed: as :meth:`send`.

        Raises:
            ParametersRefused: not what the workload's schema takes.
            RequestInvalid: too few or too many assets, assets that do not fit each other or the limits, or windows in
                which the workload does not fit or which this market does not take.
            As :meth:`send`.
        """
        bundle = workload if isinstance(workload, Bundle) else read_bundle(workload)
        wanted = Wanted(workload=bundle, parameters=parameters, assets=assets, limits=limits, purpose=purpose)
        unsigned = self.compose(wanted, result_key)
        self._require_possible(unsigned.request, unsigned.at)
        return self.send(unsigned, post=post, pending=pending, on_signed=on_signed)

    def earlier(self, unsigned: UnsignedRequest, pending: Pending[PendingRequest]) -> RequestHandle | None:
        """The request that an earlier call signed for the same, and that :meth:`send` goes on with; None without one.

        Ask it before a quote: what is matched already has locked the money that a quote would look for.

        Raises:
            PendingElsewhere: as :meth:`send`.
        """
        return self._earlier(pending, unsigned.request, unsigned.parameters, unsigned.at)

    def send(
        self,
        unsigned: UnsignedRequest,
        *,
        post: bool = True,
        pending: Pending[PendingRequest] | None = None,
        on_signed: Callable[[RequestHandle], None] = lambda _handle: None,
    ) -> RequestHandle:
        """Sign a request, upload what it needs, and post it.

        Args:
            post: False signs and uploads, and leaves posting (or matching around the backend) to the caller.
            pending: where the signed request is noted before it leaves. One like it that is noted there goes on in its
                place, and is not signed again; the caller that sees the match clears it.
            on_signed: hears of the request before it is posted.

        Raises:
            MarketNotVerified, ServiceUnavailable, ChainUnavailable: nothing is posted then.
            RequestUncertain: it may be posted; do it again with the same ``pending``.
            PendingElsewhere: another request is noted there, of which it is unknown whether it is in the book.
        """
        self._party.require_market()
        request, parameters, head = unsigned.request, unsigned.parameters, unsigned.at
        handle = self._earlier(pending, request, parameters, head) or self._signed(pending, request, parameters, head)
        on_signed(handle)
        self._upload(unsigned)
        if post:
            self.post(handle)
        return handle

    def _upload(self, unsigned: UnsignedRequest) -> None:
        self._store.put_workload(unsigned.workload)
        for key in unsigned.result_keys:
            self._store.put_document(key)
        self._store.put_document(result_key_names(unsigned.result_keys))
        if len(unsigned.capabilities) > 1:
            self._store.put_list(map(merkle.capability_leaf, unsigned.capabilities))

    def _signed(
        self, pending: Pending[PendingRequest] | None, request: Request, parameters: Parameters, head: Block
    ) -> RequestHandle:
        posted = PostedRequest(
            request=SignedRequest(request=request, signature=self._party.sign(request)), parameters=parameters
        )
        noted = PendingRequest(posted=posted, since=head.number)
        if pending is not None:
            pending.write(noted)
        return RequestHandle.noted(noted)

    def _earlier(
        self, pending: Pending[PendingRequest] | None, request: Request, parameters: Parameters, head: Block
    ) -> RequestHandle | None:
        """The request of an earlier call that this one repeats; None if there is none that may still count."""
        noted = None if pending is None else pending.read()
        if pending is None or noted is None:
            return None
        handle = RequestHandle.noted(noted)
        status = self._status(handle.request_hash)
        matched = status is not Status.NONE
        if status is Status.CANCELLED:
            return None  # it was voided, or its job withdrawn
        if not matched and (
            handle.request.expiry <= head.timestamp
            or generations_of(handle.request.salt) != generations_of(request.salt)
        ):
            return None  # no match can use it any more
        if intent(request, parameters) == intent(handle.request, handle.parameters):
            return handle
        if matched or self._is_in_book(handle.request_hash):
            return None
        raise PendingElsewhere(pending.path, f"request {handle.request_hash}, of other contents")

    def post(self, handle: RequestHandle) -> None:
        """Put a signed request and its parameters into the book, unless they are there. Twice is the same as once.

        Raises:
            RequestUncertain: no answer, and it is unknown whether the book has it.
        """
        if self._is_on_chain(handle.request_hash):
            return
        try:
            self._api.orders.post_request(PostedRequest(request=handle.signed, parameters=handle.parameters))
        except ServiceUnavailable as error:
            if not self._is_in_book(handle.request_hash):
                raise RequestUncertain(handle.request_hash, error.message) from error

    def _is_on_chain(self, request_hash: Bytes32) -> bool:
        return self._status(request_hash) is not Status.NONE

    def _status(self, request_hash: Bytes32) -> Status:
        return self._chain.at(self._chain.head()).job(request_hash).status

    def _is_in_book(self, request_hash: Bytes32) -> bool:
        try:
            self._api.orders.request(request_hash)
        except (ItemNotFound, ServiceUnavailable):
            return False
        return True

    def _require_possible(self, request: Request, head: Block) -> None:
        """Raise for the first limit that the market would name whatever is offered."""
        view, prove = self._chain.at(head), self._reading.prover()
        sides = [Side(limit, view.asset(limit.asset_id, limit.version)) for limit in request.assets]
        found = chained(
            unmet_by_request(request, self._rules, head.timestamp),
            *(unmet_by_version(request, side, head.timestamp, prove) for side in sides),
            unmet_by_epoch(request, [side.version for side in sides], self._rules, head.timestamp),
        )
        if (unmet := next(found, None)) is not None:
            raise RequestInvalid(str(unmet), "name other limits; `sealmarket chain book` shows the market's own")

    def countersign(self, signed: SignedRequest) -> SignedRequest:
        """Pay for another's request: the same request with the signature of this account as its payer.

        Raises:
            RequestInvalid: it names another payer.
        """
        if signed.request.payer != self.address:
            raise RequestInvalid(
                f"its payer is {signed.request.payer.checksum}, not {self.address.checksum}",
                "ask the consumer to name this account as payer, and to sign again",
            )
        return replace(signed, payer_signature=self._party.sign(signed.request))

    def cancel(self, handle: RequestHandle) -> Mined:
        """Void a request that is not matched yet."""
        return self._party.take(self._chain.market.cancel_request(handle.request))

    def cancel_unless_matched(self, handle: RequestHandle) -> bool:
        """Void a request. False: a match was quicker, and the job runs."""
        try:
            self.cancel(handle)
        except Reverted:
            if not self._is_on_chain(handle.request_hash):
                raise
            return False
        return True

    # --- wait -------------------------------------------------------------------------------------------------

    def find_job(self, request_hash: Bytes32, since: int = 0) -> JobId | None:
        """The job of a request at the newest final block, or None."""
        return find_job(self._chain, self.address, request_hash, since)

    def wait_match(self, handle: RequestHandle, *, timeout: float = 120.0) -> JobId:
        """Wait until the request's match is final.

        Raises:
            WaitedTooLong: with the book's explanation why it is not matched.
        """

        def why() -> str:
            state = self._api.orders.request(handle.request_hash)
            return "; ".join(state.explanation) or f"the book says {state.state}"

        return self._waiting.for_match(self.address, handle.request_hash, handle.since, timeout, why)

    def wait(
        self, job_id: JobId, *, timeout: float = 600.0, on_change: Callable[[JobRecord], None] = lambda _record: None
    ) -> JobRecord:
        """Wait until the job's result is settled at a final block. Raises as :meth:`Waiting.for_result`."""
        return self._waiting.for_result(job_id, timeout, on_change)

    # --- result -----------------------------------------------------------------------------------------------

    def open_result(self, job_id: JobId, result_key: PrivateKey) -> dict[str, bytes]:
        """The outputs by name. Raises as :func:`fetch_result`."""
        return fetch_result(self._chain, self._store, job_id, result_key, self._node_store)

    def evidence(self, job_id: JobId, result_key: PrivateKey) -> EvidencePackage:
        """The evidence of the job's enclave. Raises as :func:`fetch_evidence`."""
        return fetch_evidence(self._chain, self._store, job_id, result_key).package

    def challenge(self, job_id: JobId) -> Mined:
        """Claim, against a bond of the free balance, that the result's ciphertext is not available.

        The oracle nodes then look for it. Where they find it, the bond is spent and :meth:`open_result` has it from
        them; where enough do not, the payer is refunded out of the provider's stake and the bond returns.

        Raises:
            JobEndedOtherwise: there is no result to challenge.
            Reverted: the challenge window is over, or the balance does not cover the bond.
        """
        record = read_job(self._chain, job_id)
        if record.settled_result is None:
            raise ended_otherwise(record)
        return self._party.give(self._chain.market.challenge(record.spec, record.settled_result))

    def acknowledge(self, job_id: JobId, *, on_chain: bool = False) -> Mined | None:
        """Say that the result arrived, which pays the provider at once.

        The market's API passes the signature to its keeper, which pays the gas; ``on_chain`` sends it from the
        consumer's account.
        """
        record = read_job(self._chain, job_id)
        if record.settled is None or record.settled_result is None:
            raise ended_otherwise(record)
        if on_chain:
            return self._party.give(self._chain.market.acknowledge(record.spec, record.settled_result))
        statement = Acknowledgement(job_id=job_id, result_hash=record.settled.result_hash)
        self._api.jobs.post_acknowledgement(statement, self._party.sign(statement))
        return None
