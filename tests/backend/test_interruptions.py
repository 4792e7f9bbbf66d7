"""What interrupts accepted jobs is in the index, and the keeper ends what nobody else did."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from sealmarket.chain.calls import Call
from sealmarket.chain.ledger_events import UnspentReturned
from sealmarket.chain.memory import MemoryChain
from sealmarket.protocol.decisions import ChallengeAnswer
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import ChallengeStatus, InterruptionView, SignedChallengeAnswer
from sealmarket_backend.book import OrderBook
from sealmarket_backend.index import Index
from sealmarket_backend.keeper import Keeper
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Bytes32, HexBytes, Uint, Wei
from sealmarket_enclave.protocol.job import Settlement, SharesMissing
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.release import Release, ReleasedShare
from sealmarket_enclave.protocol.signing import sign
from tests.backend.orders import ASSET, BOOK, NODES, OWNER, RULES, account, indexed, keys_only
from tests.backend.test_index import EVIDENCE, core, spec


class Sent:
    """A sender that remembers the functions that were called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def gas_of(self, _call: Call) -> int:
        return 100_000

    def submit(self, call: Call) -> Bytes32:
        self.calls.append(call.function)
        return Bytes32(bytes(32))

    def look(self, _transaction: Bytes32) -> Any:
        return SimpleNamespace(events=[], cost=0)


class Silent:
    """Nodes that answer nothing of a job, and of a challenge what a test has them say."""

    def __init__(self) -> None:
        self.said: list[ChallengeStatus | None] = []

    def statuses(self, _members: object, _job_id: object) -> list[None]:
        return []

    def challenges(self, _members: object, _job_id: object) -> list[ChallengeStatus | None]:
        return self.said


class Stage:
    """A market with one accepted job, its index, and its keeper."""

    def __init__(self, database: Database) -> None:
        self.chain = MemoryChain(BOOK)
        self.index = Index(database, self.chain, start=0)
        self.sent, self.nodes = Sent(), Silent()
        self.keeper = Keeper(
            self.chain,  # type: ignore[arg-type]
            self.sent,
            database,
            OrderBook(database, keys_only(), RULES),
            self.index,
            self.nodes,  # type: ignore[arg-type]
            rules=RULES,
            lacking=lambda _request: (),
        )
        self.chain.publish(ASSET, account(OWNER), indexed().seal, indexed().terms)
        self.job: JobId = self.chain.match(replace(spec(), settle_window=1000))
        self.chain.quote(self.job, EVIDENCE)
        self.chain.decide(core(self.job))

    def report(self, *excluded: int) -> None:
        bits = sum(1 << node for node in excluded)
        self.chain.report_missing(SharesMissing(job_id=self.job, evidence_hash=EVIDENCE, excluded=bits), Wei(3))

    def post(self, node: int) -> None:
        share = ReleasedShare(asset_id=ASSET, sealed=HexBytes(b"\x01"))
        self.chain.post_release(
            Release(
                job_id=self.job,
                evidence_hash=EVIDENCE,
                index=node,
                shares=(share,),
                signature=HexBytes(bytes(64) + b"\x1b"),
            )
        )

    def turn(self) -> list[str]:
        """One turn of the keeper, at a final head; what it sent."""
        self.chain.finalise()
        self.sent.calls.clear()
        self.keeper.turn()
        return self.sent.calls

    def view(self) -> InterruptionView | None:
        self.chain.finalise()
        self.index.advance()
        return self.index.job(self.job).interruption


@pytest.fixture
def stage(database: Database) -> Stage:
    return Stage(database)


def test_a_job_that_goes_well_was_not_interrupted(stage: Stage) -> None:
    assert stage.view() is None


def test_a_stopped_job_stays_accepted_until_its_deadline(stage: Stage) -> None:
    before = stage.chain.head().timestamp
    stage.chain.stop(stage.job, EVIDENCE, Uint(1 << 220))
    assert stage.view() == InterruptionView(stopped=True)
    job = stage.index.job(stage.job)
    assert (job.status, job.reasons, job.deadline) == ("accepted", 1 << 220, before + 1000)
    assert "will not release" in job.waiting_for


