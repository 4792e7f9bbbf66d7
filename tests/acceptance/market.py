"""A whole market on Anvil with a workload that trains in milliseconds: every party a real process.

The chain makes four blocks a second (its clock stays the wall's), so that a block is final within half a second and a
whole job takes a few seconds. Windows stay minutes long; :meth:`Rehearsal.pass_time` moves the chain's clock instead.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.attestation.registry import Measurement
from sealmarket.chain import Chain, Fault, Mined
from sealmarket.chain.contracts import AssetOffer, Match
from sealmarket.chain.events import JobMatched
from sealmarket.client import (
    AssetWish,
    Consumer,
    DraftTerms,
    JobLimits,
    MarketApi,
    Offer,
    Owner,
    PolicyDraft,
    Provider,
    SealedAsset,
    Store,
)
from sealmarket.client.jobs import JobRecord, read_job, reasons_in_words
from sealmarket.client.requests import RequestHandle
from sealmarket.protocol.book import FinalityRule
from sealmarket.protocol.merkle import account_leaf
from sealmarket.protocol.transitions import Status
from sealmarket_devices.driver import VIRTUAL
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Bytes32, Wei, to_builtins
from sealmarket_enclave.protocol.numbers import Grade, JobId
from sealmarket_enclave.protocol.policy import OutputRules
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_localnet import chains
from sealmarket_localnet.market import ETHER, NODES, LocalMarket, Purse
from sealmarket_localnet.processes import Process, Supervisor
from sealmarket_worker.image import base_interpreter, build_image
from tests.acceptance import workloads
from tests.acceptance.money import assert_conserved, burned, followed
from tests.acceptance.workloads import Workload
from tests.patience import PATIENCE, until

T = TypeVar("T")
DAY = 86_400
OWNERS = ("north", "south")
PRICES = {"north": Wei(3 * ETHER // 10), "south": Wei(2 * ETHER // 10)}
CONSUMER_FUNDS = 50 * ETHER
COMPUTE_PRICE, PENALTY = Wei(ETHER // 10), Wei(ETHER // 10)
WINDOWS: dict[str, Any] = {"quote_window": 120, "decide_window": 120, "settle_window": 400, "challenge_window": 60}
ROWS = {
    "north": b"x,y,note\n1,3.1,MARKER-north-5f2c\n2,4.9,MARKER-north-5f2c\n3,7.2,MARKER-north-5f2c\n",
    "south": b"x,y,note\n4,9.1,MARKER-south-91ab\n5,10.8,MARKER-south-91ab\n",
}
OUTPUT = OutputRules(media_types=("application/json",), max_outputs=1, max_bytes=1 << 16, bucket_bytes=4096)
POLL_SECONDS = 0.05


@dataclass(slots=True)
class Rehearsal:
    """A market with two owners, a consumer and two providers: one served by the worker process, one by tests."""

    market: LocalMarket
    folder: Path
    workload: Workload
    reach: Workload
    image: Path
    measurement: Measurement
    owners: dict[str, Owner]
    consumer: Consumer
    store: Store
    api: MarketApi
    result_key: PrivateKey = field(default_factory=PrivateKey.generate)
    sealed: dict[str, SealedAsset] = field(default_factory=dict)
    sealings: int = 0
    explained: set[bytes] = field(default_factory=set)

    @property
    def chain(self) -> Chain:
        """The chain as the test reads it."""
        return self.market.chain

    # --- parties ----------------------------------------------------------------------------------------------

    def kill(self, party: str) -> None:
        """SIGKILL to a party and its group."""
        self.market.parties[party].kill()

    def start(self, party: str) -> Process:
        """Start a party that does not run, on the state that it left."""
        if party == "backend":
            return self.market.start_backend(self.market.purses["keeper"])
        if party == "chain":
            return self._start_chain()
        if party == "device":
            return self.market.start_device()
        if party == "worker":
            return self.market.start_worker(self.market.purses["provider"], self.workload.wheels)
        return self.market.start_node(int(party.removeprefix("oracle-")))

    def _start_chain(self) -> Process:
        port = int(self.market.rpc.rsplit(":", 1)[1])
        options = ("--block-time", "0.25", "--state", str(self.folder / "chain.json"))
        self.market.parties["chain"] = chains.anvil(self.market.programs, *options, port=port).process
        return self.market.parties["chain"]

    def close(self) -> None:
        """Give the test's own connections back."""
        self.store.close()
        self.api.close()
        self.chain.close()

    def mend(self) -> list[str]:
        """Start every party that is down; returns their names."""
        down = [name for name, process in self.market.parties.items() if process.status is not None]
        first = ("chain", "device")
        for name in sorted(down, key=lambda name: first.index(name) if name in first else len(first)):
            self.start(name)
        return down

    def fund(self) -> None:
        """Give the consumer enough for any one test, whatever the tests before it paid."""
        consumer = self.address("consumer")
        if int(self.chain.at(self.chain.head()).account(ZERO_ADDRESS, consumer).free) < CONSUMER_FUNDS:
            self.market.bank.transfer(consumer, Wei(CONSUMER_FUNDS))
            self.consumer.deposit(Wei(CONSUMER_FUNDS))

    # --- owners -----------------------------------------------------------------------------------------------

    def draft(self, owner: str, **changes: object) -> PolicyDraft:
        """What an owner allows: this enclave, the honest workload, and the one that reaches for everything."""
        rules = AppraisalPolicy(measurements=(self.measurement,), platforms="any", lowest_grade="simulated")
        terms: dict[str, object] = {
            "price": PRICES[owner],
            "expiry": self.chain.head().timestamp + 30 * DAY,
            "max_uses": 1000,
            "purposes": ("train",),
            "min_grade": "simulated",
        }
        terms |= {name: value for name, value in changes.items() if name in DraftTerms.__struct_fields__}
        values: dict[str, object] = {
            "title": f"rows of {owner}",
            "evidence": to_builtins(rules),
            "workloads": (self.workload.digest, self.reach.digest),
            "terms": DraftTerms(**terms),  # type: ignore[arg-type]
            "output": OUTPUT,
            "data_card": {"columns": ["x", "y"]},
        }
        values |= {name: value for name, value in changes.items() if name not in DraftTerms.__struct_fields__}
        return PolicyDraft(**values)  # type: ignore[arg-type]

    def publish(self, owner: str, rows: bytes | None = None, **changes: object) -> SealedAsset:
        """Seal and publish an asset of its own for a test."""
        self.sealings += 1
        folder = self.folder / f"{owner}-{self.sealings}"
        content = ROWS[owner] if rows is None else rows
        sealed = self.owners[owner].seal(content, self.draft(owner, **changes), folder, confirm_unencrypted_key=True)
        self.settle_block(self.owners[owner].publish(sealed))
        return sealed

    # --- jobs -------------------------------------------------------------------------------------------------

    def limits(self, provider: str) -> JobLimits:
        """What the consumer pays, to one provider only."""
        only = account_leaf(self.market.purses[provider].address)
        prices: dict[str, Any] = {"max_compute_price": COMPUTE_PRICE, "min_grade": Grade.SIMULATED}
        prices["tee"] = self.market.tee
        return JobLimits(
            providers=only,
            run_seconds=300,
            read_seconds=30,
            validate_seconds=10,
            **prices,
            **WINDOWS,
        )

    def request(
        self,
        *assets: SealedAsset,
        workload: Workload | None = None,
        provider: str = "provider",
        post: bool = True,
    ) -> RequestHandle:
        """The consumer signs a request over assets (both owners' standing ones if none is named), and posts it."""
        wanted = assets or tuple(self.sealed.values())
        wishes = [AssetWish(asset_id=sealed.asset_id, version=sealed.version) for sealed in wanted]
        chosen = (workload or self.workload).bundle
        return self.consumer.request(chosen, {}, wishes, self.limits(provider), self.result_key, post=post)

    def job(self, *assets: SealedAsset, workload: Workload | None = None, provider: str = "provider") -> JobId:
        """As :meth:`request`, until the backend's match is final."""
        return self.consumer.wait_match(self.request(*assets, workload=workload, provider=provider))

    def match_around(self, handle: RequestHandle, provider: str, *, post_parameters: bool = True) -> JobId:
        """Submit a match to the contract directly, from the consumer's account."""
        address = self.market.purses[provider].address
        compute = next(order for order in self.api.orders.compute_orders() if order.order.provider == address)
        offers = tuple(AssetOffer() for _ in handle.request.assets)
        deal = Match(request=handle.signed, compute=compute, offers=offers)
        mined = self.market.purses["consumer"].sender.send(self.chain.market.match(deal))
        self.settle_block(mined)
        if post_parameters:
            self.store.post_parameters(handle.request_hash, handle.parameters)
        return next(event.job_id for event in mined.events if isinstance(event, JobMatched))

    def read(self, job_id: JobId) -> JobRecord:
        """A job at the newest final block."""
        return read_job(self.chain, job_id)

    def reach_status(self, job_id: JobId, *wanted: Status, timeout: float = PATIENCE) -> JobRecord:
        """Wait until a job is in one of these states at a final block; fails at once when it ends in another way."""

        def arrived() -> JobRecord | None:
            record = self.read(job_id)
            if record.status in wanted:
                return record
            if record.status is Status.MATURED or record.status > Status.CHALLENGED:
                reasons = [reason.word for reason in reasons_in_words(record.reasons)]
                raise AssertionError(f"job {job_id} ended as {record.status.name}, {record.fault.name}: {reasons}")
            return None

        return until(f"job {job_id} {' or '.join(status.name for status in wanted)}", arrived, timeout)

    def pass_time(self, seconds: int) -> None:
        """Move the chain's clock ahead, from the next block on."""
        before = self.chain.head().timestamp
        self.chain.rpc.call("evm_increaseTime", seconds)
        until("a block of the new time", lambda: self.chain.head().timestamp >= before + seconds)

    def settle_block(self, mined: Mined) -> None:
        """Wait until a transaction's block is final."""
        until("a final block", lambda: self.chain.final().number >= mined.block.number)

    def balances(self) -> dict[str, int]:
        """What everybody owns inside the market: free and staked, in wei; ``burned`` beside them."""
        block = followed(self.chain)
        view = self.chain.at(block)
        names = (*OWNERS, "consumer", "provider", "host")
        accounts = {name: view.account(ZERO_ADDRESS, self.market.purses[name].address) for name in names}
        found = {name: int(account.free) + int(account.staked) for name, account in accounts.items()}
        return found | {"burned": burned(self.chain.events(self.chain.book.deployed_at, block.number))}

    def still(self) -> dict[str, int]:
        """Balances once no job is left: time passes until the keeper has matured and closed them all."""
        if assert_conserved(self.chain).locked:
            self.pass_time(2 * max(WINDOWS.values()))
            try:
                until("every job's end", lambda: not assert_conserved(self.chain).locked)
            except AssertionError as error:
                raise AssertionError(f"{error}; {self._unfinished()}") from error
        return self.balances()

    def _unfinished(self) -> str:
        """The jobs that somebody still has to move, for messages of failed tests."""
        head = self.chain.head()
        matches = [e for e in self.chain.events(self.chain.book.deployed_at, head.number) if isinstance(e, JobMatched)]
        slots = [(match.job_id, self.chain.at(head).job(match.spec.request_hash)) for match in matches]
        open_jobs = [f"{job} {slot.status.name} until {slot.deadline}" for job, slot in slots if slot.status < 5]
        return f"the chain's clock says {head.timestamp}, open are {open_jobs}"

    def fees(self, signatures: int) -> int:
        """What so many signatures of oracle nodes cost."""
        return signatures * int(self.chain.at(self.chain.head()).signature_fee(ZERO_ADDRESS) or 0)

    def address(self, name: str) -> Address:
        """Somebody's account."""
        return self.market.purses[name].address


