"""Events suffice: after jobs that ended in every way, the state rebuilt from them equals what the contracts hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from scripts.benchmarks._gas_world import NO_DETAIL, Job, World
from sealmarket.chain import Chain, abi
from sealmarket.chain.bargain import commitment
from sealmarket.chain.committees import members_hash
from sealmarket.chain.contracts import CommitteeContract, SettledResult
from sealmarket.chain.deploy import contract_address
from sealmarket.chain.interface import ChainReader
from sealmarket.chain.layout import variable
from sealmarket.chain.model import Enclave
from sealmarket.protocol.decisions import ChallengeAnswer, Outcome, Stop
from sealmarket.protocol.orders import AssetOrder
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import SignedChallengeAnswer, SignedDecision, SignedStop
from sealmarket_backend import event_rows
from sealmarket_backend.event_rows import EventRow
from sealmarket_backend.index import Index
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, Bytes32, HexBytes, Wei
from sealmarket_enclave.protocol.job import Failure, JobSpec, SharesMissing
from sealmarket_enclave.protocol.numbers import U8, U32, AssetId, FailureCause, JobId
from sealmarket_enclave.protocol.release import Release, ReleasedShare, release_hash
from sealmarket_enclave.protocol.signing import personal_digest, sign
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Supervisor
from tests.contracts import retold
from tests.contracts.replay import Balance, Fields, Interrupted, JobState, Meter, State, read

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(300)]


class BusyWorld(World):
    """A world in which everything happens once."""

    units = 1
    settle_window = 3600
    _suspended: Job

    def live(self) -> None:
        """Jobs that end in every way, and what people do beside them."""
        for outcome in Outcome:
            job = self.job(assets=2)
            self.match(job)
            self.quote(job)
            self.decide(job, outcome)
        self._settling()
        self._failing()
        self._waiting()
        self._beside()

    def _accepted(self) -> Job:
        job = self.job(assets=2)
        self.match(job)
        self.quote(job)
        self.decide(job, Outcome.ACCEPTED)
        return job

    def _settling(self) -> None:
        self.settle(self._accepted(), acknowledged=True)
        for answer in (True, False):
            job = self._accepted()
            self.settle(job, acknowledged=False)
            result = SettledResult.of(self._settlement(job))
            self._send(self.market.challenge(self._spec(job), result), job.consumer)
            said = ChallengeAnswer(job_id=self._job_id(job), result_hash=result.result_hash, available=answer)
            words = [
                SignedChallengeAnswer(answer=said, index=U8(index), signature=self._sign(node, said))
                for index, node in enumerate(self.nodes)
            ]
            challenged = (self._spec(job), result, job.consumer.address)
            self._send(self.market.answer_challenge(*challenged, answer, words, self.committee))

    def _failing(self) -> None:
        for cause in FailureCause:
            job = self._accepted()
            failure = Failure(
                job_id=self._job_id(job), cause=cause, asset_index=U8(1), units=U32(1), receipt_hash=self._word()
            )
            signature = self._sign(job.enclave, failure)
            self._send(self.market.fail(self._spec(job), self._enclave(job), failure, signature))
            if cause is FailureCause.INPUT:
                self._suspended = job
        self._stopping()
        self._missing()
        self._lifting()

    def _stopping(self) -> None:
        job = self._accepted()
        promise = Stop(job_id=self._job_id(job), evidence_hash=job.evidence, epoch=U32(1), reasons=self._salt())
        promises = [
            SignedStop(stop=promise, index=U8(index), signature=self._sign(node, promise), findings=())
            for index, node in enumerate(self.nodes)
        ]
        self._send(self.market.stop(self._spec(job), self._enclave(job), promises, self.committee))
        self._send(self.market.end_interrupted(self._spec(job), self._enclave(job)), job.provider)

    def _missing(self) -> None:
        """One node posts its release, the others do not; the enclave names another node later."""
        job = self._accepted()
        spec, enclave = self._spec(job), self._enclave(job)
        self._send(self.market.deposit(ZERO_ADDRESS, Wei(10**18)), job.provider, value=10**18)
        for excluded in (0, 2):
            said = SharesMissing(job_id=self._job_id(job), evidence_hash=job.evidence, excluded=excluded)
            call = self.market.report_missing(spec, enclave, said, self._sign(job.enclave, said))
            self._send(call, job.provider)
        self._send(self.market.post_release(spec, enclave, self._release(job, 0), self.committee))
        self.pass_time(7200)
        self._send(self.market.end_interrupted(spec, enclave))
        self._send(self.market.return_unspent(spec.request_hash))

    def _release(self, job: Job, index: int) -> Release:
        job_id = self._job_id(job)
        shares = tuple(
            ReleasedShare(asset_id=use.asset_id, sealed=HexBytes(b"sealed")) for use in self._spec(job).assets
        )
        word = release_hash(job_id, job.evidence, index, shares)
        signature = HexBytes(sign(personal_digest(word), self.nodes[index].key))
        return Release(job_id=job_id, evidence_hash=job.evidence, index=U8(index), shares=shares, signature=signature)

    def _lifting(self) -> None:
        """The owner whose asset failed pays for it to be matched again."""
        job = self._suspended
        use, owner = self._spec(job).assets[1], job.owners[1]
        self._send(self.market.deposit(ZERO_ADDRESS, Wei(10**18)), owner, value=10**18)
        self._send(self.market.lift_suspension(use.asset_id, use.version), owner)

    def _waiting(self) -> None:
        unquoted, undecided, unsettled, settled, unanswered = (self.job(assets=1) for _ in range(5))
        for job in (unquoted, undecided, unsettled, settled, unanswered):
            self.match(job)
        for job in (undecided, unsettled, settled, unanswered):
            self.quote(job)
        for job in (unsettled, settled, unanswered):
            self.decide(job, Outcome.ACCEPTED)
        for job in (settled, unanswered):
            self.settle(job, acknowledged=False)
        result = SettledResult.of(self._settlement(unanswered))
        self._send(self.market.challenge(self._spec(unanswered), result), unanswered.consumer)
        self.pass_time(7200)
        self.close(unquoted)
        only_evidence = Enclave(undecided.evidence, ZERO_ADDRESS, ZERO_HASH)
        self._send(self.market.close(self._spec(undecided), only_evidence))
        self.close(unsettled)
        self.mature(settled)
        self._send(self.market.close_challenge(self._spec(unanswered), result, unanswered.consumer.address))

    def _beside(self) -> None:
        for step in ("matched", "quoted", "accepted", "settled"):
            job = self.job(assets=1)
            self.match(job)
            if step != "matched":
                self.quote(job)
            if step in {"accepted", "settled"}:
                self.decide(job, Outcome.ACCEPTED)
            if step == "settled":
                self.settle(job, acknowledged=False)
        withdrawn = self.job(assets=1)
        self.match(withdrawn)
        self.cancel(withdrawn)
        self.publishing()
        voided = self.job(assets=1)
        self._send(self.market.cancel_request(voided.request), voided.consumer)
        self._send(self.market.cancel_order(voided.compute.struct_hash()), voided.provider)
        self._send(self.market.cancel_all_orders(ZERO_ADDRESS), voided.owners[0])
        self._send(self.market.unstake(ZERO_ADDRESS, Wei(5)), voided.provider)
        self._send(self.market.unstake(ZERO_ADDRESS, Wei(6)), withdrawn.provider)
        self._send(self.market.withdraw(ZERO_ADDRESS, Wei(7), self.sender), voided.consumer)
        self._send(self.market.transfer(ZERO_ADDRESS, withdrawn.consumer.address, Wei(8)), voided.consumer)
        self._send(self.market.claim_fees(self.committee, ZERO_ADDRESS, 1))
        self.pass_time(86_400)
        self._send(self.market.finish_unstake(ZERO_ADDRESS), withdrawn.provider)
        self._send(self.market.set_paused(True))
        self._removing(withdrawn)

    def _removing(self, job: Job) -> None:
        """The last node signed two decisions on one piece of evidence."""
        index = len(self.nodes) - 1
        cores = [self._decision(job, outcome, ZERO_HASH, ZERO_HASH) for outcome in list(Outcome)[:2]]
        first, second = (
            SignedDecision(
                decision=core, index=U8(index), signature=self._sign(self.nodes[index], core), detail=NO_DETAIL
            )
            for core in cores
        )
        contract = CommitteeContract(contract_address(self.sender, 1))
        self._send(contract.remove_equivocator(self.committee, first, second))
        latest = self._rpc.call("eth_getBlockByNumber", "latest", False)
        self._send(contract.end(1, int(latest["timestamp"], 16) + 365 * 86_400))
        self._send(contract.anchor_advisory(self._word()))

    def _order(self, asset: AssetId) -> AssetOrder:
        return replace(super()._order(asset), volume=U32(5))

    # --- reading ----------------------------------------------------------------------------------------------

    def replayed(self) -> State:
        """The state that all events so far add up to."""
        state = State()
        for name, fields, time in self.told():
            state.apply(name, fields, time)
        return state

    def told(self) -> Iterator[tuple[str, Fields, int]]:
        """Name, fields and time of every event so far."""
        names = {str(self.registry.address): "AssetRegistry", str(self.market.address): "Market"}
        for log in self._rpc.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest"}):
            name, fields = read(names.get(log["address"], "OracleCommittee"), log)
            block = self._rpc.call("eth_getBlockByNumber", log["blockNumber"], False)
            yield name, fields, int(block["timestamp"], 16)

    def coins(self, holder: Address) -> int:
        """Native coin of an address."""
        return int(str(self._rpc.call("eth_getBalance", holder.checksum, "latest")), 16)

    def word(self, slot: Bytes32) -> int:
        """A word of the market's storage."""
        return int(str(self._rpc.call("eth_getStorageAt", self.market.address.checksum, str(slot), "latest")), 16)

    def view(self, contract: str, function: str, *arguments: object) -> dict[str, Any]:
        """What a view function answers now."""
        entry = abi.load(contract).function(function, len(arguments))
        to = self.registry.address if contract == "AssetRegistry" else self.market.address
        asked = {"to": to.checksum, "data": "0x" + abi.encode_call(entry, arguments).hex()}
        raw = bytes.fromhex(str(self._rpc.call("eth_call", asked, "latest"))[2:])
        return abi.decode(entry.outputs, raw, function)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BusyWorld]:
    with Supervisor(tmp_path_factory.mktemp("chain")) as programs:
        world = BusyWorld(chains.anvil(programs).url)
        try:
            world.live()
            world.pass_time(1)
            yield world
        finally:
            world.disconnect()


