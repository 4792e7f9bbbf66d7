"""A consumer asks only for what can be had, waits on the chain's word, and opens only the result that is its own."""

from __future__ import annotations

from dataclasses import replace as change
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from msgspec.structs import replace

from sealmarket.chain.committees import members_hash
from sealmarket.chain.memory import MemoryChain
from sealmarket.chain.model import Account as Balances
from sealmarket.client import AssetWish, Consumer, JobLimits, create_result_key, load_result_key
from sealmarket.client.errors import JobEndedOtherwise, JobNotFound, RequestInvalid, WaitedTooLong
from sealmarket.client.windows import IMPORT_SECONDS, Stages, request_windows
from sealmarket.market_api.memory import MemoryBackend
from sealmarket.protocol.book import FinalityRule
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.fitting import windows_of
from sealmarket.protocol.merkle import capability_leaf
from sealmarket.protocol.orders import Purpose, Request
from sealmarket.protocol.reasons import JobReason, reason_bits
from sealmarket.protocol.salts import generations_of
from sealmarket.protocol.transitions import Status
from sealmarket.sealing.keyfile import KeyFileUnconfirmed
from sealmarket.service.errors import ContentMismatch, ItemNotFound
from sealmarket.store.blobs import Store
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.wheels import build
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, MicroEpsilon, Wei
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import MAX_ASSETS, JobSpec, Settlement, result_keys_hash
from sealmarket_enclave.protocol.numbers import AssetId, Grade, JobId, Tee
from sealmarket_enclave.protocol.signing import recover
from sealmarket_enclave.protocol.terms import Seal, Terms
from sealmarket_enclave.sealed.errors import NotOpened
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.sealed.result import seal_result
from sealmarket_enclave.workload.bundle import Bundle
from sealmarket_enclave.workload.errors import ParametersRefused
from tests.client.bundles import Case
from tests.client.test_owner import BOOK
from tests.enclave.workload.bundles import bundle

ASSET = AssetId(keccak(b"asset"))
SEAL = Seal(content_root=ZERO_HASH, content_version=1, share_root=ZERO_HASH, policy_hash=ZERO_HASH, epoch=1)
TERMS = Terms(
    token=ZERO_ADDRESS,
    price=Wei(10),
    expiry=2_000_000_000,
    max_uses=5,
    purposes=int(Purpose.TRAIN),
    min_grade=Grade.SIMULATED,
    budget=MicroEpsilon(0),
    per_job_cap=MicroEpsilon(0),
    allow_root=keccak(b"root"),
    consumer_root=ZERO_HASH,
    max_hold=30 * 86_400,
    timeout_share=100,
)
LIMITS = JobLimits(max_compute_price=Wei(7), min_grade=Grade.SIMULATED)
SECOND = AssetId(keccak(b"second asset"))
WISHES = [AssetWish(asset_id=ASSET), AssetWish(asset_id=SECOND)]
KEY = PrivateKey.generate()


class _Rpc:
    url = "http://127.0.0.1:9"