def by_the_table(fault: Fault, fees: int, provider: str = "provider") -> dict[str, int]:
    """How balances change when a job over both owners' standing assets ends by one row of the fault table."""
    owed = {name: int(price) for name, price in PRICES.items()}
    total = sum(owed.values())
    match fault:
        case Fault.NONE:
            return owed | {"consumer": -total - int(COMPUTE_PRICE) - fees, provider: int(COMPUTE_PRICE)}
        case Fault.PROVIDER_SILENT:
            return owed | {provider: -total - int(PENALTY), "burned": int(PENALTY) - fees}
        case Fault.PLATFORM_REFUSED | Fault.EVIDENCE_WITHHELD:
            return {provider: -int(PENALTY), "burned": int(PENALTY) - fees}
        case Fault.STOPPED_BEFORE_RELEASE | Fault.SHARES_MISSING | Fault.INPUT_FAILED:
            return {"consumer": -fees}
        case Fault.NO_QUOTE:
            return {provider: -int(PENALTY), "burned": int(PENALTY)}
        case _:
            return {}


def changes(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Who has more or less than before; those without a change are left out."""
    return {name: after[name] - before[name] for name in before if after[name] != before[name]}


def raise_curtain(programs: Supervisor, folder: Path, *, kind: type[LocalMarket] = LocalMarket) -> Rehearsal:
    """Start everything: chain, market, cast, two published assets, two providers with stake and offers."""
    folder.mkdir(parents=True, exist_ok=True)
    chain = chains.anvil(programs, "--block-time", "0.25", "--state", str(folder / "chain.json"))
    market = kind.start(programs, folder, chain.url, finality=FinalityRule(kind="finalized"), gpus=1)
    market.parties["chain"] = chain.process
    store, api = Store(market.book.store), MarketApi(market.book.backend)
    purses: dict[str, Purse] = {name: market.purse(name) for name in (*OWNERS, "consumer", "provider", "host")}
    honest = workloads.pooled_line(folder / "workload")
    image = build_image(folder / "image")
    measurement = VIRTUAL.expected_measurement(kind.tee, image, base_interpreter())
    rehearsal = Rehearsal(
        market=market,
        folder=folder,
        workload=honest,
        reach=workloads.other(honest, folder / "workload" / "reach", workloads.REACH),
        image=image,
        measurement=measurement,
        owners={name: Owner(market.chain, purses[name].account, store, api) for name in OWNERS},
        consumer=Consumer(market.chain, purses["consumer"].account, store, api, pause=lambda _: _pause()),
        store=store,
        api=api,
    )
    rehearsal.fund()
    for name in ("provider", "host"):
        provider = Provider(market.chain, purses[name].account, api)
        provider.stake(Wei(20 * ETHER))
        provider.offer(Offer(tee=kind.tee, grade=Grade.SIMULATED, price=COMPUTE_PRICE, penalty=PENALTY, volume=1000))
    for name in OWNERS:
        rehearsal.sealed[name] = rehearsal.publish(name)
    rehearsal.start("worker")
    return rehearsal


def node_names() -> tuple[str, ...]:
    """The committee's processes."""
    return tuple(f"oracle-{place}" for place in range(NODES))


def names_of(reasons: int) -> set[str]:
    """The words of a set of reasons."""
    return {reason.word for reason in reasons_in_words(reasons)}


def asset_hash(sealed: SealedAsset) -> Bytes32:
    """What the chain holds of a sealing."""
    return sealed.seal.hash()


def _pause() -> None:
    threading.Event().wait(POLL_SECONDS)