def test_missing_shares_and_posted_releases_are_told(stage: Stage) -> None:
    stage.report(1)
    stage.post(0)
    stage.post(1)
    found = stage.view()
    assert found is not None
    assert (found.excluded, found.posted) == ((1,), (0, 1))
    job = stage.index.job(stage.job)
    assert job.deadline == found.settle_deadline > found.shares_deadline > 0
    assert "put their releases on chain" in job.waiting_for


def test_the_keeper_ends_a_job_whose_shares_did_not_come(stage: Stage) -> None:
    stage.report()
    stage.post(0)
    assert stage.turn() == []
    stage.chain.mine(seconds=700)
    assert stage.turn() == ["batch"]  # the end, and what was set aside for the nodes


def test_a_job_with_enough_posted_releases_goes_on(stage: Stage) -> None:
    stage.report()
    for node in range(3):
        stage.post(node)
    stage.chain.mine(seconds=700)
    assert "endInterrupted" not in stage.turn()


def test_what_was_set_aside_is_returned_once(stage: Stage) -> None:
    stage.report()
    stage.post(0)
    stage.chain.end(stage.job, Status.EXPIRED)
    stage.chain.mine(seconds=700)
    assert stage.turn() == ["returnUnspent"]
    one, nothing = spec(), Wei(0)
    stage.chain._mine(lambda _, at: [UnspentReturned(at, one.request_hash, one.provider, ZERO_ADDRESS, nothing)])
    assert stage.turn() == []


def test_a_challenge_that_no_node_answers_is_closed_by_the_keeper_once_its_time_is_over(stage: Stage) -> None:
    result = Bytes32(b"\x08" * 32)
    stage.chain.settle(Settlement(job_id=stage.job, result_hash=result, receipt_hash=result, units=0, last=True))
    stage.chain.challenge(stage.job, account(OWNER), Wei(5))
    assert stage.turn() == []
    view = stage.index.job(stage.job)
    assert (view.status, view.challenger) == ("challenged", account(OWNER))
    assert view.deadline == stage.chain.at(stage.chain.head()).job(view.request_hash).deadline
    stage.chain.mine(seconds=view.spec.decide_window + 1)
    assert stage.turn() == ["closeChallenge"]
    stage.chain.end(stage.job, Status.MATURED)
    assert stage.turn() == []


def answered(job_id: JobId, place: int, available: bool, result: Bytes32 = EVIDENCE) -> ChallengeStatus:
    """What the node at a place says of a challenge, signed by its key."""
    answer = ChallengeAnswer(job_id=job_id, result_hash=result, available=available)
    signature = HexBytes(sign(answer.digest(BOOK.chain_id, BOOK.market), NODES[place]))
    signed = SignedChallengeAnswer(answer=answer, index=place, signature=signature)
    return ChallengeStatus(job_id=job_id, state="answered", reason="", answer=signed)


def test_answers_to_a_challenge_are_passed_on_once_enough_nodes_say_the_same_of_this_result(stage: Stage) -> None:
    stage.chain.settle(Settlement(job_id=stage.job, result_hash=EVIDENCE, receipt_hash=EVIDENCE, units=0, last=True))
    yes, no = (answered(stage.job, 0, available) for available in (True, False))
    stage.nodes.said = [yes, answered(stage.job, 1, True), None]
    assert stage.turn() == []  # nobody challenged it
    stage.chain.challenge(stage.job, account(OWNER), Wei(5))
    for too_few in (
        [yes, None, None],
        [no, answered(stage.job, 1, True), None],
        [yes, yes, None],
        [yes, answered(stage.job, 1, True, ASSET), None],
    ):
        stage.nodes.said = list(too_few)
        assert stage.turn() == []
    for available in (True, False):
        stage.nodes.said = [None, *(answered(stage.job, place, available) for place in (1, 2))]
        assert stage.turn() == ["answerChallenge"]


def test_a_suspended_version_is_not_on_sale_until_it_is_lifted(stage: Stage) -> None:
    stage.chain.suspend(ASSET, 1, stage.job)
    stage.view()
    assert stage.index.asset(ASSET, 1).suspended
    stage.chain.lift_suspension(ASSET, 1)
    stage.view()
    assert not stage.index.asset(ASSET, 1).suspended


def test_what_a_reorganisation_takes_back_of_an_interruption_was_never_there(stage: Stage) -> None:
    stage.chain.mine(3)
    stage.report(2)
    assert stage.view() is not None
    stage.chain.rewrite(2)
    assert stage.view() is None