class Stage:
    """A twin chain with two assets, a twin backend, and a consumer."""

    def __init__(self, folder: Path) -> None:
        self.chain = MemoryChain(replace(BOOK, finality=FinalityRule(kind="depth", depth=1)))
        self.chain.rpc = _Rpc()  # type: ignore[attr-defined]
        self.chain.set_committee(1, members_hash(BOOK.committees[0]))
        for asset in (ASSET, SECOND):
            self.chain.publish(asset, Address(b"\x0a" * 20), SEAL, TERMS)
        self.backend = MemoryBackend()
        tree = bundle(folder / "workload")
        (tree / "environment.json").write_bytes(build(b"", []).canonical())
        self.workload: Bundle = read_bundle(tree)
        self.account = Account.create()
        self.nodes, self.asked = MemoryBackend(), list[str]()
        self.consumer = Consumer(
            self.chain,  # type: ignore[arg-type]
            self.account,
            self.backend.store(),
            self.backend.api(),
            pause=lambda _seconds: None,
            node_store=self._node,
        )

    def _node(self, url: str) -> Store:
        """An oracle node as a store: it has what ``nodes`` says."""
        self.asked.append(url)
        return self.nodes.store()

    def payer(self) -> Consumer:
        """Somebody else's account on the same market."""
        store, api = self.backend.store(), self.backend.api()
        return Consumer(self.chain, Account.create(), store, api)  # type: ignore[arg-type]

    def ask(self, **changes: Any) -> Any:
        wishes = changes.pop("wishes", WISHES)
        parameters = changes.pop("parameters", {"target": "a"})
        purpose = changes.pop("purpose", Purpose.TRAIN)
        limits = change(LIMITS, **changes)
        return self.consumer.request(self.workload, parameters, wishes, limits, KEY, purpose=purpose)

    def matched(self, request: Request) -> JobId:
        case = Case().spec
        names = {f for f in case.__struct_fields__ if f in request.__struct_fields__ and f != "assets"}
        fields = {name: getattr(request, name) for name in names}
        spec: JobSpec = replace(case, request_hash=request.struct_hash(), **fields)
        return self.chain.match(spec)

    def settled(self, job_id: JobId, key: PrivateKey = KEY, told: bytes | None = None) -> None:
        book = self.chain.book
        envelope, container = seal_result(
            {"a.json": b"1"}, [key.public], chain_id=book.chain_id, market=book.market, job_id=job_id, bucket=4096
        )
        store = self.backend.store()
        name = store.put_document(envelope.canonical())
        if told is not None:
            self.backend.blobs[f"documents/{name}"] = told
        store.put_container_bytes(envelope.content_root, container)
        word = Settlement(job_id=job_id, result_hash=name, receipt_hash=ZERO_HASH, units=0, last=True)
        self.chain.settle(word)
        self.chain.finalise()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.mark.parametrize("count", [0, MAX_ASSETS + 1])
def test_too_few_or_too_many_assets_are_not_asked_for(stage: Stage, count: int) -> None:
    with pytest.raises(RequestInvalid, match=f"1 to {MAX_ASSETS} assets, found {count}"):
        stage.ask(wishes=WISHES[:1] * count)
    assert stage.backend.posted == {}


def test_a_revoked_asset_is_not_asked_for(stage: Stage) -> None:
    stage.chain.revoke(ASSET)
    with pytest.raises(RequestInvalid, match="revoked"):
        stage.ask()
    assert stage.backend.posted == {}


def test_a_settle_window_that_leaves_the_workload_no_time_is_not_asked_for(stage: Stage) -> None:
    with pytest.raises(RequestInvalid, match=r"settleWindow is 1250, expected at least 1251"):
        stage.ask(settle_window=1250)
    assert stage.backend.posted == {}


def test_less_time_than_the_workload_takes_by_its_manifest_is_not_asked_for(stage: Stage) -> None:
    wall = stage.workload.manifest.limits.wall_seconds
    with pytest.raises(RequestInvalid, match=f"may run {wall} s by its manifest, run_seconds is {wall - 1}"):
        stage.ask(run_seconds=wall - 1)


def test_an_asset_that_is_named_twice_is_not_asked_for(stage: Stage) -> None:
    with pytest.raises(RequestInvalid, match="named twice"):
        stage.ask(wishes=[WISHES[0], WISHES[0]])


def test_a_job_that_could_outlast_its_committee_is_not_asked_for(stage: Stage) -> None:
    stage.chain.end_epoch(1, stage.chain.head().timestamp + 600)
    with pytest.raises(RequestInvalid, match="the committee of epoch 1: its end is"):
        stage.ask()
    assert stage.backend.posted == {}


def test_a_suspended_version_is_not_asked_for(stage: Stage) -> None:
    stage.chain.suspend(ASSET, 1, JobId(keccak(b"job")))
    with pytest.raises(RequestInvalid, match="suspended"):
        stage.ask()


def test_the_figures_of_a_request_follow_from_workload_and_market(stage: Stage) -> None:
    request, limits = stage.ask().request, stage.workload.manifest.limits
    assert request.run_seconds == limits.wall_seconds + IMPORT_SECONDS
    assert request.decoded_bytes == limits.memory_bytes
    assert windows_of(request) == request_windows(
        BOOK.timing, Stages(request.run_seconds, request.read_seconds, request.validate_seconds)
    )
    assert request.timeout_limit == 2 * TERMS.price + LIMITS.max_compute_price


def test_a_request_accepts_the_capability_documents_that_are_named(stage: Stage) -> None:
    one, other = keccak(b"one"), keccak(b"other")
    assert stage.ask().request.capabilities == capability_leaf(ZERO_HASH)
    assert stage.ask(capabilities=()).request.capabilities == ZERO_HASH
    assert stage.ask(capabilities=(one,)).request.capabilities == capability_leaf(one)
    both = stage.ask(capabilities=(one, other)).request.capabilities
    assert stage.backend.store().find_leaves(both) == frozenset({capability_leaf(one), capability_leaf(other)})


