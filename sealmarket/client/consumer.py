"""What a consumer does: deposit, request, wait, open the result, acknowledge it.

The backend is asked for orientation only. What a job is, where it stands and which result is its own are read from
final blocks; every blob is held against its hash there.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from msgspec.structs import replace

from sealmarket.chain import IN_MEMORY, Block, Chain, Mined, Reverted, Sending
from sealmarket.client.errors import (
    JobEndedOtherwise,
    NotMatched,
    PendingElsewhere,
    RequestInvalid,
    RequestUncertain,
    WaitedTooLong,
)
from sealmarket.client.escrow import Escrow, escrow_of
from sealmarket.client.jobs import JobRecord, read_job, reasons_in_words
from sealmarket.client.keyfile import KeyKind, read_key_file, write_key_file
from sealmarket.client.limits import JobLimits, JobTime, time_of, timeout_limit_of
from sealmarket.client.market import Connected, Market
from sealmarket.client.party import Party
from sealmarket.client.pending import Pending, PendingRequest
from sealmarket.client.progress import OnProgress, quiet, step
from sealmarket.client.rules import rules_of
from sealmarket.client.signing import Signer
from sealmarket.client.waiting import pause
from sealmarket.market_api.client import MarketApi
from sealmarket.protocol import merkle
from sealmarket.protocol.fitting import unmet_by_request
from sealmarket.protocol.orders import Acknowledgement, AssetLimit, Purpose, Request
from sealmarket.protocol.salts import Generations, generations_of, new_salt
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import EvidencePackage, PostedRequest, SignedRequest
from sealmarket.sealing.contexts import EvidenceInfo
from sealmarket.sealing.results import open_result
from sealmarket.service.errors import ItemNotFound, ServiceUnavailable
from sealmarket.store.blobs import STORE, Store, digest_of
from sealmarket.workloads.folders import read_bundle
from sealmarket_enclave.protocol.codec import (
    ZERO_ADDRESS,
    ZERO_HASH,
    Address,
    Bytes32,
    MicroEpsilon,
    Uint,
    Wei,
    decode_canonical,
)
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import MAX_ASSETS, Parameters, evidence_hash, result_key_names
from sealmarket_enclave.protocol.numbers import AssetId, JobId, Kind
from sealmarket_enclave.sealed.errors import SealedError
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.sealed.outputs import NAME
from sealmarket_enclave.sealed.result import ResultEnvelope
from sealmarket_enclave.workload.bundle import Bundle
from sealmarket_enclave.workload.manifest import Value

POLL_SECONDS = 0.5
DAY = 86_400
EXACT, NOTHING = MicroEpsilon(0), Wei(0)
_GOOD = {Status.SETTLED, Status.MATURED, Status.CHALLENGED}
_ENDED = {Status.REFUSED, Status.STOPPED, Status.FAILED, Status.EXPIRED, Status.CANCELLED}


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetWish:
    """One asset that a job shall use. ``max_price`` None: its price now. ``epsilon`` 0: an exact output."""

    asset_id: AssetId
    version: int = 1
    max_price: Wei | None = None
    epsilon: MicroEpsilon = EXACT

    @staticmethod
    def parse(text: str) -> AssetWish:
        """``0xID``, or ``0xID:VERSION``. Raises :class:`RequestInvalid`."""
        asset, _, version = text.partition(":")
        try:
            found = Bytes32.parse(asset.lower())
            return AssetWish(asset_id=AssetId(found), version=int(version or "1"))
        except ValueError as error:
            raise RequestInvalid(f"{text!r} is no asset", "write 0xID, or 0xID:2 for version 2") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHandle:
    """A request that was signed and posted. ``since``: its job is matched after this block."""

    request_hash: Bytes32
    request: Request
    signed: SignedRequest
    parameters: Parameters
    since: int

    @staticmethod
    def noted(noted: PendingRequest) -> RequestHandle:
        """The request that a file holds."""
        signed = noted.posted.request
        return RequestHandle(
            request_hash=signed.request.struct_hash(),
            request=signed.request,
            signed=signed,
            parameters=noted.posted.parameters,
            since=noted.since,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What a job brought: ``outputs`` by name, opened; and what the chain says of the job."""

    job_id: JobId
    outputs: Mapping[str, bytes]
    record: JobRecord

    def save(self, folder: Path) -> list[Path]:
        """Write each output into a folder, which is made if it is not there; what is there by its name is replaced."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for name, data in self.outputs.items():
            # Names were checked when the result was opened; a file outside `folder` must stay impossible.
            assert NAME.fullmatch(name)
            (folder / name).write_bytes(data)
            paths.append(folder / name)
        return paths


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
    ) -> None:
        """``development``: the caller has started this chain, so its well-known keys may be used.

        ``sending``: where transactions are remembered, and the most that is paid for gas.
        """
        self._chain = chain
        self._store, self._api = store, api
        self._party = Party(chain, account, development=development, sending=sending)
        self._pause = pause
        self._rules = rules_of(chain)

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
        on_progress: OnProgress = quiet,
    ) -> JobResult:
        """Request a job, wait for its match and its result, open that, and acknowledge it, which pays the provider.

        Args:
            match_within: seconds after which a request without a match is voided, so that it charges nothing later.
            result_within: seconds to wait for the result; the job goes on if they pass.
            note: a file in which the signed request is noted until the result is opened. A call that was interrupted
                goes on with that request when it is repeated with the same file, and pays nothing twice.

        Raises:
            NotMatched: no offer fitted in time; the request is voided.
            JobEndedOtherwise, WaitedTooLong, ItemNotFound, SealedError: as :meth:`wait` and :meth:`open_result`.
            Whatever :meth:`request` raises.
        """
        noted = None if note is None else Pending(note, PendingRequest)
        with step(on_progress, "request", "signing the request, and putting it into the book") as now:
            arguments = (workload, parameters, assets, limits, result_key)
            handle = self.request(*arguments, purpose=purpose, pending=noted)
            now.found(request=handle.request_hash)
        with step(on_progress, "match", "waiting for an offer that fits") as now:
            job_id = self.match_or_void(handle, timeout=match_within)
            now.found(job=job_id)
        with step(on_progress, "run", "the provider's enclave proves itself, computes and settles") as now:
            record = self.wait(job_id, timeout=result_within, on_change=lambda found: now.changed(_status_of(found)))
        with step(on_progress, "open", "fetching the result, and opening it"):
            outputs = self.open_result(job_id, result_key)
        if acknowledge:
            with step(on_progress, "acknowledge", "confirming that the result arrived, which pays the provider"):
                self.acknowledge(job_id)
        if noted is not None:
            noted.clear()
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

        Args:
            result_key: the result is sealed to it; write its backup first (:func:`create_result_key`).
            post: False signs and uploads, and leaves posting (or matching around the backend) to the caller.
            pending: where the signed request is noted before it leaves. One like it that is noted there goes on in its
                place, and is not signed again; the caller that sees the match clears it.
            on_signed: hears of the request before it is posted.

        Raises:
            ParametersRefused: not what the workload's schema takes.
            RequestInvalid: too few or too many assets, assets that do not fit each other or the limits, or windows in
                which the workload does not fit or which this market does not take.
            MarketNotVerified, ServiceUnavailable, ChainUnavailable: nothing is posted then.
            RequestUncertain: it may be posted; do it again with the same ``pending``.
            PendingElsewhere: another request is noted there, of which it is unknown whether it is in the book.
        """
        _check_count(assets)
        self._party.require_market()
        bundle = workload if isinstance(workload, Bundle) else read_bundle(workload)
        values = complete_parameters(bundle, parameters, len(assets))
        figures = time_of(limits, bundle.manifest, self._chain.book.timing)
        shown = Parameters(salt=Bytes32(secrets.token_bytes(32)), values=values)
        head = self._chain.head()
        public = bytes(result_key.public.raw)
        names = result_key_names([public])
        request = self._request(bundle.digest, shown, assets, limits, figures, keccak(names), purpose, head)
        handle = self._earlier(pending, request, shown, head) or self._signed(pending, request, shown, head)
        on_signed(handle)
        self._store.put_workload(bundle)
        self._store.put_document(public)
        self._store.put_document(names)
        if len(limits.capabilities) > 1:
            self._store.put_list(map(merkle.capability_leaf, limits.capabilities))
        if post:
            self.post(handle)
        return handle

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
        if _intent(request, parameters) == _intent(handle.request, handle.parameters):
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

    def _request(
        self,
        workload: Bytes32,
        parameters: Parameters,
        assets: Sequence[AssetWish],
        limits: JobLimits,
        figures: JobTime,
        keys_hash: Bytes32,
        purpose: Purpose,
        head: Block,
    ) -> Request:
        bought = tuple(self._limit(wish, limits, purpose, head) for wish in assets)
        request = Request(
            kind=Kind.BATCH,
            extension_hash=ZERO_HASH,
            consumer=self.address,
            payer=limits.payer or self.address,
            token=limits.token,
            workload_digest=workload,
            parameters_digest=digest_of(parameters),
            result_keys_hash=keys_hash,
            purpose=int(purpose),
            tee=limits.tee,
            min_grade=limits.min_grade,
            providers=limits.providers,
            capabilities=merkle.root(map(merkle.capability_leaf, limits.capabilities)),
            max_compute_price=limits.max_compute_price,
            max_unit_price=limits.max_unit_price,
            max_units=limits.max_units,
            min_penalty=limits.min_penalty,
            timeout_limit=timeout_limit_of(limits, (asset.max_price for asset in bought)),
            run_seconds=figures.stages.run,
            read_seconds=figures.stages.read,
            validate_seconds=figures.stages.validate,
            decoded_bytes=figures.decoded_bytes,
            quote_window=figures.windows.quote,
            decide_window=figures.windows.decide,
            settle_window=figures.windows.settle,
            challenge_window=figures.windows.challenge,
            expiry=head.timestamp + limits.valid_for,
            salt=new_salt(self._generations(limits, head)),
            assets=bought,
        )
        self._require_possible(request, head)
        return request

    def _generations(self, limits: JobLimits, head: Block) -> Generations:
        view = self._chain.at(head)
        ours = view.account(limits.token, self.address).generation
        if limits.payer in (None, self.address):
            return Generations(ours)
        return Generations(ours, view.account(limits.token, limits.payer).generation)

    def _require_possible(self, request: Request, head: Block) -> None:
        if (unmet := next(unmet_by_request(request, self._rules, head.timestamp), None)) is not None:
            raise RequestInvalid(str(unmet), "name other limits; `sealmarket chain book` shows the market's own")

    def escrow(self, request: Request) -> Escrow:
        """The most that a match of a request locks of its payer's money."""
        return escrow_of(request, self._rules, self._chain.at(self._chain.head()))

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

    def _limit(self, wish: AssetWish, limits: JobLimits, purpose: Purpose, head: Block) -> AssetLimit:
        state = self._chain.at(head).asset(wish.asset_id, wish.version)
        name = f"version {wish.version} of asset {wish.asset_id}"
        if state.revoked:
            raise RequestInvalid(f"{name} is revoked by its owner", "choose another asset or version")
        if state.suspended:
            raise RequestInvalid(
                f"{name} is suspended: an enclave could not open or read it", "choose another version, or ask its owner"
            )
        if state.terms.expiry <= head.timestamp:
            raise RequestInvalid(f"the terms of {name} have expired", "ask its owner for a new version")
        if state.terms.token != limits.token:
            raise RequestInvalid(
                f"{name} is priced in {state.terms.token.checksum}, not in {limits.token.checksum}",
                "pay in the asset's token",
            )
        if int(purpose) & ~state.terms.purposes:
            raise RequestInvalid(f"{name} is not sold for {purpose.name.lower()}", "request a purpose that it allows")
        return AssetLimit(
            asset_id=wish.asset_id,
            version=wish.version,
            terms_version=state.terms_version,
            max_price=state.terms.price if wish.max_price is None else wish.max_price,
            epsilon=wish.epsilon,
        )

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
        final = self._chain.final()
        for match in self._chain.matches_of(self.address, max(since, self._chain.book.deployed_at), final):
            if match.spec.request_hash == request_hash:
                return match.job_id
        return None

    def wait_match(self, handle: RequestHandle, *, timeout: float = 120.0) -> JobId:
        """Wait until the request's match is final.

        Raises:
            WaitedTooLong: with the book's explanation why it is not matched.
        """
        deadline = time.monotonic() + timeout
        while (job := self.find_job(handle.request_hash, handle.since)) is None:
            if time.monotonic() > deadline:
                state = self._api.orders.request(handle.request_hash)
                why = "; ".join(state.explanation) or f"the book says {state.state}"
                raise WaitedTooLong("a match", timeout, why)
            self._pause(POLL_SECONDS)
        return job

    def wait(
        self, job_id: JobId, *, timeout: float = 600.0, on_change: Callable[[JobRecord], None] = lambda _record: None
    ) -> JobRecord:
        """Wait until the job's result is settled at a final block.

        Raises:
            JobEndedOtherwise: refused, stopped, failed, expired or cancelled; with the reasons.
            WaitedTooLong.
        """
        deadline, seen = time.monotonic() + timeout, None
        while True:
            record = read_job(self._chain, job_id)
            if record.status is not seen:
                on_change(record)
                seen = record.status
            if record.settled is not None and record.status in _GOOD:
                return record
            if record.status in _ENDED:
                raise _ended(record)
            if time.monotonic() > deadline:
                raise WaitedTooLong(f"the result of job {job_id}", timeout, f"it is {record.status.name.lower()}")
            self._pause(POLL_SECONDS)

    # --- result -----------------------------------------------------------------------------------------------

    def open_result(self, job_id: JobId, result_key: PrivateKey) -> dict[str, bytes]:
        """Fetch the result that the chain names and open it: output name to bytes.

        Raises:
            JobEndedOtherwise: there is no result.
            ItemNotFound: the ciphertext is not available; challenge it before the window closes.
            SealedError: another key, or not the bytes that the enclave signed.
        """
        record = read_job(self._chain, job_id)
        if record.settled is None:
            raise _ended(record)
        envelope = decode_canonical(ResultEnvelope, self._store.document(record.settled.result_hash))
        container = self._store.container(envelope.content_root)
        book = self._chain.book
        return open_result(envelope, container, result_key, chain_id=book.chain_id, market=book.market, job_id=job_id)

    def evidence(self, job_id: JobId, result_key: PrivateKey) -> EvidencePackage:
        """The evidence of the job's enclave, which its provider sealed to the consumer as well: for one's own check.

        Raises:
            ItemNotFound: nothing that opens with this key hashes to what is on chain.
        """
        record, book = read_job(self._chain, job_id), self._chain.book
        info = EvidenceInfo(
            chain_id=book.chain_id,
            market=book.market,
            job_id=job_id,
            epoch=record.spec.epoch,
            hpke_key=result_key.public.digest,
        )
        for envelope in self._store.evidence(job_id):
            try:
                package = decode_canonical(EvidencePackage, result_key.open(envelope.consumer, info))
            except (SealedError, MalformedDocument):
                continue  # whatever was posted beside the evidence is not it
            key_hash = keccak(package.enclave_key)
            found = evidence_hash(package.quote, package.enclave_signer, key_hash, package.block_hash)
            if found == record.evidence_hash:
                return package
        raise ItemNotFound(STORE, "evidence sealed to this result key", str(job_id))

    def acknowledge(self, job_id: JobId, *, on_chain: bool = False) -> Mined | None:
        """Say that the result arrived, which pays the provider at once.

        The market's API passes the signature to its keeper, which pays the gas; ``on_chain`` sends it from the
        consumer's account.
        """
        record = read_job(self._chain, job_id)
        if record.settled is None or record.settled_result is None:
            raise _ended(record)
        if on_chain:
            return self._party.give(self._chain.market.acknowledge(record.spec, record.settled_result))
        statement = Acknowledgement(job_id=job_id, result_hash=record.settled.result_hash)
        self._api.jobs.post_acknowledgement(statement, self._party.sign(statement))
        return None