@pytest.fixture(scope="module")
def state(world: BusyWorld) -> State:
    return world.replayed()


@pytest.fixture(scope="module")
def rows(world: BusyWorld) -> Iterator[list[EventRow]]:
    """What the backend's index keeps of the same events."""
    chain = Chain(retold.book_of(world), world.url)
    try:
        yield retold.rows_of(chain)
    finally:
        chain.close()


def test_a_row_of_the_index_says_all_that_its_log_told(world: BusyWorld, rows: list[EventRow]) -> None:
    for row, (name, fields, time) in zip(rows, world.told(), strict=True):
        assert (row.name, row.time) == (name, time)
        assert retold.lacks(retold.abi_fields(row.event), fields) == [], name


def test_the_rows_of_the_index_add_up_to_the_same_state(state: State, rows: list[EventRow]) -> None:
    rebuilt = State()
    for row in rows:
        rebuilt.apply(row.name, retold.abi_fields(row.event), row.time)
    assert rebuilt == state


@settings(max_examples=12, deadline=None)
@given(steps=st.lists(st.one_of(st.integers(1, 12), st.integers(-6, -1)), max_size=24))
def test_however_blocks_come_and_go_the_index_is_as_one_that_was_built_from_genesis(
    steps: list[int], world: BusyWorld, rows: list[EventRow]
) -> None:
    """A positive step is a block of so many events, a negative one puts empty blocks in the place of so many.

    A chain never gets shorter: a follower refuses one that did.
    """
    told = retold.Retold(retold.book_of(world), [row.event for row in rows])
    chain = cast(ChainReader, told)
    with Database(None) as live, Database(None) as fresh:
        index = Index(live, chain, start=0)
        for step in [*steps, told.left]:
            if step > 0:
                told.mine(step)
            else:
                told.take_back(-step)
                for _ in range(-step):
                    told.mine(0)
            index.advance()
        told.mine(told.left)
        index.advance()
        Index(fresh, chain, start=0).advance()
        assert retold.tables(live) == retold.tables(fresh)
        assert len(list(event_rows.every(live))) == len(rows)


