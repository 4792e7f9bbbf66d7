"""What a provider does to have a service: order and request of its own, matched at once, under terms that it names.

The provider is consumer and payer of the job. Its terms are checked against every owner's policy and against the price
of each asset before anything is signed, and lie where its worker finds them before the job is on chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from sealmarket.chain import IN_MEMORY, Block, Chain, Sending
from sealmarket.chain.contracts import AssetOffer, Match
from sealmarket.chain.errors import NoSessions, Reverted
from sealmarket.chain.events import JobMatched
from sealmarket.client.errors import ClientError
from sealmarket.client.limits import JobLimits
from sealmarket.client.party import Party
from sealmarket.client.pending import Pending
from sealmarket.client.reading import Reading
from sealmarket.client.requests import AssetWish, UnsignedRequest, Wanted, compose
from sealmarket.client.rules import rules_of
from sealmarket.client.signing import Signer
from sealmarket.client.stopping import pause
from sealmarket.market_api.client import MarketApi
from sealmarket.protocol.book import AddressBook, Windows
from sealmarket.protocol.fitting import unmet_by_order, unmet_by_request
from sealmarket.protocol.merkle import account_leaf
from sealmarket.protocol.orders import ComputeOrder, Purpose, Request
from sealmarket.protocol.salts import Generations, new_salt
from sealmarket.protocol.timing import least_settle_window, longest_hold
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import SignedComputeOrder, SignedRequest
from sealmarket.service.errors import ItemNotFound
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, Bytes32, Shape, Uint64, Wei
from sealmarket_enclave.protocol.job import Parameters, result_key_names
from sealmarket_enclave.protocol.numbers import Grade, JobId, Kind, Tee
from sealmarket_enclave.protocol.policy import Serving, strictest_serving
from sealmarket_enclave.protocol.session import Royalty, SessionTerms
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.workload.bundle import Bundle

TERMS = "terms"
"""The folder of a worker's state in which it looks for the terms of its services."""
ONE_UNIT, LEAST, NOTHING = Uint64(1), Wei(1), Wei(0)
POST_SECONDS = 1.0
"""How long a post of parameters waits for the next try."""
AMPLE = 4
"""A lease of so many buckets, or more, serves long between two statements."""
FINALITIES, ROOM_SECONDS = 4, 600
"""What a redemption window has beyond a lease: so many times the finality, as the contract asks, and room."""


class ServiceRefused(ClientError):
    """No service can be made of this."""

    def __init__(self, what: str, expected: str, found: object, remedy: str) -> None:
        super().__init__(f"{what}: expected {expected}, found {found}", remedy=remedy)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePlan:
    """What a provider offers users. Amounts in the token's smallest unit, times in seconds.

    Owners get for each unit the least that their policies ask for. ``seconds``: how long the service takes requests,
    from its match on. ``penalty``: what the provider loses by its own fault, beside what owners are paid.
    """

    unit_price: Wei
    lease: Uint64
    seconds: int
    penalty: Wei
    lease_seconds: int = 600
    bucket: Uint64 = ONE_UNIT
    least_tab: Wei = LEAST
    renewal_fee: Wei = NOTHING
    tee: Tee = Tee.TDX
    grade: Grade = Grade.HARDWARE
    purpose: Purpose = Purpose.INFER
    capability_hash: Bytes32 = ZERO_HASH
    token: Address = ZERO_ADDRESS


class PendingService(Shape, frozen=True, kw_only=True):
    """A service that was signed and may be matched. ``since``: its match is after this block."""

    request: SignedRequest
    compute: SignedComputeOrder
    parameters: Parameters
    since: int


