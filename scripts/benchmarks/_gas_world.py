"""A market on a fresh Anvil for measuring: deterministic parties that sign for themselves; any account sends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from scripts.benchmarks._gas_accounts import ETHER, Accounts, Party
from sealmarket.chain import abi
from sealmarket.chain.calls import Call
from sealmarket.chain.contracts import (
    AssetOffer,
    CommitteeContract,
    MarketContract,
    Match,
    RegistryContract,
    SettledResult,
)
from sealmarket.chain.deploy import contract_address
from sealmarket.chain.model import Enclave
from sealmarket.chain.sessions import SessionsContract
from sealmarket.protocol.book import Committee, Member, Windows
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.orders import Acknowledgement, AssetOrder, ComputeOrder, Quote, Request, asset_id
from sealmarket.protocol.wire import (
    DecisionDetail,
    SignedAssetOrder,
    SignedComputeOrder,
    SignedDecision,
    SignedRequest,
)
from sealmarket_enclave.protocol.codec import (
    ZERO_ADDRESS,
    ZERO_HASH,
    Address,
    Bytes32,
    HexBytes,
    MicroEpsilon,
    Uint,
    Wei,
)
from sealmarket_enclave.protocol.eip712 import TypedShape
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import AssetUse, JobSpec, Settlement
from sealmarket_enclave.protocol.numbers import U8, U32, AssetId, Grade, JobId, Timestamp
from sealmarket_enclave.protocol.signing import sign
from sealmarket_enclave.protocol.terms import Seal, Terms
from tests import samples

DEPOSIT, STAKE = 100 * ETHER, 60 * ETHER
PRICE = Wei(1_234_567_890_123_456_789)
COMPUTE = Wei(345_678_901_234_567_890)
UNIT = Wei(1_234_567_890_123_456)
PENALTY = Wei(456_789_012_345_678_901)
FEE = Wei(12_345_678_901_234)
UNITS = 3_600
SECONDS_PER_UNIT = 60
SETTLE_WINDOW = (UNITS + 60) * SECONDS_PER_UNIT
"""A job may meter a unit for each minute since its acceptance."""
FEE_FACTOR = 3
HOLD_RATE = 10**10
LOCATION = "s3://north-hospital/cohort-2031"
EVERY_USE = 2**32 - 1


def _hold_fee(owners: int, seconds: int) -> Wei:
    """What the payer sets aside for a job whose owners' prices are ``owners``, as the market computes it."""
    held = 2 * owners * seconds * HOLD_RATE
    return Wei(FEE * FEE_FACTOR + -(-held // 10**18))


@dataclass(slots=True)
class Job:
    """A deal whose parties are all new, and what the chain made of it."""

    consumer: Party
    provider: Party
    owners: tuple[Party, ...]
    enclave: Party
    request: Request
    compute: ComputeOrder
    orders: tuple[AssetOrder, ...]
    seals: tuple[Seal, ...]
    evidence: Bytes32
    spec: JobSpec | None = None
    uses: tuple[AssetUse, ...] = field(default=())


class World(Accounts):
    """Contracts, committee, parties. Every method that sends returns the gas that it took."""

    units = UNITS
    """What an enclave reports: all that a job may meter."""
    settle_window = SETTLE_WINDOW

    def __init__(self, url: str, *, members: int = 3, threshold: int = 2) -> None:
        """Deploy to an Anvil that no other program uses."""
        super().__init__(url)
        self.nodes = tuple(self._party() for _ in range(members))
        named = tuple(
            Member(signer=node.address, hpke_public_key=HexBytes(self._word() * 38), url="http://127.0.0.1")
            for node in self.nodes
        )
        self.committee = Committee(epoch=1, threshold=U8(threshold), members=named)
        registry, committees, market, sessions = self._deploy()
        self.registry, self.market = RegistryContract(registry), MarketContract(market, self.chain_id)
        self.sessions = SessionsContract(sessions, self.market)
        self.committees = CommitteeContract(committees)

    # --- what is measured -------------------------------------------------------------------------------------

    def publishing(self) -> dict[str, int]:
        """Publish an asset, replace its allow-list, tighten and revoke it."""
        owner = self._party()
        salt, seal, terms = self._word(), self._seal(), self._terms()
        figures = {"publish_asset": self._send(self.registry.publish(salt, seal, terms, LOCATION), owner)}
        asset = asset_id(self.chain_id, self.registry.address, owner.address, salt)
        figures["replace_allow_list"] = self._send(self.registry.replace_allow_list(asset, 1, self._word()), owner)
        figures["revoke"] = self._send(self.registry.revoke(asset, 1), owner)
        return figures

    def anchoring(self) -> dict[str, int]:
        """Anchor the hash of a statement about platforms."""
        return {"anchor_advisory": self._send(self.committees.anchor_advisory(self._word()), self._party())}

    def match(self, job: Job) -> int:
        """Match a job."""
        return self._matched([job], self._send(self._match_call(job)))

    def quote(self, job: Job) -> int:
        """The provider posts the evidence hash."""
        return self._send(self.market.quote(self._spec(job), job.evidence), job.provider)

    def decide(self, job: Job, outcome: Outcome) -> int:
        """Submit a quorum's decision."""
        return self._send(self._decide_call(job, outcome))

    def settle(self, job: Job, *, acknowledged: bool) -> int:
        """Submit the enclave's settlement."""
        return self._send(self._settle_call(job, acknowledged=acknowledged))

    def cancel(self, job: Job) -> int:
        """The consumer withdraws."""
        return self._send(self.market.cancel(self._spec(job)), job.consumer)

    def close(self, job: Job) -> int:
        """Close an overdue job, accepted or never quoted."""
        spec = self._spec(job)
        slot = self._slot(spec)
        return self._send(self.market.close(spec, self._enclave(job)) if slot == 3 else self.market.close(spec))

    def mature(self, job: Job) -> int:
        """Mature a settled job."""
        return self._send(self.market.mature(self._spec(job), SettledResult.of(self._settlement(job))))

    def match_batch(self, jobs: Sequence[Job]) -> int:
        """Match many in one transaction."""
        return self._matched(jobs, self._send(self.market.batch([self._match_call(job) for job in jobs])))

    def quote_batch(self, jobs: Sequence[Job]) -> int:
        """Post many evidence hashes, each signed by its provider."""
        calls = []
        for job in jobs:
            quote = Quote(job_id=self._job_id(job), evidence_hash=job.evidence)
            calls.append(self.market.quote(self._spec(job), job.evidence, self._sign(job.provider, quote)))
        return self._send(self.market.batch(calls))

    def decide_batch(self, jobs: Sequence[Job]) -> int:
        """Submit many decisions."""
        return self._send(self.market.batch([self._decide_call(job, Outcome.ACCEPTED) for job in jobs]))

    def settle_batch(self, jobs: Sequence[Job]) -> int:
        """Submit many settlements."""
        return self._send(self.market.batch([self._settle_call(job, acknowledged=True) for job in jobs]))

    # --- what goes before -------------------------------------------------------------------------------------

    def warm_up(self) -> None:
        """A refused job of other parties: opens the epoch's fee book, and keeps its members."""
        job = self.job(assets=1)
        self.match(job)
        self.quote(job)
        self.decide(job, Outcome.PLATFORM_REFUSED)

    def work(self) -> None:
        """Let as much time pass as the units of a job take."""
        self.pass_time(UNITS * SECONDS_PER_UNIT)

    def job(self, *, assets: int) -> Job:
        """Fresh parties with money, fresh assets; nothing is signed yet."""
        owners = tuple(self._party() for _ in range(assets))
        consumer, provider = self._consumer(), self._provider()
        published = [self._publish(owner) for owner in owners]
        ids = [asset for asset, _ in published]
        return Job(
            consumer=consumer,
            provider=provider,
            owners=owners,
            enclave=self._party(),
            request=self._request(consumer, ids),
            compute=self._compute(provider),
            orders=tuple(self._order(asset) for asset in ids),
            seals=tuple(seal for _, seal in published),
            evidence=self._word(),
        )

    def job_like(self, other: Job) -> Job:
        """A job of a fresh consumer and enclave over another's assets, under the same orders of provider and owners."""
        consumer = self._consumer()
        request = self._request(consumer, [limit.asset_id for limit in other.request.assets])
        return replace(
            other, consumer=consumer, request=request, enclave=self._party(), evidence=self._word(), spec=None
        )

    def _consumer(self) -> Party:
        consumer = self._party()
        self._send(self.market.deposit(ZERO_ADDRESS, Wei(DEPOSIT), consumer.address), value=DEPOSIT)
        return consumer

    def _provider(self) -> Party:
        provider = self._party()
        self._send(self.market.deposit(ZERO_ADDRESS, Wei(DEPOSIT), provider.address), value=DEPOSIT)
        self._send(self.market.stake(ZERO_ADDRESS, Wei(STAKE)), provider)
        return provider

    def _deploy(self) -> tuple[Address, Address, Address, Address]:
        places = [contract_address(self.sender, nonce) for nonce in range(6)]
        registry, committee, extension, endings, market, sessions = places
        hashes = [keccak(member.hpke_public_key) for member in self.committee.members]
        signers = [node.address for node in self.nodes]
        windows = Windows(quote=60, decide=60, settle=120, challenge=60)
        tokens = [{"token": ZERO_ADDRESS, "fee": FEE}]
        parameters = {
            "registry": registry,
            "committee": committee,
            "unbonding_delay": 86_400,
            "request_fee_factor": FEE_FACTOR,
            "finality": 12,
            "transfer_allowance": 60,
            "hold_rate": HOLD_RATE,
            "guardian": self.sender,
        }
        codes = [
            abi.load("AssetRegistry").creation(market),
            abi.load("OracleCommittee").creation(
                self.sender, market, 86_400, signers, hashes, self.committee.threshold
            ),
            abi.load("MarketExtension").creation(market, parameters),
            abi.load("MarketEndings").creation(market, parameters, extension),
            abi.load("Market").creation(parameters, endings, windows, tokens),
            abi.load("Sessions").creation(market),
        ]
        for code in codes:
            self._transact({"from": self.sender.checksum, "data": "0x" + code.hex()})
        return registry, committee, market, sessions

    def _publish(self, owner: Party) -> tuple[AssetId, Seal]:
        salt, seal = self._word(), self._seal()
        self._send(self.registry.publish(salt, seal, self._terms(), LOCATION), owner)
        return asset_id(self.chain_id, self.registry.address, owner.address, salt), seal

    # --- documents --------------------------------------------------------------------------------------------

    def _seal(self) -> Seal:
        return Seal(
            content_root=self._word(),
            content_version=U32(1),
            share_root=self._word(),
            policy_hash=self._word(),
            epoch=U32(1),
        )

    def _terms(self) -> Terms:
        return Terms(
            token=ZERO_ADDRESS,
            price=PRICE,
            expiry=self._later(),
            max_uses=U32(1000),
            purposes=U32(7),
            min_grade=Grade.HARDWARE,
            budget=MicroEpsilon(8_765_432),
            per_job_cap=MicroEpsilon(1_234_567),
            allow_root=self._word(),
            consumer_root=ZERO_HASH,
            max_hold=30 * 86_400,
            timeout_share=0,
        )

    def _request(self, consumer: Party, assets: Sequence[AssetId]) -> Request:
        limits = [
            samples.asset_limit(asset_id=asset, max_price=PRICE, epsilon=MicroEpsilon(234_567)) for asset in assets
        ]
        return samples.request(
            *limits,
            consumer=consumer.address,
            workload_digest=self._word(),
            parameters_digest=self._word(),
            result_keys_hash=self._word(),
            min_grade=Grade.HARDWARE,
            max_compute_price=COMPUTE,
            max_unit_price=UNIT,
            max_units=U32(UNITS),
            **(dict.fromkeys(samples.WINDOWS, 3600) | {"settle_window": self.settle_window}),
            expiry=self._later(),
            salt=self._salt(),
        )

    def _compute(self, provider: Party) -> ComputeOrder:
        return samples.compute_order(
            provider=provider.address,
            grade=Grade.HARDWARE,
            price=COMPUTE,
            unit_price=UNIT,
            penalty=PENALTY,
            max_stake=Wei(1 << 87),
            volume=U32(EVERY_USE),
            expiry=self._later(),
            salt=self._salt(),
        )

    def _order(self, asset: AssetId) -> AssetOrder:
        return AssetOrder(
            asset_id=asset,
            version=U32(1),
            price=PRICE,
            volume=U32(EVERY_USE),
            expiry=self._later(),
            consumers=ZERO_HASH,
            providers=ZERO_HASH,
            salt=self._salt(),
        )

    def _decision(self, job: Job, outcome: Outcome, detail: Bytes32, terms: Bytes32) -> Decision:
        return Decision(
            job_id=self._job_id(job),
            evidence_hash=job.evidence,
            enclave_signer=job.enclave.address,
            enclave_key_hash=self._key_hash(job),
            terms_digest=terms,
            epoch=U32(1),
            outcome=outcome,
            grade=U8(2),
            reasons=Uint(0 if outcome is Outcome.ACCEPTED else 1 << 40),
            expiry=self._later(),
            detail=detail,
        )

    def _settlement(self, job: Job) -> Settlement:
        return Settlement(
            job_id=self._job_id(job),
            result_hash=keccak(b"result" + job.evidence),
            receipt_hash=keccak(b"receipt" + job.evidence),
            units=U32(self.units),
            last=True,
        )

    # --- calls ------------------------------------------------------------------------------------------------

    def _match_call(self, job: Job) -> Call:
        offers = zip(job.owners, job.orders, strict=True)
        return self.market.match(
            Match(
                request=SignedRequest(
                    request=job.request,
                    signature=self._sign(job.consumer, job.request),
                    payer_signature=HexBytes(),
                ),
                compute=SignedComputeOrder(order=job.compute, signature=self._sign(job.provider, job.compute)),
                offers=tuple(
                    AssetOffer(order=SignedAssetOrder(order=order, signature=self._sign(owner, order)))
                    for owner, order in offers
                ),
            )
        )

    def _decide_call(self, job: Job, outcome: Outcome) -> Call:
        terms = self._word()
        signed = []
        quorum = self.committee.threshold if outcome is Outcome.ACCEPTED else self.committee.refusal_threshold
        for index, node in enumerate(self.nodes[:quorum]):
            decision = self._decision(job, outcome, self._word(), terms)
            signed.append(
                SignedDecision(
                    decision=decision, index=U8(index), signature=self._sign(node, decision), detail=NO_DETAIL
                )
            )
        return self.market.decide(self._spec(job), signed, self.committee)

    def _settle_call(self, job: Job, *, acknowledged: bool) -> Call:
        settlement = self._settlement(job)
        acknowledgement = Acknowledgement(job_id=settlement.job_id, result_hash=settlement.result_hash)
        return self.market.settle(
            self._spec(job),
            self._enclave(job),
            settlement,
            self._sign(job.enclave, settlement),
            self._sign(job.consumer, acknowledgement) if acknowledged else b"",
        )

    def _enclave(self, job: Job) -> Enclave:
        return Enclave(job.evidence, job.enclave.address, self._key_hash(job))

    def _key_hash(self, job: Job) -> Bytes32:
        return keccak(b"hpke" + job.evidence)

    def _spec(self, job: Job) -> JobSpec:
        if job.spec is None:
            raise ValueError("this job is not matched")
        return job.spec

    def _job_id(self, job: Job) -> JobId:
        return self._spec(job).job_id(self.chain_id, self.market.address)

    def _matched(self, jobs: Sequence[Job], gas: int) -> int:
        """Read the block's time, the one field of a JobSpec that no party knew before."""
        matched_at = Timestamp(self._time())
        for job in jobs:
            job.spec = self._spec_of(job, matched_at)
            if self._slot(job.spec) != 1:
                raise ValueError("the job was not matched")
        return gas

    def _spec_of(self, job: Job, matched_at: Timestamp) -> JobSpec:
        request = job.request
        parts = zip(request.assets, job.owners, job.seals, strict=True)
        uses = [
            samples.asset_use(
                asset_id=limit.asset_id, owner=owner.address, seal_hash=seal.hash(), price=PRICE, epsilon=limit.epsilon
            )
            for limit, owner, seal in parts
        ]
        hold_fee = _hold_fee(PRICE * len(uses), request.quote_window + request.decide_window)
        return samples.job_of(request, job.compute, uses, matched_at=matched_at, hold_fee=hold_fee)

    # --- the chain --------------------------------------------------------------------------------------------

    def _slot(self, spec: JobSpec) -> int:
        entry = abi.load("Market").function("jobOf", 1)
        data = "0x" + abi.encode_call(entry, [spec.request_hash]).hex()
        answer = str(self._rpc.call("eth_call", {"to": self.market.address.checksum, "data": data}, "latest"))
        return int(answer[2:66], 16)

    def _sign(self, party: Party, document: TypedShape) -> HexBytes:
        return sign(document.digest(self.chain_id, self.market.address), party.key)


NO_DETAIL = DecisionDetail(
    block_number=0,
    block_hash=ZERO_HASH,
    tcb_status="",
    advisories=(),
    collateral_digest=ZERO_HASH,
    findings=(),
    warnings=(),
)
