"""Oracle nodes are asked side by side, and only what they signed counts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from sealmarket.client import nodes as nodes_module
from sealmarket.client.nodes import Nodes, check_decision, signed_decisions
from sealmarket.protocol.book import Member
from sealmarket.protocol.wire import NodeStatus, SignedDecision
from sealmarket.service.errors import ContentMismatch
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.signing import SignatureRefused
from tests.client.bundles import Case
from tests.patience import PATIENCE, until


@pytest.fixture
def case() -> Case:
    return Case()


@dataclass
class Committee:
    """Three nodes by name; each answers as it is told."""

    case: Case
    answers: dict[str, Callable[[], httpx.Response]] = field(default_factory=dict)

    def asked(self) -> list[NodeStatus | None]:
        members = [self._member(f"node-{n}") for n in range(3)]
        with Nodes(timeout=PATIENCE, transport=httpx.MockTransport(self._handle)) as nodes:
            return nodes.statuses(members, self.case.job_id)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path == f"/v1/jobs/{self.case.job_id}"
        return self.answers.get(request.url.host, lambda: said(self.case))()

    def _member(self, name: str) -> Member:
        return replace(self.case.committee.members[0], url=f"http://{name}")


def status(case: Case, **changes: Any) -> NodeStatus:
    base = NodeStatus(job_id=case.job_id, state="waiting", reason="waiting")
    return replace(base, **changes)


def said(case: Case, **changes: Any) -> httpx.Response:
    return httpx.Response(200, content=status(case, **changes).canonical())


def refuse_connection() -> httpx.Response:
    raise httpx.ConnectError("connection refused")


@pytest.mark.parametrize(
    "answer",
    [
        lambda _case: refuse_connection(),
        lambda _case: httpx.Response(404, json={"title": "no such job", "detail": ""}),
        lambda _case: httpx.Response(302, headers={"location": "http://elsewhere"}),
        lambda _case: httpx.Response(200, content=b"{}"),
        lambda _case: httpx.Response(200, content=b"[" * 10_000),
        lambda _case: httpx.Response(200, content=bytes(9 << 20)),
        lambda case: said(case, job_id=JobId(keccak(b"another job"))),
    ],
    ids=["down", "unknown job", "redirect", "another shape", "nonsense", "too long", "another job"],
)
def test_a_node_that_does_not_answer_properly_is_silent_and_the_others_are_heard(
    case: Case, answer: Callable[[Case], httpx.Response]
) -> None:
    heard = Committee(case, {"node-1": lambda: answer(case)}).asked()
    assert heard == [status(case), None, status(case)]


def test_nodes_are_asked_at_the_same_time(case: Case) -> None:
    together = threading.Barrier(3)

    def wait_for_the_others() -> httpx.Response:
        together.wait(timeout=PATIENCE)
        return said(case)

    assert Committee(case, {f"node-{n}": wait_for_the_others for n in range(3)}).asked() == [status(case)] * 3


def asked_of(case: Case, handle: Callable[[httpx.Request], httpx.Response], **options: Any) -> Nodes:
    return Nodes(transport=httpx.MockTransport(handle), **options)


def members(case: Case) -> list[Member]:
    return [replace(case.committee.members[0], url=f"http://node-{n}") for n in range(3)]


def test_a_node_that_holds_its_askers_up_costs_a_turn_over_many_jobs_its_patience_once(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    waited_for: list[int] = []

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.host == "node-1":
            go_on.wait(PATIENCE)
        return said(case, job_id=JobId(Bytes32.parse(request.url.path.rsplit("/", 1)[1])))

    def until_two_have_answered(asked: list[Future[NodeStatus]], _patience: float) -> None:
        waited_for.append(len(asked))
        until("the other nodes' answers", lambda: sum(one.done() for one in asked) == 2)

    monkeypatch.setattr(nodes_module, "_SLOW_SECONDS", 10 * PATIENCE)
    monkeypatch.setattr(nodes_module, "wait", until_two_have_answered)
    with asked_of(case, handle) as nodes:
        for number in range(20):
            heard = nodes.statuses(members(case), keccak(bytes([number])))
            assert [one is not None for one in heard] == [True, False, True]
        go_on.set()
    assert waited_for == [3] + [2] * 19


def test_an_answer_that_comes_late_is_there_at_the_next_call(case: Case) -> None:
    go_on, answered = threading.Event(), threading.Event()

    def handle(request: httpx.Request) -> httpx.Response:
        go_on.wait(PATIENCE)
        answered.set()
        return said(case)

    with asked_of(case, handle, patience=0.05) as nodes:
        assert nodes.statuses(members(case)[:1], case.job_id) == [None]
        go_on.set()
        assert answered.wait(PATIENCE)
        heard = until("its answer", lambda: nodes.statuses(members(case)[:1], case.job_id)[0])
        assert heard == status(case)


def test_a_node_whose_answer_fails_as_nothing_foresaw_is_silent_and_the_others_are_heard(case: Case) -> None:
    def run_out_of_memory() -> httpx.Response:
        raise MemoryError

    assert Committee(case, {"node-1": run_out_of_memory}).asked() == [status(case), None, status(case)]


def test_a_decision_by_somebody_outside_the_committee_is_refused(case: Case) -> None:
    (decision,) = case.decisions(case.core(), nodes=(0,))
    with pytest.raises(ContentMismatch, match="member 3"):
        check_decision(replace(decision, index=3), case.book, case.committee)


def test_a_decision_that_another_node_signed_is_refused(case: Case) -> None:
    (decision,) = case.decisions(case.core(), nodes=(0,))
    with pytest.raises(SignatureRefused):
        check_decision(replace(decision, index=1), case.book, case.committee)


def test_a_decision_with_another_detail_is_refused(case: Case) -> None:
    (decision,) = case.decisions(case.core(), nodes=(0,))
    with pytest.raises(ContentMismatch, match="decision detail"):
        check_decision(replace(decision, detail=replace(decision.detail, block_number=9)), case.book, case.committee)


def test_false_words_are_left_out_and_true_ones_stand(case: Case) -> None:
    first, second, third = case.decisions(case.core(), nodes=(0, 1, 2))

    def heard(*words: SignedDecision | None) -> tuple[SignedDecision, ...]:
        answers = [status(case, decision=word) if word else None for word in words]
        return signed_decisions(case.book, case.committee, answers)

    assert heard(first, None, third) == (first, third)
    assert heard(first, first, third) == (first, third)
    assert heard(first, replace(second, signature=HexBytes(bytes(65))), third) == (first, third)
    assert heard(None, None, None) == ()