def pending_service(folder: Path, book: AddressBook, account: Address) -> Pending[PendingService]:
    """The service of an account on a market that may be under way."""
    return Pending(folder / f"service-{book.chain_id}-{book.market}-{account}.json", PendingService)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsignedService:
    """A service before anything is signed: its terms, and request and order of one account."""

    unsigned: UnsignedRequest
    order: ComputeOrder
    terms: SessionTerms
    most_units: int
    """The most that one request may cost, by the owners' policies."""
    meter: Bytes32 | UnsetType = UNSET
    """What counts units, by the owners' policies; absent where the workload's own count is taken."""
    free: Wei
    """The account's free balance in the market, of which opening price and bond are paid."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes a service of these terms stop early, or refuse requests; nothing for good ones."""
        terms, found = self.terms, []
        if self.free < (needed := self.opening_price + self.bond):
            found.append(
                f"opening price and bond are {needed} together, and {self.free} of the account's balance is free: no "
                f"user can open a tab before the bond is there; deposit {needed - self.free} more for this account"
            )
        if terms.bucket * AMPLE > terms.lease:
            found.append(
                f"up to {terms.bucket - 1} of the {terms.lease} units of a lease are in no statement before the last: "
                f"the service stops early; name a lease of {terms.bucket * AMPLE} units or more, or a smaller bucket"
            )
        if self.most_units + terms.bucket > terms.lease:
            found.append(
                f"owners allow requests of {self.most_units} units, and a lease of {terms.lease} does not hold one: "
                "such requests are refused; name a longer lease"
            )
        return tuple(found)

    @property
    def opening_price(self) -> Wei:
        """What owners are paid once a key is joined, whatever is served."""
        return Wei(sum(limit.max_price for limit in self.unsigned.request.assets))

    @property
    def bond(self) -> Wei:
        """What the worker locks before a tab can open."""
        return Wei(self.terms.lease * sum(royalty.per_unit for royalty in self.terms.royalties))