def test_what_a_match_locks_is_told_with_the_hold_fee(stage: Stage) -> None:
    request = stage.ask(max_unit_price=Wei(2), max_units=3, min_penalty=Wei(5)).request
    escrow = stage.consumer.escrow(request)
    assert (escrow.assets, escrow.compute, escrow.units, escrow.fees) == (20, 7, 6, 0)
    assert escrow.hold == 1  # what is held is worth a fraction of the smallest unit, and rounds up
    assert escrow.total == 34


def test_a_payer_signs_the_same_request_with_its_own_generation(stage: Stage) -> None:
    payer = stage.payer()
    stage.chain.set_account(ZERO_ADDRESS, payer.address, Balances(Wei(0), Wei(0), generation=5))
    stage.chain.set_account(ZERO_ADDRESS, stage.consumer.address, Balances(Wei(0), Wei(0), generation=3))
    handle = stage.ask(payer=payer.address)
    assert generations_of(handle.request.salt) == (3, 5)
    signed = payer.countersign(handle.signed)
    digest = handle.request.digest(stage.chain.book.chain_id, stage.chain.book.market)
    assert recover(digest, signed.payer_signature) == payer.address
    with pytest.raises(RequestInvalid, match="its payer is"):
        stage.consumer.countersign(handle.signed)


def test_expired_terms_are_not_asked_for(stage: Stage) -> None:
    stage.chain.tighten(ASSET, 1, replace(TERMS, expiry=1))
    with pytest.raises(RequestInvalid, match="which is past"):
        stage.ask()


def test_an_asset_in_another_token_is_not_asked_for(stage: Stage) -> None:
    with pytest.raises(RequestInvalid, match="expected one that the market admits"):
        stage.ask(token=Address(b"\x07" * 20))


def test_a_purpose_that_is_not_sold_is_not_asked_for(stage: Stage) -> None:
    with pytest.raises(RequestInvalid, match="the purpose is query, expected train"):
        stage.ask(purpose=Purpose.QUERY)


@pytest.mark.parametrize("parameters", [{}, {"target": 1}, {"target": "a", "other": 1}, {"target": "a" * 99}])
def test_parameters_outside_the_schema_are_not_asked_for(stage: Stage, parameters: dict[str, Any]) -> None:
    with pytest.raises(ParametersRefused):
        stage.ask(parameters=parameters)


def test_the_wrong_number_of_assets_is_not_asked_for(stage: Stage) -> None:
    with pytest.raises(ParametersRefused):
        stage.ask(wishes=WISHES[:1])


def test_a_result_key_is_backed_up_before_it_is_used(tmp_path: Path) -> None:
    with pytest.raises(KeyFileUnconfirmed):
        create_result_key(tmp_path / "result.key")
    made = create_result_key(tmp_path / "result.key", confirm_unencrypted=True)
    assert load_result_key(tmp_path / "result.key") == made


def test_a_request_is_signed_over_the_terms_in_force_and_the_result_key(stage: Stage) -> None:
    stage.chain.tighten(ASSET, 1, replace(TERMS, price=Wei(12)))
    handle = stage.ask()
    request = handle.request
    assert [(a.terms_version, a.max_price) for a in request.assets] == [(2, 12), (1, 10)]
    assert request.result_keys_hash == result_keys_hash([KEY.public.raw])
    digest = request.digest(stage.chain.book.chain_id, stage.chain.book.market)
    assert recover(digest, handle.signed.signature) == stage.consumer.address
    assert stage.ask().request.salt != request.salt


def test_a_request_is_of_the_generation_that_counts_in_its_token(stage: Stage) -> None:
    other = Address(b"\x07" * 20)
    stage.chain.set_account(other, stage.consumer.address, Balances(Wei(0), Wei(0), generation=9))
    stage.chain.set_account(ZERO_ADDRESS, stage.consumer.address, Balances(Wei(0), Wei(0), generation=3))
    assert stage.ask().request.salt >> 192 == 3


