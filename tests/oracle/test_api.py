"""What a node serves over HTTP, and how its thread behaves when the chain is away."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from sealmarket.protocol.members import SignedMember
from sealmarket.protocol.problems import PREFIX, TYPES, Problem
from sealmarket.protocol.wire import NodeInfo, NodeStatus
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes, decode
from sealmarket_enclave.protocol.numbers import Grade
from sealmarket_oracle.api import SIMULATED_HEADER, create_app
from sealmarket_oracle.errors import JournalTaken, JournalUnwritable, SignerFailed
from sealmarket_oracle.log.entries import EntryKind, HeldTail, LogPart, TailStep
from sealmarket_oracle.runner import Health, Runner
from sealmarket_oracle.service import Node
from tests.oracle.world import World
from tests.patience import until


class Client:
    """Asks an application without a socket."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def get(self, path: str) -> httpx.Response:
        return self.send("GET", path)

    def send(self, method: str, path: str, **what: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
                return await client.request(method, path, **what)

        return asyncio.run(ask())


def _client(node: Node) -> tuple[Client, Runner]:
    runner = Runner(node, 0.05)
    return Client(create_app(node, runner)), runner


def refused(answer: httpx.Response, name: str) -> Problem:
    """The problem of an answer, which is of a type and says what the type does."""
    found, kind = decode(Problem, answer.content), TYPES[name]
    assert answer.headers["content-type"] == "application/problem+json"
    assert (found.type, found.title, found.rule) == (PREFIX + name, kind.title, kind.rule)
    assert found.status == answer.status_code == kind.status
    return found


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (JournalUnwritable("the database at 10.1.2.3 is away", "start it"), "storage-failed"),
        (JournalTaken("host 10.1.2.3 has token 2", "1"), "deposed"),
    ],
)
def test_a_journal_that_is_away_or_anothers_is_a_problem_with_a_name_and_not_the_nodes_failure(
    error: Exception, name: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise error

    node = world.node()
    monkeypatch.setattr(node._journal, "_rows", away)
    found = refused(_client(node)[0].get("/v1/jobs/0x" + "ab" * 32), name)
    assert "10.1.2.3" not in str(found)
    assert found.remedy


@pytest.mark.parametrize("name", ["0x", "nonsense", "0x" + "AB" * 32, "0x" + "ab" * 31])
def test_a_malformed_job_id_is_refused_with_a_problem(name: str, world: World) -> None:
    client, _ = _client(world.node())
    answer = client.get(f"/v1/jobs/{name}")
    assert refused(answer, "malformed-document").remedy


def test_an_unknown_path_is_refused_with_a_problem(world: World) -> None:
    client, _ = _client(world.node())
    assert refused(client.get("/v1/shares"), "no-route").remedy


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nobody_can_push_anything_to_a_node(method: str, world: World) -> None:
    client, _ = _client(world.node())
    answer = client.send(method, "/v1/node")
    assert refused(answer, "method-not-allowed").remedy
    assert answer.headers["allow"] == "GET"


def test_a_node_that_cannot_decide_says_so(world: World) -> None:
    client, runner = _client(world.node())
    assert client.get("/healthz").status_code == 503
    world.chain.fall_silent()
    runner.start()
    try:
        until("a turn of the node", lambda: runner.health.ticks > 0)
        answer = client.get("/healthz")
        assert answer.status_code == 503
        assert "does not answer" in decode(Health, answer.content).problem
        world.chain.fall_silent(False)
        until("a turn that ends well", lambda: runner.health.status == "ok")
        assert client.get("/healthz").status_code == 200
    finally:
        runner.stop()
    assert client.get("/healthz").status_code == 503


def test_a_node_says_who_it_is_and_that_it_takes_simulated_evidence(world: World) -> None:
    client, _ = _client(world.node(1))
    answer = client.get("/v1/node")
    info = decode(NodeInfo, answer.content)
    assert info.signer == world.committee.members[1].signer
    assert info.hpke_public_key == world.committee.members[1].hpke_public_key
    assert info.grade_floor is Grade.SIMULATED
    assert "simulated" in answer.headers[SIMULATED_HEADER]
    strict, _ = _client(world.node(1, grade_floor=Grade.HARDWARE))
    assert SIMULATED_HEADER not in strict.get("/v1/node").headers


def test_a_node_serves_its_member_as_its_folder_has_it_and_none_that_was_never_signed(world: World) -> None:
    node = world.node(1)
    said = SignedMember(epoch=1, member=world.committee.members[1], signature=HexBytes(bytes(65)))
    assert Client(create_app(node, Runner(node, 1), said)).get("/v1/member").content == said.canonical()
    assert "rotate" in refused(_client(node)[0].get("/v1/member"), "not-found").remedy


def test_a_nodes_answer_about_a_job_follows_what_it_did(world: World) -> None:
    node = world.node()
    client, _ = _client(node)
    unknown = decode(NodeStatus, client.get(f"/v1/jobs/{Bytes32(b'x' * 32)}").content)
    assert unknown.state == "unknown"
    world.match(world.publish())
    world.quote()
    decision = world.decided(node)
    found = decode(NodeStatus, client.get(f"/v1/jobs/{world.job_id}").content)
    assert found.state == "decided"
    assert found.decision is not None
    assert found.decision.decision == decision
    assert found.decision.detail.canonical() in world.store.documents.values()


@pytest.mark.parametrize("count", ["-1", "1e3", "0x1", "", "9" * 16, "٣"])
def test_a_place_in_the_log_that_is_no_count_is_refused(count: str, world: World) -> None:
    answer = _client(world.node())[0].get(f"/v1/log/{count}")
    assert refused(answer, "malformed-document" if count else "no-route").remedy


@pytest.mark.parametrize("body", [b"", b"{}", b"[" * 5000, b"\xff"])
def test_a_tail_that_does_not_read_is_refused(body: bytes, world: World) -> None:
    answer = _client(world.node())[0].send("POST", "/v1/tails", content=body)
    assert refused(answer, "malformed-document").remedy


def test_a_signer_that_is_away_is_said_and_is_no_error_of_the_server(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_statement: object) -> None:
        raise SignerFailed("the answer to eth_sign", "one within its time", "none")

    node = world.node()
    monkeypatch.setattr(node.answers, "signed", away)
    assert refused(_client(node)[0].get("/v1/log/0"), "signer-away").remedy


def test_what_a_node_does_not_keep_is_said(world: World) -> None:
    answer = _client(world.node())[0].get("/v1/documents/0x" + "ab" * 32)
    assert refused(answer, "not-found").remedy


def test_a_node_serves_its_log_and_holds_the_tail_of_a_peer(world: World) -> None:
    world.match(world.publish())
    world.quote()
    node, peer = world.node(), world.node(1)
    world.decided(node)
    client, other = _client(node)[0], _client(peer)[0]
    part = decode(LogPart, client.get("/v1/log/0").content)
    assert [entry.kind for entry in part.entries] == [EntryKind.START, EntryKind.DECISION]
    assert decode(LogPart, client.get("/v1/log/9").content).entries == ()
    for before in (None, part.tail):
        held = decode(HeldTail, other.send("POST", "/v1/tails", content=TailStep(tail=part.tail).canonical()).content)
        assert held.held == before


def test_the_openapi_document_has_each_route_of_the_node_and_no_other(world: World) -> None:
    node = world.node()
    served = {
        (route.path, method.lower())
        for route in create_app(node, Runner(node, 0.1)).routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    found = _client(node)[0].get("/openapi.json").json()
    assert {(path, method) for path, methods in found["paths"].items() for method in methods} == served
    schemas, text = found["components"]["schemas"], json.dumps(found)
    for name in re.findall(r'"#/components/schemas/(\w+)"', text):
        assert name in schemas
    assert "#/$defs/" not in text
    refusals = [answer for methods in found["paths"].values() for one in methods.values() for answer in _problems(one)]
    assert refusals
    assert all(list(answer["content"]) == ["application/problem+json"] for answer in refusals)


def _problems(operation: dict[str, Any]) -> list[Any]:
    answers = operation["responses"].values()
    return [answer for answer in answers if "schemas/Problem" in json.dumps(answer.get("content", {}))]