def _only(fields: dict[str, Any]) -> Any:
    (value,) = fields.values()
    return value


def test_every_balance_is_what_the_events_say(world: BusyWorld, state: State) -> None:
    assert len(state.balances) > 30
    for (token, holder), balance in state.balances.items():
        found = _only(world.view("Market", "accountOf", token, holder))
        assert Balance(**found) == balance, holder


def test_stake_on_its_way_and_owed_fees_are_what_the_events_say(world: BusyWorld, state: State) -> None:
    assert state.unbonding
    for (token, holder), (amount, ready_at) in state.unbonding.items():
        found = _only(world.view("Market", "unbondingOf", token, holder))
        assert (found["amount"], found["ready_at"]) == (amount, ready_at)
    for (epoch, token), unclaimed in state.unclaimed.items():
        found = world.view("Market", "feeBookOf", epoch, token)["unclaimed"]
        assert list(found) == unclaimed
        assert unclaimed[0] > unclaimed[1]


def test_every_job_is_where_the_events_say_and_all_states_occur(world: BusyWorld, state: State) -> None:
    assert {job.status for job in state.jobs.values()} == set(Status) - {Status.NONE, Status.CHALLENGED}
    for job in state.jobs.values():
        slot = world.view("Market", "jobOf", job.spec["request_hash"])
        assert (slot["status"], slot["deadline"]) == (job.status, job.deadline)
    for request in state.voided:
        assert world.view("Market", "jobOf", request)["status"] == Status.CANCELLED


