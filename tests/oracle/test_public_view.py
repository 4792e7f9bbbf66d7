"""What anyone is shown of a node by its URL: words for people, and documents for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from sealmarket.http import HttpClient, HttpError
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.wire import NodeStatus
from sealmarket_enclave.protocol.codec import ZERO_HASH, HexBytes, decode
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle.cli import app
from sealmarket_oracle.errors import NotRunning
from sealmarket_oracle.public_view import PublicView, job_lines, node_lines
from sealmarket_oracle.runner import Health
from tests.oracle.world import World

URL = "http://oracle.example"
WELL = Health(status="ok", problem="", final_block=7, ticks=1)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Answer as a node would; without a network."""

    def serve(**answers: object) -> None:
        for name, answer in answers.items():
            monkeypatch.setattr(PublicView, name, lambda *_, found=answer: found)

    return serve


@pytest.mark.parametrize(("status", "body"), [(404, b"not here"), (200, b"<html>"), (0, b"")])
def test_what_is_no_node_is_named_with_what_to_do(status: int, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def ask(*_: object, **__: object) -> Iterator[SimpleNamespace]:
        if not status:
            raise HttpError("connection refused", remedy="")
        yield SimpleNamespace(status=status, body=lambda: body)

    monkeypatch.setattr(HttpClient, "ask", ask)
    done = CliRunner().invoke(app, ["status", URL])
    assert isinstance(done.exception, NotRunning)
    assert "check the URL" in done.exception.remedy


def test_a_job_that_is_no_id_is_not_asked_for(served: Callable[..., None]) -> None:
    done = CliRunner().invoke(app, ["status", URL, "--job", "0x12"])
    assert done.exit_code == 2
    assert "--job" in done.output


def test_a_folder_is_not_asked_for_one_job(world: World) -> None:
    done = CliRunner().invoke(app, ["status", str(world.folder), "--job", str(ZERO_HASH)])
    assert done.exit_code == 2
    assert "URL" in done.output


def test_a_node_is_words_for_people_and_two_documents_for_programs(world: World, served: Callable[..., None]) -> None:
    info = world.node().info()
    served(info=info, health=WELL)
    said = CliRunner().invoke(app, ["status", URL])
    assert said.exit_code == 0
    assert f"node {info.signer}" in said.stdout
    assert str(info.hpke_public_key) not in said.stdout, "a thousand bytes that no person reads"
    programs = CliRunner().invoke(app, ["status", URL, "--json"]).stdout.splitlines()
    assert programs == [info.canonical().decode(), WELL.canonical().decode()]


def test_a_node_that_does_not_decide_says_why_and_the_command_fails(world: World, served: Callable[..., None]) -> None:
    served(info=world.node().info(), health=replace(WELL, status="waiting", problem="\x1b[2Jno chain", proofs="none"))
    done = CliRunner().invoke(app, ["status", URL])
    assert done.exit_code == 1
    assert "no chain" in done.stdout
    assert "\x1b" not in done.stdout
    assert "proofs = none" in done.stdout


def test_a_job_says_what_was_decided_on_what_and_what_left(world: World, served: Callable[..., None]) -> None:
    world.match(world.publish())
    world.quote()
    node = world.node()
    world.accept(world.decided(node))
    world.chain.finalise()
    node.tick()
    status = node.status(world.job_id)
    text = "\n".join(job_lines(status))
    assert text.startswith(f"job {world.job_id} released")
    assert "decided  accepted, on SIMULATED evidence" in text
    assert "released one sealed package" in text
    served(job=status)
    assert CliRunner().invoke(app, ["status", URL, "--job", str(world.job_id)]).stdout.strip() == text
    shown = CliRunner().invoke(app, ["status", URL, "--job", str(world.job_id), "--json"]).stdout.strip()
    assert shown == status.canonical().decode()


def test_a_refusal_of_the_gate_says_each_reason_and_what_to_do_and_no_grade(
    world: World, served: Callable[..., None]
) -> None:
    world.match(world.publish())
    world.quote(quote=HexBytes(b"nothing"))
    node = world.node()
    assert world.decided(node).outcome is Outcome.PLATFORM_REFUSED
    status = decode(NodeStatus, node.status(world.job_id).canonical())
    assert status.decision is not None
    text = "\n".join(job_lines(status))
    assert "decided  platform_refused; in epoch 1" in text
    assert "grade" not in text
    for note in status.decision.detail.findings:
        assert f"  because {note.reason} ({note.code})" in text
        assert not note.remedy or f"    what to do: {note.remedy}" in text
    served(job=status)
    assert CliRunner().invoke(app, ["status", URL, "--job", str(world.job_id)]).stdout.strip() == text


@pytest.mark.parametrize("grade", [0, 3, 255])
def test_a_grade_that_no_node_of_this_release_gives_is_shown_as_a_number(grade: int, world: World) -> None:
    world.match(world.publish())
    world.quote()
    node = world.node()
    world.decided(node)
    signed = node.status(world.job_id).decision
    assert signed is not None
    told = replace(signed, decision=replace(signed.decision, grade=grade))
    lines = job_lines(NodeStatus(job_id=world.job_id, state="decided", reason="", decision=told))
    assert f"decided  accepted, on evidence of grade {grade}" in "\n".join(lines)


def test_a_job_that_the_node_does_not_know_is_said_so() -> None:
    assert list(job_lines(NodeStatus(job_id=JobId(ZERO_HASH), state="unknown", reason="no such job"))) == [
        f"job {ZERO_HASH} unknown: no such job"
    ]


def test_what_a_node_accepts_is_loud_where_nothing_stands_behind_it(world: World) -> None:
    assert "SIMULATED" in "\n".join(node_lines(world.node().info(), WELL))