def test_another_consumers_job_is_not_taken_for_ones_own(stage: Stage) -> None:
    handle = stage.ask()
    stage.matched(replace(handle.request, consumer=Address(b"\x66" * 20)))
    stage.chain.finalise()
    with pytest.raises(WaitedTooLong, match="the book says open"):
        stage.consumer.wait_match(handle, timeout=0)


def test_a_match_counts_once_it_is_final(stage: Stage) -> None:
    handle = stage.ask()
    job_id = stage.matched(handle.request)
    assert stage.consumer.find_job(handle.request_hash) is None
    stage.chain.finalise()
    assert stage.consumer.wait_match(handle, timeout=0) == job_id


def test_a_job_that_was_never_matched_is_not_found(stage: Stage) -> None:
    with pytest.raises(JobNotFound):
        stage.consumer.wait(JobId(keccak(b"nothing")), timeout=0)


def test_a_refusal_ends_the_waiting_with_its_reason_and_what_to_do(stage: Stage) -> None:
    job_id = stage.matched(stage.ask().request)
    stage.chain.quote(job_id, keccak(b"evidence"))
    bits = reason_bits([JobReason.WORKLOAD_NOT_ALLOWED.code])
    core = Case().core(job_id=job_id, outcome=Outcome.REQUEST_REFUSED, reasons=bits)
    stage.chain.decide(core)
    stage.chain.finalise()
    with pytest.raises(JobEndedOtherwise, match="workload_not_allowed") as ended:
        stage.consumer.wait(job_id, timeout=0)
    assert "ask the owner" in ended.value.remedy


def test_a_job_without_a_result_opens_nothing(stage: Stage) -> None:
    job_id = stage.matched(stage.ask().request)
    stage.chain.finalise()
    with pytest.raises(JobEndedOtherwise):
        stage.consumer.open_result(job_id, KEY)
    with pytest.raises(WaitedTooLong, match="it is matched"):
        stage.consumer.wait(job_id, timeout=0)


def test_a_result_that_the_store_exchanged_is_a_lie(stage: Stage) -> None:
    job_id = stage.matched(stage.ask().request)
    stage.settled(job_id, told=b"{}")
    with pytest.raises(ContentMismatch):
        stage.consumer.open_result(job_id, KEY)


@pytest.mark.parametrize("how", ["lost", "exchanged", "altered"])
def test_a_result_that_the_store_keeps_from_the_consumer_comes_from_an_oracle_node(stage: Stage, how: str) -> None:
    """The node has looked for it after a challenge."""
    job_id = stage.matched(stage.ask().request)
    stage.settled(job_id)
    stage.nodes.blobs |= stage.backend.blobs
    for name in [name for name in stage.backend.blobs if name.startswith("containers/")]:
        held = stage.backend.blobs.pop(name)
        if how != "lost":
            stage.backend.blobs[name] = b"other" if how == "exchanged" else held[:-1] + bytes([held[-1] ^ 1])
    assert stage.consumer.open_result(job_id, KEY) == {"a.json": b"1"}
    assert stage.asked == [stage.chain.book.committees[0].members[0].url]


def test_a_result_that_no_party_shows_is_missing_at_the_store(stage: Stage) -> None:
    job_id = stage.matched(stage.ask().request)
    stage.settled(job_id)
    stage.backend.blobs.clear()
    with pytest.raises(ItemNotFound):
        stage.consumer.open_result(job_id, KEY)
    assert len(stage.asked) == len(stage.chain.book.committees[0].members)


def test_a_result_sealed_to_another_key_does_not_open(stage: Stage) -> None:
    job_id = stage.matched(stage.ask().request)
    stage.settled(job_id, PrivateKey.generate())
    with pytest.raises(NotOpened):
        stage.consumer.open_result(job_id, KEY)


def test_a_result_opens_and_is_acknowledged_by_a_signature(stage: Stage) -> None:
    job_id = stage.matched(stage.ask().request)
    stage.settled(job_id)
    seen: list[Status] = []
    record = stage.consumer.wait(job_id, timeout=0, on_change=lambda r: seen.append(r.status))
    assert record.settled is not None
    assert seen == [Status.SETTLED]
    assert stage.consumer.open_result(job_id, KEY) == {"a.json": b"1"}
    stage.consumer.acknowledge(job_id)
    assert len(stage.backend.posted["acknowledgements"]) == 1


def test_the_kind_of_enclave_that_was_asked_for_is_in_the_request(stage: Stage) -> None:
    assert stage.ask(tee=Tee.SNP).request.tee is Tee.SNP