def _status_of(record: JobRecord) -> str:
    return f"the job is {record.status.name.lower()}"


def _check_count(assets: Sequence[AssetWish]) -> None:
    if not 1 <= len(assets) <= MAX_ASSETS:
        raise RequestInvalid(f"a job uses 1 to {MAX_ASSETS} assets, found {len(assets)}", "choose other assets")


def _intent(request: Request, parameters: Parameters) -> tuple[Request, Mapping[str, Value]]:
    """What a request asks for, without what differs between two that ask for the same."""
    return replace(request, parameters_digest=ZERO_HASH, expiry=0, salt=Uint(0)), parameters.values


def complete_parameters(bundle: Bundle, parameters: Mapping[str, object], asset_count: int) -> dict[str, Value]:
    """A job's parameters with the workload's defaults; asked before a request is signed.

    The enclave finds the same, but by then the job is accepted, and its consumer pays for it in full.

    Raises:
        ParametersRefused: not what the workload's schema takes, or another number of assets.
    """
    values = bundle.manifest.check_parameters(parameters)
    bundle.manifest.input_names(asset_count)
    return values


def create_result_key(
    path: Path, *, passphrase: str | None = None, confirm_unencrypted: bool = False, about: str = ""
) -> PrivateKey:
    """Make a result key and write its backup to a new file (mode 0600) before anything is sealed to it.

    Raises:
        KeyFileUnconfirmed: neither a passphrase nor a confirmation.
        KeyFileExists.
    """
    key = PrivateKey.generate()
    notes = {"publicKey": str(keccak(key.public.raw)), **({"about": about} if about else {})}
    write_key_file(
        path,
        KeyKind.RESULT_KEY,
        key.secret_bytes(),
        about=notes,
        passphrase=passphrase,
        confirm_unencrypted=confirm_unencrypted,
    )
    return key


def load_result_key(path: Path, *, passphrase: str | None = None) -> PrivateKey:
    """Read a result key back from its file. Raises :class:`KeyFileError`."""
    secret, _ = read_key_file(path, KeyKind.RESULT_KEY, passphrase=passphrase)
    return PrivateKey(secret)


def _ended(record: JobRecord) -> JobEndedOtherwise:
    words = reasons_in_words(record.reasons)
    said = ", ".join(reason.word for reason in words) or record.fault.name.lower().replace("_", " ")
    remedy = "; ".join(dict.fromkeys(reason.remedy for reason in words)) or "request again; the money is in the ledger"
    return JobEndedOtherwise(record.job_id, record.status.name.lower(), said, remedy)