def test_every_slot_commits_to_what_the_events_say(world: BusyWorld, state: State) -> None:
    for job_id, job in state.jobs.items():
        slot = world.view("Market", "jobOf", job.spec["request_hash"])
        spec = abi.to_shape(JobSpec, job.spec)
        assert slot["commitment"].to_bytes(26) == commitment(spec, JobId(job_id), job.stage), job.status


def test_every_interruption_is_what_the_events_say(world: BusyWorld, state: State) -> None:
    assert state.interruptions
    for request_hash, record in state.interruptions.items():
        assert Interrupted(**_only(world.view("Market", "interruptionOf", request_hash))) == record


def test_every_meter_and_all_terms_are_what_the_events_say(world: BusyWorld, state: State) -> None:
    for (asset, version), meter in state.meters.items():
        found = _only(world.view("AssetRegistry", "versionOf", asset, version))
        assert meter == Meter(**{name: found[name] for name in Meter.__dataclass_fields__})


def test_orders_are_used_and_void_as_the_events_say(world: BusyWorld, state: State) -> None:
    assert len(state.used) > len(state.jobs)
    for (signer, order), used in state.used.items():
        assert _only(world.view("Market", "usedOf", signer, order)) == used
    assert _only(world.view("Market", "paused")) is state.paused is True


def test_the_market_keeps_who_may_sign_in_each_epoch_that_it_uses(world: BusyWorld, state: State) -> None:
    assert state.removed[1] == 1 << 2
    kept = members_hash(world.committee, frozenset({2}))
    for epoch in {epoch for epoch, _ in state.unclaimed}:
        assert world.word(variable("Market", "_quorums").slots(epoch)[0]) == int.from_bytes(kept)


def test_the_market_keeps_when_each_epoch_ends(world: BusyWorld, state: State) -> None:
    assert set(state.ends) == {1}
    assert world.word(variable("Market", "_ends").slots(1)[0]) == state.ends[1]
    paused_and_last_ending = world.word(variable("Market", "_lastEnding").slots()[0])
    assert variable("Market", "_lastEnding").read((paused_and_last_ending,)) == {"": 1}


def test_money_is_conserved(world: BusyWorld, state: State) -> None:
    """What the market holds is what accounts, open jobs, fees and burned coin add up to."""
    fee = world.view("Market", "feeBookOf", 1, ZERO_ADDRESS)["fee"]
    accounts = sum(balance.free + balance.staked for balance in state.balances.values())
    unbonding = sum(amount for amount, _ in state.unbonding.values())
    owed = sum(sum(counts) for counts in state.unclaimed.values()) * fee
    locked = sum(_locked(job, fee) for job in state.jobs.values())
    unspent = sum(record.unspent for record in state.interruptions.values())
    known = accounts + unbonding + owed + locked + unspent + sum(state.burned.values())
    assert world.coins(world.market.address) == known


def _locked(job: JobState, fee: int) -> int:
    spec, status = job.spec, job.status
    owners = sum(use["price"] for use in spec["assets"])
    work = spec["compute_price"] + spec["unit_price"] * spec["max_units"]
    stake = owners + spec["penalty"]
    escrow = {
        Status.MATCHED: owners + work + 2 * fee + spec["hold_fee"],
        Status.QUOTED: owners + work + 2 * fee + spec["hold_fee"],
        Status.ACCEPTED: owners + work,
        Status.SETTLED: spec["compute_price"] + spec["unit_price"] * BusyWorld.units,
    }
    return stake + escrow[status] if status in escrow else 0