class ServiceMaker:
    """Makes services of one provider's account on one market."""

    def __init__(
        self,
        chain: Chain,
        account: Signer,
        store: Store,
        api: MarketApi,
        *,
        development: bool = False,
        sending: Sending = IN_MEMORY,
    ) -> None:
        """Arguments as for :class:`sealmarket.client.consumer.Consumer`. Raises :class:`NoSessions`."""
        if chain.book.sessions is None:
            raise NoSessions(chain.book.market)
        self._chain, self._store, self._sessions = chain, store, chain.book.sessions
        self._party = Party(chain, account, development=development, sending=sending)
        self._reading = Reading(chain, store, api)

    def compose(
        self,
        workload: Bundle,
        parameters: Mapping[str, object],
        assets: Sequence[AssetWish],
        plan: ServicePlan,
        result_key: PrivateKey,
    ) -> UnsignedService:
        """What would be signed, over the terms in force. The last statements are sealed to ``result_key``.

        Raises:
            ServiceRefused: an owner's policy, an asset's price or the market does not allow it.
            ParametersRefused, RequestInvalid, ChainError, ServiceError: as :func:`compose`.
        """
        if workload.manifest.session is UNSET:
            raise ServiceRefused("the workload", "one of kind session", "a batch job's", "see docs/inference.md")
        me, windows = self._party.address, self._chain.book.timing.windows
        limits = JobLimits(
            max_compute_price=Wei(0),
            tee=plan.tee,
            min_grade=plan.grade,
            providers=account_leaf(me),
            capabilities=(plan.capability_hash,),
            token=plan.token,
            quote_window=windows.quote + ROOM_SECONDS,
            decide_window=windows.decide + ROOM_SECONDS,
        )
        wanted = Wanted(workload=workload, parameters=parameters, assets=assets, limits=limits, purpose=plan.purpose)
        made = compose(wanted, me, [bytes(result_key.public.raw)], self._chain, self._reading.output_rules(wanted))
        serving = self._serving(assets, made.at)
        terms = self._terms(plan, made.request, serving, made.at.timestamp)
        request = self._request(made.request, terms, plan)
        self._require_covered(request, terms)
        order = self._order(request, plan)
        self._require_possible(request, order, made.at.timestamp)
        rules = strictest_serving(tuple(serving))
        unsigned = changed(made, request=request)
        free = self._chain.at(made.at).account(plan.token, me).free
        return UnsignedService(
            unsigned=unsigned, order=order, terms=terms, most_units=rules.max_units, meter=rules.meter, free=free
        )

    def make(self, service: UnsignedService, state: Path, pending: Pending[PendingService] | None = None) -> JobId:
        """Put the terms into the worker's state folder, upload, sign, and match. The job's id is the service's.

        ``pending``: where what was signed is noted before it leaves, for :meth:`earlier`.

        Raises:
            MarketNotVerified: nothing was signed.
            ChainError: not matched: stake, balance or terms do not allow it, and nothing is charged.
            ServiceError: nothing is on chain, unless it is about the parameters: post them again.
            OSError: the terms cannot be written.
        """
        unsigned, request = service.unsigned, service.unsigned.request
        self._party.require_market()
        folder = state / TERMS
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / f"{request.extension_hash.hex()}.json").write_bytes(service.terms.canonical())
        self._store.put_workload(unsigned.workload)
        for key in unsigned.result_keys:
            self._store.put_document(key)
        self._store.put_document(result_key_names(unsigned.result_keys))
        noted = PendingService(
            request=SignedRequest(request=request, signature=self._party.sign(request)),
            compute=SignedComputeOrder(order=service.order, signature=self._party.sign(service.order)),
            parameters=unsigned.parameters,
            since=unsigned.at.number,
        )
        if pending is not None:
            pending.write(noted)
        return self._finish(noted, pending)

    def earlier(self, pending: Pending[PendingService]) -> JobId | None:
        """The service of a call that was interrupted, gone on with to its end; None where there is none.

        One that no block has is matched now: it is the same transaction where the first was sent.

        Raises:
            PendingElsewhere: the note cannot be understood.
            others: as :meth:`make`.
        """
        noted = pending.read()
        return None if noted is None else self._finish(noted, pending)

    def _finish(self, noted: PendingService, pending: Pending[PendingService] | None) -> JobId:
        request = noted.request.request
        try:
            job_id = self._matched(noted)
            if job_id is None:
                offers = tuple(AssetOffer() for _ in request.assets)
                match = Match(request=noted.request, compute=noted.compute, offers=offers)
                job_id = _job_of(self._party.give(self._chain.market.match(match)).events, request)
            self._post_parameters(noted)
        except (Reverted, ItemNotFound):  # for good: the same again ends the same
            _forget(pending)
            raise
        _forget(pending)
        assert job_id is not None
        return job_id

    def _matched(self, noted: PendingService) -> JobId | None:
        """The job of a request that a block has."""
        head = self._chain.head()
        if self._chain.at(head).job(noted.request.request.struct_hash()).status is Status.NONE:
            return None
        return _job_of(self._chain.events(noted.since, head.number), noted.request.request)

    def _post_parameters(self, noted: PendingService) -> None:
        """A store takes parameters once its backend has seen the match in a final block."""
        request, began = noted.request.request, self._chain.head().timestamp
        while True:
            try:
                return self._store.post_parameters(request.struct_hash(), noted.parameters)
            except ItemNotFound:
                if self._chain.head().timestamp > began + request.quote_window:
                    raise
                pause(POST_SECONDS)

    def _serving(self, assets: Sequence[AssetWish], at: Block) -> list[Serving]:
        view, found = self._chain.at(at), []
        for wish in assets:
            seal = self._reading.seal_of(wish.asset_id, wish.version, view.asset(wish.asset_id, wish.version))
            policy, missing = self._reading.policy_of(seal) if seal is not None else (None, "no event shows its seal")
            rules = policy.document.serving if policy is not None else None
            if not isinstance(rules, Serving):
                remedy = "choose an asset whose owner allows services"
                raise ServiceRefused(f"asset {wish.asset_id}", "a policy with `serving`", missing or "none", remedy)
            found.append(rules)
        self._require_meter(found)
        return found

    def _require_meter(self, rules: Sequence[Serving]) -> None:
        named = dict.fromkeys("none" if rule.meter is UNSET else str(rule.meter) for rule in rules)
        if len(named) > 1:
            remedy = "choose assets whose owners name the same meter"
            raise ServiceRefused("the owners' meters", "the same for all", " and ".join(named), remedy)
        meter = rules[0].meter if rules else UNSET
        if meter is not UNSET and not self._store.has("workloads", meter):
            raise ServiceRefused("the store", f"the meter {meter}", "nothing", "ask the owner to put it there")

    def _terms(self, plan: ServicePlan, request: Request, serving: Sequence[Serving], now: int) -> SessionTerms:
        finality = self._chain.book.timing.finality_seconds
        royalties = tuple(
            Royalty(asset_id=limit.asset_id, per_unit=rules.per_unit)
            for limit, rules in zip(request.assets, serving, strict=True)
        )
        least = sum(royalty.per_unit for royalty in royalties)
        if plan.unit_price < max(1, least):
            raise ServiceRefused("the price of a unit", f"{max(1, least)} or more", plan.unit_price, "ask for more")
        most = min(rules.max_lease for rules in serving)
        if not 1 <= plan.lease <= most:
            raise ServiceRefused("the lease", f"1 to {most} units", plan.lease, "name a lease that owners allow")
        if plan.bucket >= plan.lease:
            remedy = "name a smaller one: statements would say nothing, and the service would stop for good"
            raise ServiceRefused("the bucket", f"less than the lease of {plan.lease} units", plan.bucket, remedy)
        return SessionTerms(
            sessions=self._sessions,
            lease=plan.lease,
            lease_seconds=plan.lease_seconds,
            redemption_window=plan.lease_seconds + FINALITIES * finality + ROOM_SECONDS,
            end=now + plan.seconds,
            bucket=plan.bucket,
            unit_price=plan.unit_price,
            least_tab=plan.least_tab,
            renewal_fee=plan.renewal_fee,
            royalties=royalties,
        )

    def _request(self, request: Request, terms: SessionTerms, plan: ServicePlan) -> Request:
        timing = self._chain.book.timing
        least = least_settle_window(timing, request.run_seconds, request.read_seconds, request.validate_seconds)
        return replace(
            request,
            kind=Kind.SESSION,
            extension_hash=terms.struct_hash(),
            settle_window=plan.seconds + least,
            timeout_limit=Wei(sum(limit.max_price for limit in request.assets)),
        )

    def _require_covered(self, request: Request, terms: SessionTerms) -> None:
        for limit, royalty in zip(request.assets, terms.royalties, strict=True):
            covered = terms.lease * royalty.per_unit
            if limit.max_price < covered:
                remedy = "name a shorter lease, or ask the owner for a price that covers it"
                raise ServiceRefused(f"price of asset {limit.asset_id}", f"{covered} or more", limit.max_price, remedy)

    def _order(self, request: Request, plan: ServicePlan) -> ComputeOrder:
        generation = self._chain.at(self._chain.head()).account(plan.token, self._party.address).generation
        windows = Windows(
            quote=request.quote_window,
            decide=request.decide_window,
            settle=request.settle_window,
            challenge=request.challenge_window,
        )
        return ComputeOrder(
            kind=Kind.SESSION,
            provider=self._party.address,
            tee=plan.tee,
            grade=plan.grade,
            price=Wei(0),
            penalty=plan.penalty,
            volume=1,
            unit_price=Wei(0),
            token=plan.token,
            consumers=account_leaf(self._party.address),
            capability_hash=plan.capability_hash,
            max_decoded_bytes=request.decoded_bytes,
            max_stake=Wei(plan.penalty + sum(limit.max_price for limit in request.assets)),
            timeout_fee=Wei(0),
            min_quote_window=request.quote_window,
            min_settle_window=request.settle_window,
            max_hold=longest_hold(windows),
            max_run_seconds=request.run_seconds,
            max_read_seconds=request.read_seconds,
            max_validate_seconds=request.validate_seconds,
            expiry=request.expiry,
            salt=new_salt(Generations(generation)),
        )

    def _require_possible(self, request: Request, order: ComputeOrder, now: int) -> None:
        rules = rules_of(self._chain)
        for unmet in (*unmet_by_request(request, rules, now), *unmet_by_order(order, rules, now)):
            raise ServiceRefused("the market", "what it takes", unmet, "change the plan")


def _forget(pending: Pending[PendingService] | None) -> None:
    if pending is not None:
        pending.clear()


def _job_of(events: Iterable[object], request: Request) -> JobId | None:
    """The job that a match of this request made."""
    name = request.struct_hash()
    found = (event for event in events if isinstance(event, JobMatched))
    return next((event.job_id for event in found if event.spec.request_hash == name), None)
